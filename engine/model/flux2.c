/* flux2.c: One sequence of tokens holds words, latent and shown pictures in this order from the
 * first block to the last; the double blocks see parts of it. Its products write where the next one
 * reads: attention and the feed-forward of a single block lie side by side, as its last product
 * takes them. */
#include "engine/model/flux2.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/adaln.h"
#include "engine/model/layers.h"

#define ROOT "model.diffusion_model."
#define MAX_BLOCKS 128
#define THETA 2000.0
#define AXES 4
#define APART 10 /* positions from one picture to the next */

/* What words and pictures have of their own in a double block. */
struct stream {
    struct matrix *qkv, *out, *in, *down;
    float *q_norm, *k_norm; /* [head] */
};

struct single {
    struct matrix *qkv, *in, *out;
    float *q_norm, *k_norm;
};

struct flux2 {
    struct flux2_config config;
    struct matrix *latent_in, *text_in, *time[2], *guidance[2];
    struct matrix *say_latent, *say_text, *say_single, *say_last; /* what the time says */
    struct stream *latent, *text;                                 /* [doubles] */
    struct single *singles;
    struct matrix *last;
};

/* ---- sizes ---- */

static int count_blocks(const struct checkpoint *cp, const char *kind, const char *tensor)
{
    int n = 0;
    while (n <= MAX_BLOCKS && checkpoint_findf(cp, ROOT "%s.%d.%s", kind, n, tensor))
        n++;
    return n;
}

static bool find_sizes(const struct checkpoint *cp, const char *name, int out[2], struct err *err)
{
    char full[160];
    snprintf(full, sizeof full, ROOT "%s.weight", name);
    return checkpoint_sizes(cp, full, 2, out, err);
}

/* The numbers of a head's norm are called scale, or weight. */
static const struct raw_tensor *find_head(const struct checkpoint *cp, const char *name)
{
    const struct raw_tensor *t = checkpoint_findf(cp, ROOT "%s.scale", name);
    return t ? t : checkpoint_findf(cp, ROOT "%s.weight", name);
}

bool flux2_read(const struct checkpoint *cp, struct flux2_config *c, struct err *err)
{
    int in[2], text[2], single[2];
    *c = (struct flux2_config){
        .doubles = count_blocks(cp, "double_blocks", "img_mlp.0.weight"),
        .singles = count_blocks(cp, "single_blocks", "linear2.weight"),
        .guided = checkpoint_find(cp, ROOT "guidance_in.in_layer.weight"),
        .scale_first = checkpoint_find(cp, ROOT "final_layer.scale_shift.weight"),
    };
    if (!find_sizes(cp, "img_in", in, err) || !find_sizes(cp, "txt_in", text, err) ||
        !find_sizes(cp, "single_blocks.0.linear2", single, err))
        return false;
    const struct raw_tensor *head = find_head(cp, "single_blocks.0.norm.query_norm");
    c->channels = in[1];
    c->width = in[0];
    c->text = text[1];
    c->inside = single[1] - c->width;
    c->head =
        head && head->ndim == 1 && head->shape[0] <= LAYERS_MAX_HEAD ? (int)head->shape[0] : 0;
    if (c->head < 1 || c->head % (2 * AXES) || c->width % c->head || c->width % 32 ||
        c->width > LAYERS_MAX_WIDTH)
        return err_set(
            err, ERR_UNSUPPORTED,
            "transformer: wanted a width of at most %d, a multiple of 32 and of a head's "
            "channels, which are a multiple of %d, found %d and %d",
            LAYERS_MAX_WIDTH, 2 * AXES, c->width, c->head);
    c->heads = c->width / c->head;
    if (c->inside < 32 || c->inside % 32 || single[1] > LAYERS_MAX_K || c->text > LAYERS_MAX_K)
        return err_set(
            err, ERR_UNSUPPORTED,
            "transformer: wanted feed-forwards of a multiple of 32 channels and words of "
            "at most %d, found %d and %d",
            LAYERS_MAX_K, c->inside, c->text);
    if (c->doubles < 1 || c->doubles > MAX_BLOCKS || c->singles < 1 || c->singles > MAX_BLOCKS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted 1..%d blocks of either kind, found %d and %d",
                       MAX_BLOCKS, c->doubles, c->singles);
    return true;
}

/* ---- loading ---- */

