/* openai_batch.c: what clients ask of batches; openai_batches.c paints them. */
#include "server/api/openai/openai_batch.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_batches.h"
#include "server/api/openai/openai_files.h"
#include "server/api/openai/openai_request.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/store/keys.h"

#define PREFIX "batch_"
#define DAY_S (24 * 60 * 60)
#define LIST_MAX 100
#define BATCHES_MAX 1000 /* of a key */
#define METADATA_MAX 16

/* ---- records ---- */

bool openai_batch_open(struct openai_batch *b, struct store_record *record)
{
    *b = (struct openai_batch){.record = *record};
    b->body = json_text_parse(record->body, strlen(record->body), 32, NULL);
    free(record->body);
    record->body = b->record.body = NULL;
    return cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(b->body, "batch"));
}

void openai_batch_close(struct openai_batch *b)
{
    cJSON_Delete(b->body);
    *b = (struct openai_batch){0};
}

bool openai_batch_save(const struct app *app, const struct openai_batch *b, struct err *err)
{
    struct store_record record = b->record;
    record.body = json_text_print(b->body);
    if (!record.body)
        return err_set(err, ERR_INTERNAL, "no memory for a batch");
    bool ok = store_record_put(app->store, &record, err);
    free(record.body);
    return ok;
}

static cJSON *seen(const struct openai_batch *b)
{
    return cJSON_GetObjectItemCaseSensitive(b->body, "batch");
}

const char *openai_batch_status(const struct openai_batch *b)
{
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(seen(b), "status"));
    return text ? text : "";
}

bool openai_batch_is_final(const struct openai_batch *b)
{
    static const char *const final[] = {"completed", "failed", "expired", "cancelled", ""};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++)
        if (strcmp(openai_batch_status(b), final[i]) == 0)
            return true;
    return false;
}

bool openai_batch_is_keyless(const struct app *app, const struct openai_batch *b)
{
    return keys_is_revoked(app->keys, b->record.key_id);
}

void openai_batch_become(struct openai_batch *b, const char *status)
{
    char name[32];
    cJSON *batch = seen(b);
    snprintf(name, sizeof name, "%s_at", status);
    cJSON_ReplaceItemInObjectCaseSensitive(batch, "status", cJSON_CreateString(status));
    if (cJSON_GetObjectItemCaseSensitive(batch, name))
        cJSON_ReplaceItemInObjectCaseSensitive(
            batch, name, cJSON_CreateNumber((double)(now_unix_ms() / 1000)));
}

static cJSON *batch_json(const struct openai_batch *b)
{
    char id[48];
    cJSON *json = cJSON_Duplicate(seen(b), true);
    snprintf(id, sizeof id, PREFIX "%s", b->record.id);
    cJSON_AddStringToObject(json, "id", id);
    return json;
}

static void reply_batch(struct http_request *req, const struct openai_batch *b)
{
    openai_headers(req);
    http_reply_json(req, 200, batch_json(b));
}

static void reply_fault(struct http_request *req, const struct err *err)
{
    struct openai_fault f;
    if (err->code == ERR_NOT_FOUND)
        openai_fault(&f, 404, NULL, "id", "%s", err->msg);
    else
        openai_fault_own(&f, err);
    openai_reply_fault(req, &f);
}

static bool find(const struct app *app, const char *visible_key, const char *id,
                 struct openai_batch *b, struct err *err)
{
    struct store_record record;
    size_t n = strlen(PREFIX);
    const char *bare = strncmp(id, PREFIX, n) == 0 && ids_valid(id + n) ? id + n : "";
    *b = (struct openai_batch){0};
    if (!store_record_get(app->store, OPENAI_BATCH_KIND, bare, visible_key, &record, err))
        return err->code == ERR_NOT_FOUND &&
               err_set(err, ERR_NOT_FOUND, "No batch found with id '%.60s'.", id);
    if (openai_batch_open(b, &record))
        return true;
    openai_batch_close(b);
    return err_set(err, ERR_INTERNAL, "the record of batch \"%.60s\" is damaged", id);
}

/* ---- a new one ---- */

