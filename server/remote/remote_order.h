/* remote_order.h: what the server orders, checked before anything is done with it. No state. */
#ifndef PICTOR_SERVER_REMOTE_ORDER_H
#define PICTOR_SERVER_REMOTE_ORDER_H

#include "engine/base/err.h"
#include "server/job/job.h"
#include "server/worker/wire.h"

struct remote_file {
    char sha256[65];
    uint64_t size;
};

struct remote_order {
    char job[JOB_ID_SIZE];
    int64_t token;
    int index, lease_seconds;
    size_t inputs;
    struct cJSON *generate; /* for the child, but for its serial */
    struct remote_file files[WIRE_FDS_MAX];
    size_t file_count;
};

/* `most`: bytes that inputs may have. remote_order_free after success. */
bool remote_order_read(const char *text, size_t size, size_t most, struct remote_order *out,
                       struct err *err);
void remote_order_free(struct remote_order *o); /* zeroed is fine */

#endif
