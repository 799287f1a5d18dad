/* pool.c: One 64-bit ticket holds the loop's number above and the next task below, so taking a task
 * and making sure that it still belongs to the loop one has looked at is a single compare-and-swap.
 * The caller waits for tasks, not for threads: on a busy machine a thread that is not running takes
 * nothing and delays nothing; only one that was stopped in the middle of a task is waited for. */
#include "engine/base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define SPINS 4000 /* about 50 us of pauses: longer than the gap between two kernels */

struct pool {
    int threads;
    pthread_t *ids;
    int started;
    /* The loop. Read by threads that may be late, hence atomic; what was read counts only if the
     * ticket's number is still the same afterwards. */
    _Atomic(pool_fn *) fn;
    _Atomic(void *) ctx;
    atomic_size_t n;
    _Atomic uint64_t ticket;
    atomic_size_t done;
    atomic_bool stop;
    atomic_int sleeping;
    _Atomic uint64_t loops;
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

static uint32_t loop_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> 32);
}

static void take_tasks(struct pool *p, uint32_t loop, int thread)
{
    pool_fn *fn = atomic_load(&p->fn);
    void *ctx = atomic_load(&p->ctx);
    size_t n = atomic_load(&p->n);
    uint64_t ticket = atomic_load(&p->ticket);
    while (loop_of(ticket) == loop && (uint32_t)ticket < n) {
        if (!atomic_compare_exchange_weak(&p->ticket, &ticket, ticket + 1))
            continue;
        fn(ctx, (uint32_t)ticket, thread);
        atomic_fetch_add(&p->done, 1);
        ticket = atomic_load(&p->ticket);
    }
}

static void *thread_main(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    struct pool *p = s.pool;
    uint32_t seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && loop_of(atomic_load(&p->ticket)) == seen; i++)
            relax();
        if (loop_of(atomic_load(&p->ticket)) == seen) {
            pthread_mutex_lock(&p->lock);
            atomic_fetch_add(&p->sleeping, 1);
            while (loop_of(atomic_load(&p->ticket)) == seen)
                pthread_cond_wait(&p->wake, &p->lock);
            atomic_fetch_sub(&p->sleeping, 1);
            pthread_mutex_unlock(&p->lock);
        }
        seen = loop_of(atomic_load(&p->ticket));
        if (atomic_load(&p->stop))
            return NULL;
        take_tasks(p, seen, s.thread);
    }
}

/* The number that follows, with no task to take: whoever still looks at the last loop finds that
 * it is over, before fn, ctx and n change. */
static uint32_t close_loop(struct pool *p)
{
    uint32_t loop = loop_of(atomic_load(&p->ticket)) + 1;
    atomic_store(&p->ticket, (uint64_t)loop << 32 | UINT32_MAX);
    return loop;
}

static void open_loop(struct pool *p, uint32_t loop)
{
    atomic_store(&p->ticket, (uint64_t)loop << 32);
    /* The sleeper counts itself in before it looks at the ticket a last time under the lock, so
     * either it sees the new one or we see it asleep. */
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
    open_loop(p, close_loop(p) + 1);
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
    if (p)
        atomic_fetch_add_explicit(&p->loops, 1, memory_order_relaxed);
    if (!p || p->threads == 1 || n <= 1) {
        for (size_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        return;
    }
    assert(n < UINT32_MAX);
    uint32_t loop = close_loop(p) + 1;
    atomic_store(&p->fn, fn);
    atomic_store(&p->ctx, ctx);
    atomic_store(&p->n, n);
    atomic_store(&p->done, 0);
    open_loop(p, loop);
    take_tasks(p, loop, 0);
    for (int i = 0; atomic_load(&p->done) < n; i++) {
        relax();
        if (i > SPINS)
            sched_yield(); /* whoever has the last task may need this CPU for it */
    }
}

uint64_t pool_loops(const struct pool *p)
{
    return atomic_load_explicit(&p->loops, memory_order_relaxed);
}
