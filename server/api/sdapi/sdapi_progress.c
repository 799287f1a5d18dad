/* sdapi_progress.c: the WebUI paints one thing at a time and its progress is that of the whole
 * program; here it is that of the oldest running job this client may see. Each picture of a job
 * counts as one of the WebUI's jobs, with a second pass as two. Nothing here waits. */
#include "server/api/sdapi/sdapi_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "engine/io/image.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/now.h"
#include "server/base/pyjson.h"
#include "server/http/http.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"

#define JOBS_SEEN 200 /* of one state */

static void free_jobs(struct job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
}

/* The jobs in one state that this client may see, newest first; NULL when there are none. */
static struct job *jobs_in(const struct http_request *req, enum job_state state, size_t *count)
{
    struct job_filter filter = {
        .key_id = http_visible_key(req), .state = (int)state, .limit = JOBS_SEEN};
    struct job *jobs;
    int64_t next;
    struct err err;
    *count = 0;
    if (!queue_list(http_app(req)->queue, &filter, &jobs, count, &next, &err))
        return NULL;
    return jobs;
}

/* ---- figures ---- */

/* A job of ours as jobs of the WebUI's: one a picture, two with a second pass. */
struct webui_jobs {
    int count, number, step, steps;
};

static struct webui_jobs webui_jobs_of(const struct job *job, const struct job_progress *p)
{
    int count = job->params.count > 0 ? job->params.count : 1, first = job_steps(&job->params);
    if (!job->params.hires_width)
        return (struct webui_jobs){count, p->image, p->step, p->steps};
    if (p->step > first)
        return (struct webui_jobs){2 * count, 2 * p->image + 1, p->step - first, p->steps - first};
    return (struct webui_jobs){2 * count, 2 * p->image, p->step, first};
}

/* 0.01..1, and seconds to go: elapsed / done - elapsed, as the WebUI guesses. */
struct figures {
    double progress, eta;
};

static struct figures figures_of(const struct job *job, const struct job_progress *p)
{
    double elapsed = ((double)now_unix_ms() - (double)job->started_ms) / 1000;
    struct webui_jobs jobs = webui_jobs_of(job, p);
    double done = 0.01 + (double)jobs.number / jobs.count;
    if (jobs.steps > 0)
        done += (double)jobs.step / ((double)jobs.count * jobs.steps);
    if (done > 1)
        done = 1;
    double eta = elapsed > 0 ? elapsed / done - elapsed : 0;
    return (struct figures){done, eta};
}

/* The last progress of a job that runs. None is known before its first step, nor when it has ended
 * since it was read: job->state says so then. */
static struct job_progress last_progress(const struct app *app, struct job *job, uint8_t **preview,
                                         size_t *size)
{
    struct job_progress progress = {.eta_seconds = -1};
    enum job_state state;
    struct err err;
    int images;
    if (preview)
        *preview = NULL;
    if (!events_last(app->events, job->id, &progress, preview, size) &&
        queue_glance(app->queue, job->id, &state, &images, &err))
        job->state = state;
    if (progress.steps == 0)
        progress.steps = job_steps(&job->params);
    return progress;
}

static void timestamp(const struct job *job, char text[32])
{
    time_t at = (time_t)(job->started_ms / 1000);
    struct tm tm;
    if (!localtime_r(&at, &tm) || !strftime(text, 32, "%Y%m%d%H%M%S", &tm))
        strcpy(text, "0");
}

static cJSON *state_json(const struct job *job, const struct webui_jobs *jobs)
{
    char at[32] = "0";
    const char *name = "";
    if (job) {
        name = job->params.has_init ? "scripts_img2img" : "scripts_txt2img";
        timestamp(job, at);
    }
    cJSON *state = cJSON_CreateObject();
    cJSON_AddFalseToObject(state, "skipped");
    cJSON_AddFalseToObject(state, "interrupted");
    cJSON_AddFalseToObject(state, "stopping_generation");
    cJSON_AddStringToObject(state, "job", name);
    cJSON_AddNumberToObject(state, "job_count", jobs->count);
    cJSON_AddStringToObject(state, "job_timestamp", at);
    cJSON_AddNumberToObject(state, "job_no", jobs->number);
    cJSON_AddNumberToObject(state, "sampling_step", jobs->step);
    cJSON_AddNumberToObject(state, "sampling_steps", jobs->steps);
    return state;
}

