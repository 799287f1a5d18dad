/* rate.c: a bucket of tokens that fills in a minute is one number: when it will be full
 * (the "generic cell rate algorithm"). There is an entry for each name that has asked; keys are
 * made by hand, so they are few. */
#include "server/http/rate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 64
#define MINUTE_MS 60000

struct bucket {
    char name[NAME_SIZE];
    int64_t full; /* when it will be */
    struct bucket *next;
};

struct rate {
    int per_minute;
    pthread_mutex_t lock;
    struct bucket *first;
};

struct rate *rate_new(int per_minute, struct err *err)
{
    struct rate *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, ERR_INTERNAL, "no memory for the rates");
        return NULL;
    }
    r->per_minute = per_minute;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void rate_free(struct rate *r)
{
    if (!r)
        return;
    while (r->first) {
        struct bucket *b = r->first;
        r->first = b->next;
        free(b);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct bucket *find(struct rate *r, const char *name)
{
    struct bucket *b = r->first;
    while (b && strcmp(b->name, name) != 0)
        b = b->next;
    if (!b && strlen(name) < sizeof b->name && (b = calloc(1, sizeof *b))) {
        strcpy(b->name, name);
        b->next = r->first;
        r->first = b;
    }
    return b;
}

int64_t rate_take(struct rate *r, const char *name, int64_t now)
{
    int64_t share = MINUTE_MS / r->per_minute, early = 0;
    pthread_mutex_lock(&r->lock);
    struct bucket *b = find(r, name);
    if (b) { /* without memory nobody is turned away */
        int64_t full = b->full > now ? b->full : now;
        early = full + share - now - MINUTE_MS;
        if (early <= 0)
            b->full = full + share;
    }
    pthread_mutex_unlock(&r->lock);
    return early > 0 ? early : 0;
}
