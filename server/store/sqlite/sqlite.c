/* sqlite.c: the store's driver for SQLite: the connection, its schema and statements, options and
 * keys; jobs, pictures and inputs are in sqlite_job.c and sqlite_image.c.
 *
 * One connection, one lock: every call is atomic by itself, and a thread between store_begin and
 * store_commit has the store for itself. The lock is recursive so that a call means the same alone
 * and in between. WAL with synchronous=FULL: committed means on disk.
 * The file may be damaged or hostile: every failure of SQLite is ERR_IO, every value read is
 * checked (ids that become paths above all), nothing asserts. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/incbin.h"
#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/store/sqlite/sqlite_sql.h"

#define APPLICATION_ID 0x70696374 /* "pict": tells our file from another program's */
#define BUSY_MS 10000             /* `pictor keys` beside a server waits for its turn to write */
#define SCOPE_PAINT 1             /* in keys.scopes: every key may */
#define SCOPE_ADMIN 2
#define VALUE_BYTES_MAX (64 << 20) /* no row needs more; a damaged one may claim gigabytes */

INCBIN(sqlite_migration_0001, "migrations/sqlite/0001_init.sql");
INCBIN(sqlite_migration_0002, "migrations/sqlite/0002_refusal.sql");

/* Number i brings the schema from version i to i + 1. */
static const unsigned char *const migrations[] = {sqlite_migration_0001, sqlite_migration_0002};
#define SCHEMA ((int)(sizeof migrations / sizeof *migrations))

#define JOB_COLUMNS                                                                                \
    "id, key_id, state, priority, attempts, created_ms, started_ms, finished_ms, error_code, "     \
    "error_message, params, sequence, refusal"
#define JOB_FILTER                                                                                 \
    "(?2 IS NULL OR state = ?2) AND (?3 IS NULL OR instr(lower(prompt), lower(?3)) > 0) "          \
    "AND (?4 = 0 OR sequence < ?4) ORDER BY sequence DESC LIMIT ?5"
