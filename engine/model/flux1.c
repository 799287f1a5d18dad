/* flux1.c: One sequence of tokens holds words and latent in this order from the first block to the
 * last; the double blocks see parts of it. Attention and the feed-forward of a single block lie
 * side by side, as its last product takes them. */
#include "engine/model/flux1.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/adaln.h"
#include "engine/model/layers.h"
#include "engine/model/patches.h"

#define ROOT "model.diffusion_model."
#define MAX_BLOCKS 128
#define THETA 10000.0
#define PATCH 2 /* latent pixels that are a token, a side */

/* What words and picture have of their own in a double block. */
struct stream {
    struct matrix *say, *qkv, *out, *in, *down;
    float *q_norm, *k_norm; /* [head] */
};

struct single {
    struct matrix *say, *qkv, *in, *out;
    float *q_norm, *k_norm;
};

struct flux1 {
    struct flux1_config config;
    struct matrix *latent_in, *text_in, *time[2], *guidance[2], *whole[2], *say_last, *last;
    struct stream *latent, *text; /* [doubles] */
    struct single *singles;
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

bool flux1_read(const struct checkpoint *cp, struct flux1_config *c, struct err *err)
{
    int in[2], out[2], text[2], pooled[2], single[2];
    *c = (struct flux1_config){
        .doubles = count_blocks(cp, "double_blocks", "img_mlp.0.weight"),
        .singles = count_blocks(cp, "single_blocks", "linear2.weight"),
        .guided = checkpoint_find(cp, ROOT "guidance_in.in_layer.weight"),
        .scale_first = checkpoint_find(cp, ROOT "final_layer.scale_shift.weight"),
    };
    if (!find_sizes(cp, "img_in", in, err) || !find_sizes(cp, "txt_in", text, err) ||
        !find_sizes(cp, "vector_in.in_layer", pooled, err) ||
        !find_sizes(cp, "final_layer.linear", out, err) ||
        !find_sizes(cp, "single_blocks.0.linear2", single, err))
        return false;
    const struct raw_tensor *head = find_head(cp, "single_blocks.0.norm.query_norm");
    c->takes = in[1] / PATCH / PATCH;
    c->channels = out[0] / PATCH / PATCH;
    c->width = in[0];
    c->text = text[1];
    c->pooled = pooled[1];
    c->inside = single[1] - c->width;
    c->head =
        head && head->ndim == 1 && head->shape[0] <= LAYERS_MAX_HEAD ? (int)head->shape[0] : 0;
    if (c->head < 1 || c->head % 32 || c->width % c->head || c->width > LAYERS_MAX_WIDTH)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a width of at most %d, a multiple of a head's "
                       "channels, which are a multiple of 32, found %d and %d",
                       LAYERS_MAX_WIDTH, c->width, c->head);
    c->heads = c->width / c->head;
    if (c->inside < 32 || c->inside % 32 || single[1] > LAYERS_MAX_K || c->text > LAYERS_MAX_K ||
        c->pooled > LAYERS_MAX_K)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted feed-forwards of a multiple of 32 channels and words "
                       "of at most %d, found %d and %d",
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
    return layers_linear(l, prefix, name, n, k, true);
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
static bool is_apart(const struct loader *l, const char *prefix)
{
    return l->cp && checkpoint_findf(l->cp, "%sq.weight", prefix);
}

static struct matrix *apart(struct loader *l, const char *prefix, int width)
{
    static const char *const names[] = {"q", "k", "v"};
    return layers_stacked(l, prefix, names, 3, width, width, true);
}

/* `side`: "img" or "txt". */
static void load_stream(struct loader *l, struct stream *s, int n, const char *side,
                        const struct flux1_config *c)
{
    char p[80];
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_", n, side);
    s->say = linear(l, p, "mod.lin", 6 * c->width, c->width);
    s->in = linear(l, p, "mlp.0", c->inside, c->width);
    s->down = linear(l, p, "mlp.2", c->width, c->inside);
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_attn.", n, side);
    s->qkv = is_apart(l, p) ? apart(l, p, c->width) : linear(l, p, "qkv", 3 * c->width, c->width);
    s->q_norm = head_norm(l, p, "norm.query_norm", c->head);
    s->k_norm = head_norm(l, p, "norm.key_norm", c->head);
    s->out = linear(l, p, "proj", c->width, c->width);
}

static void load_single(struct loader *l, struct single *s, int n, const struct flux1_config *c)
{
    char p[80];
    int qkv = 3 * c->width, all = qkv + c->inside;
    snprintf(p, sizeof p, ROOT "single_blocks.%d.", n);
    s->say = linear(l, p, "modulation.lin", 3 * c->width, c->width);
    if (is_apart(l, p)) {
        s->qkv = apart(l, p, c->width);
        s->in = linear(l, p, "mlp", c->inside, c->width);
    } else {
        s->qkv = layers_rows_biased(l, MATRIX_LINEAR, p, "linear1", 0, qkv, all, c->width);
        s->in = layers_rows_biased(l, MATRIX_LINEAR, p, "linear1", qkv, c->inside, all, c->width);
    }
    s->q_norm = head_norm(l, p, "norm.query_norm", c->head);
    s->k_norm = head_norm(l, p, "norm.key_norm", c->head);
    s->out = linear(l, p, "linear2", c->width, c->width + c->inside);
}

static void load_ends(struct loader *l, struct flux1 *m)
{
    const struct flux1_config *c = &m->config;
    int w = c->width;
    m->latent_in = linear(l, ROOT, "img_in", w, PATCH * PATCH * c->takes);
    m->text_in = linear(l, ROOT, "txt_in", w, c->text);
    m->time[0] = linear(l, ROOT, "time_in.in_layer", w, ADALN_SINUSOIDS);
    m->time[1] = linear(l, ROOT, "time_in.out_layer", w, w);
    m->whole[0] = linear(l, ROOT, "vector_in.in_layer", w, c->pooled);
    m->whole[1] = linear(l, ROOT, "vector_in.out_layer", w, w);
    if (c->guided) {
        m->guidance[0] = linear(l, ROOT, "guidance_in.in_layer", w, ADALN_SINUSOIDS);
        m->guidance[1] = linear(l, ROOT, "guidance_in.out_layer", w, w);
    }
    m->say_last = linear(
        l, ROOT, c->scale_first ? "final_layer.scale_shift" : "final_layer.adaLN_modulation.1",
        2 * w, w);
    m->last = linear(l, ROOT, "final_layer.linear", PATCH * PATCH * c->channels, w);
}

struct flux1 *flux1_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux1_config *config, struct weights *weights,
                         struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    size_t doubles = (size_t)config->doubles, singles = (size_t)config->singles;
    struct flux1 *m = calloc(1, sizeof *m);
    if (m) {
        m->config = *config;
        m->latent = calloc(doubles, sizeof *m->latent);
        m->text = calloc(doubles, sizeof *m->text);
        m->singles = calloc(singles, sizeof *m->singles);
    }
    if (!m || !m->latent || !m->text || !m->singles) {
        err_set(err, ERR_INTERNAL, "no memory for a transformer");
        flux1_free(m);
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
    flux1_free(m);
    return NULL;
}

static void free_stream(struct stream *s)
{
    matrix_free(s->say);
    matrix_free(s->qkv);
    matrix_free(s->out);
    matrix_free(s->in);
    matrix_free(s->down);
    free(s->q_norm);
    free(s->k_norm);
}

void flux1_free(struct flux1 *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->config.doubles && m->latent && m->text; i++) {
        free_stream(&m->latent[i]);
        free_stream(&m->text[i]);
    }
    for (int i = 0; i < m->config.singles && m->singles; i++) {
        matrix_free(m->singles[i].say);
        matrix_free(m->singles[i].qkv);
        matrix_free(m->singles[i].in);
        matrix_free(m->singles[i].out);
        free(m->singles[i].q_norm);
        free(m->singles[i].k_norm);
    }
    for (int i = 0; i < 2; i++) {
        matrix_free(m->time[i]);
        matrix_free(m->guidance[i]);
        matrix_free(m->whole[i]);
    }
    matrix_free(m->latent_in);
    matrix_free(m->text_in);
    matrix_free(m->say_last);
    matrix_free(m->last);
    free(m->latent);
    free(m->text);
    free(m->singles);
    free(m);
}

