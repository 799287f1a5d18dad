/* native_events.c: event streams of one job or of all.
 *
 * A subscriber's callback only notes what happened, one entry a job: a later progress replaces an
 * earlier one, so a client that reads slowly gets fewer events, not late ones. The producer turns
 * the notes into text on a server thread, when the client has taken what was sent before. */
#include "server/api/native/native_events.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/native/native_job.h"
#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/http/http.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"

#define NOTES_MAX 256 /* jobs; a client further behind is cut off and lists them again */

struct note {
    char job_id[JOB_ID_SIZE];
    bool state, progressed, deleted;
    struct job_progress progress;
    uint8_t *preview; /* NULL: none */
    size_t preview_size;
    int first_image, last_image; /* indices stored since the last note; first > last: none */
    struct note *next;
};

struct feed {
    const struct app *app;
    char job_id[JOB_ID_SIZE]; /* "": all */
    bool every_key;
    char key_id[JOB_ID_SIZE];
    struct subscription *subscription;
    int64_t trouble_ms;   /* producer only */
    pthread_mutex_t lock; /* what follows */
    struct http_stream *stream;
    struct note *notes;
    size_t count;
    bool overflowed;
};

static void notes_free(struct note *note)
{
    while (note) {
        struct note *next = note->next;
        free(note->preview);
        free(note);
        note = next;
    }
}

static void feed_free(void *ctx)
{
    struct feed *feed = ctx;
    events_unsubscribe(feed->subscription);
    notes_free(feed->notes);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

/* The job's note, in the order in which jobs first had news. NULL when there are too many. */
static struct note *note_of(struct feed *feed, const char *job_id)
{
    struct note **at = &feed->notes;
    while (*at && strcmp((*at)->job_id, job_id) != 0)
        at = &(*at)->next;
    if (!*at && feed->count < NOTES_MAX && (*at = calloc(1, sizeof **at)) != NULL) {
        memcpy((*at)->job_id, job_id, JOB_ID_SIZE);
        (*at)->last_image = -1;
        feed->count++;
    }
    return *at;
}

static void take_progress(struct note *note, const struct event *event)
{
    note->progressed = true;
    note->progress = event->progress;
    if (!event->preview)
        return;
    free(note->preview);
    note->preview = malloc(event->preview_size);
    note->preview_size = note->preview ? event->preview_size : 0;
    if (note->preview)
        memcpy(note->preview, event->preview, event->preview_size);
}

static void on_event(void *ctx, const struct event *event)
{
    struct feed *feed = ctx;
    if (event->kind == EVENT_TROUBLE || /* the jobs of this API wait for its end */
        (!feed->every_key && strcmp(event->key_id, feed->key_id) != 0))
        return;
    pthread_mutex_lock(&feed->lock);
    struct note *note = note_of(feed, event->job_id);
    if (!note)
        feed->overflowed = true;
    else if (event->kind == EVENT_STATE)
        note->state = true;
    else if (event->kind == EVENT_PROGRESS)
        take_progress(note, event);
    else if (event->kind == EVENT_DELETED)
        note->deleted = true;
    else {
        if (note->first_image > note->last_image)
            note->first_image = event->image_index;
        note->last_image = event->image_index;
    }
    if (feed->stream)
        http_stream_wake(feed->stream);
    pthread_mutex_unlock(&feed->lock);
}

static bool send_progress(struct http_stream *stream, const struct note *note)
{
    static const char prefix[] = "data:image/jpeg;base64,";
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", note->job_id);
    cJSON_AddNumberToObject(json, "image", note->progress.image);
    cJSON_AddNumberToObject(json, "step", note->progress.step);
    cJSON_AddNumberToObject(json, "steps", note->progress.steps);
    if (note->progress.eta_seconds >= 0)
        cJSON_AddNumberToObject(json, "eta_seconds", note->progress.eta_seconds);
    else
        cJSON_AddNullToObject(json, "eta_seconds");
    char *url = NULL;
    if (note->preview)
        url = malloc(sizeof prefix + base64_encoded_size(note->preview_size));
    if (url) {
        memcpy(url, prefix, sizeof prefix - 1);
        *base64_encode_to(url + sizeof prefix - 1, note->preview, note->preview_size) = '\0';
        cJSON_AddStringToObject(json, "preview", url);
    } else {
        cJSON_AddNullToObject(json, "preview");
    }
    free(url);
    return http_stream_json(stream, "progress", json);
}

static bool send_deleted(struct http_stream *stream, const char *job_id)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", job_id);
    return http_stream_json(stream, "deleted", json);
}

