/* flux2.c: The blocks are joint.h's, over words, latent and shown pictures in this order; what the
 * time says is the same in all blocks of a kind. */
#include "engine/model/flux2.h"

#include <stdlib.h>

#define ROOT JOINT_ROOT
#define THETA 2000.0
#define AXES 4
#define APART 10 /* positions from one picture to the next */

struct flux2 {
    struct flux2_config config;
    struct joint blocks;
    struct matrix *say_latent, *say_text, *say_single; /* what the time says */
};

bool flux2_read(const struct checkpoint *cp, struct flux2_config *c, struct err *err)
{
    int in[2];
    *c = (struct flux2_config){.channels = 0};
    if (!joint_read(cp, 2 * AXES, &c->blocks, err) || !joint_find(cp, "img_in", in, err))
        return false;
    c->channels = in[1];
    return true;
}

/* ---- loading ---- */

struct flux2 *flux2_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux2_config *config, struct weights *weights,
                         struct err *err)
{
    static const struct joint_kind kind = {false, MATRIX_SWIGLU, NULL};
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct flux2 *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        return NULL;
    }
    m->config = *config;
    int w = config->blocks.width;
    if (joint_load(&l, &m->blocks, &config->blocks, &kind, config->channels, config->channels)) {
        m->say_latent =
            layers_linear(&l, ROOT, "double_stream_modulation_img.lin", 6 * w, w, false);
        m->say_text = layers_linear(&l, ROOT, "double_stream_modulation_txt.lin", 6 * w, w, false);
        m->say_single = layers_linear(&l, ROOT, "single_stream_modulation.lin", 3 * w, w, false);
        if (!l.failed)
            return m;
    }
    flux2_free(m);
    return NULL;
}

void flux2_free(struct flux2 *m)
{
    if (!m)
        return;
    joint_free(&m->blocks);
    matrix_free(m->say_latent);
    matrix_free(m->say_text);
    matrix_free(m->say_single);
    free(m);
}

/* ---- what is the same in every step ---- */

/* The turns of a token at `position`, one row. */
static void turn(const struct flux2 *m, const int position[AXES], float *cosines, float *sines)
{
    int each = m->config.blocks.head / 2 / AXES;
    const int pairs[AXES] = {each, each, each, each};
    joint_turn(THETA, AXES, pairs, position, cosines, sines);
}

static void place(const struct flux2 *m, const struct flux2_scene *s, float *cosines, float *sines)
{
    size_t row = (size_t)(m->config.blocks.head / 2), at = 0;
    for (int i = 0; i < s->tokens; i++, at += row)
        turn(m, (int[AXES]){0, 0, 0, i}, cosines + at, sines + at);
    for (int k = 0; k <= s->reference_count; k++) {
        const struct flux2_reference *r = k ? &s->references[k - 1] : NULL;
        int height = r ? r->height : s->height, width = r ? r->width : s->width;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, at += row)
                turn(m, (int[AXES]){APART * k, y, x, 0}, cosines + at, sines + at);
    }
}

void flux2_words(struct ops *o, const struct flux2 *m, const float *text, int tokens, float *out)
{
    adaln_take_floats(o, m->blocks.text_in, text, m->config.blocks.text, tokens, out);
}

void flux2_begin(struct ops *o, const struct flux2 *m, const struct flux2_scene *s,
                 struct flux2_call *call)
{
    const struct flux2_config *c = &m->config;
    enum dtype dtype = device_dtype(o->dev);
    *call = (struct flux2_call){
        .tokens = s->tokens, .own = s->height * s->width, .guidance = s->guidance};
    for (int i = 0; i < s->reference_count; i++)
        call->shown += s->references[i].height * s->references[i].width;
    size_t n = (size_t)(call->tokens + call->own + call->shown) * (size_t)(c->blocks.head / 2);
    call->cos = arena_alloc(o->arena, n, sizeof *call->cos);
    call->sin = arena_alloc(o->arena, n, sizeof *call->sin);
    if (!arena_planning(o->arena))
        place(m, s, call->cos, call->sin);
    call->text = tensor_new(o->arena, dtype, 1, 1, call->tokens, c->blocks.width, 0);
    ops_from_floats(o, &call->text, s->words);
    if (!call->shown)
        return;
    call->references = tensor_new(o->arena, dtype, 1, 1, call->shown, c->blocks.width, 0);
    for (int i = 0, at = 0; i < s->reference_count; i++) {
        const struct flux2_reference *r = &s->references[i];
        struct tensor part = tensor_range(&call->references, at, r->height * r->width);
        adaln_take(o, m->blocks.latent_in, r->latent, c->channels, &part);
        at += r->height * r->width;
    }
}

/* ---- a step ---- */

void flux2_forward(struct ops *o, const struct flux2 *m, const struct flux2_call *call,
                   const float *latent, double t, float *velocity)
{
    const struct flux2_config *c = &m->config;
    size_t mark = arena_mark(o->arena);
    int all = call->tokens + call->own + call->shown, width = c->blocks.width;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, width, 0);
    struct tensor time = tensor_new(o->arena, x.dtype, 1, 1, 1, width, 0);
    struct adaln say_text[2], say_latent[2], say_single;
    const struct joint_turns turns = {call->cos, call->sin};
    adaln_number(o, m->blocks.time, t, false, &time);
    if (c->blocks.guided)
        adaln_number(o, m->blocks.guidance, 1000.0 * (double)call->guidance, true, &time);
    ops_activate(o, &time, &time, ACT_SILU);
    adaln_speak(o, m->say_text, &time, width, 2, say_text);
    adaln_speak(o, m->say_latent, &time, width, 2, say_latent);
    adaln_speak(o, m->say_single, &time, width, 1, &say_single);

    struct tensor text = tensor_range(&x, 0, call->tokens);
    struct tensor own = tensor_range(&x, call->tokens, call->own);
    ops_resize(o, &text, &call->text);
    adaln_take(o, m->blocks.latent_in, latent, c->channels, &own);
    if (call->shown) {
        struct tensor shown = tensor_range(&x, call->tokens + call->own, call->shown);
        ops_resize(o, &shown, &call->references);
    }
    for (int i = 0; i < c->blocks.doubles; i++)
        joint_double(o, &m->blocks, i, &turns, call->tokens, say_text, say_latent, &x);
    for (int i = 0; i < c->blocks.singles; i++)
        joint_single(o, &m->blocks, i, &turns, &say_single, &x);
    joint_answer(o, &m->blocks, &time, &own, velocity);
    arena_reset(o->arena, mark);
}
