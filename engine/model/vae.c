/* vae.c: see vae.h.
 *
 * Both directions are a chain, so two buffers that take turns hold every activation between
 * blocks; their size is the largest of the chain. */
#include "engine/model/vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define MAX_RESNETS 8                /* a level */
#define TILE_ABOVE ((size_t)1 << 30) /* bytes of activations that make it work in tiles */
#define TILE 64                      /* latent pixels a tile's side */
#define OVERLAP 16                   /* latent pixels that neighbouring tiles share */

struct attention {
    struct norm norm;
    struct matrix *qkv, *out;
    int c;
};

struct level {
    struct resnet resnets[MAX_RESNETS];
    int count;
    struct matrix *resample; /* after the resnets; NULL at the end of the chain */
};

/* Encoder or decoder, levels in the order they run. */
struct chain {
    struct matrix *conv_in, *conv_out;
    struct resnet mid1, mid2;
    struct attention attention;
    struct level levels[CHECKPOINT_LEVELS];
    struct norm norm_out;
    int c_in, c_first, c_mid, c_out, level_count;
};

struct vae {
    int z;
    struct chain encoder, decoder;
    struct matrix *quant, *post_quant;
};

static void load_resnet(struct loader *l, struct resnet *r, const char *prefix, int cin, int cout)
{
    *r = (struct resnet){.cin = cin, .cout = cout, .eps = 1e-6f};
    r->norm1 = layers_norm(l, prefix, "norm1", cin);
    r->conv1 = layers_conv3x3(l, prefix, "conv1", cout, cin);
    r->norm2 = layers_norm(l, prefix, "norm2", cout);
    r->conv2 = layers_conv3x3(l, prefix, "conv2", cout, cout);
    if (cin != cout)
        r->skip = layers_linear(l, prefix, "nin_shortcut", cout, cin, true);
}

/* `root` is "first_stage_model.encoder." or "...decoder."; the decoder's levels run backwards. */
static void load_chain(struct loader *l, struct chain *ch, const char *root, const int *channels,
                       int levels, int blocks, bool decoder, int c_in, int c_out)
{
    static const char *const qkv[] = {"q", "k", "v"};
    const char *list = decoder ? "up" : "down";
    char p[96];
    int c = decoder ? channels[levels - 1] : channels[0];
    ch->c_in = c_in;
    ch->c_out = c_out;
    ch->c_first = c;
    ch->c_mid = channels[levels - 1];
    ch->level_count = levels;
    ch->conv_in = layers_conv3x3(l, root, "conv_in", c, c_in);
    for (int i = 0; i < levels; i++) {
        int at = decoder ? levels - 1 - i : i; /* its number in the names */
        struct level *level = &ch->levels[i];
        for (int j = 0; j < blocks; j++) {
            snprintf(p, sizeof p, "%s%s.%d.block.%d.", root, list, at, j);
            load_resnet(l, &level->resnets[level->count++], p, c, channels[at]);
            c = channels[at];
        }
        if (i + 1 < levels) {
            snprintf(p, sizeof p, "%s%s.%d.%ssample.", root, list, at, list);
            level->resample = (decoder ? layers_upsample : layers_conv3x3)(l, p, "conv", c, c);
        }
    }
    int mid = ch->c_mid;
    snprintf(p, sizeof p, "%smid.block_1.", root);
    load_resnet(l, &ch->mid1, p, mid, mid);
    snprintf(p, sizeof p, "%smid.block_2.", root);
    load_resnet(l, &ch->mid2, p, mid, mid);
    snprintf(p, sizeof p, "%smid.attn_1.", root);
    ch->attention.c = mid;
    ch->attention.norm = layers_norm(l, p, "norm", mid);
    ch->attention.qkv = layers_stacked(l, p, qkv, 3, mid, mid, true);
    ch->attention.out = layers_linear(l, p, "proj_out", mid, mid, true);
    ch->norm_out = layers_norm(l, root, "norm_out", c);
    ch->conv_out = layers_conv3x3(l, root, "conv_out", c_out, c);
}

static bool check_channels(const int *channels, int levels, int blocks, struct err *err)
{
    if (blocks > MAX_RESNETS)
        return err_set(err, ERR_UNSUPPORTED,
                       "autoencoder with %d resnets a level: wanted %d at most", blocks,
                       MAX_RESNETS);
    for (int i = 0; i < levels; i++)
        if (channels[i] % LAYERS_GROUPS || channels[i] > LAYERS_MAX_HEAD)
            return err_set(
                err, ERR_UNSUPPORTED,
                "autoencoder level %d has %d channels: wanted a multiple of %d, at most %d", i,
                channels[i], LAYERS_GROUPS, LAYERS_MAX_HEAD);
    return true;
}

