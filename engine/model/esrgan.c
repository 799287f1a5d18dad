/* esrgan.c: the networks.
 *
 * A dense block's layers each read what all before them wrote: they share one buffer of as many
 * channels as there are in the end, and every layer writes behind what it reads. Channels are
 * filled up with zeros to whole panels, weights too, so that any number of them can be laid side by
 * side. The factors of residuals (0.2) are multiplied into the weights when they are loaded. */
#include "engine/model/esrgan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 128
#define DENSE 5    /* layers of a dense block */
#define RESIDUAL 3 /* dense blocks of a residual block */
#define MOST_FEATURES 512
#define MOST_BLOCKS 256
#define MOST_DOUBLINGS 3
#define FALLS 0.2f /* below zero, in RRDBNet */
#define RESIDUAL_SCALE 0.2f
#define TAIL 1.5 /* residual blocks that cost what the doublings and the end do */

struct esrgan {
    struct esrgan_config config;
    int features, grow; /* filled up */
    size_t bytes;
    struct matrix *first, *last;
    /* SRVGGNetCompact: `blocks` matrices; RRDBNet: blocks x RESIDUAL x DENSE. */
    struct matrix **body;
    float **slopes; /* SRVGGNetCompact: 1 + blocks; RRDBNet: one, of FALLS */
    size_t body_count, slope_count;
    struct matrix *trunk, *up[MOST_DOUBLINGS], *high; /* RRDBNet */
};

/* ---- names ---- */

/* Of RRDBNet. `dense`: block, dense block and layer; `trunk`: the number of blocks; `up`, from 1.
 */
static const struct names {
    const char *first, *dense, *trunk, *up, *high, *last;
} sets[] = {
    {"conv_first", "body.%d.rdb%d.conv%d", "conv_body", "conv_up%d", "conv_hr", "conv_last"},
    {"conv_first", "RRDB_trunk.%d.RDB%d.conv%d", "trunk_conv", "upconv%d", "HRconv", "conv_last"},
    {"model.0", "model.1.sub.%d.RDB%d.conv%d.0", "model.1.sub.%d", NULL, NULL, NULL},
};
enum { OLD = 2 };

static const char *const prefixes[] = {"", "params_ema.", "params."};

__attribute__((format(printf, 2, 3))) static const char *say(char out[NAME_SIZE], const char *fmt,
                                                             ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out, NAME_SIZE, fmt, ap);
    va_end(ap);
    return out;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static const char *dense_name(char out[NAME_SIZE], const struct esrgan_config *c, int block, int i,
                              int layer)
{
    snprintf(out, NAME_SIZE, sets[c->names].dense, block, i + 1, layer + 1);
    return out;
}

/* The layers behind the blocks; ESRGAN's old files number them through, with those that have no
 * weights. */
static const char *trunk_name(char out[NAME_SIZE], const struct esrgan_config *c)
{
    snprintf(out, NAME_SIZE, sets[c->names].trunk, c->blocks);
    return out;
}

static const char *up_name(char out[NAME_SIZE], const struct esrgan_config *c, int i)
{
    if (c->names == OLD)
        return say(out, "model.%d", 3 * (i + 1));
    snprintf(out, NAME_SIZE, sets[c->names].up, i + 1);
    return out;
}
#pragma GCC diagnostic pop

static const char *high_name(char out[NAME_SIZE], const struct esrgan_config *c)
{
    if (c->names == OLD)
        return say(out, "model.%d", 3 * c->doublings + 2);
    return sets[c->names].high;
}

static const char *last_name(char out[NAME_SIZE], const struct esrgan_config *c)
{
    if (c->names == OLD)
        return say(out, "model.%d", 3 * c->doublings + 4);
    return sets[c->names].last;
}

static const struct raw_tensor *find(const struct checkpoint *cp, const struct esrgan_config *c,
                                     const char *name)
{
    return checkpoint_findf(cp, "%s%s.weight", c->below, name);
}

