/* clip.c: Pre-norm transformer with causal attention. */
#include "engine/model/clip.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define MAX_LAYERS 64
#define VOCAB CLIP_VOCAB
#define POSITIONS 77
#define NAME_SIZE 128

struct layer {
    struct norm norm1, norm2;
    struct matrix *qkv, *out, *up, *down;
};

struct clip {
    int width, heads, layers, vocab, positions, projected;
    enum activation act;
    bool bare;
    struct raw_tensor tokens; /* [vocab, width], in the checkpoint */
    float *places;            /* [positions, width] */
    struct layer layer[MAX_LAYERS];
    struct norm final;
    float *projection; /* [projected, width]; NULL: there is none, or of `projected` not 0 one that
                          changes nothing */
};

/* ---- sizes ---- */

static const char *named(char *buf, const char *root, const char *name)
{
    snprintf(buf, NAME_SIZE, "%s%s", root, name);
    return buf;
}

static bool sizes(const struct checkpoint *cp, const char *root, const char *name, int *out,
                  struct err *err)
{
    char full[NAME_SIZE];
    return checkpoint_sizes(cp, named(full, root, name), 2, out, err);
}

static bool has(const struct checkpoint *cp, const char *root, const char *name)
{
    char full[NAME_SIZE];
    return checkpoint_find(cp, named(full, root, name));
}

/* OpenCLIP multiplies by its projection from the other side. */
static bool read_projection(const struct checkpoint *cp, struct clip_config *c, struct err *err)
{
    int shape[2];
    if (has(cp, c->root, "text_projection")) {
        if (!sizes(cp, c->root, "text_projection", shape, err))
            return false;
        c->projection = shape[1];
    } else if (has(cp, c->root, "text_projection.weight")) {
        if (!sizes(cp, c->root, "text_projection.weight", shape, err))
            return false;
        c->projection = shape[0];
    }
    return true;
}

bool clip_read(const struct checkpoint *cp, const char *root, struct clip_config *c,
               struct err *err)
{
    int token[2] = {0}, position[2] = {0}, fc1[2] = {0};
    *c = (struct clip_config){.root = root};
    if (!sizes(cp, root, "text_model.embeddings.token_embedding.weight", token, err) ||
        !sizes(cp, root, "text_model.embeddings.position_embedding.weight", position, err) ||
        !sizes(cp, root, "text_model.encoder.layers.0.mlp.fc1.weight", fc1, err) ||
        !read_projection(cp, c, err))
        return false;
    c->vocab = token[0];
    c->width = token[1];
    c->positions = position[0];
    c->ff = fc1[0];
    c->heads = c->width < 128 ? 1 : c->width / 64;
    while (c->layers <= MAX_LAYERS &&
           checkpoint_findf(cp, "%stext_model.encoder.layers.%d.mlp.fc1.weight", root, c->layers))
        c->layers++;
    c->fused = has(cp, root, "text_model.encoder.layers.0.self_attn.in_proj.weight");
    if (c->vocab < VOCAB || c->positions < POSITIONS || c->width % c->heads != 0)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted %d tokens, %d positions and a width that %d heads "
                       "divide, found %d, %d and %d",
                       VOCAB, POSITIONS, c->heads, c->vocab, c->positions, c->width);
    return true;
}

/* ---- loading ---- */

static void load_projection(struct loader *l, struct clip *c, const char *root)
{
    size_t out = (size_t)c->projected, in = (size_t)c->width;
    if (!has(l->cp, root, "text_projection")) {
        c->projection = layers_floats(l, root, "text_projection.weight", 2, (size_t[]){out, in});
        return;
    }
    float *turned = layers_floats(l, root, "text_projection", 2, (size_t[]){in, out});
    c->projection = turned ? malloc(in * out * sizeof *turned) : NULL;
    if (turned && !c->projection)
        l->failed = !err_set(l->err, ERR_INTERNAL, "no memory for a text encoder's projection");
    for (size_t i = 0; c->projection && i < out; i++)
        for (size_t j = 0; j < in; j++)
            c->projection[i * in + j] = turned[j * out + i];
    free(turned);
}

struct clip *clip_load(struct device *dev, const struct checkpoint *cp,
                       const struct clip_config *config, struct weights *weights, struct err *err)
{
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct clip *c = calloc(1, sizeof *c);
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for a text encoder");
        return NULL;
    }
    int w = c->width = config->width, ff = config->ff;
    c->heads = config->heads;
    c->layers = config->layers;
    c->vocab = config->vocab;
    c->positions = config->positions;
    c->act = config->act;
    c->bare = config->bare;
    c->projected = config->plain ? w : config->projection;
    if (c->layers > MAX_LAYERS || w > LAYERS_MAX_WIDTH || w % 32 || w % c->heads ||
        w / c->heads > LAYERS_MAX_HEAD || ff % 32 || c->projected > LAYERS_MAX_WIDTH) {
        err_set(err, ERR_UNSUPPORTED,
                "text encoder of %d layers, width %d, %d heads, %d inside: wanted at most %d "
                "layers, widths in multiples of 32, and at most %d that the heads divide",
                c->layers, w, c->heads, ff, MAX_LAYERS, LAYERS_MAX_WIDTH);
        c->layers = 0;
        goto fail;
    }
    const size_t token_shape[2] = {(size_t)c->vocab, (size_t)w};
    const size_t place_shape[2] = {(size_t)c->positions, (size_t)w};
    char p[NAME_SIZE];
    if (!checkpoint_get(cp, named(p, config->root, "text_model.embeddings.token_embedding.weight"),
                        2, token_shape, &c->tokens, err))
        goto fail;
    c->places = layers_floats(&l, config->root, "text_model.embeddings.position_embedding.weight",
                              2, place_shape);
    for (int i = 0; i < c->layers; i++) {
        struct layer *y = &c->layer[i];
        snprintf(p, sizeof p, "%stext_model.encoder.layers.%d.", config->root, i);
        y->norm1 = layers_norm(&l, p, "layer_norm1", w);
        y->qkv = config->fused ? layers_linear(&l, p, "self_attn.in_proj", 3 * w, w, true)
                               : layers_stacked(&l, p, qkv, 3, w, w, true);
        y->out = layers_linear(&l, p, "self_attn.out_proj", w, w, true);
        y->norm2 = layers_norm(&l, p, "layer_norm2", w);
        y->up = layers_linear(&l, p, "mlp.fc1", ff, w, true);
        y->down = layers_linear(&l, p, "mlp.fc2", w, ff, true);
    }
    c->final = layers_norm(&l, config->root, "text_model.final_layer_norm", w);
    if (c->projected && !config->plain)
        load_projection(&l, c, config->root);
    if (l.failed)
        goto fail;
    return c;
