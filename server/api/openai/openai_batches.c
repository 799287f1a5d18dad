#include "server/api/openai/openai_batches.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/openai/openai_batch.h"
#include "server/api/openai/openai_files.h"
#include "server/api/openai/openai_images.h"
#include "server/api/openai/openai_paint.h"
#include "server/api/openai/openai_request.h"
#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http_error.h"
#include "server/queue/queue.h"
#include "server/queue/steady.h"
#include "server/store/store.h"

#define ACTIVE_MAX 4    /* batches at work; each holds its file in memory */
#define AHEAD 4         /* jobs of a batch at a time */
#define LINES_A_LOOK 32 /* that are read, good or bad, before another batch has its turn */
#define LINES_MAX 5000
#define ERRORS_MAX 20  /* that are told of a file */
#define PRIORITY (-50) /* behind what somebody waits for */
#define TICK_MS 500
#define SWEEP_MS (60 * 1000)

struct line {
    const char *text;
    size_t size;
};

struct active {
    struct openai_batch batch;
    char *input; /* the file; NULL: not read yet */
    struct line *lines;
    int line_count;
};

struct openai_batches {
    const struct app *app;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t saving; /* openai_batches_lock */
    pthread_mutex_t lock;   /* what follows */
    pthread_cond_t cond;
    bool news;
    struct active active[ACTIVE_MAX]; /* the thread's own, as all below */
    int count;
    struct steady clock;
    bool believed; /* the clock, so that what it says is over ends */
};

static cJSON *member(const cJSON *json, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(json, name);
}

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(member(json, name));
    return text ? text : "";
}

static cJSON *seen(const struct active *a)
{
    return member(a->batch.body, "batch");
}

static void active_free(struct active *a)
{
    openai_batch_close(&a->batch);
    free(a->input);
    free(a->lines);
    *a = (struct active){0};
}

/* Writes the batch down; what a client has said meanwhile counts. */
static bool save(struct openai_batches *b, struct active *a)
{
    struct store_record record;
    struct openai_batch stored;
    struct err err;
    pthread_mutex_lock(&b->saving);
    bool begun = store_begin(b->app->store, &err); /* a client may say it to another server */
    bool ok = begun && store_record_get(b->app->store, OPENAI_BATCH_KIND, a->batch.record.id, NULL,
                                        &record, &err);
    if (ok && openai_batch_open(&stored, &record) && !openai_batch_is_final(&a->batch) &&
        strcmp(openai_batch_status(&stored), "cancelling") == 0 &&
        strcmp(openai_batch_status(&a->batch), "cancelling") != 0)
        openai_batch_become(&a->batch, "cancelling");
    if (ok)
        openai_batch_close(&stored);
    ok = ok && openai_batch_save(b->app, &a->batch, &err);
    ok = begun && store_end(b->app->store, ok, &err);
    pthread_mutex_unlock(&b->saving);
    if (!ok)
        log_err(LOG_WARN, "batch_not_saved", &err, " id=batch_%s", a->batch.record.id);
    return ok;
}

static void count(struct active *a, const char *what, int more)
{
    cJSON *counts = member(seen(a), "request_counts"), *item = member(counts, what);
    if (item)
        cJSON_SetNumberValue(item, item->valuedouble + more);
}

/* ---- the file of requests ---- */

static void add_error(cJSON *errors, int line, const char *code, const char *param,
                      const char *message)
{
    cJSON *data = member(errors, "data"), *item = cJSON_CreateObject();
    if (cJSON_GetArraySize(data) == ERRORS_MAX) {
        cJSON_Delete(item);
        return;
    }
    cJSON_AddStringToObject(item, "code", code);
    cJSON_AddItemToObject(item, "line", line ? cJSON_CreateNumber(line) : cJSON_CreateNull());
    cJSON_AddStringToObject(item, "message", message);
    cJSON_AddItemToObject(item, "param", param ? cJSON_CreateString(param) : cJSON_CreateNull());
    cJSON_AddItemToArray(data, item);
}

/* Cuts the file into lines; empty ones are none. */
static bool cut(struct active *a, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += a->input[i] == '\n';
    a->lines = calloc(count + 1, sizeof *a->lines);
    if (!a->lines || count > LINES_MAX)
        return false;
    for (const char *at = a->input, *end = at + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at), used = n;
        while (used > 0 && strchr(" \t\r", at[used - 1]))
            used--;
        if (used > 0)
            a->lines[a->line_count++] = (struct line){at, used};
        at += stop ? n + 1 : n;
    }
    return true;
}