/* ---- what a file holds ---- */

/* [n, k, 3, 3] */
static bool conv_sizes(const struct checkpoint *cp, const struct esrgan_config *c, const char *name,
                       int *n, int *k, struct err *err)
{
    char full[NAME_SIZE];
    int sizes[4];
    if (!checkpoint_sizes(cp, say(full, "%s%s.weight", c->below, name), 4, sizes, err))
        return false;
    if (sizes[2] != 3 || sizes[3] != 3)
        return err_set(err, ERR_UNSUPPORTED, "tensor %s: wanted a 3x3 convolution, found %dx%d",
                       full, sizes[2], sizes[3]);
    *n = sizes[0];
    *k = sizes[1];
    return true;
}

static bool in_range(const char *what, int value, int most, struct err *err)
{
    return (value >= 1 && value <= most) ||
           err_set(err, ERR_UNSUPPORTED, "upscaler: wanted 1..%d %s, found %d", most, what, value);
}

/* The pixels a side that are channels of one. */
static bool read_unshuffle(struct esrgan_config *c, int channels, struct err *err)
{
    for (c->unshuffle = 1; c->unshuffle <= 4; c->unshuffle *= 2)
        if (channels == 3 * c->unshuffle * c->unshuffle)
            return true;
    return err_set(err, ERR_UNSUPPORTED,
                   "upscaler: takes %d channels; pictor runs those that take RGB (3, or 12 or 48 "
                   "of 2x2 or 4x4 pixels)",
                   channels);
}

static bool read_compact(const struct checkpoint *cp, struct esrgan_config *c, struct err *err)
{
    char name[NAME_SIZE];
    int n = 0, k = 0, layer = 0;
    if (!conv_sizes(cp, c, "body.0", &c->features, &k, err) || !read_unshuffle(c, k, err) ||
        !in_range("channels between layers", c->features, MOST_FEATURES, err))
        return false;
    while (layer / 2 < MOST_BLOCKS && find(cp, c, say(name, "body.%d", layer + 2)))
        layer += 2;
    c->blocks = layer / 2 - 1;
    if (c->blocks < 0 || c->blocks > MOST_BLOCKS - 2)
        return err_set(err, ERR_UNSUPPORTED,
                       "upscaler: wanted body.0 .. body.N, found body.%d last", layer);
    if (!find(cp, c, "body.1"))
        return err_set(
            err, ERR_UNSUPPORTED,
            "upscaler: body.1.weight is missing; pictor runs SRVGGNetCompact with PReLU");
    if (!conv_sizes(cp, c, say(name, "body.%d", layer), &n, &k, err))
        return false;
    for (c->scale = 1; c->scale <= 4; c->scale++)
        if (n == 3 * c->scale * c->scale && c->unshuffle == 1)
            return true;
    return err_set(err, ERR_UNSUPPORTED,
                   "upscaler: %d channels come out of body.%d; wanted 3, 12, 27 or 48 of RGB", n,
                   layer);
}

static bool read_rrdb(const struct checkpoint *cp, struct esrgan_config *c, struct err *err)
{
    char name[NAME_SIZE];
    int channels = 0, k = 0, n = 0;
    if (!conv_sizes(cp, c, sets[c->names].first, &c->features, &channels, err) ||
        !read_unshuffle(c, channels, err) ||
        !in_range("channels between layers", c->features, MOST_FEATURES, err) ||
        !conv_sizes(cp, c, dense_name(name, c, 0, 0, 0), &c->grow, &k, err) ||
        !in_range("channels that a layer adds", c->grow, MOST_FEATURES, err))
        return false;
    while (c->blocks < MOST_BLOCKS && find(cp, c, dense_name(name, c, c->blocks, 0, 0)))
        c->blocks++;
    if (checkpoint_findf(cp, "%s%s.weight", c->below,
                         c->names == OLD ? "model.1.sub.0.RDB1.conv1x1"
                                         : "RRDB_trunk.0.RDB1.conv1x1"))
        return err_set(err, ERR_UNSUPPORTED,
                       "upscaler: this is an ESRGAN+ (conv1x1); pictor runs "
                       "ESRGAN and Real-ESRGAN");
    /* Of the layers behind the blocks the last but two enlarge. */
    while (c->doublings < MOST_DOUBLINGS && find(cp, c, up_name(name, c, c->doublings)))
        c->doublings++;
    if (!conv_sizes(cp, c, last_name(name, c), &n, &k, err))
        return false;
    if (n != 3)
        return err_set(err, ERR_UNSUPPORTED, "upscaler: %d channels come out; wanted RGB", n);
    c->scale = (1 << c->doublings) / c->unshuffle;
    return c->scale > 0 || err_set(err, ERR_UNSUPPORTED,
                                   "upscaler: it makes pictures smaller (%d doublings of 1/%d)",
                                   c->doublings, c->unshuffle);
}

