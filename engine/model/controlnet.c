#include "engine/model/controlnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define ROOT "model.diffusion_model."
#define HINTS 8 /* convolutions of the hint block; the third, fifth and seventh halve */

struct controlnet {
    struct unet *down;
    size_t bytes;
    struct matrix *hint[HINTS];
    struct matrix *zero[UNET_RESIDUALS]; /* of each residual */
    int count, hint_width[HINTS];        /* channels that each hint convolution makes, padded */
};

/* ---- loading ---- */

static int padded(int c)
{
    return (c + 31) / 32 * 32;
}

/* Convolutions of 16 and 96 channels as ones of whole 32s, the rest of which is zeros: so no
 * product reads what nobody wrote. */
static struct matrix *load_hint(struct loader *l, int number, int *cin, int *width)
{
    char prefix[64], name[96];
    int shape[4];
    snprintf(prefix, sizeof prefix, ROOT "input_hint_block.%d", 2 * number);
    snprintf(name, sizeof name, "%s.weight", prefix);
    if (l->failed || !checkpoint_sizes(l->cp, name, 4, shape, l->err)) {
        l->failed = true;
        return NULL;
    }
    int n = shape[0], k = shape[1], to = padded(n), from = number == 0 ? k : padded(k);
    if (shape[2] != 3 || shape[3] != 3 || k != *cin || n > LAYERS_MAX_WIDTH) {
        l->failed = !err_set(l->err, ERR_INVALID,
                             "%s: wanted a 3x3 convolution of %d channels to %d or fewer, found "
                             "%dx%d of %d to %d",
                             name, *cin, LAYERS_MAX_WIDTH, shape[2], shape[3], k, n);
        return NULL;
    }
    const size_t sizes[4] = {(size_t)n, (size_t)k, 3, 3};
    float *w = layers_floats(l, prefix, ".weight", 4, sizes);
    float *bias = layers_floats(l, prefix, ".bias", 1, sizes);
    float *wide = calloc((size_t)to * (size_t)from * 9 + (size_t)to, sizeof *wide);
    struct matrix *m = NULL;
    if (!wide && !l->failed)
        l->failed = !err_set(l->err, ERR_INTERNAL, "no memory for a ControlNet");
    if (!l->failed) {
        float *wide_bias = wide + (size_t)to * (size_t)from * 9;
        for (int i = 0; i < n; i++)
            memcpy(wide + (size_t)i * (size_t)from * 9, w + (size_t)i * (size_t)k * 9,
                   (size_t)k * 9 * sizeof *w);
        memcpy(wide_bias, bias, (size_t)n * sizeof *bias);
        m = matrix_new(l->dev, MATRIX_CONV3X3, to, from, DTYPE_F32, wide, DTYPE_F32, wide_bias,
                       l->err);
        l->failed = !m;
    }
    free(w);
    free(bias);
    free(wide);
    *cin = n;
    *width = to;
    return m;
}

static bool is_for(const struct unet_config *c, const struct unet_config *unet, struct err *err)
{
    if (c->in_channels != unet->out_channels) /* it sees the latent alone */
        return err_set(err, ERR_INVALID, "a ControlNet that takes %d channels: wanted %d",
                       c->in_channels, unet->out_channels);
    bool same = c->levels == unet->levels && c->res_blocks == unet->res_blocks &&
                c->model_channels == unet->model_channels && c->time_dim == unet->time_dim &&
                c->context_dim == unet->context_dim && c->label_dim == unet->label_dim;
    for (int i = 0; same && i < c->levels; i++)
        same = c->channels[i] == unet->channels[i];
    return same || err_set(err, ERR_INVALID,
                           "a ControlNet for another kind of model: wanted %d levels from %d "
                           "channels and text of width %d, found %d, %d and %d",
                           unet->levels, unet->model_channels, unet->context_dim, c->levels,
                           c->model_channels, c->context_dim);
}

struct controlnet *controlnet_load(struct device *dev, const struct checkpoint *cp,
                                   const struct unet_config *unet, struct err *err)
{
    struct weights weights = {0};
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = &weights};
    struct unet_config config;
    int channels[UNET_RESIDUALS], cin = 3;
    struct controlnet *c = calloc(1, sizeof *c);
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for a ControlNet");
        return NULL;
    }
    if (!unet_read_down(cp, &config, err) || !is_for(&config, unet, err))
        goto fail;
    config.heads = unet->heads;
    config.head_channels = unet->head_channels;
    if (!(c->down = unet_load_down(dev, cp, &config, &weights, err)))
        goto fail;
    c->count = unet_residuals_of(&config, channels);
    for (int i = 0; i < c->count; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, ROOT "zero_convs.%d.", i);
        bool middle = i == c->count - 1;
        c->zero[i] = layers_linear(&l, middle ? ROOT "middle_block_out." : prefix, "0", channels[i],
                                   channels[i], true);
    }
    for (int i = 0; i < HINTS; i++)
        c->hint[i] = load_hint(&l, i, &cin, &c->hint_width[i]);
    if (!l.failed && cin != config.model_channels)
        l.failed = !err_set(err, ERR_INVALID, "ControlNet: its hint has %d channels, wanted %d",
                            cin, config.model_channels);
    if (l.failed)
        goto fail;
    c->bytes = weights.bytes;
    weights_free(&weights);
    return c;
fail:
    weights_free(&weights);
    controlnet_free(c);
    return NULL;
}