static cJSON *parse_line(const struct openai_batches *b, const struct line *line)
{
    return json_text_parse(line->text, line->size, b->app->settings->max_json_depth, NULL);
}

/* Whether a line is a request for this batch; notes what is wrong with it. */
static void check_line(struct openai_batches *b, struct active *a, int i, cJSON *names,
                       cJSON *errors)
{
    cJSON *json = parse_line(b, &a->lines[i]);
    const char *id = text_of(json, "custom_id");
    if (!cJSON_IsObject(json))
        add_error(errors, i + 1, "invalid_json_line", NULL, "This line is not a JSON object.");
    else if (!*id || strlen(id) > 512)
        add_error(errors, i + 1, "missing_required_parameter", "custom_id",
                  "Wanted a 'custom_id', a text of at most 512 bytes.");
    else if (member(names, id))
        add_error(errors, i + 1, "duplicate_custom_id", "custom_id",
                  "An earlier line has the same 'custom_id'.");
    else if (strcmp(text_of(json, "method"), "POST") != 0)
        add_error(errors, i + 1, "invalid_method", "method", "The 'method' must be 'POST'.");
    else if (strcmp(text_of(json, "url"), text_of(seen(a), "endpoint")) != 0)
        add_error(errors, i + 1, "mismatched_url", "url",
                  "The 'url' must be the batch's endpoint.");
    else if (!cJSON_IsObject(member(json, "body")))
        add_error(errors, i + 1, "missing_required_parameter", "body",
                  "Wanted a 'body', an object.");
    if (*id && !member(names, id))
        cJSON_AddNullToObject(names, id);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "id", id);
    cJSON_AddItemToArray(member(a->batch.body, "lines"), line);
    cJSON_Delete(json);
}

static bool read_input(struct openai_batches *b, struct active *a, struct err *err)
{
    bool all = cJSON_IsTrue(member(a->batch.body, "all"));
    void *data = NULL;
    size_t size;
    if (!openai_files_read(b->app, all ? NULL : a->batch.record.key_id,
                           text_of(seen(a), "input_file_id"), NULL, SIZE_MAX, &data, &size, err))
        return false;
    a->input = data;
    return cut(a, size) || err_set(err, ERR_TOO_LARGE, "wanted at most %d lines", LINES_MAX);
}

/* New: its lines are looked at, and it begins or fails. */
static void validate(struct openai_batches *b, struct active *a)
{
    struct err err;
    cJSON *errors = cJSON_CreateObject(), *names = cJSON_CreateObject();
    cJSON_AddStringToObject(errors, "object", "list");
    cJSON_AddArrayToObject(errors, "data");
    cJSON_DeleteItemFromObjectCaseSensitive(a->batch.body, "lines");
    cJSON_AddArrayToObject(a->batch.body, "lines");
    bool read = a->input || read_input(b, a, &err);
    if (!read && err_is_passing(err.code)) { /* it is tried again */
        cJSON_Delete(errors);
        cJSON_Delete(names);
        return;
    }
    if (!read) {
        add_error(errors, 0, "invalid_input_file", "input_file_id", err.msg);
    } else if (a->line_count == 0) {
        add_error(errors, 0, "empty_file", "input_file_id", "The file has no requests.");
    } else {
        for (int i = 0; i < a->line_count; i++)
            check_line(b, a, i, names, errors);
    }
    cJSON_Delete(names);
    bool good = cJSON_GetArraySize(member(errors, "data")) == 0;
    if (good) {
        cJSON_Delete(errors);
        count(a, "total", a->line_count);
    } else {
        cJSON_ReplaceItemInObjectCaseSensitive(seen(a), "errors", errors);
        cJSON_DeleteItemFromObjectCaseSensitive(a->batch.body, "lines");
    }
    openai_batch_become(&a->batch, good ? "in_progress" : "failed");
    save(b, a);
}

/* ---- requests become jobs ---- */

static void fail_line(struct active *a, cJSON *line, const struct openai_fault *f)
{
    cJSON *error = cJSON_AddObjectToObject(line, "error");
    cJSON_AddNumberToObject(error, "status", f->status);
    cJSON *body = openai_fault_json(f);
    cJSON_AddItemToObject(error, "body", body);
    cJSON_AddBoolToObject(line, "done", true);
    count(a, "failed", 1);
}

