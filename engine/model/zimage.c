/* zimage.c: One sequence of tokens holds the latent, what fills it up, and the words in this order;
 * the blocks of the picture alone see the first part of it. The network itself counts time from
 * noise to picture and answers the way to the picture: both are turned at its ends. */
#include "engine/model/zimage.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/adaln.h"
#include "engine/model/layers.h"
#include "engine/model/patches.h"

#define ROOT "model.diffusion_model."
#define MAX_BLOCKS 128
#define EPSILON 1e-5f      /* of the norms with weights */
#define LAST_EPSILON 1e-6f /* of the last one */
#define THETA 256.0
#define AXES 3

struct block {
    struct matrix *say; /* what the time says; NULL: nothing */
    struct matrix *qkv, *out, *in, *down;
    float *q_norm, *k_norm;      /* [head] */
    float *before[2], *after[2]; /* [width]: around attention, and the feed-forward */
};

struct zimage {
    struct zimage_config config;
    struct matrix *latent_in, *text_in, *time[2], *say_last, *last;
    float *text_norm;           /* [text] */
    float *fill_picture, *fill; /* [width]: the tokens that fill up the picture, and the words */
    struct block *layers, *pictures, *words;
};

/* ---- sizes ---- */

static int count_blocks(const struct checkpoint *cp, const char *kind)
{
    int n = 0;
    while (n <= MAX_BLOCKS && checkpoint_findf(cp, ROOT "%s.%d.feed_forward.w1.weight", kind, n))
        n++;
    return n;
}

static bool check_sizes(const struct zimage_config *c, int patch, int last, struct err *err)
{
    if (c->head < 16 || c->head % 16 || c->width % c->head || c->width % 32 ||
        c->width > LAYERS_MAX_WIDTH)
        return err_set(
            err, ERR_UNSUPPORTED,
            "transformer: wanted a width of at most %d, a multiple of 32 and of a head's channels, "
            "which are a multiple of 16, found %d and %d",
            LAYERS_MAX_WIDTH, c->width, c->head);
    if (patch % (ZIMAGE_PATCH * ZIMAGE_PATCH) || last != patch)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted tokens of 2x2 pixels, and as many channels out as in, "
                       "found %d in and %d out",
                       patch, last);
    if (c->inside % 32 || c->inside > LAYERS_MAX_K || c->text % 32 || c->text > LAYERS_MAX_WIDTH)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted feed-forwards of a multiple of 32 channels and words "
                       "of one up to %d, found %d and %d",
                       LAYERS_MAX_WIDTH, c->inside, c->text);
    if (c->layers < 1 || c->layers > MAX_BLOCKS || c->pictures > MAX_BLOCKS ||
        c->words > MAX_BLOCKS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted 1..%d blocks of each kind, found %d, %d and %d",
                       MAX_BLOCKS, c->layers, c->pictures, c->words);
    return true;
}

bool zimage_read(const struct checkpoint *cp, struct zimage_config *c, struct err *err)
{
    int in[2], text[2], inside[2], time[2], last[2], head;
    *c = (struct zimage_config){.layers = count_blocks(cp, "layers"),
                                .pictures = count_blocks(cp, "noise_refiner"),
                                .words = count_blocks(cp, "context_refiner")};
    const struct raw_tensor *norm = checkpoint_find(cp, ROOT "layers.0.attention.q_norm.weight");
    if (!norm || norm->ndim != 1)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a norm of each head (Z-Image has one), found none");
    if (!checkpoint_sizes(cp, ROOT "x_embedder.weight", 2, in, err) ||
        !checkpoint_sizes(cp, ROOT "cap_embedder.1.weight", 2, text, err) ||
        !checkpoint_sizes(cp, ROOT "layers.0.feed_forward.w1.weight", 2, inside, err) ||
        !checkpoint_sizes(cp, ROOT "t_embedder.mlp.2.weight", 2, time, err) ||
        !checkpoint_sizes(cp, ROOT "final_layer.linear.weight", 2, last, err) ||
        !checkpoint_sizes(cp, ROOT "layers.0.attention.q_norm.weight", 1, &head, err))
        return false;
    c->width = in[0];
    c->channels = in[1] / (ZIMAGE_PATCH * ZIMAGE_PATCH);
    c->head = head <= LAYERS_MAX_HEAD ? head : 0;
    c->inside = inside[0];
    c->text = text[1];
    c->time = time[0];
    c->time_inside = time[1];
    if (!check_sizes(c, in[1], last[0], err))
        return false;
    c->heads = c->width / c->head;
    return true;
}

