/* native_feed.c: from events to notes, from notes to texts, from the ring of texts to readers.
 *
 * The callback of the events hub runs on the queue's threads and only notes what happened, one note
 * a job. The feed's thread takes all notes at once, asks the queue about each job, writes the
 * texts and wakes the readers that they are for; what happens meanwhile is noted for the next
 * round.
 *
 * The ring's lock is taken before a stream's lock (a reader's `wake`), never after it; the notes'
 * lock is the innermost. */
#include "server/api/native/native_feed.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/api/native/native_job.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/queue/queue_hold.h"

#define RING 1024             /* texts; a job has about one for each of its states and pictures */
#define RING_BYTES (16 << 20) /* prompts may be long */
#define NOTES_MAX 1024        /* jobs in one round; beyond, every reader begins again */
#define ROUND_MS 20           /* between rounds, at least: a burst is told at once */
#define ROUND_MS_MAX 500      /* however many read */
#define WAKES_PER_SECOND 4000 /* of readers: the more there are, the longer a round gathers */
#define RETRY_MS 1000         /* while the database cannot be read */
#define RUN_DIGITS 8
#define END_MARK "-end" /* behind the id of a job's final state */
#define TEXT_ROOM 80    /* of a text, beside its event's name and its data */
#define NUMBER_DIGITS 18 /* of one that is read: they fit into 64 bits */
#define FIRST_NUMBER 1 /* of a text: there is an id for the place before it */

struct text {
    struct native_text face; /* first */
    atomic_int users;
    bool progress, preview;
    bool over;  /* streams of this one job end without it */
    bool to_all; /* of no job: for every stream that is of none */
    char job_id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    char data[];
};

struct note {
    char job_id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    bool state, progressed, deleted, line;
    struct job_progress progress;
    uint8_t *preview; /* NULL: none */
    size_t preview_size;
    int first_image, last_image; /* indices stored since the last note; first > last: none */
    int64_t trouble_ms;          /* of queue_ask_again */
    struct note *next;
};

struct native_reader {
    struct native_feed *feed;
    bool every_key;
    char key_id[JOB_ID_SIZE];
    char job_id[JOB_ID_SIZE]; /* "": all */
    void (*wake)(void *ctx);
    void *ctx;
    bool resumed;
    uint64_t at; /* the number of the text to be read next; under the ring's lock, like the links */
    struct native_reader *next, *previous;
};

struct native_feed {
    struct queue *queue;
    char run[RUN_DIGITS + 1]; /* of this feed alone: numbers of another run are other texts' */
    struct subscription *subscription;
    pthread_t thread;

    pthread_mutex_t noting; /* what follows */
    pthread_cond_t noted;
    struct note *notes, **end;
    size_t count;
    bool overflowed, stop;

    pthread_mutex_t lock;    /* what follows */
    struct text *ring[RING]; /* number n at n % RING; NULL: out of date */
    uint64_t first, next;    /* numbers of the oldest text and of the one to come */
    size_t bytes;
    struct native_reader *readers;
    int reader_count;
};

/* ---- texts ----
 *
 * The feed's thread, which alone puts texts into the ring, gives each the number that is next. */

/* Takes `json`. */
static struct text *text_new(const struct native_feed *feed, uint64_t number, const char *job_id,
                             const char *key_id, const char *event, bool last, cJSON *json)
{
    char *body = json ? json_text_print(json) : NULL;
    size_t room = body ? strlen(body) + strlen(event) + TEXT_ROOM : 0;
    struct text *t = body ? malloc(sizeof *t + room) : NULL;
    if (t) {
        *t = (struct text){.users = 1, .face.last = last};
        t->face.data = t->data;
        t->face.size =
            (size_t)snprintf(t->data, room, "event: %s\nid: %s-%" PRIu64 "%s\ndata: %s\n\n", event,
                             feed->run, number, last ? END_MARK : "", body);
        memcpy(t->job_id, job_id, sizeof t->job_id);
        memcpy(t->key_id, key_id, sizeof t->key_id);
    }
    cJSON_free(body);
    cJSON_Delete(json);
    return t;
}

static void text_leave(struct text *t)
{
    if (t && atomic_fetch_sub(&t->users, 1) == 1)
        free(t);
}

void native_feed_done(const struct native_text *text)
{
    text_leave((struct text *)text);
}

static struct text *job_text(const struct native_feed *feed, uint64_t number,
                             const struct job *job)
{
    return text_new(feed, number, job->id, job->key_id, "job", job_state_is_final(job->state),
                    native_job_to_json(job));
}

/* The job was read behind all texts before the reader's place, and says what they say. */
const struct native_text *native_feed_job(const struct native_reader *r, const struct job *job)
{
    struct text *t = job_text(r->feed, r->at - 1, job);
    return t ? &t->face : NULL;
}

