/* t5.c: pre-norm transformer without positions: how far words are from each other is a number that
 * is added to what a head's query and key score, by the table of the first layer. Scores are not
 * divided by the root of a head's channels. */
#include "engine/model/t5.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model/layers.h"

#define MAX_LAYERS 128
#define NAME_SIZE 128
#define EPS 1e-6f
#define FAR 128 /* from this distance on all are one bucket's */

struct layer {
    float *norm1, *norm2; /* [width] */
    struct matrix *qkv, *out, *up, *down;
};

struct t5 {
    struct t5_config c;
    struct raw_tensor tokens; /* [vocab, width], in the checkpoint */
    float *distances;         /* [buckets, heads] */
    float *final;             /* [width] */
    struct layer layer[MAX_LAYERS];
};

/* ---- sizes ---- */

static bool sizes(const struct checkpoint *cp, const char *name, int *out, struct err *err)
{
    char full[NAME_SIZE];
    snprintf(full, sizeof full, T5_ROOT "%s.weight", name);
    return checkpoint_sizes(cp, full, 2, out, err);
}

static const char *table(const struct checkpoint *cp)
{
    return checkpoint_find(cp, T5_ROOT "shared.weight") ? "shared" : "encoder.embed_tokens";
}

bool t5_read(const struct checkpoint *cp, struct t5_config *c, struct err *err)
{
    int tokens[2] = {0}, q[2] = {0}, distances[2] = {0}, up[2] = {0};
    *c = (struct t5_config){0};
    if (checkpoint_find(cp, T5_ROOT "encoder.block.0.layer.1.DenseReluDense.wi.weight"))
        return err_set(err, ERR_UNSUPPORTED,
                       "text encoder: wanted T5 1.1, whose feed-forwards are gated; this is an "
                       "older T5");
    if (!sizes(cp, table(cp), tokens, err) ||
        !sizes(cp, "encoder.block.0.layer.0.SelfAttention.q", q, err) ||
        !sizes(cp, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", distances,
               err) ||
        !sizes(cp, "encoder.block.0.layer.1.DenseReluDense.wi_0", up, err))
        return false;
    c->vocab = tokens[0];
    c->width = tokens[1];
    c->ff = up[0];
    c->buckets = distances[0];
    c->heads = distances[1];
    c->head = q[0] / c->heads;
    while (c->layers <= MAX_LAYERS &&
           checkpoint_findf(cp, T5_ROOT "encoder.block.%d.layer.1.DenseReluDense.wi_0.weight",
                            c->layers))
        c->layers++;
    if (q[0] % c->heads || c->buckets < 4 || c->buckets % 4 || c->buckets > 2 * FAR)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted whole heads and 4..%d buckets of distances, found %d "
                       "channels for %d heads, and %d",
                       2 * FAR, q[0], c->heads, c->buckets);
    if (c->layers > MAX_LAYERS || c->width > LAYERS_MAX_WIDTH || c->width % 32 || c->ff % 32 ||
        c->ff > LAYERS_MAX_K || c->head > LAYERS_MAX_HEAD || q[0] % 32 || q[0] > LAYERS_MAX_K)
        return err_set(
            err, ERR_UNSUPPORTED,
            "text encoder of %d layers, width %d, %d heads of %d, %d inside: wanted at most %d "
            "layers, widths in multiples of 32 up to %d, and heads of at most %d",
            c->layers, c->width, c->heads, c->head, c->ff, MAX_LAYERS, LAYERS_MAX_WIDTH,
            LAYERS_MAX_HEAD);
    return true;
}

/* ---- loading ---- */

static void load_layer(struct loader *l, const struct t5_config *c, int i, struct layer *y)
{
    static const char *const qkv[] = {"0.SelfAttention.q", "0.SelfAttention.k",
                                      "0.SelfAttention.v"};
    static const char *const up[] = {"1.DenseReluDense.wi_0", "1.DenseReluDense.wi_1"};
    const size_t width[1] = {(size_t)c->width};
    int inner = c->heads * c->head;
    char p[NAME_SIZE];
    snprintf(p, sizeof p, T5_ROOT "encoder.block.%d.layer.", i);
    y->norm1 = layers_floats(l, p, "0.layer_norm.weight", 1, width);
    y->norm2 = layers_floats(l, p, "1.layer_norm.weight", 1, width);
    y->qkv = layers_stacked(l, p, qkv, 3, inner, c->width, false);
    y->out = layers_linear(l, p, "0.SelfAttention.o", c->width, inner, false);
    y->up = layers_parts(l, MATRIX_GATED_TANH, p, up, (int[]){c->ff, c->ff}, 2, c->width);
    y->down = layers_linear(l, p, "1.DenseReluDense.wo", c->width, c->ff, false);
}

