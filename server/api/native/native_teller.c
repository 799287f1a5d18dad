/* native_teller.c: A thread takes what is due for a webhook that no other thread speaks to, so that
 * one that does not answer takes one thread, and waits longer each time. What is told is signed as
 * the Standard Webhooks are: HMAC-SHA256 over "ID.TIMESTAMP.BODY". */
#include "server/api/native/native_teller.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/api/app.h"
#include "server/api/native/native_job.h"
#include "server/base/backoff.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/paint/fetch.h"
#include "server/queue/queue.h"
#include "server/store/store.h"

#define THREADS 4
#define LOOK_MS 1000
#define AT_ONCE 100 /* that are looked at for one to take */
#define TELL_MS 10000
#define AGAIN_LEAST_MS 2000
#define AGAIN_MOST_MS 3600000
#define ATTEMPTS 18 /* in some eight hours */

struct native_teller {
    const struct app *app;
    struct subscription *subscription;
    pthread_t threads[THREADS];
    size_t thread_count;
    /* The queue publishes events under its own lock: nobody reads the store under this one. */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    atomic_bool stop;
    bool news;
    pthread_mutex_t taking; /* what follows; held while the store is read for one to take */
    char spoken_to[THREADS][JOB_ID_SIZE]; /* webhooks, by thread */
};

struct one {
    struct native_teller *teller;
    size_t number;
};

/* ---- what is told ---- */

static char *body_of(const struct native_teller *t, const struct store_delivery *d)
{
    struct job job;
    struct err err;
    char type[32];
    cJSON *json = cJSON_CreateObject();
    snprintf(type, sizeof type, "job.%s", job_state_name(d->state));
    cJSON_AddStringToObject(json, "id", d->id);
    cJSON_AddStringToObject(json, "type", type);
    cJSON_AddNumberToObject(json, "created_at", (double)d->created_ms);
    if (queue_get(t->app->queue, d->job_id, NULL, &job, &err)) {
        cJSON_AddItemToObject(json, "job", native_job_to_json(&job));
        job_free(&job);
    } else if (err.code == ERR_NOT_FOUND) { /* removed meanwhile */
        cJSON_AddStringToObject(cJSON_AddObjectToObject(json, "job"), "id", d->job_id);
    } else {
        cJSON_Delete(json);
        return NULL;
    }
    char *text = json_text_print(json);
    cJSON_Delete(json);
    return text;
}

/* "v1," and the signature, malloc'd. `secret` is "whsec_" and the key in base64. */
static char *signature_of(const char *secret, const char *id, int64_t seconds, const char *body)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    uint8_t *key = NULL;
    size_t key_size;
    char *text = NULL, *out = NULL, *coded = NULL;
    const char *bare = strncmp(secret, "whsec_", 6) == 0 ? secret + 6 : secret;
    if (base64_decode(bare, strlen(bare), &key, &key_size, NULL) &&
        asprintf(&text, "%s.%lld.%s", id, (long long)seconds, body) >= 0 &&
        HMAC(EVP_sha256(), key, (int)key_size, (unsigned char *)text, strlen(text), mac, &size) &&
        (coded = base64_encode(mac, size)) && asprintf(&out, "v1,%s", coded) < 0)
        out = NULL;
    free(coded);
    free(text);
    free(key);
    return out;
}

static bool tell(struct native_teller *t, const struct store_webhook *w,
                 const struct store_delivery *d, struct err *err)
{
    char id[64], stamp[64], signature[128];
    int64_t seconds = now_unix_ms() / 1000;
    char *body = body_of(t, d);
    char *sign = body ? signature_of(w->secret, d->id, seconds, body) : NULL;
    bool done = false;
    if (sign) {
        snprintf(id, sizeof id, "webhook-id: %s", d->id);
        snprintf(stamp, sizeof stamp, "webhook-timestamp: %lld", (long long)seconds);
        snprintf(signature, sizeof signature, "webhook-signature: %s", sign);
        const char *const headers[] = {id, stamp, signature, NULL};
        done = fetch_post(w->url, headers, body, TELL_MS, !t->app->settings->webhook_private,
                          &t->stop, err);
    } else {
        err_set(err, ERR_INTERNAL, "what it is to be told cannot be read now");
    }
    free(sign);
    cJSON_free(body);
    return done;
}

/* ---- threads ---- */

static bool is_spoken_to(const struct native_teller *t, const char *webhook_id)
{
    for (size_t i = 0; i < THREADS; i++)
        if (strcmp(t->spoken_to[i], webhook_id) == 0)
            return true;
    return false;
}

