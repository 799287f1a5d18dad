/* queue_news.c: between the store's news and the events of this server, where several share a
 * store. All news of jobs, of those that this server changes, too, come from the store, so that
 * they are heard in one order everywhere; progress of what runs here is published here at once and
 * told to the others now and then. */
#include <string.h>

#include "server/queue/queue_line.h"
#include "server/queue/queue_private.h"

static void publish_running(struct queue *q, const struct store_news *news)
{
    struct event event = {.kind = EVENT_STATE, .state = JOB_RUNNING, .elsewhere = true};
    memcpy(event.job_id, news->job_id, sizeof event.job_id);
    memcpy(event.key_id, news->key_id, sizeof event.key_id);
    events_publish(q->events, &event);
}

static void note_queue(struct queue *q)
{
    struct err err;
    pthread_mutex_lock(&q->lock);
    queue_note(q, queue_hold_read(q, &err), &err);
    pthread_mutex_unlock(&q->lock);
}

/* By the store's thread. */
static void on_news(void *ctx, const struct store_news *news)
{
    static const enum event_kind kinds[] = {
        [STORE_NEWS_STATE] = EVENT_STATE,     [STORE_NEWS_IMAGE] = EVENT_IMAGE,
        [STORE_NEWS_DELETED] = EVENT_DELETED, [STORE_NEWS_QUEUE] = EVENT_QUEUE,
        [STORE_NEWS_SKIP] = EVENT_STATE,      [STORE_NEWS_PROGRESS] = EVENT_PROGRESS};
    struct queue *q = ctx;
    struct job_progress known;
    struct event event = {.kind = kinds[news->kind],
                          .state = news->state,
                          .progress = news->progress,
                          .preview = news->preview,
                          .preview_size = news->preview_size,
                          .elsewhere = true,
                          .image_index = news->index};
    memcpy(event.job_id, news->job_id, sizeof event.job_id);
    memcpy(event.key_id, news->key_id, sizeof event.key_id);
    memcpy(event.image_id, news->image_id, sizeof event.image_id);
    if (news->kind != STORE_NEWS_PROGRESS)
        queue_line_changed(q->line);
    if (news->kind == STORE_NEWS_QUEUE)
        note_queue(q);
    if (news->kind == STORE_NEWS_SKIP) {
        pthread_mutex_lock(&q->lock);
        queue_note_skip(q, news->job_id, news->index);
        pthread_mutex_unlock(&q->lock);
    }
    /* It was started before this server was. */
    if (news->kind == STORE_NEWS_PROGRESS &&
        !events_last(q->events, news->job_id, &known, NULL, NULL))
        publish_running(q, news);
    events_publish(q->events, &event);
}

/* What is published here; only what happens here is told. */
static void on_event(void *ctx, const struct event *event)
{
    struct queue *q = ctx;
    if (event->kind != EVENT_PROGRESS || event->elsewhere)
        return;
    struct store_news news = {.kind = STORE_NEWS_PROGRESS,
                              .state = JOB_RUNNING,
                              .progress = event->progress,
                              .preview = event->preview,
                              .preview_size = event->preview_size};
    memcpy(news.job_id, event->job_id, sizeof news.job_id);
    memcpy(news.key_id, event->key_id, sizeof news.key_id);
    store_report(q->store, &news, NULL);
}

bool queue_news_start(struct queue *q, struct err *err)
{
    if (!store_tells(q->store))
        return true;
    return (q->reporter = events_subscribe(q->events, NULL, on_event, q, err)) &&
           store_listen(q->store, on_news, q, err);
}

void queue_news_stop(struct queue *q)
{
    events_unsubscribe(q->reporter);
    q->reporter = NULL;
    store_hush(q->store);
}