/* `request` NULL: nobody could make it any more. */
static void has_job(cJSON *line, const char *job_id, const struct openai_request *request)
{
    cJSON_AddStringToObject(line, "job", job_id);
    cJSON_AddStringToObject(line, "quality", request ? request->quality : "");
    cJSON_AddBoolToObject(line, "url", request && request->url);
}

/* Nobody listens while a line is painted. What says that nothing is to be streamed is fine. */
static bool cannot_stream(const cJSON *body, struct openai_fault *f)
{
    const char *name = cJSON_IsTrue(member(body, "stream"))            ? "stream"
                       : json_number_in(body, "partial_images", 0) > 0 ? "partial_images"
                                                                       : NULL;
    if (name)
        openai_fault(f, 400, "invalid_value", name,
                     "Invalid value for '%s': requests of a batch are not streamed.", name);
    return name != NULL;
}

/* Where a chat model does it, the other lines wait as long as it takes. Of a line that is painted
 * already, nobody asks what was composed. */
static bool compose(struct openai_batches *b, cJSON *body, bool again, struct openai_fault *f)
{
    struct err err;
    if (again)
        cJSON_DeleteItemFromObjectCaseSensitive(body, "compose");
    return composing_now(b->app, body, &b->stop, &err) ||
           openai_fault(f, err.code == ERR_CANCELLED ? 503 : http_error_status(err.code),
                        err.code == ERR_INVALID ? "invalid_value" : NULL, "prompt", "%s", err.msg);
}

/* False: not now. */
static bool submit(struct openai_batches *b, struct active *a, int i, cJSON *line)
{
    const struct store_record *r = &a->batch.record;
    const struct openai_from from = {
        b->app, r->key_id, cJSON_IsTrue(member(a->batch.body, "all")) ? NULL : r->key_id, ""};
    bool edit = strstr(text_of(seen(a), "endpoint"), "edits") != NULL;
    struct openai_request request;
    struct openai_fault f;
    struct job before;
    char tag[64], job_id[JOB_ID_SIZE];
    snprintf(tag, sizeof tag, "batch_%s/%d", r->id, i);
    cJSON *json = parse_line(b, &a->lines[i]), *body = member(json, "body");
    if (cannot_stream(body, &f)) {
        cJSON_Delete(json);
        fail_line(a, line, &f);
        return true;
    }
    enum openai_kind kind = edit ? OPENAI_EDIT : OPENAI_GENERATION;
    bool again = queue_get_tagged(b->app->queue, tag, r->key_id, &before, NULL);
    bool ok = compose(b, body, again, &f) &&
              openai_request_make(&from, kind, body, &request, &f);
    cJSON_Delete(json);
    if (again) { /* before a restart */
        has_job(line, before.id, ok ? &request : NULL);
        job_free(&before);
        if (ok)
            openai_request_free(&request);
        return true;
    }
    if (!ok) {
        if (f.status == 429 || f.status == 503)
            return false;
        fail_line(a, line, &f);
        return true;
    }
    free(request.params.tag);
    request.params.tag = strdup(tag);
    struct openai_request asked = {.url = request.url}; /* what painting leaves of it */
    memcpy(asked.quality, request.quality, sizeof asked.quality);
    if (!request.params.tag) {
        openai_request_free(&request);
        return false;
    }
    if (!openai_paint_later(b->app, r->key_id, PRIORITY, &request, job_id, &f)) {
        if (f.status == 429 || f.status >= 500)
            return false;
        fail_line(a, line, &f);
        return true;
    }
    has_job(line, job_id, &asked);
    return true;
}

/* Looks after a line that has a job; true: it has ended. */
static bool look(struct openai_batches *b, struct active *a, cJSON *line)
{
    enum job_state state;
    struct openai_fault f;
    struct err err;
    int images;
    if (queue_glance(b->app->queue, text_of(line, "job"), &state, &images, &err)) {
        if (!job_state_is_final(state))
            return false;
        count(a, state == JOB_DONE ? "completed" : "failed", 1);
        cJSON_AddBoolToObject(line, "done", true);
        return true;
    }
    if (err.code != ERR_NOT_FOUND)
        return false;
    openai_fault(&f, 404, "cancelled", NULL, "The job was removed.");
    fail_line(a, line, &f);
    return true;
}

/* Ends what is not done. */
static void give_up(struct openai_batches *b, struct active *a, const char *code, const char *why)
{
    struct openai_fault f;
    cJSON *line;
    openai_fault(&f, 400, code, NULL, "%s", why);
    cJSON_ArrayForEach(line, member(a->batch.body, "lines")) {
        if (cJSON_IsTrue(member(line, "done")))
            continue;
        if (*text_of(line, "job"))
            queue_abandon(b->app->queue, text_of(line, "job"));
        fail_line(a, line, &f);
    }
}

