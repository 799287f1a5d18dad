/* store.c: calls the driver. The one file that names the drivers there are. */
#include "server/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/store/pg/pg.h"
#include "server/store/sqlite/sqlite.h"
#include "server/store/store_driver.h"

struct store_place store_place_of(const struct settings *s, char name[STORE_NAME_SIZE])
{
    char host[64] = "";
    const char *port = strrchr(s->listen, ':');
    gethostname(host, sizeof host - 1);
    snprintf(name, STORE_NAME_SIZE, "%s%s", *s->server_name ? s->server_name : host,
             *s->server_name || !port ? "" : port);
    return (struct store_place){s->data, s->database, name};
}

/* NULL: `err`. */
static const struct store_driver *driver_of(const struct store_place *place, struct err *err)
{
    const char *database = place->database;
    if (!database || !*database || strcmp(database, "sqlite") == 0)
        return &sqlite_driver;
    if (pg_is_address(database))
        return &pg_driver;
    err_set(err, ERR_INVALID,
            "database must be \"sqlite\" or an address that begins with postgresql://");
    return NULL;
}

static bool check_whole(struct store *st, struct err *err)
{
    char *moving = NULL;
    bool done = store_option_get(st, STORE_MOVING, &moving, err);
    if (done && moving && strcmp(moving, "unfinished") == 0)
        done = err_set(err, ERR_BUSY,
                       "rows are being moved into this store: end \"pictor migrate-store\" first");
    free(moving);
    return done;
}

struct store *store_open(const struct store_place *place, enum store_mode mode, struct err *err)
{
    const struct store_driver *driver = driver_of(place, err);
    if (!driver)
        return NULL;
    char *folder = strdup(place->data);
    struct store_place own = {folder, place->database, place->name};
    struct store *st = folder ? driver->open(&own, mode, err) : NULL;
    if (!folder)
        err_set(err, ERR_INTERNAL, "no memory for the store");
    if (!st) {
        free(folder);
        return NULL;
    }
    st->driver = driver;
    st->data = folder;
    if (mode != STORE_SERVE || check_whole(st, err))
        return st;
    store_close(st);
    return NULL;
}

bool store_exists(const struct store_place *place)
{
    const struct store_driver *driver = driver_of(place, NULL);
    return !driver || driver->exists(place); /* what is wrong is said when it is opened */
}

void store_close(struct store *st)
{
    if (!st)
        return;
    char *folder = (char *)st->data;
    st->driver->close(st);
    free(folder);
}

const char *store_data(const struct store *st)
{
    return st->data;
}

bool store_present(struct store *st, struct err *err)
{
    return st->driver->present(st, err);
}

bool store_tells(const struct store *st)
{
    return st->driver->listen != NULL;
}

bool store_listen(struct store *st, store_news_fn *fn, void *ctx, struct err *err)
{
    return !st->driver->listen || st->driver->listen(st, fn, ctx, err);
}

void store_hush(struct store *st)
{
    if (st->driver->hush)
        st->driver->hush(st);
}

bool store_report(struct store *st, const struct store_news *news, struct err *err)
{
    return !st->driver->report || st->driver->report(st, news, err);
}

bool store_leads(struct store *st)
{
    return !st->driver->leads || st->driver->leads(st);
}

bool store_probe(struct store *st, struct err *err)
{
    char now[32];
    snprintf(now, sizeof now, "%lld", (long long)now_unix_ms());
    if (!store_begin(st, err))
        return false;
    if (store_option_set(st, "probe", now, err))
        return store_commit(st, err);
    store_rollback(st);
    return false;
}

bool store_begin(struct store *st, struct err *err)
{
    return st->driver->begin(st, err);
}

bool store_commit(struct store *st, struct err *err)
{
    return st->driver->commit(st, err);
}

void store_rollback(struct store *st)
{
    st->driver->rollback(st);
}

bool store_end(struct store *st, bool done, struct err *err)
{
    if (done)
        return store_commit(st, err);
    store_rollback(st);
    return false;
}

bool store_option_get(struct store *st, const char *name, char **value, struct err *err)
{
    return st->driver->option_get(st, name, value, err);
}

bool store_option_set(struct store *st, const char *name, const char *value, struct err *err)
{
    return st->driver->option_set(st, name, value, err);
}

bool store_job_insert(struct store *st, const struct job *job, struct err *err)
{
    return st->driver->job->insert(st, job, err);
}

