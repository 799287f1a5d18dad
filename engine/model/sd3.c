/* sd3.c: One sequence of tokens holds words and picture in this order; products see parts of it. Of
 * the words the last block needs no more than what the picture attends to. */
#include "engine/model/sd3.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/adaln.h"
#include "engine/model/joint.h"
#include "engine/model/layers.h"
#include "engine/model/patches.h"

#define ROOT "model.diffusion_model."
#define MAX_BLOCKS 128
#define HEAD 64 /* channels of one, where no norm says it */
#define PATCH 4 /* pixels of a token */

struct attention {
    struct matrix *qkv, *out;
    float *q_norm, *k_norm; /* [head], or NULL */
};

/* What words and picture have of their own in a block. */
struct stream {
    struct matrix *say, *in, *down;
    struct attention joint, own; /* own.qkv NULL: it does not attend to itself besides */
};

struct sd3 {
    struct sd3_config config;
    struct raw_tensor places; /* [1, side side, width] */
    struct matrix *latent_in, *text_in, *time[2], *whole[2], *say_last, *last;
    struct stream *latent, *text; /* [blocks] */
};

/* ---- sizes ---- */

static bool find_sizes(const struct checkpoint *cp, const char *name, int ndim, int *out,
                       struct err *err)
{
    char full[160];
    snprintf(full, sizeof full, ROOT "%s", name);
    return checkpoint_sizes(cp, full, ndim, out, err);
}

static bool read_head(const struct checkpoint *cp, struct sd3_config *c, struct err *err)
{
    c->normed = checkpoint_find(cp, ROOT "joint_blocks.0.x_block.attn.ln_q.weight");
    c->head = HEAD;
    return !c->normed ||
           find_sizes(cp, "joint_blocks.0.x_block.attn.ln_q.weight", 1, &c->head, err);
}

bool sd3_read(const struct checkpoint *cp, struct sd3_config *c, struct err *err)
{
    int in[4], last[2], text[2], pooled[2], up[2], places[3];
    *c = (struct sd3_config){.scale_first =
                                 checkpoint_find(cp, ROOT "final_layer.scale_shift.weight")};
    if (!find_sizes(cp, "x_embedder.proj.weight", 4, in, err) ||
        !find_sizes(cp, "final_layer.linear.weight", 2, last, err) ||
        !find_sizes(cp, "context_embedder.weight", 2, text, err) ||
        !find_sizes(cp, "y_embedder.mlp.0.weight", 2, pooled, err) ||
        !find_sizes(cp, "joint_blocks.0.x_block.mlp.fc1.weight", 2, up, err) ||
        !find_sizes(cp, "pos_embed", 3, places, err) || !read_head(cp, c, err))
        return false;
    c->channels = in[1];
    c->width = in[0];
    c->text = text[1];
    c->pooled = pooled[1];
    c->inside = up[0];
    while (c->blocks <= MAX_BLOCKS &&
           checkpoint_findf(cp, ROOT "joint_blocks.%d.x_block.mlp.fc1.weight", c->blocks))
        c->blocks++;
    while (c->side * c->side < places[1])
        c->side++;
    if (in[2] * in[3] != PATCH || last[0] != PATCH * c->channels || c->side * c->side != places[1])
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted tokens of 2x2 pixels and positions of a square, found "
                       "%dx%d, %d channels of %d and %d positions",
                       in[2], in[3], last[0], c->channels, places[1]);
    if (c->head < 1 || c->head > LAYERS_MAX_HEAD || c->width % c->head || c->width % 32 ||
        c->width > LAYERS_MAX_WIDTH)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a width of at most %d, a multiple of 32 and of a "
                       "head's channels, found %d and %d",
                       LAYERS_MAX_WIDTH, c->width, c->head);
    c->heads = c->width / c->head;
    if (c->inside % 32 || c->inside > LAYERS_MAX_K || c->text > LAYERS_MAX_K ||
        c->pooled > LAYERS_MAX_K || c->blocks > MAX_BLOCKS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted at most %d blocks with feed-forwards of a multiple of "
                       "32 channels and words of at most %d, found %d, %d and %d",
                       MAX_BLOCKS, LAYERS_MAX_K, c->blocks, c->inside, c->text);
    return true;
}

