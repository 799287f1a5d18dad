/* native_experiment.c: experiments that there are. */
#include "server/api/native/native_experiment.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/api/native/native_job.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/queue/queue_marks.h"
#include "server/store/store.h"

#define LIST_MOST 1000   /* a multiple of LIST_AT_ONCE */
#define LIST_AT_ONCE 20 /* records in memory */
#define BODY_DEPTH 16

struct change {
    const char *name;
    cJSON *picks;
};

static const struct json_field fields[] = {
    {"name", .type = JSON_FIELD_STRING, .offset = offsetof(struct change, name), .least = 1,
     .most = NATIVE_EXPERIMENT_NAME},
    {"picks", .type = JSON_FIELD_RAW, .offset = offsetof(struct change, picks)}};

struct cJSON *native_experiment_change_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, 2);
    cJSON_ReplaceItemInObjectCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(schema, "properties"), "picks",
        json_text_constant("{\"type\": \"array\", \"items\": {\"type\": \"string\"}}"));
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

/* ---- to JSON ---- */

const struct cJSON *native_experiment_value(const struct cJSON *axes, size_t i, size_t cell)
{
    size_t count = (size_t)cJSON_GetArraySize(axes);
    for (size_t k = count; k-- > i;) {
        const cJSON *values = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetArrayItem(axes, (int)k), "values");
        size_t n = (size_t)cJSON_GetArraySize(values);
        if (n == 0)
            return NULL;
        if (k == i)
            return cJSON_GetArrayItem(values, (int)(cell % n));
        cell /= n;
    }
    return NULL;
}

static cJSON *cell_json(const struct app *app, const char *visible_key, const cJSON *axes,
                        size_t index, const char *id, bool whole)
{
    struct job job;
    struct err err;
    cJSON *json = cJSON_CreateObject();
    cJSON *values = cJSON_AddArrayToObject(json, "values");
    for (size_t i = 0; i < (size_t)cJSON_GetArraySize(axes); i++) {
        const cJSON *value = native_experiment_value(axes, i, index);
        cJSON_AddItemToArray(values, value ? cJSON_Duplicate(value, true) : cJSON_CreateNull());
    }
    cJSON_AddStringToObject(json, "id", id);
    if (!ids_valid(id) || !queue_get(app->queue, id, visible_key, &job, &err)) {
        cJSON_AddStringToObject(json, "state", "removed");
        cJSON_AddArrayToObject(json, "images");
        return json;
    }
    cJSON_AddStringToObject(json, "state", job_state_name(job.state));
    cJSON *images = cJSON_AddArrayToObject(json, "images");
    for (size_t i = 0; i < job.image_count; i++) {
        cJSON *image = native_job_image_of(&job, &job.images[i]);
        cJSON_DeleteItemFromObjectCaseSensitive(image, "infotext");
        cJSON_AddItemToArray(images, image);
    }
    if (whole)
        cJSON_AddItemToObject(json, "job", native_job_to_json(&job));
    job_free(&job);
    return json;
}

struct cJSON *native_experiment_body(const struct store_record *record)
{
    struct err err;
    cJSON *body = json_text_parse(record->body, strlen(record->body), BODY_DEPTH, &err);
    bool sound = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(body, "name")) &&
                 cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(body, "axes")) &&
                 cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(body, "cells")) &&
                 cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(body, "picks")) &&
                 cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(body, "base"));
    if (!sound) {
        cJSON_Delete(body);
        return NULL;
    }
    return body;
}

static void add_head(cJSON *json, const struct store_record *record, const cJSON *body)
{
    cJSON_AddStringToObject(json, "id", record->id);
    cJSON_AddItemToObject(
        json, "name", cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(body, "name"), true));
    cJSON_AddNumberToObject(json, "created_at", (double)record->created_ms);
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(body, "rerun_of");
    cJSON_AddItemToObject(json, "rerun_of", of ? cJSON_Duplicate(of, true) : cJSON_CreateNull());
    cJSON_AddItemToObject(
        json, "axes", cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(body, "axes"), true));
}

