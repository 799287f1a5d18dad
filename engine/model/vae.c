/* vae.c: Both directions are a chain, so two buffers that take turns hold every activation between
 * blocks; their size is the largest of the chain, which a dry walk along it finds. */
#include "engine/model/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define MAX_RESNETS 8             /* a level */
#define ROOM ((size_t)1100 << 20) /* bytes of activations; what takes more is done in tiles */
#define TILE_LEAST 64             /* latent pixels of a tile's side, whatever that takes */
#define OVERLAP 16                /* latent pixels that neighbouring tiles share, or more */

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
    struct level levels[VAE_LEVELS];
    struct norm norm_out;
    int c_in, c_first, c_mid, c_out, level_count;
};

struct vae {
    int channels, factor; /* between encoder and decoder; of a pixel there */
    int patch;
    float scale, shift;
    struct chain encoder, decoder;
    struct matrix *quant, *post_quant; /* or NULL */
    float *mean, *deviation;           /* of patches [channels patch^2], or NULL */
};

#define PATCH_EPSILON 1e-4 /* of the norm of FLUX.2's patches */

/* ---- sizes ---- */

/* Reads levels and blocks of one half; `stem` is "encoder.down" or "decoder.up". */
static bool read_half(const struct checkpoint *cp, const char *stem, int *levels, int *channels,
                      int *blocks, struct err *err)
{
    for (*levels = 0;; ++*levels) {
        int n = 0;
        const struct raw_tensor *conv;
        for (; n <= MAX_RESNETS &&
               (conv = checkpoint_findf(cp, "first_stage_model.%s.%d.block.%d.conv2.weight", stem,
                                        *levels, n));
             n++) {
            if (*levels == VAE_LEVELS || conv->ndim != 4 ||
                conv->shape[0] > CHECKPOINT_SIZE_LIMIT || conv->shape[0] % 32 != 0 ||
                conv->shape[0] == 0 || (n > 0 && (size_t)channels[*levels] != conv->shape[0]))
                return err_set(err, ERR_INVALID,
                               "VAE: %s.%d.block.%d: wanted a convolution to the level's channels, "
                               "a multiple of 32, in one of %d levels",
                               stem, *levels, n, VAE_LEVELS);
            channels[*levels] = (int)conv->shape[0];
        }
        if (n == 0)
            return true;
        if (*levels == 0)
            *blocks = n;
        if (n != *blocks)
            return err_set(err, ERR_INVALID, "VAE: %s.%d: wanted %d blocks as above, found %d",
                           stem, *levels, *blocks, n);
    }
}

static bool read_halves(const struct checkpoint *cp, struct vae_config *c, int *up, struct err *err)
{
    return read_half(cp, "encoder.down", &c->levels, c->encoder_channels, &c->encoder_blocks,
                     err) &&
           read_half(cp, "decoder.up", up, c->decoder_channels, &c->decoder_blocks, err);
}

static bool check_levels(const struct vae_config *c, int up, struct err *err)
{
    return (c->levels == 4 && up == 4) ||
           err_set(err, ERR_UNSUPPORTED,
                   "VAE: wanted 4 levels (latent pixels of 8x8), found %d down and %d up",
                   c->levels, up);
}

bool vae_read(const struct checkpoint *cp, struct vae_config *c, struct err *err)
{
    int quant[2] = {0}, post[2] = {0}, up;
    *c = (struct vae_config){.patch = 1, .quant = true, .post_quant = true};
    if (!checkpoint_sizes(cp, "first_stage_model.quant_conv.weight", 2, quant, err) ||
        !checkpoint_sizes(cp, "first_stage_model.post_quant_conv.weight", 2, post, err) ||
        !read_halves(cp, c, &up, err))
        return false;
    c->channels = post[1];
    if (post[0] != 4 || post[1] != 4 || quant[0] != 8 || quant[1] != 8)
        return err_set(err, ERR_UNSUPPORTED, "VAE: wanted 4 latent channels, found %d", post[1]);
    return check_levels(c, up, err);
}