const struct native_text *native_feed_missed(const struct native_reader *r)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "message",
                            "what happened behind Last-Event-ID is not known any more: list the "
                            "jobs; what follows is new");
    struct text *t = text_new(r->feed, r->at - 1, r->job_id, r->key_id, "missed", false, json);
    return t ? &t->face : NULL;
}

static struct text *progress_text(const struct native_feed *feed, const struct note *note)
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
    cJSON_AddNumberToObject(json, "ahead", job_progress_ahead(&note->progress));
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
    struct text *t =
        text_new(feed, feed->next, note->job_id, note->key_id, "progress", false, json);
    if (t) {
        t->progress = true;
        t->preview = note->preview != NULL;
    }
    return t;
}

static struct text *image_text(const struct native_feed *feed, const struct note *note,
                               const struct job *job, const struct job_image *image)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", note->job_id);
    cJSON_AddNumberToObject(json, "index", image->index);
    cJSON_AddItemToObject(json, "image", native_job_image_of(job, image));
    return text_new(feed, feed->next, note->job_id, note->key_id, "image", false, json);
}

static struct text *deleted_text(const struct native_feed *feed, const struct note *note)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", note->job_id);
    struct text *t =
        text_new(feed, feed->next, note->job_id, note->key_id, "deleted", false, json);
    if (t)
        t->over = true;
    return t;
}

static struct text *queue_text(const struct native_feed *feed, const struct note *note)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "paused", queue_hold_is_paused(feed->queue));
    struct text *t = text_new(feed, feed->next, note->job_id, note->key_id, "queue", false, json);
    if (t)
        t->to_all = true;
    return t;
}

/* Of a job that cannot be asked about: nobody reads it, but the streams of the job end. */
static struct text *lost_text(const struct native_feed *feed, const struct note *note)
{
    struct text *t = text_new(feed, feed->next, note->job_id, note->key_id, "", false,
                              cJSON_CreateNull());
    if (t) {
        t->over = true;
        t->face.size = 0;
    }
    return t;
}

/* ---- the ring ---- */

static void drop_oldest(struct native_feed *feed)
{
    struct text **slot = &feed->ring[feed->first++ % RING];
    if (*slot)
        feed->bytes -= (*slot)->face.size;
    text_leave(*slot);
    *slot = NULL;
}

static bool is_for(const struct native_reader *r, const struct text *t)
{
    if (t->to_all)
        return !r->job_id[0];
    return (r->every_key || strcmp(r->key_id, t->key_id) == 0) &&
           (!r->job_id[0] || strcmp(r->job_id, t->job_id) == 0);
}

/* Takes `t`; NULL, for want of memory, makes every reader begin again. */
static void put(struct native_feed *feed, struct text *t)
{
    pthread_mutex_lock(&feed->lock);
    while (feed->next - feed->first == RING || (!t && feed->first < feed->next) ||
           (feed->bytes > RING_BYTES && feed->first < feed->next))
        drop_oldest(feed);
    if (!t) {
        feed->first = ++feed->next;
    } else {
        /* A progress that was not read yet need not be; nor a preview, once there is a newer one.
         */
        for (uint64_t n = feed->next; t->progress && n-- > feed->first;) {
            struct text **old = &feed->ring[n % RING];
            if (!*old || strcmp((*old)->job_id, t->job_id) != 0)
                continue;
            if (!(*old)->progress)
                break;
            if ((*old)->preview && !t->preview)
                continue;
            feed->bytes -= (*old)->face.size;
            text_leave(*old);
            *old = NULL;
        }
        feed->ring[feed->next++ % RING] = t;
        feed->bytes += t->face.size;
    }
    pthread_mutex_unlock(&feed->lock);
}

/* Wakes the readers that have something to read since number `from`. */
static void wake_readers(struct native_feed *feed, uint64_t from)
{
    pthread_mutex_lock(&feed->lock);
    for (struct native_reader *r = feed->readers; r; r = r->next) {
        bool news = r->at < feed->first;
        for (uint64_t n = from > feed->first ? from : feed->first; n < feed->next && !news; n++)
            news = feed->ring[n % RING] && is_for(r, feed->ring[n % RING]);
        if (news)
            r->wake(r->ctx);
    }
    pthread_mutex_unlock(&feed->lock);
}

enum native_next native_feed_next(struct native_reader *r, const struct native_text **text)
{
    struct native_feed *feed = r->feed;
    enum native_next found = NATIVE_NOTHING;
    pthread_mutex_lock(&feed->lock);
    if (r->at < feed->first)
        found = NATIVE_LOST;
    while (found == NATIVE_NOTHING && r->at < feed->next) {
        struct text *t = feed->ring[r->at++ % RING];
        if (!t || !is_for(r, t))
            continue;
        if (t->over && r->job_id[0]) {
            found = NATIVE_LOST;
        } else if (t->face.size > 0) {
            found = NATIVE_TEXT;
            atomic_fetch_add(&t->users, 1);
            *text = &t->face;
        }
    }
    pthread_mutex_unlock(&feed->lock);
    return found;
}

