/* native_submit.c: requests for jobs. What is sent under an Idempotency-Key is looked for first: a
 * client that sends again what was accepted is to hear of that, whatever is said of it now. */
#include "server/api/native/native_submit.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/linked.h"
#include "server/api/native/native.h"
#include "server/api/native/native_job.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/companions.h"
#include "server/job/inputs.h"
#include "server/job/intake.h"
#include "server/queue/queue_submit.h"

#define HEADER "Idempotency-Key"

/* ---- sent again ---- */

/* The request's name (NULL: it has none), and the hash of all that it says. */
static bool read_once(struct http_request *req, struct queue_once *once, struct err *err)
{
    size_t size;
    const char *name = http_header(req, HEADER), *body = http_body_sent(req, &size);
    const char *path = http_path(req);
    unsigned char parts[2][SHA256_SIZE], digest[SHA256_SIZE];
    *once = (struct queue_once){.name = name};
    if (!name)
        return true;
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (name[i] < ' ' || name[i] > '~')
            length = QUEUE_SUBMIT_NAME + 1;
    if (length < 1 || length > QUEUE_SUBMIT_NAME)
        return err_set(err, ERR_INVALID, HEADER ": wanted 1 to %d printable ASCII characters",
                       QUEUE_SUBMIT_NAME);
    if (!sha256_bytes(path, strlen(path), parts[0], err) ||
        !sha256_bytes(body, size, parts[1], err) ||
        !sha256_bytes(parts, sizeof parts, digest, err))
        return false;
    sha256_hex(digest, once->hash);
    return true;
}

/* Those that are still there: what was removed since is not made anew, but named. */
static void reply_jobs(struct http_request *req, const char *ids, bool batch)
{
    struct queue *queue = http_app(req)->queue;
    cJSON *list = cJSON_CreateArray(), *removed = cJSON_CreateArray();
    struct err err = {0};
    for (const char *at = ids; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        struct job job;
        char id[JOB_ID_SIZE];
        snprintf(id, sizeof id, "%s", at);
        if (!ids_valid(id) || !queue_get(queue, id, http_visible_key(req), &job, &err)) {
            if (batch && err.code != ERR_NONE && err.code != ERR_NOT_FOUND)
                break;
            cJSON_AddItemToArray(removed, cJSON_CreateString(id));
            continue;
        }
        cJSON_AddItemToArray(list, native_job_to_json(&job));
        job_free(&job);
    }
    cJSON *json = cJSON_CreateObject();
    bool read = err.code == ERR_NONE || err.code == ERR_NOT_FOUND;
    if (batch && read) {
        cJSON_AddItemToObject(json, "jobs", list);
        cJSON_AddItemToObject(json, "removed", removed);
        http_reply_json(req, 202, json);
        return;
    }
    cJSON_Delete(removed);
    cJSON *only = cJSON_DetachItemFromArray(list, 0);
    cJSON_Delete(list);
    cJSON_Delete(json);
    if (only && !batch) {
        http_reply_json(req, 202, only);
        return;
    }
    cJSON_Delete(only);
    http_reply_error(req, &err, NULL);
}

static void reply_again(struct http_request *req, struct queue_once *once, bool batch)
{
    http_reply_header(req, "Idempotency-Replayed", "true");
    reply_jobs(req, once->jobs, batch);
    free(once->jobs);
}

static void reply_refused(struct http_request *req, const struct queue_once *once,
                          const struct err *err, const char *param)
{
    struct http_problem problem = {409, err->code, err->msg, HEADER};
    if (once->differs)
        native_error(req, &problem);
    else
        http_reply_error(req, err, param);
}

/* True when the request is answered: its name is no name, or was used before. */
static bool answered(struct http_request *req, struct queue_once *once, bool batch)
{
    struct err err;
    if (!read_once(req, once, &err)) {
        http_reply_error(req, &err, HEADER);
        return true;
    }
    if (!once->name)
        return false;
    if (!queue_submit_find(http_app(req)->queue, http_key_id(req), once, &err)) {
        reply_refused(req, once, &err, NULL);
        return true;
    }
    if (!once->jobs)
        return false;
    reply_again(req, once, batch);
    return true;
}

/* ---- one job ---- */

/* What was accepted; where the store cannot be read just now, that is what was sent: a client that
 * is told of an error sends the job once more, and both are painted. */