struct cJSON *native_experiment_json(const struct app *app, const char *visible_key,
                                     const struct store_record *record, bool whole)
{
    cJSON *body = native_experiment_body(record);
    if (!body)
        return NULL;
    cJSON *json = cJSON_CreateObject();
    const cJSON *axes = cJSON_GetObjectItemCaseSensitive(body, "axes");
    add_head(json, record, body);
    cJSON_AddItemToObject(json, "base",
                          cJSON_DetachItemFromObjectCaseSensitive(body, "base"));
    cJSON_AddItemToObject(json, "picks",
                          cJSON_DetachItemFromObjectCaseSensitive(body, "picks"));
    cJSON *cells = cJSON_AddArrayToObject(json, "cells");
    const cJSON *id;
    size_t index = 0;
    cJSON_ArrayForEach(id, cJSON_GetObjectItemCaseSensitive(body, "cells"))
    {
        const char *text = cJSON_GetStringValue(id);
        cJSON_AddItemToArray(
            cells, cell_json(app, visible_key, axes, index++, text ? text : "", whole));
    }
    cJSON_Delete(body);
    return json;
}

/* ---- the routes ---- */

bool native_experiment_find(struct http_request *req, struct store_record *record)
{
    struct err err;
    const char *id = http_param(req, "id");
    if (store_record_get(http_app(req)->store, NATIVE_EXPERIMENT_KIND, id, http_visible_key(req),
                         record, &err))
        return true;
    if (err.code == ERR_NOT_FOUND)
        err_set(&err, ERR_NOT_FOUND, "there is no experiment \"%.40s\"", id);
    http_reply_error(req, &err, NULL);
    return false;
}

static void reply_damaged(struct http_request *req, const struct store_record *record)
{
    struct err err;
    err_set(&err, ERR_INTERNAL, "the record of experiment %s is damaged", record->id);
    http_reply_error(req, &err, NULL);
}

static void reply_experiment(struct http_request *req, const struct store_record *record)
{
    cJSON *json = native_experiment_json(http_app(req), http_visible_key(req), record, false);
    if (json)
        http_reply_json(req, 200, json);
    else
        reply_damaged(req, record);
}

/* Records may be large and are read whole, so the list is made apart from the server's threads, a
 * few records at a time. */
struct listing {
    struct store *store;
    char key_id[JOB_ID_SIZE];
    bool of_key, failed;
    struct store_record last; /* that was read; without its body */
    size_t seen;
    cJSON *reply, *list;
    struct err err;
};

static void list_one(struct listing *l, struct store_record *record)
{
    cJSON *body = native_experiment_body(record);
    free(record->body);
    record->body = NULL;
    if (!body)
        return;
    cJSON *item = cJSON_CreateObject();
    add_head(item, record, body);
    cJSON_AddNumberToObject(
        item, "cells", cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "cells")));
    cJSON_AddNumberToObject(
        item, "picks", cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "picks")));
    cJSON_AddItemToArray(l->list, item);
    cJSON_Delete(body);
}

static bool list_work(void *ctx, const atomic_bool *gone)
{
    struct listing *l = ctx;
    struct store_record_filter filter = {.kind = NATIVE_EXPERIMENT_KIND,
                                         .key_id = l->of_key ? l->key_id : NULL,
                                         .after_ms = l->last.created_ms,
                                         .after_id = l->last.id,
                                         .limit = LIST_AT_ONCE};
    struct store_record *rows;
    size_t count;
    (void)gone; /* it is asked between the pieces */
    l->failed = !store_record_list(l->store, &filter, &rows, &count, &l->err);
    if (l->failed)
        return false;
    for (size_t i = 0; i < count; i++)
        list_one(l, &rows[i]);
    if (count > 0)
        l->last = rows[count - 1];
    free(rows);
    l->seen += count;
    return count == LIST_AT_ONCE && l->seen < LIST_MOST;
}

static void list_reply(struct http_request *req, void *ctx)
{
    struct listing *l = ctx;
    if (l->failed) {
        http_reply_error(req, &l->err, NULL);
        return;
    }
    http_reply_json(req, 200, l->reply);
    l->reply = NULL;
}

static void list_free(void *ctx)
{
    struct listing *l = ctx;
    cJSON_Delete(l->reply);
    free(l);
}