struct fields {
    const char *input_file_id, *endpoint, *completion_window;
    cJSON *metadata, *output_expires_after;
};

static const char *const endpoints[] = {"/v1/images/generations", "/v1/images/edits", NULL};
static const char *const windows[] = {"24h", NULL};

static const struct json_field table[] = {
    {"input_file_id", .type = JSON_FIELD_STRING, .offset = offsetof(struct fields, input_file_id),
     .required = true},
    {"endpoint", .type = JSON_FIELD_STRING, .offset = offsetof(struct fields, endpoint),
     .required = true, .words = endpoints},
    {"completion_window", .type = JSON_FIELD_STRING,
     .offset = offsetof(struct fields, completion_window), .required = true, .words = windows},
    {"metadata", .type = JSON_FIELD_RAW, .offset = offsetof(struct fields, metadata)},
    {"output_expires_after", .type = JSON_FIELD_RAW,
     .offset = offsetof(struct fields, output_expires_after)},
};

struct cJSON *openai_batch_schema(const struct settings *settings)
{
    return json_fields_schema(table, sizeof table / sizeof *table);
}

static bool check_metadata(const cJSON *metadata, struct openai_fault *f)
{
    const cJSON *item;
    bool ok = !metadata || cJSON_IsNull(metadata) ||
              (cJSON_IsObject(metadata) && cJSON_GetArraySize(metadata) <= METADATA_MAX);
    cJSON_ArrayForEach(item, metadata) {
        ok = ok && cJSON_IsString(item) && strlen(item->string) <= 64 &&
             strlen(item->valuestring) <= 512;
    }
    return ok || openai_fault(f, 400, "invalid_type", "metadata",
                              "Invalid value for 'metadata': expected an object of at most %d "
                              "short texts.",
                              METADATA_MAX);
}

/* *seconds is 0 when nothing is said. */
static bool check_end(const cJSON *end, int *seconds, struct openai_fault *f)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(end, "seconds");
    const char *anchor = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(end, "anchor"));
    *seconds = 0;
    if (!end || cJSON_IsNull(end))
        return true;
    if (!anchor || strcmp(anchor, "created_at") != 0)
        return openai_fault(f, 400, "invalid_value", "output_expires_after.anchor",
                            "Invalid value for 'output_expires_after': its 'anchor' must be "
                            "'created_at'.");
    if (!cJSON_IsNumber(given) || given->valuedouble < OPENAI_FILES_EXPIRES_LEAST ||
        given->valuedouble > OPENAI_FILES_EXPIRES_MOST)
        return openai_fault(f, 400, "invalid_value", "output_expires_after.seconds",
                            "Invalid value for 'output_expires_after': its 'seconds' must be from "
                            "%d to %d.",
                            OPENAI_FILES_EXPIRES_LEAST, OPENAI_FILES_EXPIRES_MOST);
    *seconds = (int)given->valuedouble;
    return true;
}

static cJSON *new_body(struct http_request *req, const struct fields *in)
{
    static const char *const times[] = {"in_progress_at", "finalizing_at", "completed_at",
                                        "failed_at",      "expired_at",    "cancelling_at",
                                        "cancelled_at",   "errors",        "output_file_id",
                                        "error_file_id"};
    double now = (double)(now_unix_ms() / 1000);
    cJSON *body = cJSON_CreateObject(), *batch = cJSON_AddObjectToObject(body, "batch");
    cJSON_AddStringToObject(batch, "object", "batch");
    cJSON_AddStringToObject(batch, "endpoint", in->endpoint);
    cJSON_AddStringToObject(batch, "input_file_id", in->input_file_id);
    cJSON_AddStringToObject(batch, "completion_window", in->completion_window);
    cJSON_AddStringToObject(batch, "status", "validating");
    cJSON_AddNumberToObject(batch, "created_at", now);
    cJSON_AddNumberToObject(batch, "expires_at", now + DAY_S);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        cJSON_AddNullToObject(batch, times[i]);
    cJSON *counts = cJSON_AddObjectToObject(batch, "request_counts");
    cJSON_AddNumberToObject(counts, "total", 0);
    cJSON_AddNumberToObject(counts, "completed", 0);
    cJSON_AddNumberToObject(counts, "failed", 0);
    cJSON_AddItemToObject(batch, "metadata", in->metadata ? cJSON_Duplicate(in->metadata, true)
                                                          : cJSON_CreateNull());
    cJSON_AddStringToObject(body, "base_url", http_base_url(req));
    cJSON_AddBoolToObject(body, "all", http_visible_key(req) == NULL);
    return body;
}

