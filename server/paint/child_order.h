/* child_order.h: what a worker process is told to paint: the message "generate" of
 * server/worker/worker.h, the descriptors that go along with it, and the bytes of its inputs. Of a
 * worker on another machine the files travel by what is in them, and its keeper says this to its
 * own process. No state. */
#ifndef PICTOR_SERVER_CHILD_ORDER_H
#define PICTOR_SERVER_CHILD_ORDER_H

#include "server/worker/wire.h"

struct child_request;
struct pictor_files;
struct registry_model;
struct vaes_version;

struct child_order {
    struct cJSON *json;
    int fds[WIRE_FDS_MAX]; /* the request's, borrowed */
    size_t fd_count;
    void *inputs; /* all of them, one after the other */
    size_t size;
};

/* child_order_free, also after a failure. */
bool child_order_make(struct child_order *o, const struct child_request *r, struct err *err);
void child_order_free(struct child_order *o);

/* Parts of it: a model under the name of its role (`vae` may be NULL), and its descriptors. */
void child_order_model(struct cJSON *json, const char *role, const struct registry_model *m,
                       const struct pictor_files *files, const struct vaes_version *vae);
void child_order_files(struct child_order *o, const struct pictor_files *files);

#endif