void native_experiment_list(struct http_request *req)
{
    const char *key_id = http_visible_key(req);
    struct listing *l = calloc(1, sizeof *l);
    struct err err;
    if (!l) {
        err_set(&err, ERR_INTERNAL, "no memory for a list");
        http_reply_error(req, &err, NULL);
        return;
    }
    l->store = http_app(req)->store;
    l->of_key = key_id != NULL;
    snprintf(l->key_id, sizeof l->key_id, "%s", key_id ? key_id : "");
    l->reply = cJSON_CreateObject();
    l->list = cJSON_AddArrayToObject(l->reply, "experiments");
    http_work_on(req, list_work, list_reply, l, list_free);
}

void native_experiment_get(struct http_request *req)
{
    struct store_record record;
    if (!native_experiment_find(req, &record))
        return;
    reply_experiment(req, &record);
    free(record.body);
}

static bool has_cell(const cJSON *body, const char *job_id)
{
    const cJSON *id;
    cJSON_ArrayForEach(id, cJSON_GetObjectItemCaseSensitive(body, "cells"))
        if (cJSON_IsString(id) && strcmp(id->valuestring, job_id) == 0)
            return true;
    return false;
}

static bool check_picks(struct http_request *req, const cJSON *body, const cJSON *picks,
                        struct err *err)
{
    char job_id[JOB_ID_SIZE];
    const cJSON *pick;
    if (!cJSON_IsArray(picks) || cJSON_GetArraySize(picks) > NATIVE_EXPERIMENT_CELLS * 16)
        return err_set(err, ERR_INVALID, "picks: wanted a list of ids of pictures");
    cJSON_ArrayForEach(pick, picks)
    {
        const char *id = cJSON_IsString(pick) ? pick->valuestring : "";
        bool there = queue_marks_job_of(http_app(req)->queue, id, http_visible_key(req), job_id,
                                        err);
        if (!there && err->code != ERR_NOT_FOUND)
            return false;
        if (!there || !has_cell(body, job_id))
            return err_set(err, ERR_INVALID, "picks: \"%.40s\" is no picture of this experiment",
                           id);
    }
    return true;
}

static bool rewrite(struct store_record *record, const struct change *change, struct err *err)
{
    cJSON *body = native_experiment_body(record);
    if (!body)
        return err_set(err, ERR_INTERNAL, "the record of the experiment is damaged");
    if (change->picks)
        cJSON_ReplaceItemInObjectCaseSensitive(body, "picks",
                                               cJSON_Duplicate(change->picks, true));
    if (change->name)
        cJSON_ReplaceItemInObjectCaseSensitive(body, "name", cJSON_CreateString(change->name));
    free(record->body);
    record->body = json_text_print(body);
    cJSON_Delete(body);
    return record->body || err_set(err, ERR_INTERNAL, "no memory for an experiment");
}

/* Writes the record as it is now with the change, in a transaction: another change may have come
 * meanwhile, or its removal. */
static bool apply(struct http_request *req, const struct change *change,
                  struct store_record *record, struct err *err)
{
    struct store *store = http_app(req)->store;
    struct store_record now;
    if (!store_begin(store, err))
        return false;
    bool ok = store_record_get(store, NATIVE_EXPERIMENT_KIND, record->id, http_visible_key(req),
                               &now, err);
    if (!ok) {
        store_rollback(store);
        return false;
    }
    ok = rewrite(&now, change, err) && store_record_put(store, &now, err);
    ok = store_end(store, ok, err);
    free(ok ? record->body : now.body);
    if (ok)
        *record = now;
    return ok;
}

void native_experiment_change(struct http_request *req)
{
    struct store_record record;
    struct change change;
    struct err err;
    const char *param = NULL;
    cJSON *sent = native_body(req, fields, 2, &change);
    if (!sent)
        return;
    if (!native_experiment_find(req, &record)) {
        cJSON_Delete(sent);
        return;
    }
    cJSON *body = change.picks ? native_experiment_body(&record) : NULL;
    bool ok = true;
    if (change.picks) { /* the cells stay what they are: this needs no transaction */
        param = "picks";
        ok = body ? check_picks(req, body, change.picks, &err)
                  : err_set(&err, ERR_INTERNAL, "the record of the experiment is damaged");
    }
    cJSON_Delete(body);
    if (ok) {
        param = NULL;
        ok = apply(req, &change, &record, &err);
    }
    if (ok)
        reply_experiment(req, &record);
    else
        http_reply_error(req, &err, param);
    cJSON_Delete(sent);
    free(record.body);
}

