/* weights.c: The checkpoint is mapped, so packing a matrix again reads its tensors
 * from the page cache, as long as the system keeps them there. */
#include "engine/model/weights.h"

#include <stdlib.h>
#include <string.h>

struct weights_entry {
    struct matrix *m;
    int count;
    bool changed; /* something is merged into it */
    bool lean;    /* read in place, by turns with what is not */
    bool resting;
    struct raw_tensor tensors[WEIGHTS_PARTS], biases[WEIGHTS_PARTS];
    struct matrix_more *more[WEIGHTS_PARTS]; /* what is added whenever they are read, or NULL */
    size_t more_bytes;
};

void weights_free(struct weights *w)
{
    for (size_t i = 0; i < w->count; i++)
        for (int k = 0; k < WEIGHTS_PARTS; k++)
            lora_more_free(w->at[i].more[k]);
    free(w->at);
    *w = (struct weights){0};
}

bool weights_add(struct weights *w, struct matrix *m, const struct raw_tensor *tensors,
                 const struct raw_tensor *biases, int count, bool lean, struct err *err)
{
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        struct weights_entry *at = realloc(w->at, room * sizeof *at);
        if (!at)
            return err_set(err, ERR_INTERNAL, "no memory for a list of weights");
        w->at = at;
        w->room = room;
    }
    struct weights_entry *e = &w->at[w->count++];
    *e = (struct weights_entry){.m = m, .count = count, .lean = lean};
    memcpy(e->tensors, tensors, (size_t)count * sizeof *tensors);
    memcpy(e->biases, biases, (size_t)count * sizeof *biases);
    w->bytes += matrix_bytes(m);
    return true;
}

size_t weights_needed(const struct weights *w)
{
    size_t turns[2] = {0};
    for (size_t i = 0; i < w->count; i++)
        turns[w->at[i].lean] += matrix_mapped(w->at[i].m);
    return w->bytes - (turns[0] < turns[1] ? turns[0] : turns[1]);
}

void weights_rest(struct weights *w)
{
    for (size_t i = 0; i < w->count; i++) {
        matrix_rest(w->at[i].m);
        w->at[i].resting = true;
    }
}

static bool changes(const struct lora_use *loras, size_t count, const struct raw_tensor *t)
{
    for (size_t i = 0; i < count; i++)
        if (lora_changes(&loras[i], t))
            return true;
    return false;
}

/* A tensor's numbers with the LoRAs added; malloc'd. */
static float *merged(struct device *dev, const struct raw_tensor *t, const struct lora_use *loras,
                     size_t count, struct err *err)
{
    size_t n = raw_tensor_count(t);
    float *w = malloc(n * sizeof *w);
    bool ok = w || err_set(err, ERR_TOO_LARGE, "no memory to merge %zu weights", n);
    if (ok)
        raw_tensor_floats(t, 0, n, w);
    for (size_t i = 0; ok && i < count; i++)
        if (lora_changes(&loras[i], t))
            ok = lora_add(&loras[i], dev, t, w, err);
    if (ok)
        return w;
    free(w);
    return NULL;
}

/* Whether all of an entry's weights are in blocks of few bits. */
static bool in_blocks(const struct weights_entry *e)
{
    bool blocks = true;
    for (int i = 0; i < e->count; i++)
        blocks &= dtype_is_small(e->tensors[i].dtype);
    return blocks;
}

/* What changes the parts of an entry: added as they are read, or numbers of their own, of which one
 * is NULL. */
struct changed {
    struct matrix_more *more[WEIGHTS_PARTS];
    float *own[WEIGHTS_PARTS];
    size_t more_bytes;
    bool any;
};

static bool change(const struct weights *w, const struct weights_entry *e, struct device *dev,
                   const struct lora_use *loras, size_t count, struct changed *c, struct err *err)
{
    bool ok = true, beside = w->spare && in_blocks(e);
    for (int i = 0; ok && i < e->count; i++) {
        const struct raw_tensor *t = &e->tensors[i];
        size_t bytes;
        if (!changes(loras, count, t))
            continue;
        c->any = true;
        if (beside && !(ok = lora_more_new(loras, count, t, &c->more[i], &bytes, err)))
            break;
        if (c->more[i])
            c->more_bytes += bytes;
        else
            ok = (c->own[i] = merged(dev, t, loras, count, err)) != NULL;
    }
    return ok;
}

/* Packs an entry's matrix again; NULL loras: as it is in the checkpoint. */
static bool pack(struct weights *w, struct weights_entry *e, struct device *dev,
                 const struct checkpoint *cp, const struct lora_use *loras, size_t lora_count,
                 struct err *err)
{
    struct matrix_part parts[WEIGHTS_PARTS];
    struct changed c = {.any = false};
    bool ok = change(w, e, dev, loras, lora_count, &c, err);
    for (int i = 0; ok && i < e->count; i++) {
        const struct raw_tensor *t = &e->tensors[i], *b = &e->biases[i];
        parts[i] = (struct matrix_part){.n = (int)t->shape[0],
                                        .dtype = t->dtype,
                                        .bias_dtype = b->dtype,
                                        .w = t->data,
                                        .bias = b->data,
                                        .scale = t->scale,
                                        .stays = true,
                                        .lean = e->lean,
                                        .more = c.more[i],
                                        .scales = t->scales,
                                        .first_row = t->first_row};
        if (!c.own[i])
            continue;
        parts[i].dtype = DTYPE_F32;
        parts[i].w = c.own[i];
        parts[i].scale = 0;
        parts[i].scales = NULL;
        parts[i].stays = false;
    }
    if (ok) {
        w->bytes -= matrix_bytes(e->m);
        ok = matrix_refill(dev, e->m, parts, e->count, err);
        w->bytes += matrix_bytes(e->m); /* more, where it was quantised and is not now */
        e->changed = ok ? c.any : e->changed;
        e->resting = !ok && e->resting;
    }
    if (ok) {
        w->bytes += c.more_bytes - e->more_bytes;
        e->more_bytes = c.more_bytes;
    }
    for (int i = 0; i < e->count; i++) {
        struct matrix_more *old = ok ? e->more[i] : c.more[i];
        if (ok)
            e->more[i] = c.more[i];
        lora_more_free(old);
        free(c.own[i]);
        checkpoint_release(cp, &e->tensors[i]);
    }
    return ok;
}

bool weights_merge(struct weights *w, struct device *dev, const struct checkpoint *cp,
                   const struct lora_use *loras, size_t lora_count, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; i < w->count && ok; i++) {
        struct weights_entry *e = &w->at[i];
        bool touched = e->changed || e->resting;
        for (int k = 0; k < e->count && !touched; k++)
            touched = changes(loras, lora_count, &e->tensors[k]);
        if (touched)
            ok = pack(w, e, dev, cp, loras, lora_count, err);
    }
    for (size_t i = 0; i < w->count && !ok; i++)
        if (w->at[i].changed)
            pack(w, &w->at[i], dev, cp, NULL, 0, NULL);
    return ok;
}