static struct matrix *linear(struct loader *l, const char *prefix, const char *name, int n, int k)
{
    return layers_linear(l, prefix, name, n, k, false);
}

static float *head_norm(struct loader *l, const char *prefix, const char *name, int head)
{
    char full[96];
    size_t n = (size_t)head;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    bool scale = l->cp && checkpoint_findf(l->cp, "%s.scale", full);
    return layers_floats(l, full, scale ? ".scale" : ".weight", 1, &n);
}

/* Queries, keys and values are one weight in Black Forest Labs' files, three in diffusers'. */
static struct matrix *stacked(struct loader *l, const char *prefix, int width)
{
    static const char *const names[] = {"q", "k", "v"};
    bool apart = l->cp && checkpoint_findf(l->cp, "%sq.weight", prefix);
    return apart ? layers_stacked(l, prefix, names, 3, width, width, false)
                 : linear(l, prefix, "qkv", 3 * width, width);
}

/* `side`: "img" or "txt". */
static void load_stream(struct loader *l, struct stream *s, int n, const char *side,
                        const struct flux2_config *c)
{
    char p[80];
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_attn.", n, side);
    s->qkv = stacked(l, p, c->width);
    s->q_norm = head_norm(l, p, "norm.query_norm", c->head);
    s->k_norm = head_norm(l, p, "norm.key_norm", c->head);
    s->out = linear(l, p, "proj", c->width, c->width);
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_mlp.", n, side);
    s->in = layers_rows(l, MATRIX_SWIGLU, p, "0", 0, 2 * c->inside, 2 * c->inside, c->width);
    s->down = linear(l, p, "2", c->width, c->inside);
}

static void load_single(struct loader *l, struct single *s, int n, const struct flux2_config *c)
{
    char p[80];
    int qkv = 3 * c->width, in = 2 * c->inside;
    snprintf(p, sizeof p, ROOT "single_blocks.%d.", n);
    s->qkv = layers_rows(l, MATRIX_LINEAR, p, "linear1", 0, qkv, qkv + in, c->width);
    s->in = layers_rows(l, MATRIX_SWIGLU, p, "linear1", qkv, in, qkv + in, c->width);
    s->q_norm = head_norm(l, p, "norm.query_norm", c->head);
    s->k_norm = head_norm(l, p, "norm.key_norm", c->head);
    s->out = linear(l, p, "linear2", c->width, c->width + c->inside);
}

static void load_ends(struct loader *l, struct flux2 *m)
{
    const struct flux2_config *c = &m->config;
    int w = c->width;
    m->latent_in = linear(l, ROOT, "img_in", w, c->channels);
    m->text_in = linear(l, ROOT, "txt_in", w, c->text);
    m->time[0] = linear(l, ROOT, "time_in.in_layer", w, ADALN_SINUSOIDS);
    m->time[1] = linear(l, ROOT, "time_in.out_layer", w, w);
    if (c->guided) {
        m->guidance[0] = linear(l, ROOT, "guidance_in.in_layer", w, ADALN_SINUSOIDS);
        m->guidance[1] = linear(l, ROOT, "guidance_in.out_layer", w, w);
    }
    m->say_latent = linear(l, ROOT, "double_stream_modulation_img.lin", 6 * w, w);
    m->say_text = linear(l, ROOT, "double_stream_modulation_txt.lin", 6 * w, w);
    m->say_single = linear(l, ROOT, "single_stream_modulation.lin", 3 * w, w);
    m->say_last = linear(
        l, ROOT, c->scale_first ? "final_layer.scale_shift" : "final_layer.adaLN_modulation.1",
        2 * w, w);
    m->last = linear(l, ROOT, "final_layer.linear", c->channels, w);
}

struct flux2 *flux2_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux2_config *config, struct weights *weights,
                         struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    size_t doubles = (size_t)config->doubles, singles = (size_t)config->singles;
    struct flux2 *m = calloc(1, sizeof *m);
    if (m) {
        m->config = *config;
        m->latent = calloc(doubles, sizeof *m->latent);
        m->text = calloc(doubles, sizeof *m->text);
        m->singles = calloc(singles, sizeof *m->singles);
    }
    if (!m || !m->latent || !m->text || !m->singles) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        flux2_free(m);
        return NULL;
    }
    load_ends(&l, m);
    l.coarse = true;
    for (int i = 0; i < config->doubles; i++) {
        load_stream(&l, &m->latent[i], i, "img", config);
        load_stream(&l, &m->text[i], i, "txt", config);
    }
    for (int i = 0; i < config->singles; i++)
        load_single(&l, &m->singles[i], i, config);
    if (!l.failed)
        return m;
    flux2_free(m);
    return NULL;
}