bool vae_read_flux(const struct checkpoint *cp, int channels, struct vae_config *c, struct err *err)
{
    int in[4] = {0}, up;
    *c = (struct vae_config){
        .channels = channels,
        .patch = channels == 32 ? 2 : 1,
        .quant = checkpoint_find(cp, "first_stage_model.quant_conv.weight"),
        .post_quant = checkpoint_find(cp, "first_stage_model.post_quant_conv.weight"),
    };
    if (!checkpoint_sizes(cp, "first_stage_model.decoder.conv_in.weight", 4, in, err) ||
        !read_halves(cp, c, &up, err))
        return false;
    if (in[1] != channels)
        return err_set(err, ERR_UNSUPPORTED, "VAE: wanted %d latent channels, found %d%s", channels,
                       in[1], channels == 32 ? " (FLUX.2's is wanted)" : " (FLUX.1's is wanted)");
    return check_levels(c, up, err);
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

/* ---- loading ---- */

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

/* Adds the level of number `n` in the names; `stem` is "first_stage_model.decoder.up". */
static struct level *load_level(struct loader *l, struct chain *ch, const char *stem, int n,
                                int blocks, int cin, int cout)
{
    struct level *level = &ch->levels[ch->level_count++];
    for (; level->count < blocks; level->count++) {
        char p[96];
        snprintf(p, sizeof p, "%s.%d.block.%d.", stem, n, level->count);
        load_resnet(l, &level->resnets[level->count], p, level->count ? cout : cin, cout);
    }
    return level;
}

/* What both have: the ends, of `c_first` and `c_last` channels on the inside, and the middle.
 * `root`: "first_stage_model.encoder.". */
static void load_rest(struct loader *l, struct chain *ch, const char *root, int c_last)
{
    static const char *const qkv[] = {"q", "k", "v"};
    char p[96];
    int mid = ch->c_mid;
    ch->conv_in = layers_conv3x3(l, root, "conv_in", ch->c_first, ch->c_in);
    snprintf(p, sizeof p, "%smid.block_1.", root);
    load_resnet(l, &ch->mid1, p, mid, mid);
    snprintf(p, sizeof p, "%smid.block_2.", root);
    load_resnet(l, &ch->mid2, p, mid, mid);
    snprintf(p, sizeof p, "%smid.attn_1.", root);
    ch->attention.c = mid;
    ch->attention.norm = layers_norm(l, p, "norm", mid);
    ch->attention.qkv = layers_stacked(l, p, qkv, 3, mid, mid, true);
    ch->attention.out = layers_linear(l, p, "proj_out", mid, mid, true);
    ch->norm_out = layers_norm(l, root, "norm_out", c_last);
    ch->conv_out = layers_conv3x3(l, root, "conv_out", ch->c_out, c_last);
}

static void load_encoder(struct loader *l, struct chain *ch, const struct vae_config *a)
{
    const int *channels = a->encoder_channels;
    int last = a->levels - 1, c = channels[0];
    *ch =
        (struct chain){.c_in = 3, .c_first = c, .c_mid = channels[last], .c_out = 2 * a->channels};
    for (int i = 0; i <= last; i++) {
        struct level *level = load_level(l, ch, "first_stage_model.encoder.down", i,
                                         a->encoder_blocks, c, channels[i]);
        char p[96];
        snprintf(p, sizeof p, "first_stage_model.encoder.down.%d.downsample.", i);
        c = channels[i];
        if (i < last)
            level->resample = layers_conv3x3(l, p, "conv", c, c);
    }
    load_rest(l, ch, "first_stage_model.encoder.", c);
}

/* Its levels are numbered from the full resolution down, and run from the other end. */
static void load_decoder(struct loader *l, struct chain *ch, const struct vae_config *a)
{
    const int *channels = a->decoder_channels;
    int last = a->levels - 1, c = channels[last];
    *ch = (struct chain){.c_in = a->channels, .c_first = c, .c_mid = c, .c_out = 3};
    for (int i = last; i >= 0; i--) {
        struct level *level =
            load_level(l, ch, "first_stage_model.decoder.up", i, a->decoder_blocks, c, channels[i]);
        char p[96];
        snprintf(p, sizeof p, "first_stage_model.decoder.up.%d.upsample.", i);
        c = channels[i];
        if (i > 0)
            level->resample = layers_upsample(l, p, "conv", c, c);
    }
    load_rest(l, ch, "first_stage_model.decoder.", c);
}

/* The mean of each channel of a patch, and the root of its variance. */
static void load_patches(struct loader *l, struct vae *v)
{
    size_t n = (size_t)(v->channels * v->patch * v->patch);
    v->mean = layers_floats(l, "first_stage_model.", "bn.running_mean", 1, &n);
    v->deviation = layers_floats(l, "first_stage_model.", "bn.running_var", 1, &n);
    for (size_t i = 0; v->deviation && i < n; i++) {
        if (!(v->deviation[i] >= 0)) {
            l->failed = !err_set(l->err, ERR_INVALID,
                                 "tensor first_stage_model.bn.running_var: wanted variances, found "
                                 "%g",
                                 (double)v->deviation[i]);
            return;
        }
        v->deviation[i] = (float)sqrt((double)v->deviation[i] + PATCH_EPSILON);
    }
}

struct vae *vae_load(struct device *dev, const struct checkpoint *cp,
                     const struct vae_config *config, struct weights *weights, struct err *err)
{
    const char *root = "first_stage_model.";
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    int levels = config->levels, z = config->channels;
    if (!check_channels(config->encoder_channels, levels, config->encoder_blocks, err) ||
        !check_channels(config->decoder_channels, levels, config->decoder_blocks, err))
        return NULL;
    struct vae *v = calloc(1, sizeof *v);
    if (!v) {
        err_set(err, ERR_INTERNAL, "no memory for an autoencoder");
        return NULL;
    }
    v->channels = z;
    v->factor = 1 << (levels - 1);
    v->patch = config->patch;
    v->scale = config->scale;
    v->shift = config->shift;
    load_encoder(&l, &v->encoder, config);
    load_decoder(&l, &v->decoder, config);
    if (config->quant)
        v->quant = layers_linear(&l, root, "quant_conv", 2 * z, 2 * z, true);
    if (config->post_quant)
        v->post_quant = layers_linear(&l, root, "post_quant_conv", z, z, true);
    if (v->patch > 1)
        load_patches(&l, v);
    if (l.failed) {
        vae_free(v);
        return NULL;
    }
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
    free(v->mean);
    free(v->deviation);
    free(v);
}

int vae_factor(const struct vae *v)
{
    return v->factor * v->patch;
}

int vae_channels(const struct vae *v)
{
    return v->channels * v->patch * v->patch;
}

/* ---- the two walks ---- */

/* Two buffers that take turns. */
struct turns {
    enum dtype dtype;
    void *buffer[2];
    int next;
    size_t most; /* elements of the largest that was taken */
};

static struct tensor take(struct turns *t, int h, int w, int c)
{
    struct tensor y = {
        .data = t->buffer[t->next], .dtype = t->dtype, .b = 1, .h = h, .w = w, .c = c, .ld = c};
    size_t n = (size_t)h * (size_t)w * (size_t)c;
    t->most = n > t->most ? n : t->most;
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

static void run_resnets(struct ops *o, const struct level *level, struct turns *t, struct tensor *x)
{
    for (int i = 0; i < level->count; i++) {
        struct tensor y = take(t, x->h, x->w, level->resnets[i].cout);
        layers_resnet(o, &level->resnets[i], &y, x, NULL);
        *x = y;
    }
}

static struct tensor with_border(struct ops *o, const struct tensor *x)
{
    struct tensor padded = tensor_new(o->arena, x->dtype, 1, x->h, x->w, x->c, 1);
    ops_resize(o, &padded, x);
    return padded;
}

static void run_halving(struct ops *o, const struct level *level, struct turns *t, struct tensor *x)
{
    struct tensor y = take(t, x->h / 2, x->w / 2, x->c);
    size_t mark = arena_mark(o->arena);
    struct tensor padded = with_border(o, x);
    ops_conv3x3(o, &y, &padded, level->resample, 2, true, NULL);
    arena_reset(o->arena, mark);
    *x = y;
}

static void run_doubling(struct ops *o, const struct level *level, struct turns *t,
                         struct tensor *x)
{
    struct tensor y = take(t, 2 * x->h, 2 * x->w, x->c);
    size_t mark = arena_mark(o->arena);
    struct tensor padded = with_border(o, x);
    ops_upsample(o, &y, &padded, level->resample, NULL);
    arena_reset(o->arena, mark);
    *x = y;
}

static struct tensor run_first(struct ops *o, const struct chain *ch, struct turns *t,
                               const float *in, int h, int w)
{
    struct tensor x = take(t, h, w, ch->c_first);
    size_t mark = arena_mark(o->arena);
    struct tensor input = tensor_new(o->arena, t->dtype, 1, h, w, ch->c_in, 1);
    ops_from_floats(o, &input, in);
    ops_conv3x3(o, &x, &input, ch->conv_in, 1, false, NULL);
    arena_reset(o->arena, mark);
    return x;
}

static void run_last(struct ops *o, const struct chain *ch, const struct tensor *x, float *out)
{
    struct tensor n = tensor_new(o->arena, x->dtype, 1, x->h, x->w, x->c, 1);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, x->h, x->w, ch->c_out, 0);
    layers_group_norm(o, &n, x, &ch->norm_out, 1e-6f, ACT_SILU);
    ops_conv3x3(o, &y, &n, ch->conv_out, 1, false, NULL);
    ops_to_floats(o, out, &y);
}

/* Picture [h, w, 3] to moments [h / f, w / f, 2 channels]. */
static void walk_down(struct ops *o, const struct vae *v, struct turns *t, const float *in, int h,
                      int w, float *out)
{
    const struct chain *ch = &v->encoder;
    struct tensor x = run_first(o, ch, t, in, h, w);
    for (int i = 0; i < ch->level_count; i++) {
        run_resnets(o, &ch->levels[i], t, &x);
        if (ch->levels[i].resample)
            run_halving(o, &ch->levels[i], t, &x);
    }
    run_mid(o, ch, t, &x);
    run_last(o, ch, &x, out);
}

/* Latent [h, w, channels] to picture [f h, f w, 3]. */
static void walk_up(struct ops *o, const struct vae *v, struct turns *t, const float *in, int h,
                    int w, float *out)
{
    const struct chain *ch = &v->decoder;
    struct tensor x = run_first(o, ch, t, in, h, w);
    run_mid(o, ch, t, &x);
    for (int i = 0; i < ch->level_count; i++) {
        run_resnets(o, &ch->levels[i], t, &x);
        if (ch->levels[i].resample)
            run_doubling(o, &ch->levels[i], t, &x);
    }
    run_last(o, ch, &x, out);
}

typedef void walk_fn(struct ops *o, const struct vae *v, struct turns *t, const float *in, int h,
                     int w, float *out);

/* Walks with buffers of the size that a dry walk takes. */
static void run_walk(struct ops *o, const struct vae *v, walk_fn *walk, const float *in, int h,
                     int w, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct arena plan;
    struct ops dry = {o->dev, &plan};
    struct turns t = {.dtype = device_dtype(o->dev)};
    arena_plan(&plan);
    walk(&dry, v, &t, NULL, h, w, NULL);
    for (int i = 0; i < 2; i++)
        t.buffer[i] = arena_alloc(o->arena, t.most + ARENA_ALIGN, dtype_size(t.dtype));
    t.next = 0;
    walk(o, v, &t, in, h, w, out);
    arena_reset(o->arena, mark);
}

/* out [h, w, n] = matrix(in [h, w, k]), at every pixel. */
static void run_pixels(struct ops *o, const struct matrix *m, int k, int n, const float *in, int h,
                       int w, float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), 1, h, w, k, 0);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, h, w, n, 0);
    ops_from_floats(o, &x, in);
    ops_linear(o, &y, &x, m, NULL);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
}

