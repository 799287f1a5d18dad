/* flux1.c: The blocks are joint.h's, over words, latent and shown pictures in this order; what
 * time, guidance and the whole prompt say is a product in every one of them. */
#include "engine/model/flux1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/patches.h"

#define ROOT JOINT_ROOT
#define THETA 10000.0
#define HEAD 32 /* channels that a head has a multiple of */
#define AXES 3  /* of a position */
#define PATCH 2 /* latent pixels that are a token, a side */

/* What is said of a double block: of its picture and of its words. */
struct says {
    struct matrix *latent, *text;
};

struct flux1 {
    struct flux1_config config;
    struct joint blocks;
    struct matrix *whole[2];
    struct says *doubles;    /* [doubles] */
    struct matrix **singles; /* [singles] */
};

bool flux1_read(const struct checkpoint *cp, struct flux1_config *c, struct err *err)
{
    int in[2], out[2], pooled[2];
    *c = (struct flux1_config){.takes = 0};
    if (!joint_read(cp, HEAD, &c->blocks, err) || !joint_find(cp, "img_in", in, err) ||
        !joint_find(cp, "vector_in.in_layer", pooled, err) ||
        !joint_find(cp, "final_layer.linear", out, err))
        return false;
    c->takes = in[1] / PATCH / PATCH;
    c->channels = out[0] / PATCH / PATCH;
    c->pooled = pooled[1];
    return c->pooled <= LAYERS_MAX_K ||
           err_set(err, ERR_UNSUPPORTED,
                   "transformer: wanted at most %d channels of a whole prompt, found %d",
                   LAYERS_MAX_K, c->pooled);
}

/* ---- loading ---- */

static bool load(struct loader *l, struct flux1 *m)
{
    static const struct epilogue gelu = {.act = ACT_GELU_TANH};
    static const struct joint_kind kind = {true, MATRIX_LINEAR, &gelu};
    const struct flux1_config *c = &m->config;
    const struct joint_sizes *s = &c->blocks;
    int patch = PATCH * PATCH, w = s->width;
    m->doubles = calloc((size_t)s->doubles, sizeof *m->doubles);
    m->singles = calloc((size_t)s->singles, sizeof *m->singles);
    if (!m->doubles || !m->singles)
        return err_set(l->err, ERR_INTERNAL, "no memory for a transformer");
    if (!joint_load(l, &m->blocks, s, &kind, patch * c->takes, patch * c->channels))
        return false;
    m->whole[0] = layers_linear(l, ROOT, "vector_in.in_layer", w, c->pooled, true);
    m->whole[1] = layers_linear(l, ROOT, "vector_in.out_layer", w, w, true);
    l->coarse = true;
    for (int i = 0; i < s->doubles; i++) {
        char p[80];
        snprintf(p, sizeof p, ROOT "double_blocks.%d.", i);
        m->doubles[i].latent = layers_linear(l, p, "img_mod.lin", 6 * w, w, true);
        m->doubles[i].text = layers_linear(l, p, "txt_mod.lin", 6 * w, w, true);
    }
    for (int i = 0; i < s->singles; i++) {
        char p[80];
        snprintf(p, sizeof p, ROOT "single_blocks.%d.", i);
        m->singles[i] = layers_linear(l, p, "modulation.lin", 3 * w, w, true);
    }
    return !l->failed;
}

struct flux1 *flux1_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux1_config *config, struct weights *weights,
                         struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct flux1 *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        return NULL;
    }
    m->config = *config;
    if (load(&l, m))
        return m;
    flux1_free(m);
    return NULL;
}

void flux1_free(struct flux1 *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->config.blocks.doubles && m->doubles; i++) {
        matrix_free(m->doubles[i].latent);
        matrix_free(m->doubles[i].text);
    }
    for (int i = 0; i < m->config.blocks.singles && m->singles; i++)
        matrix_free(m->singles[i]);
    matrix_free(m->whole[0]);
    matrix_free(m->whole[1]);
    joint_free(&m->blocks);
    free(m->doubles);
    free(m->singles);
    free(m);
}

