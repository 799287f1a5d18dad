/* native_marks.c: lists of ids from outside to calls of the queue. Removal commits once a job, so
 * it runs apart from the server's threads, a job at a time. */
#include "server/api/native/native_marks.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/queue/queue_marks.h"
#include "server/store/store.h"

#define IDS_MOST 1000
#define BREATH_MS 2 /* between the pieces of a change */

struct request {
    cJSON *jobs, *images, *add, *remove, *favourite, *now;
};

#define LIST(member)                                                                               \
    {                                                                                              \
        #member, .type = JSON_FIELD_RAW, .offset = offsetof(struct request, member)                \
    }
static const struct json_field fields[] = {LIST(jobs), LIST(images), LIST(add), LIST(remove),
                                           LIST(favourite)};
#define OF_CHANGE 5
#define OF_RESTORE 2
static const struct json_field delete_fields[] = {LIST(jobs), LIST(images), LIST(now)};
#define OF_DELETE 3

static cJSON *schema_of(const struct json_field *list, size_t count)
{
    cJSON *schema = json_fields_schema(list, count);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (size_t i = 0; i < count; i++) {
        char text[128];
        bool ids = i < OF_RESTORE;
        bool flag = strcmp(list[i].name, "favourite") == 0 || strcmp(list[i].name, "now") == 0;
        snprintf(text, sizeof text,
                 "{\"type\": \"array\", \"items\": {\"type\": \"string\"%s}, \"maxItems\": %d}",
                 ids ? ", \"pattern\": \"^[0-9a-f]{32}$\"" : "", ids ? IDS_MOST : JOB_MARKS_MAX);
        cJSON_ReplaceItemInObjectCaseSensitive(
            properties, list[i].name,
            json_text_constant(flag ? "{\"type\": \"boolean\"}" : text));
    }
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

cJSON *native_marks_change_schema(const struct settings *settings)
{
    (void)settings;
    return schema_of(fields, OF_CHANGE);
}

cJSON *native_marks_delete_schema(const struct settings *settings)
{
    (void)settings;
    return schema_of(delete_fields, OF_DELETE);
}

cJSON *native_marks_restore_schema(const struct settings *settings)
{
    (void)settings;
    return schema_of(fields, OF_RESTORE);
}

/* The texts of a list, which borrow from it. *texts is malloc'd. */
static bool read_list(const char *name, const cJSON *list, size_t most, const char ***texts,
                      size_t *count, const char **param, struct err *err)
{
    *param = name;
    *count = 0;
    *texts = NULL;
    if (!list)
        return true;
    if (!cJSON_IsArray(list) || (size_t)cJSON_GetArraySize(list) > most)
        return err_set(err, ERR_INVALID, "%s: wanted a list of at most %zu texts", name, most);
    *texts = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof **texts);
    if (!*texts)
        return err_set(err, ERR_INTERNAL, "no memory for %s", name);
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "%s: wanted texts, item %zu is none", name, *count);
        (*texts)[(*count)++] = item->valuestring;
    }
    return true;
}

static bool read_ids(const struct request *r, struct queue_marks *m, const char **param,
                     struct err *err)
{
    if (!read_list("jobs", r->jobs, IDS_MOST, &m->jobs, &m->job_count, param, err) ||
        !read_list("images", r->images, IDS_MOST, &m->images, &m->image_count, param, err))
        return false;
    for (size_t i = 0; i < m->job_count + m->image_count; i++) {
        bool of_jobs = i < m->job_count;
        const char *id = of_jobs ? m->jobs[i] : m->images[i - m->job_count];
        *param = of_jobs ? "jobs" : "images";
        if (!ids_valid(id))
            return err_set(err, ERR_INVALID, "%s: \"%.40s\" is no id: wanted 32 hex digits", *param,
                           id);
    }
    *param = "jobs";
    return m->job_count + m->image_count > 0 ||
           err_set(err, ERR_INVALID, "wanted jobs or images, lists of ids, got none");
}

