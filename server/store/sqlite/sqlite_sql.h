/* sqlite_sql.h: what the driver's files share: the connection, its statements, and helpers that
 * turn what SQLite says into struct err. Nobody else includes it. */
#ifndef PICTOR_SERVER_SQLITE_SQL_H
#define PICTOR_SERVER_SQLITE_SQL_H

#include <sqlite3.h>

#include "server/store/store_driver.h"

enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_OPTION_GET,
    SQL_OPTION_SET,
    SQL_KEY_INSERT,
    SQL_KEY_ALL,
    SQL_KEY_PREFIX,
    SQL_KEY_REVOKE,
    SQL_JOB_INSERT,
    SQL_JOB_GET,
    SQL_JOB_LIST,
    SQL_JOB_LIST_OF_KEY,
    SQL_JOB_ALL,
    SQL_JOB_POSITIONS,
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
    SQL_JOB_SHORT,
    SQL_JOB_LOST,
    SQL_JOB_NAMELESS,
    SQL_IMAGE_AT,
    SQL_IMAGE_DELETE,
    SQL_IMAGE_INSERT,
    SQL_IMAGE_GET,
    SQL_IMAGES_OF_JOB,
    SQL_IMAGE_ALL,
    SQL_INPUT_PUT,
    SQL_INPUT_BYTES,
    SQL_INPUT_DELETE,
    SQL_INPUT_ALL,
    SQL_INTEGRITY,
    SQL_FOREIGN_KEYS,
    SQL_COUNT
};

void sqlite_lock(struct store *st); /* recursive */
void sqlite_unlock(struct store *st);

/* Binds by `types`, a letter a parameter: t const char * (NULL is SQL NULL), i int64_t, b hash of
 * STORE_HASH_SIZE bytes. The statement stays in use until sqlite_sql_done; NULL on failure. Under
 * the lock, like all below. Text is borrowed until then. */
sqlite3_stmt *sqlite_sql_bind(struct store *st, enum statement which, struct err *err,
                              const char *types, ...);
/* Steps to the next row. False at the end and on failure, which sets *failed. */
bool sqlite_sql_row(struct store *st, sqlite3_stmt *s, bool *failed, struct err *err);
void sqlite_sql_done(sqlite3_stmt *s); /* NULL is fine */
/* Binds, runs to the end, done: for statements without rows. */
bool sqlite_sql_run(struct store *st, enum statement which, struct err *err, const char *types,
                    ...);
int sqlite_sql_changes(struct store *st); /* rows the last statement changed */

const char *sqlite_sql_text(sqlite3_stmt *s, int column); /* never NULL */
/* Copies a text column; false when it does not fit. */
bool sqlite_sql_copy(sqlite3_stmt *s, int column, char *out, size_t size);

/* A job's or picture's id: it becomes a file name, so it is one or false. */
bool sqlite_sql_id(sqlite3_stmt *s, int column, char out[JOB_ID_SIZE]);
/* false outside least..INT_MAX. */
bool sqlite_sql_int(sqlite3_stmt *s, int column, int least, int *out);

extern const struct store_driver_job sqlite_job;
extern const struct store_driver_image sqlite_image;
extern const struct store_driver_check sqlite_check;

/* A row of JOB_COLUMNS, without pictures and position; job_free also after failure. */
bool sqlite_job_read(sqlite3_stmt *s, struct job *out, struct err *err);
/* A row of IMAGE_COLUMNS; free out->infotext. */
bool sqlite_image_read(sqlite3_stmt *s, struct job_image *out, struct err *err);

#endif