/* ---- what is the same in every step ---- */

/* The turns of a token at row y and column x: an eighth of a head's channels are the picture's
 * number, which is 0, and seven sixteenths each the row's and the column's. */
static void turn(const struct flux1 *m, int y, int x, float *cosines, float *sines)
{
    const int position[] = {0, y, x}, head = m->config.head;
    const int pairs[] = {head / 16, 7 * head / 32, 7 * head / 32};
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < pairs[a]; i++) {
            double angle = position[a] * pow(THETA, -(double)i / pairs[a]);
            *cosines++ = (float)cos(angle);
            *sines++ = (float)sin(angle);
        }
}

static void place(const struct flux1 *m, const struct flux1_call *call)
{
    size_t row = (size_t)(m->config.head / 2), at = 0;
    for (int i = 0; i < call->tokens; i++, at += row)
        turn(m, 0, 0, call->cos + at, call->sin + at);
    for (int y = 0; y < call->height / PATCH; y++)
        for (int x = 0; x < call->width / PATCH; x++, at += row)
            turn(m, y, x, call->cos + at, call->sin + at);
}

void flux1_words(struct ops *o, const struct flux1 *m, const float *text, int tokens, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, tokens, m->config.width, 0);
    adaln_take(o, m->text_in, text, m->config.text, &y);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
}