static bool read_tags(const struct request *r, struct queue_marks *m, const char **param,
                      struct err *err)
{
    m->favourite = -1;
    *param = "favourite";
    if (r->favourite && !cJSON_IsBool(r->favourite))
        return err_set(err, ERR_INVALID, "favourite: wanted true or false");
    if (r->favourite)
        m->favourite = cJSON_IsTrue(r->favourite);
    if (!read_list("add", r->add, JOB_MARKS_MAX, &m->add, &m->add_count, param, err) ||
        !read_list("remove", r->remove, JOB_MARKS_MAX, &m->remove, &m->remove_count, param, err))
        return false;
    *param = "add";
    for (size_t i = 0; i < m->add_count; i++)
        if (!job_mark_check(m->add[i], err))
            return err_prefix(err, "add");
    *param = "remove";
    for (size_t i = 0; i < m->remove_count; i++)
        if (!job_mark_check(m->remove[i], err))
            return err_prefix(err, "remove");
    *param = NULL;
    return m->add_count + m->remove_count > 0 || m->favourite >= 0 ||
           err_set(err, ERR_INVALID, "wanted add, remove or favourite, got none");
}

static void marks_free(struct queue_marks *m)
{
    free(m->jobs);
    free(m->images);
    free(m->add);
    free(m->remove);
}

/* ---- a change ---- */

struct changing {
    struct queue *queue;
    cJSON *body;
    struct queue_marks what; /* its texts are the body's */
    char key_id[JOB_ID_SIZE];
    bool of_key;
    size_t at;
    struct err err; /* ERR_NONE: so far it goes well */
};

static bool change_next(void *ctx, const atomic_bool *gone)
{
    struct changing *c = ctx;
    (void)gone; /* what was asked for is done, whoever hears of it */
    if (c->at > 0) /* who waits for the queue's lock would not get it from who takes it again */
        nanosleep(&(struct timespec){0, BREATH_MS * 1000 * 1000}, NULL);
    c->err.code = ERR_NONE;
    return queue_marks_step(c->queue, c->of_key ? c->key_id : NULL, &c->what, &c->at, &c->err) &&
           !queue_marks_over(&c->what, c->at);
}

static void change_reply(struct http_request *req, void *ctx)
{
    const struct changing *c = ctx;
    if (c->err.code == ERR_NONE)
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &c->err, NULL);
}

static void change_free(void *ctx)
{
    struct changing *c = ctx;
    marks_free(&c->what);
    cJSON_Delete(c->body);
    free(c);
}

void native_marks_change(struct http_request *req)
{
    struct request r = {0};
    struct err err;
    const char *param = NULL, *key_id = http_visible_key(req);
    cJSON *body = native_body(req, fields, OF_CHANGE, &r);
    struct changing *c = body ? calloc(1, sizeof *c) : NULL;
    if (!body)
        return;
    if (!c) {
        cJSON_Delete(body);
        err_set(&err, ERR_INTERNAL, "no memory for a change of tags");
        http_reply_error(req, &err, NULL);
        return;
    }
    c->queue = http_app(req)->queue;
    c->body = body;
    c->of_key = key_id != NULL;
    snprintf(c->key_id, sizeof c->key_id, "%s", key_id ? key_id : "");
    if (!read_ids(&r, &c->what, &param, &err) || !read_tags(&r, &c->what, &param, &err)) {
        http_reply_error(req, &err, param);
    } else if (queue_marks_steps(&c->what) > 1) {
        http_work(req, change_next, change_reply, c, change_free);
        return;
    } else {
        change_next(c, NULL);
        change_reply(req, c);
    }
    change_free(c);
}

/* ---- the list of tags: searched for, which may take seconds ---- */

struct tag_list {
    struct queue *queue;
    char key_id[JOB_ID_SIZE];
    bool of_key;
    struct store_tag *tags; /* NULL: `err` */
    size_t count;
    struct err err;
};

static bool list_tags(void *ctx, const atomic_bool *gone)
{
    struct tag_list *l = ctx;
    if (!queue_marks_tags(l->queue, l->of_key ? l->key_id : NULL, gone, &l->tags, &l->count,
                          &l->err))
        l->tags = NULL;
    return false;
}

static void reply_tags(struct http_request *req, void *ctx)
{
    struct tag_list *l = ctx;
    if (!l->tags) {
        http_reply_error(req, &l->err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "tags");
    for (size_t i = 0; i < l->count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "tag", l->tags[i].tag);
        cJSON_AddNumberToObject(item, "jobs", l->tags[i].jobs);
        cJSON_AddItemToArray(list, item);
    }
    http_reply_json(req, 200, json);
}

static void tag_list_free(void *ctx)
{
    struct tag_list *l = ctx;
    free(l->tags);
    free(l);
}

