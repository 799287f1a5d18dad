/* pg.c: the store's driver for PostgreSQL: opening, schema and transactions.
 *
 * Several servers share one database. What one of them has looked at inside of a transaction stays
 * as it is until the end of that (rows are locked), and claims pass over what another one is about
 * to claim; leases end on the database's clock. */
#include "server/store/pg/pg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/incbin.h"
#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/store/pg/pg_listen.h"

#define LOCK_MS 60000
#define VERSION_LEAST 130000
#define START_MS 30000 /* for a database that is started at the same time */

INCBIN(pg_migration_0001, "migrations/postgresql/0001_init.sql");
INCBIN(pg_migration_0002, "migrations/postgresql/0002_shares.sql");
INCBIN(pg_migration_0003, "migrations/postgresql/0003_depth.sql");
INCBIN(pg_migration_0004, "migrations/postgresql/0004_deep.sql");
INCBIN(pg_migration_0005, "migrations/postgresql/0005_workers.sql");
INCBIN(pg_migration_0006, "migrations/postgresql/0006_aside.sql");

/* Number i brings the schema from version i to i + 1. */
static const unsigned char *const migrations[] = {pg_migration_0001, pg_migration_0002,
                                                  pg_migration_0003, pg_migration_0004,
                                                  pg_migration_0005, pg_migration_0006};
#define SCHEMA ((int)(sizeof migrations / sizeof *migrations))

bool pg_is_address(const char *database)
{
    return strncmp(database, "postgresql://", 13) == 0 || strncmp(database, "postgres://", 11) == 0;
}

/* ---- transactions ---- */

static bool present(struct store *st, struct err *err)
{
    struct pg_connection *c = pg_pool_take(pg_of(st));
    bool there = pg_pool_execute(c, "SELECT 1", err);
    pg_pool_give(c);
    return there;
}

static bool begin(struct store *st, struct err *err)
{
    struct pg_connection *c = pg_pool_take(pg_of(st));
    bool done = pg_pool_execute(c, "BEGIN", err);
    if (done)
        atomic_store(&c->holder, pthread_self());
    else
        pg_pool_give(c);
    return done;
}

/* Ends the calling thread's transaction. */
static bool end(struct store *st, const char *how, struct err *err)
{
    struct pg_connection *c = pg_pool_take(pg_of(st));
    /* A transaction in which something failed is rolled back by COMMIT, which says so by no error.
     */
    bool failed = c->db && !c->broken && PQtransactionStatus(c->db) == PQTRANS_INERROR;
    bool done = pg_pool_execute(c, how, err);
    if (done && failed && *how == 'C')
        done = err_set(err, ERR_INTERNAL, "a transaction that had failed was to be committed");
    atomic_store(&c->holder, (pthread_t)0);
    pg_pool_give(c);
    return done;
}

static bool commit(struct store *st, struct err *err)
{
    return end(st, "COMMIT", err);
}

static void rollback(struct store *st)
{
    end(st, "ROLLBACK", NULL);
}

/* ---- opening ---- */

/* One number from a statement; false when there was none. */
static bool number(struct pg_connection *c, const char *sql, int *out, struct err *err)
{
    PGresult *r = PQexec(c->db, sql);
    bool done = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1;
    if (done)
        *out = atoi(PQgetvalue(r, 0, 0));
    else
        pg_pool_fail(c, r, err);
    PQclear(r);
    return done;
}

/* All tables at once, or none: servers of the version before, which go on meanwhile, take some in
 * one order and some in another, and would wait for this as this waits for them. */
