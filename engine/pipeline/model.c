/* model.c: engines and models: opening, describing, freeing. */
#include "engine/pipeline/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/builtin/builtin.h"

enum pictor_precision pictor_precision_of(const char *word)
{
    return strcmp(word, "bf16") == 0   ? PICTOR_PRECISION_BF16
           : strcmp(word, "f32") == 0  ? PICTOR_PRECISION_F32
           : strcmp(word, "int8") == 0 ? PICTOR_PRECISION_INT8
                                       : PICTOR_PRECISION_AUTO;
}

struct pictor_engine *pictor_engine_new(const struct pictor_engine_options *options,
                                        struct err *err)
{
    static const struct pictor_engine_options defaults = {0};
    if (!options)
        options = &defaults;
    struct pictor_engine *e = calloc(1, sizeof *e);
    if (!e) {
        err_set(err, ERR_INTERNAL, "no memory for an engine");
        return NULL;
    }
    struct device_options device = {.threads = options->threads, .cpu = options->cpu};
    switch (options->precision) {
    case PICTOR_PRECISION_AUTO:
        device.bf16 = -1;
        break;
    case PICTOR_PRECISION_BF16:
        device.bf16 = 1;
        break;
    case PICTOR_PRECISION_F32:
        device.bf16 = 0;
        break;
    case PICTOR_PRECISION_INT8:
        device.bf16 = -1;
        device.int8 = true;
        break;
    }
    e->memory_limit = options->memory_limit;
    if (!(e->dev = device_new(&device, err)) || !(e->tokenizer = tokenizer_new(err))) {
        pictor_engine_free(e);
        return NULL;
    }
    snprintf(e->description, sizeof e->description, "cpu %s %d threads %s%s", device_level(e->dev),
             device_threads(e->dev), device_dtype(e->dev) == DTYPE_BF16 ? "bf16" : "f32",
             device.int8 ? " int8" : "");
    return e;
}

void pictor_engine_free(struct pictor_engine *e)
{
    if (!e)
        return;
    tokenizer_free(e->tokenizer);
    arena_free(&e->arena);
    device_free(e->dev);
    free(e);
}

const char *pictor_engine_description(const struct pictor_engine *e)
{
    return e->description;
}

void pictor_engine_cancel(struct pictor_engine *e)
{
    atomic_store(&e->cancel, true);
}

void pictor_engine_interrupt(struct pictor_engine *e)
{
    atomic_store(&e->interrupt, true);
}

static double metadata_number(const struct checkpoint *cp, const char *key, double low, double high,
                              double otherwise)
{
    const char *text = checkpoint_metadata(cp, key);
    char *end;
    double v = text ? strtod(text, &end) : otherwise;
    return text && (*end || !(v >= low && v <= high)) ? otherwise : v;
}

/* What a model says of itself (modelspec.* is the convention of published files), within reason. */
static void describe(struct pictor_model *m)
{
    struct pictor_model_info *i = &m->info;
    const char *title = checkpoint_metadata(m->cp, "modelspec.title");
    const char *size = checkpoint_metadata(m->cp, "modelspec.resolution");
    snprintf(i->architecture, sizeof i->architecture, "sd1");
    snprintf(i->title, sizeof i->title, "%s", title ? title : "");
    i->native_width = i->native_height = 512;
    int w, h;
    if (size && sscanf(size, "%dx%d", &w, &h) == 2 && w >= 64 && w <= 4096 && h >= 64 &&
        h <= 4096 && w % VAE_FACTOR == 0 && h % VAE_FACTOR == 0) {
        i->native_width = w;
        i->native_height = h;
    }
    i->default_guidance = (float)metadata_number(m->cp, "pictor.guidance", 1, 30, 7);
    i->default_steps = (int)metadata_number(m->cp, "pictor.steps", 1, 1000, 20);
    i->compose_side = (int)metadata_number(m->cp, "pictor.compose", 64, 4096, 0);
    i->detail_strength = metadata_number(m->cp, "pictor.detail", 0, 1, 0);
}

static struct checkpoint *open_checkpoint(const char *path, struct err *err)
{
    if (strcmp(path, "builtin") != 0)
        return checkpoint_open(path, err);
    size_t size;
    const void *data = builtin_model(&size);
    return checkpoint_open_memory(data, size, err);
}

bool pictor_model_probe(const char *path, struct pictor_model_info *out, struct err *err)
{
    struct pictor_model m = {.cp = open_checkpoint(path, err)};
    bool ok = m.cp && checkpoint_sd1(m.cp, &m.arch, err);
    if (ok) {
        describe(&m);
        *out = m.info;
    }
    checkpoint_free(m.cp);
    return ok;
}

struct pictor_model *pictor_model_open(struct pictor_engine *engine, const char *path,
                                       struct err *err)
{
    struct pictor_model *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    m->engine = engine;
    arena_free(&engine->arena); /* the weights may need the room */
    m->cp = open_checkpoint(path, err);
    size_t *bytes = &m->info.weight_bytes;
    if (!m->cp || !checkpoint_sd1(m->cp, &m->arch, err) ||
        !(m->clip = clip_load(engine->dev, m->cp, &m->arch, bytes, err)) ||
        !(m->unet = unet_load(engine->dev, m->cp, &m->arch, bytes, err)) ||
        !(m->vae = vae_load(engine->dev, m->cp, &m->arch, bytes, err)))
        goto fail;
    if (engine->memory_limit && *bytes > engine->memory_limit) {
        err_set(err, ERR_TOO_LARGE, "the model's weights take %zu MiB, the memory limit is %zu MiB",
                *bytes >> 20, engine->memory_limit >> 20);
        goto fail;
    }
    if (m->arch.text.vocab < TOKENIZER_VOCAB || m->arch.text.positions < CHUNK_LENGTH) {
        err_set(err, ERR_UNSUPPORTED,
                "text encoder of %d tokens and %d positions: wanted %d and %d", m->arch.text.vocab,
                m->arch.text.positions, TOKENIZER_VOCAB, CHUNK_LENGTH);
        goto fail;
    }
    m->conditioning = conditioning_new(m->clip, engine->tokenizer, m->arch.text.width, err);
    if (!m->conditioning)
        goto fail;
    schedule_init(&m->schedule, SCHEDULE_BETA_START, SCHEDULE_BETA_END);
    describe(m);
    return m;
fail:
    pictor_model_free(m);
    return NULL;
}

void pictor_model_free(struct pictor_model *m)
{
    if (!m)
        return;
    arena_free(&m->engine->arena);
    conditioning_free(m->conditioning);
    clip_free(m->clip);
    unet_free(m->unet);
    vae_free(m->vae);
    checkpoint_free(m->cp);
    free(m);
}

const struct pictor_model_info *pictor_model_info(const struct pictor_model *m)
{
    return &m->info;
}
