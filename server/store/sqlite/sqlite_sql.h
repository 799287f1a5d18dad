/* sqlite_sql.h: what the driver's files share: the connection, its statements, and helpers that
 * turn what SQLite says into struct err. Nobody else includes it. */
#ifndef PICTOR_SERVER_SQLITE_SQL_H
#define PICTOR_SERVER_SQLITE_SQL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "server/store/sql/sql.h"

#define SQLITE_READERS                                                                             \
    4 /* reads take microseconds: more would wait for the disk, not for a turn                     \
       */

/* One way into the database, with statements of its own, prepared when they are first needed; used
 * by one thread at a time. */
struct sqlite_connection {
    struct sql_connection sql; /* first: the rows' files get a pointer to it */
    struct sqlite *owner;
    sqlite3 *db;
    struct sqlite_rows {
        struct sql_rows sql; /* first */
        sqlite3_stmt *s;
    } statements[SQL_COUNT], lists[SQL_LISTS + SQL_TABLE_SLOTS];
    bool busy;               /* a reader: under `reading` */
    int64_t deadline;        /* of a reader at work, now_ms */
    const atomic_bool *gone; /* nobody waits for its answer any more; NULL: somebody does */
};

struct sqlite {
    struct sql_store sql; /* first: the store's functions get a pointer to it */
    char path[4096];
    int lock_fd;
    pthread_mutex_t writing;   /* taken while the writer is used; over all of a transaction */
    _Atomic(pthread_t) holder; /* the thread inside store_begin..commit; 0: none */
    struct sqlite_connection writer;
    pthread_mutex_t reading; /* who has which reader */
    pthread_cond_t freed;
    struct sqlite_connection readers[SQLITE_READERS];
    pthread_mutex_t searching;
    struct sqlite_connection searcher;
};

struct sqlite *sqlite_of(struct store *st);

bool sqlite_sql_open(struct sqlite *owner, struct sqlite_connection *c, bool writes,
                     struct err *err);
void sqlite_sql_close(struct sqlite_connection *c);
bool sqlite_sql_prepare_all(struct sqlite_connection *c, struct err *err);
bool sqlite_sql_execute(struct sqlite_connection *c, const char *sql, struct err *err);
/* Puts what SQLite says into `err`; false. */
bool sqlite_sql_fail(const struct sqlite_connection *c, int rc, struct err *err);

/* Each is given back by sqlite_release. The writer may be taken again by the thread that has it. */
struct sqlite_connection *sqlite_writer(struct store *st);
void sqlite_release(struct sqlite_connection *c);

/* Runs a statement without parameters. */
bool sqlite_sql_run(struct sqlite_connection *c, enum sql_statement which, struct err *err);

extern const struct sql_ops sqlite_sql_ops;
/* sqlite_list.c: the members of struct sql_ops of these names. */
void sqlite_list_sql(const struct sql_list *kind, char sql[SQL_LIST_SIZE]);
bool sqlite_list_match(const char *text, char match[SQL_MATCH_SIZE]);

#endif
