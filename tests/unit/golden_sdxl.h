/* golden_sdxl.h: the small SDXL model of tests/golden/sdxl as a single file: its text encoders and
 * UNet are sdxl/weights.safetensors, in the refiner some of them from sdxl/refiner.safetensors, the
 * table of tokens and the autoencoder those of the tiny SD 1.x model. */
#ifndef PICTOR_TESTS_UNIT_GOLDEN_SDXL_H
#define PICTOR_TESTS_UNIT_GOLDEN_SDXL_H

#include "tests/unit/golden_model.h"

#define SDXL "tests/golden/sdxl/"
#define FIRST "conditioner.embedders.0."
#define SECOND "conditioner.embedders.1."
#define PROMPT "a photo of an astronaut riding a horse on mars"
#define CAT "a cat \xf0\x9f\x90\xb1 and a dog\xf0\x9f\x90\xb6!"

enum { NARROW = 64, WIDE = 128, TOKENS_A_CHUNK = 77 }; /* states of one text encoder, of two */

static inline bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static inline void add_marker(struct file *f, const char *name)
{
    static unsigned char nothing[4];
    struct raw_tensor t = {.dtype = DTYPE_F32, .data = nothing, .bytes = 4};
    file_add(f, name, "", -1, &t);
}

/* The refiner's one text encoder is SDXL's second, and is called the first. */
static inline void add_for_refiner(struct file *f, const struct raw_tensor *t,
                                   const struct safetensors *refiner)
{
    char name[160];
    const struct raw_tensor *other = safetensors_find(refiner, t->name);
    if (starts(t->name, SECOND)) {
        snprintf(name, sizeof name, FIRST "%s", t->name + strlen(SECOND));
        file_add_whole(f, name, t);
    } else if (!starts(t->name, FIRST)) {
        file_add_whole(f, t->name, other ? other : t);
    }
}

/* `markers`: names of empty tensors, which end with a NULL. */
static inline unsigned char *single_bytes(bool refiner, const char *metadata,
                                          const char *const *markers, size_t *size)
{
    struct safetensors *tiny = open_file(TINY), *sdxl = open_file(SDXL "weights.safetensors"),
                       *other = open_file(SDXL "refiner.safetensors");
    struct file f = file_new(metadata);
    for (size_t i = 0; i < safetensors_count(sdxl); i++) {
        const struct raw_tensor *t = safetensors_at(sdxl, i);
        if (refiner)
            add_for_refiner(&f, t, other);
        else
            file_add_whole(&f, t->name, t);
    }
    for (size_t i = 0; i < safetensors_count(tiny); i++) {
        const struct raw_tensor *t = safetensors_at(tiny, i);
        if (starts(t->name, "first_stage_model."))
            file_add_whole(&f, t->name, t);
    }
    const struct raw_tensor *tokens = want(tiny, TOKENS);
    if (refiner) {
        file_add_whole(&f, FIRST "model.token_embedding.weight", tokens);
    } else {
        file_add_whole(&f, FIRST "transformer.text_model.embeddings.token_embedding.weight",
                       tokens);
        file_add_whole(&f, SECOND "model.token_embedding.weight", tokens);
    }
    for (; *markers; markers++)
        add_marker(&f, *markers);
    unsigned char *bytes = file_bytes(&f, size);
    safetensors_close(other);
    safetensors_close(sdxl);
    safetensors_close(tiny);
    return bytes;
}

static inline struct checkpoint *single_file(bool refiner, const char *metadata,
                                             const char *const *markers, unsigned char **bytes)
{
    struct err err;
    size_t size;
    *bytes = single_bytes(refiner, metadata, markers, &size);
    struct checkpoint *cp = checkpoint_open_memory(*bytes, size, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    return cp;
}

/* Columns [from, from + width) of a golden tensor's rows. */
static inline float *columns(const struct raw_tensor *t, int from, int width)
{
    size_t rows = t->shape[0], all = t->shape[1];
    float *whole = floats_of(t), *out = malloc(rows * (size_t)width * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < rows; i++)
        memcpy(out + i * (size_t)width, whole + i * all + from, (size_t)width * sizeof *out);
    free(whole);
    return out;
}

/* One of the golden tensors' prompts as the network takes it. Owns its numbers. */
static inline struct family_words golden_words(const struct fixture *f, const char *prompt,
                                               int width, bool negative)
{
    char name[64];
    snprintf(name, sizeof name, "%s.states", prompt);
    struct family_words words = {.tokens = TOKENS_A_CHUNK, .negative = negative};
    words.states = columns(want(f->golden, name), WIDE - width, width);
    snprintf(name, sizeof name, "%s.pooled", prompt);
    words.pooled = floats_of(want(f->golden, name));
    return words;
}

static inline void words_free(struct family_words *words)
{
    free((float *)words->states);
    free((float *)words->pooled);
}

#endif