/* ---- notes ---- */

static void note_free(struct note *note)
{
    free(note->preview);
    free(note);
}

/* The job's note, in the order in which jobs first had news; NULL: too many, or no memory. */
static struct note *note_of(struct native_feed *feed, const struct event *event)
{
    struct note *note = feed->notes;
    while (note && strcmp(note->job_id, event->job_id) != 0)
        note = note->next;
    if (!note && feed->count < NOTES_MAX && (note = calloc(1, sizeof *note))) {
        feed->count++;
        memcpy(note->job_id, event->job_id, sizeof note->job_id);
        memcpy(note->key_id, event->key_id, sizeof note->key_id);
        note->last_image = -1;
        *feed->end = note;
        feed->end = &note->next;
    }
    return note;
}

static void note_progress(struct note *note, const struct event *event)
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
    struct native_feed *feed = ctx;
    if (event->kind == EVENT_TROUBLE) /* the jobs of this API wait for its end */
        return;
    pthread_mutex_lock(&feed->noting);
    struct note *note = note_of(feed, event);
    if (note) {
        switch (event->kind) {
        case EVENT_STATE:
            note->state = true;
            break;
        case EVENT_PROGRESS:
            note_progress(note, event);
            break;
        case EVENT_DELETED:
            note->deleted = true;
            break;
        case EVENT_IMAGE:
            if (note->first_image > note->last_image)
                note->first_image = event->image_index;
            note->last_image = event->image_index;
            break;
        case EVENT_QUEUE:
            note->line = true;
            break;
        case EVENT_TROUBLE:
            break;
        }
    }
    feed->overflowed = feed->overflowed || !note;
    pthread_cond_signal(&feed->noted);
    pthread_mutex_unlock(&feed->noting);
}

/* Puts a note's texts; false: the job cannot be read now, and the note is to be kept. */
static bool tell(struct native_feed *feed, struct note *note)
{
    struct job job;
    struct err err;
    if (note->line) {
        put(feed, queue_text(feed, note));
        return true;
    }
    if (note->deleted) {
        put(feed, deleted_text(feed, note));
        return true;
    }
    if (note->progressed)
        put(feed, progress_text(feed, note));
    note->progressed = false;
    if (!note->state && note->first_image > note->last_image)
        return true;
    if (!queue_get(feed->queue, note->job_id, NULL, &job, &err)) {
        if (queue_ask_again(&note->trouble_ms, &err))
            return false;
        if (err.code != ERR_NOT_FOUND) /* deleted meanwhile: that is noted, too */
            put(feed, lost_text(feed, note));
        return true;
    }
    for (size_t i = 0; i < job.image_count; i++)
        if (job.images[i].index >= note->first_image && job.images[i].index <= note->last_image)
            put(feed, image_text(feed, note, &job, &job.images[i]));
    if (note->state)
        put(feed, job_text(feed, feed->next, &job));
    job_free(&job);
    return true;
}

/* A send to each reader costs some 15 us: with rounds of one length, hundreds of readers of a quick
 * job's steps take a good part of a core from its painting. */
static void pause_between_rounds(struct native_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    int ms = feed->reader_count * 1000 / WAKES_PER_SECOND;
    pthread_mutex_unlock(&feed->lock);
    ms = ms < ROUND_MS ? ROUND_MS : ms > ROUND_MS_MAX ? ROUND_MS_MAX : ms;
    nanosleep(&(struct timespec){0, ms * 1000 * 1000}, NULL);
}

/* Waits for notes and takes them all; NULL: the feed ends. `kept` are older ones, told again. */
static struct note *take_notes(struct native_feed *feed, struct note *kept, bool *overflowed)
{
    pthread_mutex_lock(&feed->noting);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_MS / 1000;
    while (!feed->notes && !feed->stop &&
           (!kept ? pthread_cond_wait(&feed->noted, &feed->noting)
                  : pthread_cond_timedwait(&feed->noted, &feed->noting, &until)) == 0)
        ;
    struct note **end = &kept;
    while (*end)
        end = &(*end)->next;
    *end = feed->notes;
    feed->notes = NULL;
    feed->end = &feed->notes;
    feed->count = 0;
    *overflowed = feed->overflowed;
    feed->overflowed = false;
    bool stop = feed->stop;
    pthread_mutex_unlock(&feed->noting);
    while (stop && kept) {
        struct note *next = kept->next;
        note_free(kept);
        kept = next;
    }
    return kept;
}