/* A layer that nothing here runs would be missing from every picture. */
static bool all_known(const struct checkpoint *cp, const struct esrgan_config *c, struct err *err)
{
    size_t blocks = (size_t)c->blocks, there = 0, known;
    known = c->compact ? 2 * (blocks + 2) + blocks + 1
                       : 2 * (blocks * RESIDUAL * DENSE + 4 + (size_t)c->doublings);
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        there += strncmp(checkpoint_at(cp, i)->name, c->below, strlen(c->below)) == 0;
    return there <= known ||
           err_set(err, ERR_UNSUPPORTED,
                   "upscaler: %zu tensors, of which %s of %zu blocks and x%d has %zu", there,
                   c->compact ? "an SRVGGNetCompact" : "an ESRGAN", blocks, c->scale, known);
}

static bool read_known(const struct checkpoint *cp, struct esrgan_config *c, struct err *err)
{
    return (c->compact ? read_compact(cp, c, err) : read_rrdb(cp, c, err)) && all_known(cp, c, err);
}

bool esrgan_read(const struct checkpoint *cp, struct esrgan_config *out, struct err *err)
{
    char name[NAME_SIZE];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        *out = (struct esrgan_config){.below = prefixes[i]};
        for (; out->names < (int)(sizeof sets / sizeof *sets); out->names++)
            if (find(cp, out, dense_name(name, out, 0, 0, 0)))
                return read_known(cp, out, err);
        out->names = 0;
        out->compact = true;
        if (find(cp, out, "body.0"))
            return read_known(cp, out, err);
    }
    const struct raw_tensor *some = checkpoint_count(cp) ? checkpoint_at(cp, 0) : NULL;
    return err_set(err, ERR_UNSUPPORTED,
                   "not an upscaler that pictor runs (ESRGAN, Real-ESRGAN, SRVGGNetCompact): it "
                   "has %zu tensors, the first is %s",
                   checkpoint_count(cp),
                   some ? raw_tensor_show(name, sizeof name, some->name) : "");
}

/* ---- loading ---- */

static int filled(int channels)
{
    return (channels + 31) / 32 * 32;
}

struct loading {
    struct device *dev;
    const struct checkpoint *cp;
    struct esrgan *e;
    struct err *err;
    bool failed; /* from then on nothing is loaded, and `err` is set */
};

/* Channels as they are in a file, and as they lie here. */
struct channels {
    int first, rest, count; /* `first`, and then `count` times `rest` */
    int first_filled, rest_filled;
};

static int at_channel(const struct channels *c, int i)
{
    if (i < c->first)
        return i;
    i -= c->first;
    return c->first_filled + i / c->rest * c->rest_filled + i % c->rest;
}

/* The convolution as floats, times `scale`, with zeros for what is filled up; freed by the caller.
 * `bias` [n] is filled up as well. */