void native_marks_tags(struct http_request *req)
{
    const char *key_id = http_visible_key(req);
    struct tag_list *l = calloc(1, sizeof *l);
    struct err err;
    if (!l) {
        err_set(&err, ERR_INTERNAL, "no memory for a list of tags");
        http_reply_error(req, &err, NULL);
        return;
    }
    l->queue = http_app(req)->queue;
    l->of_key = key_id != NULL;
    snprintf(l->key_id, sizeof l->key_id, "%s", key_id ? key_id : "");
    http_work_on(req, list_tags, reply_tags, l, tag_list_free);
}

/* ---- removal of many, and its undo ---- */

struct removal {
    struct queue *queue;
    cJSON *body;
    struct queue_marks what;
    char key_id[JOB_ID_SIZE];
    bool of_key, restores, now;
    size_t at;
    cJSON *reply, *jobs, *images, *failed;
};

static bool remove_one(const struct removal *r, const char *id, bool of_jobs, struct err *err)
{
    const char *key_id = r->of_key ? r->key_id : NULL;
    if (r->restores)
        return of_jobs ? queue_restore(r->queue, id, key_id, err)
                       : queue_restore_image(r->queue, NULL, id, key_id, err);
    return of_jobs ? queue_delete(r->queue, id, key_id, r->now, err)
                   : queue_delete_image(r->queue, NULL, id, key_id, r->now, err);
}

static bool remove_next(void *ctx, const atomic_bool *gone)
{
    struct removal *r = ctx;
    bool of_jobs = r->at < r->what.job_count;
    const char *id =
        of_jobs ? r->what.jobs[r->at] : r->what.images[r->at - r->what.job_count];
    struct err err;
    (void)gone; /* what was asked for is done, whoever hears of it */
    r->at++;
    bool done = remove_one(r, id, of_jobs, &err);
    if (done) {
        cJSON_AddItemToArray(of_jobs ? r->jobs : r->images, cJSON_CreateString(id));
    } else {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "id", id);
        cJSON_AddStringToObject(item, "code", err_name(err.code));
        cJSON_AddStringToObject(item, "message", err.msg);
        cJSON_AddItemToArray(r->failed, item);
    }
    return r->at < r->what.job_count + r->what.image_count;
}

static void removal_reply(struct http_request *req, void *ctx)
{
    struct removal *r = ctx;
    http_reply_json(req, 200, r->reply);
    r->reply = NULL;
}

static void removal_free(void *ctx)
{
    struct removal *r = ctx;
    marks_free(&r->what);
    cJSON_Delete(r->body);
    cJSON_Delete(r->reply);
    free(r);
}

static void remove_all(struct http_request *req, bool restores)
{
    struct request body = {0};
    struct err err;
    const char *param = "now", *key_id = http_visible_key(req);
    cJSON *json = restores ? native_body(req, fields, OF_RESTORE, &body)
                           : native_body(req, delete_fields, OF_DELETE, &body);
    if (!json)
        return;
    struct removal *r = calloc(1, sizeof *r);
    if (!r) {
        cJSON_Delete(json);
        err_set(&err, ERR_INTERNAL, "no memory for a removal");
        http_reply_error(req, &err, NULL);
        return;
    }
    r->queue = http_app(req)->queue;
    r->body = json;
    r->restores = restores;
    r->now = cJSON_IsTrue(body.now);
    r->of_key = key_id != NULL;
    snprintf(r->key_id, sizeof r->key_id, "%s", key_id ? key_id : "");
    r->reply = cJSON_CreateObject();
    r->jobs = cJSON_AddArrayToObject(r->reply, "jobs");
    r->images = cJSON_AddArrayToObject(r->reply, "images");
    r->failed = cJSON_AddArrayToObject(r->reply, "failed");
    bool good = !body.now || cJSON_IsBool(body.now) ||
                err_set(&err, ERR_INVALID, "now: wanted true or false");
    if (good && read_ids(&body, &r->what, &param, &err)) {
        http_work(req, remove_next, removal_reply, r, removal_free);
        return;
    }
    http_reply_error(req, &err, param);
    removal_free(r);
}

void native_marks_delete(struct http_request *req)
{
    remove_all(req, false);
}

void native_marks_restore(struct http_request *req)
{
    remove_all(req, true);
}
