#include "engine/model/tae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define ENCODER "tae.encoder."
#define DECODER "tae.decoder."
#define CONVS 3          /* of a block */
#define MAGNITUDE 3      /* latents are squeezed to -3..3 before they are decoded */
#define MAX_FACTOR_LOG 5 /* pixels a side of a latent pixel: at most 32 */

struct layer {
    struct matrix *convs[CONVS]; /* of what is no block the first alone */
};

struct tae {
    struct tae_config config;
    float *zeros; /* slopes of ReLU, [width] */
    struct layer encoder[TAE_LAYERS], decoder[TAE_LAYERS];
};

/* ---- sizes ---- */

bool tae_is_there(const struct checkpoint *cp)
{
    return checkpoint_has(cp, ENCODER) || checkpoint_has(cp, DECODER);
}

static bool odd(const char *root, int layer, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED,
                   "%s%d: wanted the tiny autoencoder's layers: 3x3 convolutions of one width and "
                   "blocks of three",
                   root, layer);
}

/* The width that a convolution takes and makes. */
static bool sizes(const struct checkpoint *cp, const char *root, int layer, const char *part,
                  int out[2], struct err *err)
{
    char name[64];
    int shape[4];
    snprintf(name, sizeof name, "%s%d.%sweight", root, layer, part);
    if (!checkpoint_sizes(cp, name, 4, shape, err))
        return false;
    out[0] = shape[0];
    out[1] = shape[1];
    return (shape[2] == 3 && shape[3] == 3) || odd(root, layer, err);
}

/* The layers of a half whose first convolution is layer 0 and whose last is the last of them. Their
 * numbers tell what has no weights: a doubling stands before a convolution that has no bias. */
static bool read_half(const struct checkpoint *cp, const char *root, bool decodes,
                      struct tae_config *c, struct tae_half *half, struct err *err)
{
    int last = -1, scale = 0;
    for (int i = 0; i < TAE_LAYERS + 1; i++)
        if (checkpoint_findf(cp, "%s%d.weight", root, i) ||
            checkpoint_findf(cp, "%s%d.conv.0.weight", root, i))
            last = i;
    if (last < 1 || last >= TAE_LAYERS)
        return err_set(err, ERR_UNSUPPORTED, "%s: wanted 2..%d layers, found %d", root, TAE_LAYERS,
                       last + 1);
    for (int i = 0; i <= last; i++) {
        int conv[2] = {0};
        bool block = checkpoint_findf(cp, "%s%d.conv.0.weight", root, i);
        bool plain = checkpoint_findf(cp, "%s%d.bias", root, i);
        half->kinds[i] = '-';
        if (!block && !checkpoint_findf(cp, "%s%d.weight", root, i))
            continue;
        for (int k = 0; k < (block ? CONVS : 1); k++) {
            char part[16] = "";
            if (block)
                snprintf(part, sizeof part, "conv.%d.", 2 * k);
            if (!sizes(cp, root, i, part, conv, err))
                return false;
            if (i == 0)
                c->width = c->width ? c->width : conv[0];
            int wanted_in = i == 0 ? decodes ? conv[1] : 3 : c->width;
            int wanted_out = i == last ? decodes ? 3 : conv[0] : c->width;
            if (conv[0] != wanted_out || conv[1] != wanted_in || (block && (i == 0 || i == last)))
                return odd(root, i, err);
        }
        if (i == (decodes ? 0 : last)) {
            int channels = conv[decodes ? 1 : 0];
            if (c->channels && c->channels != channels)
                return odd(root, i, err);
            c->channels = channels;
        }
        bool ends_here = i == 0 || i == last;
        half->kinds[i] = block ? 'b' : ends_here ? 'c' : decodes ? 'u' : 'h';
        scale += half->kinds[i] == 'u' || half->kinds[i] == 'h';
        if (!block && (ends_here != plain))
            return odd(root, i, err);
    }
    if (scale > MAX_FACTOR_LOG || (c->factor && c->factor != 1 << scale))
        return odd(root, last, err);
    c->factor = 1 << scale;
    half->count = last + 1;
    return true;
}

bool tae_read(const struct checkpoint *cp, struct tae_config *c, struct err *err)
{
    *c = (struct tae_config){0};
    if ((checkpoint_has(cp, DECODER) && !read_half(cp, DECODER, true, c, &c->decoder, err)) ||
        (checkpoint_has(cp, ENCODER) && !read_half(cp, ENCODER, false, c, &c->encoder, err)))
        return false;
    if (!c->decoder.count)
        return err_set(err, ERR_UNSUPPORTED,
                       "the tiny autoencoder's encoder alone: wanted one "
                       "that decodes");
    if (c->width % 32 || c->width > LAYERS_MAX_WIDTH)
        return err_set(err, ERR_UNSUPPORTED,
                       "tiny autoencoder of width %d: wanted a multiple of 32, %d at most",
                       c->width, LAYERS_MAX_WIDTH);
    return true;
}

/* ---- loading ---- */

static void load_half(struct loader *l, const struct tae_config *c, const char *root, bool decodes,
                      const struct tae_half *half, struct layer *layers)
{
    char name[32];
    for (int i = 0; i < half->count && !l->failed; i++) {
        int in = i ? c->width : decodes ? c->channels : 3;
        int out = i + 1 < half->count ? c->width : decodes ? 3 : c->channels;
        snprintf(name, sizeof name, "%d", i);
        switch (half->kinds[i]) {
        case 'c':
            layers[i].convs[0] = layers_conv3x3(l, root, name, out, in);
            break;
        case 'h':
            layers[i].convs[0] = layers_bare_conv3x3(l, root, name, out, in);
            break;
        case 'u':
            layers[i].convs[0] = layers_bare_upsample(l, root, name, out, in);
            break;
        case 'b':
            for (int k = 0; k < CONVS; k++) {
                snprintf(name, sizeof name, "%d.conv.%d", i, 2 * k);
                layers[i].convs[k] = layers_conv3x3(l, root, name, out, in);
            }
            break;
        }
    }
}

