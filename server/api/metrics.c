/* metrics.c: names and units follow Prometheus' conventions: base units, _total for what only
 * grows. */
#include "server/api/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/paint/dispatch.h"
#include "server/paint/tally.h"
#include "server/queue/queue.h"
#include "server/queue/queue_hold.h"
#include "server/queue/roster.h"
#include "server/store/keys.h"
#include "server/worker/codec.h"

#define MODELS_MAX 100 /* lines of the queue; further models are left out */

static void describe(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP pictor_%s %s\n# TYPE pictor_%s %s\n", name, help, name, type);
}

static void single(FILE *out, const char *name, const char *type, const char *help, double value)
{
    describe(out, name, type, help);
    fprintf(out, "pictor_%s %.17g\n", name, value);
}

static void put_http(FILE *out, const struct http_stats *s)
{
    describe(out, "http_requests_total", "counter", "Requests answered, by API and status class.");
    for (int d = 0; d < s->dialect_count; d++)
        for (int c = 1; c < HTTP_STATS_CLASSES; c++)
            if (s->dialects[d].requests[c] > 0)
                fprintf(out, "pictor_http_requests_total{api=\"%s\",class=\"%dxx\"} %llu\n",
                        s->dialects[d].name, c, s->dialects[d].requests[c]);
    describe(out, "http_request_seconds_total", "counter",
             "Seconds from a request's headers to the end of its answer, waiting included.");
    for (int d = 0; d < s->dialect_count; d++)
        fprintf(out, "pictor_http_request_seconds_total{api=\"%s\"} %.3f\n", s->dialects[d].name,
                s->dialects[d].seconds);
    single(out, "http_connections", "gauge", "Open connections.", s->connections);
    single(out, "http_waiting", "gauge", "Requests waiting for a job.", s->waiting);
    single(out, "http_streams", "gauge", "Quiet event streams.", s->streams);
}

static void put_worker(FILE *out, const struct dispatch_stats *s, bool ready, bool busy)
{
    single(out, "ready", "gauge", "1 when a worker has an engine.", ready);
    single(out, "busy", "gauge", "1 while a picture is painted.", busy);
    single(out, "pictures_total", "counter", "Pictures stored.", (double)s->pictures);
    single(out, "steps_total", "counter", "Denoising steps of the local worker.", (double)s->steps);
    single(out, "step_seconds_total", "counter", "Seconds spent in those steps.", s->step_seconds);
    single(out, "worker_starts_total", "counter", "Worker processes started.",
           (double)s->worker_starts);
    single(out, "worker_resident_bytes", "gauge", "Memory of the worker process.",
           (double)s->worker_memory);
    single(out, "upstream_requests_total", "counter", "Requests sent to upstreams.",
           (double)s->upstream_requests);
    single(out, "upstream_failures_total", "counter", "Requests to upstreams that failed.",
           (double)s->upstream_failures);
}

/* A label's value: a quote, a backslash and a line end are escaped. */
static void put_label(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            putc(*text, out);
    }
}

static void put_backlog(FILE *out, const struct job_backlog *backlog, size_t count)
{
    describe(out, "queue_depth", "gauge", "Jobs waiting, by model.");
    for (size_t i = 0; i < count; i++) {
        fputs("pictor_queue_depth{model=\"", out);
        put_label(out, backlog[i].model);
        fprintf(out, "\"} %d\n", backlog[i].queued);
    }
    describe(out, "queue_oldest_seconds", "gauge", "How long the oldest of them has waited.");
    for (size_t i = 0; i < count; i++) {
        double age = ((double)now_unix_ms() - (double)backlog[i].oldest_ms) / 1000;
        fputs("pictor_queue_oldest_seconds{model=\"", out);
        put_label(out, backlog[i].model);
        fprintf(out, "\"} %.3f\n", age > 0 ? age : 0);
    }
}

static void put_sum(FILE *out, const char *name, const struct dispatch_spending *s,
                    const char *period, double number)
{
    fprintf(out, "pictor_%s{upstream=\"", name);
    put_label(out, s->name);
    fprintf(out, "\",period=\"%s\"} %.10g\n", period, number);
}