static float *read_conv(struct loading *l, const char *name, int n, const struct channels *in,
                        int n_filled, int k_filled, float scale, float *bias)
{
    char full[NAME_SIZE];
    struct raw_tensor w, b;
    int k = in->first + in->rest * in->count;
    const size_t shape[4] = {(size_t)n, (size_t)k, 3, 3};
    size_t count = (size_t)n * (size_t)k * 9, size = (size_t)n_filled * (size_t)k_filled * 9;
    if (!checkpoint_get(l->cp, say(full, "%s%s.weight", l->e->config.below, name), 4, shape, &w,
                        l->err) ||
        !checkpoint_get(l->cp, say(full, "%s%s.bias", l->e->config.below, name), 1, shape, &b,
                        l->err))
        return NULL;
    float *plain = malloc(count * sizeof *plain), *out = calloc(size, sizeof *out);
    if (!plain || !out) {
        err_set(l->err, ERR_TOO_LARGE, "no memory for %zu weights", size);
        free(plain);
        free(out);
        return NULL;
    }
    raw_tensor_floats(&w, 0, count, plain);
    raw_tensor_floats(&b, 0, (size_t)n, bias);
    for (int i = 0; i < n; i++) {
        bias[i] *= scale;
        for (int c = 0; c < k; c++)
            for (int t = 0; t < 9; t++)
                out[((size_t)i * (size_t)k_filled + (size_t)at_channel(in, c)) * 9 + (size_t)t] =
                    scale * plain[((size_t)i * (size_t)k + (size_t)c) * 9 + (size_t)t];
    }
    free(plain);
    checkpoint_release(l->cp, &w);
    return out;
}

static struct matrix *load_conv(struct loading *l, enum matrix_kind kind, const char *name, int n,
                                int n_filled, const struct channels *in, float scale)
{
    int k_filled = in->first_filled + in->rest_filled * in->count;
    if (l->failed)
        return NULL;
    float *bias = calloc((size_t)n_filled, sizeof *bias), *w = NULL;
    struct matrix *m = NULL;
    if (!bias)
        err_set(l->err, ERR_INTERNAL, "no memory for an upscaler");
    else if ((w = read_conv(l, name, n, in, n_filled, k_filled, scale, bias)))
        m = matrix_new(l->dev, kind, n_filled, k_filled, DTYPE_F32, w, DTYPE_F32, bias, l->err);
    free(w);
    free(bias);
    l->failed = !m;
    if (m)
        l->e->bytes += matrix_bytes(m);
    return m;
}

/* Slopes for `features` channels: of the tensor, or all the same (`name` NULL). */
static float *load_slopes(struct loading *l, const char *name, int n, float otherwise)
{
    char full[NAME_SIZE];
    struct raw_tensor t;
    const size_t shape[1] = {(size_t)n};
    size_t room = (size_t)filled(n);
    if (l->failed)
        return NULL;
    float *slopes = calloc(room, sizeof *slopes);
    if (!slopes) {
        l->failed = !err_set(l->err, ERR_INTERNAL, "no memory for an upscaler");
        return NULL;
    }
    for (size_t i = 0; i < room && !name; i++)
        slopes[i] = otherwise;
    if (name && !checkpoint_get(l->cp, say(full, "%s%s.weight", l->e->config.below, name), 1, shape,
                                &t, l->err))
        l->failed = true;
    else if (name)
        raw_tensor_floats(&t, 0, (size_t)n, slopes);
    return slopes;
}

static bool new_lists(struct esrgan *e, size_t body, size_t slopes, struct err *err)
{
    e->body = calloc(body + 1, sizeof *e->body);
    e->slopes = calloc(slopes, sizeof *e->slopes);
    if (!e->body || !e->slopes)
        return err_set(err, ERR_INTERNAL, "no memory for an upscaler");
    e->body_count = body;
    e->slope_count = slopes;
    return true;
}

