/* openai_batches.h: paints batches, on a thread of its own: a few of their requests at a time are
 * jobs. All it knows is in the store, so that it goes on after a restart: a job bears the name of
 * its line, and is found by it. Thread-safe. */
#ifndef PICTOR_SERVER_OPENAI_BATCHES_H
#define PICTOR_SERVER_OPENAI_BATCHES_H

#include "engine/base/err.h"

struct app;
struct openai_batches;

/* Borrows `app`, which may still lack what only requests need. */
struct openai_batches *openai_batches_new(const struct app *app, struct err *err);
/* The jobs it has submitted stay. NULL is fine. */
void openai_batches_free(struct openai_batches *b);

/* A batch is new, or was cancelled. */
void openai_batches_wake(struct openai_batches *b);

/* Held while a batch's record is read and written again. */
void openai_batches_lock(struct openai_batches *b);
void openai_batches_unlock(struct openai_batches *b);

#endif