bool store_job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                   struct err *err)
{
    return st->driver->job->get(st, id, key_id, out, err);
}

bool store_job_list(struct store *st, const struct job_filter *filter, struct job **jobs,
                    size_t *count, int64_t *next, struct err *err)
{
    return st->driver->job->list(st, filter, jobs, count, next, err);
}

bool store_job_depth(struct store *st, const char *key_id, int *queued, int *running,
                     struct err *err)
{
    return st->driver->job->depth(st, key_id, queued, running, err);
}

bool store_job_backlog(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                       struct err *err)
{
    return st->driver->job->backlog(st, out, max, count, err);
}

bool store_job_nameless(struct store *st, int *count, struct err *err)
{
    return st->driver->job->nameless(st, count, err);
}

bool store_job_turn(struct store *st, const char *const *models, size_t model_count,
                    struct store_turn *out, struct err *err)
{
    return st->driver->job->next(st, models, model_count, out, err);
}

bool store_job_next(struct store *st, const char *const *models, size_t model_count,
                    char id[JOB_ID_SIZE], struct err *err)
{
    struct store_turn turn;
    bool done = store_job_turn(st, models, model_count, &turn, err);
    memcpy(id, turn.id, JOB_ID_SIZE);
    return done;
}

bool store_job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                     int64_t lease_ms, int64_t *token, struct err *err)
{
    return st->driver->job->start(st, id, owner, now_ms, lease_ms, token, err);
}

bool store_job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err)
{
    return st->driver->job->lease(st, id, out, err);
}

bool store_job_tagged(struct store *st, const char *tag, const char *key_id, char id[JOB_ID_SIZE],
                      struct err *err)
{
    return st->driver->job->tagged(st, tag, key_id, id, err);
}

bool store_job_resume(struct store *st, const char *id, int64_t token, const char *owner,
                      int64_t lease_ms, struct err *err)
{
    return st->driver->job->resume(st, id, token, owner, lease_ms, err);
}

bool store_job_spare(struct store *st, int64_t lease_ms, struct err *err)
{
    return st->driver->job->spare(st, lease_ms, err);
}

bool store_job_renew(struct store *st, const char *id, int64_t token, int64_t lease_ms,
                     struct err *err)
{
    return st->driver->job->renew(st, id, token, lease_ms, err);
}

bool store_job_interrupt(struct store *st, const char *id, struct err *err)
{
    return st->driver->job->interrupt(st, id, err);
}

bool store_job_requeue(struct store *st, const char *id, int64_t token, enum store_requeue why,
                       struct err *err)
{
    return st->driver->job->requeue(st, id, token, why, err);
}

bool store_job_end(struct store *st, const char *id, int64_t token, enum job_state state,
                   const struct err *reason, const char *refusal, int64_t now_ms, struct err *err)
{
    return st->driver->job->end(st, id, token, state, reason, refusal, now_ms, err);
}

bool store_job_delete(struct store *st, const char *id, struct err *err)
{
    return st->driver->job->delete(st, id, err);
}

bool store_job_line(struct store *st, struct store_ids *out, struct err *err)
{
    return st->driver->job->line(st, out, err);
}

bool store_job_expired(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return st->driver->job->expired(st, limit, out, err);
}

bool store_job_own(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return st->driver->job->own(st, limit, out, err);
}

bool store_job_finished_before(struct store *st, int64_t before_ms, int limit,
                               struct store_ids *out, struct err *err)
{
    return st->driver->job->finished_before(st, before_ms, limit, out, err);
}

bool store_job_keyless(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return st->driver->job->keyless(st, limit, out, err);
}

bool store_job_waited(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return st->driver->job->waited(st, limit, out, err);
}

bool store_image_put(struct store *st, const char *job_id, const struct job_image *image,
                     struct job_image *replaced, struct err *err)
{
    return st->driver->image->put(st, job_id, image, replaced, err);
}

bool store_image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                     struct err *err)
{
    return st->driver->image->get(st, id, key_id, image, err);
}

bool store_image_delete(struct store *st, const char *id, struct err *err)
{
    return st->driver->image->remove(st, id, err);
}

bool store_input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                     struct err *err)
{
    return st->driver->image->input_put(st, job_id, name, bytes, err);
}

bool store_input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                       struct err *err)
{
    return st->driver->image->input_bytes(st, job_id, name, bytes, err);
}

