/* sqlite.c: the store's driver for SQLite: opening, schema and transactions.
 *
 * A thread between store_begin and store_commit is the only one that writes. WAL with
 * synchronous=FULL: committed means on disk.
 * The file may be damaged or hostile: every failure of SQLite is an error, every value read is
 * checked (ids that become paths above all), nothing asserts. */
#include "server/store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/incbin.h"
#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/store/sqlite/sqlite_sql.h"

#define LOCK_MS 2000              /* how long a killed server's last processes may keep the lock */
#define APPLICATION_ID 0x70696374 /* "pict": tells our file from another program's */

INCBIN(sqlite_migration_0001, "migrations/sqlite/0001_init.sql");
INCBIN(sqlite_migration_0002, "migrations/sqlite/0002_refusal.sql");
INCBIN(sqlite_migration_0003, "migrations/sqlite/0003_search.sql");
INCBIN(sqlite_migration_0004, "migrations/sqlite/0004_tag.sql");
INCBIN(sqlite_migration_0005, "migrations/sqlite/0005_orders.sql");
INCBIN(sqlite_migration_0006, "migrations/sqlite/0006_waited.sql");
INCBIN(sqlite_migration_0007, "migrations/sqlite/0007_records.sql");
INCBIN(sqlite_migration_0008, "migrations/sqlite/0008_marks.sql");
INCBIN(sqlite_migration_0009, "migrations/sqlite/0009_rank.sql");
INCBIN(sqlite_migration_0010, "migrations/sqlite/0010_once.sql");
INCBIN(sqlite_migration_0011, "migrations/sqlite/0011_webhooks.sql");
INCBIN(sqlite_migration_0012, "migrations/sqlite/0012_deliveries.sql");
INCBIN(sqlite_migration_0013, "migrations/sqlite/0013_shares.sql");
INCBIN(sqlite_migration_0014, "migrations/sqlite/0014_aside.sql");

/* Number i brings the schema from version i to i + 1. */
static const unsigned char *const migrations[] = {
    sqlite_migration_0001, sqlite_migration_0002, sqlite_migration_0003, sqlite_migration_0004,
    sqlite_migration_0005, sqlite_migration_0006, sqlite_migration_0007, sqlite_migration_0008,
    sqlite_migration_0009, sqlite_migration_0010, sqlite_migration_0011, sqlite_migration_0012,
    sqlite_migration_0013, sqlite_migration_0014};
#define SCHEMA ((int)(sizeof migrations / sizeof *migrations))

/* What is written to a file that has lost its name is lost with the process. */
static bool in_place(struct sqlite_connection *c, struct err *err)
{
    int moved = 0;
    sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return !moved || err_at(err, c->owner->path, ERR_UNAVAILABLE,
                            "the database was moved or deleted while in use");
}

static bool present(struct store *st, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool there = in_place(c, err);
    sqlite_release(c);
    return there;
}

static bool begin(struct store *st, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = in_place(c, err) && sqlite_sql_run(c, SQL_BEGIN, err);
    if (done)
        atomic_store(&sqlite_of(st)->holder, pthread_self());
    else
        sqlite_release(c);
    return done;
}

/* The end of a transaction. */
static void leave(struct store *st)
{
    atomic_store(&sqlite_of(st)->holder, (pthread_t)0);
    sqlite_release(&sqlite_of(st)->writer);
}

static void rollback(struct store *st)
{
    struct sqlite_connection *c = &sqlite_of(st)->writer;
    /* After some failures SQLite has rolled back by itself. */
    if (!sqlite3_get_autocommit(c->db))
        sqlite_sql_run(c, SQL_ROLLBACK, NULL);
    leave(st);
}

static bool commit(struct store *st, struct err *err)
{
    bool done = sqlite_sql_run(&sqlite_of(st)->writer, SQL_COMMIT, err);
    if (done)
        leave(st);
    else
        rollback(st);
    return done;
}

/* ---- opening ---- */

static bool pragma_int(struct sqlite *st, const char *sql, int *out, struct err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(st->writer.db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        *out = sqlite3_column_int(s, 0);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        sqlite_sql_fail(&st->writer, rc, err);
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
        return err_at(err, st->path, ERR_INVALID, "this is a database of another program");
    if (version > SCHEMA)
        return err_at(err, st->path, ERR_UNSUPPORTED,
                      "the database has schema %d, this pictor knows up to %d: use a newer pictor",
                      version, SCHEMA);
    if (version < 0)
        return err_at(err, st->path, ERR_IO, "the database has schema %d", version);
    char sql[96];
    for (; version < SCHEMA; version++) {
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 APPLICATION_ID, version + 1);
        if (!sqlite_sql_execute(&st->writer, (const char *)migrations[version], err) ||
            !sqlite_sql_execute(&st->writer, sql, err))
            return err_prefix(err, "migration %04d", version + 1);
        log_event(LOG_INFO, "store_migrated", "schema=%d", version + 1);
    }
    return true;
}