static void decode_tile(struct ops *o, const struct vae *v, const float *z, int h, int w,
                        float *picture)
{
    size_t mark = arena_mark(o->arena), n = (size_t)v->channels * (size_t)h * (size_t)w;
    float *scaled = arena_alloc(o->arena, n, sizeof *scaled);
    if (!arena_planning(o->arena))
        for (size_t i = 0; i < n; i++)
            scaled[i] = z[i] / v->scale + v->shift;
    if (v->post_quant)
        run_pixels(o, v->post_quant, v->channels, v->channels, scaled, h, w, scaled);
    run_walk(o, v, walk_up, scaled, h, w, picture);
    arena_reset(o->arena, mark);
}

static void encode_tile(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                        float *latent)
{
    size_t mark = arena_mark(o->arena), c = (size_t)v->channels, n = (size_t)h * (size_t)w;
    float *moments = arena_alloc(o->arena, 2 * c * n, sizeof *moments);
    run_walk(o, v, walk_down, picture, h * v->factor, w * v->factor, moments);
    if (v->quant)
        run_pixels(o, v->quant, 2 * v->channels, 2 * v->channels, moments, h, w, moments);
    if (!arena_planning(o->arena))
        for (size_t i = 0; i < n; i++) /* the means; a pixel's log-variances follow them */
            for (size_t k = 0; k < c; k++)
                latent[i * c + k] = (moments[i * 2 * c + k] - v->shift) * v->scale;
    arena_reset(o->arena, mark);
}