bool store_input_waiting(struct store *st, const char *key_id, size_t *bytes, struct err *err)
{
    return st->driver->image->input_waiting(st, key_id, bytes, err);
}

bool store_input_delete(struct store *st, const char *job_id, const char *name, struct err *err)
{
    return st->driver->image->input_remove(st, job_id, name, err);
}

bool store_order_put(struct store *st, const char *job_id, const struct job_order *order,
                     struct err *err)
{
    return st->driver->image->order_put(st, job_id, order, err);
}

bool store_order_get(struct store *st, const char *job_id, struct job_order *order, struct err *err)
{
    return st->driver->image->order_get(st, job_id, order, err);
}

bool store_order_delete(struct store *st, const char *job_id, struct err *err)
{
    return st->driver->image->order_remove(st, job_id, err);
}

bool store_aside_job(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    return st->driver->aside->put_job(st, id, now_ms, err);
}

bool store_aside_image(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    return st->driver->aside->put_image(st, id, now_ms, err);
}

bool store_aside_image_remove(struct store *st, const char *id, struct err *err)
{
    return st->driver->aside->remove_image(st, id, err);
}

bool store_aside_job_back(struct store *st, const char *id, struct err *err)
{
    return st->driver->aside->back_job(st, id, err);
}

bool store_aside_image_back(struct store *st, const char *id, struct err *err)
{
    return st->driver->aside->back_image(st, id, err);
}

bool store_aside_job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                         struct err *err)
{
    return st->driver->aside->get_job(st, id, key_id, out, err);
}

bool store_aside_image_get(struct store *st, const char *id, const char *key_id,
                           struct store_aside_image *out, struct err *err)
{
    return st->driver->aside->get_image(st, id, key_id, out, err);
}

bool store_aside_images_of(struct store *st, const char *job_id, struct job_image **images,
                           size_t *count, struct err *err)
{
    return st->driver->aside->images_of(st, job_id, images, count, err);
}

bool store_image_held(struct store *st, const char *id, struct job_image *image, struct err *err)
{
    return st->driver->aside->held(st, id, image, err);
}

bool store_aside_jobs_before(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                             struct err *err)
{
    return st->driver->aside->jobs_before(st, before_ms, limit, out, err);
}

bool store_aside_images_before(struct store *st, int64_t before_ms, int limit,
                               struct store_ids *out, struct err *err)
{
    return st->driver->aside->images_before(st, before_ms, limit, out, err);
}

bool store_record_put(struct store *st, const struct store_record *record, struct err *err)
{
    return st->driver->record->put(st, record, err);
}

bool store_record_get(struct store *st, const char *kind, const char *id, const char *key_id,
                      struct store_record *out, struct err *err)
{
    return st->driver->record->get(st, kind, id, key_id, out, err);
}

bool store_record_list(struct store *st, const struct store_record_filter *filter,
                       struct store_record **rows, size_t *count, struct err *err)
{
    return st->driver->record->list(st, filter, rows, count, err);
}

bool store_record_total(struct store *st, const char *kind, const char *key_id, int64_t *count,
                        size_t *bytes, struct err *err)
{
    return st->driver->record->total(st, kind, key_id, count, bytes, err);
}

bool store_record_delete(struct store *st, const char *id, struct err *err)
{
    return st->driver->record->remove(st, id, err);
}

bool store_mark_put(struct store *st, const char *job_id, const char *image_id, const char *tag,
                    bool set, struct err *err)
{
    return st->driver->mark->put(st, job_id, image_id, tag, set, err);
}

bool store_mark_count(struct store *st, const char *job_id, const char *image_id, size_t *count,
                      struct err *err)
{
    return st->driver->mark->count(st, job_id, image_id, count, err);
}

bool store_mark_tags(struct store *st, const char *key_id, const atomic_bool *gone,
                     struct store_tag **tags, size_t *count, struct err *err)
{
    return st->driver->mark->tags(st, key_id, gone, tags, count, err);
}

bool store_image_job(struct store *st, const char *image_id, const char *key_id,
                     char job_id[JOB_ID_SIZE], struct err *err)
{
    return st->driver->mark->image_job(st, image_id, key_id, job_id, err);
}

bool store_worker_put(struct store *st, const char *id, const char *body, struct err *err)
{
    return st->driver->worker->put(st, id, body, err);
}

