/* worker_upscaler.h: the network in a file that enlarged the last picture; it stays open for the
 * next one, until another one is wanted or the file has changed. Not thread-safe. */
#ifndef PICTOR_SERVER_WORKER_UPSCALER_H
#define PICTOR_SERVER_WORKER_UPSCALER_H

#include "engine/pictor.h"

struct wire_message;

struct worker_upscaler {
    struct pictor_upscaler *network; /* NULL: none is open */
    char *name;
    uint64_t size;
    int64_t mtime_ms;
};

/* The one that a message wants, whose descriptor is the message's `fd`th; NULL if it wants none.
 * Valid until the next call. */
bool worker_upscaler_get(struct worker_upscaler *u, struct pictor_engine *engine,
                         const struct wire_message *message, size_t fd,
                         struct pictor_upscaler **out, struct err *err);
void worker_upscaler_close(struct worker_upscaler *u);

#endif