/* ---- tiles ---- */

typedef void tile_fn(struct ops *o, const struct vae *v, const float *in, int h, int w, float *out);

/* One direction as the tiler sees it: channels and pixels per latent pixel on either side. */
struct direction {
    tile_fn *fn;
    int c_in, scale_in, c_out, scale_out;
};

static bool has_room(struct ops *o, const struct vae *v, tile_fn *fn, int h, int w)
{
    struct arena plan;
    arena_plan(&plan);
    struct ops dry = {o->dev, &plan};
    fn(&dry, v, NULL, h, w, NULL);
    return plan.peak <= ROOM;
}

/* The side of the fewest tiles of at most `most` that cover `side`. */
static int tile_side(int side, int most)
{
    if (side <= most)
        return side;
    int step = most - OVERLAP, n = (side - OVERLAP + step - 1) / step;
    return (side + (n - 1) * OVERLAP + n - 1) / n;
}

/* Tiles as large as there is room for: what they share is computed twice. The whole picture is a
 * tile, too. */
static void tile_sides(struct ops *o, const struct vae *v, tile_fn *fn, int h, int w, int *th,
                       int *tw)
{
    *th = tile_side(h, TILE_LEAST);
    *tw = tile_side(w, TILE_LEAST);
    for (int most = TILE_LEAST + 8; *th < h || *tw < w; most += 8) {
        int nh = tile_side(h, most), nw = tile_side(w, most);
        if ((nh > *th || nw > *tw) && !has_room(o, v, fn, nh, nw))
            return;
        *th = nh;
        *tw = nw;
    }
}