/* ---- what is the same in every step ---- */

/* The turns of a token of picture n at row y and column x: an eighth of a head's channels are the
 * picture's, and seven sixteenths each the row's and the column's. */
static void turn(const struct flux1 *m, int n, int y, int x, float *cosines, float *sines)
{
    const int position[AXES] = {n, y, x}, head = m->config.blocks.head;
    const int pairs[AXES] = {head / 16, 7 * head / 32, 7 * head / 32};
    joint_turn(THETA, AXES, pairs, position, cosines, sines);
}

static void place(const struct flux1 *m, const struct flux1_scene *s, float *cosines, float *sines)
{
    size_t row = (size_t)(m->config.blocks.head / 2), at = 0;
    for (int i = 0; i < s->tokens; i++, at += row)
        turn(m, 0, 0, 0, cosines + at, sines + at);
    for (int k = 0; k <= s->reference_count; k++) {
        const struct flux1_reference *r = k ? &s->references[k - 1] : NULL;
        int height = r ? r->height : s->height, width = r ? r->width : s->width;
        for (int y = 0; y < height / PATCH; y++)
            for (int x = 0; x < width / PATCH; x++, at += row)
                turn(m, k, y, x, cosines + at, sines + at);
    }
}

void flux1_words(struct ops *o, const struct flux1 *m, const float *text, int tokens, float *out)
{
    adaln_take_floats(o, m->blocks.text_in, text, m->config.blocks.text, tokens, out);
}

static int tokens_of(int height, int width)
{
    return height / PATCH * (width / PATCH);
}

/* y = the tokens of a latent of `channels` channels. */
static void take_in(struct ops *o, const struct flux1 *m, const float *latent, int height,
                    int width, int channels, struct tensor *y)
{
    size_t mark = arena_mark(o->arena);
    int patch = PATCH * PATCH * channels;
    float *cut = arena_alloc(o->arena, (size_t)y->w * (size_t)patch, sizeof *cut);
    if (!arena_planning(o->arena))
        patches_cut(latent, height, width, channels, PATCHES_CHANNELS_FIRST, cut);
    adaln_take(o, m->blocks.latent_in, cut, patch, y);
    arena_reset(o->arena, mark);
}

static void show(struct ops *o, const struct flux1 *m, const struct flux1_scene *scene,
                 struct flux1_call *call)
{
    int width = m->config.blocks.width;
    call->references = tensor_new(o->arena, device_dtype(o->dev), 1, 1, call->shown, width, 0);
    for (int i = 0, at = 0; i < scene->reference_count; i++) {
        const struct flux1_reference *r = &scene->references[i];
        int n = tokens_of(r->height, r->width);
        struct tensor part = tensor_range(&call->references, at, n);
        take_in(o, m, r->latent, r->height, r->width, m->config.channels, &part);
        at += n;
    }
}

void flux1_begin(struct ops *o, const struct flux1 *m, const struct flux1_scene *scene,
                 struct flux1_call *call)
{
    const struct joint_sizes *s = &m->config.blocks;
    enum dtype dtype = device_dtype(o->dev);
    *call = (struct flux1_call){.tokens = scene->tokens,
                                .height = scene->height,
                                .width = scene->width,
                                .beside = scene->beside};
    for (int i = 0; i < scene->reference_count; i++)
        call->shown += tokens_of(scene->references[i].height, scene->references[i].width);
    size_t all = (size_t)(call->tokens + tokens_of(call->height, call->width) + call->shown);
    call->cos = arena_alloc(o->arena, all * (size_t)(s->head / 2), sizeof *call->cos);
    call->sin = arena_alloc(o->arena, all * (size_t)(s->head / 2), sizeof *call->sin);
    if (!arena_planning(o->arena))
        place(m, scene, call->cos, call->sin);
    call->text = tensor_new(o->arena, dtype, 1, 1, call->tokens, s->width, 0);
    call->said = tensor_new(o->arena, dtype, 1, 1, 1, s->width, 0);
    ops_from_floats(o, &call->text, scene->words);
    adaln_vector(o, m->whole, scene->pooled, m->config.pooled, false, &call->said);
    if (s->guided)
        adaln_number(o, m->blocks.guidance, 1000.0 * (double)scene->guidance, true, &call->said);
    if (call->shown)
        show(o, m, scene, call);
}