#define IMAGE_COLUMNS "id, position, width, height, seed, subseed, format, bytes, infotext"

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_OPTION_GET] = "SELECT value FROM options WHERE name = ?1",
    [SQL_OPTION_SET] = "INSERT INTO options (name, value) VALUES (?1, ?2) "
                       "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [SQL_KEY_INSERT] = "INSERT INTO keys (id, name, scopes, prefix, hash, created_ms) "
                       "SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM keys "
                       "WHERE ?2 IN (name, id) AND revoked_ms = 0)",
    [SQL_KEY_ALL] = "SELECT id, name, scopes, created_ms, revoked_ms, hash FROM keys "
                    "ORDER BY sequence",
    [SQL_KEY_PREFIX] = "SELECT id, name, scopes, created_ms, revoked_ms, hash FROM keys "
                       "WHERE prefix = ?1 ORDER BY sequence",
    [SQL_KEY_REVOKE] = "UPDATE keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms = 0",
    [SQL_JOB_INSERT] = "INSERT INTO jobs (id, key_id, priority, model, prompt, count, params, "
                       "created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [SQL_JOB_GET] = "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?1 "
                    "AND (?2 IS NULL OR key_id = ?2)",
    [SQL_JOB_LIST] = "SELECT " JOB_COLUMNS " FROM jobs WHERE ?1 IS NULL AND " JOB_FILTER,
    [SQL_JOB_LIST_OF_KEY] = "SELECT " JOB_COLUMNS " FROM jobs WHERE key_id = ?1 AND " JOB_FILTER,
    [SQL_JOB_ALL] = "SELECT " JOB_COLUMNS " FROM jobs",
    /* In the order they will run if nothing else comes: within a priority the keys take turns, so
     * the n-th job of each key is in round n. */
    [SQL_JOB_POSITIONS] =
        "WITH q AS (SELECT id, priority, sequence, coalesce(turn, 0) AS turn, row_number() OVER "
        "(PARTITION BY key_id, priority ORDER BY sequence) AS round FROM jobs "
        "LEFT JOIN turns USING (key_id) WHERE state = 'queued') "
        "SELECT id FROM q ORDER BY priority DESC, round, turn, sequence",
    [SQL_JOB_DEPTH] = "SELECT (SELECT count(*) FROM jobs WHERE state = 'queued' AND "
                      "(?1 IS NULL OR key_id = ?1)), (SELECT count(*) FROM jobs WHERE "
                      "state = 'running' AND (?1 IS NULL OR key_id = ?1))",
    [SQL_JOB_BACKLOG] = "SELECT model, count(*), min(created_ms) FROM jobs WHERE state = 'queued' "
                        "GROUP BY model ORDER BY model LIMIT ?1",
    [SQL_JOB_NEXT] = "SELECT id FROM jobs LEFT JOIN turns USING (key_id) WHERE state = 'queued' "
                     "AND (?1 IS NULL OR model IN (SELECT value FROM json_each(?1))) "
                     "ORDER BY priority DESC, coalesce(turn, 0), sequence LIMIT 1",
    [SQL_JOB_START] = "UPDATE jobs SET state = 'running', attempts = attempts + 1, "
                      "token = token + 1, owner = ?2, started_ms = ?3, lease_until = ?4, "
                      "interrupted = 0 WHERE id = ?1 AND state = 'queued' RETURNING token",
    [SQL_JOB_TURN] = "INSERT INTO turns (key_id, turn) SELECT key_id, (SELECT "
                     "coalesce(max(turn), 0) + 1 FROM turns) FROM jobs WHERE id = ?1 "
                     "ON CONFLICT (key_id) DO UPDATE SET turn = excluded.turn",
    [SQL_JOB_LEASE] = "SELECT state, key_id, token, attempts, count, interrupted, (SELECT count(*) "
                      "FROM images WHERE job_id = jobs.id) FROM jobs WHERE id = ?1",
    [SQL_JOB_RENEW] = "UPDATE jobs SET lease_until = ?2 WHERE id = ?1 AND state = 'running'",
    [SQL_JOB_INTERRUPT] = "UPDATE jobs SET interrupted = 1 WHERE id = ?1 AND state = 'running'",
    [SQL_JOB_REQUEUE] = "UPDATE jobs SET state = 'queued', owner = '', lease_until = 0, "
                        "attempts = max(attempts - ?2, 0) WHERE id = ?1 AND state = 'running'",
    [SQL_JOB_END] = "UPDATE jobs SET state = ?2, finished_ms = ?3, error_code = ?4, "
                    "error_message = ?5, refusal = ?6, owner = '', lease_until = 0 WHERE id = ?1 "
                    "AND state IN ('queued', 'running')",
    [SQL_JOB_DELETE] = "DELETE FROM jobs WHERE id = ?1",
    [SQL_JOB_EXPIRED] = "SELECT id FROM jobs WHERE state = 'running' AND lease_until < ?1 "
                        "ORDER BY lease_until LIMIT ?2",
    [SQL_JOB_FINISHED_BEFORE] = "SELECT id FROM jobs WHERE finished_ms > 0 AND finished_ms < ?1 "
                                "ORDER BY finished_ms LIMIT ?2",
    [SQL_JOB_SHORT] = "SELECT id, count, n FROM (SELECT id, count, interrupted, (SELECT count(*) "
                      "FROM images WHERE job_id = jobs.id) AS n FROM jobs WHERE state = 'done') "
                      "WHERE n < count AND interrupted = 0",
    [SQL_JOB_LOST] = "UPDATE jobs SET state = 'failed', error_code = 'io', error_message = "
                     "'its pictures were lost' WHERE id = ?1 AND state = 'done'",
    [SQL_JOB_NAMELESS] = "UPDATE jobs SET state = 'failed', error_code = 'internal', "
                         "error_message = 'its id is damaged' WHERE state IN ('queued', 'running') "
                         "AND (length(CAST(id AS BLOB)) <> 32 OR id GLOB '*[^0-9a-f]*')",
    [SQL_IMAGE_AT] = "SELECT " IMAGE_COLUMNS " FROM images WHERE job_id = ?1 AND position = ?2",
    [SQL_IMAGE_DELETE] = "DELETE FROM images WHERE id = ?1",
    [SQL_IMAGE_INSERT] = "INSERT INTO images (id, job_id, position, width, height, seed, subseed, "
                         "format, bytes, infotext) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
                         "?10)",
    [SQL_IMAGE_GET] = "SELECT " IMAGE_COLUMNS " FROM images WHERE id = ?1 AND (?2 IS NULL OR "
                      "job_id IN (SELECT id FROM jobs WHERE key_id = ?2))",
    [SQL_IMAGES_OF_JOB] = "SELECT " IMAGE_COLUMNS " FROM images WHERE job_id = ?1 "
                          "ORDER BY position",
    [SQL_IMAGE_ALL] = "SELECT " IMAGE_COLUMNS ", job_id FROM images",
    [SQL_INPUT_PUT] = "INSERT INTO inputs (job_id, name, bytes) VALUES (?1, ?2, ?3)",
    [SQL_INPUT_BYTES] = "SELECT bytes FROM inputs WHERE job_id = ?1 AND name = ?2",
    [SQL_INPUT_DELETE] = "DELETE FROM inputs WHERE job_id = ?1 AND name = ?2",
    [SQL_INPUT_ALL] = "SELECT job_id, name, bytes FROM inputs",
    [SQL_INTEGRITY] = "PRAGMA integrity_check(20)",
    [SQL_FOREIGN_KEYS] = "PRAGMA foreign_key_check",
};

