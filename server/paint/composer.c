#include "server/paint/composer.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/composition.h"
#include "server/paint/fetch.h"
#include "server/paint/upstream_request.h"
#include "server/paint/upstream_stream.h"

#define ANSWER_BYTES ((size_t)4 << 20)
#define DEPTH 16
#define LOOK_MS 200
#define TEXT_MOST 4000 /* bytes of a description */

#define INSTRUCTIONS                                                                               \
    "You turn a short idea into the description of one painting, for a model that paints from "    \
    "words. Name the subject, the composition, the palette, the light, the medium and a school "   \
    "or manner of painting. Keep everything that the idea says. Answer with the description "      \
    "alone, in one paragraph of at most eighty words, without a title and without quotation marks."
#define INSTRUCTIONS_PLAIN                                                                         \
    INSTRUCTIONS " Use few and common words, twenty at most: the model knows no others."

bool composer_asks(const struct settings *s)
{
    return *s->compose_url;
}

bool composer_init(struct composer *c, const struct settings *s, const char *theme, uint64_t seed,
                   bool plain, struct err *err)
{
    *c = (struct composer){.url = strdup(s->compose_url),
                           .model = strdup(s->compose_model),
                           .key = strdup(s->compose_key),
                           .timeout_ms = s->compose_timeout * 1000,
                           .theme = strdup(theme),
                           .seed = seed,
                           .plain = plain};
    if (c->url && c->model && c->key && c->theme)
        return true;
    composer_free(c);
    return err_set(err, ERR_INTERNAL, "no memory for a description");
}

void composer_free(struct composer *c)
{
    free(c->url);
    free(c->model);
    if (c->key)
        explicit_bzero(c->key, strlen(c->key));
    free(c->key);
    free(c->theme);
    *c = (struct composer){0};
}

/* ---- asking ---- */

struct asking {
    composer_piece_fn *piece;
    void *ctx;
    struct upstream_stream stream;
    FILE *out; /* the text of the stream */
    bool done, failed;
    struct fetch_answer answer;
    char *body;
};

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static size_t on_news(void *ctx, const char *body, size_t size)
{
    struct asking *a = ctx;
    cJSON *event;
    while ((event = upstream_stream_next(&a->stream, body, size))) {
        const cJSON *choice = cJSON_GetArrayItem(member(event, "choices"), 0);
        const char *text = cJSON_GetStringValue(member(member(choice, "delta"), "content"));
        if (text && *text) {
            fputs(text, a->out);
            if (a->piece)
                a->piece(a->ctx, text, strlen(text));
        }
        cJSON_Delete(event);
    }
    return 0;
}

static void on_answer(void *ctx, const struct fetch_answer *answer)
{
    struct asking *a = ctx;
    a->answer = *answer;
    a->body = answer->body ? malloc(answer->size + 1) : NULL;
    if (a->body) { /* there may be any bytes in it */
        memcpy(a->body, answer->body, answer->size);
        a->body[answer->size] = '\0';
    }
    a->answer.body = a->body;
    a->done = true;
}

static char *body_of(const struct composer *c)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", c->model);
    cJSON *messages = cJSON_AddArrayToObject(json, "messages");
    const char *const said[][2] = {
        {"system", c->plain ? INSTRUCTIONS_PLAIN : INSTRUCTIONS}, {"user", c->theme}};
    for (size_t i = 0; i < 2; i++) {
        cJSON *message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "role", said[i][0]);
        cJSON_AddStringToObject(message, "content", said[i][1]);
        cJSON_AddItemToArray(messages, message);
    }
    cJSON_AddTrueToObject(json, "stream");
    char *text = json_text_print(json);
    cJSON_Delete(json);
    return text;
}

/* ---- what came ---- */

/* Of an answer in one piece, which servers give that do not stream. */
static bool whole_text(const struct asking *a, FILE *out, struct err *err)
{
    cJSON *json = a->body ? json_text_parse(a->body, a->answer.size, DEPTH, NULL) : NULL;
    const cJSON *choice = cJSON_GetArrayItem(member(json, "choices"), 0);
    const char *text = cJSON_GetStringValue(member(member(choice, "message"), "content"));
    if (text)
        fputs(text, out);
    cJSON_Delete(json);
    return text || err_set(err, ERR_UPSTREAM, "the chat model answered no text");
}