struct tae *tae_load(struct device *dev, const struct checkpoint *cp,
                     const struct tae_config *config, struct weights *weights, struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct tae *t = calloc(1, sizeof *t);
    if (!t || !(t->zeros = calloc((size_t)config->width, sizeof *t->zeros))) {
        err_set(err, ERR_INTERNAL, "no memory for a tiny autoencoder");
        tae_free(t);
        return NULL;
    }
    t->config = *config;
    load_half(&l, config, ENCODER, false, &config->encoder, t->encoder);
    load_half(&l, config, DECODER, true, &config->decoder, t->decoder);
    if (!l.failed)
        return t;
    tae_free(t);
    return NULL;
}

void tae_free(struct tae *t)
{
    if (!t)
        return;
    for (int i = 0; i < TAE_LAYERS; i++)
        for (int k = 0; k < CONVS; k++) {
            matrix_free(t->encoder[i].convs[k]);
            matrix_free(t->decoder[i].convs[k]);
        }
    free(t->zeros);
    free(t);
}

/* ---- running ---- */

/* Padded, as the next convolution takes it. */
static struct tensor room(struct ops *o, int h, int w, int c)
{
    return tensor_new(o->arena, device_dtype(o->dev), 1, h, w, c, 1);
}

/* x becomes relu(x + three convolutions of it); `a` and `b` are as large. */
static void run_block(struct ops *o, const struct tae *t, const struct layer *y, struct tensor *x,
                      struct tensor *a, struct tensor *b)
{
    struct epilogue relu = {.slope = t->zeros}, onto_x = {.residual = x};
    ops_conv3x3(o, a, x, y->convs[0], 1, false, &relu);
    ops_conv3x3(o, b, a, y->convs[1], 1, false, &relu);
    ops_conv3x3(o, x, b, y->convs[2], 1, false, &onto_x);
    ops_activate(o, x, x, ACT_RELU);
}

/* in [h, w, ..] to out, in the arena. `relu`: behind the first convolution. */
static void run(struct ops *o, const struct tae *t, const struct tae_half *half,
                const struct layer *layers, bool relu, const float *in, int in_channels, int h,
                int w, int out_channels, float *out)
{
    int c = t->config.width, last = half->count - 1;
    struct epilogue first = {.slope = relu ? t->zeros : NULL};
    struct tensor x = room(o, h, w, c);
    size_t mark = arena_mark(o->arena);
    struct tensor input = room(o, h, w, in_channels);
    ops_from_floats(o, &input, in);
    ops_conv3x3(o, &x, &input, layers[0].convs[0], 1, false, &first);
    arena_reset(o->arena, mark);
    for (int i = 1; i < last;) {
        mark = arena_mark(o->arena);
        struct tensor a = room(o, x.h, x.w, c), b = room(o, x.h, x.w, c);
        for (; i < last && (half->kinds[i] == 'b' || half->kinds[i] == '-'); i++)
            if (half->kinds[i] == 'b')
                run_block(o, t, &layers[i], &x, &a, &b);
        arena_reset(o->arena, mark);
        if (i == last)
            break;
        bool up = half->kinds[i] == 'u';
        struct tensor y =
            up ? room(o, 2 * x.h, 2 * x.w, c) : room(o, (x.h + 1) / 2, (x.w + 1) / 2, c);
        if (up)
            ops_upsample(o, &y, &x, layers[i].convs[0], NULL);
        else
            ops_conv3x3(o, &y, &x, layers[i].convs[0], 2, false, NULL);
        x = y;
        i++;
    }
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, x.h, x.w, out_channels, 0);
    ops_conv3x3(o, &y, &x, layers[last].convs[0], 1, false, NULL);
    ops_to_floats(o, out, &y);
}

void tae_decode(struct ops *o, const struct tae *t, const float *latent, int h, int w,
                float *picture)
{
    size_t mark = arena_mark(o->arena), f = (size_t)t->config.factor;
    size_t n = (size_t)h * (size_t)w * (size_t)t->config.channels;
    float *squeezed = arena_alloc(o->arena, n, sizeof *squeezed);
    bool real = !arena_planning(o->arena);
    for (size_t i = 0; i < n && real; i++)
        squeezed[i] = MAGNITUDE * tanhf(latent[i] / MAGNITUDE);
    run(o, t, &t->config.decoder, t->decoder, true, squeezed, t->config.channels, h, w, 3, picture);
    for (size_t i = 0; i < 3 * f * f * (size_t)h * (size_t)w && real; i++)
        picture[i] = 2 * picture[i] - 1;
    arena_reset(o->arena, mark);
}

void tae_encode(struct ops *o, const struct tae *t, const float *picture, int h, int w,
                float *latent)
{
    int f = t->config.factor;
    size_t mark = arena_mark(o->arena), n = 3 * (size_t)(f * h) * (size_t)(f * w);
    float *light = arena_alloc(o->arena, n, sizeof *light);
    for (size_t i = 0; i < n && !arena_planning(o->arena); i++)
        light[i] = (picture[i] + 1) / 2;
    run(o, t, &t->config.encoder, t->encoder, false, light, 3, f * h, f * w, t->config.channels,
        latent);
    arena_reset(o->arena, mark);
}