/* ---- loading ---- */

/* Queries, keys and values are one weight in ComfyUI's files, three in diffusers'. */
static struct matrix *load_qkv(struct loader *l, const char *prefix, int width)
{
    static const char *const names[] = {"attention.q", "attention.k", "attention.v"};
    bool apart = l->cp && checkpoint_findf(l->cp, "%sattention.q.weight", prefix);
    return apart ? layers_stacked(l, prefix, names, 3, width, width, false)
                 : layers_linear(l, prefix, "attention.qkv", 3 * width, width, false);
}

static void load_block(struct loader *l, struct block *b, const char *kind, int n, bool told,
                       const struct zimage_config *c)
{
    static const char *const up[] = {"feed_forward.w1", "feed_forward.w3"};
    const size_t width[1] = {(size_t)c->width}, head[1] = {(size_t)c->head};
    char p[80];
    snprintf(p, sizeof p, ROOT "%s.%d.", kind, n);
    l->coarse = false;
    b->say = told ? layers_linear(l, p, "adaLN_modulation.0", 4 * c->width, c->time, true) : NULL;
    l->coarse = true;
    b->qkv = load_qkv(l, p, c->width);
    b->out = layers_linear(l, p, "attention.out", c->width, c->width, false);
    b->in = layers_parts(l, MATRIX_SWIGLU, p, up, (int[]){c->inside, c->inside}, 2, c->width);
    b->down = layers_linear(l, p, "feed_forward.w2", c->width, c->inside, false);
    b->q_norm = layers_floats(l, p, "attention.q_norm.weight", 1, head);
    b->k_norm = layers_floats(l, p, "attention.k_norm.weight", 1, head);
    b->before[0] = layers_floats(l, p, "attention_norm1.weight", 1, width);
    b->after[0] = layers_floats(l, p, "attention_norm2.weight", 1, width);
    b->before[1] = layers_floats(l, p, "ffn_norm1.weight", 1, width);
    b->after[1] = layers_floats(l, p, "ffn_norm2.weight", 1, width);
}

/* A token that fills up is a row, or its numbers alone. */
static float *load_token(struct loader *l, const char *name, int width)
{
    const struct raw_tensor *t = l->cp ? checkpoint_findf(l->cp, ROOT "%s", name) : NULL;
    const size_t row[2] = {1, (size_t)width};
    return t && t->ndim == 1 ? layers_floats(l, ROOT, name, 1, row + 1)
                             : layers_floats(l, ROOT, name, 2, row);
}

static void load_ends(struct loader *l, struct zimage *m)
{
    const struct zimage_config *c = &m->config;
    const size_t text[1] = {(size_t)c->text};
    int w = c->width, patch = ZIMAGE_PATCH * ZIMAGE_PATCH * c->channels;
    m->latent_in = layers_linear(l, ROOT, "x_embedder", w, patch, true);
    m->text_norm = layers_floats(l, ROOT, "cap_embedder.0.weight", 1, text);
    m->text_in = layers_linear(l, ROOT, "cap_embedder.1", w, c->text, true);
    m->time[0] = layers_linear(l, ROOT, "t_embedder.mlp.0", c->time_inside, ADALN_SINUSOIDS, true);
    m->time[1] = layers_linear(l, ROOT, "t_embedder.mlp.2", c->time, c->time_inside, true);
    m->fill_picture = load_token(l, "x_pad_token", w);
    m->fill = load_token(l, "cap_pad_token", w);
    m->say_last = layers_linear(l, ROOT, "final_layer.adaLN_modulation.1", w, c->time, true);
    m->last = layers_linear(l, ROOT, "final_layer.linear", patch, w, true);
}

struct zimage *zimage_load(struct device *dev, const struct checkpoint *cp,
                           const struct zimage_config *config, struct weights *weights,
                           struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct zimage *m = calloc(1, sizeof *m);
    if (m) {
        m->config = *config;
        m->layers = calloc((size_t)config->layers, sizeof *m->layers);
        m->pictures = calloc((size_t)config->pictures + 1, sizeof *m->pictures);
        m->words = calloc((size_t)config->words + 1, sizeof *m->words);
    }
    if (!m || !m->layers || !m->pictures || !m->words) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        zimage_free(m);
        return NULL;
    }
    load_ends(&l, m);
    for (int i = 0; i < config->pictures; i++)
        load_block(&l, &m->pictures[i], "noise_refiner", i, true, config);
    for (int i = 0; i < config->words; i++)
        load_block(&l, &m->words[i], "context_refiner", i, false, config);
    for (int i = 0; i < config->layers; i++)
        load_block(&l, &m->layers[i], "layers", i, true, config);
    if (!l.failed)
        return m;
    zimage_free(m);
    return NULL;
}