static void free_stream(struct stream *s)
{
    matrix_free(s->qkv);
    matrix_free(s->out);
    matrix_free(s->in);
    matrix_free(s->down);
    free(s->q_norm);
    free(s->k_norm);
}

void flux2_free(struct flux2 *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->config.doubles && m->latent && m->text; i++) {
        free_stream(&m->latent[i]);
        free_stream(&m->text[i]);
    }
    for (int i = 0; i < m->config.singles && m->singles; i++) {
        matrix_free(m->singles[i].qkv);
        matrix_free(m->singles[i].in);
        matrix_free(m->singles[i].out);
        free(m->singles[i].q_norm);
        free(m->singles[i].k_norm);
    }
    for (int i = 0; i < 2; i++) {
        matrix_free(m->time[i]);
        matrix_free(m->guidance[i]);
    }
    matrix_free(m->latent_in);
    matrix_free(m->text_in);
    matrix_free(m->say_latent);
    matrix_free(m->say_text);
    matrix_free(m->say_single);
    matrix_free(m->say_last);
    matrix_free(m->last);
    free(m->latent);
    free(m->text);
    free(m->singles);
    free(m);
}

/* ---- what is the same in every step ---- */

/* The turns of a token at `position`, one row. */
static void turn(const struct flux2 *m, const int position[AXES], float *cosines, float *sines)
{
    int pairs = m->config.head / 2 / AXES;
    for (int a = 0; a < AXES; a++)
        for (int i = 0; i < pairs; i++) {
            double angle = position[a] * pow(THETA, -(double)i / pairs);
            cosines[a * pairs + i] = (float)cos(angle);
            sines[a * pairs + i] = (float)sin(angle);
        }
}

static void place(const struct flux2 *m, const struct flux2_scene *s, float *cosines, float *sines)
{
    size_t row = (size_t)(m->config.head / 2), at = 0;
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
    size_t mark = arena_mark(o->arena);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, tokens, m->config.width, 0);
    adaln_take(o, m->text_in, text, m->config.text, &y);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
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
    size_t n = (size_t)(call->tokens + call->own + call->shown) * (size_t)(c->head / 2);
    call->cos = arena_alloc(o->arena, n, sizeof *call->cos);
    call->sin = arena_alloc(o->arena, n, sizeof *call->sin);
    if (!arena_planning(o->arena))
        place(m, s, call->cos, call->sin);
    call->text = tensor_new(o->arena, dtype, 1, 1, call->tokens, c->width, 0);
    ops_from_floats(o, &call->text, s->words);
    if (!call->shown)
        return;
    call->references = tensor_new(o->arena, dtype, 1, 1, call->shown, c->width, 0);
    for (int i = 0, at = 0; i < s->reference_count; i++) {
        const struct flux2_reference *r = &s->references[i];
        struct tensor part = tensor_range(&call->references, at, r->height * r->width);
        adaln_take(o, m->latent_in, r->latent, c->channels, &part);
        at += r->height * r->width;
    }
}

/* ---- a step ---- */

/* Queries, keys and values of x, in `qkv`: heads brought to one length, not turned yet. */
static void ask(struct ops *o, const struct flux2_config *c, struct tensor *qkv,
                const struct tensor *x, const struct matrix *w, const float *q_norm,
                const float *k_norm)
{
    ops_linear(o, qkv, x, w, NULL);
    struct tensor q = tensor_slice(qkv, 0, c->width), k = tensor_slice(qkv, c->width, c->width);
    ops_rms_norm(o, &q, &q, c->head, ADALN_EPSILON, q_norm);
    ops_rms_norm(o, &k, &k, c->head, ADALN_EPSILON, k_norm);
}

static void attend(struct ops *o, const struct flux2_config *c, const struct flux2_call *call,
                   struct tensor *y, const struct tensor *qkv)
{
    struct tensor q = tensor_slice(qkv, 0, c->width), k = tensor_slice(qkv, c->width, c->width),
                  v = tensor_slice(qkv, 2 * c->width, c->width);
    struct attention_how how = {.heads = c->heads};
    ops_rope(o, &q, &q, call->cos, call->sin, c->heads, ROPE_ADJACENT);
    ops_rope(o, &k, &k, call->cos, call->sin, c->heads, ROPE_ADJACENT);
    ops_attend(o, y, &q, &k, &v, &how);
}

