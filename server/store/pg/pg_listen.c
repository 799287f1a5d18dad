/* pg_listen.c: what happens in the database, told to this server; and what happens here, told to
 * the others.
 *
 * Triggers write a row of `news` in the transaction that changes something, so none is missed, and
 * a job's news are in the order of its changes, because its row is locked over each. NOTIFY only
 * says that there is something to read: it is sent after the commit, one for many (inside of a
 * transaction it would make all commits of the database wait for each other), and who missed it
 * looks once a second. Numbers that are not there yet are asked for again, until no transaction can
 * be open any more that would bring them: ranges of numbers, because a transaction that changes
 * many jobs takes many, and also those before the first that was read, because what was open then
 * was not there to be read.
 *
 * One thread with a connection of its own. That connection also holds the locks of a server that
 * lives: the one that keeps repairs out, and the one of the server that leads. They are gone with
 * it. */
#include "server/store/pg/pg_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/base/now.h"

#define LOOK_MS 1000
#define REPORT_MS 250 /* between reports of how far jobs are */
#define FORGET_MS 60000
#define GAP_MS 30000   /* longer than a transaction may be open */
#define GAPS_MOST 4096 /* ranges; far more than transactions can be open */
#define BEFORE 4096    /* numbers before the last one that may belong to transactions still open */
#define LEAD_MS 5000   /* who has not heard of the database for so long does not lead */
#define REPORTS 64
#define PREVIEW_MAX (256 << 10)
#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 3000

struct report {
    struct store_news news;
    uint8_t *preview;
};

struct pg_ear {
    struct pg *owner;
    store_news_fn *fn;
    void *ctx;
    pthread_t thread;
    atomic_bool stop, leads;
    atomic_llong heard; /* now_ms when the database answered last */
    int wake[2];        /* a pipe */
    struct pg_connection line;
    int64_t last; /* the greatest number that was read */
    bool knows_last;
    int64_t progress; /* likewise of progress */
    struct gap {
        int64_t from, to, until; /* both included; now_ms */
    } *gaps;
    size_t gap_count, gap_room;
    int failures;
    int64_t retry_at, forget_at, report_at;
    pthread_mutex_t lock; /* what follows */
    struct report reports[REPORTS];
    size_t report_count;
};

/* ---- from the other threads ---- */

/* What wakes the thread. */
#define CHANGED 'c' /* and the other servers are to look */
#define REPORTED 'r'
#define STOPPED 's'

static void wake(struct pg_ear *ear, char why)
{
    ssize_t n = write(ear->wake[1], &why, 1); /* a full pipe has woken it already */
    (void)n;
}

void pg_listen_wake(struct pg *st)
{
    struct pg_ear *ear = atomic_load(&st->ear);
    if (ear)
        wake(ear, CHANGED);
}

bool pg_listen_leads(struct store *store)
{
    struct pg_ear *ear = atomic_load(&pg_of(store)->ear);
    return ear && atomic_load(&ear->leads) && now_ms() - atomic_load(&ear->heard) < LEAD_MS;
}

/* Keeps the newest of each job; what finds no room is not told. */
static void keep_report(struct pg_ear *ear, const struct store_news *news)
{
    size_t i = 0;
    pthread_mutex_lock(&ear->lock);
    while (i < ear->report_count && strcmp(ear->reports[i].news.job_id, news->job_id) != 0)
        i++;
    if (i < REPORTS) {
        struct report *r = &ear->reports[i];
        if (i == ear->report_count) {
            ear->report_count++;
            r->preview = NULL;
            r->news.preview_size = 0;
        }
        uint8_t *preview = r->preview;
        size_t size = r->news.preview_size;
        r->news = *news;
        if (news->preview && news->preview_size <= PREVIEW_MAX) {
            free(preview);
            preview = malloc(news->preview_size + 1);
            size = preview ? news->preview_size : 0;
            if (preview)
                memcpy(preview, news->preview, size);
        }
        r->preview = preview;
        r->news.preview_size = size;
    }
    pthread_mutex_unlock(&ear->lock);
    wake(ear, REPORTED);
}

bool pg_listen_report(struct store *store, const struct store_news *news, struct err *err)
{
    struct pg_ear *ear = atomic_load(&pg_of(store)->ear);
    if (news->kind == STORE_NEWS_PROGRESS) {
        if (ear)
            keep_report(ear, news);
        return true;
    }
    struct sql_connection *c = sql_writer(store);
    bool done =
        sql_run(c, SQL_NEWS_SKIP, err, "tti", news->job_id, news->key_id, (int64_t)news->index);
    sql_release(c);
    return done;
}

