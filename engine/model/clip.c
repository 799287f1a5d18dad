/* clip.c: Pre-norm transformer with causal attention. */
#include "engine/model/clip.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model/layers.h"

#define MAX_LAYERS 64
#define VOCAB 49408 /* which the tokenizer's ids index */
#define POSITIONS 77
#define ROOT "cond_stage_model.transformer.text_model."

struct layer {
    struct norm norm1, norm2;
    struct matrix *qkv, *out, *up, *down;
};

struct clip {
    int width, heads, layers, vocab, positions;
    enum activation act;
    struct raw_tensor tokens; /* [vocab, width], in the checkpoint */
    float *places;            /* [positions, width] */
    struct layer layer[MAX_LAYERS];
    struct norm final;
};

bool clip_read(const struct checkpoint *cp, struct clip_config *c, struct err *err)
{
    int token[2] = {0}, position[2] = {0}, fc1[2] = {0};
    *c = (struct clip_config){0};
    if (!checkpoint_sizes(cp, ROOT "embeddings.token_embedding.weight", 2, token, err) ||
        !checkpoint_sizes(cp, ROOT "embeddings.position_embedding.weight", 2, position, err) ||
        !checkpoint_sizes(cp, ROOT "encoder.layers.0.mlp.fc1.weight", 2, fc1, err))
        return false;
    c->vocab = token[0];
    c->width = token[1];
    c->positions = position[0];
    c->ff = fc1[0];
    c->heads = c->width < 128 ? 1 : c->width / 64;
    while (c->layers <= MAX_LAYERS &&
           checkpoint_findf(cp, ROOT "encoder.layers.%d.mlp.fc1.weight", c->layers))
        c->layers++;
    c->fused = checkpoint_find(cp, ROOT "encoder.layers.0.self_attn.in_proj.weight");
    if (c->vocab < VOCAB || c->positions < POSITIONS || c->width % c->heads != 0)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted %d tokens, %d positions and a width that %d heads "
                       "divide, found %d, %d and %d",
                       VOCAB, POSITIONS, c->heads, c->vocab, c->positions, c->width);
    return true;
}

struct clip *clip_load(struct device *dev, const struct checkpoint *cp,
                       const struct clip_config *config, size_t *bytes, struct err *err)
{
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    struct loader l = {.dev = dev, .cp = cp, .err = err};
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
    if (c->layers > MAX_LAYERS || w > LAYERS_MAX_WIDTH || w % 32 || w % c->heads ||
        w / c->heads > LAYERS_MAX_HEAD || ff % 32) {
        err_set(err, ERR_UNSUPPORTED,
                "text encoder of %d layers, width %d, %d heads, %d inside: wanted at most %d "
                "layers, widths in multiples of 32, and at most %d that the heads divide",
                c->layers, w, c->heads, ff, MAX_LAYERS, LAYERS_MAX_WIDTH);
        c->layers = 0;
        goto fail;
    }
    const size_t token_shape[2] = {(size_t)c->vocab, (size_t)w};
    const size_t place_shape[2] = {(size_t)c->positions, (size_t)w};
    if (!checkpoint_get(cp, ROOT "embeddings.token_embedding.weight", 2, token_shape, &c->tokens,
                        err))
        goto fail;
    c->places = layers_floats(&l, ROOT, "embeddings.position_embedding.weight", 2, place_shape);
    for (int i = 0; i < c->layers; i++) {
        struct layer *y = &c->layer[i];
        char p[96];
        snprintf(p, sizeof p, ROOT "encoder.layers.%d.", i);
        y->norm1 = layers_norm(&l, p, "layer_norm1", w);
        y->qkv = config->fused ? layers_linear(&l, p, "self_attn.in_proj", 3 * w, w, true)
                               : layers_stacked(&l, p, qkv, 3, w, w, true);
        y->out = layers_linear(&l, p, "self_attn.out_proj", w, w, true);
        y->norm2 = layers_norm(&l, p, "layer_norm2", w);
        y->up = layers_linear(&l, p, "mlp.fc1", ff, w, true);
        y->down = layers_linear(&l, p, "mlp.fc2", w, ff, true);
    }
    c->final = layers_norm(&l, ROOT, "final_layer_norm", w);
    if (l.failed)
        goto fail;
    *bytes += l.bytes;
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
    free(c->places);
    free(c);
}

int clip_layers(const struct clip *c)
{
    return c->layers;
}

int clip_width(const struct clip *c)
{
    return c->width;
}

void clip_encode(struct ops *o, const struct clip *c, const int *ids, int n, int skip, float *out)
{
    assert(n > 0 && n <= c->positions && skip >= 1 && skip <= c->layers);
    size_t mark = arena_mark(o->arena), width = (size_t)c->width;
    enum dtype dtype = device_dtype(o->dev);
    float *embedded = arena_alloc(o->arena, (size_t)n * width, sizeof *embedded);
    if (!arena_planning(o->arena)) {
        for (int i = 0; i < n; i++) {
            assert(ids[i] >= 0 && ids[i] < c->vocab);
            const unsigned char *row = (const unsigned char *)c->tokens.data +
                                       (size_t)ids[i] * width * dtype_size(c->tokens.dtype);
            dtype_to_f32(c->tokens.dtype, row, embedded + (size_t)i * width, width);
            for (size_t j = 0; j < width; j++)
                embedded[(size_t)i * width + j] += c->places[(size_t)i * width + j];
        }
    }
    struct tensor x = tensor_new(o->arena, dtype, 1, 1, n, c->width, 0);
    struct tensor h = tensor_new(o->arena, dtype, 1, 1, n, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, dtype, 1, 1, n, 3 * c->width, 0);
    struct epilogue onto_x = {.residual = &x}, act = {.act = c->act};
    struct tensor q = tensor_slice(&qkv, 0, c->width), k = tensor_slice(&qkv, c->width, c->width),
                  v = tensor_slice(&qkv, 2 * c->width, c->width);
    ops_from_floats(o, &x, embedded);
    for (int i = 0; i < c->layers - (skip - 1); i++) {
        const struct layer *y = &c->layer[i];
        layers_layer_norm(o, &h, &x, &y->norm1);
        ops_linear(o, &qkv, &h, y->qkv, NULL);
        ops_attention(o, &h, &q, &k, &v, c->heads, true);
        ops_linear(o, &x, &h, y->out, &onto_x);
        layers_layer_norm(o, &h, &x, &y->norm2);
        size_t inner = arena_mark(o->arena);
        struct tensor wide = tensor_new(o->arena, dtype, 1, 1, n, matrix_rows(y->up), 0);
        ops_linear(o, &wide, &h, y->up, &act);
        ops_linear(o, &x, &wide, y->down, &onto_x);
        arena_reset(o->arena, inner);
    }
    struct tensor last = tensor_new(o->arena, x.dtype, 1, 1, n, c->width, 0);
    layers_layer_norm(o, &last, &x, &c->final);
    ops_to_floats(o, out, &last);
    arena_reset(o->arena, mark);
}
