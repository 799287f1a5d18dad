/* native_list.c: jobs by what they are asked for. A plain page of the history is read at once; what
 * is searched for may take seconds, on a thread for such things. */
#include "server/api/native/native_list.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/api/native/native_job.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/job_field.h"
#include "server/queue/queue.h"

#define LIST_LIMIT 50
#define LIST_LIMIT_MAX 200
#define PARAMS_SIZE 1001
#define MODEL_SIZE 201 /* as a model's name in struct job_backlog */

static void reply_invalid(struct http_request *req, const char *param, const char *message)
{
    struct http_problem problem = {400, ERR_INVALID, message, param};
    native_error(req, &problem);
}

/* On failure it has replied. */
static bool query_number(struct http_request *req, const char *name, int64_t least, int64_t most,
                         int64_t fallback, int64_t *out)
{
    struct err err;
    bool good = http_query_number(req, name, least, most, fallback, out, &err);
    if (!good)
        reply_invalid(req, name, err.msg);
    return good;
}

static void reply_list(struct http_request *req, struct job *jobs, size_t count, int64_t next)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "jobs");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, native_job_to_json(&jobs[i]));
    if (next > 0)
        cJSON_AddNumberToObject(json, "next", (double)next);
    else
        cJSON_AddNullToObject(json, "next");
    http_reply_json(req, 200, json);
}

static void jobs_free(struct job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
}

/* A list that is searched for, which may take seconds: not on a server thread. */
struct search {
    struct queue *queue;
    struct job_filter filter;
    char key_id[JOB_ID_SIZE], text[JOB_SEARCH_MAX + 1], model[MODEL_SIZE], params[PARAMS_SIZE];
    char *tags;
    struct job *jobs;
    size_t count;
    int64_t next;
    struct err err; /* ERR_NONE: it was found out */
};

static bool search_work(void *ctx, const atomic_bool *gone)
{
    struct search *s = ctx;
    s->filter.gone = gone;
    if (queue_list(s->queue, &s->filter, &s->jobs, &s->count, &s->next, &s->err))
        s->err.code = ERR_NONE;
    return false;
}

static void search_reply(struct http_request *req, void *ctx)
{
    struct search *s = ctx;
    if (s->err.code == ERR_NONE)
        reply_list(req, s->jobs, s->count, s->next);
    else
        http_reply_error(req, &s->err, NULL);
}

static void search_free(void *ctx)
{
    struct search *s = ctx;
    jobs_free(s->jobs, s->count);
    cJSON_free(s->tags);
    free(s);
}

/* Takes `s`. */
static void search(struct http_request *req, struct search *s)
{
    s->queue = http_app(req)->queue;
    if (s->filter.key_id) {
        snprintf(s->key_id, sizeof s->key_id, "%s", s->filter.key_id);
        s->filter.key_id = s->key_id;
    }
    http_work(req, search_work, search_reply, s, search_free);
}

/* Sets *there when the query has the parameter, whose text must fit. */
static bool query_text(struct http_request *req, const char *name, char *out, size_t size,
                       bool *there)
{
    const char *text = http_query(req, name);
    char message[80];
    *there = text != NULL;
    if (!*there)
        return true;
    if (strlen(text) < size) {
        strcpy(out, text);
        return true;
    }
    snprintf(message, sizeof message, "%s must be at most %zu bytes", name, size - 1);
    reply_invalid(req, name, message);
    return false;
}

/* "red,blue" as ["red", "blue"], each of them a tag. */
static bool query_tags(struct http_request *req, struct search *s)
{
    const char *text = http_query(req, "tag");
    struct err err;
    if (!text)
        return true;
    cJSON *list = cJSON_CreateArray();
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char tag[JOB_MARK_SIZE + 1];
        size_t n = strcspn(at, ",");
        snprintf(tag, sizeof tag, "%.*s", (int)(n < sizeof tag ? n : sizeof tag - 1), at);
        bool again = false;
        if (!job_mark_check(tag, &err) || s->filter.tag_count >= JOB_MARKS_MAX) {
            reply_invalid(req, "tag", s->filter.tag_count >= JOB_MARKS_MAX
                                          ? "tag: these are more than a job can have"
                                          : err.msg);
            cJSON_Delete(list);
            return false;
        }
        for (const cJSON *i = list->child; i; i = i->next)
            again = again || strcmp(i->valuestring, tag) == 0;
        if (!again) {
            cJSON_AddItemToArray(list, cJSON_CreateString(tag));
            s->filter.tag_count++;
        }
    }
    s->tags = json_text_print(list);
    cJSON_Delete(list);
    s->filter.tags = s->tags;
    if (s->tags)
        return true;
    err_set(&err, ERR_INTERNAL, "no memory for a search");
    http_reply_error(req, &err, NULL);
    return false;
}

