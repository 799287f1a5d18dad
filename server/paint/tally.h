/* tally.h: how many jobs ended how, by who painted them, model and key, since the server's start;
 * for /metrics. Thread-safe. */
#ifndef PICTOR_SERVER_TALLY_H
#define PICTOR_SERVER_TALLY_H

#include <stdint.h>

#include "engine/base/err.h"

struct tally;

struct tally *tally_new(struct err *err);
void tally_free(struct tally *t); /* NULL is fine */

/* `worker`: "local", "worker:NAME" of one elsewhere, or an upstream's name; `outcome`: "done",
 * "failed", ... Of very many different ones the later ones count as worker, model and key "other".
 * `t` NULL: nobody counts. */
void tally_add(struct tally *t, const char *worker, const char *model, const char *key_id,
               const char *outcome, int pictures, int64_t ms);

struct tally_row {
    const char *worker, *model, *key_id, *outcome;
    uint64_t jobs, pictures;
    double seconds; /* from claims to ends */
};
/* Each row; it is the callback's for the call. */
void tally_each(struct tally *t, void (*fn)(void *ctx, const struct tally_row *row), void *ctx);

#endif