static bool lock_tables(struct pg_connection *c, struct err *err)
{
    int64_t end = now_ms() + LOCK_MS;
    while (!pg_pool_execute(c,
                            "SAVEPOINT alone; SET LOCAL lock_timeout = '300ms'; "
                            "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE; DO $$ DECLARE name text; "
                            "BEGIN FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE "
                            "schemaname = current_schema() LOOP EXECUTE 'LOCK TABLE ' || name || "
                            "' IN ACCESS EXCLUSIVE MODE NOWAIT'; END LOOP; END $$",
                            err)) {
        struct err undo;
        if (err->code != ERR_UNAVAILABLE || now_ms() > end ||
            !pg_pool_execute(c, "ROLLBACK TO alone", &undo))
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return true;
}

static bool migrate_locked(struct pg_connection *c, struct err *err)
{
    struct pg *st = c->owner;
    int known, others, version = 0;
    char sql[96];
    if (!number(c, "SELECT (to_regclass('pictor_schema') IS NOT NULL)::int", &known, err) ||
        !number(c, "SELECT (to_regclass('jobs') IS NOT NULL)::int", &others, err))
        return false;
    if (!known && others)
        return err_at(err, st->place, ERR_INVALID, "this is a database of another program");
    if (!known && !pg_pool_execute(c,
                                   "CREATE TABLE pictor_schema (version integer NOT NULL); "
                                   "INSERT INTO pictor_schema VALUES (0)",
                                   err))
        return false;
    if (!number(c, "SELECT version FROM pictor_schema", &version, err))
        return false;
    if (version > SCHEMA) /* a newer server's, which takes care to be understood by this one */
        log_event(LOG_WARN, "store_newer", "schema=%d known=%d", version, SCHEMA);
    if (others && version < SCHEMA && !lock_tables(c, err))
        return false;
    for (; version < SCHEMA; version++) {
        snprintf(sql, sizeof sql, "UPDATE pictor_schema SET version = %d", version + 1);
        if (!pg_pool_execute(c, (const char *)migrations[version], err) ||
            !pg_pool_execute(c, sql, err))
            return err_prefix(err, "migration %04d", version + 1);
        log_event(LOG_INFO, "store_migrated", "schema=%d", version + 1);
    }
    return true;
}

/* By whoever comes first; the others wait for that. */
static bool migrate(struct pg *st, struct err *err)
{
    struct pg_connection *c = pg_pool_take(st);
    c->migrates = true;
    bool done = pg_pool_execute(c,
                                "BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL "
                                "statement_timeout = 0",
                                err);
    if (done && PQserverVersion(c->db) < VERSION_LEAST)
        done =
            err_at(err, st->place, ERR_UNSUPPORTED, "PostgreSQL %d is too old: wanted %d or newer",
                   PQserverVersion(c->db) / 10000, VERSION_LEAST / 10000);
    done = done && pg_pool_execute(c, "SELECT pg_advisory_xact_lock(" PG_MIGRATION ")", err) &&
           migrate_locked(c, err) && pg_pool_execute(c, "COMMIT", err);
    c->migrates = false;
    pg_pool_give(c);
    return done;
}

/* "user@host:port/name" of an address, for messages: without its password. */
static bool read_place(struct pg *st, struct err *err)
{
    char *why = NULL;
    const char *host = "", *port = "", *name = "";
    PQconninfoOption *all = PQconninfoParse(st->address, &why);
    for (PQconninfoOption *o = all; o && o->keyword; o++) {
        const char *value = o->val ? o->val : "";
        if (strcmp(o->keyword, "host") == 0)
            host = value;
        else if (strcmp(o->keyword, "port") == 0)
            port = value;
        else if (strcmp(o->keyword, "dbname") == 0)
            name = value;
    }
    snprintf(st->place, sizeof st->place, "postgresql://%.60s%s%.10s/%.40s", host, *port ? ":" : "",
             port, name);
    PQconninfoFree(all);
    if (!all) /* what libpq says may quote the password */
        err_set(err, ERR_INVALID,
                "database must be an address such as postgresql://USER:PASSWORD@HOST/NAME");
    PQfreemem(why);
    return all != NULL;
}

static void close_database(struct store *store)
{
    struct pg *st = pg_of(store);
    pg_listen_stop(store);
    pg_pool_close(st);
    PQfinish(st->alone);
    pthread_cond_destroy(&st->freed);
    pthread_mutex_destroy(&st->lock);
    free(st->address);
    free(st);
}

/* Servers are many, a repair is alone. */
static bool take_turn(struct pg *st, enum store_mode mode, struct err *err)
{
    struct pg_connection c = {.sql.ops = &pg_sql_ops, .owner = st};
    int mine = 0;
    if (!(c.db = pg_pool_connect(st, err)))
        return false;
    bool done =
        number(&c,
               mode == STORE_ALONE ? "SELECT pg_try_advisory_lock(" PG_ALIVE ")::int"
                                   : "SELECT pg_try_advisory_lock_shared(" PG_ALIVE ")::int",
               &mine, err);
    if (done && !mine)
        done = err_at(err, st->place, ERR_BUSY, "the database is in use by another pictor");
    if (done && mode == STORE_ALONE)
        st->alone = c.db;
    else
        PQfinish(c.db); /* a server holds it where it listens */
    return done;
}

static bool open_database(struct pg *st, enum store_mode mode, struct err *err)
{
    int64_t end = now_ms() + START_MS;
    while (!migrate(st, err)) {
        if (mode != STORE_SERVE || err->code != ERR_UNAVAILABLE || now_ms() > end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    return mode == STORE_SHARED || take_turn(st, mode, err);
}

static struct store *open_address(const struct store_place *place, enum store_mode mode,
                                  struct err *err)
{
    struct pg *st = calloc(1, sizeof *st);
    if (!st || !(st->address = strdup(place->database))) {
        err_set(err, ERR_INTERNAL, "no memory for the store");
        free(st);
        return NULL;
    }
    st->sql.store.data = place->data;
    st->sql.ops = &pg_sql_ops;
    snprintf(st->name, sizeof st->name, "pictor %.50s", place->name ? place->name : "");
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->freed, NULL);
    for (int i = 0; i < PG_CONNECTIONS; i++) {
        st->pool[i].sql.ops = &pg_sql_ops;
        st->pool[i].owner = st;
    }
    if (!read_place(st, err))
        goto fail;
    if (mkdir(place->data, 0700) != 0 && errno != EEXIST) {
        err_at(err, place->data, ERR_IO, "the data folder cannot be made: %s", strerror(errno));
        goto fail;
    }
    if (open_database(st, mode, err))
        return &st->sql.store;
fail:
    close_database(&st->sql.store);
    return NULL;
}

static bool is_there(const struct store_place *place)
{
    return true;
}

const struct store_driver pg_driver = {
    .open = open_address,
    .close = close_database,
    .exists = is_there,
    .present = present,
    .listen = pg_listen_start,
    .hush = pg_listen_stop,
    .report = pg_listen_report,
    .leads = pg_listen_leads,
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