static cJSON *accepted_json(struct http_request *req, const struct queue_request *r)
{
    struct job job;
    struct err err;
    if (queue_get(http_app(req)->queue, r->id, http_visible_key(req), &job, &err)) {
        cJSON *json = native_job_to_json(&job);
        job_free(&job);
        return json;
    }
    log_err(LOG_WARN, "job_not_read_back", &err, "job=%s", r->id);
    job = (struct job){.priority = r->priority,
                       .params = *r->params, /* borrowed */
                       .state = JOB_QUEUED,
                       .created_ms = now_unix_ms(),
                       .position = -1};
    memcpy(job.id, r->id, JOB_ID_SIZE);
    return native_job_to_json(&job);
}

static void reply_accepted(struct http_request *req, const struct queue_request *r)
{
    char location[64];
    snprintf(location, sizeof location, "/api/jobs/%s", r->id);
    http_reply_header(req, "Location", location);
    http_reply_json(req, 202, accepted_json(req, r));
}

/* Submits one job, and replies. */
static void submit_one(struct http_request *req, struct queue_request *r, struct queue_once *once)
{
    struct err err;
    r->request = http_request_id(req);
    if (!queue_submit_all(http_app(req)->queue, http_key_id(req), false, r, 1,
                          once->name ? once : NULL, NULL, &err))
        reply_refused(req, once, &err, NULL);
    else if (once->jobs)
        reply_again(req, once, false);
    else
        reply_accepted(req, r);
}

bool native_submit_may(bool admin, const struct native_job *job, char param[64], struct err *err)
{
    if (job->priority <= 0 || admin)
        return true;
    snprintf(param, 64, "priority");
    return err_set(err, ERR_DENIED,
                   "a priority above 0 needs a key with the right to administer");
}

void native_submit(struct http_request *req)
{
    struct native_job job = {0};
    struct queue_once once;
    struct err err;
    struct job_input inputs[INPUTS_MAX];
    char param[64] = "";
    if (answered(req, &once, false) || composing_begins(req, NULL, native_submit) ||
        linked_begins(req, native_submit))
        return;
    cJSON *body = http_json(req, &err);
    if (!body || !native_job_read(http_app(req), http_visible_key(req), body, &job, param, &err)) {
        http_reply_error(req, &err, param);
        cJSON_Delete(body);
        return;
    }
    if (native_submit_may(http_is_admin(req), &job, param, &err)) {
        struct queue_request r = {.priority = job.priority, .params = &job.params,
                                  .inputs = inputs, .tags = job.tags,
                                  .input_count = native_job_inputs(&job, inputs)};
        submit_one(req, &r, &once);
    } else {
        http_reply_error(req, &err, param);
    }
    native_job_free(&job);
    cJSON_Delete(body);
}

/* The pictures of a job once more, for its repetition. */
static bool read_inputs(const struct app *app, const struct job *job,
                        struct job_input inputs[INPUTS_MAX], size_t *count, struct err *err)
{
    bool wanted[INPUTS_MAX];
    inputs_wanted(&job->params, wanted);
    *count = 0;
    for (size_t i = 0; i < INPUTS_MAX; i++) {
        const char *name = inputs_name(i);
        void *data;
        size_t size;
        if (!wanted[i])
            continue;
        if (!queue_input(app->queue, job->id, name, &data, &size, err))
            return false;
        inputs[(*count)++] = (struct job_input){name, data, size};
    }
    return true;
}

bool native_submit_repeat(const struct app *app, struct job *job,
                          struct job_input inputs[INPUTS_MAX], size_t *count,
                          const char **param, struct err *err)
{
    struct intake_model model;
    *count = 0;
    *param = NULL;
    /* All of its fields hold something by now: which of them were said, its notes still know. */
    char *notes = job->params.notes;
    job->params.notes = NULL;
    /* The limits may be tighter than when it was accepted. */
    bool done = intake_model(app->registry, job->params.model, &model, err) &&
                intake_complete(&model, app->settings, &job->params, param, err);
    free(job->params.notes);
    job->params.notes = notes;
    return done &&
           intake_files(app->registry, &model, &job->params, param, err) &&
           companions_check(app->registry, &model, &job->params, param, err) &&
           read_inputs(app, job, inputs, count, err);
}