struct sqlite {
    struct store store; /* first: the store's functions get a pointer to it */
    char path[4096];
    int lock_fd;
    pthread_mutex_t mutex;
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT];
};

static struct sqlite *of(struct store *st)
{
    return (struct sqlite *)st;
}

void sqlite_lock(struct store *st)
{
    pthread_mutex_lock(&of(st)->mutex);
}

void sqlite_unlock(struct store *st)
{
    pthread_mutex_unlock(&of(st)->mutex);
}

/* ---- SQLite's answers ---- */

static bool fail_sql(const struct sqlite *st, int rc, struct err *err)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return err_set(err, ERR_IO, "%.120s is damaged: %s", st->path, sqlite3_errmsg(st->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_UNAVAILABLE, "%.120s is in use by another process", st->path);
    case SQLITE_CONSTRAINT:
    case SQLITE_MISUSE:
    case SQLITE_TOOBIG:
        return err_set(err, ERR_INTERNAL, "%.120s: %s", st->path, sqlite3_errmsg(st->db));
    case SQLITE_FULL:
        return err_set(err, ERR_NO_ROOM, "%.120s: %s", st->path, sqlite3_errmsg(st->db));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
        return err_set(err, ERR_UNAVAILABLE, "%.120s: %s", st->path, sqlite3_errmsg(st->db));
    }
    return err_set(err, ERR_IO, "%.120s: %s", st->path, sqlite3_errmsg(st->db));
}

static sqlite3_stmt *bind(struct sqlite *st, enum statement which, struct err *err,
                          const char *types, va_list ap)
{
    sqlite3_stmt *s = st->statements[which];
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
        if (*types == 't')
            rc = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
        else if (*types == 'i')
            rc = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        else
            rc = sqlite3_bind_blob(s, i, va_arg(ap, const void *), STORE_HASH_SIZE, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK)
        return s;
    fail_sql(st, rc, err);
    sqlite_sql_done(s);
    return NULL;
}

sqlite3_stmt *sqlite_sql_bind(struct store *st, enum statement which, struct err *err,
                              const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *s = bind(of(st), which, err, types, ap);
    va_end(ap);
    return s;
}