/* True: all lines have ended. */
static bool paint(struct openai_batches *b, struct active *a)
{
    cJSON *line;
    int open = 0, running = 0, tried = 0, i = 0;
    bool changed = false, room = true;
    cJSON_ArrayForEach(line, member(a->batch.body, "lines")) {
        if (!cJSON_IsTrue(member(line, "done")) && *text_of(line, "job")) {
            bool ended = look(b, a, line);
            changed = changed || ended;
            running += !ended;
        }
    }
    cJSON_ArrayForEach(line, member(a->batch.body, "lines")) {
        bool waits = !cJSON_IsTrue(member(line, "done")) && !*text_of(line, "job");
        if (waits && room && running < AHEAD && tried < LINES_A_LOOK && i < a->line_count) {
            room = submit(b, a, i, line);
            tried++;
            changed = changed || room;
            running += *text_of(line, "job") != '\0';
        }
        open += !cJSON_IsTrue(member(line, "done"));
        i++;
    }
    if (changed)
        save(b, a);
    return open == 0;
}

/* ---- answers ---- */

/* What a line's answer is: its status, and its body (owned). */
static cJSON *answer(struct openai_batches *b, struct active *a, const cJSON *line, int *status)
{
    const cJSON *error = member(line, "error");
    struct openai_fault f;
    struct job job;
    struct err err;
    *status = 200;
    if (error) {
        *status = (int)cJSON_GetNumberValue(member(error, "status"));
        return cJSON_Duplicate(member(error, "body"), true);
    }
    cJSON *body = NULL;
    if (!queue_get(b->app->queue, text_of(line, "job"), NULL, &job, &err)) {
        openai_fault(&f, 404, "cancelled", NULL, "The job was removed.");
        *status = f.status;
        return openai_fault_json(&f);
    }
    if (job.state != JOB_DONE) {
        openai_paint_fault(&job, &f);
    } else {
        body = openai_images_answer(b->app, &job, text_of(line, "quality"),
                                    cJSON_IsTrue(member(line, "url")),
                                    text_of(a->batch.body, "base_url"), &err);
        if (!body)
            openai_fault_own(&f, &err);
    }
    if (!body) {
        *status = f.status;
        body = openai_fault_json(&f);
    }
    job_free(&job);
    return body;
}

static bool write_line(struct openai_batches *b, struct active *a, const cJSON *line, int index,
                       struct openai_files_writer *good, struct openai_files_writer *bad,
                       struct err *err)
{
    char id[80];
    int status;
    cJSON *json = cJSON_CreateObject(), *body = answer(b, a, line, &status);
    snprintf(id, sizeof id, "batch_req_%.24s%06d", a->batch.record.id, index);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "custom_id", text_of(line, "id"));
    cJSON *response = cJSON_AddObjectToObject(json, "response");
    cJSON_AddNumberToObject(response, "status_code", status);
    cJSON_AddStringToObject(response, "request_id", id);
    cJSON_AddItemToObject(response, "body", body);
    cJSON_AddNullToObject(json, "error");
    char *text = json_text_print(json);
    cJSON_Delete(json);
    bool ok = text ? openai_files_write(status == 200 ? good : bad, text, err)
                   : err_set(err, ERR_INTERNAL, "no memory for an answer");
    free(text);
    return ok;
}

static bool close_file(struct openai_batches *b, struct active *a, struct openai_files_writer *w,
                       const char *name, const char *as, struct err *err)
{
    char id[OPENAI_FILES_ID_SIZE], file[80];
    int seconds = (int)cJSON_GetNumberValue(member(a->batch.body, "output_seconds"));
    if (openai_files_is_empty(w) || *text_of(seen(a), as)) { /* or an attempt before kept it */
        openai_files_abort(w);
        return true;
    }
    snprintf(file, sizeof file, "batch_%s_%s.jsonl", a->batch.record.id, name);
    if (!openai_files_commit(b->app, w, a->batch.record.key_id, file, "batch_output", seconds, id,
                             err))
        return false;
    cJSON_ReplaceItemInObjectCaseSensitive(seen(a), as, cJSON_CreateString(id));
    return true;
}

static void tell_trouble(struct active *a, const struct err *err)
{
    cJSON *errors = cJSON_CreateObject();
    cJSON_AddStringToObject(errors, "object", "list");
    cJSON_AddArrayToObject(errors, "data");
    add_error(errors, 0, "no_output_file", NULL, err->msg);
    cJSON_ReplaceItemInObjectCaseSensitive(seen(a), "errors", errors);
}

