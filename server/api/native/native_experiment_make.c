/* native_experiment_make.c: a sweep becomes one request a cell, each read as POST /api/jobs reads
 * it, and all are accepted with the record that names them, or none. That takes a while with
 * pictures, so it is done apart from the server's threads, a cell at a time. */
#include "server/api/native/native_experiment_make.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/linked.h"
#include "server/api/native/native_experiment.h"
#include "server/api/native/native_job.h"
#include "server/api/native/native_submit.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/intake.h"
#include "server/queue/queue_submit.h"
#include "server/store/store.h"

#define KEPT_MOST 1000 /* experiments of a key */
#define RECORD_MOST ((size_t)256 << 10) /* bytes of a record: lists read all that are kept */
#define PARAM_SIZE 96

struct request {
    const char *name;
    cJSON *base, *axes;
};

static const struct json_field fields[] = {
    {"name", .type = JSON_FIELD_STRING, .offset = offsetof(struct request, name), .required = true,
     .least = 1, .most = NATIVE_EXPERIMENT_NAME},
    {"base", .type = JSON_FIELD_RAW, .offset = offsetof(struct request, base), .required = true},
    {"axes", .type = JSON_FIELD_RAW, .offset = offsetof(struct request, axes), .required = true}};

struct axis {
    const char *field, *find;
    cJSON *values;
};

static const struct json_field axis_fields[] = {
    {"field", .type = JSON_FIELD_STRING, .offset = offsetof(struct axis, field), .required = true,
     .least = 1, .most = 64},
    {"find", .type = JSON_FIELD_STRING, .offset = offsetof(struct axis, find), .least = 1,
     .most = 1000},
    {"values", .type = JSON_FIELD_RAW, .offset = offsetof(struct axis, values), .required = true}};

struct making {
    const struct app *app;
    char key_id[JOB_ID_SIZE], visible[JOB_ID_SIZE];
    bool sees_all, admin;
    cJSON *body; /* what the request says; the record's once it is accepted */
    struct axis axes[NATIVE_EXPERIMENT_AXES];
    size_t axis_count;
    char (*sources)[JOB_ID_SIZE]; /* of a rerun: the jobs that are painted again; NULL: `body` */
    size_t count, at, bytes;
    struct native_job *jobs;
    struct job *copies; /* of a rerun */
    struct job_input (*inputs)[INPUTS_MAX];
    struct queue_request *requests;
    struct store_record record;
    bool done;
    char param[PARAM_SIZE];
    struct err err;
};

struct cJSON *native_experiment_make_schema(const struct settings *settings)
{
    cJSON *schema = json_fields_schema(fields, 3);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON *base = native_job_schema(settings), *axes = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(base, "$schema");
    cJSON_DeleteItemFromObjectCaseSensitive(base, "required"); /* an axis may have it */
    cJSON_ReplaceItemInObjectCaseSensitive(properties, "base", base);
    cJSON *axis = json_fields_schema(axis_fields, 3);
    cJSON_ReplaceItemInObjectCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(axis, "properties"), "values",
        json_text_constant("{\"type\": \"array\", \"minItems\": 1}"));
    cJSON_AddBoolToObject(axis, "additionalProperties", false);
    cJSON_AddStringToObject(axes, "type", "array");
    cJSON_AddNumberToObject(axes, "minItems", 1);
    cJSON_AddNumberToObject(axes, "maxItems", NATIVE_EXPERIMENT_AXES);
    cJSON_AddItemToObject(axes, "items", axis);
    cJSON_ReplaceItemInObjectCaseSensitive(properties, "axes", axes);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

/* ---- what is asked for ---- */