void native_experiment_delete(struct http_request *req)
{
    struct store_record record;
    struct err err;
    if (!native_experiment_find(req, &record))
        return;
    if (store_record_delete(http_app(req)->store, record.id, &err))
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err, NULL);
    free(record.body);
}

/* ---- exports ---- */

/* A cell of a table (RFC 4180). What a spreadsheet would take for a formula gets a quote before. */
static void put_text(FILE *out, const char *text, bool number)
{
    bool formula = !number && *text && strchr("=+-@\t\r", *text);
    fputc('"', out);
    if (formula)
        fputc('\'', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_value(FILE *out, const cJSON *value)
{
    char *text = cJSON_IsString(value) ? NULL : json_text_print((cJSON *)value);
    put_text(out, text ? text : cJSON_GetStringValue(value) ? value->valuestring : "",
             cJSON_IsNumber(value));
    cJSON_free(text);
}

static bool is_picked(const cJSON *picks, const char *id)
{
    const cJSON *pick;
    cJSON_ArrayForEach(pick, picks)
        if (cJSON_IsString(pick) && strcmp(pick->valuestring, id) == 0)
            return true;
    return false;
}

static void put_row(FILE *out, const cJSON *cell, int number, const cJSON *image,
                    const cJSON *picks)
{
    const cJSON *value;
    fprintf(out, "%d,", number);
    cJSON_ArrayForEach(value, cJSON_GetObjectItemCaseSensitive(cell, "values"))
    {
        put_value(out, value);
        fputc(',', out);
    }
    put_value(out, cJSON_GetObjectItemCaseSensitive(cell, "id"));
    fputc(',', out);
    put_value(out, cJSON_GetObjectItemCaseSensitive(cell, "state"));
    fputc(',', out);
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(image, "id");
    if (id) {
        put_value(out, id);
        fputc(',', out);
        put_value(out, cJSON_GetObjectItemCaseSensitive(image, "seed"));
        fprintf(out, ",%s\r\n", is_picked(picks, id->valuestring) ? "true" : "false");
    } else {
        fputs(",,\r\n", out);
    }
}

/* A row a picture, and one for a cell without any. */
static char *csv_of(const cJSON *experiment, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    const cJSON *axis, *cell, *image;
    const cJSON *picks = cJSON_GetObjectItemCaseSensitive(experiment, "picks");
    int number = 0;
    if (!out)
        return NULL;
    fputs("cell,", out);
    cJSON_ArrayForEach(axis, cJSON_GetObjectItemCaseSensitive(experiment, "axes"))
    {
        put_value(out, cJSON_GetObjectItemCaseSensitive(axis, "field"));
        fputc(',', out);
    }
    fputs("job,state,image,seed,picked\r\n", out);
    cJSON_ArrayForEach(cell, cJSON_GetObjectItemCaseSensitive(experiment, "cells"))
    {
        const cJSON *images = cJSON_GetObjectItemCaseSensitive(cell, "images");
        if (!images || !images->child)
            put_row(out, cell, number, NULL, picks);
        cJSON_ArrayForEach(image, images) put_row(out, cell, number, image, picks);
        number++;
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

void native_experiment_export(struct http_request *req)
{
    struct store_record record;
    struct err err;
    const char *format = http_query(req, "format");
    bool csv = format && strcmp(format, "csv") == 0;
    char name[96];
    size_t size;
    if (format && !csv && strcmp(format, "json") != 0) {
        err_set(&err, ERR_INVALID, "format must be json or csv, got \"%.20s\"", format);
        http_reply_error(req, &err, "format");
        return;
    }
    if (!native_experiment_find(req, &record))
        return;
    cJSON *json = native_experiment_json(http_app(req), http_visible_key(req), &record, !csv);
    char *text = json && csv ? csv_of(json, &size) : NULL;
    snprintf(name, sizeof name, "attachment; filename=\"experiment-%.12s.%s\"", record.id,
             csv ? "csv" : "json");
    if (!json || (csv && !text)) {
        reply_damaged(req, &record);
        cJSON_Delete(json);
    } else if (csv) {
        http_reply_header(req, "Content-Disposition", name);
        http_reply_data(req, 200, "text/csv; charset=utf-8", text, size, free);
        cJSON_Delete(json);
    } else {
        http_reply_header(req, "Content-Disposition", name);
        http_reply_json(req, 200, json);
    }
    free(record.body);
}
