/* upstream_choose.c: which upstream paints a model, and who is left alone for now.
 *
 * Several upstreams may have a model of one name. They are asked in the order of the settings: the
 * first that is well and within its limits gets the job, also while it is busy; the next one gets
 * what the first could not be asked for or refused without having painted. */
#include "server/paint/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/refusal.h"
#include "server/paint/fetch.h"
#include "server/paint/upstream_spend.h"

/* ---- models ---- */

/* Where a name is, or belongs. Lists are long, and names are looked up for each job. */
static size_t place_of(const struct server *s, const char *local)
{
    size_t low = 0, high = s->model_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->models[middle]->local, local) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct remote_model *upstream_model_any(const struct server *s, const char *local)
{
    size_t at = place_of(s, local);
    return at < s->model_count && strcmp(s->models[at]->local, local) == 0 ? s->models[at] : NULL;
}

struct remote_model *upstream_model(const struct server *s, const char *local)
{
    struct remote_model *m = upstream_model_any(s, local);
    return m && m->there ? m : NULL;
}

struct remote_model *upstream_model_add(struct server *s, const char *local, const char *remote,
                                        struct err *err)
{
    size_t at = place_of(s, local);
    struct remote_model *m = calloc(1, sizeof *m);
    struct remote_model **models = realloc(s->models, (s->model_count + 1) * sizeof *models);
    if (models)
        s->models = models;
    if (m)
        *m = (struct remote_model){.local = strdup(local), .remote = strdup(remote), .there = true};
    if (models && m && m->local && m->remote) {
        memmove(models + at + 1, models + at, (s->model_count - at) * sizeof *models);
        s->model_count++;
        return models[at] = m;
    }
    if (m) {
        free(m->local);
        free(m->remote);
    }
    free(m);
    err_set(err, ERR_INTERNAL, "no memory for the models of %s", s->settings->name);
    return NULL;
}

void upstream_models_free(struct server *s)
{
    for (size_t i = 0; i < s->model_count; i++) {
        free(s->models[i]->local);
        free(s->models[i]->remote);
        free(s->models[i]);
    }
    free(s->models);
}

/* ---- choosing ---- */

static bool may_order(const struct server *s, const struct remote_model *m, int count,
                      struct refusal *refusal, struct err *err)
{
    double price = upstream_spend_price(s->settings, m->local);
    return upstream_spend_allows(&s->spend, s->settings, price, count, now_unix_ms(), refusal, err);
}

static bool is_well(const struct server *s, const struct remote_model *m)
{
    struct refusal refusal;
    struct err err;
    int64_t now = now_ms();
    return breaker_would_allow(&s->health.breaker, now) &&
           breaker_would_allow(&m->health.breaker, now) && may_order(s, m, 1, &refusal, &err);
}

bool upstream_choose(struct upstream *u, const char *name, const struct server *after,
                     struct server **server, struct remote_model **model)
{
    struct server *first = NULL;
    for (size_t i = after ? (size_t)(after - u->servers) + 1 : 0; i < u->server_count; i++) {
        struct server *s = &u->servers[i];
        struct remote_model *m = upstream_model(s, name);
        if (m && is_well(s, m)) {
            *server = s;
            *model = m;
            return true;
        }
        if (m && !first) {
            first = s;
            *model = m;
        }
    }
    *server = first;
    return first && !after; /* nobody is well: the first one says why */
}

size_t upstream_open_names(struct upstream *u, const char ***names)
{
    const char **all;
    size_t count, open = 0;
    struct err err;
    *names = NULL;
    if (!registry_names(u->parts.registry, REGISTRY_UPSTREAM, &all, &count, &err)) {
        upstream_log("claim_failed", NULL, &err);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct server *s;
        struct remote_model *m;
        /* Who waits for a seat has waited longer than what is not claimed yet. */
        if (!upstream_choose(u, all[i], NULL, &s, &m) ||
            s->running + s->waiting < s->settings->concurrency)
            all[open++] = all[i]; /* of which nobody knows: it is claimed, and told so */
    }
    all[open] = NULL;
    *names = all;
    return open;
}

