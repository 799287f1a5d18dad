/* qwen3.c: pre-norm transformer with grouped queries, a norm on every head of queries and keys, and
 * rotary positions. */
#include "engine/model/qwen3.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model/layers.h"

#define MAX_LAYERS 128
#define NAME_SIZE 128
#define EPS 1e-6f
#define THETA 1e6 /* base of the rotary angles, of every Qwen3 */

struct layer {
    float *norm1, *norm2;   /* [width] */
    float *norm_q, *norm_k; /* [head] */
    struct matrix *qkv, *out, *up, *down;
};

struct qwen3 {
    struct qwen3_config c;
    struct raw_tensor tokens; /* [vocab, width], in the checkpoint */
    struct layer layer[MAX_LAYERS];
};

/* ---- sizes ---- */

static bool sizes(const struct checkpoint *cp, const char *root, const char *name, int ndim,
                  int *out, struct err *err)
{
    char full[NAME_SIZE];
    snprintf(full, sizeof full, "%s%s.weight", root, name);
    return checkpoint_sizes(cp, full, ndim, out, err);
}

bool qwen3_read(const struct checkpoint *cp, const char *root, struct qwen3_config *c,
                struct err *err)
{
    int tokens[2] = {0}, q[2] = {0}, k[2] = {0}, gate[2] = {0};
    *c = (struct qwen3_config){.root = root};
    if (!sizes(cp, root, "embed_tokens", 2, tokens, err) ||
        !sizes(cp, root, "layers.0.self_attn.q_proj", 2, q, err) ||
        !sizes(cp, root, "layers.0.self_attn.k_proj", 2, k, err) ||
        !sizes(cp, root, "layers.0.self_attn.q_norm", 1, &c->head, err) ||
        !sizes(cp, root, "layers.0.mlp.gate_proj", 2, gate, err))
        return false;
    c->vocab = tokens[0];
    c->width = tokens[1];
    c->ff = gate[0];
    c->heads = q[0] / c->head;
    c->kv_heads = k[0] / c->head;
    while (c->layers <= MAX_LAYERS &&
           checkpoint_findf(cp, "%slayers.%d.mlp.gate_proj.weight", root, c->layers))
        c->layers++;
    c->used = c->layers;
    if (q[0] % c->head || k[0] % c->head || c->kv_heads < 1 || c->heads % c->kv_heads)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted whole heads of %d channels, and so many of queries as "
                       "those of keys divide, found %d channels of queries and %d of keys",
                       c->head, q[0], k[0]);
    if (c->layers > MAX_LAYERS || c->width > LAYERS_MAX_WIDTH || c->width % 32 || c->ff % 32 ||
        c->ff > LAYERS_MAX_K || c->head > LAYERS_MAX_HEAD || c->head % 2 || q[0] % 32 ||
        k[0] % 32 || q[0] > LAYERS_MAX_K)
        return err_set(
            err, ERR_UNSUPPORTED,
            "text encoder of %d layers, width %d, %d heads of %d, %d inside: wanted at "
            "most %d layers, widths in multiples of 32 up to %d, and heads of at most %d",
            c->layers, c->width, c->heads, c->head, c->ff, MAX_LAYERS, LAYERS_MAX_WIDTH,
            LAYERS_MAX_HEAD);
    return true;
}

/* ---- loading ---- */

static void load_layer(struct loader *l, const struct qwen3_config *c, int i, struct layer *y)
{
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    static const char *const up[] = {"mlp.gate_proj", "mlp.up_proj"};
    const size_t width[1] = {(size_t)c->width}, head[1] = {(size_t)c->head};
    int kv = c->kv_heads * c->head;
    char p[NAME_SIZE];
    snprintf(p, sizeof p, "%slayers.%d.", c->root, i);
    y->norm1 = layers_floats(l, p, "input_layernorm.weight", 1, width);
    y->norm2 = layers_floats(l, p, "post_attention_layernorm.weight", 1, width);
    y->norm_q = layers_floats(l, p, "self_attn.q_norm.weight", 1, head);
    y->norm_k = layers_floats(l, p, "self_attn.k_norm.weight", 1, head);
    y->qkv =
        layers_parts(l, MATRIX_LINEAR, p, qkv, (int[]){c->heads * c->head, kv, kv}, 3, c->width);
    y->out = layers_linear(l, p, "self_attn.o_proj", c->width, c->heads * c->head, false);
    y->up = layers_parts(l, MATRIX_SWIGLU, p, up, (int[]){c->ff, c->ff}, 2, c->width);
    y->down = layers_linear(l, p, "mlp.down_proj", c->width, c->ff, false);
}

struct qwen3 *qwen3_load(struct device *dev, const struct checkpoint *cp,
                         const struct qwen3_config *config, struct weights *weights,
                         struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights, .lean = true};
    struct qwen3 *q = calloc(1, sizeof *q);
    if (!q) {
        err_set(err, ERR_INTERNAL, "no memory for a text encoder");
        return NULL;
    }
    q->c = *config;
    char name[NAME_SIZE];
    const size_t shape[2] = {(size_t)config->vocab, (size_t)config->width};
    snprintf(name, sizeof name, "%sembed_tokens.weight", config->root);
    l.failed = !checkpoint_get(cp, name, 2, shape, &q->tokens, err);
    for (int i = 0; i < config->used && !l.failed; i++)
        load_layer(&l, config, i, &q->layer[i]);
    if (!l.failed)
        return q;
    qwen3_free(q);
    return NULL;
}

