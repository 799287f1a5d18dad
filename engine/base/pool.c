/* pool.c: see pool.h.
 *
 * One generation number announces a loop; workers wait for it to change, take tasks from an atomic
 * counter until none is left, and count themselves out. The caller waits for that count, so a
 * worker never looks at a loop that is over. */
#include "engine/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 4000 /* about 50 us of pauses: longer than the gap between two kernels */

struct pool {
    int threads;
    pthread_t *ids;
    int started;
    pool_fn *fn;
    void *ctx;
    size_t n;
    atomic_size_t next;
    _Atomic unsigned generation;
    atomic_int running;
    atomic_bool stop;
    atomic_int sleeping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

struct start {
    struct pool *pool;
    int thread;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_tasks(struct pool *p, int thread)
{
    size_t task;
    while ((task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n)
        p->fn(p->ctx, task, thread);
}

static void *thread_main(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    struct pool *p = s.pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&p->generation) == seen; i++)
            relax();
        if (atomic_load(&p->generation) == seen) {
            pthread_mutex_lock(&p->lock);
            atomic_fetch_add(&p->sleeping, 1);
            while (atomic_load(&p->generation) == seen)
                pthread_cond_wait(&p->wake, &p->lock);
            atomic_fetch_sub(&p->sleeping, 1);
            pthread_mutex_unlock(&p->lock);
        }
        seen = atomic_load(&p->generation);
        if (atomic_load(&p->stop))
            return NULL;
        take_tasks(p, s.thread);
        atomic_fetch_sub(&p->running, 1);
    }
}

static void announce(struct pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    /* The sleeper counts itself in before it looks at the generation a last time under the lock,
     * so either it sees the new one or we see it asleep. */
    if (atomic_load(&p->sleeping) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

struct pool *pool_new(int threads, struct err *err)
{
    if (threads <= 0) {
        cpu_set_t set;
        threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    }
    struct pool *p = calloc(1, sizeof *p);
    if (!p || !(p->ids = calloc((size_t)threads, sizeof *p->ids))) {
        free(p);
        err_set(err, ERR_INTERNAL, "no memory for %d threads", threads);
        return NULL;
    }
    p->threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < threads; i++) {
        struct start *s = malloc(sizeof *s);
        if (!s)
            goto fail;
        *s = (struct start){p, i};
        if (pthread_create(&p->ids[i], NULL, thread_main, s) != 0) {
            free(s);
            goto fail;
        }
        p->started++;
    }
    return p;
fail:
    err_set(err, ERR_INTERNAL, "could not start %d threads", threads);
    pool_free(p);
    return NULL;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    announce(p);
    for (int i = 1; i <= p->started; i++)
        pthread_join(p->ids[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->ids);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p ? p->threads : 1;
}

void pool_run(struct pool *p, size_t n, pool_fn *fn, void *ctx)
{
    if (!p || p->threads == 1 || n <= 1) {
        for (size_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store(&p->next, 0);
    atomic_store(&p->running, p->threads - 1);
    announce(p);
    take_tasks(p, 0);
    while (atomic_load(&p->running) > 0)
        relax();
}
