/* rate.c: a bucket of tokens that fills in a minute is one number: when it will be full
 * (the "generic cell rate algorithm"). There is an entry for each name that has asked in the last
 * minute, up to a number: addresses are as many as strangers like. */
#include "server/http/rate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 80
#define NAMES_MAX 4096
#define OTHERS "" /* the name of those beyond */
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
    int count;
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

/* The bucket of `name`, or where a new one belongs; forgets those that are full on the way. */
static struct bucket **find(struct rate *r, const char *name, int64_t now)
{
    struct bucket **at = &r->first;
    while (*at && strcmp((*at)->name, name) != 0) {
        struct bucket *b = *at;
        if (b->full > now) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        r->count--;
        free(b);
    }
    return at;
}

/* The name under which a request of `name` is counted: its own, as long as there is room for it. */
static const char *counted_name(struct rate *r, const char *name, int64_t now)
{
    bool room = *find(r, name, now) || (r->count < NAMES_MAX && strlen(name) < NAME_SIZE);
    return room ? name : OTHERS;
}

static struct bucket *find_or_make(struct rate *r, const char *name, int64_t now)
{
    name = counted_name(r, name, now);
    struct bucket **at = find(r, name, now);
    if (!*at && (*at = calloc(1, sizeof **at))) {
        strcpy((*at)->name, name);
        r->count++;
    }
    return *at;
}

/* Milliseconds that one more comes too early; at most 0 when it does not. `b` NULL: none came. */
static int64_t early(const struct rate *r, const struct bucket *b, int64_t now)
{
    int64_t full = b && b->full > now ? b->full : now;
    return full + MINUTE_MS / r->per_minute - now - MINUTE_MS;
}

int64_t rate_wait(struct rate *r, const char *name, int64_t now)
{
    pthread_mutex_lock(&r->lock);
    int64_t wait = early(r, *find(r, counted_name(r, name, now), now), now);
    pthread_mutex_unlock(&r->lock);
    return wait > 0 ? wait : 0;
}

void rate_left(struct rate *r, const char *name, int64_t now, int *requests, int64_t *full_ms)
{
    pthread_mutex_lock(&r->lock);
    const struct bucket *b = *find(r, counted_name(r, name, now), now);
    *full_ms = b && b->full > now ? b->full - now : 0;
    *requests = (int)((MINUTE_MS - *full_ms) / (MINUTE_MS / r->per_minute));
    if (*requests > r->per_minute) /* a share of a minute is whole milliseconds */
        *requests = r->per_minute;
    pthread_mutex_unlock(&r->lock);
}

int64_t rate_take(struct rate *r, const char *name, int64_t now)
{
    int64_t wait = 0;
    pthread_mutex_lock(&r->lock);
    struct bucket *b = find_or_make(r, name, now);
    if (b) { /* without memory nobody is turned away */
        wait = early(r, b, now);
        if (wait <= 0)
            b->full = (b->full > now ? b->full : now) + MINUTE_MS / r->per_minute;
    }
    pthread_mutex_unlock(&r->lock);
    return wait > 0 ? wait : 0;
}