/* Writes the files of answers; `status` is what the batch becomes. */
static void finish(struct openai_batches *b, struct active *a, const char *status)
{
    struct openai_files_writer good = {0}, bad = {0};
    struct err err;
    const cJSON *line;
    int index = 0;
    if (strcmp(status, "completed") == 0)
        openai_batch_become(&a->batch, "finalizing");
    bool ok = openai_files_begin(b->app, &good, &err) && openai_files_begin(b->app, &bad, &err);
    cJSON_ArrayForEach(line, member(a->batch.body, "lines")) {
        ok = ok && write_line(b, a, line, index++, &good, &bad, &err);
    }
    ok = ok && close_file(b, a, &good, "output", "output_file_id", &err) &&
         close_file(b, a, &bad, "error", "error_file_id", &err);
    if (!ok) {
        openai_files_abort(&good);
        openai_files_abort(&bad);
        if (err_is_passing(err.code))
            return; /* it is tried again */
        log_err(LOG_WARN, "batch_failed", &err, " id=batch_%s", a->batch.record.id);
        tell_trouble(a, &err);
        status = "failed";
    }
    cJSON_DeleteItemFromObjectCaseSensitive(a->batch.body, "lines");
    openai_batch_become(&a->batch, status);
    save(b, a);
}

/* ---- the thread ---- */

/* One look at a batch; true: it is final. */
static bool step(struct openai_batches *b, struct active *a)
{
    const char *status = openai_batch_status(&a->batch);
    struct err err;
    double end = cJSON_GetNumberValue(member(seen(a), "expires_at"));
    if (strcmp(status, "validating") == 0) {
        validate(b, a);
    } else if (strcmp(status, "cancelling") == 0) {
        give_up(b, a, "batch_cancelled", "This request was cancelled with its batch.");
        finish(b, a, "cancelled");
    } else if (openai_batch_is_keyless(b->app, &a->batch)) {
        give_up(b, a, "batch_cancelled", "The key whose batch this was is no longer valid.");
        finish(b, a, "cancelled");
    } else if (!a->input && !read_input(b, a, &err)) {
        if (err_is_passing(err.code))
            return false;
        give_up(b, a, "invalid_input_file", "The file of requests was removed.");
        finish(b, a, "failed");
    } else if (b->believed && (double)(now_unix_ms() / 1000) > end) {
        give_up(b, a, "batch_expired", "This request could not be painted before its batch's end.");
        finish(b, a, "expired");
    } else if (paint(b, a)) {
        finish(b, a, "completed");
    }
    return openai_batch_is_final(&a->batch);
}

static bool is_active(const struct openai_batches *b, const char *id)
{
    for (int i = 0; i < b->count; i++)
        if (strcmp(b->active[i].batch.record.id, id) == 0)
            return true;
    return false;
}

/* A client has cancelled it. */
static void look_for_cancel(struct openai_batches *b)
{
    for (int i = 0; i < b->count; i++)
        save(b, &b->active[i]);
}

static int active_of(const struct openai_batches *b, const char *key_id)
{
    int count = 0;
    for (int i = 0; i < b->count; i++)
        count += strcmp(b->active[i].batch.record.key_id, key_id) == 0;
    return count;
}

/* Room for a batch of the key: a place that is free, or that of the newest batch of the key that
 * has most of them at work, when it would still have no fewer than this one. Its jobs go on, and it
 * is found again as it was written down. */
static bool make_place(struct openai_batches *b, const char *key_id)
{
    int most = 0, newest = -1;
    if (b->count < ACTIVE_MAX)
        return true;
    for (int i = 0; i < b->count; i++) {
        const struct store_record *r = &b->active[i].batch.record;
        int count = active_of(b, r->key_id);
        if (count > most ||
            (count == most && r->created_ms > b->active[newest].batch.record.created_ms)) {
            most = count;
            newest = i;
        }
    }
    if (most < active_of(b, key_id) + 2 || !save(b, &b->active[newest]))
        return false;
    active_free(&b->active[newest]);
    b->active[newest] = b->active[--b->count];
    b->active[b->count] = (struct active){0};
    return true;
}

/* Takes up batches that are not final, the oldest first, but every key's in turn. False: they could
 * not be looked at. */