static void free_blocks(struct block *blocks, int count)
{
    for (int i = 0; i < count && blocks; i++) {
        struct block *b = &blocks[i];
        matrix_free(b->say);
        matrix_free(b->qkv);
        matrix_free(b->out);
        matrix_free(b->in);
        matrix_free(b->down);
        free(b->q_norm);
        free(b->k_norm);
        for (int k = 0; k < 2; k++) {
            free(b->before[k]);
            free(b->after[k]);
        }
    }
    free(blocks);
}

void zimage_free(struct zimage *m)
{
    if (!m)
        return;
    free_blocks(m->layers, m->config.layers);
    free_blocks(m->pictures, m->config.pictures);
    free_blocks(m->words, m->config.words);
    matrix_free(m->latent_in);
    matrix_free(m->text_in);
    matrix_free(m->time[0]);
    matrix_free(m->time[1]);
    matrix_free(m->say_last);
    matrix_free(m->last);
    free(m->text_norm);
    free(m->fill_picture);
    free(m->fill);
    free(m);
}

/* ---- positions ---- */

/* The turns of a token at `position`, one row: a quarter of a head's channels for the first number,
 * three eighths for each of the others. */
static void turn(const struct zimage *m, const int position[AXES], float *cosines, float *sines)
{
    int head = m->config.head, pairs[AXES] = {head / 8, 3 * head / 16, 3 * head / 16};
    for (int a = 0, at = 0; a < AXES; a++)
        for (int i = 0; i < pairs[a]; i++, at++) {
            double angle = position[a] * pow(THETA, -(double)i / pairs[a]);
            cosines[at] = (float)cos(angle);
            sines[at] = (float)sin(angle);
        }
}

static void place_words(const struct zimage *m, int tokens, float *cosines, float *sines)
{
    size_t row = (size_t)(m->config.head / 2);
    for (int i = 0; i < tokens; i++)
        turn(m, (int[AXES]){i + 1, 0, 0}, cosines + (size_t)i * row, sines + (size_t)i * row);
}

static void place(const struct zimage *m, const struct zimage_call *call)
{
    size_t row = (size_t)(m->config.head / 2), at = 0;
    for (int y = 0; y < call->height / ZIMAGE_PATCH; y++)
        for (int x = 0; x < call->width / ZIMAGE_PATCH; x++, at += row)
            turn(m, (int[AXES]){call->tokens + 1, y, x}, call->cos + at, call->sin + at);
    for (int i = call->own; i < call->filled; i++, at += row)
        turn(m, (int[AXES]){0, 0, 0}, call->cos + at, call->sin + at);
    place_words(m, call->tokens, call->cos + at, call->sin + at);
}

/* ---- a block ---- */

/* What is said of attention, and of the feed-forward: 1 + scales, and gates. */
struct say {
    const float *scale[2], *gate[2];
};

/* Of the time [1, 1, 1, time], in the arena. */
static void speak(struct ops *o, const struct block *b, const struct tensor *time, int width,
                  struct say *out)
{
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, 1, 4 * width, 0);
    float *at = y.data;
    ops_linear(o, &y, time, b->say, NULL);
    for (int i = 0; i < 2; i++, at += 2 * width) {
        for (int k = 0; k < width && !arena_planning(o->arena); k++) {
            at[k] += 1;
            at[width + k] = tanhf(at[width + k]);
        }
        out->scale[i] = at;
        out->gate[i] = at + width;
    }
}

/* y = norm of x, times `by` besides; NULL: nothing. */
static void norm(struct ops *o, struct tensor *y, const struct tensor *x, const float *gamma,
                 const float *by)
{
    size_t mark = arena_mark(o->arena);
    const float *times = gamma;
    if (by) {
        float *both = arena_alloc(o->arena, (size_t)x->c, sizeof *both);
        for (int k = 0; k < x->c && !arena_planning(o->arena); k++)
            both[k] = gamma[k] * by[k];
        times = both;
    }
    ops_rms_norm(o, y, x, 0, EPSILON, times);
    arena_reset(o->arena, mark);
}