fail:
    clip_free(c);
    return NULL;
}

void clip_free(struct clip *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->layers; i++) {
        struct layer *y = &c->layer[i];
        layers_norm_free(&y->norm1);
        layers_norm_free(&y->norm2);
        matrix_free(y->qkv);
        matrix_free(y->out);
        matrix_free(y->up);
        matrix_free(y->down);
    }
    layers_norm_free(&c->final);
    free(c->projection);
    free(c->places);
    free(c);
}

int clip_width(const struct clip *c)
{
    return c->width;
}

int clip_projection(const struct clip *c)
{
    return c->projected;
}

/* ---- running ---- */

/* Sums of tokens and places. */
static void embed(const struct clip *c, const int *ids, int n, const float *own, float *out)
{
    size_t width = (size_t)c->width;
    for (int i = 0; i < n; i++, out += width) {
        assert(ids[i] >= 0 && (own || ids[i] < VOCAB));
        if (ids[i] >= VOCAB)
            memcpy(out, own + (size_t)(ids[i] - VOCAB) * width, width * sizeof *out);
        else
            raw_tensor_floats(&c->tokens, (size_t)ids[i] * width, width, out);
        for (size_t j = 0; j < width; j++)
            out[j] += c->places[(size_t)i * width + j];
    }
}

static void run_layer(struct ops *o, const struct clip *c, const struct layer *y, struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    int n = x->w, width = c->width;
    struct tensor h = tensor_new(o->arena, x->dtype, 1, 1, n, width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, n, 3 * width, 0);
    struct tensor q = tensor_slice(&qkv, 0, width), k = tensor_slice(&qkv, width, width),
                  v = tensor_slice(&qkv, 2 * width, width);
    struct epilogue onto_x = {.residual = x}, act = {.act = c->act};
    layers_layer_norm(o, &h, x, &y->norm1);
    ops_linear(o, &qkv, &h, y->qkv, NULL);
    ops_attention(o, &h, &q, &k, &v, c->heads, true);
    ops_linear(o, x, &h, y->out, &onto_x);
    layers_layer_norm(o, &h, x, &y->norm2);
    struct tensor wide = tensor_new(o->arena, x->dtype, 1, 1, n, matrix_rows(y->up), 0);
    ops_linear(o, &wide, &h, y->up, &act);
    ops_linear(o, x, &wide, y->down, &onto_x);
    arena_reset(o->arena, mark);
}

/* x as floats [n, width], through the final layer norm or not. */
static void put(struct ops *o, const struct clip *c, const struct tensor *x, bool normed,
                float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor last = *x;
    if (normed) {
        last = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
        layers_layer_norm(o, &last, x, &c->final);
    }
    ops_to_floats(o, out, &last);
    arena_reset(o->arena, mark);
}

static void pool(struct ops *o, const struct clip *c, const int *ids, const struct tensor *x,
                 float *pooled)
{
    size_t width = (size_t)c->width;
    float *states = arena_alloc(o->arena, (size_t)x->w * width, sizeof *states);
    put(o, c, x, true, states);
    if (arena_planning(o->arena))
        return;
    int end = 0; /* the end token has the largest id of all tokens */
    for (int i = 1; i < x->w; i++)
        if (ids[i] > ids[end] && ids[i] < VOCAB)
            end = i;
    const float *state = states + (size_t)end * width, *row = c->projection;
    if (!row)
        memcpy(pooled, state, width * sizeof *pooled);
    for (int i = 0; row && i < c->projected; i++, row += width) {
        double sum = 0;
        for (size_t j = 0; j < width; j++)
            sum += (double)row[j] * state[j];
        pooled[i] = (float)sum;
    }
}

void clip_encode(struct ops *o, const struct clip *c, const int *ids, int n, const float *own,
                 int skip, float *out, float *pooled)
{
    assert(n > 0 && n <= c->positions && skip >= 1 && skip <= c->layers);
    size_t mark = arena_mark(o->arena);
    float *embedded = arena_alloc(o->arena, (size_t)n * (size_t)c->width, sizeof *embedded);
    if (!arena_planning(o->arena))
        embed(c, ids, n, own, embedded);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, n, c->width, 0);
    int read = c->layers - (skip - 1);
    ops_from_floats(o, &x, embedded);
    for (int i = 0; i < read; i++)
        run_layer(o, c, &c->layer[i], &x);
    put(o, c, &x, !c->bare, out);
    if (c->projected) {
        for (int i = read; i < c->layers; i++)
            run_layer(o, c, &c->layer[i], &x);
        pool(o, c, ids, &x, pooled);
    }
    arena_reset(o->arena, mark);
}