bool sqlite_sql_row(struct store *st, sqlite3_stmt *s, bool *failed, struct err *err)
{
    int rc = sqlite3_step(s);
    *failed = rc != SQLITE_ROW && rc != SQLITE_DONE;
    if (*failed)
        fail_sql(of(st), rc, err);
    return rc == SQLITE_ROW;
}

void sqlite_sql_done(sqlite3_stmt *s)
{
    if (!s)
        return;
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

bool sqlite_sql_run(struct store *st, enum statement which, struct err *err, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    sqlite3_stmt *s = bind(of(st), which, err, types, ap);
    va_end(ap);
    bool failed = !s;
    while (s && sqlite_sql_row(st, s, &failed, err))
        ;
    sqlite_sql_done(s);
    return !failed;
}

int sqlite_sql_changes(struct store *st)
{
    return sqlite3_changes(of(st)->db);
}

const char *sqlite_sql_text(sqlite3_stmt *s, int column)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    return text ? (const char *)text : "";
}

bool sqlite_sql_copy(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const char *text = sqlite_sql_text(s, column);
    size_t length = strlen(text);
    if (length >= size)
        return false;
    memcpy(out, text, length + 1);
    return true;
}

bool sqlite_sql_id(sqlite3_stmt *s, int column, char out[JOB_ID_SIZE])
{
    return ids_valid(sqlite_sql_text(s, column)) && sqlite_sql_copy(s, column, out, JOB_ID_SIZE);
}

bool sqlite_sql_int(sqlite3_stmt *s, int column, int least, int *out)
{
    sqlite3_int64 n = sqlite3_column_int64(s, column);
    *out = (int)n;
    return n >= least && n <= INT_MAX;
}