static bool take(struct native_teller *t, size_t number, struct store_delivery *out)
{
    struct store_delivery *all = calloc(AT_ONCE, sizeof *all);
    size_t count = 0;
    struct err err;
    bool found = false;
    pthread_mutex_lock(&t->taking);
    if (all && store_leads(t->app->store) &&
        !store_webhook_due(t->app->store, now_unix_ms(), all, AT_ONCE, &count, &err))
        log_err(LOG_WARN, "webhooks_not_read", &err, " ");
    for (size_t i = 0; i < count && !found; i++)
        if (!is_spoken_to(t, all[i].webhook_id)) {
            *out = all[i];
            memcpy(t->spoken_to[number], all[i].webhook_id, JOB_ID_SIZE);
            found = true;
        }
    pthread_mutex_unlock(&t->taking);
    free(all);
    return found;
}

/* False: what became of it could not be kept, so it is still due. */
static bool deliver(struct native_teller *t, const struct store_delivery *d)
{
    struct store_webhook *w;
    struct err err = {0};
    size_t count;
    bool settled;
    if (!store_webhook_list(t->app->store, d->webhook_id, NULL, &w, &count, &err)) {
        log_err(LOG_WARN, "webhooks_not_read", &err, " ");
        return false;
    }
    settled = count == 1; /* else it was removed just now, and this with it; or it is damaged */
    if (settled) {
        bool told = tell(t, w, d, &err);
        int64_t now = now_unix_ms(), again = 0;
        if (!told && d->attempts + 1 < ATTEMPTS)
            again = now + backoff_ms(d->attempts + 1, AGAIN_LEAST_MS, AGAIN_MOST_MS);
        if (!told)
            log_err(LOG_INFO, "webhook_not_told", &err, "webhook=%s job=%s attempt=%d", w->id,
                    d->job_id, d->attempts + 1);
        json_text_mend(err.msg);
        struct err why;
        settled = atomic_load(&t->stop) ||
                  store_webhook_settle(t->app->store, d, now, again, told ? NULL : err.msg, &why);
        if (!settled)
            log_err(LOG_WARN, "webhook_not_settled", &why, "webhook=%s", w->id);
    }
    free(w);
    return settled;
}

static void leave(struct native_teller *t, size_t number)
{
    pthread_mutex_lock(&t->taking);
    t->spoken_to[number][0] = '\0';
    pthread_mutex_unlock(&t->taking);
}

/* Until there is news, where that counts, but not longer than LOOK_MS. */
static void rest(struct native_teller *t, bool for_news)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_MS / 1000;
    pthread_mutex_lock(&t->lock);
    while (!atomic_load(&t->stop) && !(for_news && t->news) &&
           pthread_cond_timedwait(&t->cond, &t->lock, &until) == 0)
        ;
    if (for_news)
        t->news = false;
    pthread_mutex_unlock(&t->lock);
}

static void *run(void *arg)
{
    struct one one = *(struct one *)arg;
    struct native_teller *t = one.teller;
    free(arg);
    while (!atomic_load(&t->stop)) {
        struct store_delivery d;
        if (!take(t, one.number, &d)) {
            rest(t, true);
            continue;
        }
        if (!deliver(t, &d)) /* a full disk is no reason to tell it a hundred times a second */
            rest(t, false);
        leave(t, one.number);
    }
    return NULL;
}

static void on_event(void *ctx, const struct event *event)
{
    struct native_teller *t = ctx;
    if (event->kind != EVENT_STATE || !job_state_is_final(event->state))
        return;
    pthread_mutex_lock(&t->lock);
    t->news = true;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

/* ---- life ---- */

static bool start_thread(struct native_teller *t, struct err *err)
{
    struct one *one = malloc(sizeof *one);
    if (one) {
        *one = (struct one){t, t->thread_count};
        if (pthread_create(&t->threads[t->thread_count], NULL, run, one) == 0) {
            t->thread_count++;
            return true;
        }
        free(one);
    }
    return err_set(err, ERR_INTERNAL, "no thread for webhooks");
}

struct native_teller *native_teller_new(const struct app *app, struct err *err)
{
    struct native_teller *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ERR_INTERNAL, "no memory for webhooks");
        return NULL;
    }
    t->app = app;
    now_cond_init(&t->cond);
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->taking, NULL);
    t->subscription = events_subscribe(app->events, NULL, on_event, t, err);
    bool ok = t->subscription != NULL;
    while (ok && t->thread_count < THREADS)
        ok = start_thread(t, err);
    if (ok)
        return t;
    native_teller_free(t);
    return NULL;
}

void native_teller_free(struct native_teller *t)
{
    if (!t)
        return;
    events_unsubscribe(t->subscription);
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop, true);
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < t->thread_count; i++)
        pthread_join(t->threads[i], NULL);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->taking);
    free(t);
}