static void put_spending(FILE *out, struct dispatch *d)
{
    struct dispatch_spending s;
    if (!dispatch_spending(d, 0, &s))
        return;
    describe(out, "upstream_pictures", "gauge",
             "Pictures ordered at an upstream in this day and this month (UTC).");
    for (size_t i = 0; dispatch_spending(d, i, &s); i++) {
        put_sum(out, "upstream_pictures", &s, "day", (double)s.day.pictures);
        put_sum(out, "upstream_pictures", &s, "month", (double)s.month.pictures);
    }
    describe(out, "upstream_money", "gauge", "What they cost, by the prices of the settings.");
    for (size_t i = 0; dispatch_spending(d, i, &s); i++) {
        put_sum(out, "upstream_money", &s, "day", s.day.money);
        put_sum(out, "upstream_money", &s, "month", s.month.money);
    }
    describe(out, "upstream_pictures_limit", "gauge",
             "How many there may be, where it is limited.");
    for (size_t i = 0; dispatch_spending(d, i, &s); i++) {
        if (s.day.most_pictures > 0)
            put_sum(out, "upstream_pictures_limit", &s, "day", (double)s.day.most_pictures);
        if (s.month.most_pictures > 0)
            put_sum(out, "upstream_pictures_limit", &s, "month", (double)s.month.most_pictures);
    }
    describe(out, "upstream_money_limit", "gauge", "What they may cost, where it is limited.");
    for (size_t i = 0; dispatch_spending(d, i, &s); i++) {
        if (s.day.most_money > 0)
            put_sum(out, "upstream_money_limit", &s, "day", s.day.most_money);
        if (s.month.most_money > 0)
            put_sum(out, "upstream_money_limit", &s, "month", s.month.most_money);
    }
}

/* ---- jobs by painter, model and class of key ---- */

/* What a key is, not which: figures of each would be too many. */
static const char *class_of(const struct key *keys, size_t count, const char *key_id)
{
    if (!*key_id)
        return "none";
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].id, key_id) == 0)
            return keys[i].admin                            ? "admin"
                   : strncmp(keys[i].name, "user:", 5) == 0 ? "user"
                                                            : "key";
    return "other";
}

struct ended {
    struct ended_row {
        char worker[80], model[200], outcome[16];
        const char *class;
        uint64_t jobs, pictures;
        double seconds;
    } *rows;
    size_t count;
    const struct key *keys;
    size_t key_count;
};

static void gather(void *ctx, const struct tally_row *row)
{
    struct ended *e = ctx;
    const char *class = class_of(e->keys, e->key_count, row->key_id);
    struct ended_row *r = NULL;
    for (size_t i = 0; i < e->count && !r; i++)
        if (strcmp(e->rows[i].model, row->model) == 0 && strcmp(e->rows[i].class, class) == 0 &&
            strcmp(e->rows[i].worker, row->worker) == 0 &&
            strcmp(e->rows[i].outcome, row->outcome) == 0)
            r = &e->rows[i];
    if (!r) {
        struct ended_row *more = realloc(e->rows, (e->count + 1) * sizeof *more);
        if (!more)
            return;
        e->rows = more;
        r = &e->rows[e->count++];
        *r = (struct ended_row){.class = class};
        snprintf(r->worker, sizeof r->worker, "%s", row->worker);
        snprintf(r->model, sizeof r->model, "%s", row->model);
        snprintf(r->outcome, sizeof r->outcome, "%s", row->outcome);
    }
    r->jobs += row->jobs;
    r->pictures += row->pictures;
    r->seconds += row->seconds;
}

static void put_labels(FILE *out, const char *name, const struct ended_row *r)
{
    fprintf(out, "pictor_%s{worker=\"", name);
    put_label(out, r->worker);
    fputs("\",model=\"", out);
    put_label(out, r->model);
    fprintf(out, "\",key=\"%s\",outcome=\"%s\"} ", r->class, r->outcome);
}

static void put_one(FILE *out, const char *name, const struct roster_worker *w, double number)
{
    fprintf(out, "pictor_%s{worker=\"%s", name, w->local ? "local" : "worker");
    if (!w->local || strcmp(w->name, "local") != 0) {
        putc(':', out);
        put_label(out, w->name);
    }
    fprintf(out, "\"} %.10g\n", number);
}

