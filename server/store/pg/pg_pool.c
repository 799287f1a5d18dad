/* pg_pool.c: connections to PostgreSQL, and what it answers.
 *
 * A connection is made when it is first needed and kept. One that the server has closed meanwhile
 * is found by a look at its socket before it is used, so that a restart of PostgreSQL costs nobody
 * a failure who comes after it. While it cannot be reached, one thread tries at a time, ever more
 * seldom, and all others hear at once what that one heard. Nothing waits without a deadline. */
#include "server/store/pg/pg_listen.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/base/now.h"

#define CONNECT_SECONDS "5"
#define ANSWER_MS 12000 /* longer than PostgreSQL itself lets a statement run */
#define MIGRATE_MS 3600000
#define SLICE_MS 100 /* between looks whether somebody still waits */
#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 3000

/* What no statement of ours needs; a server that dies silently holds nothing for longer. */
#define SESSION                                                                                    \
    "SET statement_timeout = '10s'; SET lock_timeout = '5s'; "                                     \
    "SET idle_in_transaction_session_timeout = '15s'; SET client_min_messages = 'warning'; "       \
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = "   \
    "3; "                                                                                          \
    "SET standard_conforming_strings = on; SET timezone = 'UTC'; SET bytea_output = 'hex'; "       \
    "SET default_transaction_isolation = 'read committed'"

/* ---- what it says ---- */

static bool is_class(const char *state, const char *class)
{
    return strncmp(state, class, 2) == 0;
}

/* One line, for the log. */
static void first_line(const char *text, char *out, size_t size)
{
    snprintf(out, size, "%s", text && *text ? text : "no answer");
    out[strcspn(out, "\n")] = '\0';
}

bool pg_pool_fail(struct pg_connection *c, const PGresult *result, struct err *err)
{
    struct pg *st = c->owner;
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char text[200], place[PG_PLACE_SIZE + 210];
    first_line(result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : PQerrorMessage(c->db),
               text, sizeof text);
    snprintf(place, sizeof place, "%s: %s", st->place, text);
    if (!c->db || PQstatus(c->db) == CONNECTION_BAD)
        c->broken = true;
    if (!state || c->broken || is_class(state, "08") || strncmp(state, "57P", 3) == 0) {
        c->broken = true;
        err_at(&c->trouble, place, ERR_UNAVAILABLE, "the database cannot be reached");
        return err_copy(err, &c->trouble);
    }
    if (strcmp(state, "57014") == 0 && c->searching)
        return err_set(err, ERR_BUSY, "the search took too long: ask for something rarer");
    if (strcmp(state, "53100") == 0)
        return err_at(err, place, ERR_NO_ROOM, "the database has no room on its disk");
    if (strcmp(state, "22021") == 0)
        return err_at(err, place, ERR_INVALID, "a text is not UTF-8");
    if (is_class(state, "XX") && strcmp(state, "XX000") != 0)
        return err_at(err, place, ERR_IO, "the database is damaged");
    /* Others' locks, deadlines, its limits, a copy that may not be written to: they pass. */
    static const char *const passing[] = {"40", "53", "55", "57", "58", "25"};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (is_class(state, passing[i]))
            return err_at(err, place, ERR_UNAVAILABLE, "the database cannot do it now");
    return err_at(err, place, ERR_INTERNAL, "the database refused a statement (%s)", state);
}

/* ---- connecting ---- */

PGconn *pg_pool_connect(struct pg *st, struct err *err)
{
    /* The later ones count, so an address may bring all but the last three. */
    const char *const names[] = {"connect_timeout",  "keepalives_idle",  "keepalives_interval",
                                 "keepalives_count", "tcp_user_timeout", "dbname",
                                 "application_name", "client_encoding",  NULL};
    const char *const values[] = {CONNECT_SECONDS, "10",     "5",    "3", "15000",
                                  st->address,     st->name, "UTF8", NULL};
    char place[PG_PLACE_SIZE + 210], text[200];
    PGconn *db = PQconnectdbParams(names, values, 1);
    PGresult *set = NULL;
    if (db && PQstatus(db) == CONNECTION_OK) {
        set = PQexec(db, SESSION);
        if (PQresultStatus(set) == PGRES_COMMAND_OK) {
            PQclear(set);
            return db;
        }
    }
    first_line(db ? PQerrorMessage(db) : "no memory", text, sizeof text);
    snprintf(place, sizeof place, "%s: %s", st->place, text);
    err_at(err, place, ERR_UNAVAILABLE, "the database cannot be reached");
    PQclear(set);
    PQfinish(db);
    return NULL;
}

static void disconnect(struct pg_connection *c)
{
    PQfinish(c->db);
    c->db = NULL;
    memset(c->prepared, 0, sizeof c->prepared);
    memset(c->lists, 0, sizeof c->lists);
}

