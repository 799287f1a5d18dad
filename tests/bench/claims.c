/* claims.c: many painters that sleep instead of painting, on one PostgreSQL.
 *
 *     claims ADDRESS SERVERS PAINTERS JOBS KEYS MS
 *
 * opens the database as so many servers (each with its pool of connections), lets JOBS jobs of KEYS
 * keys be submitted, then lets PAINTERS threads claim, sleep MS milliseconds and finish until
 * nothing is left. Every job is claimed and ended as the queue does it, in transactions. Prints
 * claims a second, what submitting, claiming and finishing took, and how far the keys' mean waits
 * are apart. No two painters may get one job: that is checked. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/store/store.h"

#define SERVERS_MAX 32
#define SUBMITTERS 8

static struct store *stores[SERVERS_MAX];
static int servers, painters, jobs, keys, sleep_ms;
static double *submit_ms, *claim_ms, *finish_ms, *waited_ms; /* by job */
static atomic_int submitted, finished, empty, twice, failed;
static atomic_char *claimed;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double started;

static void *submitter(void *arg)
{
    size_t me = (size_t)arg;
    struct err err;
    for (int i; (i = atomic_fetch_add(&submitted, 1)) < jobs;) {
        struct job job = {.created_ms = 1 + i};
        job_params_init(&job.params);
        job.params.model = strdup("pictor-mini");
        job.params.prompt = strdup("a red circle");
        job.params.count = 1;
        snprintf(job.id, sizeof job.id, "%032x", i);
        snprintf(job.key_id, sizeof job.key_id, "%016x", i % keys);
        double t = now();
        if (!store_job_insert(stores[me % (size_t)servers], &job, &err)) {
            fprintf(stderr, "claims: %s\n", err.msg);
            atomic_fetch_add(&failed, 1);
        }
        submit_ms[i] = now() - t;
        job_params_free(&job.params);
    }
    return NULL;
}

/* 1: claimed; 0: nothing waits; -1: it went wrong. */
static int claim(struct store *st, char id[JOB_ID_SIZE], int64_t *token, struct err *err)
{
    struct job job;
    if (!store_begin(st, err))
        return -1;
    bool found = store_job_next(st, NULL, 0, id, err);
    if (found && !*id) {
        store_rollback(st);
        return 0;
    }
    if (!found || !store_job_start(st, id, "sleeper", 1, 60000, token, err) ||
        !store_job_get(st, id, NULL, &job, err)) {
        store_rollback(st);
        return -1;
    }
    job_free(&job);
    return store_commit(st, err) ? 1 : -1;
}

static void *painter(void *arg)
{
    struct store *st = stores[(size_t)arg % (size_t)servers];
    struct err err = {0};
    while (atomic_load(&finished) < jobs && atomic_load(&failed) < 100) {
        char id[JOB_ID_SIZE];
        int64_t token;
        double t = now();
        int got = claim(st, id, &token, &err);
        if (got <= 0) {
            atomic_fetch_add(got ? &failed : &empty, 1);
            if (got < 0)
                fprintf(stderr, "claims: %s: %s\n", err.where, err.msg);
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
            continue;
        }
        int i = (int)strtol(id, NULL, 16);
        claim_ms[i] = now() - t;
        waited_ms[i] = now() - started;
        if (atomic_exchange(&claimed[i], 1))
            atomic_fetch_add(&twice, 1);
        nanosleep(&(struct timespec){sleep_ms / 1000, sleep_ms % 1000 * 1000000}, NULL);
        t = now();
        if (!store_job_end(st, id, token, JOB_DONE, NULL, NULL, 2, &err)) {
            fprintf(stderr, "claims: %s\n", err.msg);
            atomic_fetch_add(&failed, 1);
        }
        finish_ms[i] = now() - t;
        atomic_fetch_add(&finished, 1);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, double *values)
{
    qsort(values, (size_t)jobs, sizeof *values, by_size);
    printf("%-8s p50 %8.2f ms   p99 %8.2f ms   most %8.2f ms\n", name, values[jobs / 2],
           values[(size_t)jobs * 99 / 100], values[jobs - 1]);
}

static void run(void *(*what)(void *), int count)
{
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], &small, what, (void *)(size_t)i) != 0)
            exit(1);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc != 7) {
        fprintf(stderr, "usage: claims ADDRESS SERVERS PAINTERS JOBS KEYS MS\n");
        return 2;
    }
    servers = atoi(argv[2]), painters = atoi(argv[3]), jobs = atoi(argv[4]);
    keys = atoi(argv[5]), sleep_ms = atoi(argv[6]);
    if (servers < 1 || servers > SERVERS_MAX || painters < 1 || jobs < 1 || keys < 1)
        return 2;
    submit_ms = calloc((size_t)jobs, sizeof *submit_ms);
    claim_ms = calloc((size_t)jobs, sizeof *claim_ms);
    finish_ms = calloc((size_t)jobs, sizeof *finish_ms);
    waited_ms = calloc((size_t)jobs, sizeof *waited_ms);
    claimed = calloc((size_t)jobs, sizeof *claimed);
    for (int i = 0; i < servers; i++) {
        char name[16];
        snprintf(name, sizeof name, "sim%d", i);
        const struct store_place place = {"/tmp", argv[1], name};
        if (!(stores[i] = store_open(&place, STORE_SERVE, &err))) {
            fprintf(stderr, "claims: %s\n", err.msg);
            return 1;
        }
    }
    double t = now();
    run(submitter, SUBMITTERS);
    printf("submitted %.0f a second\n", jobs / (now() - t) * 1e3);
    started = now();
    run(painter, painters);
    printf("claimed and finished %.0f a second; %d painters, %d servers\n",
           jobs / (now() - started) * 1e3, painters, servers);
    double least = 1e300, most = 0;
    for (int k = 0; k < keys && k < jobs; k++) {
        double sum = 0;
        int n = 0;
        for (int i = k; i < jobs; i += keys, n++)
            sum += waited_ms[i];
        least = sum / n < least ? sum / n : least;
        most = sum / n > most ? sum / n : most;
    }
    printf("mean wait of a key: %.0f to %.0f ms\n", least, most);
    print("submit", submit_ms);
    print("claim", claim_ms);
    print("finish", finish_ms);
    printf("twice %d, failed %d, nothing found %d\n", atomic_load(&twice), atomic_load(&failed),
           atomic_load(&empty));
    for (int i = 0; i < servers; i++)
        store_close(stores[i]);
    return atomic_load(&twice) || atomic_load(&failed);
}