static int own_of(const struct flux1_call *call)
{
    return call->height / PATCH * (call->width / PATCH);
}

void flux1_begin(struct ops *o, const struct flux1 *m, const struct flux1_scene *s,
                 struct flux1_call *call)
{
    const struct flux1_config *c = &m->config;
    enum dtype dtype = device_dtype(o->dev);
    *call = (struct flux1_call){.tokens = s->tokens, .height = s->height, .width = s->width};
    size_t n = (size_t)(call->tokens + own_of(call)) * (size_t)(c->head / 2);
    call->cos = arena_alloc(o->arena, n, sizeof *call->cos);
    call->sin = arena_alloc(o->arena, n, sizeof *call->sin);
    if (!arena_planning(o->arena))
        place(m, call);
    call->text = tensor_new(o->arena, dtype, 1, 1, call->tokens, c->width, 0);
    call->said = tensor_new(o->arena, dtype, 1, 1, 1, c->width, 0);
    ops_from_floats(o, &call->text, s->words);
    adaln_vector(o, m->whole, s->pooled, c->pooled, false, &call->said);
    if (c->guided)
        adaln_number(o, m->guidance, 1000.0 * (double)s->guidance, true, &call->said);
}

/* ---- a step ---- */

/* Queries, keys and values of x, in `qkv`: heads brought to one length, not turned yet. */
static void ask(struct ops *o, const struct flux1_config *c, struct tensor *qkv,
                const struct tensor *x, const struct matrix *w, const float *q_norm,
                const float *k_norm)
{
    ops_linear(o, qkv, x, w, NULL);
    struct tensor q = tensor_slice(qkv, 0, c->width), k = tensor_slice(qkv, c->width, c->width);
    ops_rms_norm(o, &q, &q, c->head, ADALN_EPSILON, q_norm);
    ops_rms_norm(o, &k, &k, c->head, ADALN_EPSILON, k_norm);
}

static void attend(struct ops *o, const struct flux1_config *c, const struct flux1_call *call,
                   struct tensor *y, const struct tensor *qkv)
{
    struct tensor q = tensor_slice(qkv, 0, c->width), k = tensor_slice(qkv, c->width, c->width),
                  v = tensor_slice(qkv, 2 * c->width, c->width);
    struct attention_how how = {.heads = c->heads};
    ops_rope(o, &q, &q, call->cos, call->sin, c->heads, ROPE_ADJACENT);
    ops_rope(o, &k, &k, call->cos, call->sin, c->heads, ROPE_ADJACENT);
    ops_attend(o, y, &q, &k, &v, &how);
}