/* An idle connection has nothing to say: what can be read is its end. */
static bool has_ended(struct pg_connection *c)
{
    struct pollfd p = {.fd = PQsocket(c->db), .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        return false;
    return !PQconsumeInput(c->db) || PQstatus(c->db) == CONNECTION_BAD ||
           (p.revents & (POLLHUP | POLLERR));
}

/* Under the lock, which it gives away meanwhile. */
static void connect_one(struct pg_connection *c)
{
    struct pg *st = c->owner;
    struct err err = {0};
    c->broken = true;
    if (st->connecting || now_ms() < st->retry_at) {
        c->trouble = st->trouble;
        return;
    }
    bool shy = st->failures > 0; /* else there is no reason to think that it would fail */
    st->connecting = shy;
    pthread_mutex_unlock(&st->lock);
    c->db = pg_pool_connect(st, &err);
    pthread_mutex_lock(&st->lock);
    if (shy)
        st->connecting = false;
    c->broken = !c->db;
    if (c->db && st->failures > 0)
        log_event(LOG_WARN, "database_reached", "attempts=%d", st->failures + 1);
    if (c->db) {
        st->failures = 0;
        st->retry_at = 0;
        return;
    }
    if (st->failures == 0)
        log_err(LOG_ERROR, "database_lost", &err, " ");
    st->failures++;
    st->retry_at = now_ms() + backoff_ms(st->failures, RETRY_LEAST_MS, RETRY_MOST_MS);
    c->trouble = st->trouble = err;
}

bool pg_pool_is_mine(const struct pg_connection *c)
{
    return pthread_equal(atomic_load(&c->holder), pthread_self());
}

/* A free one, one that is connected before others. Under the lock. */
static struct pg_connection *find_free(struct pg *st)
{
    struct pg_connection *found = NULL;
    for (int i = 0; i < PG_CONNECTIONS; i++)
        if (!st->pool[i].busy && (!found || (!found->db && st->pool[i].db)))
            found = &st->pool[i];
    return found;
}

struct pg_connection *pg_pool_take(struct pg *st)
{
    for (int i = 0; i < PG_CONNECTIONS; i++)
        if (pg_pool_is_mine(&st->pool[i]))
            return &st->pool[i];
    struct pg_connection *c;
    pthread_mutex_lock(&st->lock);
    while (!(c = find_free(st))) /* each is given back: its statements have deadlines */
        pthread_cond_wait(&st->freed, &st->lock);
    c->busy = true;
    c->reads = c->searching = c->alone = c->wrote = false;
    c->gone = NULL;
    c->changes = 0;
    if (c->db && has_ended(c))
        disconnect(c);
    c->broken = false;
    if (!c->db)
        connect_one(c);
    pthread_mutex_unlock(&st->lock);
    return c;
}

void pg_pool_give(struct pg_connection *c)
{
    struct pg *st = c->owner;
    if (pg_pool_is_mine(c))
        return;
    PQclear(c->rows.result);
    c->rows.result = NULL;
    if (c->db && !c->broken && PQtransactionStatus(c->db) != PQTRANS_IDLE)
        pg_pool_execute(c, "ROLLBACK", NULL);
    pthread_mutex_lock(&st->lock);
    if (c->db && (c->broken || PQtransactionStatus(c->db) != PQTRANS_IDLE))
        disconnect(c);
    bool wrote = c->wrote;
    c->busy = false;
    pthread_cond_signal(&st->freed);
    pthread_mutex_unlock(&st->lock);
    if (wrote)
        pg_listen_wake(st);
}

void pg_pool_close(struct pg *st)
{
    for (int i = 0; i < PG_CONNECTIONS; i++)
        disconnect(&st->pool[i]);
}

/* ---- answers ---- */

static void cancel(struct pg_connection *c)
{
    char why[256];
    PGcancel *order = PQgetCancel(c->db);
    if (order)
        PQcancel(order, why, sizeof why);
    PQfreeCancel(order);
}

PGresult *pg_pool_answer(struct pg_connection *c, struct err *err)
{
    bool cancelled = false;
    while (PQisBusy(c->db)) {
        struct pollfd p = {.fd = PQsocket(c->db), .events = POLLIN};
        int64_t left = c->deadline - now_ms();
        if (left <= 0) {
            c->broken = true;
            err_at(&c->trouble, c->owner->place, ERR_UNAVAILABLE,
                   "the database took too long to answer");
            err_copy(err, &c->trouble);
            return NULL;
        }
        if (!cancelled && c->gone && atomic_load(c->gone)) {
            cancel(c);
            cancelled = true;
        }
        int ready = poll(&p, 1, left < SLICE_MS ? (int)left : SLICE_MS);
        if ((ready < 0 && errno != EINTR) || (ready > 0 && !PQconsumeInput(c->db))) {
            c->broken = true;
            pg_pool_fail(c, NULL, err);
            return NULL;
        }
    }
    return PQgetResult(c->db);
}

bool pg_pool_execute(struct pg_connection *c, const char *sql, struct err *err)
{
    bool done = true;
    if (!c->db || c->broken)
        return err_copy(err, &c->trouble);
    c->deadline = now_ms() + (c->migrates ? MIGRATE_MS : ANSWER_MS);
    if (!PQsendQuery(c->db, sql))
        return pg_pool_fail(c, NULL, err);
    for (PGresult *r; (r = pg_pool_answer(c, NULL)); PQclear(r)) {
        ExecStatusType status = PQresultStatus(r);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && done)
            done = pg_pool_fail(c, r, err);
    }
    return c->broken ? err_copy(err, &c->trouble) : done;
}
