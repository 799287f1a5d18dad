/* claims.c: many painters that sleep instead of painting, on one PostgreSQL.
 *
 *     claims ADDRESS SERVERS PAINTERS JOBS KEYS MS [WAITING]
 *
 * opens the database as so many servers (each with its pool of connections), lets JOBS jobs of KEYS
 * keys be submitted (behind WAITING that are put there by SQL), then lets PAINTERS threads claim,
 * sleep MS milliseconds and finish until they have painted JOBS. Every job is claimed and ended as
 * the queue does it, in transactions. Prints claims a second, what submitting, claiming and
 * finishing took, how far the keys' mean waits are apart, and how large the database is. No two
 * painters may get one job: that is checked. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/now.h"
#include "server/store/store.h"

#define SERVERS_MAX 32
#define SUBMITTERS 8

static struct store *stores[SERVERS_MAX];
static int servers, painters, jobs, keys, sleep_ms, waiting;
static double *submit_ms, *claim_ms, *finish_ms, *waited_ms; /* in the order of claims */
static int *key_of;
static atomic_int submitted, begun, finished, empty, twice, failed;
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
        struct job job = {.created_ms = now_unix_ms()};
        job_params_init(&job.params);
        job.params.model = strdup("pictor-mini");
        job.params.prompt = strdup("a red circle");
        job.params.count = 1;
        snprintf(job.id, sizeof job.id, "%032x", waiting + i);
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
static int claim(struct store *st, char id[JOB_ID_SIZE], int *key, int64_t *token, struct err *err)
{
    struct job job;
    if (!store_begin(st, err))
        return -1;
    bool found = store_job_next(st, NULL, 0, id, err);
    if (found && !*id) {
        store_rollback(st);
        return 0;
    }
    if (!found || !store_job_start(st, id, "sleeper", now_unix_ms(), 60000, token, err) ||
        !store_job_get(st, id, NULL, &job, err)) {
        store_rollback(st);
        return -1;
    }
    *key = (int)strtol(job.key_id, NULL, 16);
    job_free(&job);
    return store_commit(st, err) ? 1 : -1;
}

