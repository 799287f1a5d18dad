/* fit.h: which jobs a worker may claim, and which it would rather have (queue.h): by what it says
 * of itself (server/queue/roster.h) and what is known of models. Immutable once made; any
 * thread. */
#ifndef PICTOR_SERVER_FIT_H
#define PICTOR_SERVER_FIT_H

#include "server/queue/queue.h"
#include "server/queue/roster.h"

struct fit;
struct registry;
struct registry_model;

/* Whether it can paint with the model: it knows the family, and has memory and disk for its files.
 * What is not known is no hindrance. */
bool fit_can(const struct roster_worker *w, const struct registry_model *m);

/* Of a worker, for its next claim. Borrows roster and registry. Returns owned. */
struct fit *fit_new(struct roster *roster, struct registry *registry, const struct roster_worker *w,
                    struct err *err);
void fit_free(struct fit *f); /* NULL is fine */

/* The names of local models that it may claim for: free(names). */
bool fit_names(const struct fit *f, const char ***names, size_t *count, struct err *err);
/* Sets all but passing_ms; lives as long as `f`. */
void fit_taste(struct fit *f, struct queue_taste *taste);

/* Whether nobody who is here can paint with a model; why, in a sentence. `w` are all workers. */
bool fit_nobody(const struct roster_worker *w, size_t count, const struct registry_model *m,
                char why[256]);

#endif