static void load_compact(struct loading *l)
{
    struct esrgan *e = l->e;
    const struct esrgan_config *c = &e->config;
    const struct channels rgb = {.first = 3, .first_filled = 3};
    const struct channels in = {.first = c->features, .first_filled = e->features};
    char name[NAME_SIZE];
    int out = 3 * c->scale * c->scale;
    e->first = load_conv(l, MATRIX_CONV3X3, "body.0", c->features, e->features, &rgb, 1);
    e->slopes[0] = load_slopes(l, "body.1", c->features, 0);
    for (int i = 0; i < c->blocks; i++) {
        e->body[i] = load_conv(l, MATRIX_CONV3X3, say(name, "body.%d", 2 * i + 2), c->features,
                               e->features, &in, 1);
        e->slopes[i + 1] = load_slopes(l, say(name, "body.%d", 2 * i + 3), c->features, 0);
    }
    e->last =
        load_conv(l, MATRIX_CONV3X3, say(name, "body.%d", 2 * c->blocks + 2), out, out, &in, 1);
}

static void load_rrdb(struct loading *l)
{
    struct esrgan *e = l->e;
    const struct esrgan_config *c = &e->config;
    int taken = 3 * c->unshuffle * c->unshuffle;
    const struct channels rgb = {.first = taken, .first_filled = taken};
    struct channels in = {
        .first = c->features, .rest = c->grow, .first_filled = e->features, .rest_filled = e->grow};
    char name[NAME_SIZE];
    e->slopes[0] = load_slopes(l, NULL, c->features > c->grow ? c->features : c->grow, FALLS);
    e->first =
        load_conv(l, MATRIX_CONV3X3, sets[c->names].first, c->features, e->features, &rgb, 1);
    for (int i = 0; i < c->blocks * RESIDUAL * DENSE && !l->failed; i++) {
        int layer = i % DENSE, dense = i / DENSE % RESIDUAL, block = i / DENSE / RESIDUAL;
        bool ends = layer == DENSE - 1;
        float scale = !ends                   ? 1
                      : dense == RESIDUAL - 1 ? RESIDUAL_SCALE * RESIDUAL_SCALE
                                              : RESIDUAL_SCALE;
        in.count = layer;
        e->body[i] =
            load_conv(l, MATRIX_CONV3X3, dense_name(name, c, block, dense, layer),
                      ends ? c->features : c->grow, ends ? e->features : e->grow, &in, scale);
    }
    in.count = 0;
    e->trunk = load_conv(l, MATRIX_CONV3X3, trunk_name(name, c), c->features, e->features, &in, 1);
    for (int i = 0; i < c->doublings; i++)
        e->up[i] =
            load_conv(l, MATRIX_UPSAMPLE, up_name(name, c, i), c->features, e->features, &in, 1);
    e->high = load_conv(l, MATRIX_CONV3X3, high_name(name, c), c->features, e->features, &in, 1);
    e->last = load_conv(l, MATRIX_CONV3X3, last_name(name, c), 3, 3, &in, 1);
}

struct esrgan *esrgan_load(struct device *dev, const struct checkpoint *cp, struct err *err)
{
    struct esrgan *e = calloc(1, sizeof *e);
    struct loading l = {dev, cp, e, err, false};
    if (!e) {
        err_set(err, ERR_INTERNAL, "no memory for an upscaler");
        return NULL;
    }
    struct esrgan_config *c = &e->config;
    l.failed = !esrgan_read(cp, c, err);
    e->features = filled(c->features);
    e->grow = filled(c->grow);
    size_t blocks = (size_t)c->blocks;
    if (!l.failed)
        l.failed = !new_lists(e, c->compact ? blocks : blocks * RESIDUAL * DENSE,
                              c->compact ? blocks + 1 : 1, err);
    if (!l.failed)
        (c->compact ? load_compact : load_rrdb)(&l);
    if (!l.failed)
        return e;
    esrgan_free(e);
    return NULL;
}