static bool send_images(struct http_stream *stream, const struct note *note, const struct job *job)
{
    for (size_t i = 0; i < job->image_count; i++) {
        const struct job_image *image = &job->images[i];
        if (image->index < note->first_image || image->index > note->last_image)
            continue;
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "id", job->id);
        cJSON_AddNumberToObject(json, "index", image->index);
        cJSON_AddItemToObject(json, "image", native_job_image_to_json(image));
        if (!http_stream_json(stream, "image", json))
            return false;
    }
    return true;
}

enum outcome {
    GOING,
    LATER, /* the job cannot be read now: the note is still to be sent */
    OVER   /* the job of a one-job feed is final or gone, or the client is */
};

static enum outcome send_note(struct feed *feed, struct http_stream *stream, struct note *note)
{
    struct job job;
    struct err err;
    if (note->deleted) /* a feed of one job ended before: it was final */
        return send_deleted(stream, note->job_id) ? GOING : OVER;
    if (note->progressed && !send_progress(stream, note))
        return OVER;
    note->progressed = false;
    if (!note->state && note->first_image > note->last_image)
        return GOING;
    if (!queue_get(feed->app->queue, note->job_id, NULL, &job, &err)) {
        if (queue_ask_again(&feed->trouble_ms, &err))
            return LATER;
        return *feed->job_id || feed->trouble_ms ? OVER : GOING; /* deleted meanwhile */
    }
    feed->trouble_ms = 0;
    bool going = send_images(stream, note, &job);
    if (going && note->state)
        going = http_stream_json(stream, "job", native_job_to_json(&job)) &&
                !(*feed->job_id && job_state_is_final(job.state));
    job_free(&job);
    return going ? GOING : OVER;
}

static void put_back(struct feed *feed, struct note *notes)
{
    struct note **end = &notes;
    pthread_mutex_lock(&feed->lock);
    for (; *end; end = &(*end)->next)
        feed->count++;
    *end = feed->notes;
    feed->notes = notes;
    pthread_mutex_unlock(&feed->lock);
}

static bool produce(struct http_stream *stream, void *ctx)
{
    struct feed *feed = ctx;
    pthread_mutex_lock(&feed->lock);
    struct note *notes = feed->notes;
    enum outcome outcome = feed->overflowed ? OVER : GOING;
    feed->notes = NULL;
    feed->count = 0;
    pthread_mutex_unlock(&feed->lock);

    while (notes && outcome == GOING) {
        outcome = send_note(feed, stream, notes);
        if (outcome == LATER)
            break;
        struct note *next = notes->next;
        notes->next = NULL;
        notes_free(notes);
        notes = next;
    }
    if (outcome == LATER)
        put_back(feed, notes);
    else
        notes_free(notes);
    return outcome != OVER;
}

static void start(struct http_request *req, const char *job_id)
{
    const struct app *app = http_app(req);
    const char *key_id = http_visible_key(req);
    struct err err;
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed) {
        err_set(&err, ERR_INTERNAL, "no memory for a stream");
        http_reply_error(req, &err, NULL);
        return;
    }
    feed->app = app;
    feed->every_key = key_id == NULL;
    if (key_id)
        memcpy(feed->key_id, key_id, strlen(key_id) + 1);
    if (job_id)
        memcpy(feed->job_id, job_id, strlen(job_id) + 1);
    pthread_mutex_init(&feed->lock, NULL);
    struct note *snapshot = job_id ? note_of(feed, job_id) : NULL;
    if (snapshot)
        snapshot->state = true;
    if (job_id && !snapshot)
        err_set(&err, ERR_INTERNAL, "no memory for a stream");
    else
        feed->subscription = events_subscribe(app->events, job_id, on_event, feed, &err);
    if (!feed->subscription) {
        feed_free(feed);
        http_reply_error(req, &err, NULL);
        return;
    }
    struct http_stream *stream =
        http_stream_start(req, HTTP_STREAM_EVENTS, produce, feed_free, feed);
    if (!stream)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->stream = stream;
    pthread_mutex_unlock(&feed->lock);
}

void native_events_job(struct http_request *req)
{
    struct job job;
    struct err err;
    const char *id = http_param(req, "id");
    if (!queue_get(http_app(req)->queue, id, http_visible_key(req), &job, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    start(req, job.id);
    job_free(&job);
}

void native_events_all(struct http_request *req)
{
    start(req, NULL);
}