struct vae *vae_load(struct device *dev, const struct checkpoint *cp, const struct sd1_arch *arch,
                     size_t *bytes, struct err *err)
{
    const char *root = "first_stage_model.";
    struct loader l = {.dev = dev, .cp = cp, .err = err};
    int levels = arch->vae.levels, z = arch->vae.z_channels;
    if (!check_channels(arch->vae.encoder_channels, levels, arch->vae.encoder_blocks, err) ||
        !check_channels(arch->vae.decoder_channels, levels, arch->vae.decoder_blocks, err))
        return NULL;
    struct vae *v = calloc(1, sizeof *v);
    if (!v) {
        err_set(err, ERR_INTERNAL, "no memory for an autoencoder");
        return NULL;
    }
    v->z = z;
    load_chain(&l, &v->encoder, "first_stage_model.encoder.", arch->vae.encoder_channels, levels,
               arch->vae.encoder_blocks, false, 3, 2 * z);
    load_chain(&l, &v->decoder, "first_stage_model.decoder.", arch->vae.decoder_channels, levels,
               arch->vae.decoder_blocks, true, z, 3);
    v->quant = layers_linear(&l, root, "quant_conv", 2 * z, 2 * z, true);
    v->post_quant = layers_linear(&l, root, "post_quant_conv", z, z, true);
    if (l.failed) {
        vae_free(v);
        return NULL;
    }
    *bytes += l.bytes;
    return v;
}

static void chain_free(struct chain *ch)
{
    for (int i = 0; i < ch->level_count; i++) {
        for (int j = 0; j < ch->levels[i].count; j++)
            layers_resnet_free(&ch->levels[i].resnets[j]);
        matrix_free(ch->levels[i].resample);
    }
    layers_resnet_free(&ch->mid1);
    layers_resnet_free(&ch->mid2);
    layers_norm_free(&ch->attention.norm);
    layers_norm_free(&ch->norm_out);
    matrix_free(ch->attention.qkv);
    matrix_free(ch->attention.out);
    matrix_free(ch->conv_in);
    matrix_free(ch->conv_out);
}

void vae_free(struct vae *v)
{
    if (!v)
        return;
    chain_free(&v->encoder);
    chain_free(&v->decoder);
    matrix_free(v->quant);
    matrix_free(v->post_quant);
    free(v);
}

/* Two buffers that take turns. */
struct turns {
    enum dtype dtype;
    void *buffer[2];
    int next;
};

static struct tensor take(struct turns *t, int h, int w, int c)
{
    struct tensor y = {
        .data = t->buffer[t->next], .dtype = t->dtype, .b = 1, .h = h, .w = w, .c = c, .ld = c};
    t->next ^= 1;
    return y;
}

static void run_attention(struct ops *o, const struct attention *a, struct tensor *y,
                          const struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    int c = a->c;
    struct tensor n = tensor_new(o->arena, x->dtype, 1, x->h, x->w, c, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->h * x->w, 3 * c, 0);
    layers_group_norm(o, &n, x, &a->norm, 1e-6f, ACT_NONE);
    struct tensor nt = tensor_tokens(&n), xt = tensor_tokens(x), yt = tensor_tokens(y);
    ops_linear(o, &qkv, &nt, a->qkv, NULL);
    struct tensor q = tensor_slice(&qkv, 0, c), k = tensor_slice(&qkv, c, c),
                  v = tensor_slice(&qkv, 2 * c, c);
    ops_attention(o, &nt, &q, &k, &v, 1, false);
    struct epilogue onto = {.residual = &xt};
    ops_linear(o, &yt, &nt, a->out, &onto);
    arena_reset(o->arena, mark);
}

static void run_mid(struct ops *o, const struct chain *ch, struct turns *t, struct tensor *x)
{
    struct tensor y = take(t, x->h, x->w, ch->c_mid);
    layers_resnet(o, &ch->mid1, &y, x, NULL);
    struct tensor z = take(t, x->h, x->w, ch->c_mid);
    run_attention(o, &ch->attention, &z, &y);
    *x = take(t, x->h, x->w, ch->c_mid);
    layers_resnet(o, &ch->mid2, x, &z, NULL);
}

/* Levels with their resampling. Returns through x. */
static void run_levels(struct ops *o, const struct chain *ch, struct turns *t, struct tensor *x,
                       bool decoder)
{
    for (int i = 0; i < ch->level_count; i++) {
        const struct level *level = &ch->levels[i];
        for (int j = 0; j < level->count; j++) {
            struct tensor y = take(t, x->h, x->w, level->resnets[j].cout);
            layers_resnet(o, &level->resnets[j], &y, x, NULL);
            *x = y;
        }
        if (!level->resample)
            continue;
        struct tensor y =
            decoder ? take(t, 2 * x->h, 2 * x->w, x->c) : take(t, x->h / 2, x->w / 2, x->c);
        size_t mark = arena_mark(o->arena);
        struct tensor padded = tensor_new(o->arena, x->dtype, 1, x->h, x->w, x->c, 1);
        ops_resize(o, &padded, x);
        if (decoder)
            ops_upsample(o, &y, &padded, level->resample);
        else
            ops_conv3x3(o, &y, &padded, level->resample, 2, true, NULL);
        arena_reset(o->arena, mark);
        *x = y;
    }
}