void native_submit_retry(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct job_input inputs[INPUTS_MAX];
    struct queue_once once;
    size_t count = 0;
    struct job job;
    struct err err;
    if (answered(req, &once, false))
        return;
    if (!queue_get(app->queue, http_param(req, "id"), http_visible_key(req), &job, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    const char *param;
    if (native_submit_repeat(app, &job, inputs, &count, &param, &err)) {
        struct queue_request r = {.priority = job.priority, .params = &job.params,
                                  .inputs = inputs, .input_count = count};
        submit_one(req, &r, &once);
    } else {
        http_reply_error(req, &err, param);
    }
    for (size_t i = 0; i < count; i++)
        free((void *)inputs[i].data);
    job_free(&job);
}

/* ---- several jobs ---- */

struct batch {
    size_t count;
    struct native_job *jobs;
    struct job_input (*inputs)[INPUTS_MAX];
    struct queue_request *requests;
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        native_job_free(&b->jobs[i]);
    free(b->jobs);
    free(b->inputs);
    free(b->requests);
}

static const struct json_field batch_fields[] = {
    {"jobs", .type = JSON_FIELD_RAW, .required = true}};

struct cJSON *native_submit_batch_schema(const struct settings *settings)
{
    cJSON *schema = json_fields_schema(batch_fields, 1);
    cJSON *item = native_job_schema(settings);
    cJSON *jobs = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(item, "$schema");
    cJSON_AddStringToObject(jobs, "type", "array");
    cJSON_AddNumberToObject(jobs, "minItems", 1);
    cJSON_AddNumberToObject(jobs, "maxItems", QUEUE_SUBMIT_MAX);
    cJSON_AddItemToObject(jobs, "items", item);
    cJSON_ReplaceItemInObjectCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(schema, "properties"), "jobs", jobs);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

/* Reads jobs[i]; a fault names the place: "jobs[3].width". */
static bool read_one(struct http_request *req, cJSON *item, struct batch *b, char param[96],
                     struct err *err)
{
    size_t i = b->count;
    char field[64] = "";
    struct native_job *job = &b->jobs[i];
    bool read = native_job_read(http_app(req), http_visible_key(req), item, job, field, err);
    if (read) {
        b->count++;
        b->requests[i] = (struct queue_request){
            .priority = job->priority, .params = &job->params, .inputs = b->inputs[i],
            .tags = job->tags};
        b->requests[i].input_count = native_job_inputs(job, b->inputs[i]);
    }
    if (read && native_submit_may(http_is_admin(req), job, field, err))
        return true;
    snprintf(param, 96, "jobs[%zu]%s%.60s", i, *field ? "." : "", field);
    return err_prefix(err, "jobs[%zu]", i);
}

/* *list is the body's. */
static bool read_batch(struct http_request *req, cJSON *body, struct batch *b, char param[96],
                       struct err *err)
{
    struct json_problem problem;
    cJSON *list = NULL;
    if (!json_fields_parse(batch_fields, 1, body, JSON_FIELDS_STRICT, &list, &problem)) {
        snprintf(param, 96, "%s", problem.name);
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    snprintf(param, 96, "jobs");
    if (count < 1 || count > QUEUE_SUBMIT_MAX)
        return err_set(err, ERR_INVALID, "jobs: wanted a list of 1 to %d requests",
                       QUEUE_SUBMIT_MAX);
    b->jobs = calloc((size_t)count, sizeof *b->jobs);
    b->inputs = calloc((size_t)count, sizeof *b->inputs);
    b->requests = calloc((size_t)count, sizeof *b->requests);
    if (!b->jobs || !b->inputs || !b->requests)
        return err_set(err, ERR_INTERNAL, "no memory for %d jobs", count);
    for (cJSON *item = list->child; item; item = item->next)
        if (!read_one(req, item, b, param, err))
            return false;
    param[0] = '\0';
    return true;
}

static cJSON *next_of_batch(cJSON *body, cJSON *before)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(body, "jobs");
    return before ? before->next : cJSON_IsArray(list) ? list->child : NULL;
}

static const struct composing_place composed_batch = {.next = next_of_batch, .list = "jobs"};

void native_submit_batch(struct http_request *req)
{
    struct batch b = {0};
    struct queue_once once;
    struct err err;
    char param[96] = "";
    if (answered(req, &once, true) ||
        composing_begins(req, &composed_batch, native_submit_batch) ||
        linked_begins(req, native_submit_batch))
        return;
    cJSON *body = http_json(req, &err);
    bool ok = body && read_batch(req, body, &b, param, &err);
    for (size_t i = 0; i < b.count && ok; i++)
        b.requests[i].request = http_request_id(req);
    ok = ok &&
              queue_submit_all(http_app(req)->queue, http_key_id(req), false, b.requests, b.count,
                               once.name ? &once : NULL, NULL, &err);
    if (!ok) {
        reply_refused(req, &once, &err, param);
    } else if (once.jobs) {
        reply_again(req, &once, true);
    } else {
        cJSON *json = cJSON_CreateObject(), *jobs = cJSON_AddArrayToObject(json, "jobs");
        for (size_t i = 0; i < b.count; i++)
            cJSON_AddItemToArray(jobs, accepted_json(req, &b.requests[i]));
        http_reply_json(req, 202, json);
    }
    batch_free(&b);
    cJSON_Delete(body);
}