static bool read_axis(struct making *m, cJSON *item, struct err *err)
{
    size_t i = m->axis_count;
    struct json_problem problem;
    struct axis *axis = &m->axes[i];
    if (!json_fields_parse(axis_fields, 3, item, JSON_FIELDS_STRICT, axis, &problem)) {
        snprintf(m->param, PARAM_SIZE, "axes[%zu]%s%s", i, *problem.name ? "." : "", problem.name);
        return err_set(err, ERR_INVALID, "axes[%zu]: %s", i, problem.message);
    }
    snprintf(m->param, PARAM_SIZE, "axes[%zu]", i);
    if (!cJSON_IsArray(axis->values) || !axis->values->child)
        return err_set(err, ERR_INVALID, "axes[%zu]: wanted values, a list with something in it",
                       i);
    for (size_t k = 0; k < i && !axis->find; k++)
        if (strcmp(m->axes[k].field, axis->field) == 0 && !m->axes[k].find)
            return err_set(err, ERR_INVALID, "axes[%zu]: \"%s\" is an axis already", i,
                           axis->field);
    const cJSON *base = cJSON_GetObjectItemCaseSensitive(m->body, "base");
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(base, axis->field));
    if (axis->find && (!text || !strstr(text, axis->find)))
        return err_set(err, ERR_INVALID, "axes[%zu]: the base's %s has no \"%.60s\" in it", i,
                       axis->field, axis->find);
    const cJSON *value;
    cJSON_ArrayForEach(value, axis->values)
        if (axis->find && !cJSON_IsString(value))
            return err_set(err, ERR_INVALID, "axes[%zu]: with find, the values are texts", i);
    m->axis_count++;
    m->count *= (size_t)cJSON_GetArraySize(axis->values);
    return m->count <= NATIVE_EXPERIMENT_CELLS ||
           err_set(err, ERR_INVALID, "axes: wanted at most %d cells in all",
                   NATIVE_EXPERIMENT_CELLS);
}

/* All cells have one seed, unless that is what they differ in. */
static bool fix_seed(struct making *m, cJSON *base, const char *name, struct err *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(base, name);
    struct json_whole given;
    uint64_t seed;
    for (size_t i = 0; i < m->axis_count; i++)
        if (strcmp(m->axes[i].field, name) == 0)
            return true;
    if (item && !cJSON_IsNull(item) && !(json_number_whole(item, &given) && given.negative))
        return true;
    if (!intake_seed(&seed, err))
        return false;
    cJSON_DeleteItemFromObjectCaseSensitive(base, name);
    cJSON_AddItemToObject(base, name, json_number_item(seed));
    return true;
}

/* m->body has been sent, or is a record's. */
static bool read_sweep(struct making *m, struct err *err)
{
    cJSON *base = cJSON_GetObjectItemCaseSensitive(m->body, "base");
    cJSON *axes = cJSON_GetObjectItemCaseSensitive(m->body, "axes");
    m->count = 1;
    snprintf(m->param, PARAM_SIZE, "base");
    if (!cJSON_IsObject(base))
        return err_set(err, ERR_INVALID, "base: wanted an object, the fields of a request");
    snprintf(m->param, PARAM_SIZE, "axes");
    if (!cJSON_IsArray(axes) || !axes->child ||
        cJSON_GetArraySize(axes) > NATIVE_EXPERIMENT_AXES)
        return err_set(err, ERR_INVALID, "axes: wanted a list of 1 to %d", NATIVE_EXPERIMENT_AXES);
    for (cJSON *item = axes->child; item; item = item->next)
        if (!read_axis(m, item, err))
            return false;
    m->param[0] = '\0';
    return fix_seed(m, base, "seed", err) && fix_seed(m, base, "subseed", err);
}

static bool make_room(struct making *m, struct err *err)
{
    m->jobs = calloc(m->count, sizeof *m->jobs);
    m->copies = calloc(m->count, sizeof *m->copies);
    m->inputs = calloc(m->count, sizeof *m->inputs);
    m->requests = calloc(m->count, sizeof *m->requests);
    return (m->jobs && m->copies && m->inputs && m->requests) ||
           err_set(err, ERR_INTERNAL, "no memory for an experiment of %zu cells", m->count);
}

/* ---- cells ---- */