/* ---- who is left alone ---- */

/* The server, or the model, itself failed, not this request. */
static void count_failure(struct errand *e, struct health *h, const struct err *err)
{
    struct upstream *u = e->upstream;
    bool was_open = h->breaker.failures >= BREAKER_FAILURES;
    breaker_failure(&h->breaker, now_ms());
    snprintf(h->last_error, sizeof h->last_error, "%s", err->msg);
    if (!was_open && h->breaker.failures >= BREAKER_FAILURES)
        log_event(LOG_ERROR, "upstream_left_alone", "upstream=%s model=%s failures=%d",
                  e->server->settings->name, h == &e->model->health ? e->model->remote : "all",
                  h->breaker.failures);
    pthread_mutex_lock(&u->lock);
    u->stats.upstream_failures++;
    pthread_mutex_unlock(&u->lock);
}

static void set_spent(struct errand *e, const struct spend *spend)
{
    pthread_mutex_lock(&e->upstream->lock); /* of who reads the figures */
    e->server->spend = *spend;
    pthread_mutex_unlock(&e->upstream->lock);
}

/* Servers that share a store share the limits. */
static struct spend spent_now(struct errand *e)
{
    struct spend spend = e->server->spend;
    upstream_spend_recall(&spend, e->server->settings, &e->upstream->parts.memory);
    set_spent(e, &spend);
    return spend;
}

bool upstream_may_ask(struct errand *e, int count, struct refusal *refusal, struct err *err)
{
    struct health *h = &e->model->health;
    spent_now(e);
    if (!may_order(e->server, e->model, count, refusal, err))
        return false;
    if (breaker_allows(&h->breaker, now_ms())) {
        h = &e->server->health;
        if (breaker_allows(&h->breaker, now_ms()))
            return true;
        breaker_unknown(&e->model->health.breaker);
    }
    int64_t left = h->breaker.open_until - now_ms();
    bool model = h == &e->model->health;
    return err_set(
        err, ERR_UPSTREAM, "%s%s%.60s failed %d times in a row and is left alone for %lld s: %s",
        e->server->settings->name, model ? "'s model " : "", model ? e->model->remote : "",
        h->breaker.failures, left > 0 ? (long long)(left / 1000 + 1) : 1, h->last_error);
}

void upstream_judge(struct errand *e, const struct fetch_answer *answer, const struct err *err)
{
    struct breaker *server = &e->server->health.breaker, *model = &e->model->health.breaker;
    bool answered = answer->err.code == ERR_NONE;
    if (err->code == ERR_NONE) {
        breaker_success(server);
        breaker_success(model);
    } else if ((!answered && !answer->sent) || (answered && answer->status == 401)) {
        count_failure(e, &e->server->health, err); /* not reached, or it does not take our key */
        breaker_unknown(model);
    } else if (answered && answer->status >= 400 && answer->status < 500 && answer->status != 403) {
        breaker_success(server); /* it is about the request: a server that answers it is well */
        breaker_success(model);
    } else {
        count_failure(e, &e->model->health, err);
        if (answered)
            breaker_success(server);
        else
            breaker_unknown(server);
    }
}

/* ---- what is spent ---- */

bool upstream_spend(struct errand *e, int count, struct err *err)
{
    const struct settings_upstream *s = e->server->settings;
    struct spend spend = spent_now(e);
    upstream_spend_add(&spend, upstream_spend_price(s, e->model->local), count, now_unix_ms());
    if (!upstream_spend_remember(&spend, s, &e->upstream->parts.memory, err))
        return false;
    set_spent(e, &spend);
    e->reserved += count;
    double price = upstream_spend_price(s, e->model->local);
    return price == 0 || queue_spend(e->upstream->parts.queue, &e->claim, price * count, err);
}

void upstream_spend_back(struct errand *e)
{
    struct err err;
    if (e->reserved > 0 && !upstream_spend(e, -e->reserved, &err))
        upstream_log("spending_not_kept", e, &err);
    e->reserved = 0;
}