void esrgan_free(struct esrgan *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->body_count; i++)
        matrix_free(e->body[i]);
    for (size_t i = 0; i < e->slope_count; i++)
        free(e->slopes[i]);
    for (int i = 0; i < MOST_DOUBLINGS; i++)
        matrix_free(e->up[i]);
    matrix_free(e->first);
    matrix_free(e->last);
    matrix_free(e->trunk);
    matrix_free(e->high);
    free(e->body);
    free(e->slopes);
    free(e);
}

const struct esrgan_config *esrgan_config(const struct esrgan *e)
{
    return &e->config;
}

size_t esrgan_bytes(const struct esrgan *e)
{
    return e->bytes;
}

/* ---- running ---- */

static bool go_on(struct ops *o, const struct esrgan_watch *watch, double share)
{
    return arena_planning(o->arena) || !watch || watch->go_on(watch->ctx, share);
}

static struct tensor new_tensor(struct ops *o, int h, int w, int channels)
{
    return tensor_new(o->arena, device_dtype(o->dev), 1, h, w, channels, 1);
}

/* y = x's 3x3 convolution, PReLU of `slope` (NULL: none), + residual (or NULL). */
static void conv(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *m,
                 const float *slope, const struct tensor *residual)
{
    struct epilogue e = {.slope = slope, .residual = residual};
    ops_conv3x3(o, y, x, m, 1, false, &e);
}

/* The last layer, whose numbers are floats: out [h, w, c]. */
static void run_last(struct ops *o, const struct esrgan *e, const struct tensor *x, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, x->h, x->w, matrix_rows(e->last), 0);
    conv(o, &y, x, e->last, NULL, NULL);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
}

/* Channel c s s + s y + x of a pixel becomes channel c of pixel (x, y) of s x s; `add` [h, w, 3] is
 * added to all of them. */
static void shuffle(const float *in, const float *add, int h, int w, int s, float *out)
{
    for (size_t i = 0; i < (size_t)h * (size_t)w * (size_t)(s * s); i++) {
        size_t x = i % (size_t)(w * s), y = i / (size_t)(w * s), side = (size_t)s;
        size_t from = y / side * (size_t)w + x / side, phase = y % side * side + x % side;
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = in[(from * 3 + c) * side * side + phase] + add[3 * from + c];
    }
}

static bool run_compact(struct ops *o, const struct esrgan *e, const struct esrgan_watch *watch,
                        const float *in, int h, int w, float *out)
{
    const struct esrgan_config *c = &e->config;
    struct tensor rgb = new_tensor(o, h, w, 3), x[2];
    for (int i = 0; i < 2; i++)
        x[i] = new_tensor(o, h, w, e->features);
    ops_from_floats(o, &rgb, in);
    conv(o, &x[0], &rgb, e->first, e->slopes[0], NULL);
    for (int i = 0; i < c->blocks; i++) {
        if (!go_on(o, watch, (i + 1) / (c->blocks + 2.0)))
            return false;
        conv(o, &x[(i + 1) % 2], &x[i % 2], e->body[i], e->slopes[i + 1], NULL);
    }
    int channels = matrix_rows(e->last);
    float *last = arena_alloc(o->arena, (size_t)h * (size_t)w * (size_t)channels, sizeof *last);
    run_last(o, e, &x[c->blocks % 2], last);
    if (!arena_planning(o->arena))
        shuffle(last, in, h, w, c->scale, out);
    return true;
}

/* The layers of a dense block but the last, all in `t`. */
static void run_dense(struct ops *o, const struct esrgan *e, struct matrix *const *layers,
                      const struct tensor *t)
{
    for (int i = 0; i < DENSE - 1; i++) {
        int at = e->features + i * e->grow;
        struct tensor x = tensor_slice(t, 0, at), y = tensor_slice(t, at, e->grow);
        conv(o, &y, &x, layers[i], e->slopes[0], NULL);
    }
}

/* y = x + 0.2 (the third of three dense blocks, each onto 0.2 of what it makes), where x is what
 * the first of the three buffers begins with, and y as well. */