static bool needs_tiles(struct ops *o, const struct vae *v, tile_fn *fn, int h, int w)
{
    return (h > TILE_LEAST || w > TILE_LEAST) && !has_room(o, v, fn, h, w);
}

/* Weight of position i of n: rises over `ramp` pixels from an inner edge, never zero. */
static float ramp_at(int i, int n, int ramp, bool first, bool last)
{
    float a = first || i >= ramp ? 1 : ((float)i + 0.5f) / (float)ramp;
    float b = last || n - 1 - i >= ramp ? 1 : ((float)(n - 1 - i) + 0.5f) / (float)ramp;
    return a < b ? a : b;
}

/* Where weighted tiles are summed up. */
struct blending {
    float *out, *weight; /* [height, width, c], [height, width] */
    size_t width, c;
    int ramp;
};

/* Adds a tile [oh, ow, c] whose corner lies at pixel (x, y). `inner`: whether another tile goes on
 * above, below, left and right of it. */
static void add_tile(const struct blending *b, const float *tile, int oh, int ow, int y, int x,
                     const bool inner[4])
{
    for (int i = 0; i < oh; i++) {
        float wy = ramp_at(i, oh, b->ramp, !inner[0], !inner[1]);
        for (int j = 0; j < ow; j++) {
            float wt = wy * ramp_at(j, ow, b->ramp, !inner[2], !inner[3]);
            size_t p = (size_t)(y + i) * b->width + (size_t)(x + j);
            b->weight[p] += wt;
            for (size_t c = 0; c < b->c; c++)
                b->out[p * b->c + c] += wt * tile[((size_t)i * (size_t)ow + (size_t)j) * b->c + c];
        }
    }
}