/* What is written to a file that has lost its name is lost with the process. */
static bool in_place(struct store *st, struct err *err)
{
    int moved = 0;
    sqlite3_file_control(of(st)->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return !moved ||
           err_set(err, ERR_UNAVAILABLE, "%.120s was moved or deleted while in use", of(st)->path);
}

static bool present(struct store *st, struct err *err)
{
    sqlite_lock(st);
    bool there = in_place(st, err);
    sqlite_unlock(st);
    return there;
}

static bool begin(struct store *st, struct err *err)
{
    sqlite_lock(st);
    if (in_place(st, err) && sqlite_sql_run(st, SQL_BEGIN, err, ""))
        return true;
    sqlite_unlock(st);
    return false;
}

static void rollback(struct store *st)
{
    /* After some failures SQLite has rolled back by itself. */
    if (!sqlite3_get_autocommit(of(st)->db))
        sqlite_sql_run(st, SQL_ROLLBACK, NULL, "");
    sqlite_unlock(st);
}

static bool commit(struct store *st, struct err *err)
{
    bool done = sqlite_sql_run(st, SQL_COMMIT, err, "");
    if (done)
        sqlite_unlock(st);
    else
        rollback(st);
    return done;
}

/* ---- opening ---- */

static bool execute(struct sqlite *st, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(st->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? true : fail_sql(st, rc, err);
}

static bool pragma_int(struct sqlite *st, const char *sql, int *out, struct err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(st->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *out = sqlite3_column_int(s, 0);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        fail_sql(st, rc, err);
    sqlite3_finalize(s);
    return rc == SQLITE_OK;
}

/* Inside a write transaction, so that two processes that start at once do not both migrate. */
static bool migrate_locked(struct sqlite *st, struct err *err)
{
    int version, application, tables;
    if (!pragma_int(st, "PRAGMA user_version", &version, err) ||
        !pragma_int(st, "PRAGMA application_id", &application, err) ||
        !pragma_int(st, "SELECT count(*) FROM sqlite_schema", &tables, err))
        return false;
    if (application != APPLICATION_ID && (tables > 0 || version != 0))
        return err_set(err, ERR_INVALID, "%.160s is a database of another program", st->path);
    if (version > SCHEMA)
        return err_set(err, ERR_UNSUPPORTED,
                       "%.120s has schema %d, this pictor knows up to %d: use a newer pictor",
                       st->path, version, SCHEMA);
    if (version < 0)
        return err_set(err, ERR_IO, "%.160s has schema %d", st->path, version);
    char sql[96];
    for (; version < SCHEMA; version++) {
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 APPLICATION_ID, version + 1);
        if (!execute(st, (const char *)migrations[version], err) || !execute(st, sql, err))
            return err_prefix(err, "migration %04d", version + 1);
        log_event(LOG_INFO, "store_migrated", "schema=%d", version + 1);
    }
    return true;
}

static bool migrate(struct sqlite *st, struct err *err)
{
    if (!execute(st, "BEGIN IMMEDIATE", err))
        return false;
    if (migrate_locked(st, err) && execute(st, "COMMIT", err))
        return true;
    sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

static bool open_database(struct sqlite *st, struct err *err)
{
    /* Created here and not by SQLite, because of the mode; the WAL's files copy it. */
    int fd = open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST)
        return err_set(err, ERR_IO, "%.160s: %s", st->path, strerror(errno));
    int rc =
        sqlite3_open_v2(st->path, &st->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK)
        return fail_sql(st, rc, err);
    sqlite3_busy_timeout(st->db, BUSY_MS);
    sqlite3_limit(st->db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
    sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* The schema of a file that somebody else wrote must not call functions of its choice, and
     * pages are checked before they are believed. */
    if (!execute(st,
                 "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; "
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                 "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
                 err) ||
        !migrate(st, err))
        return false;
    for (int i = 0; i < SQL_COUNT; i++) {
        rc = sqlite3_prepare_v3(st->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &st->statements[i], NULL);
        if (rc != SQLITE_OK)
            return fail_sql(st, rc, err);
    }
    return true;
}

static bool take_folder(struct sqlite *st, struct err *err)
{
    char path[sizeof st->path], pid[16] = "";
    snprintf(path, sizeof path, "%s/lock", st->store.data);
    st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (st->lock_fd < 0)
        return err_set(err, ERR_IO, "%.160s: %s", path, strerror(errno));
    if (flock(st->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(st->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        return err_set(err, ERR_BUSY, "%.160s is in use by another pictor, process %s",
                       st->store.data, *pid ? pid : "unknown");
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(st->lock_fd, 0) != 0 || pwrite(st->lock_fd, pid, (size_t)n, 0) != n)
        return err_set(err, ERR_IO, "%.160s: %s", path, strerror(errno));
    return true;
}

static void close_database(struct store *store)
{
    struct sqlite *st = of(store);
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(st->statements[i]);
    sqlite3_close(st->db);
    if (st->lock_fd >= 0)
        close(st->lock_fd);
    pthread_mutex_destroy(&st->mutex);
    free(st);
}

static struct store *open_folder(const char *data, enum store_mode mode, struct err *err)
{
    struct sqlite *st = calloc(1, sizeof *st);
    pthread_mutexattr_t recursive;
    if (!st) {
        err_set(err, ERR_INTERNAL, "no memory for the store");
        return NULL;
    }
    st->store.data = data;
    st->lock_fd = -1;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&st->mutex, &recursive);
    pthread_mutexattr_destroy(&recursive);
    if (strlen(data) > sizeof st->path - 64) {
        err_set(err, ERR_INVALID, "the path of the data folder is too long");
        goto fail;
    }
    snprintf(st->path, sizeof st->path, "%s/pictor.db", data);
    if (mkdir(data, 0700) != 0 && errno != EEXIST) {
        err_set(err, ERR_IO, "data folder %.160s: %s", data, strerror(errno));
        goto fail;
    }
    if (mode == STORE_ALONE && !take_folder(st, err))
        goto fail;
    if (!open_database(st, err))
        goto fail;
    return &st->store;
fail:
    close_database(&st->store);
    return NULL;
}

static bool is_there(const char *data)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/pictor.db", data);
    return n < (int)sizeof path && access(path, F_OK) == 0;
}

/* ---- options ---- */

static bool option_get(struct store *st, const char *name, char **value, struct err *err)
{
    *value = NULL;
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_OPTION_GET, err, "t", name);
    bool failed = !s;
    if (s && sqlite_sql_row(st, s, &failed, err)) {
        *value = strdup(sqlite_sql_text(s, 0));
        failed = !*value;
        if (failed)
            err_set(err, ERR_INTERNAL, "no memory for an option");
    }
    sqlite_sql_done(s);
    sqlite_unlock(st);
    return !failed;
}

static bool option_set(struct store *st, const char *name, const char *value, struct err *err)
{
    sqlite_lock(st);
    bool done = sqlite_sql_run(st, SQL_OPTION_SET, err, "tt", name, value);
    sqlite_unlock(st);
    return done;
}

/* ---- keys ---- */

static int64_t hash_prefix(const unsigned char *hash)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | hash[i];
    return (int64_t)n;
}

static bool key_insert(struct store *st, const struct key *key,
                       const unsigned char hash[STORE_HASH_SIZE], struct err *err)
{
    sqlite_lock(st);
    bool done = sqlite_sql_run(st, SQL_KEY_INSERT, err, "ttiibi", key->id, key->name,
                               (int64_t)(key->admin ? SCOPE_PAINT | SCOPE_ADMIN : SCOPE_PAINT),
                               hash_prefix(hash), hash, key->created_ms);
    if (done && sqlite_sql_changes(st) == 0)
        done = err_set(err, ERR_INVALID,
                       "there is a valid key \"%.64s\" already: take another name, or revoke it",
                       key->name);
    sqlite_unlock(st);
    return done;
}

static bool key_each(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                     struct err *err)
{
    sqlite_lock(st);
    sqlite3_stmt *s = hash ? sqlite_sql_bind(st, SQL_KEY_PREFIX, err, "i", hash_prefix(hash))
                           : sqlite_sql_bind(st, SQL_KEY_ALL, err, "");
    bool failed = !s, more = true;
    while (s && more && sqlite_sql_row(st, s, &failed, err)) {
        struct key key = {.admin = (sqlite3_column_int(s, 2) & SCOPE_ADMIN) != 0,
                          .created_ms = sqlite3_column_int64(s, 3),
                          .revoked_ms = sqlite3_column_int64(s, 4)};
        const unsigned char *stored = sqlite3_column_blob(s, 5);
        if (!sqlite_sql_copy(s, 0, key.id, sizeof key.id) || !*key.id ||
            !sqlite_sql_copy(s, 1, key.name, sizeof key.name) || !stored ||
            sqlite3_column_bytes(s, 5) != STORE_HASH_SIZE) {
            log_event(LOG_ERROR, "key_damaged", "hint=\"pictor fsck\"");
            continue;
        }
        more = fn(ctx, &key, stored);
    }
    sqlite_sql_done(s);
    sqlite_unlock(st);
    return !failed;
}

static bool key_revoke(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    sqlite_lock(st);
    bool done = sqlite_sql_run(st, SQL_KEY_REVOKE, err, "ti", id, now_ms);
    if (done && sqlite_sql_changes(st) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no valid key \"%.40s\"", id);
    sqlite_unlock(st);
    return done;
}

const struct store_driver sqlite_driver = {
    .open = open_folder,
    .close = close_database,
    .exists = is_there,
    .present = present,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .option_get = option_get,
    .option_set = option_set,
    .key_insert = key_insert,
    .key_each = key_each,
    .key_revoke = key_revoke,
    .job = &sqlite_job,
    .image = &sqlite_image,
    .check = &sqlite_check,
};
