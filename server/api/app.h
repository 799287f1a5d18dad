/* app.h: what one running server consists of; handed to every handler. All parts are thread-safe
 * and live from serve's start to its end; nobody frees what is found here. */
#ifndef PICTOR_SERVER_APP_H
#define PICTOR_SERVER_APP_H

struct app {
    const struct settings *settings;
    struct store *store;
    struct blobs *blobs;
    struct events *events;
    struct queue *queue;
    struct keys *keys;
    struct registry *registry;
    struct codec *codec;
    struct dispatch *dispatch;
    struct pulls *pulls;
    struct tally *tally; /* of what was painted here */
    struct roster *roster; /* of who paints */
    struct openai_batches *batches; /* of the OpenAI dialect */
    struct mcp_session *mcp_sessions; /* of /mcp */
    struct native_teller *teller; /* of its webhooks */
    struct native_feed *feed; /* of the native API's event streams */
};

#endif