static bool migrate(struct sqlite *st, struct err *err)
{
    if (!sqlite_sql_execute(&st->writer, "BEGIN IMMEDIATE", err))
        return false;
    if (migrate_locked(st, err) && sqlite_sql_execute(&st->writer, "COMMIT", err)) {
        /* A new schema stands in the log, too, whose 600 KB a small disk would miss. */
        sqlite3_wal_checkpoint_v2(st->writer.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        return true;
    }
    sqlite3_exec(st->writer.db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

static bool open_database(struct sqlite *st, struct err *err)
{
    /* Created here and not by SQLite, because of the mode; the WAL's files copy it. */
    int fd = open(st->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST)
        return err_at(err, st->path, ERR_IO, "%s", strerror(errno));
    if (!sqlite_sql_open(st, &st->writer, true, err) || !migrate(st, err) ||
        !sqlite_sql_prepare_all(&st->writer, err) ||
        !sqlite_sql_open(st, &st->searcher, false, err))
        return false;
    /* Now, while descriptors are to be had. */
    for (int i = 0; i < SQLITE_READERS; i++)
        if (!sqlite_sql_open(st, &st->readers[i], false, err))
            return false;
    return true;
}

/* A process that a killed server had just forked holds the lock, too, until it notices: a server
 * that is started again at once waits for that. */
static bool take_lock(int fd)
{
    int64_t deadline = now_ms() + LOCK_MS;
    bool taken;
    while (!(taken = flock(fd, LOCK_EX | LOCK_NB) == 0) && errno == EWOULDBLOCK &&
           now_ms() < deadline)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return taken;
}

static bool take_folder(struct sqlite *st, struct err *err)
{
    char path[sizeof st->path], pid[16] = "";
    snprintf(path, sizeof path, "%s/lock", st->sql.store.data);
    st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (st->lock_fd < 0)
        return err_at(err, path, ERR_IO, "%s", strerror(errno));
    if (!take_lock(st->lock_fd)) {
        ssize_t n = pread(st->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        return err_at(err, st->sql.store.data, ERR_BUSY, "in use by another pictor, process %s",
                      *pid ? pid : "unknown");
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(st->lock_fd, 0) != 0 || pwrite(st->lock_fd, pid, (size_t)n, 0) != n)
        return err_at(err, path, ERR_IO, "%s", strerror(errno));
    return true;
}

static void close_database(struct store *store)
{
    struct sqlite *st = sqlite_of(store);
    for (int i = 0; i < SQLITE_READERS; i++)
        sqlite_sql_close(&st->readers[i]);
    sqlite_sql_close(&st->searcher);
    sqlite_sql_close(&st->writer); /* last: it takes the WAL away */
    if (st->lock_fd >= 0)
        close(st->lock_fd);
    pthread_mutex_destroy(&st->searching);
    pthread_cond_destroy(&st->freed);
    pthread_mutex_destroy(&st->reading);
    pthread_mutex_destroy(&st->writing);
    free(st);
}

static struct store *open_folder(const struct store_place *place, enum store_mode mode,
                                 struct err *err)
{
    const char *data = place->data;
    struct sqlite *st = calloc(1, sizeof *st);
    if (!st) {
        err_set(err, ERR_INTERNAL, "no memory for the store");
        return NULL;
    }
    st->sql.store.data = data;
    st->sql.ops = &sqlite_sql_ops;
    st->lock_fd = -1;
    pthread_mutex_init(&st->writing, NULL);
    pthread_mutex_init(&st->reading, NULL);
    pthread_cond_init(&st->freed, NULL);
    pthread_mutex_init(&st->searching, NULL);
    if (strlen(data) > sizeof st->path - 64) {
        err_set(err, ERR_INVALID, "the path of the data folder is too long");
        goto fail;
    }
    snprintf(st->path, sizeof st->path, "%s/pictor.db", data);
    if (mkdir(data, 0700) != 0 && errno != EEXIST) {
        err_at(err, data, ERR_IO, "the data folder cannot be made: %s", strerror(errno));
        goto fail;
    }
    if (mode != STORE_SHARED && !take_folder(st, err))
        goto fail;
    if (!open_database(st, err))
        goto fail;
    return &st->sql.store;
fail:
    close_database(&st->sql.store);
    return NULL;
}

static bool is_there(const struct store_place *place)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/pictor.db", place->data);
    return n < (int)sizeof path && access(path, F_OK) == 0;
}

const struct store_driver sqlite_driver = {
    .open = open_folder,
    .close = close_database,
    .exists = is_there,
    .present = present,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .option_get = sql_option_get,
    .option_set = sql_option_set,
    .key_insert = sql_key_insert,
    .key_each = sql_key_each,
    .key_any = sql_key_any,
    .key_revoke = sql_key_revoke,
    .key_set = sql_key_set,
    .key_share = sql_key_share,
    .job = &sql_job,
    .image = &sql_image,
    .aside = &sql_aside,
    .record = &sql_record,
    .mark = &sql_mark,
    .once = &sql_once,
    .webhook = &sql_webhook,
    .usage = &sql_usage,
    .worker = &sql_worker,
    .check = &sql_check,
    .table = &sql_table,
};