static void run_tiles(struct ops *o, const struct vae *v, const struct direction *d,
                      const float *in, int h, int w, float *out)
{
    int th, tw;
    tile_sides(o, v, d->fn, h, w, &th, &tw);
    if (th == h && tw == w) {
        d->fn(o, v, in, h, w, out);
        return;
    }
    size_t mark = arena_mark(o->arena);
    int ih = th * d->scale_in, iw = tw * d->scale_in, oh = th * d->scale_out,
        ow = tw * d->scale_out;
    size_t in_row = (size_t)(w * d->scale_in) * (size_t)d->c_in;
    size_t out_pixels = (size_t)(h * d->scale_out) * (size_t)(w * d->scale_out);
    size_t tile_row = (size_t)iw * (size_t)d->c_in;
    float *tile_in = arena_alloc(o->arena, (size_t)ih * tile_row, sizeof *tile_in);
    float *tile_out =
        arena_alloc(o->arena, (size_t)d->c_out * (size_t)oh * (size_t)ow, sizeof *tile_out);
    struct blending blending = {
        .out = out,
        .weight = arena_alloc(o->arena, out_pixels, sizeof *blending.weight),
        .width = (size_t)(w * d->scale_out),
        .c = (size_t)d->c_out,
        .ramp = OVERLAP * d->scale_out,
    };
    bool real = !arena_planning(o->arena);
    if (real) {
        memset(out, 0, out_pixels * blending.c * sizeof *out);
        memset(blending.weight, 0, out_pixels * sizeof *blending.weight);
    }
    for (int y = 0;; y = y + th - OVERLAP < h - th ? y + th - OVERLAP : h - th) {
        for (int x = 0;; x = x + tw - OVERLAP < w - tw ? x + tw - OVERLAP : w - tw) {
            const bool inner[4] = {y > 0, y<h - th, x> 0, x < w - tw};
            const float *from =
                in + (size_t)(y * d->scale_in) * in_row + (size_t)(x * d->scale_in * d->c_in);
            for (int i = 0; i < ih && real; i++)
                memcpy(tile_in + (size_t)i * tile_row, from + (size_t)i * in_row,
                       tile_row * sizeof *tile_in);
            d->fn(o, v, tile_in, th, tw, tile_out);
            if (real)
                add_tile(&blending, tile_out, oh, ow, y * d->scale_out, x * d->scale_out, inner);
            if (x == w - tw)
                break;
        }
        if (y == h - th)
            break;
    }
    for (size_t p = 0; p < out_pixels && real; p++)
        for (size_t c = 0; c < blending.c; c++)
            out[p * blending.c + c] /= blending.weight[p];
    arena_reset(o->arena, mark);
}

/* [h, w, c] at `from` out of a picture that goes on where it ends. */
static void copy_wrapped(float *out, int oh, int ow, const float *in, int h, int w, int from,
                         size_t c)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++) {
            int y = ((i + from) % h + h) % h, x = ((j + from) % w + w) % w;
            memcpy(out + ((size_t)i * (size_t)ow + (size_t)j) * c,
                   in + ((size_t)y * (size_t)w + (size_t)x) * c, c * sizeof *out);
        }
}

/* A picture that goes on where it ends, and is too large for one piece, gets so much of its other
 * sides that no tile's edge shows. */