static bool take_up(struct openai_batches *b)
{
    struct store_record_filter filter = {
        .kind = OPENAI_BATCH_KIND, .oldest_first = true, .limit = 50};
    struct store_record *rows;
    size_t count;
    char last[JOB_ID_SIZE];
    do {
        if (!store_record_list(b->app->store, &filter, &rows, &count, NULL))
            return false;
        if (count > 0)
            filter.after_ms = rows[count - 1].created_ms;
        snprintf(last, sizeof last, "%s", count > 0 ? rows[count - 1].id : "");
        filter.after_id = last;
        for (size_t i = 0; i < count; i++) {
            struct openai_batch batch;
            bool open = openai_batch_open(&batch, &rows[i]) && !openai_batch_is_final(&batch) &&
                        !is_active(b, batch.record.id);
            if (open && make_place(b, batch.record.key_id))
                b->active[b->count++] = (struct active){.batch = batch};
            else
                openai_batch_close(&batch);
        }
        free(rows);
    } while (count == (size_t)filter.limit);
    return true;
}

/* Records that are older than the files of their answers. */
static void sweep(const struct app *app)
{
    struct store_record_filter filter = {
        .kind = OPENAI_BATCH_KIND, .oldest_first = true, .expired_ms = now_unix_ms(), .limit = 100};
    struct store_record *rows;
    size_t count;
    openai_files_sweep(app);
    if (!store_record_list(app->store, &filter, &rows, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++) {
        store_record_delete(app->store, rows[i].id, NULL);
        free(rows[i].body);
    }
    free(rows);
}

static void look_at_clock(struct openai_batches *b)
{
    bool jumped;
    b->believed = steady_believes(&b->clock, now_unix_ms(), now_boot_ms(), &jumped);
    if (jumped)
        log_event(LOG_WARN, "clock_jumped",
                  "reason=\"no batch ends and no client's file is removed by it for a day\"");
}

/* False: stop. */
static bool wait_for_news(struct openai_batches *b, int64_t ms, bool *news)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&b->lock);
    while (!b->stop && !b->news && pthread_cond_timedwait(&b->cond, &b->lock, &end) == 0)
        ;
    *news = b->news;
    b->news = false;
    bool going = !b->stop;
    pthread_mutex_unlock(&b->lock);
    return going;
}

/* As they were written down another server goes on with them. */
static void drop_all(struct openai_batches *b)
{
    while (b->count > 0)
        active_free(&b->active[--b->count]);
}

static void *run(void *arg)
{
    struct openai_batches *b = arg;
    int64_t swept = 0;
    bool news = true, changed = true; /* which batches there are to take up */
    openai_files_tidy(b->app);
    do {
        look_at_clock(b);
        if (!store_leads(b->app->store)) { /* another server has them, and may lose them */
            drop_all(b);
            news = changed = true;
            continue;
        }
        news = news || store_tells(b->app->store); /* others may have said something */
        if (news)
            look_for_cancel(b);
        if (news || changed)
            changed = !take_up(b);
        for (int i = 0; i < b->count; i++) {
            if (!step(b, &b->active[i]))
                continue;
            active_free(&b->active[i]);
            b->active[i--] = b->active[--b->count];
            b->active[b->count] = (struct active){0};
            changed = true;
        }
        if (b->believed && now_ms() - swept >= SWEEP_MS) {
            sweep(b->app);
            swept = now_ms();
        }
    } while (wait_for_news(
        b, b->count > 0 || changed || store_tells(b->app->store) ? TICK_MS : SWEEP_MS, &news));
    return NULL;
}

struct openai_batches *openai_batches_new(const struct app *app, struct err *err)
{
    struct openai_batches *b = calloc(1, sizeof *b);
    if (!b) {
        err_set(err, ERR_INTERNAL, "no memory for batches");
        return NULL;
    }
    b->app = app;
    now_cond_init(&b->cond);
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->saving, NULL);
    if (pthread_create(&b->thread, NULL, run, b) == 0)
        return b;
    err_set(err, ERR_INTERNAL, "no thread for batches");
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->saving);
    free(b);
    return NULL;
}

void openai_batches_free(struct openai_batches *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    for (int i = 0; i < b->count; i++)
        active_free(&b->active[i]);
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->saving);
    free(b);
}

void openai_batches_wake(struct openai_batches *b)
{
    pthread_mutex_lock(&b->lock);
    b->news = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

void openai_batches_lock(struct openai_batches *b)
{
    pthread_mutex_lock(&b->saving);
}

void openai_batches_unlock(struct openai_batches *b)
{
    pthread_mutex_unlock(&b->saving);
}
