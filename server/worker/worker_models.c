/* worker_models.c: the models that are open, the last used first. */
#include "server/worker/worker_models.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/job/loras.h"

#define MODELS_MAX 8

struct open_model {
    struct pictor_model *model; /* NULL: a free place */
    char *name;
    uint64_t size;
    int64_t mtime_ms;
    char *vae;
    uint64_t vae_size;
    int64_t vae_mtime_ms;
    uint64_t used; /* the larger, the later */
    char *merged;  /* which LoRAs are in it; NULL: none */
    bool fitting;  /* those of them that fit */
    char *led;     /* which ControlNets it has; NULL: none */
    char *words;   /* which embeddings it has; NULL: none */
    char *tiny;    /* what its previews were last to be decoded by; NULL: nothing yet */
};

struct worker_models {
    struct pictor_engine *engine;
    size_t budget, limit;
    worker_models_fn *changed;
    void *ctx;
    uint64_t uses, before; /* models used up to `before` are of no use for the picture at work */
    struct open_model open[MODELS_MAX];
};

struct worker_models *worker_models_new(struct pictor_engine *engine, size_t budget, size_t limit,
                                        worker_models_fn *changed, void *ctx, struct err *err)
{
    struct worker_models *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for the models");
        return NULL;
    }
    m->engine = engine;
    m->budget = budget;
    m->limit = limit;
    m->changed = changed;
    m->ctx = ctx;
    return m;
}

static void clear(struct open_model *o)
{
    pictor_model_free(o->model);
    free(o->name);
    free(o->vae);
    free(o->merged);
    free(o->led);
    free(o->words);
    free(o->tiny);
    *o = (struct open_model){0};
}

static void close_one(struct worker_models *m, struct open_model *o)
{
    m->changed(m->ctx, o->name, NULL);
    clear(o);
    malloc_trim(0); /* weights are returned to the system, not kept for the next malloc */
}

bool worker_models_any(const struct worker_models *m)
{
    for (size_t i = 0; i < MODELS_MAX; i++)
        if (m->open[i].model)
            return true;
    return false;
}

void worker_models_close_all(struct worker_models *m)
{
    for (size_t i = 0; i < MODELS_MAX; i++)
        if (m->open[i].model)
            close_one(m, &m->open[i]);
}

static struct open_model *find(struct worker_models *m, const char *name)
{
    for (size_t i = 0; i < MODELS_MAX; i++)
        if (m->open[i].model && strcmp(m->open[i].name, name) == 0)
            return &m->open[i];
    return NULL;
}

/* Closes those that waited longest until `bytes` more fit, but for those of the picture at work;
 * returns a free place, NULL if there is none. */
static struct open_model *make_room(struct worker_models *m, uint64_t bytes)
{
    for (;;) {
        struct open_model *place = NULL, *oldest = NULL;
        uint64_t sum = bytes;
        for (size_t i = 0; i < MODELS_MAX; i++) {
            struct open_model *o = &m->open[i];
            if (!o->model) {
                place = o;
                continue;
            }
            sum += pictor_model_info(o->model)->weight_bytes;
            if (o->used <= m->before && (!oldest || o->used < oldest->used))
                oldest = o;
        }
        if (!oldest || (place && sum <= m->budget))
            return place;
        close_one(m, oldest);
    }
}

/* What is open now is of the picture at work, and has to stay: beyond the limit all of it rests,
 * and the engine wakes what it needs. */
static bool has_room(const struct worker_models *m, const struct open_model *place,
                     const struct worker_model_ref *ref, struct err *err)
{
    uint64_t sum = ref->size;
    bool rest = place;
    for (size_t i = 0; i < MODELS_MAX; i++)
        if (m->open[i].model)
            sum += pictor_model_info(m->open[i].model)->weight_bytes;
    for (size_t i = 0; i < MODELS_MAX && m->limit && sum > m->limit; i++)
        rest = rest && (!m->open[i].model || pictor_model_rest(m->open[i].model));
    return rest ||
           err_set(err, ERR_TOO_LARGE,
                   "the models of this picture take %llu MiB with %s, the memory limit is %zu MiB",
                   (unsigned long long)(sum >> 20), ref->name, m->limit >> 20);
}

static bool is_same(const struct open_model *o, const struct worker_model_ref *ref)
{
    return o->size == ref->size && o->mtime_ms == ref->mtime_ms && strcmp(o->vae, ref->vae) == 0 &&
           o->vae_size == ref->vae_size && o->vae_mtime_ms == ref->vae_mtime_ms;
}

struct pictor_model *worker_models_get(struct worker_models *m, const struct worker_model_ref *ref,
                                       struct err *err)
{
    m->before = m->uses;
    return worker_models_get_beside(m, ref, err);
}

void worker_models_settle(struct worker_models *m)
{
    make_room(m, 0);
}

struct pictor_model *worker_models_get_beside(struct worker_models *m,
                                              const struct worker_model_ref *ref, struct err *err)
{
    struct open_model *o = find(m, ref->name);
    if (o && !is_same(o, ref)) {
        if (o->used > m->before) { /* the picture at work has it already, by this name */
            err_set(err, ERR_IO, "%s was changed while the models of the picture were opened",
                    ref->name);
            return NULL;
        }
        close_one(m, o);
        o = NULL;
    }
    if (!o) {
        /* The file's size is near enough to what its weights will take. */
        o = make_room(m, ref->size);
        if (!has_room(m, o, ref, err))
            return NULL;
        *o = (struct open_model){.name = strdup(ref->name),
                                 .size = ref->size,
                                 .mtime_ms = ref->mtime_ms,
                                 .vae = strdup(ref->vae),
                                 .vae_size = ref->vae_size,
                                 .vae_mtime_ms = ref->vae_mtime_ms};
        if (!o->name || !o->vae)
            err_set(err, ERR_INTERNAL, "no memory for a model");
        else
            o->model = pictor_model_open_files(m->engine, ref->files, err);
        if (!o->model) {
            clear(o);
            err_about(err, ref->name); /* the server knows where that is */
            if (*ref->vae)
                err_prefix(err, "with the VAE %s", ref->vae);
            err_prefix(err, "%s", ref->name);
            return NULL;
        }
        m->changed(m->ctx, o->name, pictor_model_info(o->model));
    }
    o->used = ++m->uses;
    return o->model;
}