/* ---- loading ---- */

static struct matrix *linear(struct loader *l, const char *prefix, const char *name, int n, int k)
{
    return layers_linear(l, prefix, name, n, k, true);
}

/* Queries, keys and values are one weight in Stability's files, three in diffusers'. `out`: what
 * comes of it is wanted. */
static void load_attention(struct loader *l, struct attention *a, const char *prefix, bool out,
                           const struct sd3_config *c)
{
    static const char *const names[] = {"q", "k", "v"};
    size_t head = (size_t)c->head;
    a->qkv = checkpoint_findf(l->cp, "%sq.weight", prefix)
                 ? layers_stacked(l, prefix, names, 3, c->width, c->width, true)
                 : linear(l, prefix, "qkv", 3 * c->width, c->width);
    if (c->normed) {
        a->q_norm = layers_floats(l, prefix, "ln_q.weight", 1, &head);
        a->k_norm = layers_floats(l, prefix, "ln_k.weight", 1, &head);
    }
    if (out)
        a->out = linear(l, prefix, "proj", c->width, c->width);
}

/* `side`: "x" or "context"; `whole`: not the words of the last block. */
static void load_stream(struct loader *l, struct stream *s, int n, const char *side, bool whole,
                        const struct sd3_config *c)
{
    char p[96];
    snprintf(p, sizeof p, ROOT "joint_blocks.%d.%s_block.attn2.", n, side);
    bool own = *side == 'x' && checkpoint_has(l->cp, p); /* words never do */
    if (own)
        load_attention(l, &s->own, p, true, c);
    snprintf(p, sizeof p, ROOT "joint_blocks.%d.%s_block.attn.", n, side);
    load_attention(l, &s->joint, p, whole, c);
    snprintf(p, sizeof p, ROOT "joint_blocks.%d.%s_block.", n, side);
    s->say = linear(l, p, "adaLN_modulation.1", (own ? 9 : whole ? 6 : 2) * c->width, c->width);
    if (!whole)
        return;
    s->in = linear(l, p, "mlp.fc1", c->inside, c->width);
    s->down = linear(l, p, "mlp.fc2", c->width, c->inside);
}

static void load_ends(struct loader *l, struct sd3 *m)
{
    const struct sd3_config *c = &m->config;
    const size_t places[3] = {1, (size_t)c->side * (size_t)c->side, (size_t)c->width};
    int w = c->width;
    l->failed = !checkpoint_get(l->cp, ROOT "pos_embed", 3, places, &m->places, l->err);
    m->latent_in = linear(l, ROOT, "x_embedder.proj", w, PATCH * c->channels);
    m->text_in = linear(l, ROOT, "context_embedder", w, c->text);
    m->time[0] = linear(l, ROOT, "t_embedder.mlp.0", w, ADALN_SINUSOIDS);
    m->time[1] = linear(l, ROOT, "t_embedder.mlp.2", w, w);
    m->whole[0] = linear(l, ROOT, "y_embedder.mlp.0", w, c->pooled);
    m->whole[1] = linear(l, ROOT, "y_embedder.mlp.2", w, w);
    m->say_last = linear(
        l, ROOT, c->scale_first ? "final_layer.scale_shift" : "final_layer.adaLN_modulation.1",
        2 * w, w);
    m->last = linear(l, ROOT, "final_layer.linear", PATCH * c->channels, w);
}

