/* fit.c: a job is left to another worker only if that one waits for a job and is better off: it has
 * the model in memory, or on its disk, where this one has not, or is notably faster where neither
 * would have to load more than the other. "Better" is an order, so the best of those who wait
 * leaves nothing to anybody. */
#include "server/paint/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/job/registry.h"

#define FASTER 1.25 /* times as fast: below that, measurements differ by as much */

enum { WARM, HELD };

struct names {
    char **at;
    size_t count;
};

struct fit {
    struct roster *roster;
    struct registry *registry;
    char id[STORE_OWNER_SIZE];
    bool local;
    double pace;
    struct names lists[QUEUE_LISTS]; /* WARM, HELD */
    struct names never;              /* what it cannot paint with */
    size_t seen;                     /* models that there were */
};

static bool add(struct names *n, const char *name)
{
    char **more = realloc(n->at, (n->count + 1) * sizeof *more);
    if (!more)
        return false;
    n->at = more;
    more[n->count] = strdup(name);
    return more[n->count] && ++n->count;
}

static bool has(const struct names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->at[i], name) == 0)
            return true;
    return false;
}

static void clear(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->at[i]);
    free(n->at);
}

static bool knows(const struct roster_worker *w, const struct registry_model *m)
{
    return !w->families || !*w->families || !*m->architecture ||
           roster_has(w->families, m->architecture);
}

static bool fits(int64_t room, uint64_t size)
{
    return room <= 0 || size <= (uint64_t)room;
}

/* What is in the program needs no file, and everybody has it. */
static bool is_inside(const struct registry_model *m)
{
    return strcmp(m->name, REGISTRY_BUILTIN) == 0;
}

bool fit_can(const struct roster_worker *w, const struct registry_model *m)
{
    return knows(w, m) && fits(w->memory, m->size) &&
           (w->local || is_inside(m) || fits(w->disk, m->size));
}

static bool take(struct fit *f, const struct roster_worker *w, const struct registry_model *m)
{
    if (!w->local && !fit_can(w, m))
        return add(&f->never, m->name);
    bool held = roster_has(w->models, m->name) ||
                (*m->sha256 && roster_has(w->files, m->sha256));
    return (!roster_has(w->warm, m->name) || add(&f->lists[WARM], m->name)) &&
           (w->local || !held || add(&f->lists[HELD], m->name));
}

struct fit *fit_new(struct roster *roster, struct registry *registry, const struct roster_worker *w,
                    struct err *err)
{
    struct registry_model *models;
    size_t count;
    struct fit *f = calloc(1, sizeof *f);
    if (!f || !registry_list(registry, &models, &count, err)) {
        if (!f)
            err_set(err, ERR_UNAVAILABLE, "no memory for a worker");
        free(f);
        return NULL;
    }
    f->roster = roster;
    f->registry = registry;
    f->local = w->local;
    f->pace = w->pace;
    memcpy(f->id, w->id, sizeof f->id);
    bool done = true;
    for (size_t i = 0; i < count && done; i++)
        if (models[i].kind == REGISTRY_LOCAL) {
            f->seen++;
            done = take(f, w, &models[i]);
        }
    free(models);
    if (done)
        return f;
    err_set(err, ERR_UNAVAILABLE, "no memory for a worker");
    fit_free(f);
    return NULL;
}

void fit_free(struct fit *f)
{
    if (!f)
        return;
    clear(&f->lists[WARM]);
    clear(&f->lists[HELD]);
    clear(&f->never);
    free(f);
}

bool fit_names(const struct fit *f, const char ***names, size_t *count, struct err *err)
{
    size_t kept = 0;
    if (!registry_names(f->registry, REGISTRY_LOCAL, names, count, err))
        return false;
    for (size_t i = 0; i < *count; i++)
        if (!has(&f->never, (*names)[i]))
            (*names)[kept++] = (*names)[i];
    *count = kept;
    return true;
}

/* ---- others ---- */

struct rival {
    const struct fit *f;
    const char *model;
    int rank;
    bool better;
};

/* 2: in memory, 1: on its disk, 0: it would have to be fetched, if it can. */
static int rank_of(bool warm, bool held)
{
    return warm ? 2 : held ? 1 : 0;
}

static void look(void *ctx, const struct roster_worker *w)
{
    struct rival *r = ctx;
    if (w->state != ROSTER_IDLE || strcmp(w->id, r->f->id) == 0)
        return;
    int rank = rank_of(roster_has(w->warm, r->model),
                       w->local || roster_has(w->models, r->model));
    bool faster = w->pace > 0 && r->f->pace > w->pace * FASTER;
    r->better = r->better || rank > r->rank || (rank == r->rank && rank > 0 && faster);
}

static bool leave(void *ctx, const char *model)
{
    const struct fit *f = ctx;
    struct rival r = {
        .f = f,
        .model = model,
        .rank = rank_of(has(&f->lists[WARM], model), f->local || has(&f->lists[HELD], model))};
    roster_each(f->roster, look, &r);
    return r.better;
}

void fit_taste(struct fit *f, struct queue_taste *taste)
{
    for (size_t i = 0; i < QUEUE_LISTS; i++) {
        taste->lists[i].models = (const char *const *)f->lists[i].at;
        taste->lists[i].count = f->lists[i].count;
    }
    taste->leave = leave;
    taste->ctx = f;
}

/* ---- nobody ---- */

bool fit_nobody(const struct roster_worker *w, size_t count, const struct registry_model *m,
                char why[256])
{
    int64_t memory = 0, disk = 0;
    size_t here = 0, knowing = 0;
    for (size_t i = 0; i < count; i++) {
        if (w[i].state == ROSTER_AWAY)
            continue;
        if (fit_can(&w[i], m) || w[i].local)
            return false;
        here++;
        knowing += knows(&w[i], m);
        memory = w[i].memory > memory ? w[i].memory : memory;
        disk = w[i].disk > disk ? w[i].disk : disk;
    }
    if (here == 0)
        snprintf(why, 256, "no worker is connected");
    else if (knowing == 0)
        snprintf(why, 256, "no worker that is connected knows models of the family \"%s\"",
                 m->architecture);
    else
        snprintf(why, 256,
                 "no worker that is connected has room for the model's %llu bytes: the most are "
                 "%lld of memory and %lld of disk",
                 (unsigned long long)m->size, (long long)memory, (long long)disk);
    return true;
}