/* Elements of the largest activation between blocks for h x w at the input. */
static size_t largest(const struct chain *ch, int h, int w, bool decoder)
{
    size_t most = (size_t)h * (size_t)w * (size_t)ch->c_first;
    for (int i = 0; i < ch->level_count; i++) {
        int c = ch->levels[i].resnets[ch->levels[i].count - 1].cout;
        size_t n = (size_t)h * (size_t)w * (size_t)c;
        most = n > most ? n : most;
        if (ch->levels[i].resample) {
            h = decoder ? 2 * h : h / 2;
            w = decoder ? 2 * w : w / 2;
            n = (size_t)h * (size_t)w * (size_t)c;
            most = n > most ? n : most;
        }
    }
    return most;
}

/* out [c_out, ...] = chain(in [c_in, h, w]). */
static void run_chain(struct ops *o, const struct chain *ch, const float *in, int h, int w,
                      float *out, bool decoder)
{
    size_t mark = arena_mark(o->arena);
    struct turns t = {.dtype = device_dtype(o->dev)};
    size_t most = largest(ch, h, w, decoder);
    for (int i = 0; i < 2; i++)
        t.buffer[i] = arena_alloc(o->arena, most + ARENA_ALIGN, dtype_size(t.dtype));
    struct tensor x = take(&t, h, w, ch->c_first);
    size_t inner = arena_mark(o->arena);
    struct tensor input = tensor_new(o->arena, t.dtype, 1, h, w, ch->c_in, 1);
    ops_from_nchw(o, &input, in);
    ops_conv3x3(o, &x, &input, ch->conv_in, 1, false, NULL);
    arena_reset(o->arena, inner);
    if (decoder)
        run_mid(o, ch, &t, &x);
    run_levels(o, ch, &t, &x, decoder);
    if (!decoder)
        run_mid(o, ch, &t, &x);
    struct tensor n = tensor_new(o->arena, t.dtype, 1, x.h, x.w, x.c, 1);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, x.h, x.w, ch->c_out, 0);
    layers_group_norm(o, &n, &x, &ch->norm_out, 1e-6f, ACT_SILU);
    ops_conv3x3(o, &y, &n, ch->conv_out, 1, false, NULL);
    ops_to_nchw(o, out, &y);
    arena_reset(o->arena, mark);
}

/* out [n, h, w] = matrix(in [k, h, w]), at every pixel. */
static void run_pixels(struct ops *o, const struct matrix *m, int k, int n, const float *in, int h,
                       int w, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, h, w, k, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, h, w, n, 0);
    ops_from_nchw(o, &x, in);
    ops_linear(o, &y, &x, m, NULL);
    ops_to_nchw(o, out, &y);
    arena_reset(o->arena, mark);
}

static void decode_tile(struct ops *o, const struct vae *v, const float *z, int h, int w,
                        float *picture)
{
    size_t mark = arena_mark(o->arena), n = (size_t)v->z * (size_t)h * (size_t)w;
    float *scaled = arena_alloc(o->arena, n, sizeof *scaled);
    if (!arena_planning(o->arena))
        for (size_t i = 0; i < n; i++)
            scaled[i] = z[i] / VAE_SCALE;
    run_pixels(o, v->post_quant, v->z, v->z, scaled, h, w, scaled);
    run_chain(o, &v->decoder, scaled, h, w, picture, true);
    arena_reset(o->arena, mark);
}

static void encode_tile(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                        float *latent)
{
    size_t mark = arena_mark(o->arena), n = (size_t)v->z * (size_t)h * (size_t)w;
    float *moments = arena_alloc(o->arena, 2 * n, sizeof *moments);
    run_chain(o, &v->encoder, picture, h * VAE_FACTOR, w * VAE_FACTOR, moments, false);
    run_pixels(o, v->quant, 2 * v->z, 2 * v->z, moments, h, w, moments);
    if (!arena_planning(o->arena))
        for (size_t i = 0; i < n; i++) /* the mean; log-variances follow it */
            latent[i] = moments[i] * VAE_SCALE;
    arena_reset(o->arena, mark);
}

typedef void tile_fn(struct ops *o, const struct vae *v, const float *in, int h, int w, float *out);

/* One direction as the tiler sees it: channels and pixels per latent pixel on either side. */
struct direction {
    tile_fn *fn;
    int c_in, scale_in, c_out, scale_out;
};

