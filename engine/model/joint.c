/* joint.c: Products write where the next one reads: words and pictures are parts of one sequence
 * from the first block to the last, and attention and the feed-forward of a single block lie side
 * by side, as its last product takes them. */
#include "engine/model/joint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOT JOINT_ROOT
#define MAX_BLOCKS 128

/* ---- sizes ---- */

static int count_blocks(const struct checkpoint *cp, const char *kind, const char *tensor)
{
    int n = 0;
    while (n <= MAX_BLOCKS && checkpoint_findf(cp, ROOT "%s.%d.%s", kind, n, tensor))
        n++;
    return n;
}

bool joint_find(const struct checkpoint *cp, const char *name, int out[2], struct err *err)
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

bool joint_read(const struct checkpoint *cp, int unit, struct joint_sizes *s, struct err *err)
{
    int in[2], text[2], single[2];
    *s = (struct joint_sizes){
        .doubles = count_blocks(cp, "double_blocks", "img_mlp.0.weight"),
        .singles = count_blocks(cp, "single_blocks", "linear2.weight"),
        .guided = checkpoint_find(cp, ROOT "guidance_in.in_layer.weight"),
        .scale_first = checkpoint_find(cp, ROOT "final_layer.scale_shift.weight"),
    };
    if (!joint_find(cp, "img_in", in, err) || !joint_find(cp, "txt_in", text, err) ||
        !joint_find(cp, "single_blocks.0.linear2", single, err))
        return false;
    const struct raw_tensor *head = find_head(cp, "single_blocks.0.norm.query_norm");
    s->width = in[0];
    s->text = text[1];
    s->inside = single[1] - s->width;
    s->head =
        head && head->ndim == 1 && head->shape[0] <= LAYERS_MAX_HEAD ? (int)head->shape[0] : 0;
    if (s->head < 1 || s->head % unit || s->width % s->head || s->width % 32 ||
        s->width > LAYERS_MAX_WIDTH)
        return err_set(
            err, ERR_UNSUPPORTED,
            "transformer: wanted a width of at most %d, a multiple of 32 and of a head's "
            "channels, which are a multiple of %d, found %d and %d",
            LAYERS_MAX_WIDTH, unit, s->width, s->head);
    s->heads = s->width / s->head;
    if (s->inside < 32 || s->inside % 32 || single[1] > LAYERS_MAX_K || s->text > LAYERS_MAX_K)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted feed-forwards of a multiple of 32 channels and words "
                       "of at most %d, found %d and %d",
                       LAYERS_MAX_K, s->inside, s->text);
    if (s->doubles < 1 || s->doubles > MAX_BLOCKS || s->singles < 1 || s->singles > MAX_BLOCKS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted 1..%d blocks of either kind, found %d and %d",
                       MAX_BLOCKS, s->doubles, s->singles);
    return true;
}

/* ---- loading ---- */

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

static struct matrix *apart(struct loader *l, const char *prefix, int width, bool bias)
{
    static const char *const names[] = {"q", "k", "v"};
    return layers_stacked(l, prefix, names, 3, width, width, bias);
}

/* Rows of the way into a feed-forward: values, and gates where it has them. */
static int inside_rows(const struct joint *j)
{
    return matrix_kind_gated(j->kind.feed) ? 2 * j->sizes.inside : j->sizes.inside;
}

/* `side`: "img" or "txt". */
static void load_stream(struct loader *l, struct joint_stream *s, int n, const char *side,
                        const struct joint *j)
{
    char p[80];
    bool bias = j->kind.bias;
    int w = j->sizes.width, inside = j->sizes.inside, in = inside_rows(j);
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_mlp.", n, side);
    s->in = layers_rows(l, j->kind.feed, p, "0", 0, in, in, w, bias);
    s->down = layers_linear(l, p, "2", w, inside, bias);
    snprintf(p, sizeof p, ROOT "double_blocks.%d.%s_attn.", n, side);
    s->qkv = is_apart(l, p) ? apart(l, p, w, bias) : layers_linear(l, p, "qkv", 3 * w, w, bias);
    s->q_norm = head_norm(l, p, "norm.query_norm", j->sizes.head);
    s->k_norm = head_norm(l, p, "norm.key_norm", j->sizes.head);
    s->out = layers_linear(l, p, "proj", w, w, bias);
}

