/* sqlite_sql.h: what the driver's files share: the connection, its statements, and helpers that
 * turn what SQLite says into struct err. Nobody else includes it. */
#ifndef PICTOR_SERVER_SQLITE_SQL_H
#define PICTOR_SERVER_SQLITE_SQL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "server/store/store_driver.h"

enum statement {
    SQL_BEGIN,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVE,
    SQL_SAVE_KEEP,
    SQL_SAVE_UNDO,
    SQL_OPTION_GET,
    SQL_OPTION_SET,
    SQL_KEY_INSERT,
    SQL_KEY_ALL,
    SQL_KEY_PREFIX,
    SQL_KEY_ANY,
    SQL_KEY_REVOKE,
    SQL_JOB_INSERT,
    SQL_JOB_GET,
    SQL_JOB_INDEX,
    SQL_JOB_UNINDEX,
    SQL_JOB_TAGGED,
    SQL_JOB_ALL,
    SQL_JOB_LINE,
    SQL_JOB_DEPTH,
    SQL_JOB_BACKLOG,
    SQL_JOB_NEXT,
    SQL_JOB_START,
    SQL_JOB_TURN,
    SQL_JOB_LEASE,
    SQL_JOB_RENEW,
    SQL_JOB_INTERRUPT,
    SQL_JOB_REQUEUE,
    SQL_JOB_END,
    SQL_JOB_DELETE,
    SQL_JOB_EXPIRED,
    SQL_JOB_FINISHED_BEFORE,
    SQL_JOB_KEYLESS,
    SQL_JOB_WAITED,
    SQL_JOB_SHORT,
    SQL_JOB_LOST,
    SQL_JOB_RANK,
    SQL_JOB_RANK_MOST,
    SQL_JOB_NAMELESS,
    SQL_IMAGE_AT,
    SQL_IMAGE_DELETE,
    SQL_IMAGE_INSERT,
    SQL_IMAGE_GET,
    SQL_IMAGES_OF_JOB,
    SQL_IMAGE_ALL,
    SQL_INPUT_PUT,
    SQL_INPUT_BYTES,
    SQL_INPUT_WAITING,
    SQL_INPUT_DELETE,
    SQL_INPUT_ALL,
    SQL_ORDER_PUT,
    SQL_ORDER_GET,
    SQL_ORDER_DELETE,
    SQL_RECORD_PUT,
    SQL_RECORD_GET,
    SQL_RECORD_NEWEST,
    SQL_RECORD_OLDEST,
    SQL_RECORD_TOTAL,
    SQL_RECORD_DELETE,
    SQL_RECORD_FILES,
    SQL_MARKS_OF_JOB,
    SQL_MARK_ADD,
    SQL_MARK_REMOVE,
    SQL_MARK_COUNT,
    SQL_MARK_TAGS,
    SQL_IMAGE_JOB,
    SQL_ONCE_GET,
    SQL_ONCE_PUT,
    SQL_ONCE_FORGET,
    SQL_WEBHOOK_PUT,
    SQL_WEBHOOK_LIST,
    SQL_WEBHOOK_DELETE,
    SQL_WEBHOOK_TOLD,
    SQL_WEBHOOK_FAILED,
    SQL_DELIVERY_ADD,
    SQL_DELIVERY_DUE,
    SQL_DELIVERY_AGAIN,
    SQL_DELIVERY_DONE,
    SQL_INTEGRITY,
    SQL_FOREIGN_KEYS,
    SQL_SEARCH_CHECK,
    SQL_SEARCH_REBUILD,
    SQL_COUNT
};

#define SQLITE_JOB_COLUMNS                                                                         \
    "id, key_id, state, priority, attempts, created_ms, started_ms, finished_ms, error_code, "     \
    "error_message, params, sequence, refusal"

#define SQLITE_READERS                                                                             \
    4                   /* reads take microseconds: more would wait for the disk, not for a turn   \
                         */
#define SQLITE_LISTS 480 /* kinds of lists, numbered by sqlite_list.c */

/* One way into the database, with statements of its own, prepared when they are first needed; used
 * by one thread at a time. */
