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
    if (!(e->dev = device_new(&device, err))) {
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
    arena_free(&e->arena);
    pictor_upscaler_free(e->upscaler);
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

void model_begin(struct pictor_engine *e)
{
    atomic_store(&e->cancel, false);
    atomic_store(&e->interrupt, false);
    device_heed(e->dev, &e->cancel);
}

bool model_end(struct pictor_engine *e, bool ok, struct pictor_image *painted, struct err *err)
{
    bool stopped = device_stopped(e->dev);
    device_heed(e->dev, NULL);
    arena_rest(&e->arena);
    if (!stopped || (!ok && err->code == ERR_CANCELLED))
        return ok;
    pictor_image_free(painted);
    return err_set(err, ERR_CANCELLED, "cancelled");
}

uint64_t pictor_engine_beats(const struct pictor_engine *e)
{
    return device_beats(e->dev);
}

/* ---- models ---- */

static struct checkpoint *open_checkpoint(const struct pictor_files *files, struct err *err)
{
    if (files->count > 0)
        return checkpoint_open_files(files, err);
    size_t size;
    const void *data = builtin_model(&size);
    return checkpoint_open_memory(data, size, err);
}

bool pictor_model_probe(const char *path, struct pictor_model_info *out, struct err *err)
{
    struct family_facts facts;
    struct pictor_files files;
    if (!pictor_files_open(path, &files, err))
        return false;
    struct checkpoint *cp =
        files.count > 0 ? checkpoint_open_headers(&files, err) : open_checkpoint(&files, err);
    const struct family *family = cp ? family_of(cp, err) : NULL;
    bool ok = (family && family->read(cp, &facts, err)) || err_about(err, path);
    if (ok)
        *out = facts.info;
    checkpoint_free(cp);
    pictor_files_close(&files);
    return ok;
}

/* Takes `cp`, which may be NULL: then it could not be opened, and `err` is set. */
static struct pictor_model *open_model(struct pictor_engine *engine, struct checkpoint *cp,
                                       struct err *err)
{
    const struct family *family = cp ? family_of(cp, err) : NULL;
    struct pictor_model *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        checkpoint_free(cp);
        return NULL;
    }
    m->engine = engine;
    m->cp = cp;
    arena_free(&engine->arena); /* the weights may need the room */
    if (!family || !(m->family = family->open(engine->dev, cp, err)))
        goto fail;
    size_t bytes = m->family->facts.info.weight_bytes;
    if (engine->memory_limit && bytes > engine->memory_limit) {
        err_set(err, ERR_TOO_LARGE, "the model's weights take %zu MiB, the memory limit is %zu MiB",
                bytes >> 20, engine->memory_limit >> 20);
        goto fail;
    }
    return m;
fail:
    pictor_model_free(m);
    return NULL;
}

struct pictor_model *pictor_model_open_files(struct pictor_engine *engine,
                                             const struct pictor_files *files, struct err *err)
{
    return open_model(engine, open_checkpoint(files, err), err);
}

struct pictor_model *pictor_model_open(struct pictor_engine *engine, const char *path,
                                       struct err *err)
{
    struct pictor_files files;
    if (!pictor_files_open(path, &files, err))
        return NULL;
    struct pictor_model *model = pictor_model_open_files(engine, &files, err);
    pictor_files_close(&files);
    return model;
}

/* Weights in blocks of few bits are packed where a LoRA changes them, as long as there is memory
 * for that; then they stay as they are, and it is added as they are read. */
bool pictor_model_merge(struct pictor_model *m, const struct pictor_lora *loras, size_t count,
                        struct err *err)
{
    const struct family *family = m->family->family;
    size_t bytes, limit = m->engine->memory_limit;
    if (!family->merge)
        return count == 0 || err_set(err, ERR_UNSUPPORTED, "a model of the family %s takes no LoRA",
                                     family->name);
    m->family->spare = m->family->spare && count;
    for (;;) {
        bool ok = family->merge(m->family, loras, count, err);
        bytes = m->family->facts.info.weight_bytes;
        if (ok && (count == 0 || limit == 0 || bytes <= limit))
            return true;
        if (ok) {
            family->merge(m->family, NULL, 0, NULL);
            err_set(err, ERR_TOO_LARGE,
                    "the model with LoRAs merged takes %zu MiB, the memory limit is %zu MiB",
                    bytes >> 20, limit >> 20);
        }
        if (err->code != ERR_TOO_LARGE || m->family->spare || limit == 0)
            return false;
        m->family->spare = true;
    }
}

bool pictor_model_control(struct pictor_model *m, const struct pictor_control_file *files,
                          size_t count, struct err *err)
{
    const struct family *family = m->family->family;
    m->control_count = 0;
    arena_free(&m->engine->arena); /* the weights may need the room */
    if (!family->control)
        return count == 0 || err_set(err, ERR_UNSUPPORTED,
                                     "a model of the family %s takes no ControlNet", family->name);
    if (!family->control(m->family, files, count, err))
        return false;
    size_t bytes = m->family->facts.info.weight_bytes, limit = m->engine->memory_limit;
    if (count > 0 && limit > 0 && bytes > limit) {
        family->control(m->family, NULL, 0, NULL);
        return err_set(err, ERR_TOO_LARGE,
                       "the model and its ControlNets take %zu MiB, the memory limit is %zu MiB",
                       bytes >> 20, limit >> 20);
    }
    m->control_count = count;
    return true;
}

bool pictor_model_embed(struct pictor_model *m, const struct pictor_embedding *list, size_t count,
                        struct err *err)
{
    const struct family *family = m->family->family;
    return !family->embed || family->embed(m->family, list, count, err);
}

bool pictor_model_rest(struct pictor_model *m)
{
    const struct family *family = m->family->family;
    if (!family->rest)
        return false;
    if (!m->resting)
        family->rest(m->family);
    m->resting = true;
    return true;
}

bool model_wake(struct pictor_model *m, struct err *err)
{
    if (m->resting && !m->family->family->wake(m->family, err))
        return false;
    m->resting = false;
    return true;
}

bool pictor_model_previews(struct pictor_model *m, const struct pictor_control_file *file,
                           struct err *err)
{
    const struct family *family = m->family->family;
    m->tiny = false;
    if (!family->tiny)
        return !file || err_set(err, ERR_UNSUPPORTED,
                                "previews of the family %s take no tiny autoencoder", family->name);
    if (!family->tiny(m->family, file, err))
        return false;
    m->tiny = file;
    return true;
}

void pictor_model_free(struct pictor_model *m)
{
    if (!m)
        return;
    arena_free(&m->engine->arena);
    if (m->family)
        m->family->family->free(m->family);
    checkpoint_free(m->cp);
    free(m);
}

const struct pictor_model_info *pictor_model_info(const struct pictor_model *m)
{
    return &m->family->facts.info;
}
