/* remote_fetch.h: what an order needs, fetched by a thread of its own: inputs and files, tried
 * again while the server cannot be reached. */
#ifndef PICTOR_SERVER_REMOTE_FETCH_H
#define PICTOR_SERVER_REMOTE_FETCH_H

#include "server/remote/remote_files.h"
#include "server/remote/remote_link.h"

struct remote_fetch;

/* Borrows all of it until remote_fetch_end. `wake` is called by the thread when it is done. */
struct remote_fetch *remote_fetch_begin(const struct remote_order *order,
                                        const struct remote_link *link,
                                        const struct remote_files *files, void (*wake)(void *ctx),
                                        void *ctx, struct err *err);

/* Whether it is done; then whether all is there. */
bool remote_fetch_done(struct remote_fetch *f);

/* Stops it if it is not done; NULL is fine. */
void remote_fetch_end(struct remote_fetch *f);

/* What came; after remote_fetch_done, until remote_fetch_end. */
struct remote_fetched {
    struct err err; /* ERR_NONE: everything */
    void *inputs;
    int fds[WIRE_FDS_MAX]; /* as the order's files */
};
const struct remote_fetched *remote_fetch_result(const struct remote_fetch *f);

#endif