void controlnet_free(struct controlnet *c)
{
    if (!c)
        return;
    unet_free(c->down);
    for (int i = 0; i < HINTS; i++)
        matrix_free(c->hint[i]);
    for (int i = 0; i < UNET_RESIDUALS; i++)
        matrix_free(c->zero[i]);
    free(c);
}

size_t controlnet_bytes(const struct controlnet *c)
{
    return c->bytes;
}

/* ---- running ---- */

struct unet_prompt *controlnet_prompt(struct ops *o, const struct controlnet *c, int b, int tokens,
                                      const float *context, const float *label)
{
    return unet_prompt_new(o, c->down, b, tokens, context, label);
}

struct tensor controlnet_hint(struct ops *o, const struct controlnet *c, const float *picture,
                              int h, int w)
{
    enum dtype dtype = device_dtype(o->dev);
    struct tensor hint = tensor_new(o->arena, dtype, 1, h, w, c->hint_width[HINTS - 1], 0);
    size_t mark = arena_mark(o->arena);
    struct epilogue silu = {.act = ACT_SILU};
    struct tensor x = tensor_new(o->arena, dtype, 1, 8 * h, 8 * w, 3, 1);
    ops_from_floats(o, &x, picture);
    for (int i = 0; i < HINTS; i++) {
        bool halves = i == 2 || i == 4 || i == 6, last = i == HINTS - 1;
        int side = halves ? 2 : 1;
        struct tensor y =
            last ? hint
                 : tensor_new(o->arena, dtype, 1, x.h / side, x.w / side, c->hint_width[i], 1);
        ops_conv3x3(o, &y, &x, c->hint[i], side, false, last ? NULL : &silu);
        x = y;
    }
    arena_reset(o->arena, mark);
    return hint;
}

void controlnet_silence(struct ops *o, const struct controlnet *c, const struct unet_prompt *prompt,
                        int h, int w, struct unet_residuals *out)
{
    unet_residuals_room(o, c->down, prompt, h, w, out);
    for (int i = 0; i < out->count && !arena_planning(o->arena); i++)
        memset(out->at[i].data, 0, tensor_bytes(&out->at[i]));
}

/* What a share of 0..1 is at a place between whole ones: bilinear, the ends drawn out. */
static float between(const float *region, int h, int w, float y, float x)
{
    y = y > 0 ? y < (float)(h - 1) ? y : (float)(h - 1) : 0;
    x = x > 0 ? x < (float)(w - 1) ? x : (float)(w - 1) : 0;
    int top = (int)y, left = (int)x, below = top + 1 < h ? top + 1 : top;
    int right = left + 1 < w ? left + 1 : left;
    float v = y - (float)top, u = x - (float)left;
    const float *a = region + (size_t)top * (size_t)w, *b = region + (size_t)below * (size_t)w;
    return (1 - v) * ((1 - u) * a[left] + u * a[right]) + v * ((1 - u) * b[left] + u * b[right]);
}

/* Every pixel times what the region is there; h x w is the region's size. */
static void apply_region(struct ops *o, struct tensor *t, const float *region, int h, int w)
{
    size_t mark = arena_mark(o->arena), c = (size_t)t->c;
    size_t pixels = (size_t)t->h * (size_t)t->w;
    float *floats = arena_alloc(o->arena, (size_t)t->b * pixels * c, sizeof *floats);
    ops_to_floats(o, floats, t);
    for (size_t i = 0; i < (size_t)t->b * pixels && !arena_planning(o->arena); i++) {
        float y = (float)(i % pixels / (size_t)t->w), x = (float)(i % (size_t)t->w);
        float share = between(region, h, w, (y + 0.5f) * (float)h / (float)t->h - 0.5f,
                              (x + 0.5f) * (float)w / (float)t->w - 0.5f);
        for (size_t k = 0; k < c; k++)
            floats[i * c + k] *= share;
    }
    ops_from_floats(o, t, floats);
    arena_reset(o->arena, mark);
}

#define SOFTER 0.825 /* sd-webui-controlnet's; 0.825^12 is 0.1 */

void controlnet_forward(struct ops *o, const struct controlnet *c, const struct unet_prompt *prompt,
                        const struct tensor *hint, const float *x, int h, int w, float t,
                        const struct controlnet_lead *lead, bool fresh, struct unet_residuals *out)
{
    struct unet_residuals left;
    if (fresh) /* of the sizes that the network is about to leave */
        unet_residuals_room(o, c->down, prompt, h, w, out);
    size_t mark = arena_mark(o->arena);
    unet_forward_down(o, c->down, prompt, x, h, w, t, hint, &left);
    for (int i = 0; i < c->count; i++) {
        double weight = lead->weight * (lead->soft ? pow(SOFTER, 12 - i) : 1);
        struct tensor said = tensor_new(o->arena, left.at[i].dtype, left.at[i].b, left.at[i].h,
                                        left.at[i].w, left.at[i].c, 0);
        struct tensor *to = fresh ? &out->at[i] : &said, whole = out->at[i];
        ops_linear(o, to, &left.at[i], c->zero[i], NULL);
        if (lead->region)
            apply_region(o, to, lead->region, h, w);
        whole.b = said.b;
        if (fresh && weight != 1)
            ops_add(o, to, to, (float)(weight - 1));
        else if (!fresh)
            ops_add(o, &whole, to, (float)weight);
    }
    arena_reset(o->arena, mark);
}