struct sd3 *sd3_load(struct device *dev, const struct checkpoint *cp,
                     const struct sd3_config *config, struct weights *weights, struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    size_t blocks = (size_t)config->blocks;
    struct sd3 *m = calloc(1, sizeof *m);
    if (m) {
        m->config = *config;
        m->latent = calloc(blocks, sizeof *m->latent);
        m->text = calloc(blocks, sizeof *m->text);
    }
    if (!m || !m->latent || !m->text) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        sd3_free(m);
        return NULL;
    }
    load_ends(&l, m);
    l.coarse = true;
    for (int i = 0; i < config->blocks; i++) {
        load_stream(&l, &m->latent[i], i, "x", true, config);
        load_stream(&l, &m->text[i], i, "context", i + 1 < config->blocks, config);
    }
    if (!l.failed)
        return m;
    sd3_free(m);
    return NULL;
}

static void free_attention(struct attention *a)
{
    matrix_free(a->qkv);
    matrix_free(a->out);
    free(a->q_norm);
    free(a->k_norm);
}

static void free_stream(struct stream *s)
{
    matrix_free(s->say);
    matrix_free(s->in);
    matrix_free(s->down);
    free_attention(&s->joint);
    free_attention(&s->own);
}

void sd3_free(struct sd3 *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->config.blocks && m->latent && m->text; i++) {
        free_stream(&m->latent[i]);
        free_stream(&m->text[i]);
    }
    for (int i = 0; i < 2; i++) {
        matrix_free(m->time[i]);
        matrix_free(m->whole[i]);
    }
    matrix_free(m->latent_in);
    matrix_free(m->text_in);
    matrix_free(m->say_last);
    matrix_free(m->last);
    free(m->latent);
    free(m->text);
    free(m);
}

/* ---- what is the same in every step ---- */

void sd3_words(struct ops *o, const struct sd3 *m, const float *text, int tokens, float *out)
{
    adaln_take_floats(o, m->text_in, text, m->config.text, tokens, out);
}

/* The middle of the table. */
static void place(struct ops *o, const struct sd3 *m, struct sd3_call *call)
{
    size_t mark = arena_mark(o->arena), width = (size_t)m->config.width;
    size_t side = (size_t)m->config.side;
    size_t h = (size_t)call->height / 2, w = (size_t)call->width / 2;
    float *rows = arena_alloc(o->arena, h * w * width, sizeof *rows);
    assert(h <= side && w <= side);
    for (size_t y = 0; y < h && !arena_planning(o->arena); y++) {
        size_t at = ((side - h) / 2 + y) * side + (side - w) / 2;
        raw_tensor_floats(&m->places, at * width, w * width, rows + y * w * width);
    }
    ops_from_floats(o, &call->places, rows);
    arena_reset(o->arena, mark);
}

void sd3_begin(struct ops *o, const struct sd3 *m, const struct sd3_scene *s, struct sd3_call *call)
{
    const struct sd3_config *c = &m->config;
    enum dtype dtype = device_dtype(o->dev);
    int own = s->height / 2 * (s->width / 2);
    *call = (struct sd3_call){.tokens = s->tokens, .height = s->height, .width = s->width};
    call->text = tensor_new(o->arena, dtype, 1, 1, call->tokens, c->width, 0);
    call->said = tensor_new(o->arena, dtype, 1, 1, 1, c->width, 0);
    call->places = tensor_new(o->arena, dtype, 1, 1, own, c->width, 0);
    ops_from_floats(o, &call->text, s->words);
    adaln_vector(o, m->whole, s->pooled, c->pooled, false, &call->said);
    place(o, m, call);
}

/* ---- a step ---- */

/* What the picture's own attention makes of it, in `y`, before anything is added to it. */
static void attend_own(struct ops *o, const struct sd3_config *c, const struct stream *s,
                       const struct tensor *x, const struct adaln *say, struct tensor *y)
{
    size_t mark = arena_mark(o->arena);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    adaln_norm(o, y, x, say);
    joint_ask(o, c->head, &qkv, y, s->own.qkv, s->own.q_norm, s->own.k_norm);
    joint_attend(o, c->heads, NULL, y, &qkv);
    arena_reset(o->arena, mark);
}