static void run_double(struct ops *o, const struct flux2 *m, int n, const struct flux2_call *call,
                       struct tensor *x, const struct adaln *text, const struct adaln *latent)
{
    const struct flux2_config *c = &m->config;
    const struct stream *streams[2] = {&m->text[n], &m->latent[n]};
    const struct adaln *says[2] = {text, latent};
    const int from[2] = {0, call->tokens}, count[2] = {call->tokens, x->w - call->tokens};
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        struct tensor asked = tensor_range(&qkv, from[i], count[i]);
        adaln_norm(o, &to, &part, &says[i][0]);
        ask(o, c, &asked, &to, streams[i]->qkv, streams[i]->q_norm, streams[i]->k_norm);
    }
    attend(o, c, call, &normed, &qkv);
    size_t after = arena_mark(o->arena);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        adaln_add(o, &part, &to, streams[i]->out, &says[i][0]);
        struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, count[i], c->inside, 0);
        adaln_norm(o, &to, &part, &says[i][1]);
        ops_linear(o, &inside, &to, streams[i]->in, NULL);
        adaln_add(o, &part, &inside, streams[i]->down, &says[i][1]);
        arena_reset(o->arena, after);
    }
    arena_reset(o->arena, mark);
}

static void run_single(struct ops *o, const struct flux2 *m, int n, const struct flux2_call *call,
                       struct tensor *x, const struct adaln *say)
{
    const struct flux2_config *c = &m->config;
    const struct single *s = &m->singles[n];
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    struct tensor both = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width + c->inside, 0);
    struct tensor attended = tensor_slice(&both, 0, c->width);
    struct tensor inside = tensor_slice(&both, c->width, c->inside);
    adaln_norm(o, &normed, x, say);
    ask(o, c, &qkv, &normed, s->qkv, s->q_norm, s->k_norm);
    attend(o, c, call, &attended, &qkv);
    ops_linear(o, &inside, &normed, s->in, NULL);
    adaln_add(o, x, &both, s->out, say);
    arena_reset(o->arena, mark);
}

void flux2_forward(struct ops *o, const struct flux2 *m, const struct flux2_call *call,
                   const float *latent, double t, float *velocity)
{
    const struct flux2_config *c = &m->config;
    size_t mark = arena_mark(o->arena);
    int all = call->tokens + call->own + call->shown;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, c->width, 0);
    struct tensor time = tensor_new(o->arena, x.dtype, 1, 1, 1, c->width, 0);
    struct adaln say_text[2], say_latent[2], say_single;
    adaln_number(o, m->time, t, false, &time);
    if (c->guided)
        adaln_number(o, m->guidance, 1000.0 * (double)call->guidance, true, &time);
    ops_activate(o, &time, &time, ACT_SILU);
    adaln_speak(o, m->say_text, &time, c->width, 2, say_text);
    adaln_speak(o, m->say_latent, &time, c->width, 2, say_latent);
    adaln_speak(o, m->say_single, &time, c->width, 1, &say_single);
    struct adaln say_last = adaln_speak_last(o, m->say_last, &time, c->width, c->scale_first);

    struct tensor text = tensor_range(&x, 0, call->tokens);
    struct tensor own = tensor_range(&x, call->tokens, call->own);
    ops_resize(o, &text, &call->text);
    adaln_take(o, m->latent_in, latent, c->channels, &own);
    if (call->shown) {
        struct tensor shown = tensor_range(&x, call->tokens + call->own, call->shown);
        ops_resize(o, &shown, &call->references);
    }
    for (int i = 0; i < c->doubles; i++)
        run_double(o, m, i, call, &x, say_text, say_latent);
    for (int i = 0; i < c->singles; i++)
        run_single(o, m, i, call, &x, &say_single);

    struct tensor normed = tensor_new(o->arena, x.dtype, 1, 1, call->own, c->width, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, call->own, c->channels, 0);
    adaln_norm(o, &normed, &own, &say_last);
    ops_linear(o, &y, &normed, m->last, NULL);
    ops_to_floats(o, velocity, &y);
    arena_reset(o->arena, mark);
}