/* A text that two lists have in common only if they are the same; NULL without memory. */
static char *describe(const struct worker_lora *loras, size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; f && i < count; i++)
        fprintf(f, "%s\n%llu %lld %a %a\n", loras[i].lora.name, (unsigned long long)loras[i].size,
                (long long)loras[i].mtime_ms, loras[i].lora.unet, loras[i].lora.text);
    if (f && fclose(f) != 0) {
        free(text);
        text = NULL;
    }
    return text;
}

/* `fitting`: not all of them need to fit. */
static bool merge(struct worker_models *m, struct pictor_model *model, bool fitting,
                  const struct worker_lora *loras, size_t count, struct err *err)
{
    struct pictor_lora list[PICTOR_LORAS_MAX];
    struct open_model *o = m->open;
    while (o->model != model)
        o++;
    if (count == 0 && !o->merged)
        return true;
    char *merged = describe(loras, count);
    if (!merged)
        return err_set(err, ERR_INTERNAL, "no memory for the LoRAs");
    if (o->merged && o->fitting == fitting && strcmp(o->merged, merged) == 0) {
        free(merged);
        return true;
    }
    for (size_t i = 0; i < count; i++)
        list[i] = loras[i].lora;
    char who[300];
    snprintf(who, sizeof who, "model=%s", o->name);
    bool done = fitting ? loras_merge_fitting(model, list, count, LOG_INFO, who, err)
                        : pictor_model_merge(model, list, count, err);
    o->fitting = fitting;
    free(o->merged);
    o->merged = done && count > 0 ? merged : NULL;
    if (!o->merged)
        free(merged);
    return done;
}

bool worker_models_merge(struct worker_models *m, struct pictor_model *model,
                         const struct worker_lora *loras, size_t count, struct err *err)
{
    return merge(m, model, false, loras, count, err);
}

bool worker_models_merge_fitting(struct worker_models *m, struct pictor_model *model,
                                 const struct worker_lora *loras, size_t count, struct err *err)
{
    return merge(m, model, true, loras, count, err);
}

static char *describe_controls(const struct worker_control *controls, size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; f && i < count; i++)
        fprintf(f, "%s\n%llu %lld\n", controls[i].file.name, (unsigned long long)controls[i].size,
                (long long)controls[i].mtime_ms);
    if (f && fclose(f) != 0) {
        free(text);
        text = NULL;
    }
    return text;
}

bool worker_models_control(struct worker_models *m, struct pictor_model *model,
                           const struct worker_control *controls, size_t count, struct err *err)
{
    struct pictor_control_file list[PICTOR_CONTROLS_MAX];
    struct open_model *o = m->open;
    while (o->model != model)
        o++;
    if (count == 0 && !o->led)
        return true;
    char *led = describe_controls(controls, count);
    if (!led)
        return err_set(err, ERR_INTERNAL, "no memory for the ControlNets");
    if (o->led && strcmp(o->led, led) == 0) {
        free(led);
        return true;
    }
    for (size_t i = 0; i < count; i++)
        list[i] = controls[i].file;
    bool done = pictor_model_control(model, list, count, err);
    free(o->led);
    o->led = done && count > 0 ? led : NULL;
    if (!o->led)
        free(led);
    return done;
}

static char *describe_words(const struct worker_embedding *list, size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; f && i < count; i++)
        fprintf(f, "%s\n%llu %lld\n", list[i].file.name, (unsigned long long)list[i].size,
                (long long)list[i].mtime_ms);
    if (f && fclose(f) != 0) {
        free(text);
        text = NULL;
    }
    return text;
}

bool worker_models_embed(struct worker_models *m, struct pictor_model *model,
                         const struct worker_embedding *list, size_t count, struct err *err)
{
    struct pictor_embedding files[PICTOR_EMBEDDINGS_MAX];
    struct open_model *o = m->open;
    while (o->model != model)
        o++;
    if (count == 0 && !o->words)
        return true;
    char *words = describe_words(list, count);
    if (!words)
        return err_set(err, ERR_INTERNAL, "no memory for the embeddings");
    if (o->words && strcmp(o->words, words) == 0) {
        free(words);
        return true;
    }
    for (size_t i = 0; i < count; i++)
        files[i] = list[i].file;
    bool done = pictor_model_embed(model, files, count, err);
    free(o->words);
    o->words = done && count > 0 ? words : NULL;
    if (!o->words)
        free(words);
    return done;
}

void worker_models_previews(struct worker_models *m, struct pictor_model *model,
                            const struct worker_control *tiny)
{
    struct open_model *o = m->open;
    struct err err;
    while (o->model != model)
        o++;
    char *said = describe_controls(tiny, 1);
    if (!said || (o->tiny && strcmp(o->tiny, said) == 0)) {
        free(said);
        return;
    }
    if (!pictor_model_previews(model, &tiny->file, &err))
        log_err(LOG_WARN, "previews_are_fast", &err, " ");
    free(o->tiny);
    o->tiny = said;
}