static void run_residual(struct ops *o, const struct esrgan *e, int block, struct tensor *t)
{
    struct matrix *const *layers = e->body + block * RESIDUAL * DENSE;
    struct tensor x[RESIDUAL];
    for (int i = 0; i < RESIDUAL; i++)
        x[i] = tensor_slice(&t[i], 0, e->features);
    for (int i = 0; i < RESIDUAL; i++, layers += DENSE) {
        run_dense(o, e, layers, &t[i]);
        if (i < RESIDUAL - 1) {
            conv(o, &x[i + 1], &t[i], layers[DENSE - 1], NULL, &x[i]);
        } else {
            ops_add(o, &x[0], &x[i], RESIDUAL_SCALE);
            conv(o, &x[0], &t[i], layers[DENSE - 1], NULL, &x[0]);
        }
    }
}

/* in [s h, s w, 3] to out [h, w, 3 s s], as `shuffle` would undo it. */
static void unshuffle(const float *in, int h, int w, int s, float *out)
{
    for (size_t i = 0; i < (size_t)h * (size_t)w * (size_t)(3 * s * s); i++) {
        size_t side = (size_t)s, n = 3 * side * side, pixel = i / n, c = i % n / (side * side);
        size_t y = pixel / (size_t)w * side + i % (side * side) / side;
        size_t x = pixel % (size_t)w * side + i % side;
        out[i] = in[(y * (size_t)w * side + x) * 3 + c];
    }
}

static bool run_rrdb(struct ops *o, const struct esrgan *e, const struct esrgan_watch *watch,
                     const float *in, int h, int w, float *out)
{
    const struct esrgan_config *c = &e->config;
    double all = c->blocks + TAIL;
    int taken = 3 * c->unshuffle * c->unshuffle;
    h /= c->unshuffle;
    w /= c->unshuffle;
    struct tensor first = new_tensor(o, h, w, e->features), x = new_tensor(o, h, w, e->features);
    size_t mark = arena_mark(o->arena);
    struct tensor rgb = new_tensor(o, h, w, taken), t[RESIDUAL];
    float *turned = arena_alloc(o->arena, (size_t)h * (size_t)w * (size_t)taken, sizeof *turned);
    for (int i = 0; i < RESIDUAL; i++)
        t[i] = new_tensor(o, h, w, e->features + (DENSE - 1) * e->grow);
    if (!arena_planning(o->arena))
        unshuffle(in, h, w, c->unshuffle, turned);
    ops_from_floats(o, &rgb, turned);
    struct tensor state = tensor_slice(&t[0], 0, e->features);
    conv(o, &state, &rgb, e->first, NULL, NULL);
    conv(o, &first, &rgb, e->first, NULL, NULL);
    for (int i = 0; i < c->blocks; i++) {
        if (!go_on(o, watch, i / all))
            return false;
        run_residual(o, e, i, t);
    }
    conv(o, &x, &state, e->trunk, NULL, &first);
    arena_reset(o->arena, mark);
    struct epilogue falls = {.slope = e->slopes[0]};
    for (int i = 0; i < c->doublings; i++) {
        if (!go_on(o, watch, (c->blocks + TAIL * i / (c->doublings + 1)) / all))
            return false;
        struct tensor y = new_tensor(o, 2 * x.h, 2 * x.w, e->features);
        ops_upsample(o, &y, &x, e->up[i], &falls);
        x = y;
    }
    struct tensor high = new_tensor(o, x.h, x.w, e->features);
    conv(o, &high, &x, e->high, e->slopes[0], NULL);
    run_last(o, e, &high, out);
    return true;
}

bool esrgan_forward(struct ops *o, const struct esrgan *e, const struct esrgan_watch *watch,
                    const float *in, int h, int w, float *out)
{
    size_t mark = arena_mark(o->arena);
    bool ok = (e->config.compact ? run_compact : run_rrdb)(o, e, watch, in, h, w, out);
    arena_reset(o->arena, mark);
    return ok;
}