static bool needs_tiles(struct ops *o, const struct vae *v, tile_fn *fn, int h, int w)
{
    struct arena plan;
    arena_plan(&plan);
    struct ops dry = {o->dev, &plan};
    fn(&dry, v, NULL, h, w, NULL);
    return plan.peak > TILE_ABOVE && (h > TILE || w > TILE);
}

/* Weight of position i of n: rises over `ramp` pixels from an inner edge, never zero. */
static float ramp_at(int i, int n, int ramp, bool first, bool last)
{
    float a = first || i >= ramp ? 1 : ((float)i + 0.5f) / (float)ramp;
    float b = last || n - 1 - i >= ramp ? 1 : ((float)(n - 1 - i) + 0.5f) / (float)ramp;
    return a < b ? a : b;
}

/* [c, h, w] cut out of [c, ., stride]. */
static void cut(float *dst, const float *src, int c, int h, int w, size_t plane, size_t stride)
{
    for (int i = 0; i < c; i++)
        for (int y = 0; y < h; y++)
            memcpy(dst + ((size_t)i * (size_t)h + (size_t)y) * (size_t)w,
                   src + (size_t)i * plane + (size_t)y * stride, (size_t)w * sizeof *dst);
}

static void run(struct ops *o, const struct vae *v, const struct direction *d, const float *in,
                int h, int w, float *out)
{
    if (!needs_tiles(o, v, d->fn, h, w)) {
        d->fn(o, v, in, h, w, out);
        return;
    }
    size_t mark = arena_mark(o->arena);
    int th = h < TILE ? h : TILE, tw = w < TILE ? w : TILE;
    size_t in_plane = (size_t)(h * d->scale_in) * (size_t)(w * d->scale_in);
    size_t out_w = (size_t)(w * d->scale_out), out_plane = (size_t)(h * d->scale_out) * out_w;
    int oh = th * d->scale_out, ow = tw * d->scale_out, ramp = OVERLAP * d->scale_out;
    float *tile_in = arena_alloc(
        o->arena, (size_t)d->c_in * (size_t)(th * d->scale_in) * (size_t)(tw * d->scale_in),
        sizeof *tile_in);
    float *tile_out =
        arena_alloc(o->arena, (size_t)d->c_out * (size_t)oh * (size_t)ow, sizeof *tile_out);
    float *weight = arena_alloc(o->arena, out_plane, sizeof *weight);
    if (arena_planning(o->arena)) {
        d->fn(o, v, tile_in, th, tw, tile_out);
        arena_reset(o->arena, mark);
        return;
    }
    memset(out, 0, (size_t)d->c_out * out_plane * sizeof *out);
    memset(weight, 0, out_plane * sizeof *weight);
    for (int y = 0;; y = y + TILE - OVERLAP < h - th ? y + TILE - OVERLAP : h - th) {
        for (int x = 0;; x = x + TILE - OVERLAP < w - tw ? x + TILE - OVERLAP : w - tw) {
            size_t at =
                (size_t)(y * d->scale_in) * (size_t)(w * d->scale_in) + (size_t)(x * d->scale_in);
            cut(tile_in, in + at, d->c_in, th * d->scale_in, tw * d->scale_in, in_plane,
                (size_t)(w * d->scale_in));
            d->fn(o, v, tile_in, th, tw, tile_out);
            for (int i = 0; i < oh; i++) {
                float wy = ramp_at(i, oh, ramp, y == 0, y == h - th);
                for (int j = 0; j < ow; j++) {
                    float wt = wy * ramp_at(j, ow, ramp, x == 0, x == w - tw);
                    size_t p = ((size_t)(y * d->scale_out) + (size_t)i) * out_w +
                               (size_t)(x * d->scale_out) + (size_t)j;
                    weight[p] += wt;
                    for (int c = 0; c < d->c_out; c++)
                        out[(size_t)c * out_plane + p] +=
                            wt *
                            tile_out[((size_t)c * (size_t)oh + (size_t)i) * (size_t)ow + (size_t)j];
                }
            }
            if (x == w - tw)
                break;
        }
        if (y == h - th)
            break;
    }
    for (int c = 0; c < d->c_out; c++)
        for (size_t p = 0; p < out_plane; p++)
            out[(size_t)c * out_plane + p] /= weight[p];
    arena_reset(o->arena, mark);
}

void vae_decode(struct ops *o, const struct vae *v, const float *latent, int h, int w,
                float *picture)
{
    struct direction d = {decode_tile, v->z, 1, 3, VAE_FACTOR};
    run(o, v, &d, latent, h, w, picture);
}

void vae_encode(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                float *latent)
{
    struct direction d = {encode_tile, 3, VAE_FACTOR, v->z, 1};
    run(o, v, &d, picture, h, w, latent);
}