/* Of all servers' workers: each server says of each what it knows. */
static void put_workers(FILE *out, const struct app *app)
{
    struct roster_worker *list;
    size_t count;
    int64_t now = now_unix_ms();
    if (!roster_list(app->roster, &list, &count, NULL))
        return;
    describe(out, "worker_up", "gauge", "1 unless the worker is away, or starting.");
    for (size_t i = 0; i < count; i++)
        put_one(out, "worker_up", &list[i],
                list[i].state == ROSTER_IDLE || list[i].state == ROSTER_PAINTING);
    describe(out, "worker_busy", "gauge", "1 while it paints.");
    for (size_t i = 0; i < count; i++)
        put_one(out, "worker_busy", &list[i], list[i].state == ROSTER_PAINTING);
    describe(out, "worker_seen_seconds", "gauge", "Since it was heard of.");
    for (size_t i = 0; i < count; i++)
        put_one(out, "worker_seen_seconds", &list[i], (double)(now - list[i].seen_ms) / 1000);
    describe(out, "worker_step_seconds", "gauge", "A step of the last picture that it painted.");
    for (size_t i = 0; i < count; i++)
        if (list[i].step_seconds > 0)
            put_one(out, "worker_step_seconds", &list[i], list[i].step_seconds);
    describe(out, "worker_pace_seconds", "gauge", "A step of a megapixel, by its last pictures.");
    for (size_t i = 0; i < count; i++)
        if (list[i].pace > 0)
            put_one(out, "worker_pace_seconds", &list[i], list[i].pace);
    roster_list_free(list, count);
}

static void put_ended(FILE *out, const struct app *app)
{
    struct key *keys = NULL;
    struct ended e = {0};
    if (!keys_list(app->keys, &keys, &e.key_count, NULL))
        e.key_count = 0;
    e.keys = keys;
    tally_each(app->tally, gather, &e);
    describe(out, "jobs_ended_total", "counter",
             "Jobs that ended here, by who painted them, model, kind of key and how.");
    for (size_t i = 0; i < e.count; i++) {
        put_labels(out, "jobs_ended_total", &e.rows[i]);
        fprintf(out, "%" PRIu64 "\n", e.rows[i].jobs);
    }
    describe(out, "job_pictures_total", "counter", "Their pictures.");
    for (size_t i = 0; i < e.count; i++) {
        put_labels(out, "job_pictures_total", &e.rows[i]);
        fprintf(out, "%" PRIu64 "\n", e.rows[i].pictures);
    }
    describe(out, "job_seconds_total", "counter", "Seconds from their claims to their ends.");
    for (size_t i = 0; i < e.count; i++) {
        put_labels(out, "job_seconds_total", &e.rows[i]);
        fprintf(out, "%.3f\n", e.rows[i].seconds);
    }
    free(e.rows);
    free(keys);
}

void metrics_serve(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct http_stats http;
    struct dispatch_stats worker;
    struct err err;
    int queued, running;
    struct job_backlog backlog[MODELS_MAX];
    size_t models;
    if (!queue_depth(app->queue, NULL, &queued, &running, &err) ||
        !queue_backlog(app->queue, backlog, MODELS_MAX, &models, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    http_stats(req, &http);
    dispatch_stats(app->dispatch, &worker);

    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        err_set(&err, ERR_INTERNAL, "no memory for the figures");
        http_reply_error(req, &err, NULL);
        return;
    }
    describe(out, "build_info", "gauge", "The version that runs.");
    fprintf(out, "pictor_build_info{version=\"%s\"} 1\n", PICTOR_VERSION);
    describe(out, "jobs", "gauge", "Jobs that are not final, by state.");
    fprintf(out, "pictor_jobs{state=\"queued\"} %d\npictor_jobs{state=\"running\"} %d\n", queued,
            running);
    single(out, "queue_paused", "gauge", "1 while nothing is taken from the queue.",
           queue_hold_is_paused(app->queue));
    put_backlog(out, backlog, models);
    put_worker(out, &worker, dispatch_ready(app->dispatch, NULL), dispatch_busy(app->dispatch));
    put_workers(out, app);
    put_ended(out, app);
    put_spending(out, app->dispatch);
    single(out, "codec_starts_total", "counter", "Processes started that read and write pictures.",
           codec_starts(app->codec));
    put_http(out, &http);
    if (fclose(out) == 0)
        http_reply_data(req, 200, "text/plain; version=0.0.4", text, size, free);
    else
        free(text);
}