/* `text` with every `find` replaced, owned. Short texts can become endless ones that way. */
static char *replaced(const char *text, const char *find, const char *by, size_t most,
                      struct err *err)
{
    size_t count = 0, n = strlen(find), m = strlen(by), length = strlen(text);
    for (const char *at = text; (at = strstr(at, find)); at += n)
        count++;
    length -= count * n;
    if (m > 0 && (length > most || count > (most - length) / m)) {
        err_set(err, ERR_TOO_LARGE,
                "with %zu bytes in %zu places the text is longer than %zu bytes", m, count, most);
        return NULL;
    }
    char *out = malloc(length + count * m + 1), *to = out;
    if (!out) {
        err_set(err, ERR_INTERNAL, "no memory for a text");
        return NULL;
    }
    for (const char *at; (at = strstr(text, find)); text = at + n) {
        memcpy(to, text, (size_t)(at - text));
        to += at - text;
        memcpy(to, by, m);
        to += m;
    }
    strcpy(to, text);
    return out;
}

/* The request of a cell, owned. */
static cJSON *cell_request(const struct making *m, size_t cell, char param[64], struct err *err)
{
    const size_t most = m->app->settings->max_prompt_bytes;
    cJSON *json =
        cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(m->body, "base"), true);
    const cJSON *axes = cJSON_GetObjectItemCaseSensitive(m->body, "axes");
    for (size_t i = 0; i < m->axis_count; i++) {
        const struct axis *axis = &m->axes[i];
        const cJSON *value = native_experiment_value(axes, i, cell);
        cJSON *now = cJSON_GetObjectItemCaseSensitive(json, axis->field), *put = NULL;
        if (axis->find && cJSON_IsString(now)) {
            char *text = replaced(now->valuestring, axis->find, value->valuestring, most, err);
            if (!text) {
                snprintf(param, 64, "%.63s", axis->field);
                cJSON_Delete(json);
                return NULL;
            }
            put = cJSON_CreateString(text);
            free(text);
        } else {
            put = cJSON_Duplicate(value, true);
        }
        cJSON_DeleteItemFromObjectCaseSensitive(json, axis->field);
        cJSON_AddItemToObject(json, axis->field, put);
    }
    return json;
}

static const char *visible_key(const struct making *m)
{
    return m->sees_all ? NULL : m->visible;
}

static bool read_cell(struct making *m, struct err *err)
{
    struct native_job *job = &m->jobs[m->at];
    char param[64] = "";
    cJSON *request = cell_request(m, m->at, param, err);
    bool read = request && native_job_read(m->app, visible_key(m), request, job, param, err) &&
                native_submit_may(m->admin, job, param, err);
    cJSON_Delete(request);
    if (!read) {
        snprintf(m->param, PARAM_SIZE, "%s", param);
        return err_prefix(err, "cell %zu", m->at);
    }
    m->requests[m->at] = (struct queue_request){
        .priority = job->priority, .params = &job->params, .tags = job->tags};
    m->requests[m->at].input_count = native_job_inputs(job, m->inputs[m->at]);
    return true;
}

static bool repeat_cell(struct making *m, struct err *err)
{
    struct job *job = &m->copies[m->at];
    struct queue_request *r = &m->requests[m->at];
    const char *param = NULL;
    *r = (struct queue_request){.params = &job->params};
    if (!queue_get(m->app->queue, m->sources[m->at], visible_key(m), job, err))
        return false;
    r->priority = job->priority > 0 && !m->admin ? 0 : job->priority;
    if (native_submit_repeat(m->app, job, m->inputs[m->at], &r->input_count, &param, err))
        return true;
    snprintf(m->param, PARAM_SIZE, "%s", param ? param : "");
    return err_prefix(err, "cell %zu", m->at);
}

/* ---- accepting ---- */

/* With the jobs' rows. */
static bool write_record(void *ctx, struct store *store, const struct queue_request *requests,
                         size_t count, struct err *err)
{
    struct making *m = ctx;
    int64_t kept;
    size_t bytes;
    if (!store_record_total(store, NATIVE_EXPERIMENT_KIND, m->key_id, &kept, &bytes, err))
        return false;
    if (kept >= KEPT_MOST)
        return err_set(err, ERR_BUSY, "%d experiments are kept: remove some", KEPT_MOST);
    cJSON *cells = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(cells, cJSON_CreateString(requests[i].id));
    cJSON_DeleteItemFromObjectCaseSensitive(m->body, "cells");
    cJSON_AddItemToObject(m->body, "cells", cells);
    m->record.body = json_text_print(m->body);
    return m->record.body ? store_record_put(store, &m->record, err)
                          : err_set(err, ERR_INTERNAL, "no memory for an experiment");
}