/* That it can be read, and is what it should be; its lines are looked at later. */
static bool check_file(struct http_request *req, const char *id, struct openai_fault *f)
{
    struct err err;
    void *data = NULL;
    size_t size;
    bool ok = openai_files_read(http_app(req), http_visible_key(req), id, "batch", SIZE_MAX, &data,
                                &size, &err);
    free(data);
    if (ok)
        return true;
    if (err.code != ERR_NOT_FOUND && err.code != ERR_INVALID)
        return openai_fault_own(f, &err);
    return openai_fault(f, 400, "invalid_value", "input_file_id", "Invalid 'input_file_id': %s.",
                        err.msg);
}

static bool create(struct http_request *req, cJSON *json, struct openai_batch *b,
                   struct openai_fault *f)
{
    const struct app *app = http_app(req);
    struct fields in;
    struct json_problem problem;
    struct err err;
    int64_t count;
    size_t bytes;
    int end;
    if (!json_fields_parse(table, sizeof table / sizeof *table, json, 0, &in, &problem))
        return openai_fault(f, 400,
                            problem.fault == JSON_FAULT_MISSING ? "missing_required_parameter"
                            : problem.fault == JSON_FAULT_TYPE  ? "invalid_type"
                                                                : "invalid_value",
                            problem.field ? problem.field->name : NULL, "%s", problem.message);
    if (!check_metadata(in.metadata, f) || !check_end(in.output_expires_after, &end, f) ||
        !check_file(req, in.input_file_id, f))
        return false;
    if (!store_record_total(app->store, OPENAI_BATCH_KIND, http_key_id(req), &count, &bytes, &err))
        return openai_fault_own(f, &err);
    if (count >= BATCHES_MAX)
        return openai_fault(f, 429, "rate_limit_exceeded", NULL,
                            "There are %d batches already, which is the most.", BATCHES_MAX);
    *b = (struct openai_batch){.record = {.kind = OPENAI_BATCH_KIND, .created_ms = now_unix_ms()}};
    /* As long as the files of its answers. */
    b->record.expires_ms =
        b->record.created_ms + (app->settings->files_days + 1) * (int64_t)DAY_S * 1000;
    snprintf(b->record.key_id, sizeof b->record.key_id, "%s", http_key_id(req));
    b->body = new_body(req, &in);
    cJSON_AddNumberToObject(b->body, "output_seconds", end);
    if (ids_random(b->record.id, JOB_ID_SIZE - 1, &err) && openai_batch_save(app, b, &err))
        return true;
    openai_batch_close(b);
    return openai_fault_own(f, &err);
}

void openai_batch_create(struct http_request *req)
{
    struct openai_batch b;
    struct openai_fault f;
    cJSON *json = openai_request_json(req, &f);
    if (json && create(req, json, &b, &f)) {
        openai_batches_wake(http_app(req)->batches);
        reply_batch(req, &b);
        openai_batch_close(&b);
    } else {
        openai_reply_fault(req, &f);
    }
    cJSON_Delete(json);
}

/* ---- those there are ---- */

void openai_batch_get(struct http_request *req)
{
    struct openai_batch b;
    struct err err;
    if (find(http_app(req), http_visible_key(req), http_param(req, "id"), &b, &err)) {
        reply_batch(req, &b);
        openai_batch_close(&b);
    } else {
        reply_fault(req, &err);
    }
}