/* ---- GET /sdapi/v1/progress ---- */

/* False: replied, the flag is not one. */
static bool skip_image(struct http_request *req, bool *skip)
{
    static const struct json_field field = {.name = "skip_current_image", .type = JSON_FIELD_BOOL};
    const char *text = http_query(req, "skip_current_image");
    *skip = false;
    if (!text)
        return true;
    cJSON *object = cJSON_CreateObject();
    struct json_problem problem;
    cJSON_AddStringToObject(object, "skip_current_image", text);
    bool ok = json_fields_parse(&field, 1, object, JSON_FIELDS_COERCE, skip, &problem);
    cJSON_Delete(object);
    if (ok)
        return true;
    cJSON *detail = sdapi_reply_problem(&problem);
    cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItem(detail, "detail"), 0);
    cJSON_ReplaceItemInArray(cJSON_GetObjectItem(item, "loc"), 0, cJSON_CreateString("query"));
    sdapi_reply_unprocessable(req, detail);
    return false;
}

void sdapi_progress_get(struct http_request *req)
{
    bool skip;
    if (!skip_image(req, &skip))
        return;
    const struct app *app = http_app(req);
    struct err err;
    int queued = 0, started = 0;
    size_t running;
    /* Counted before looking, so that a job that starts in between is not overlooked. */
    queue_depth(app->queue, http_visible_key(req), &queued, &started, &err);
    struct job *jobs = jobs_in(req, JOB_RUNNING, &running);
    struct job *job = running ? &jobs[running - 1] : NULL;
    struct figures figures = {0};
    uint8_t *preview = NULL;
    size_t size = 0;
    /* Between accepting a job and starting it the WebUI shows a count of -1. */
    struct webui_jobs shown = {.count = queued ? -1 : 0};
    if (job) {
        struct job_progress progress = last_progress(app, job, skip ? NULL : &preview, &size);
        if (job_state_is_final(job->state)) {
            job = NULL;
        } else {
            shown = webui_jobs_of(job, &progress);
            figures = figures_of(job, &progress);
        }
    }
    if (!job && queued)
        figures.progress = 0.01;
    char *text = preview ? base64_encode(preview, size) : NULL;
    free(preview);

    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "progress", pyjson_float_item(figures.progress));
    cJSON_AddItemToObject(json, "eta_relative", pyjson_float_item(figures.eta));
    cJSON_AddItemToObject(json, "state", state_json(job, &shown));
    cJSON_AddItemToObject(json, "current_image",
                          text ? cJSON_CreateString(text) : cJSON_CreateNull());
    cJSON_AddNullToObject(json, "textinfo");
    free(text);
    free_jobs(jobs, running);
    sdapi_reply_json(req, json);
}

/* ---- POST /sdapi/v1/interrupt, skip ---- */

static void interrupt(const struct http_request *req, const struct job *job)
{
    struct err err;
    queue_interrupt(http_app(req)->queue, job->id, http_visible_key(req), &err);
}

void sdapi_progress_interrupt(struct http_request *req)
{
    size_t count;
    struct job *jobs = jobs_in(req, JOB_RUNNING, &count);
    for (size_t i = 0; i < count; i++)
        interrupt(req, &jobs[i]);
    free_jobs(jobs, count);
    sdapi_reply_json(req, cJSON_CreateObject());
}

/* The picture that is being painted ends as it is, and the next one begins. */
void sdapi_progress_skip(struct http_request *req)
{
    size_t count;
    struct job *jobs = jobs_in(req, JOB_RUNNING, &count);
    for (size_t i = 0; i < count; i++) {
        struct job_progress progress = last_progress(http_app(req), &jobs[i], NULL, NULL);
        struct err err;
        queue_skip(http_app(req)->queue, jobs[i].id, http_visible_key(req), progress.image, &err);
    }
    free_jobs(jobs, count);
    sdapi_reply_null(req);
}

/* ---- POST /internal/progress, GET /internal/pending-tasks ---- */

struct webui_task {
    const char *id;
    int live_preview_id;
    bool live_preview;
};