/* ---- reading ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* malloc'd; NULL when it is empty or no hex. */
static uint8_t *from_hex(const char *hex, size_t *size)
{
    size_t n = strlen(hex) / 2;
    uint8_t *bytes = n ? malloc(n) : NULL;
    *size = 0;
    for (size_t i = 0; bytes && i < n; i++) {
        int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            free(bytes);
            return NULL;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *size = bytes ? n : 0;
    return bytes;
}

static bool kind_of(const char *name, enum store_news_kind *out)
{
    static const char *const names[] = {"state", "image", "deleted", "queue", "skip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum store_news_kind)i;
            return true;
        }
    return false; /* a newer server's */
}

/* What finds no room is not asked for again. */
static void add_gap(struct pg_ear *ear, int64_t from, int64_t to, int64_t until)
{
    if (ear->gap_count == ear->gap_room) {
        size_t room = ear->gap_room ? 2 * ear->gap_room : 64;
        struct gap *gaps = room > GAPS_MOST ? NULL : realloc(ear->gaps, room * sizeof *gaps);
        if (!gaps) {
            log_event(LOG_WARN, "news_lost", "numbers=%lld", (long long)(to - from + 1));
            return;
        }
        ear->gaps = gaps;
        ear->gap_room = room;
    }
    ear->gaps[ear->gap_count++] = (struct gap){from, to, until};
}

/* Notes that `number` was read, and those before it that were not. */
static void note_number(struct pg_ear *ear, int64_t number)
{
    for (size_t i = 0; i < ear->gap_count && number <= ear->last; i++) {
        struct gap *g = &ear->gaps[i];
        if (number < g->from || number > g->to)
            continue;
        struct gap behind = {number + 1, g->to, g->until};
        g->to = number - 1;
        if (g->from > g->to)
            *g = ear->gaps[--ear->gap_count];
        if (behind.from <= behind.to)
            add_gap(ear, behind.from, behind.to, behind.until);
        return;
    }
    if (number > ear->last + 1)
        add_gap(ear, ear->last + 1, number - 1, now_ms() + GAP_MS);
    if (number > ear->last)
        ear->last = number;
}

/* Those that were asked for at `asked`, when no transaction could be open any more that has them.
 */
static void forget_gaps(struct pg_ear *ear, int64_t asked)
{
    for (size_t i = 0; i < ear->gap_count;)
        if (asked > ear->gaps[i].until)
            ear->gaps[i] = ear->gaps[--ear->gap_count];
        else
            i++;
}

/* The firsts (or lasts) of all gaps, as an array; owned. */
static char *gaps_text(struct pg_ear *ear, bool lasts)
{
    size_t size = ear->gap_count * 21 + 3, n = 1;
    char *out = malloc(size);
    if (!out)
        return NULL;
    out[0] = '{';
    for (size_t i = 0; i < ear->gap_count; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "",
                              (long long)(lasts ? ear->gaps[i].to : ear->gaps[i].from));
    snprintf(out + n, size - n, "}");
    return out;
}

static bool read_last(struct pg_ear *ear, struct err *err)
{
    struct sql_connection *c = &ear->line.sql;
    bool failed;
    struct sql_rows *s = sql_bind(c, SQL_NEWS_LAST, err, "");
    if (s && sql_row(c, s, &failed, err)) {
        ear->last = sql_int64(s, 0);
        ear->progress = sql_int64(s, 1);
        ear->knows_last = true;
    }
    sql_done(s);
    if (!ear->knows_last)
        return false;
    ear->gap_count = 0;
    /* What is not there of the numbers before: most were taken back or forgotten long ago. */
    s = sql_bind(c, SQL_NEWS_GAPS, err, "ii", ear->last, (int64_t)BEFORE);
    failed = !s;
    while (s && sql_row(c, s, &failed, err))
        add_gap(ear, sql_int64(s, 0), sql_int64(s, 1), now_ms() + GAP_MS);
    sql_done(s);
    ear->knows_last = !failed;
    return ear->knows_last;
}

/* One page of news; *count says how many. */
static bool read_news(struct pg_ear *ear, int *count, struct err *err)
{
    struct sql_connection *c = &ear->line.sql;
    char *firsts = gaps_text(ear, false), *lasts = gaps_text(ear, true);
    int64_t asked = now_ms();
    bool failed;
    *count = 0;
    struct sql_rows *s =
        firsts && lasts ? sql_bind(c, SQL_NEWS_SINCE, err, "itt", ear->last, firsts, lasts) : NULL;
    failed = !s;
    free(firsts);
    free(lasts);
    while (s && sql_row(c, s, &failed, err)) {
        struct store_news news = {.index = (int)sql_int64(s, 6)};
        ++*count;
        note_number(ear, sql_int64(s, 0));
        bool known = kind_of(sql_text(s, 1), &news.kind);
        bool fits = sql_copy(s, 2, news.job_id, sizeof news.job_id) &&
                    sql_copy(s, 3, news.key_id, sizeof news.key_id) &&
                    sql_copy(s, 5, news.image_id, sizeof news.image_id);
        bool stateless = news.kind == STORE_NEWS_QUEUE;
        if (known && fits && (stateless || job_state_of(sql_text(s, 4), &news.state)))
            ear->fn(ear->ctx, &news);
    }
    sql_done(s);
    if (!failed && *count < PG_NEWS_PAGE)
        forget_gaps(ear, asked);
    return !failed;
}

static bool read_progress(struct pg_ear *ear, struct err *err)
{
    struct sql_connection *c = &ear->line.sql;
    struct sql_rows *s = sql_bind(c, SQL_NEWS_PROGRESS, err, "i", ear->progress);
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err)) {
        struct store_news news = {.kind = STORE_NEWS_PROGRESS, .state = JOB_RUNNING};
        ear->progress = sql_int64(s, 2);
        news.progress = (struct job_progress){.image = (int)sql_int64(s, 3),
                                              .step = (int)sql_int64(s, 4),
                                              .steps = (int)sql_int64(s, 5),
                                              .eta_seconds = (double)sql_int64(s, 6) / 1000};
        uint8_t *preview = from_hex(sql_text(s, 7), &news.preview_size);
        news.preview = preview;
        if (sql_copy(s, 0, news.job_id, sizeof news.job_id) &&
            sql_copy(s, 1, news.key_id, sizeof news.key_id))
            ear->fn(ear->ctx, &news);
        free(preview);
    }
    sql_done(s);
    return !failed;
}