void openai_batch_cancel(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct openai_batch b = {0};
    struct openai_fault f;
    struct err err;
    openai_batches_lock(app->batches);
    bool begun = store_begin(app->store, &err); /* another server may be at work on it */
    bool found = begun && find(app, http_visible_key(req), http_param(req, "id"), &b, &err);
    bool final = found && openai_batch_is_final(&b), saved = false;
    if (found && !final) {
        openai_batch_become(&b, "cancelling");
        saved = openai_batch_save(app, &b, &err);
    }
    saved = begun && store_end(app->store, saved, &err);
    openai_batches_unlock(app->batches);
    if (final) {
        openai_fault(&f, 400, "invalid_value", NULL,
                     "Cannot cancel a batch with status '%s'.", openai_batch_status(&b));
        openai_reply_fault(req, &f);
    } else if (saved) {
        openai_batches_wake(app->batches);
        reply_batch(req, &b);
    } else {
        reply_fault(req, &err);
    }
    openai_batch_close(&b);
}

/* OpenAI keeps batches for ever; here a final one can go. Its files stay until they are deleted. */
void openai_batch_delete(struct http_request *req)
{
    const struct app *app = http_app(req);
    const char *id = http_param(req, "id");
    struct openai_batch b = {0};
    struct openai_fault f;
    struct err err;
    openai_batches_lock(app->batches);
    bool begun = store_begin(app->store, &err);
    bool found = begun && find(app, http_visible_key(req), id, &b, &err);
    bool final = found && openai_batch_is_final(&b);
    bool done = final && store_record_delete(app->store, b.record.id, &err);
    done = begun && store_end(app->store, done, &err);
    openai_batches_unlock(app->batches);
    if (done) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "id", id);
        cJSON_AddStringToObject(json, "object", "batch");
        cJSON_AddTrueToObject(json, "deleted");
        openai_headers(req);
        http_reply_json(req, 200, json);
    } else if (found && !final) {
        openai_fault(&f, 409, NULL, "id", "Batch '%.60s' is %s: cancel it first.", id,
                     openai_batch_status(&b));
        openai_reply_fault(req, &f);
    } else {
        reply_fault(req, &err);
    }
    openai_batch_close(&b);
}

void openai_batch_list(struct http_request *req)
{
    const struct app *app = http_app(req);
    const char *limit = http_query(req, "limit"), *after = http_query(req, "after");
    struct store_record_filter filter = {.kind = OPENAI_BATCH_KIND,
                                         .key_id = http_visible_key(req)};
    struct openai_batch b = {0};
    struct openai_fault f;
    struct err err;
    struct store_record *rows;
    size_t count;
    int64_t number;
    if (!http_query_number(req, "limit", 1, LIST_MAX, 20, &number, &err)) {
        openai_fault(&f, 400, "invalid_value", "limit",
                     "Invalid value: '%.40s'. Expected an integer from 1 to %d.", limit, LIST_MAX);
        openai_reply_fault(req, &f);
        return;
    }
    if (after && !find(app, filter.key_id, after, &b, &err)) {
        openai_fault(&f, 400, "invalid_value", "after", "%s", err.msg);
        openai_reply_fault(req, &f);
        return;
    }
    filter.after_ms = b.record.created_ms;
    filter.after_id = b.record.id;
    filter.limit = (int)number + 1;
    bool ok = store_record_list(app->store, &filter, &rows, &count, &err);
    openai_batch_close(&b);
    if (!ok) {
        reply_fault(req, &err);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "object", "list");
    cJSON *data = cJSON_AddArrayToObject(json, "data");
    for (size_t i = 0; i < count; i++) {
        if (i < (size_t)number && openai_batch_open(&b, &rows[i]))
            cJSON_AddItemToArray(data, batch_json(&b));
        openai_batch_close(&b);
        free(rows[i].body);
    }
    free(rows);
    const cJSON *first = cJSON_GetArrayItem(data, 0);
    const cJSON *last = cJSON_GetArrayItem(data, cJSON_GetArraySize(data) - 1);
    cJSON_AddItemToObject(json, "first_id",
                          first ? cJSON_Duplicate(cJSON_GetObjectItem(first, "id"), true)
                                : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "last_id",
                          last ? cJSON_Duplicate(cJSON_GetObjectItem(last, "id"), true)
                               : cJSON_CreateNull());
    cJSON_AddBoolToObject(json, "has_more", count > (size_t)number);
    openai_headers(req);
    http_reply_json(req, 200, json);
}