static void attend(struct ops *o, const struct zimage_config *c, const struct block *b,
                   struct tensor *y, const struct tensor *x, const float *cosines,
                   const float *sines)
{
    size_t mark = arena_mark(o->arena);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    struct tensor q = tensor_slice(&qkv, 0, c->width), k = tensor_slice(&qkv, c->width, c->width),
                  v = tensor_slice(&qkv, 2 * c->width, c->width);
    struct attention_how how = {.heads = c->heads};
    ops_linear(o, &qkv, x, b->qkv, NULL);
    ops_rms_norm(o, &q, &q, c->head, EPSILON, b->q_norm);
    ops_rms_norm(o, &k, &k, c->head, EPSILON, b->k_norm);
    ops_rope(o, &q, &q, cosines, sines, c->heads, ROPE_ADJACENT);
    ops_rope(o, &k, &k, cosines, sines, c->heads, ROPE_ADJACENT);
    ops_attend(o, y, &q, &k, &v, &how);
    arena_reset(o->arena, mark);
}

/* `time`: NULL for blocks that it says nothing to. */
static void run_block(struct ops *o, const struct zimage_config *c, const struct block *b,
                      const struct tensor *time, struct tensor *x, const float *cosines,
                      const float *sines)
{
    size_t mark = arena_mark(o->arena);
    struct say say = {{NULL, NULL}, {NULL, NULL}};
    if (time)
        speak(o, b, time, c->width, &say);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor more = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    norm(o, &normed, x, b->before[0], say.scale[0]);
    attend(o, c, b, &more, &normed, cosines, sines);
    ops_linear(o, &normed, &more, b->out, NULL);
    norm(o, &normed, &normed, b->after[0], say.gate[0]);
    ops_add(o, x, &normed, 1);
    struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->inside, 0);
    norm(o, &normed, x, b->before[1], say.scale[1]);
    ops_linear(o, &inside, &normed, b->in, NULL);
    ops_linear(o, &more, &inside, b->down, NULL);
    norm(o, &more, &more, b->after[1], say.gate[1]);
    ops_add(o, x, &more, 1);
    arena_reset(o->arena, mark);
}

/* ---- what is the same in every step ---- */

/* Rows of a token that fills up, `count` of them. */
static struct tensor filled(struct ops *o, const float *token, int count, int width)
{
    struct tensor y = tensor_new(o->arena, device_dtype(o->dev), 1, 1, count, width, 0);
    size_t mark = arena_mark(o->arena), row = (size_t)width;
    float *rows = arena_alloc(o->arena, (size_t)count * row, sizeof *rows);
    for (int i = 0; i < count && !arena_planning(o->arena); i++)
        memcpy(rows + (size_t)i * row, token, row * sizeof *rows);
    ops_from_floats(o, &y, rows);
    arena_reset(o->arena, mark);
    return y;
}

void zimage_words(struct ops *o, const struct zimage *m, const float *states, int tokens, int all,
                  float *out)
{
    const struct zimage_config *c = &m->config;
    size_t mark = arena_mark(o->arena), turns = (size_t)all * (size_t)(c->head / 2);
    assert(tokens > 0 && tokens <= all);
    float *cosines = arena_alloc(o->arena, turns, sizeof *cosines);
    float *sines = arena_alloc(o->arena, turns, sizeof *sines);
    if (!arena_planning(o->arena))
        place_words(m, all, cosines, sines);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, c->width, 0);
    struct tensor said = tensor_range(&x, 0, tokens);
    struct tensor in = tensor_new(o->arena, x.dtype, 1, 1, tokens, c->text, 0);
    ops_from_floats(o, &in, states);
    ops_rms_norm(o, &in, &in, 0, EPSILON, m->text_norm);
    ops_linear(o, &said, &in, m->text_in, NULL);
    if (all > tokens) {
        struct tensor rest = tensor_range(&x, tokens, all - tokens);
        struct tensor pad = filled(o, m->fill, all - tokens, c->width);
        ops_resize(o, &rest, &pad);
    }
    for (int i = 0; i < c->words; i++)
        run_block(o, c, &m->words[i], NULL, &x, cosines, sines);
    ops_to_floats(o, out, &x);
    arena_reset(o->arena, mark);
}