struct sqlite_connection {
    struct sqlite *owner;
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT], *lists[SQLITE_LISTS];
    bool busy;               /* a reader: under `reading` */
    int64_t deadline;        /* of a reader at work, now_ms */
    const atomic_bool *gone; /* nobody waits for its answer any more; NULL: somebody does */
};

struct sqlite {
    struct store store; /* first: the store's functions get a pointer to it */
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
/* Sees what was committed when it was taken, and nothing later; inside store_begin..commit it is
 * the writer, which sees what the thread has written. */
struct sqlite_connection *sqlite_reader(struct store *st);
/* A reader for what may take long: it has a deadline, and `gone` (may be NULL) ends it earlier. */
struct sqlite_connection *sqlite_searcher(struct store *st, const atomic_bool *gone);
void sqlite_release(struct sqlite_connection *c);

/* Binds by `types`, a letter a parameter: t const char * (NULL is SQL NULL), i int64_t, b hash of
 * STORE_HASH_SIZE bytes; all are copied. The statement stays in use until sqlite_sql_done; NULL on
 * failure. */
sqlite3_stmt *sqlite_sql_bind(struct sqlite_connection *c, enum statement which, struct err *err,
                              const char *types, ...);
/* Likewise for list `which`, whose text is made by sqlite_list.c. */
sqlite3_stmt *sqlite_sql_bind_list(struct sqlite_connection *c, int which, const char *sql,
                                   struct err *err, const char *types, ...);
/* Steps to the next row. False at the end and on failure, which sets *failed. */
bool sqlite_sql_row(struct sqlite_connection *c, sqlite3_stmt *s, bool *failed, struct err *err);
void sqlite_sql_done(sqlite3_stmt *s); /* NULL is fine */
/* Binds, runs to the end, done: for statements without rows. */
bool sqlite_sql_run(struct sqlite_connection *c, enum statement which, struct err *err,
                    const char *types, ...);
/* All statements between these two, or none; inside of a transaction or alone. `done`: whether they
 * went well; returns whether all did. */
bool sqlite_sql_save(struct sqlite_connection *c, struct err *err);
bool sqlite_sql_keep(struct sqlite_connection *c, bool done, struct err *err);
int sqlite_sql_changes(struct sqlite_connection *c); /* rows the last statement changed */

const char *sqlite_sql_text(sqlite3_stmt *s, int column); /* never NULL */
/* Copies a text column; false when it does not fit. */
bool sqlite_sql_copy(sqlite3_stmt *s, int column, char *out, size_t size);

/* A job's or picture's id: it becomes a file name, so it is one or false. */
bool sqlite_sql_id(sqlite3_stmt *s, int column, char out[JOB_ID_SIZE]);
/* false outside least..INT_MAX. */
bool sqlite_sql_int(sqlite3_stmt *s, int column, int least, int *out);

extern const struct store_driver_job sqlite_job;
extern const struct store_driver_image sqlite_image;
extern const struct store_driver_record sqlite_record;
extern const struct store_driver_mark sqlite_mark;
extern const struct store_driver_once sqlite_once;
extern const struct store_driver_webhook sqlite_webhook;
extern const struct store_driver_check sqlite_check;

/* A row of JOB_COLUMNS, without pictures and position; job_free also after failure. */
bool sqlite_job_read(sqlite3_stmt *s, struct job *out, struct err *err);
/* Of a job that was read: its pictures, and what is said of it and of them. */
bool sqlite_job_images(struct sqlite_connection *c, struct job *job, struct err *err);
bool sqlite_mark_read(struct sqlite_connection *c, struct job *job, struct err *err);
/* As store_job_list. */
bool sqlite_list_jobs(struct store *st, const struct job_filter *filter, struct job **jobs,
                      size_t *count, int64_t *next, struct err *err);
/* A row of SQL_KEY_ALL; false when it is damaged. */
bool sqlite_key_read(sqlite3_stmt *s, struct key *out);
/* A row of IMAGE_COLUMNS; free out->infotext. */
bool sqlite_image_read(sqlite3_stmt *s, struct job_image *out, struct err *err);

#endif