static bool read_all(struct pg_ear *ear, struct err *err)
{
    int count;
    do
        if (!read_news(ear, &count, err))
            return false;
    while (count == PG_NEWS_PAGE && !atomic_load(&ear->stop));
    return read_progress(ear, err);
}

/* ---- telling ---- */

static bool tell_progress(struct pg_ear *ear, struct err *err)
{
    struct report reports[REPORTS];
    bool done = true;
    pthread_mutex_lock(&ear->lock);
    size_t count = ear->report_count;
    memcpy(reports, ear->reports, count * sizeof *reports);
    ear->report_count = 0;
    pthread_mutex_unlock(&ear->lock);
    for (size_t i = 0; i < count; i++) {
        const struct store_news *n = &reports[i].news;
        size_t size = reports[i].preview ? n->preview_size : 0;
        char *hex = malloc(2 * size + 1);
        for (size_t k = 0; hex && k < size; k++)
            snprintf(hex + 2 * k, 3, "%02x", reports[i].preview[k]);
        if (hex)
            hex[2 * size] = '\0';
        done = done && sql_run(&ear->line.sql, SQL_NEWS_REPORT, err, "tiiiit", n->job_id,
                               (int64_t)n->progress.image, (int64_t)n->progress.step,
                               (int64_t)n->progress.steps,
                               (int64_t)(n->progress.eta_seconds * 1000), size ? hex : NULL);
        free(hex);
        free(reports[i].preview);
    }
    return done;
}

static bool has_reports(struct pg_ear *ear)
{
    pthread_mutex_lock(&ear->lock);
    bool any = ear->report_count > 0;
    pthread_mutex_unlock(&ear->lock);
    return any;
}

/* ---- the thread ---- */

static bool take_locks(struct pg_ear *ear, struct err *err)
{
    struct sql_connection *c = &ear->line.sql;
    bool failed = false;
    if (atomic_load(&ear->leads))
        return true;
    struct sql_rows *s = sql_bind(c, SQL_NEWS_LEAD, err, "");
    if (s && sql_row(c, s, &failed, err) && sql_int64(s, 0)) {
        atomic_store(&ear->leads, true);
        log_event(LOG_INFO, "server_leads", " ");
    }
    bool done = s && !failed;
    sql_done(s);
    return done;
}

static void hang_up(struct pg_ear *ear)
{
    atomic_store(&ear->leads, false);
    PQfinish(ear->line.db);
    ear->line.db = NULL;
    memset(ear->line.prepared, 0, sizeof ear->line.prepared);
    ear->failures++;
    ear->retry_at = now_ms() + backoff_ms(ear->failures, RETRY_LEAST_MS, RETRY_MOST_MS);
}