/* Of an axis of pictures their numbers are left. */
static void drop_values(cJSON *values)
{
    char text[32];
    int count = cJSON_GetArraySize(values);
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "picture %d", i + 1);
        cJSON_ReplaceItemInArray(values, i, cJSON_CreateString(text));
    }
}

/* Pictures stay with the jobs: the record only says that there are some. */
static void drop_pictures(cJSON *body)
{
    static const char *const names[] = {"init_image", "mask", "controls", "images"};
    cJSON *base = cJSON_GetObjectItemCaseSensitive(body, "base"), *axis;
    bool some = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(body, "pictures"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(base, names[i]);
        some = some || (item && !cJSON_IsNull(item));
        cJSON_Delete(item);
        cJSON_ArrayForEach(axis, cJSON_GetObjectItemCaseSensitive(body, "axes"))
        {
            const char *field =
                cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(axis, "field"));
            if (field && strcmp(field, names[i]) == 0) {
                drop_values(cJSON_GetObjectItemCaseSensitive(axis, "values"));
                some = true;
            }
        }
    }
    cJSON_DeleteItemFromObjectCaseSensitive(body, "pictures");
    cJSON_AddBoolToObject(body, "pictures", some);
}

/* What the record will have, without the ids. */
static bool check_record(struct making *m, struct err *err)
{
    char *text = json_text_print(m->body);
    size_t size = text ? strlen(text) : 0;
    cJSON_free(text);
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for an experiment");
    return size <= RECORD_MOST ||
           err_set(err, ERR_TOO_LARGE,
                   "base and axes have %zu bytes without pictures: wanted at most %zu", size,
                   RECORD_MOST);
}

static bool submit(struct making *m, struct err *err)
{
    struct queue_also also = {write_record, m};
    for (size_t i = 0; i < m->count; i++)
        m->requests[i].inputs = m->inputs[i];
    drop_pictures(m->body);
    cJSON_DeleteItemFromObjectCaseSensitive(m->body, "picks");
    cJSON_AddArrayToObject(m->body, "picks");
    m->record.created_ms = now_unix_ms();
    snprintf(m->record.kind, sizeof m->record.kind, "%s", NATIVE_EXPERIMENT_KIND);
    snprintf(m->record.key_id, sizeof m->record.key_id, "%s", m->key_id);
    return check_record(m, err) && ids_random(m->record.id, JOB_ID_SIZE - 1, err) &&
           queue_submit_all(m->app->queue, m->key_id, false, m->requests, m->count, NULL, &also,
                            err);
}

static bool make_work(void *ctx, const atomic_bool *gone)
{
    struct making *m = ctx;
    m->err.code = ERR_NONE;
    if (gone && atomic_load(gone)) /* nobody hears of it: nothing is accepted */
        return false;
    if (m->at == m->count) {
        m->done = submit(m, &m->err);
        return false;
    }
    if (!(m->sources ? repeat_cell(m, &m->err) : read_cell(m, &m->err)))
        return false;
    for (size_t i = 0; i < m->requests[m->at].input_count; i++)
        m->bytes += m->inputs[m->at][i].size;
    m->at++;
    if (m->bytes <= m->app->settings->max_body_bytes)
        return true;
    err_set(&m->err, ERR_TOO_LARGE, "the pictures of all cells have more than %zu bytes",
            (size_t)m->app->settings->max_body_bytes);
    return false;
}

static void make_reply(struct http_request *req, void *ctx)
{
    struct making *m = ctx;
    char location[64];
    if (!m->done) {
        http_reply_error(req, &m->err, m->param);
        return;
    }
    snprintf(location, sizeof location, "/api/experiments/%s", m->record.id);
    http_reply_header(req, "Location", location);
    http_reply_json(req, 202, native_experiment_json(m->app, visible_key(m), &m->record, false));
}