static void run_block(struct ops *o, const struct sd3 *m, int n, const struct sd3_call *call,
                      struct tensor *x, const struct tensor *vector)
{
    const struct sd3_config *c = &m->config;
    const struct stream *streams[2] = {&m->text[n], &m->latent[n]};
    const int from[2] = {0, call->tokens}, count[2] = {call->tokens, x->w - call->tokens};
    const struct epilogue gelu = {.act = ACT_GELU_TANH};
    bool last = n + 1 == c->blocks, doubled = streams[1]->own.qkv;
    struct adaln says[2][3];
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    struct tensor own = tensor_new(o->arena, x->dtype, 1, 1, count[1], c->width, 0);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        struct tensor asked = tensor_range(&qkv, from[i], count[i]);
        const struct attention *a = &streams[i]->joint;
        if (last && i == 0)
            says[i][0] = adaln_speak_last(o, streams[i]->say, vector, c->width, c->scale_first);
        else
            adaln_speak(o, streams[i]->say, vector, c->width, i && doubled ? 3 : 2, says[i]);
        if (i && doubled)
            attend_own(o, c, streams[i], &part, &says[i][2], &own);
        adaln_norm(o, &to, &part, &says[i][0]);
        joint_ask(o, c->head, &asked, &to, a->qkv, a->q_norm, a->k_norm);
    }
    joint_attend(o, c->heads, NULL, &normed, &qkv);
    size_t after = arena_mark(o->arena);
    for (int i = last; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        adaln_add(o, &part, &to, streams[i]->joint.out, &says[i][0]);
        if (i && doubled)
            adaln_add(o, &part, &own, streams[i]->own.out, &says[i][2]);
        struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, count[i], c->inside, 0);
        adaln_norm(o, &to, &part, &says[i][1]);
        ops_linear(o, &inside, &to, streams[i]->in, &gelu);
        adaln_add(o, &part, &inside, streams[i]->down, &says[i][1]);
        arena_reset(o->arena, after);
    }
    arena_reset(o->arena, mark);
}

void sd3_forward(struct ops *o, const struct sd3 *m, const struct sd3_call *call,
                 const float *latent, double t, float *velocity)
{
    const struct sd3_config *c = &m->config;
    size_t mark = arena_mark(o->arena), patch = PATCH * (size_t)c->channels;
    int own_tokens = call->height / 2 * (call->width / 2), all = call->tokens + own_tokens;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, c->width, 0);
    struct tensor vector = tensor_new(o->arena, x.dtype, 1, 1, 1, c->width, 0);
    adaln_number(o, m->time, t, false, &vector);
    ops_add(o, &vector, &call->said, 1);
    ops_activate(o, &vector, &vector, ACT_SILU);

    struct tensor text = tensor_range(&x, 0, call->tokens);
    struct tensor own = tensor_range(&x, call->tokens, own_tokens);
    float *cut = arena_alloc(o->arena, (size_t)own_tokens * patch, sizeof *cut);
    if (!arena_planning(o->arena))
        patches_cut(latent, call->height, call->width, c->channels, PATCHES_CHANNELS_FIRST, cut);
    ops_resize(o, &text, &call->text);
    adaln_take(o, m->latent_in, cut, (int)patch, &own);
    ops_add(o, &own, &call->places, 1);
    for (int i = 0; i < c->blocks; i++)
        run_block(o, m, i, call, &x, &vector);

    struct adaln say = adaln_speak_last(o, m->say_last, &vector, c->width, c->scale_first);
    struct tensor normed = tensor_new(o->arena, x.dtype, 1, 1, own_tokens, c->width, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, own_tokens, (int)patch, 0);
    adaln_norm(o, &normed, &own, &say);
    ops_linear(o, &y, &normed, m->last, NULL);
    ops_to_floats(o, cut, &y);
    if (!arena_planning(o->arena))
        patches_join(cut, call->height, call->width, c->channels, PATCHES_CHANNELS_LAST, velocity);
    arena_reset(o->arena, mark);
}