/* ---- a step ---- */

static void run_double(struct ops *o, const struct flux1 *m, int n, const struct flux1_call *call,
                       struct tensor *x, const struct tensor *vector)
{
    const struct joint_turns turns = {call->cos, call->sin};
    struct adaln text[2], latent[2];
    size_t mark = arena_mark(o->arena);
    adaln_speak(o, m->doubles[n].text, vector, x->c, 2, text);
    adaln_speak(o, m->doubles[n].latent, vector, x->c, 2, latent);
    joint_double(o, &m->blocks, n, &turns, call->tokens, text, latent, x);
    arena_reset(o->arena, mark);
}

static void run_single(struct ops *o, const struct flux1 *m, int n, const struct flux1_call *call,
                       struct tensor *x, const struct tensor *vector)
{
    const struct joint_turns turns = {call->cos, call->sin};
    struct adaln say;
    size_t mark = arena_mark(o->arena);
    adaln_speak(o, m->singles[n], vector, x->c, 1, &say);
    joint_single(o, &m->blocks, n, &turns, &say, x);
    arena_reset(o->arena, mark);
}

/* x with what stands beside it, in the arena. */
static const float *with_beside(struct ops *o, const struct flux1_config *c,
                                const struct flux1_call *call, const float *x)
{
    size_t own = (size_t)c->channels, more = (size_t)(c->takes - c->channels);
    size_t pixels = (size_t)call->height * (size_t)call->width;
    if (!more)
        return x;
    float *both = arena_alloc(o->arena, pixels * (own + more), sizeof *both), *to = both;
    for (size_t i = 0; i < pixels && !arena_planning(o->arena); i++, to += own + more) {
        memcpy(to, x + i * own, own * sizeof *to);
        if (call->beside)
            memcpy(to + own, call->beside + i * more, more * sizeof *to);
        else
            memset(to + own, 0, more * sizeof *to);
    }
    return both;
}

void flux1_forward(struct ops *o, const struct flux1 *m, const struct flux1_call *call,
                   const float *latent, double t, float *velocity)
{
    const struct flux1_config *c = &m->config;
    size_t mark = arena_mark(o->arena);
    int own_tokens = tokens_of(call->height, call->width), width = c->blocks.width;
    int all = call->tokens + own_tokens + call->shown;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, width, 0);
    struct tensor vector = tensor_new(o->arena, x.dtype, 1, 1, 1, width, 0);
    adaln_number(o, m->blocks.time, t, false, &vector);
    ops_add(o, &vector, &call->said, 1);
    ops_activate(o, &vector, &vector, ACT_SILU);

    struct tensor text = tensor_range(&x, 0, call->tokens);
    struct tensor own = tensor_range(&x, call->tokens, own_tokens);
    size_t before = arena_mark(o->arena);
    const float *taken = with_beside(o, c, call, latent);
    ops_resize(o, &text, &call->text);
    take_in(o, m, taken, call->height, call->width, c->takes, &own);
    arena_reset(o->arena, before);
    if (call->shown) {
        struct tensor shown = tensor_range(&x, call->tokens + own_tokens, call->shown);
        ops_resize(o, &shown, &call->references);
    }
    for (int i = 0; i < c->blocks.doubles; i++)
        run_double(o, m, i, call, &x, &vector);
    for (int i = 0; i < c->blocks.singles; i++)
        run_single(o, m, i, call, &x, &vector);

    size_t tokens = (size_t)own_tokens * PATCH * PATCH;
    float *said = arena_alloc(o->arena, tokens * (size_t)c->channels, sizeof *said);
    joint_answer(o, &m->blocks, &vector, &own, said);
    if (!arena_planning(o->arena))
        patches_join(said, call->height, call->width, c->channels, PATCHES_CHANNELS_FIRST,
                     velocity);
    arena_reset(o->arena, mark);
}