/* {"steps": 20, "sampler": "Euler a"}: fields of a request and what they are to be. */
static bool query_params(struct http_request *req, struct search *s)
{
    bool there;
    char message[160];
    struct err err;
    if (!query_text(req, "params", s->params, sizeof s->params, &there))
        return false;
    if (!there)
        return true;
    cJSON *wanted = json_text_parse(s->params, strlen(s->params), 2, &err);
    bool good = cJSON_IsObject(wanted) && wanted->child;
    snprintf(message, sizeof message, "params must be a JSON object of fields and their values");
    for (const cJSON *i = good ? wanted->child : NULL; i && good; i = i->next) {
        bool known = job_field_find(&job_table, i->string) != NULL;
        good = known && (cJSON_IsString(i) || cJSON_IsNumber(i) || cJSON_IsBool(i));
        snprintf(message, sizeof message,
                 known ? "params: %.60s must be text, a number, true or false"
                       : "params: there is no field \"%.60s\"",
                 i->string);
    }
    cJSON_Delete(wanted);
    if (good)
        s->filter.params = s->params;
    else
        reply_invalid(req, "params", message);
    return good;
}

static bool query_favourite(struct http_request *req, struct search *s)
{
    struct err err;
    bool good = http_query_flag(req, "favourite", &s->filter.favourite, &err);
    if (!good)
        reply_invalid(req, "favourite", err.msg);
    return good;
}

static bool query_state(struct http_request *req, struct search *s)
{
    const char *state = http_query(req, "state");
    enum job_state wanted;
    s->filter.state = -1;
    if (!state)
        return true;
    if (!job_state_of(state, &wanted)) {
        reply_invalid(req, "state", "state must be queued, running, done, failed or cancelled");
        return false;
    }
    s->filter.state = wanted;
    return true;
}

/* On failure it has replied. */
static bool read_query(struct http_request *req, struct search *s)
{
    int64_t limit;
    bool text, model;
    if (!query_number(req, "limit", 1, LIST_LIMIT_MAX, LIST_LIMIT, &limit) ||
        !query_number(req, "before", 0, INT64_MAX, 0, &s->filter.before_sequence) ||
        !query_number(req, "since", 0, INT64_MAX, 0, &s->filter.since_ms) ||
        !query_number(req, "until", 0, INT64_MAX, 0, &s->filter.until_ms) ||
        !query_state(req, s) || !query_favourite(req, s) || !query_tags(req, s) ||
        !query_params(req, s) ||
        !query_text(req, "q", s->text, sizeof s->text, &text) ||
        !query_text(req, "model", s->model, sizeof s->model, &model))
        return false;
    s->filter.limit = (int)limit;
    s->filter.key_id = http_visible_key(req);
    s->filter.text = text && *s->text ? s->text : NULL; /* "q=" searches for nothing */
    s->filter.model = model ? s->model : NULL;
    if (s->filter.until_ms == 0 || s->filter.since_ms < s->filter.until_ms)
        return true;
    reply_invalid(req, "until", "until must be later than since");
    return false;
}

void native_list(struct http_request *req)
{
    struct err err;
    struct search *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(&err, ERR_INTERNAL, "no memory for a list");
        http_reply_error(req, &err, NULL);
        return;
    }
    const struct job_filter *f = &s->filter;
    if (!read_query(req, s)) {
        search_free(s);
    } else if (f->text || f->model || f->params || f->tags || f->favourite || f->since_ms ||
               f->until_ms) {
        search(req, s);
    } else {
        s->queue = http_app(req)->queue;
        search_work(s, NULL);
        search_reply(req, s);
        search_free(s);
    }
}