bool store_worker_list(struct store *st, int64_t within_ms, store_worker_fn *fn, void *ctx,
                       struct err *err)
{
    return st->driver->worker->list(st, within_ms, fn, ctx, err);
}

bool store_worker_delete(struct store *st, const char *id, int64_t silent_ms, struct err *err)
{
    return st->driver->worker->remove(st, id, silent_ms, err);
}

bool store_once_get(struct store *st, const char *key_id, const char *name, int64_t since_ms,
                    struct store_once *out, struct err *err)
{
    return st->driver->once->get(st, key_id, name, since_ms, out, err);
}

bool store_once_put(struct store *st, const char *key_id, const char *name,
                    const struct store_once *once, int64_t now_ms, int64_t since_ms,
                    struct err *err)
{
    return st->driver->once->put(st, key_id, name, once, now_ms, since_ms, err);
}

bool store_webhook_put(struct store *st, const struct store_webhook *webhook, struct err *err)
{
    return st->driver->webhook->put(st, webhook, err);
}

bool store_webhook_list(struct store *st, const char *id, const char *key_id,
                        struct store_webhook **rows, size_t *count, struct err *err)
{
    return st->driver->webhook->list(st, id, key_id, rows, count, err);
}

bool store_webhook_delete(struct store *st, const char *id, const char *key_id, struct err *err)
{
    return st->driver->webhook->remove(st, id, key_id, err);
}

bool store_webhook_due(struct store *st, int64_t now_ms, struct store_delivery *rows, size_t most,
                       size_t *count, struct err *err)
{
    return st->driver->webhook->due(st, now_ms, rows, most, count, err);
}

bool store_webhook_settle(struct store *st, const struct store_delivery *delivery, int64_t now_ms,
                          int64_t again_ms, const char *fault, struct err *err)
{
    return st->driver->webhook->settle(st, delivery, now_ms, again_ms, fault, err);
}

bool store_key_insert(struct store *st, const struct key *key,
                      const unsigned char hash[STORE_HASH_SIZE], struct err *err)
{
    return st->driver->key_insert(st, key, hash, err);
}

bool store_key_each(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                    struct err *err)
{
    return st->driver->key_each(st, hash, fn, ctx, err);
}

bool store_key_any(struct store *st, bool *any, struct err *err)
{
    return st->driver->key_any(st, any, err);
}

bool store_key_revoke(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    return st->driver->key_revoke(st, id, now_ms, err);
}

bool store_check(struct store *st, const struct store_check *check, struct err *err)
{
    return st->driver->check->all(st, check, err);
}

bool store_check_short(struct store *st, const struct store_check *check, struct err *err)
{
    return st->driver->check->short_jobs(st, check, err);
}

bool store_reindex(struct store *st, struct err *err)
{
    return st->driver->check->reindex(st, err);
}

bool store_job_rank(struct store *st, const char *id, int64_t rank, struct err *err)
{
    return st->driver->job->rank(st, id, rank, err);
}

bool store_job_rank_most(struct store *st, int64_t *rank, struct err *err)
{
    return st->driver->job->rank_most(st, rank, err);
}

bool store_job_lost(struct store *st, const char *id, struct err *err)
{
    return st->driver->job->lost(st, id, err);
}

bool store_key_set(struct store *st, const char *id, const struct key_share *share, struct err *err)
{
    return st->driver->key_set(st, id, share, err);
}

bool store_key_share(struct store *st, const char *id, struct key_share *out, struct err *err)
{
    return st->driver->key_share(st, id, out, err);
}

bool store_job_spend(struct store *st, const char *job_id, int64_t token, int64_t money,
                     struct err *err)
{
    return st->driver->usage->spend(st, job_id, token, money, err);
}

bool store_usage_since(struct store *st, const char *key_id, int64_t day, int64_t month,
                       struct store_amount *of_day, struct store_amount *of_month, struct err *err)
{
    return st->driver->usage->since(st, key_id, day, month, of_day, of_month, err);
}

bool store_usage_pending(struct store *st, const char *key_id, store_pending_fn *fn, void *ctx,
                         struct err *err)
{
    return st->driver->usage->pending(st, key_id, fn, ctx, err);
}

bool store_usage_list(struct store *st, const char *key_id, int64_t from, int64_t to, size_t most,
                      struct store_usage **rows, size_t *count, struct err *err)
{
    return st->driver->usage->list(st, key_id, from, to, most, rows, count, err);
}
