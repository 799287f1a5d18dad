/* pool.h: the engine's threads. A parallel loop over independent tasks, nothing else.
 *
 * Tasks are taken from a counter, so which thread runs which task varies; a task's result must not
 * depend on it.
 * A thread that finds no work spins for a short while (kernels follow each other within
 * microseconds) and then sleeps. One pool runs one loop at a time; the caller takes part. */
#ifndef PICTOR_ENGINE_BASE_POOL_H
#define PICTOR_ENGINE_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct pool;

/* `threads` >= 1 including the caller; 0 means one per available CPU (sched_getaffinity). */
struct pool *pool_new(int threads, struct err *err);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p);

typedef void pool_fn(void *ctx, size_t task, int thread);

/* Runs fn(ctx, task, thread) for every task < n; thread is in [0, pool_threads). Returns when all
 * are done. `p` may be NULL: then the caller runs them all in order. */
void pool_run(struct pool *p, size_t n, pool_fn *fn, void *ctx);

/* How many loops were begun: a sign of life that any thread may look at. */
uint64_t pool_loops(const struct pool *p);

#endif
