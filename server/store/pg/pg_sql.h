/* pg_sql.h: what the driver's files share: connections, their pool, and helpers that turn what
 * PostgreSQL says into struct err. Nobody else includes it. */
#ifndef PICTOR_SERVER_PG_SQL_H
#define PICTOR_SERVER_PG_SQL_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/store/sql/sql.h"

#define PG_CONNECTIONS 10 /* of a server; one more listens */
#define PG_NEWS_PAGE 500
#define PG_PLACE_SIZE 160
/* Locks by a number, whichever: held by each server that lives, by the one that leads, and while
 * the schema is changed. */
#define PG_ALIVE "5939218271"
#define PG_LEAD "5939218272"
#define PG_MIGRATION "5939218273"
#define PG_ALIVE_SHARED "SELECT pg_advisory_lock_shared(" PG_ALIVE ")"

struct pg;

/* One way into the database, with statements of its own, prepared when they are first needed; used
 * by one thread at a time. */
struct pg_connection {
    struct sql_connection sql; /* first: the rows' files get a pointer to it */
    struct pg *owner;
    PGconn *db; /* NULL: not connected */
    bool prepared[SQL_COUNT], lists[SQL_LISTS + SQL_TABLE_SLOTS];
    bool busy;                 /* under the pool's lock */
    _Atomic(pthread_t) holder; /* the thread inside store_begin..commit; 0: none */
    bool broken;               /* it is of no use any more */
    bool reads; /* a transaction that sees one state is begun with what comes first */
    bool searching;
    bool alone;              /* sql_save began the transaction */
    bool wrote;              /* what others are to hear of */
    int64_t deadline;        /* of the statement at work, now_ms */
    bool migrates;           /* what may take as long as it takes */
    const atomic_bool *gone; /* nobody waits for its answer any more; NULL: somebody does */
    int changes;
    struct err trouble; /* why there is no connection */
    struct pg_rows {
        struct sql_rows sql; /* first */
        struct pg_connection *c;
        PGresult *result; /* NULL: none in use */
        int at;           /* the row it stands on */
        bool streams;     /* rows come one by one */
        unsigned char hash[STORE_HASH_SIZE];
    } rows;
};

struct pg_ear;

struct pg {
    struct sql_store sql;         /* first: the store's functions get a pointer to it */
    char *address;                /* may hold a password: never shown */
    char place[PG_PLACE_SIZE];    /* for messages */
    char name[80];                /* of this server: application_name */
    PGconn *alone;                /* keeps all servers out; NULL: it does not */
    _Atomic(struct pg_ear *) ear; /* pg_listen.c */
    pthread_mutex_t lock;         /* what follows */
    pthread_cond_t freed;
    struct pg_connection pool[PG_CONNECTIONS];
    bool connecting;    /* a thread tries: the others do not wait for the network, too */
    int failures;       /* to connect, in a row */
    int64_t retry_at;   /* now_ms */
    struct err trouble; /* of the last one */
};

struct pg *pg_of(struct store *st);

/* ---- pg_pool.c ---- */

/* A connection of its own; NULL: `err`. */
PGconn *pg_pool_connect(struct pg *st, struct err *err);
/* Never NULL; a connection that could not be had is `broken`, and what is asked of it fails with
 * ERR_UNAVAILABLE. Inside store_begin..commit it is the transaction's. */
struct pg_connection *pg_pool_take(struct pg *st);
void pg_pool_give(struct pg_connection *c);
bool pg_pool_is_mine(const struct pg_connection *c);
void pg_pool_close(struct pg *st);
/* Waits for the answer of what was sent; NULL at the end of it, and on failure (c->broken). */
PGresult *pg_pool_answer(struct pg_connection *c, struct err *err);

/* Runs SQL without parameters and without rows. */
bool pg_pool_execute(struct pg_connection *c, const char *sql, struct err *err);

/* Puts what PostgreSQL says into `err`; false. `result` may be NULL: the connection is lost. */
bool pg_pool_fail(struct pg_connection *c, const PGresult *result, struct err *err);

/* ---- pg_sql.c, pg_list.c ---- */

extern const struct sql_ops pg_sql_ops;
void pg_list_sql(const struct sql_list *kind, char sql[SQL_LIST_SIZE]);
bool pg_list_match(const char *text, char match[SQL_MATCH_SIZE]);

#endif
