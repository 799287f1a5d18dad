#include "server/paint/tally.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MOST 4000
#define SLOTS 8192 /* a power of two, twice as many as rows: chains are short */

struct entry {
    char worker[80], model[200], key_id[40], outcome[16];
    uint64_t jobs, pictures;
    double seconds;
};

struct tally {
    pthread_mutex_t lock;
    struct entry *slots[SLOTS];
    size_t count;
};

struct tally *tally_new(struct err *err)
{
    struct tally *t = calloc(1, sizeof *t);
    if (t)
        pthread_mutex_init(&t->lock, NULL);
    else
        err_set(err, ERR_INTERNAL, "no memory for the figures");
    return t;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        free(t->slots[i]);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* FNV-1a, 32 bits (Fowler, Noll and Vo), the texts' ends included. */
static uint32_t hash_of(uint32_t hash, const char *text)
{
    const char *p = text;
    do
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    while (*p++);
    return hash;
}

static bool is_same(const struct entry *a, const struct entry *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->key_id, b->key_id) == 0 &&
           strcmp(a->worker, b->worker) == 0 && strcmp(a->outcome, b->outcome) == 0;
}

/* NULL: there is no room for another, or no memory. */
static struct entry *find(struct tally *t, const struct entry *wanted, size_t most)
{
    uint32_t hash = hash_of(2166136261u, wanted->worker);
    hash = hash_of(hash_of(hash_of(hash, wanted->model), wanted->key_id), wanted->outcome);
    size_t at = hash % SLOTS;
    while (t->slots[at] && !is_same(t->slots[at], wanted))
        at = (at + 1) % SLOTS;
    if (!t->slots[at] && t->count < most && (t->slots[at] = malloc(sizeof *wanted))) {
        *t->slots[at] = *wanted;
        t->count++;
    }
    return t->slots[at];
}

void tally_add(struct tally *t, const char *worker, const char *model, const char *key_id,
               const char *outcome, int pictures, int64_t ms)
{
    struct entry wanted = {0};
    if (!t)
        return;
    snprintf(wanted.worker, sizeof wanted.worker, "%s", worker);
    snprintf(wanted.model, sizeof wanted.model, "%s", model ? model : "");
    snprintf(wanted.key_id, sizeof wanted.key_id, "%s", key_id);
    snprintf(wanted.outcome, sizeof wanted.outcome, "%s", outcome);
    pthread_mutex_lock(&t->lock);
    struct entry *e = find(t, &wanted, ROWS_MOST);
    if (!e) {
        strcpy(wanted.worker, "other");
        strcpy(wanted.model, "other");
        strcpy(wanted.key_id, "other");
        e = find(t, &wanted, SLOTS - 1);
    }
    if (e) {
        e->jobs++;
        e->pictures += pictures > 0 ? (uint64_t)pictures : 0;
        e->seconds += ms > 0 ? (double)ms / 1000 : 0;
    }
    pthread_mutex_unlock(&t->lock);
}

void tally_each(struct tally *t, void (*fn)(void *ctx, const struct tally_row *row), void *ctx)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct entry *e = t->slots[i];
        if (e)
            fn(ctx, &(struct tally_row){e->worker, e->model, e->key_id, e->outcome, e->jobs,
                                        e->pictures, e->seconds});
    }
    pthread_mutex_unlock(&t->lock);
}