static void load_single(struct loader *l, struct joint_single *s, int n, const struct joint *j)
{
    char p[80];
    bool bias = j->kind.bias;
    int w = j->sizes.width, inside = j->sizes.inside, qkv = 3 * w, in = inside_rows(j);
    snprintf(p, sizeof p, ROOT "single_blocks.%d.", n);
    if (is_apart(l, p)) {
        s->qkv = apart(l, p, w, bias);
        s->in = layers_rows(l, j->kind.feed, p, "mlp", 0, in, in, w, bias);
    } else {
        s->qkv = layers_rows(l, MATRIX_LINEAR, p, "linear1", 0, qkv, qkv + in, w, bias);
        s->in = layers_rows(l, j->kind.feed, p, "linear1", qkv, in, qkv + in, w, bias);
    }
    s->q_norm = head_norm(l, p, "norm.query_norm", j->sizes.head);
    s->k_norm = head_norm(l, p, "norm.key_norm", j->sizes.head);
    s->out = layers_linear(l, p, "linear2", w, w + inside, bias);
}

static void load_ends(struct loader *l, struct joint *j, int takes, int says)
{
    const struct joint_sizes *s = &j->sizes;
    bool bias = j->kind.bias;
    int w = s->width;
    j->latent_in = layers_linear(l, ROOT, "img_in", w, takes, bias);
    j->text_in = layers_linear(l, ROOT, "txt_in", w, s->text, bias);
    j->time[0] = layers_linear(l, ROOT, "time_in.in_layer", w, ADALN_SINUSOIDS, bias);
    j->time[1] = layers_linear(l, ROOT, "time_in.out_layer", w, w, bias);
    if (s->guided) {
        j->guidance[0] = layers_linear(l, ROOT, "guidance_in.in_layer", w, ADALN_SINUSOIDS, bias);
        j->guidance[1] = layers_linear(l, ROOT, "guidance_in.out_layer", w, w, bias);
    }
    j->say_last = layers_linear(
        l, ROOT, s->scale_first ? "final_layer.scale_shift" : "final_layer.adaLN_modulation.1",
        2 * w, w, bias);
    j->last = layers_linear(l, ROOT, "final_layer.linear", says, w, bias);
}

bool joint_load(struct loader *l, struct joint *j, const struct joint_sizes *sizes,
                const struct joint_kind *kind, int takes, int says)
{
    size_t doubles = (size_t)sizes->doubles, singles = (size_t)sizes->singles;
    bool coarse = l->coarse;
    j->sizes = *sizes;
    j->kind = *kind;
    j->latent = calloc(doubles, sizeof *j->latent);
    j->text = calloc(doubles, sizeof *j->text);
    j->singles = calloc(singles, sizeof *j->singles);
    if (!j->latent || !j->text || !j->singles)
        return err_set(l->err, ERR_INTERNAL, "no memory for a transformer");
    load_ends(l, j, takes, says);
    l->coarse = true;
    for (int i = 0; i < sizes->doubles; i++) {
        load_stream(l, &j->latent[i], i, "img", j);
        load_stream(l, &j->text[i], i, "txt", j);
    }
    for (int i = 0; i < sizes->singles; i++)
        load_single(l, &j->singles[i], i, j);
    l->coarse = coarse;
    return !l->failed;
}

static void free_stream(struct joint_stream *s)
{
    matrix_free(s->qkv);
    matrix_free(s->out);
    matrix_free(s->in);
    matrix_free(s->down);
    free(s->q_norm);
    free(s->k_norm);
}

void joint_free(struct joint *j)
{
    for (int i = 0; i < j->sizes.doubles && j->latent && j->text; i++) {
        free_stream(&j->latent[i]);
        free_stream(&j->text[i]);
    }
    for (int i = 0; i < j->sizes.singles && j->singles; i++) {
        matrix_free(j->singles[i].qkv);
        matrix_free(j->singles[i].in);
        matrix_free(j->singles[i].out);
        free(j->singles[i].q_norm);
        free(j->singles[i].k_norm);
    }
    for (int i = 0; i < 2; i++) {
        matrix_free(j->time[i]);
        matrix_free(j->guidance[i]);
    }
    matrix_free(j->latent_in);
    matrix_free(j->text_in);
    matrix_free(j->say_last);
    matrix_free(j->last);
    free(j->latent);
    free(j->text);
    free(j->singles);
}

/* ---- a step ---- */

void joint_turn(double theta, int axes, const int *pairs, const int *position, float *cosines,
                float *sines)
{
    for (int a = 0; a < axes; a++)
        for (int i = 0; i < pairs[a]; i++) {
            double angle = position[a] * pow(theta, -(double)i / pairs[a]);
            *cosines++ = (float)cos(angle);
            *sines++ = (float)sin(angle);
        }
}