static void *run(void *arg)
{
    struct native_feed *feed = arg;
    struct note *notes = NULL;
    bool overflowed;
    while ((notes = take_notes(feed, notes, &overflowed))) {
        uint64_t from = feed->next; /* written by this thread alone */
        if (overflowed)
            put(feed, NULL);
        struct note *kept = NULL, **end = &kept;
        while (notes) {
            struct note *next = notes->next;
            notes->next = NULL;
            if (tell(feed, notes)) {
                note_free(notes);
            } else {
                *end = notes;
                end = &notes->next;
            }
            notes = next;
        }
        notes = kept;
        wake_readers(feed, from);
        pause_between_rounds(feed);
    }
    return NULL;
}

/* ---- readers ---- */

/* The place behind the text of that id; false where it is not in the ring, or no id of this run.
 * Under the ring's lock. */
static bool place_behind(const struct native_feed *feed, const char *last_id, uint64_t *at)
{
    uint64_t number = 0;
    if (strncmp(last_id, feed->run, RUN_DIGITS) != 0 || last_id[RUN_DIGITS] != '-')
        return false;
    const char *digit = last_id + RUN_DIGITS + 1;
    size_t count = strspn(digit, "0123456789");
    if (count < 1 || count > NUMBER_DIGITS ||
        (digit[count] && strcmp(digit + count, END_MARK) != 0))
        return false;
    for (; count > 0; count--)
        number = number * 10 + (uint64_t)(*digit++ - '0');
    *at = number + 1;
    return *at >= feed->first && *at <= feed->next;
}

bool native_feed_ended(const char *last_id)
{
    size_t size = strlen(last_id), mark = strlen(END_MARK);
    return size > mark && strcmp(last_id + size - mark, END_MARK) == 0;
}

bool native_feed_resumed(const struct native_reader *reader)
{
    return reader->resumed;
}

struct native_reader *native_feed_join(struct native_feed *feed, const char *key_id,
                                       const char *job_id, const char *last_id,
                                       void (*wake)(void *ctx), void *ctx, struct err *err)
{
    struct native_reader *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, ERR_INTERNAL, "no memory for a stream");
        return NULL;
    }
    r->feed = feed;
    r->every_key = !key_id;
    if (key_id)
        memcpy(r->key_id, key_id, strlen(key_id) + 1);
    if (job_id)
        memcpy(r->job_id, job_id, strlen(job_id) + 1);
    r->wake = wake;
    r->ctx = ctx;
    pthread_mutex_lock(&feed->lock);
    r->resumed = last_id && place_behind(feed, last_id, &r->at);
    if (!r->resumed)
        r->at = feed->next;
    r->next = feed->readers;
    if (r->next)
        r->next->previous = r;
    feed->readers = r;
    feed->reader_count++;
    pthread_mutex_unlock(&feed->lock);
    return r;
}

void native_feed_leave(struct native_reader *r)
{
    if (!r)
        return;
    struct native_feed *feed = r->feed;
    pthread_mutex_lock(&feed->lock);
    if (r->previous)
        r->previous->next = r->next;
    else
        feed->readers = r->next;
    if (r->next)
        r->next->previous = r->previous;
    feed->reader_count--;
    pthread_mutex_unlock(&feed->lock);
    free(r);
}

/* ---- life ---- */

struct native_feed *native_feed_new(struct queue *queue, struct events *events, struct err *err)
{
    struct native_feed *feed = calloc(1, sizeof *feed);
    if (!feed) {
        err_set(err, ERR_INTERNAL, "no memory for the event streams");
        return NULL;
    }
    if (!ids_random(feed->run, RUN_DIGITS, err)) {
        free(feed);
        return NULL;
    }
    feed->queue = queue;
    feed->first = feed->next = FIRST_NUMBER;
    feed->end = &feed->notes;
    now_cond_init(&feed->noted);
    pthread_mutex_init(&feed->noting, NULL);
    pthread_mutex_init(&feed->lock, NULL);
    feed->subscription = events_subscribe(events, NULL, on_event, feed, err);
    bool done = feed->subscription != NULL;
    if (done && pthread_create(&feed->thread, NULL, run, feed) != 0)
        done = err_set(err, ERR_INTERNAL, "no thread for the event streams");
    if (done)
        return feed;
    events_unsubscribe(feed->subscription);
    pthread_cond_destroy(&feed->noted);
    pthread_mutex_destroy(&feed->noting);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
    return NULL;
}

void native_feed_free(struct native_feed *feed)
{
    if (!feed)
        return;
    events_unsubscribe(feed->subscription);
    pthread_mutex_lock(&feed->noting);
    feed->stop = true;
    pthread_cond_signal(&feed->noted);
    pthread_mutex_unlock(&feed->noting);
    pthread_join(feed->thread, NULL);
    while (feed->first < feed->next)
        drop_oldest(feed);
    pthread_cond_destroy(&feed->noted);
    pthread_mutex_destroy(&feed->noting);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