static void *painter(void *arg)
{
    struct store *st = stores[(size_t)arg % (size_t)servers];
    struct err err = {0};
    while (atomic_load(&begun) < jobs && atomic_load(&failed) < 100) {
        char id[JOB_ID_SIZE];
        int64_t token;
        int key = 0;
        double t = now();
        int got = claim(st, id, &key, &token, &err);
        if (got <= 0) {
            atomic_fetch_add(got ? &failed : &empty, 1);
            if (got < 0)
                fprintf(stderr, "claims: %s: %s\n", err.where, err.msg);
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
            continue;
        }
        if (atomic_exchange(&claimed[strtol(id, NULL, 16)], 1))
            atomic_fetch_add(&twice, 1);
        int i = atomic_fetch_add(&begun, 1);
        if (i >= jobs) /* others were faster: it is left to its lease */
            break;
        key_of[i] = key;
        claim_ms[i] = now() - t;
        waited_ms[i] = now() - started;
        nanosleep(&(struct timespec){sleep_ms / 1000, sleep_ms % 1000 * 1000000}, NULL);
        t = now();
        if (!store_job_end(st, id, token, JOB_DONE, NULL, NULL, now_unix_ms(), &err)) {
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

/* Without triggers' news, and as the store would have written it. */
static bool ask(const char *address, const char *sql, char *answer, size_t size)
{
    PGconn *db = PQconnectdb(address);
    PGresult *r = PQexec(db, sql);
    ExecStatusType status = PQresultStatus(r);
    bool done = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (!done)
        fprintf(stderr, "claims: %s\n", PQerrorMessage(db));
    snprintf(answer, size, "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    PQfinish(db);
    return done;
}

static bool seed(const char *address)
{
    char sql[2000], answer[64];
    snprintf(sql, sizeof sql,
             "BEGIN; SELECT set_config('pictor.quiet', 'on', true);"
             "ALTER TABLE jobs DISABLE TRIGGER jobs_count;"
             "INSERT INTO turns (key_id) SELECT lpad(to_hex(k), 16, '0') FROM generate_series(0, "
             "%d) AS k ON CONFLICT DO NOTHING;"
             "INSERT INTO jobs (id, key_id, priority, model, prompt, count, params, created_ms, "
             "work) SELECT lpad(to_hex(n), 32, '0'), lpad(to_hex(n %% %d), 16, '0'), 0, "
             "'pictor-mini', 'a red circle', 1, (SELECT params FROM jobs LIMIT 1), pictor_now(), "
             "5240 FROM generate_series(0, %d) AS n;"
             "TRUNCATE backlog; INSERT INTO backlog SELECT key_id, model, count(*) FROM jobs "
             "WHERE state = 'queued' GROUP BY key_id, model;"
             "ALTER TABLE jobs ENABLE TRIGGER jobs_count; COMMIT; ANALYZE",
             keys - 1, keys, waiting - 1);
    return ask(address, sql, answer, sizeof answer);
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
    if (argc != 7 && argc != 8) {
        fprintf(stderr, "usage: claims ADDRESS SERVERS PAINTERS JOBS KEYS MS [WAITING]\n");
        return 2;
    }
    servers = atoi(argv[2]), painters = atoi(argv[3]), jobs = atoi(argv[4]);
    keys = atoi(argv[5]), sleep_ms = atoi(argv[6]), waiting = argc > 7 ? atoi(argv[7]) : 0;
    if (servers < 1 || servers > SERVERS_MAX || painters < 1 || jobs < 1 || keys < 1)
        return 2;
    submit_ms = calloc((size_t)jobs, sizeof *submit_ms);
    claim_ms = calloc((size_t)jobs, sizeof *claim_ms);
    finish_ms = calloc((size_t)jobs, sizeof *finish_ms);
    waited_ms = calloc((size_t)jobs, sizeof *waited_ms);
    key_of = calloc((size_t)jobs, sizeof *key_of);
    claimed = calloc((size_t)(jobs + waiting), sizeof *claimed);
    for (int i = 0; i < servers; i++) {
        char name[16];
        snprintf(name, sizeof name, "sim%d", i);
        const struct store_place place = {"/tmp", argv[1], name};
        if (!(stores[i] = store_open(&place, STORE_SERVE, &err))) {
            fprintf(stderr, "claims: %s\n", err.msg);
            return 1;
        }
    }
    char size[64] = "";
    double t = now();
    if (waiting > 0) { /* one through the store, for what its request looks like */
        int all = jobs;
        jobs = 1;
        run(submitter, 1);
        jobs = all;
        if (!seed(argv[1]))
            return 1;
        printf("%d wait, put there in %.0f s\n", waiting, (now() - t) / 1e3);
    }
    t = now();
    run(submitter, SUBMITTERS);
    printf("submitted %.0f a second\n", jobs / (now() - t) * 1e3);
    started = now();
    run(painter, painters);
    printf("claimed and finished %.0f a second; %d painters, %d servers\n",
           jobs / (now() - started) * 1e3, painters, servers);
    double least = 1e300, most = 0, *sums = calloc((size_t)keys, sizeof *sums);
    int *counts = calloc((size_t)keys, sizeof *counts), fewest = jobs, greatest = 0;
    for (int i = 0; i < jobs; i++) {
        sums[key_of[i] % keys] += waited_ms[i];
        counts[key_of[i] % keys]++;
    }
    for (int k = 0; k < keys && k < jobs; k++) {
        double mean = counts[k] ? sums[k] / counts[k] : 0;
        least = mean < least ? mean : least;
        most = mean > most ? mean : most;
        fewest = counts[k] < fewest ? counts[k] : fewest;
        greatest = counts[k] > greatest ? counts[k] : greatest;
    }
    printf("mean wait of a key: %.0f to %.0f ms; painted of a key: %d to %d\n", least, most, fewest,
           greatest);
    if (ask(argv[1], "SELECT pg_size_pretty(pg_database_size(current_database()))", size,
            sizeof size))
        printf("the database: %s\n", size);
    print("submit", submit_ms);
    print("claim", claim_ms);
    print("finish", finish_ms);
    printf("twice %d, failed %d, nothing found %d\n", atomic_load(&twice), atomic_load(&failed),
           atomic_load(&empty));
    for (int i = 0; i < servers; i++)
        store_close(stores[i]);
    return atomic_load(&twice) || atomic_load(&failed);
}