void joint_ask(struct ops *o, int head, struct tensor *qkv, const struct tensor *x,
               const struct matrix *w, const float *q_norm, const float *k_norm)
{
    int width = qkv->c / 3;
    ops_linear(o, qkv, x, w, NULL);
    if (!q_norm)
        return;
    struct tensor q = tensor_slice(qkv, 0, width), k = tensor_slice(qkv, width, width);
    ops_rms_norm(o, &q, &q, head, ADALN_EPSILON, q_norm);
    ops_rms_norm(o, &k, &k, head, ADALN_EPSILON, k_norm);
}

void joint_attend(struct ops *o, int heads, const struct joint_turns *turns, struct tensor *y,
                  const struct tensor *qkv)
{
    int width = qkv->c / 3;
    struct tensor q = tensor_slice(qkv, 0, width), k = tensor_slice(qkv, width, width),
                  v = tensor_slice(qkv, 2 * width, width);
    struct attention_how how = {.heads = heads};
    if (turns) {
        ops_rope(o, &q, &q, turns->cos, turns->sin, heads, ROPE_ADJACENT);
        ops_rope(o, &k, &k, turns->cos, turns->sin, heads, ROPE_ADJACENT);
    }
    ops_attend(o, y, &q, &k, &v, &how);
}

void joint_double(struct ops *o, const struct joint *j, int n, const struct joint_turns *turns,
                  int words, const struct adaln *text, const struct adaln *latent, struct tensor *x)
{
    const struct joint_sizes *s = &j->sizes;
    const struct joint_stream *streams[2] = {&j->text[n], &j->latent[n]};
    const struct adaln *says[2] = {text, latent};
    const int from[2] = {0, words}, count[2] = {words, x->w - words};
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, s->width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * s->width, 0);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        struct tensor asked = tensor_range(&qkv, from[i], count[i]);
        adaln_norm(o, &to, &part, &says[i][0]);
        joint_ask(o, s->head, &asked, &to, streams[i]->qkv, streams[i]->q_norm, streams[i]->k_norm);
    }
    joint_attend(o, s->heads, turns, &normed, &qkv);
    size_t after = arena_mark(o->arena);
    for (int i = 0; i < 2; i++) {
        struct tensor part = tensor_range(x, from[i], count[i]);
        struct tensor to = tensor_range(&normed, from[i], count[i]);
        adaln_add(o, &part, &to, streams[i]->out, &says[i][0]);
        struct tensor inside = tensor_new(o->arena, x->dtype, 1, 1, count[i], s->inside, 0);
        adaln_norm(o, &to, &part, &says[i][1]);
        ops_linear(o, &inside, &to, streams[i]->in, j->kind.act);
        adaln_add(o, &part, &inside, streams[i]->down, &says[i][1]);
        arena_reset(o->arena, after);
    }
    arena_reset(o->arena, mark);
}

void joint_single(struct ops *o, const struct joint *j, int n, const struct joint_turns *turns,
                  const struct adaln *say, struct tensor *x)
{
    const struct joint_sizes *sizes = &j->sizes;
    const struct joint_single *s = &j->singles[n];
    int width = sizes->width, inside = sizes->inside;
    size_t mark = arena_mark(o->arena);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, width, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->w, 3 * width, 0);
    struct tensor both = tensor_new(o->arena, x->dtype, 1, 1, x->w, width + inside, 0);
    struct tensor attended = tensor_slice(&both, 0, width);
    struct tensor fed = tensor_slice(&both, width, inside);
    adaln_norm(o, &normed, x, say);
    joint_ask(o, sizes->head, &qkv, &normed, s->qkv, s->q_norm, s->k_norm);
    joint_attend(o, sizes->heads, turns, &attended, &qkv);
    ops_linear(o, &fed, &normed, s->in, j->kind.act);
    adaln_add(o, x, &both, s->out, say);
    arena_reset(o->arena, mark);
}

void joint_answer(struct ops *o, const struct joint *j, const struct tensor *vector,
                  const struct tensor *x, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct adaln say =
        adaln_speak_last(o, j->say_last, vector, j->sizes.width, j->sizes.scale_first);
    struct tensor normed = tensor_new(o->arena, x->dtype, 1, 1, x->w, x->c, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, x->w, matrix_rows(j->last), 0);
    adaln_norm(o, &normed, x, &say);
    ops_linear(o, &y, &normed, j->last, NULL);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
}