struct t5 *t5_load(struct device *dev, const struct checkpoint *cp, const struct t5_config *config,
                   struct weights *weights, struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights, .lean = true};
    struct t5 *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(err, ERR_INTERNAL, "no memory for a text encoder");
        return NULL;
    }
    t->c = *config;
    const size_t shape[2] = {(size_t)config->vocab, (size_t)config->width};
    const size_t distances[2] = {(size_t)config->buckets, (size_t)config->heads};
    char name[NAME_SIZE];
    snprintf(name, sizeof name, T5_ROOT "%s.weight", table(cp));
    l.failed = !checkpoint_get(cp, name, 2, shape, &t->tokens, err);
    t->distances = layers_floats(
        &l, T5_ROOT, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 2,
        distances);
    for (int i = 0; i < config->layers && !l.failed; i++)
        load_layer(&l, config, i, &t->layer[i]);
    t->final = layers_floats(&l, T5_ROOT, "encoder.final_layer_norm.weight", 1, shape + 1);
    if (!l.failed)
        return t;
    t5_free(t);
    return NULL;
}

void t5_free(struct t5 *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->c.layers; i++) {
        struct layer *y = &t->layer[i];
        free(y->norm1);
        free(y->norm2);
        matrix_free(y->qkv);
        matrix_free(y->out);
        matrix_free(y->up);
        matrix_free(y->down);
    }
    free(t->distances);
    free(t->final);
    free(t);
}

int t5_width(const struct t5 *t)
{
    return t->c.width;
}

int t5_vocab(const struct t5 *t)
{
    return t->c.vocab;
}

/* ---- running ---- */

/* The bucket of a key that is `far` tokens behind its query: half of them for either side, of which
 * the first half are single distances, and the others grow up to FAR. */
static int bucket_of(int far, int buckets)
{
    int side = buckets / 2, single = side / 2, n = abs(far);
    int base = far > 0 ? side : 0;
    if (n < single)
        return base + n;
    /* In floats, as the original has it: where one bucket ends is a matter of rounding. */
    float share = logf((float)n / (float)single) / (float)log((double)FAR / single);
    int bucket = single + (int)(share * (float)(side - single));
    return base + (bucket < side - 1 ? bucket : side - 1);
}

/* [heads, 2 n - 1] for attention over n tokens. */
static float *distances_of(struct ops *o, const struct t5 *t, int n)
{
    size_t all = (size_t)(2 * n - 1), heads = (size_t)t->c.heads;
    float *out = arena_alloc(o->arena, heads * all, sizeof *out);
    for (size_t i = 0; i < all && !arena_planning(o->arena); i++) {
        size_t bucket = (size_t)bucket_of((int)i - (n - 1), t->c.buckets);
        for (size_t h = 0; h < heads; h++)
            out[h * all + i] = t->distances[bucket * heads + h];
    }
    return out;
}

static void run_layer(struct ops *o, const struct t5 *t, const struct layer *y,
                      const float *distances, struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    const struct t5_config *c = &t->c;
    int n = x->w, inner = c->heads * c->head;
    struct epilogue onto_x = {.residual = x};
    struct attention_how how = {.heads = c->heads, .plain = true, .distance = distances};
    struct tensor h = tensor_new(o->arena, x->dtype, 1, 1, n, c->width, 0);
    size_t half = arena_mark(o->arena);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, n, 3 * inner, 0);
    struct tensor mixed = tensor_new(o->arena, x->dtype, 1, 1, n, inner, 0);
    struct tensor q = tensor_slice(&qkv, 0, inner), k = tensor_slice(&qkv, inner, inner),
                  v = tensor_slice(&qkv, 2 * inner, inner);
    ops_rms_norm(o, &h, x, 0, EPS, y->norm1);
    ops_linear(o, &qkv, &h, y->qkv, NULL);
    ops_attend(o, &mixed, &q, &k, &v, &how);
    ops_linear(o, x, &mixed, y->out, &onto_x);
    arena_reset(o->arena, half);
    struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, n, c->ff, 0);
    ops_rms_norm(o, &h, x, 0, EPS, y->norm2);
    ops_linear(o, &inside, &h, y->up, NULL);
    ops_linear(o, x, &inside, y->down, &onto_x);
    arena_reset(o->arena, mark);
}

void t5_encode(struct ops *o, const struct t5 *t, const int *ids, int n, float *out)
{
    size_t mark = arena_mark(o->arena), width = (size_t)t->c.width;
    assert(n > 0);
    float *distances = distances_of(o, t, n);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, n, t->c.width, 0);
    size_t embedding = arena_mark(o->arena);
    float *rows = arena_alloc(o->arena, (size_t)n * width, sizeof *rows);
    for (int i = 0; i < n && !arena_planning(o->arena); i++) {
        assert(ids[i] >= 0 && ids[i] < t->c.vocab);
        raw_tensor_floats(&t->tokens, (size_t)ids[i] * width, width, rows + (size_t)i * width);
    }
    ops_from_floats(o, &x, rows);
    arena_reset(o->arena, embedding);
    for (int i = 0; i < t->c.layers; i++)
        run_layer(o, t, &t->layer[i], distances, &x);
    ops_rms_norm(o, &x, &x, 0, EPS, t->final);
    ops_to_floats(o, out, &x);
    arena_reset(o->arena, mark);
}
