/* native_queue.c: each a call of the queue. */
#include "server/api/native/native_queue.h"

#include <cjson/cJSON.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/api/native/native_job.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/queue/queue_hold.h"

struct move {
    const char *before;
};

static const struct json_field fields[] = {
    {"before", .type = JSON_FIELD_STRING, .offset = offsetof(struct move, before)}};

struct cJSON *native_queue_move_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, 1);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

void native_queue_get(struct http_request *req)
{
    struct queue *queue = http_app(req)->queue;
    int queued, running;
    struct err err;
    if (!queue_depth(queue, http_visible_key(req), &queued, &running, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "paused", queue_hold_is_paused(queue));
    cJSON_AddNumberToObject(json, "queued", queued);
    cJSON_AddNumberToObject(json, "running", running);
    http_reply_json(req, 200, json);
}

static void hold(struct http_request *req, bool paused)
{
    struct err err;
    if (queue_hold_pause(http_app(req)->queue, paused, &err))
        native_queue_get(req);
    else
        http_reply_error(req, &err, NULL);
}

void native_queue_pause(struct http_request *req)
{
    hold(req, true);
}

void native_queue_resume(struct http_request *req)
{
    hold(req, false);
}

void native_queue_move(struct http_request *req)
{
    struct queue *queue = http_app(req)->queue;
    struct move order;
    struct job job;
    struct err err;
    const char *id = http_param(req, "id");
    bool blamed;
    cJSON *body = native_body(req, fields, 1, &order);
    if (!body)
        return;
    if (order.before && !ids_valid(order.before)) {
        err_set(&err, ERR_INVALID, "before: \"%.40s\" is no id: wanted 32 hex digits",
                order.before);
        http_reply_error(req, &err, "before");
        cJSON_Delete(body);
        return;
    }
    if (queue_hold_move(queue, id, order.before, &blamed, &err) &&
        queue_get(queue, id, NULL, &job, &err)) {
        http_reply_json(req, 200, native_job_to_json(&job));
        job_free(&job);
    } else if (blamed && err.code == ERR_NOT_FOUND) {
        err_set(&err, ERR_INVALID, "before: there is no job \"%.40s\"", order.before);
        http_reply_error(req, &err, "before");
    } else if (err.code == ERR_INVALID) {
        struct http_problem problem = {409, err.code, err.msg, blamed ? "before" : NULL};
        native_error(req, &problem);
    } else {
        http_reply_error(req, &err, NULL);
    }
    cJSON_Delete(body);
}