static const struct json_field task_fields[] = {
    {.name = "id_task", .offset = offsetof(struct webui_task, id), .type = JSON_FIELD_STRING},
    {.name = "id_live_preview",
     .offset = offsetof(struct webui_task, live_preview_id),
     .type = JSON_FIELD_INT,
     .number = -1},
    {.name = "live_preview",
     .offset = offsetof(struct webui_task, live_preview),
     .type = JSON_FIELD_BOOL,
     .number = true},
};

/* "data:image/jpeg;base64,..." owned, or null. */
static cJSON *preview_json(const uint8_t *preview, size_t size)
{
    char *text = preview ? base64_encode(preview, size) : NULL;
    if (!text)
        return cJSON_CreateNull();
    struct pyjson url = {0};
    pyjson_puts(&url, "data:");
    pyjson_puts(&url, image_mime(image_sniff(preview, size)));
    pyjson_puts(&url, ";base64,");
    pyjson_puts(&url, text);
    cJSON *json = url.failed ? cJSON_CreateNull() : cJSON_CreateString(url.text);
    free(url.text);
    free(text);
    return json;
}

static void add_task(const struct http_request *req, const struct webui_task *task,
                     struct job *job, cJSON *json)
{
    struct job_progress p = {0};
    uint8_t *data = NULL;
    size_t size = 0;
    if (job && job->state == JOB_RUNNING)
        p = last_progress(http_app(req), job, &data, &size);
    bool active = job && job->state == JOB_RUNNING, queued = job && job->state == JOB_QUEUED;
    cJSON *progress = NULL, *eta = NULL, *preview = NULL;
    int preview_id = -1;
    char info[64] = "";
    if (active) {
        struct figures figures = figures_of(job, &p);
        progress = pyjson_float_item(figures.progress);
        eta = pyjson_float_item(figures.eta);
        preview_id = task->live_preview_id;
        int current = p.image * 10000 + p.step; /* grows with every step */
        if (data && task->live_preview && current != preview_id) {
            preview = preview_json(data, size);
            preview_id = current;
        }
    } else if (queued) {
        snprintf(info, sizeof info, "In queue: %d", job->position + 1);
    } else {
        snprintf(info, sizeof info, "Waiting...");
    }
    free(data);
    cJSON_AddBoolToObject(json, "active", active);
    cJSON_AddBoolToObject(json, "queued", queued);
    cJSON_AddBoolToObject(json, "completed", job && job_state_is_final(job->state));
    cJSON_AddItemToObject(json, "progress", progress ? progress : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "eta", eta ? eta : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "live_preview", preview ? preview : cJSON_CreateNull());
    cJSON_AddNumberToObject(json, "id_live_preview", preview_id);
    cJSON_AddItemToObject(json, "textinfo", *info ? cJSON_CreateString(info) : cJSON_CreateNull());
}

void sdapi_progress_task(struct http_request *req)
{
    struct webui_task task;
    struct json_problem problem;
    struct job job;
    cJSON *body = sdapi_reply_body(req);
    if (!body)
        return;
    if (json_fields_parse(task_fields, sizeof task_fields / sizeof *task_fields, body,
                          JSON_FIELDS_COERCE, &task, &problem)) {
        struct err err;
        bool found = task.id && queue_get_tagged(http_app(req)->queue, task.id,
                                                 http_visible_key(req), &job, &err);
        cJSON *json = cJSON_CreateObject();
        add_task(req, &task, found ? &job : NULL, json);
        if (found)
            job_free(&job);
        sdapi_reply_json(req, json);
    } else {
        sdapi_reply_unprocessable(req, sdapi_reply_problem(&problem));
    }
    cJSON_Delete(body);
}

void sdapi_progress_pending(struct http_request *req)
{
    size_t count;
    struct job *jobs = jobs_in(req, JOB_QUEUED, &count);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "size", (double)count);
    cJSON *tasks = cJSON_AddArrayToObject(json, "tasks");
    for (size_t i = count; i-- > 0;) /* oldest first */
        if (jobs[i].params.tag)
            cJSON_AddItemToArray(tasks, cJSON_CreateString(jobs[i].params.tag));
    free_jobs(jobs, count);
    sdapi_reply_json(req, json);
}
