/* roster.h: who paints, by what each says of itself: the painter beside each server, and workers
 * elsewhere. For people who look, for figures, and for claims.
 *
 * It decides nothing about jobs: who holds one is in the store, and a server that starts again
 * knows everybody as soon as they claim or tell how far they are. Servers that share a store tell
 * each other through it, a change at once and what goes on every few seconds, so each answers for
 * all. Whoever is silent for long is forgotten. Thread-safe. */
#ifndef PICTOR_SERVER_ROSTER_H
#define PICTOR_SERVER_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/job/job.h"
#include "server/store/store.h"

#define ROSTER_AWAY_MS 90000    /* silent for so long, it is away: it claims or beats more often */
#define ROSTER_FORGET_MS 600000 /* and after so long, nobody remembers it */
#define ROSTER_WORD_MAX 199     /* bytes of a word of a list */

enum roster_state { ROSTER_STARTING, ROSTER_IDLE, ROSTER_PAINTING, ROSTER_AWAY };
/* "starting" and so on. */
const char *roster_state_name(enum roster_state state);

/* Zeroed is fine: nothing is known. Lists are words behind each other, each ended by a line end;
 * NULL: none. */
struct roster_worker {
    char id[STORE_OWNER_SIZE]; /* as the owners of its claims; "local:SERVER" */
    bool local;                /* beside a server */
    enum roster_state state;
    char job[JOB_ID_SIZE]; /* that it paints; "" */
    char name[STORE_NAME_SIZE], host[64], version[32];
    char device[128];          /* as pictor_engine_description says it */
    int64_t memory, disk;      /* bytes for models, in memory and on disk; 0: not said */
    double step_seconds, pace; /* of its last picture, and seconds for a megapixel's step; 0 */
    int64_t since_ms, seen_ms; /* Unix milliseconds: when it came, and was heard of last */
    char *families;            /* that it knows; NULL: nobody says */
    char *files;               /* SHA-256 of those that it has */
    char *models, *warm;       /* names of those that it has painted with, and has in memory */
};
void roster_worker_free(struct roster_worker *w); /* what is in it */

/* Adds a word of up to ROSTER_WORD_MAX bytes without line ends; false: it is none, or no memory. */
bool roster_add(char **list, const char *word);
bool roster_has(const char *list, const char *word);

struct roster;

/* `server`: the name of this one among those that share the store; borrowed, as the store is. */
struct roster *roster_new(struct store *store, const char *server, struct err *err);
/* The worker beside this server is gone for all. NULL is fine. */
void roster_free(struct roster *r);
const char *roster_server(const struct roster *r);

/* What a worker says of itself, in place of what it said; copies. Its id says who it is; when it
 * came and was heard of is for us to say. */
void roster_tell(struct roster *r, const struct roster_worker *w);

/* A worker was heard of. `job` NULL: none. */
void roster_doing(struct roster *r, const char *id, enum roster_state state, const char *job);

/* Calls fn for each worker that is not away, under a lock: it must ask nothing of the roster. */
void roster_each(struct roster *r, void (*fn)(void *ctx, const struct roster_worker *w), void *ctx);
/* Hears what other servers know, unless it did so in the last seconds. Waits for the store. */
void roster_refresh(struct roster *r);

/* Since when it has passed over others' jobs (struct queue_taste); this server's own notes. */
void roster_passing(struct roster *r, const char *id, const int64_t *since_ms);
void roster_passed(struct roster *r, const char *id, int64_t *since_ms);

/* It is not its job any more, if it was. */
void roster_lost(struct roster *r, const char *id, const char *job);

/* All workers of all servers, local ones first, then by name. *list is malloc'd. */
bool roster_list(struct roster *r, struct roster_worker **list, size_t *count, struct err *err);
void roster_list_free(struct roster_worker *list, size_t count);

#endif