static void run(struct ops *o, const struct vae *v, const struct direction *d, const float *in,
                int h, int w, float *out)
{
    bool wraps = device_wrap(o->dev, false);
    if (!wraps || !needs_tiles(o, v, d->fn, h, w)) {
        device_wrap(o->dev, wraps);
        run_tiles(o, v, d, in, h, w, out);
        return;
    }
    size_t mark = arena_mark(o->arena), c_in = (size_t)d->c_in, c_out = (size_t)d->c_out;
    int lh = h + 2 * OVERLAP, lw = w + 2 * OVERLAP;
    int ih = lh * d->scale_in, iw = lw * d->scale_in, oh = lh * d->scale_out,
        ow = lw * d->scale_out;
    float *more = arena_alloc(o->arena, c_in * (size_t)ih * (size_t)iw, sizeof *more);
    float *large = arena_alloc(o->arena, c_out * (size_t)oh * (size_t)ow, sizeof *large);
    bool real = !arena_planning(o->arena);
    if (real)
        copy_wrapped(more, ih, iw, in, h * d->scale_in, w * d->scale_in, -OVERLAP * d->scale_in,
                     c_in);
    run_tiles(o, v, d, more, lh, lw, large);
    device_wrap(o->dev, true);
    if (real)
        copy_wrapped(out, h * d->scale_out, w * d->scale_out, large, oh, ow, OVERLAP * d->scale_out,
                     c_out);
    arena_reset(o->arena, mark);
}

/* Between a latent [h, w, channels patch^2] and what lies between encoder and decoder, [patch h,
 * patch w, channels]. */
static void from_patches(const struct vae *v, const float *latent, int h, int w, float *z)
{
    size_t c = (size_t)v->channels, p = (size_t)v->patch, all = c * p * p, row = (size_t)w * p;
    for (size_t i = 0; i < (size_t)h * (size_t)w; i++)
        for (size_t k = 0; k < all; k++) {
            size_t y = i / (size_t)w * p + k / p % p, x = i % (size_t)w * p + k % p;
            z[(y * row + x) * c + k / (p * p)] = latent[i * all + k] * v->deviation[k] + v->mean[k];
        }
}

static void to_patches(const struct vae *v, const float *z, int h, int w, float *latent)
{
    size_t c = (size_t)v->channels, p = (size_t)v->patch, all = c * p * p, row = (size_t)w * p;
    for (size_t i = 0; i < (size_t)h * (size_t)w; i++)
        for (size_t k = 0; k < all; k++) {
            size_t y = i / (size_t)w * p + k / p % p, x = i % (size_t)w * p + k % p;
            latent[i * all + k] =
                (z[(y * row + x) * c + k / (p * p)] - v->mean[k]) / v->deviation[k];
        }
}

/* A latent's worth of what lies between encoder and decoder, in the arena. */
static float *between(struct ops *o, const struct vae *v, int h, int w)
{
    size_t n = (size_t)vae_channels(v) * (size_t)h * (size_t)w;
    return arena_alloc(o->arena, n, sizeof(float));
}

void vae_decode(struct ops *o, const struct vae *v, const float *latent, int h, int w,
                float *picture)
{
    struct direction d = {decode_tile, v->channels, 1, 3, v->factor};
    size_t mark = arena_mark(o->arena);
    if (v->patch > 1) {
        float *z = between(o, v, h, w);
        if (!arena_planning(o->arena))
            from_patches(v, latent, h, w, z);
        latent = z;
    }
    run(o, v, &d, latent, h * v->patch, w * v->patch, picture);
    arena_reset(o->arena, mark);
}

void vae_encode(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                float *latent)
{
    struct direction d = {encode_tile, 3, v->factor, v->channels, 1};
    size_t mark = arena_mark(o->arena);
    float *z = v->patch > 1 ? between(o, v, h, w) : latent;
    run(o, v, &d, picture, h * v->patch, w * v->patch, z);
    if (v->patch > 1 && !arena_planning(o->arena))
        to_patches(v, z, h, w, latent);
    arena_reset(o->arena, mark);
}