void qwen3_free(struct qwen3 *q)
{
    if (!q)
        return;
    for (int i = 0; i < q->c.used; i++) {
        struct layer *y = &q->layer[i];
        free(y->norm1);
        free(y->norm2);
        free(y->norm_q);
        free(y->norm_k);
        matrix_free(y->qkv);
        matrix_free(y->out);
        matrix_free(y->up);
        matrix_free(y->down);
    }
    free(q);
}

int qwen3_width(const struct qwen3 *q)
{
    return q->c.width;
}

/* ---- running ---- */

struct angles {
    float *cos, *sin; /* [tokens, head / 2] */
};

static struct angles angles_of(struct ops *o, int n, int head)
{
    size_t half = (size_t)head / 2, count = (size_t)n * half;
    struct angles a = {arena_alloc(o->arena, count, sizeof *a.cos),
                       arena_alloc(o->arena, count, sizeof *a.sin)};
    for (size_t i = 0; i < count && !arena_planning(o->arena); i++) {
        double angle = (double)(i / half) * pow(THETA, -2.0 * (double)(i % half) / head);
        a.cos[i] = (float)cos(angle);
        a.sin[i] = (float)sin(angle);
    }
    return a;
}

static void run_layer(struct ops *o, const struct qwen3 *q, const struct layer *y,
                      const struct angles *angles, int seen, struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    const struct qwen3_config *c = &q->c;
    int n = x->w, wide = c->heads * c->head, kv = c->kv_heads * c->head;
    struct epilogue onto_x = {.residual = x};
    struct tensor h = tensor_new(o->arena, x->dtype, 1, 1, n, c->width, 0);
    ops_rms_norm(o, &h, x, 0, EPS, y->norm1);
    size_t half = arena_mark(o->arena);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, n, wide + 2 * kv, 0);
    struct tensor mixed = tensor_new(o->arena, x->dtype, 1, 1, n, wide, 0);
    struct tensor tq = tensor_slice(&qkv, 0, wide), tk = tensor_slice(&qkv, wide, kv);
    struct tensor both = tensor_slice(&qkv, 0, wide + kv), v = tensor_slice(&qkv, wide + kv, kv);
    struct attention_how how = {
        .heads = c->heads, .kv_heads = c->kv_heads, .keys = seen, .causal = true};
    ops_linear(o, &qkv, &h, y->qkv, NULL);
    ops_rms_norm(o, &tq, &tq, c->head, EPS, y->norm_q);
    ops_rms_norm(o, &tk, &tk, c->head, EPS, y->norm_k);
    ops_rope(o, &both, &both, angles->cos, angles->sin, c->heads + c->kv_heads, ROPE_HALVES);
    ops_attend(o, &mixed, &tq, &tk, &v, &how);
    ops_linear(o, x, &mixed, y->out, &onto_x);
    arena_reset(o->arena, half);
    ops_rms_norm(o, &h, x, 0, EPS, y->norm2);
    struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, n, c->ff, 0);
    ops_linear(o, &inside, &h, y->up, NULL);
    ops_linear(o, x, &inside, y->down, &onto_x);
    arena_reset(o->arena, mark);
}

void qwen3_encode(struct ops *o, const struct qwen3 *q, const int *ids, int n, int seen,
                  const int *after, int count, float *out)
{
    size_t mark = arena_mark(o->arena), width = (size_t)q->c.width;
    int last = after[count - 1];
    assert(n > 0 && seen > 0 && seen <= n && count > 0 && count <= QWEN3_MAX_TAKEN);
    assert(last < q->c.used);
    struct angles angles = angles_of(o, n, q->c.head);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, n, q->c.width, 0);
    struct tensor all = tensor_new(o->arena, x.dtype, 1, 1, n, count * q->c.width, 0);
    size_t embedding = arena_mark(o->arena);
    float *rows = arena_alloc(o->arena, (size_t)n * width, sizeof *rows);
    for (int i = 0; i < n && !arena_planning(o->arena); i++) {
        assert(ids[i] >= 0 && ids[i] < q->c.vocab);
        raw_tensor_floats(&q->tokens, (size_t)ids[i] * width, width, rows + (size_t)i * width);
    }
    ops_from_floats(o, &x, rows);
    arena_reset(o->arena, embedding);
    for (int i = 0, taken = 0; i <= last; i++) {
        run_layer(o, q, &q->layer[i], &angles, seen, &x);
        if (after[taken] != i)
            continue;
        struct tensor part = tensor_slice(&all, taken++ * q->c.width, q->c.width);
        ops_resize(o, &part, &x);
    }
    ops_to_floats(o, out, &all);
    arena_reset(o->arena, mark);
}