void zimage_begin(struct ops *o, const struct zimage *m, const float *words, int tokens, int height,
                  int width, struct zimage_call *call)
{
    const struct zimage_config *c = &m->config;
    int own = height / ZIMAGE_PATCH * (width / ZIMAGE_PATCH);
    assert(height % ZIMAGE_PATCH == 0 && width % ZIMAGE_PATCH == 0);
    *call = (struct zimage_call){.tokens = tokens,
                                 .height = height,
                                 .width = width,
                                 .own = own,
                                 .filled = (own + ZIMAGE_FILL - 1) / ZIMAGE_FILL * ZIMAGE_FILL};
    size_t turns = (size_t)(call->filled + tokens) * (size_t)(c->head / 2);
    call->cos = arena_alloc(o->arena, turns, sizeof *call->cos);
    call->sin = arena_alloc(o->arena, turns, sizeof *call->sin);
    if (!arena_planning(o->arena))
        place(m, call);
    call->text = tensor_new(o->arena, device_dtype(o->dev), 1, 1, tokens, c->width, 0);
    ops_from_floats(o, &call->text, words);
    if (call->filled > own)
        call->pad = filled(o, m->fill_picture, call->filled - own, c->width);
}

/* ---- a step ---- */

/* The first tokens of x = the latent's. */
static void take_in(struct ops *o, const struct zimage *m, const struct zimage_call *call,
                    const float *latent, struct tensor *x)
{
    int c = m->config.channels, patch = ZIMAGE_PATCH * ZIMAGE_PATCH * c;
    size_t mark = arena_mark(o->arena);
    struct tensor own = tensor_range(x, 0, call->own);
    float *tokens = arena_alloc(o->arena, (size_t)call->own * (size_t)patch, sizeof *tokens);
    if (!arena_planning(o->arena))
        patches_cut(latent, call->height, call->width, c, PATCHES_CHANNELS_LAST, tokens);
    adaln_take(o, m->latent_in, tokens, patch, &own);
    arena_reset(o->arena, mark);
}

/* The last norm has a scale, 1 + what the time says, and no weights. */
static void answer(struct ops *o, const struct zimage *m, const struct zimage_call *call,
                   const struct tensor *time, const struct tensor *x, float *velocity)
{
    const struct zimage_config *c = &m->config;
    int patch = ZIMAGE_PATCH * ZIMAGE_PATCH * c->channels;
    struct tensor own = tensor_range(x, 0, call->own);
    struct tensor told = tensor_new(o->arena, time->dtype, 1, 1, 1, c->time, 0);
    struct tensor say = tensor_new(o->arena, DTYPE_F32, 1, 1, 1, c->width, 0);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, call->own, c->width, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, call->own, patch, 0);
    float *scale = say.data;
    float *tokens = arena_alloc(o->arena, (size_t)call->own * (size_t)patch, sizeof *tokens);
    ops_activate(o, &told, time, ACT_SILU);
    ops_linear(o, &say, &told, m->say_last, NULL);
    for (int k = 0; k < c->width && !arena_planning(o->arena); k++)
        scale[k] += 1;
    ops_norm(o, &normed, &own, &(struct norm_how){.eps = LAST_EPSILON, .gamma = scale});
    ops_linear(o, &y, &normed, m->last, NULL);
    ops_to_floats(o, tokens, &y);
    if (arena_planning(o->arena))
        return;
    for (size_t i = 0; i < (size_t)call->own * (size_t)patch; i++)
        tokens[i] = -tokens[i];
    patches_join(tokens, call->height, call->width, c->channels, PATCHES_CHANNELS_LAST, velocity);
}

void zimage_forward(struct ops *o, const struct zimage *m, const struct zimage_call *call,
                    const float *latent, double t, float *velocity)
{
    const struct zimage_config *c = &m->config;
    size_t mark = arena_mark(o->arena);
    int all = call->filled + call->tokens;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, c->width, 0);
    struct tensor time = tensor_new(o->arena, x.dtype, 1, 1, 1, c->time, 0);
    struct tensor picture = tensor_range(&x, 0, call->filled);
    struct tensor text = tensor_range(&x, call->filled, call->tokens);
    adaln_number(o, m->time, 1000 - t, false, &time);
    take_in(o, m, call, latent, &x);
    if (call->filled > call->own) {
        struct tensor rest = tensor_range(&x, call->own, call->filled - call->own);
        ops_resize(o, &rest, &call->pad);
    }
    ops_resize(o, &text, &call->text);
    for (int i = 0; i < c->pictures; i++)
        run_block(o, c, &m->pictures[i], &time, &picture, call->cos, call->sin);
    for (int i = 0; i < c->layers; i++)
        run_block(o, c, &m->layers[i], &time, &x, call->cos, call->sin);
    answer(o, m, call, &time, &x, velocity);
    arena_reset(o->arena, mark);
}