static void run_double(struct ops *o, const struct flux1 *m, int n, const struct flux1_call *call,
                       struct tensor *x, const struct tensor *vector)
{
    const struct flux1_config *c = &m->config;
    const struct stream *streams[2] = {&m->text[n], &m->latent[n]};
    const int from[2] = {0, call->tokens}, count[2] = {call->tokens, x->w - call->tokens};
    const struct epilogue gelu = {.act = ACT_GELU_TANH};
    struct adaln says[2][2];
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        struct tensor asked = tensor_range(&qkv, from[i], count[i]);
        adaln_speak(o, streams[i]->say, vector, c->width, 2, says[i]);
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
        ops_linear(o, &inside, &to, streams[i]->in, &gelu);
        adaln_add(o, &part, &inside, streams[i]->down, &says[i][1]);
        arena_reset(o->arena, after);
    }
    arena_reset(o->arena, mark);
}

static void run_single(struct ops *o, const struct flux1 *m, int n, const struct flux1_call *call,
                       struct tensor *x, const struct tensor *vector)
{
    const struct flux1_config *c = &m->config;
    const struct single *s = &m->singles[n];
    const struct epilogue gelu = {.act = ACT_GELU_TANH};
    struct adaln say;
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * c->width, 0);
    struct tensor both = tensor_new(o->arena, x->dtype, 1, 1, x->w, c->width + c->inside, 0);
    struct tensor attended = tensor_slice(&both, 0, c->width);
    struct tensor inside = tensor_slice(&both, c->width, c->inside);
    adaln_speak(o, s->say, vector, c->width, 1, &say);
    adaln_norm(o, &normed, x, &say);
    ask(o, c, &qkv, &normed, s->qkv, s->q_norm, s->k_norm);
    attend(o, c, call, &attended, &qkv);
    ops_linear(o, &inside, &normed, s->in, &gelu);
    adaln_add(o, x, &both, s->out, &say);
    arena_reset(o->arena, mark);
}

void flux1_forward(struct ops *o, const struct flux1 *m, const struct flux1_call *call,
                   const float *latent, double t, float *velocity)
{
    const struct flux1_config *c = &m->config;
    size_t mark = arena_mark(o->arena);
    int own_tokens = own_of(call), all = call->tokens + own_tokens, patch = PATCH * PATCH;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, 1, all, c->width, 0);
    struct tensor vector = tensor_new(o->arena, x.dtype, 1, 1, 1, c->width, 0);
    adaln_number(o, m->time, t, false, &vector);
    ops_add(o, &vector, &call->said, 1);
    ops_activate(o, &vector, &vector, ACT_SILU);

    struct tensor text = tensor_range(&x, 0, call->tokens);
    struct tensor own = tensor_range(&x, call->tokens, own_tokens);
    size_t tokens = (size_t)own_tokens * (size_t)patch;
    float *cut = arena_alloc(o->arena, tokens * (size_t)c->takes, sizeof *cut);
    if (!arena_planning(o->arena))
        patches_cut(latent, call->height, call->width, c->takes, PATCHES_CHANNELS_FIRST, cut);
    ops_resize(o, &text, &call->text);
    adaln_take(o, m->latent_in, cut, patch * c->takes, &own);
    for (int i = 0; i < c->doubles; i++)
        run_double(o, m, i, call, &x, &vector);
    for (int i = 0; i < c->singles; i++)
        run_single(o, m, i, call, &x, &vector);

    struct adaln say = adaln_speak_last(o, m->say_last, &vector, c->width, c->scale_first);
    struct tensor normed = tensor_new(o->arena, x.dtype, 1, 1, own_tokens, c->width, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, own_tokens, patch * c->channels, 0);
    float *said = arena_alloc(o->arena, tokens * (size_t)c->channels, sizeof *said);
    adaln_norm(o, &normed, &own, &say);
    ops_linear(o, &y, &normed, m->last, NULL);
    ops_to_floats(o, said, &y);
    if (!arena_planning(o->arena))
        patches_join(said, call->height, call->width, c->channels, PATCHES_CHANNELS_FIRST,
                     velocity);
    arena_reset(o->arena, mark);
}