/* Local models think aloud before they answer. */
static void drop_thoughts(char *text)
{
    char *to = text;
    for (char *from = text, *thought, *end; *from; from = end + 8) {
        thought = strstr(from, "<think>");
        size_t n = thought ? (size_t)(thought - from) : strlen(from);
        memmove(to, from, n);
        to += n;
        if (!thought || !(end = strstr(thought, "</think>")))
            break;
    }
    *to = '\0';
}

static bool explain(const struct composer *c, const struct asking *a, struct err *err)
{
    cJSON *json = a->body ? json_text_parse(a->body, a->answer.size, DEPTH, NULL) : NULL;
    const char *message = cJSON_GetStringValue(member(member(json, "error"), "message"));
    if (upstream_request_leaks(message, c->key))
        message = NULL;
    err_set(err, ERR_UPSTREAM, "the chat model that composes answered status %d%s%.150s",
            a->answer.status, message ? ": " : "", message ? message : "");
    cJSON_Delete(json);
    return false;
}

static bool take(const struct composer *c, struct asking *a, struct err *err)
{
    int status = a->answer.status;
    if (a->answer.err.code != ERR_NONE)
        return err_set(err, ERR_UPSTREAM, "the chat model that composes: %.200s",
                       a->answer.err.msg);
    if (status < 200 || status >= 300)
        return explain(c, a, err);
    return a->stream.at > 0 || whole_text(a, a->out, err);
}

static bool wait_for(struct fetch *fetch, struct asking *a, const atomic_bool *stop,
                     struct err *err)
{
    while (!a->done) {
        if (stop && atomic_load(stop))
            return err_set(err, ERR_CANCELLED, "nobody waits for it any more");
        fetch_run(fetch, LOOK_MS);
    }
    return true;
}

static char *ask(const struct composer *c, const atomic_bool *stop, composer_piece_fn *piece,
                 void *ctx, struct err *err)
{
    struct asking a = {.piece = piece, .ctx = ctx};
    char *url = NULL, *body = body_of(c), *text = NULL;
    size_t size;
    bool ok = false;
    struct fetch *fetch = fetch_new(err);
    a.out = open_memstream(&text, &size);
    if (!fetch || !body || !a.out || asprintf(&url, "%s/chat/completions", c->url) < 0) {
        url = NULL;
        err_set(err, ERR_INTERNAL, "no memory for a description");
        goto done;
    }
    struct fetch_request r = {.url = url,
                              .key = c->key,
                              .json = body,
                              .timeout_ms = c->timeout_ms,
                              .max_answer = ANSWER_BYTES,
                              .news = on_news};
    ok = fetch_start(fetch, &r, on_answer, &a, err) && wait_for(fetch, &a, stop, err) &&
         take(c, &a, err);

done:
    fetch_free(fetch);
    if (a.out && fclose(a.out) != 0 && ok)
        ok = err_set(err, ERR_INTERNAL, "no memory for a description");
    if (ok) {
        drop_thoughts(text);
        composition_clean(text);
        if (!*text)
            ok = err_set(err, ERR_UPSTREAM, "the chat model that composes said nothing");
        else if (strlen(text) > TEXT_MOST)
            ok = err_set(err, ERR_UPSTREAM, "the chat model that composes said more than %d bytes",
                         TEXT_MOST);
    }
    free(url);
    free(body);
    free(a.body);
    if (ok)
        return text;
    free(text);
    return NULL;
}

char *composer_run(const struct composer *c, const atomic_bool *stop, composer_piece_fn *piece,
                   void *ctx, struct err *err)
{
    if (*c->url)
        return ask(c, stop, piece, ctx, err);
    char *text = composition_words(c->theme, c->seed, c->plain, err);
    if (text && piece)
        piece(ctx, text, strlen(text));
    return text;
}