static void make_free(void *ctx)
{
    struct making *m = ctx;
    for (size_t i = 0; i < m->count && m->jobs && m->copies && m->requests && m->inputs; i++) {
        native_job_free(&m->jobs[i]);
        for (size_t k = 0; m->sources && k < m->requests[i].input_count; k++)
            free((void *)m->inputs[i][k].data);
        job_free(&m->copies[i]);
    }
    free(m->jobs);
    free(m->copies);
    free(m->inputs);
    free(m->requests);
    free(m->sources);
    free(m->record.body);
    cJSON_Delete(m->body);
    free(m);
}

/* ---- the routes ---- */

static struct making *making_new(struct http_request *req, struct err *err)
{
    struct making *m = calloc(1, sizeof *m);
    const char *visible = http_visible_key(req);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for an experiment");
        return NULL;
    }
    m->app = http_app(req);
    m->admin = http_is_admin(req);
    m->sees_all = !visible;
    snprintf(m->key_id, sizeof m->key_id, "%s", http_key_id(req));
    snprintf(m->visible, sizeof m->visible, "%s", visible ? visible : "");
    return m;
}

static bool read_request(struct making *m, struct err *err)
{
    struct request r;
    struct json_problem problem;
    if (json_fields_parse(fields, 3, m->body, JSON_FIELDS_STRICT, &r, &problem))
        return read_sweep(m, err) && make_room(m, err);
    snprintf(m->param, PARAM_SIZE, "%s", problem.name);
    return err_set(err, ERR_INVALID, "%s", problem.message);
}

/* One description for all cells. */
static cJSON *next_base(cJSON *body, cJSON *before)
{
    return before ? NULL : cJSON_GetObjectItemCaseSensitive(body, "base");
}

static const struct composing_place composed_base = {.next = next_base};

void native_experiment_make(struct http_request *req)
{
    struct err err;
    if (composing_begins(req, &composed_base, native_experiment_make) ||
        linked_begins(req, native_experiment_make))
        return;
    struct making *m = making_new(req, &err);
    bool ok = m && (m->body = http_json(req, &err)) && read_request(m, &err);
    if (ok) {
        http_work(req, make_work, make_reply, m, make_free);
        return;
    }
    http_reply_error(req, &err, m ? m->param : NULL);
    if (m)
        make_free(m);
}

/* Of what was an experiment the jobs are painted again as they were; where one was removed, the
 * request that the record has is read again, unless it had pictures. */
static bool read_rerun(struct making *m, const struct store_record *record, struct err *err)
{
    m->body = native_experiment_body(record);
    if (!m->body || !read_sweep(m, err))
        return err_set(err, ERR_INTERNAL, "the record of experiment %s is damaged", record->id);
    const cJSON *cells = cJSON_GetObjectItemCaseSensitive(m->body, "cells"), *id;
    bool all = (size_t)cJSON_GetArraySize(cells) == m->count;
    size_t n = 0;
    m->sources = calloc(m->count, sizeof *m->sources);
    if (!m->sources)
        return err_set(err, ERR_INTERNAL, "no memory for an experiment");
    cJSON_ArrayForEach(id, cells)
    {
        enum job_state state;
        int images;
        all = all && cJSON_IsString(id) && ids_valid(id->valuestring) &&
              queue_glance(m->app->queue, id->valuestring, &state, &images, err);
        if (all)
            snprintf(m->sources[n++], JOB_ID_SIZE, "%s", id->valuestring);
    }
    if (!all) {
        free(m->sources);
        m->sources = NULL;
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(m->body, "pictures")))
            return err_set(err, ERR_CANCELLED,
                           "a job of this experiment was removed, and with it the pictures that it "
                           "began from: it cannot be made again");
    }
    cJSON_DeleteItemFromObjectCaseSensitive(m->body, "rerun_of");
    cJSON_AddStringToObject(m->body, "rerun_of", record->id);
    return make_room(m, err);
}

void native_experiment_rerun(struct http_request *req)
{
    struct store_record record;
    struct err err;
    if (!native_experiment_find(req, &record))
        return;
    struct making *m = making_new(req, &err);
    bool ok = m && read_rerun(m, &record, &err);
    free(record.body);
    if (ok) {
        http_work(req, make_work, make_reply, m, make_free);
        return;
    }
    http_reply_error(req, &err, NULL);
    if (m)
        make_free(m);
}