static bool call(struct pg_ear *ear, struct err *err)
{
    ear->line.broken = false;
    ear->line.db = pg_pool_connect(ear->owner, err);
    if (!ear->line.db)
        return false;
    return pg_pool_execute(&ear->line, PG_ALIVE_SHARED "; LISTEN pictor", err) &&
           (ear->knows_last || read_last(ear, err));
}

/* One round; false: the connection is of no use. */
static bool look(struct pg_ear *ear, bool woken, struct err *err)
{
    int64_t now = now_ms();
    bool told = woken;
    if (now >= ear->report_at && has_reports(ear)) {
        if (!tell_progress(ear, err))
            return false;
        ear->report_at = now + REPORT_MS;
        told = true;
    }
    if (told && !pg_pool_execute(&ear->line, "NOTIFY pictor", err))
        return false;
    if (!read_all(ear, err) || !take_locks(ear, err))
        return false;
    atomic_store(&ear->heard, now); /* from before it was asked */
    if (now >= ear->forget_at && atomic_load(&ear->leads)) {
        ear->forget_at = now + FORGET_MS;
        return sql_run(&ear->line.sql, SQL_NEWS_FORGET, err, "");
    }
    return true;
}

/* Until somebody says something, here or there; true: something was changed here. */
static bool wait_for_news(struct pg_ear *ear)
{
    struct pollfd p[2] = {{.fd = ear->wake[0], .events = POLLIN},
                          {.fd = ear->line.db ? PQsocket(ear->line.db) : -1, .events = POLLIN}};
    int64_t now = now_ms(), until = ear->line.db ? now + LOOK_MS : ear->retry_at;
    char drain[256];
    if (ear->line.db && has_reports(ear) && ear->report_at < until)
        until = ear->report_at;
    poll(p, 2, until > now ? (int)(until - now) : 0);
    bool changed = false;
    for (ssize_t n; (n = read(ear->wake[0], drain, sizeof drain)) > 0;)
        changed = changed || memchr(drain, CHANGED, (size_t)n);
    if (ear->line.db) {
        if (!PQconsumeInput(ear->line.db))
            ear->line.broken = true;
        for (PGnotify *n; (n = PQnotifies(ear->line.db));)
            PQfreemem(n);
    }
    return changed;
}

static void *run(void *arg)
{
    struct pg_ear *ear = arg;
    struct err err = {0};
    bool woken = false;
    while (!atomic_load(&ear->stop)) {
        bool well = !ear->line.broken && ear->line.db && look(ear, woken, &err);
        if (!well && ear->line.db)
            hang_up(ear);
        if (!ear->line.db && now_ms() >= ear->retry_at) {
            if (!call(ear, &err)) {
                hang_up(ear);
            } else { /* what was missed is read */
                ear->failures = 0;
                woken = true;
                continue;
            }
        }
        woken = wait_for_news(ear);
    }
    return NULL;
}

bool pg_listen_start(struct store *store, store_news_fn *fn, void *ctx, struct err *err)
{
    struct pg *st = pg_of(store);
    struct pg_ear *ear = calloc(1, sizeof *ear);
    if (!ear)
        return err_set(err, ERR_INTERNAL, "no memory for the database's news");
    ear->owner = st;
    ear->fn = fn;
    ear->ctx = ctx;
    ear->line.sql.ops = &pg_sql_ops;
    ear->line.owner = st;
    pthread_mutex_init(&ear->lock, NULL);
    if (pipe2(ear->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        err_set(err, ERR_UNAVAILABLE, "no pipe for the database's news: %s", strerror(errno));
        goto fail;
    }
    /* Now, if it can be had: what happens from here on is heard. */
    if (!call(ear, &(struct err){0}))
        hang_up(ear);
    if (pthread_create(&ear->thread, NULL, run, ear) == 0) {
        atomic_store(&st->ear, ear);
        return true;
    }
    err_set(err, ERR_INTERNAL, "no thread for the database's news");
    PQfinish(ear->line.db);
    free(ear->gaps);
    close(ear->wake[0]);
    close(ear->wake[1]);
fail:
    pthread_mutex_destroy(&ear->lock);
    free(ear);
    return false;
}

void pg_listen_stop(struct store *store)
{
    struct pg_ear *ear = atomic_exchange(&pg_of(store)->ear, NULL);
    if (!ear)
        return;
    atomic_store(&ear->stop, true);
    wake(ear, STOPPED);
    pthread_join(ear->thread, NULL);
    PQfinish(ear->line.db);
    free(ear->gaps);
    for (size_t i = 0; i < ear->report_count; i++)
        free(ear->reports[i].preview);
    close(ear->wake[0]);
    close(ear->wake[1]);
    pthread_mutex_destroy(&ear->lock);
    free(ear);
}
