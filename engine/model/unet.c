/* unet.c: Block numbers are those of the checkpoint's names: input_blocks go down, output_blocks
 * come up, each taking what the input block of the same size left behind. */
#include "engine/model/unet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define MAX_BLOCKS 64

#define MAX_DEPTH 64

/* Self-attention, cross-attention to the prompt, gated feed-forward, each around a residual. */
struct layer {
    struct norm norm1, norm2, norm3;
    struct matrix *qkv1, *out1;     /* self-attention; q, k and v stacked */
    struct matrix *q2, *kv2, *out2; /* cross-attention */
    struct matrix *gated, *down;    /* feed-forward */
    int prompt;                     /* which of the prompt's keys and values */
};

/* Layers between two 1x1 convolutions, around a residual. */
struct transformer {
    int c, heads, depth; /* depth 0: there is none */
    bool full;           /* at the latent's own resolution */
    struct norm norm;
    struct matrix *in, *out;
    struct layer *layers; /* [depth] */
};

struct block {
    bool has_resnet;
    struct resnet resnet;
    struct transformer transformer;
    struct matrix *resample; /* convolution that halves (input) or follows doubling (output) */
};

struct unet {
    struct unet_config config;
    struct matrix *time1, *time2, *conv_in, *conv_out;
    struct matrix *label1, *label2; /* NULL without a label */
    struct norm norm_out;
    struct block in[MAX_BLOCKS], mid[2], out[MAX_BLOCKS]; /* mid: resnet + transformer, resnet */
    int in_count, out_count, layers;                      /* layers: of all transformers */
};

struct unet_prompt {
    int b, tokens;
    struct tensor label; /* [b, 1, 1, time_dim], F32: what is added to the time's embedding */
    int count;
    struct tensor kv[]; /* of each layer [b, 1, tokens, 2 c]: keys, then values */
};

/* ---- sizes ---- */

#define ROOT "model.diffusion_model."

/* Layers of the transformer that is called so. */
static int read_depth(const struct checkpoint *cp, const char *name)
{
    int depth = 0;
    while (depth <= MAX_DEPTH &&
           checkpoint_findf(cp, "%s.transformer_blocks.%d.attn2.to_k.weight", name, depth))
        depth++;
    return depth;
}

/* Reads the levels off the input blocks: resnets, each with or without attention behind it, and a
 * downsampler that ends the level. */
static bool read_levels(const struct checkpoint *cp, struct unet_config *c, struct err *err)
{
    int blocks = 0;
    for (int n = 1;; n++) {
        bool ends = checkpoint_findf(cp, ROOT "input_blocks.%d.0.op.weight", n);
        const struct raw_tensor *conv =
            checkpoint_findf(cp, ROOT "input_blocks.%d.0.in_layers.2.weight", n);
        char transformer[64];
        snprintf(transformer, sizeof transformer, ROOT "input_blocks.%d.1", n);
        int depth = read_depth(cp, transformer), level = c->levels;
        if (!conv) { /* the level's end */
            if (level == 0 && blocks > 0)
                c->res_blocks = blocks;
            if (blocks == 0 || blocks != c->res_blocks || level == UNET_LEVELS)
                return err_set(err, ERR_INVALID,
                               "UNet: wanted 1..%d levels of the same number of blocks, found %d "
                               "blocks at input_blocks.%d",
                               UNET_LEVELS, blocks, n);
            c->levels++;
            blocks = 0;
            if (!ends)
                return true;
            continue;
        }
        if (level == UNET_LEVELS || conv->ndim != 4 || conv->shape[0] > CHECKPOINT_SIZE_LIMIT ||
            conv->shape[0] % 32 != 0 || conv->shape[0] == 0)
            return err_set(err, ERR_INVALID,
                           "UNet: input_blocks.%d: wanted a convolution to a multiple of 32 "
                           "channels in one of %d levels",
                           n, UNET_LEVELS);
        int channels = (int)conv->shape[0];
        if (blocks++ == 0) {
            c->channels[level] = channels;
            c->depth[level] = depth;
        } else if (channels != c->channels[level] || depth != c->depth[level]) {
            return err_set(
                err, ERR_UNSUPPORTED,
                "UNet: input_blocks.%d differs in channels or layers of attention from the "
                "block before it on its level",
                n);
        }
        if (blocks > MAX_BLOCKS)
            return err_set(err, ERR_INVALID, "UNet: more than %d blocks a level", MAX_BLOCKS);
    }
}

bool unet_read_down(const struct checkpoint *cp, struct unet_config *c, struct err *err)
{
    int in[4] = {0}, time[2] = {0}, context[2] = {0}, label[2] = {0};
    *c = (struct unet_config){0};
    if (!checkpoint_sizes(cp, ROOT "input_blocks.0.0.weight", 4, in, err) ||
        !checkpoint_sizes(cp, ROOT "time_embed.0.weight", 2, time, err) ||
        !checkpoint_sizes(cp, ROOT "middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2,
                          context, err) ||
        (checkpoint_has(cp, ROOT "label_emb.") &&
         !checkpoint_sizes(cp, ROOT "label_emb.0.0.weight", 2, label, err)) ||
        !read_levels(cp, c, err))
        return false;
    c->model_channels = in[0];
    c->in_channels = in[1];
    c->time_dim = time[0];
    c->context_dim = context[1];
    c->label_dim = label[1];
    c->mid_depth = read_depth(cp, ROOT "middle_block.1");
    return in[0] % 32 == 0 ||
           err_set(err, ERR_INVALID, "UNet: wanted channels in multiples of 32, found %d", in[0]);
}

bool unet_read(const struct checkpoint *cp, struct unet_config *c, struct err *err)
{
    int in[4], out[4] = {0};
    if (!checkpoint_sizes(cp, ROOT "input_blocks.0.0.weight", 4, in, err) ||
        !checkpoint_sizes(cp, ROOT "out.2.weight", 4, out, err) || !unet_read_down(cp, c, err))
        return false;
    c->out_channels = out[0];
    int up = c->levels * (c->res_blocks + 1);
    if (!checkpoint_findf(cp, ROOT "output_blocks.%d.0.in_layers.2.weight", up - 1) ||
        checkpoint_findf(cp, ROOT "output_blocks.%d.0.in_layers.2.weight", up))
        return err_set(err, ERR_INVALID,
                       "UNet: wanted %d output blocks for %d levels of %d input blocks", up,
                       c->levels, c->res_blocks);
    return true;
}

int unet_residuals_of(const struct unet_config *c, int channels[UNET_RESIDUALS])
{
    int n = 0;
    channels[n++] = c->model_channels;
    for (int level = 0; level < c->levels; level++)
        for (int i = 0; i < c->res_blocks + (level + 1 < c->levels); i++)
            channels[n++] = c->channels[level];
    channels[n++] = c->channels[c->levels - 1];
    return n;
}

static int heads_of(const struct unet_config *c, int channels)
{
    return c->heads ? c->heads : channels / c->head_channels;
}

/* ---- loading ---- */

static void load_resnet(struct loader *l, struct resnet *r, const char *prefix, int cin, int cout,
                        int time_dim)
{
    *r = (struct resnet){.cin = cin, .cout = cout, .eps = 1e-5f};
    r->norm1 = layers_norm(l, prefix, "in_layers.0", cin);
    r->conv1 = layers_conv3x3(l, prefix, "in_layers.2", cout, cin);
    l->coarse = false; /* one row a step */
    r->emb = layers_linear(l, prefix, "emb_layers.1", cout, time_dim, true);
    l->coarse = true;
    r->norm2 = layers_norm(l, prefix, "out_layers.0", cout);
    r->conv2 = layers_conv3x3(l, prefix, "out_layers.3", cout, cout);
    if (cin != cout)
        r->skip = layers_linear(l, prefix, "skip_connection", cout, cin, true);
}

static void load_layer(struct loader *l, struct unet *u, struct layer *y, const char *prefix, int c)
{
    static const char *const self[] = {"attn1.to_q", "attn1.to_k", "attn1.to_v"};
    static const char *const cross[] = {"attn2.to_k", "attn2.to_v"};
    y->prompt = u->layers++;
    y->norm1 = layers_norm(l, prefix, "norm1", c);
    y->qkv1 = layers_stacked(l, prefix, self, 3, c, c, false);
    y->out1 = layers_linear(l, prefix, "attn1.to_out.0", c, c, true);
    y->norm2 = layers_norm(l, prefix, "norm2", c);
    y->q2 = layers_linear(l, prefix, "attn2.to_q", c, c, false);
    l->coarse = false; /* once a prompt */
    y->kv2 = layers_stacked(l, prefix, cross, 2, c, u->config.context_dim, false);
    l->coarse = true;
    y->out2 = layers_linear(l, prefix, "attn2.to_out.0", c, c, true);
    y->norm3 = layers_norm(l, prefix, "norm3", c);
    y->gated = layers_gated(l, prefix, "ff.net.0.proj", 4 * c, c);
    y->down = layers_linear(l, prefix, "ff.net.2", c, 4 * c, true);
}

static void load_transformer(struct loader *l, struct unet *u, struct transformer *t,
                             const char *prefix, int c, int depth, bool full)
{
    if (!depth || l->failed)
        return;
    *t = (struct transformer){.c = c, .heads = heads_of(&u->config, c), .full = full};
    t->layers = calloc((size_t)depth, sizeof *t->layers);
    if (!t->layers) {
        l->failed = !err_set(l->err, ERR_INTERNAL, "no memory for %d layers", depth);
        return;
    }
    t->depth = depth;
    t->norm = layers_norm(l, prefix, "norm", c);
    t->in = layers_linear(l, prefix, "proj_in", c, c, true);
    for (int i = 0; i < depth; i++) {
        char p[128];
        snprintf(p, sizeof p, "%stransformer_blocks.%d.", prefix, i);
        load_layer(l, u, &t->layers[i], p, c);
    }
    t->out = layers_linear(l, prefix, "proj_out", c, c, true);
}

/* Member `k` of block `i`: "model.diffusion_model.input_blocks.4.1." */
static const char *member(char *buf, size_t size, const char *list, int i, int k)
{
    snprintf(buf, size, "model.diffusion_model.%s.%d.%d.", list, i, k);
    return buf;
}

/* `half`: the way down and the middle alone. */
static void load_blocks(struct loader *l, struct unet *u, bool half)
{
    const struct unet_config *a = &u->config;
    int time_dim = a->time_dim, c = a->model_channels;
    int left[MAX_BLOCKS], lefts = 0; /* channels that the way down leaves for the way up */
    char p[96];
    left[lefts++] = c;
    u->in_count = 1; /* input block 0 is conv_in */
    for (int level = 0; level < a->levels; level++) {
        int wide = a->channels[level];
        for (int i = 0; i < a->res_blocks; i++) {
            int n = u->in_count++;
            struct block *b = &u->in[n];
            b->has_resnet = true;
            load_resnet(l, &b->resnet, member(p, sizeof p, "input_blocks", n, 0), c, wide,
                        time_dim);
            c = left[lefts++] = wide;
            load_transformer(l, u, &b->transformer, member(p, sizeof p, "input_blocks", n, 1), c,
                             a->depth[level], level == 0);
        }
        if (level + 1 < a->levels) {
            int n = u->in_count++;
            u->in[n].resample =
                layers_conv3x3(l, member(p, sizeof p, "input_blocks", n, 0), "op", c, c);
            left[lefts++] = c;
        }
    }
    load_resnet(l, &u->mid[0].resnet, "model.diffusion_model.middle_block.0.", c, c, time_dim);
    load_transformer(l, u, &u->mid[0].transformer, "model.diffusion_model.middle_block.1.", c,
                     a->mid_depth, false);
    load_resnet(l, &u->mid[1].resnet, "model.diffusion_model.middle_block.2.", c, c, time_dim);
    u->mid[0].has_resnet = u->mid[1].has_resnet = true;
    for (int level = a->levels - 1; level >= 0 && !half; level--) {
        int wide = a->channels[level];
        for (int i = 0; i <= a->res_blocks; i++) {
            int n = u->out_count++;
            struct block *b = &u->out[n];
            b->has_resnet = true;
            load_resnet(l, &b->resnet, member(p, sizeof p, "output_blocks", n, 0),
                        c + left[--lefts], wide, time_dim);
            c = wide;
            load_transformer(l, u, &b->transformer, member(p, sizeof p, "output_blocks", n, 1), c,
                             a->depth[level], level == 0);
            if (level > 0 && i == a->res_blocks)
                b->resample = layers_upsample(
                    l, member(p, sizeof p, "output_blocks", n, a->depth[level] ? 2 : 1), "conv", c,
                    c);
        }
    }
}

static struct unet *load(struct device *dev, const struct checkpoint *cp,
                         const struct unet_config *config, bool half, struct weights *weights,
                         struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct unet *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, ERR_INTERNAL, "no memory for a UNet");
        return NULL;
    }
    u->config = *config;
    int levels = config->levels, mc = config->model_channels;
    if (levels * (config->res_blocks + 1) >= MAX_BLOCKS) {
        err_set(err, ERR_UNSUPPORTED, "UNet of %d levels with %d blocks each: wanted fewer than %d",
                levels, config->res_blocks, MAX_BLOCKS);
        goto fail;
    }
    for (int i = 0; i < levels; i++) {
        int c = config->channels[i];
        int heads = config->depth[i] || i == levels - 1 ? heads_of(config, c) : 1;
        if (c % LAYERS_GROUPS || heads == 0 || c % heads || c / heads > LAYERS_MAX_HEAD ||
            c > LAYERS_MAX_WIDTH) {
            err_set(err, ERR_UNSUPPORTED,
                    "UNet level %d has %d channels: wanted a multiple of %d that the heads divide, "
                    "%d at most, a head being at most %d wide",
                    i, c, LAYERS_GROUPS, LAYERS_MAX_WIDTH, LAYERS_MAX_HEAD);
            goto fail;
        }
        if (config->depth[i] > MAX_DEPTH || config->mid_depth > MAX_DEPTH) {
            err_set(err, ERR_UNSUPPORTED, "UNet: wanted at most %d layers a transformer",
                    MAX_DEPTH);
            goto fail;
        }
    }
    if (config->time_dim > LAYERS_MAX_WIDTH || config->label_dim > LAYERS_MAX_WIDTH) {
        err_set(err, ERR_UNSUPPORTED,
                "UNet with a time embedding of %d channels and a label of %d: wanted at most %d",
                config->time_dim, config->label_dim, LAYERS_MAX_WIDTH);
        goto fail;
    }
    if (mc != config->channels[0] || config->time_dim % 32) {
        err_set(err, ERR_UNSUPPORTED,
                "UNet that begins with %d channels, with %d at full resolution and a time "
                "embedding of %d: wanted the first two equal, the last a multiple of 32",
                mc, config->channels[0], config->time_dim);
        goto fail;
    }
    u->time1 = layers_linear(&l, ROOT, "time_embed.0", config->time_dim, mc, true);
    u->time2 = layers_linear(&l, ROOT, "time_embed.2", config->time_dim, config->time_dim, true);
    if (config->label_dim) {
        u->label1 =
            layers_linear(&l, ROOT, "label_emb.0.0", config->time_dim, config->label_dim, true);
        u->label2 =
            layers_linear(&l, ROOT, "label_emb.0.2", config->time_dim, config->time_dim, true);
    }
    u->conv_in = layers_conv3x3(&l, ROOT, "input_blocks.0.0", mc, config->in_channels);
    l.coarse = true;
    load_blocks(&l, u, half);
    l.coarse = false;
    if (!half) {
        u->norm_out = layers_norm(&l, ROOT, "out.0", mc);
        u->conv_out = layers_conv3x3(&l, ROOT, "out.2", config->out_channels, mc);
    }
    if (l.failed)
        goto fail;
    return u;
fail:
    unet_free(u);
    return NULL;
}

struct unet *unet_load(struct device *dev, const struct checkpoint *cp,
                       const struct unet_config *config, struct weights *weights, struct err *err)
{
    return load(dev, cp, config, false, weights, err);
}

struct unet *unet_load_down(struct device *dev, const struct checkpoint *cp,
                            const struct unet_config *config, struct weights *weights,
                            struct err *err)
{
    return load(dev, cp, config, true, weights, err);
}

static void layer_free(struct layer *y)
{
    struct norm *norms[] = {&y->norm1, &y->norm2, &y->norm3};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        layers_norm_free(norms[i]);
    struct matrix *all[] = {y->qkv1, y->out1, y->q2, y->kv2, y->out2, y->gated, y->down};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        matrix_free(all[i]);
}

static void block_free(struct block *b)
{
    struct transformer *t = &b->transformer;
    layers_resnet_free(&b->resnet);
    for (int i = 0; i < t->depth; i++)
        layer_free(&t->layers[i]);
    free(t->layers);
    layers_norm_free(&t->norm);
    matrix_free(t->in);
    matrix_free(t->out);
    matrix_free(b->resample);
}

void unet_free(struct unet *u)
{
    if (!u)
        return;
    for (int i = 0; i < u->in_count; i++)
        block_free(&u->in[i]);
    for (int i = 0; i < u->out_count; i++)
        block_free(&u->out[i]);
    block_free(&u->mid[0]);
    block_free(&u->mid[1]);
    layers_norm_free(&u->norm_out);
    matrix_free(u->time1);
    matrix_free(u->time2);
    matrix_free(u->label1);
    matrix_free(u->label2);
    matrix_free(u->conv_in);
    matrix_free(u->conv_out);
    free(u);
}

static void prompt_keys(struct ops *o, const struct block *b, struct unet_prompt *p,
                        const struct tensor *context)
{
    const struct transformer *t = &b->transformer;
    for (int i = 0; i < t->depth; i++) {
        struct tensor *kv = &p->kv[t->layers[i].prompt];
        *kv = tensor_new(o->arena, device_dtype(o->dev), p->b, 1, p->tokens, 2 * t->c, 0);
        ops_linear(o, kv, context, t->layers[i].kv2, NULL);
    }
}

static struct tensor embed_label(struct ops *o, const struct unet *u, int b, const float *label)
{
    int n = u->config.label_dim, dim = u->config.time_dim;
    enum dtype dtype = device_dtype(o->dev);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, b, 1, 1, dim, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor x = tensor_new(o->arena, dtype, b, 1, 1, n, 0);
    struct tensor h = tensor_new(o->arena, dtype, b, 1, 1, dim, 0);
    struct epilogue silu = {.act = ACT_SILU};
    ops_from_floats(o, &x, label);
    ops_linear(o, &h, &x, u->label1, &silu);
    ops_linear(o, &y, &h, u->label2, NULL);
    arena_reset(o->arena, mark);
    return y;
}

struct unet_prompt *unet_prompt_new(struct ops *o, const struct unet *u, int b, int tokens,
                                    const float *context, const float *label)
{
    /* The bookkeeping is needed while planning too, where the arena has no memory to lend. */
    struct unet_prompt *p = calloc(1, sizeof *p + (size_t)u->layers * sizeof *p->kv);
    if (!p)
        return NULL;
    p->b = b;
    p->tokens = tokens;
    p->count = u->layers;
    if (u->config.label_dim)
        p->label = embed_label(o, u, b, label);
    int c = u->config.context_dim;
    struct tensor x = tensor_new(o->arena, device_dtype(o->dev), b, 1, tokens, c, 0);
    ops_from_floats(o, &x, context);
    for (int i = 0; i < u->in_count; i++)
        prompt_keys(o, &u->in[i], p, &x);
    prompt_keys(o, &u->mid[0], p, &x);
    for (int i = 0; i < u->out_count; i++)
        prompt_keys(o, &u->out[i], p, &x);
    return p;
}

struct unet_prompt *unet_prompt_first(const struct unet_prompt *p, int b)
{
    size_t size = sizeof *p + (size_t)p->count * sizeof *p->kv;
    struct unet_prompt *first = malloc(size);
    if (!first)
        return NULL;
    memcpy(first, p, size);
    first->b = first->label.b = b;
    for (int i = 0; i < p->count; i++)
        first->kv[i].b = b;
    return first;
}

void unet_prompt_free(struct unet_prompt *p)
{
    free(p);
}

static struct tensor like(struct ops *o, const struct tensor *x, int c)
{
    return tensor_new(o->arena, x->dtype, x->b, x->h, x->w, c, 0);
}

/* Keys and values [b, h, w, 2c] at `share` of their pixels: every so many, not their means. */
static struct tensor fewer(struct ops *o, const struct tensor *kv, double share)
{
    int h = (int)ceil(kv->h * sqrt(share)), w = (int)ceil(kv->w * sqrt(share));
    struct tensor y = tensor_new(o->arena, kv->dtype, kv->b, h, w, kv->c, 0);
    ops_resize(o, &y, kv);
    return y;
}

/* `h` is changed in place; `n`: as large, for what comes in between. */
static void run_layer(struct ops *o, const struct transformer *t, const struct layer *y,
                      const struct unet_prompt *prompt, double merging, struct tensor *h,
                      struct tensor *n)
{
    size_t mark = arena_mark(o->arena);
    int c = t->c;
    struct tensor ht = tensor_tokens(h), nt = tensor_tokens(n);
    struct epilogue onto_h = {.residual = &ht};

    struct tensor qkv = like(o, h, 3 * c), qkvt = tensor_tokens(&qkv), mixed = like(o, &ht, c);
    layers_layer_norm(o, &nt, &ht, &y->norm1);
    ops_linear(o, &qkvt, &nt, y->qkv1, NULL);
    struct tensor q = tensor_slice(&qkvt, 0, c), kv = tensor_slice(&qkv, c, 2 * c);
    if (t->full && merging > 0)
        kv = fewer(o, &kv, 1 - merging);
    kv = tensor_tokens(&kv);
    struct tensor k = tensor_slice(&kv, 0, c), v = tensor_slice(&kv, c, c);
    ops_attention(o, &mixed, &q, &k, &v, t->heads, false);
    ops_linear(o, &ht, &mixed, y->out1, &onto_h);

    const struct tensor *words = &prompt->kv[y->prompt];
    layers_layer_norm(o, &nt, &ht, &y->norm2);
    ops_linear(o, &q, &nt, y->q2, NULL);
    k = tensor_slice(words, 0, c);
    v = tensor_slice(words, c, c);
    ops_attention(o, &mixed, &q, &k, &v, t->heads, false);
    ops_linear(o, &ht, &mixed, y->out2, &onto_h);
    arena_reset(o->arena, mark);

    struct tensor wide = like(o, &ht, 4 * c);
    layers_layer_norm(o, &nt, &ht, &y->norm3);
    ops_linear(o, &wide, &nt, y->gated, NULL);
    ops_linear(o, &ht, &wide, y->down, &onto_h);
    arena_reset(o->arena, mark);
}

/* x is changed in place. */
static void run_transformer(struct ops *o, const struct transformer *t,
                            const struct unet_prompt *prompt, double merging, struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    struct tensor n = like(o, x, t->c), h = like(o, x, t->c);
    struct epilogue onto_x = {.residual = x};
    layers_group_norm(o, &n, x, &t->norm, 1e-6f, ACT_NONE);
    ops_linear(o, &h, &n, t->in, NULL);
    for (int i = 0; i < t->depth; i++)
        run_layer(o, t, &t->layers[i], prompt, merging, &h, &n);
    ops_linear(o, x, &h, t->out, &onto_x);
    arena_reset(o->arena, mark);
}

static struct tensor run_block(struct ops *o, const struct block *b,
                               const struct unet_prompt *prompt, double merging,
                               const struct tensor *x, const struct tensor *emb)
{
    struct tensor y = like(o, x, b->resnet.cout);
    layers_resnet(o, &b->resnet, &y, x, emb);
    if (b->transformer.depth)
        run_transformer(o, &b->transformer, prompt, merging, &y);
    return y;
}

static struct tensor halve(struct ops *o, const struct matrix *conv, const struct tensor *x)
{
    struct tensor y = tensor_new(o->arena, x->dtype, x->b, (x->h + 1) / 2, (x->w + 1) / 2, x->c, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor padded = tensor_new(o->arena, x->dtype, x->b, x->h, x->w, x->c, 1);
    ops_resize(o, &padded, x);
    ops_conv3x3(o, &y, &padded, conv, 2, false, NULL);
    arena_reset(o->arena, mark);
    return y;
}

static struct tensor twice(struct ops *o, const struct matrix *conv, const struct tensor *x)
{
    struct tensor y = tensor_new(o->arena, x->dtype, x->b, 2 * x->h, 2 * x->w, x->c, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor padded = tensor_new(o->arena, x->dtype, x->b, x->h, x->w, x->c, 1);
    ops_resize(o, &padded, x);
    ops_upsample(o, &y, &padded, conv, NULL);
    arena_reset(o->arena, mark);
    return y;
}

/* Channels of x, then of the skip. Where a side was odd on the way down, x is one larger than the
 * skip and is resized to it, as the SD WebUI does. `added`, or NULL, is added to the skip. */
static struct tensor join(struct ops *o, const struct tensor *x, const struct tensor *skip,
                          const struct tensor *added)
{
    struct tensor y = tensor_new(o->arena, x->dtype, x->b, skip->h, skip->w, x->c + skip->c, 0);
    struct tensor a = tensor_slice(&y, 0, x->c), b = tensor_slice(&y, x->c, skip->c);
    ops_resize(o, &a, x);
    ops_resize(o, &b, skip);
    if (added)
        ops_add(o, &b, added, 1);
    return y;
}

/* The timestep's sinusoids through two layers, and the prompt's label; returns silu(embedding),
 * which is what every resnet takes: one for all pictures, or one each where they have labels. */
static struct tensor embed_time(struct ops *o, const struct unet *u,
                                const struct unet_prompt *prompt, float t)
{
    int n = u->config.model_channels, dim = u->config.time_dim;
    int b = u->config.label_dim ? prompt->b : 1;
    enum dtype dtype = device_dtype(o->dev);
    struct tensor y = tensor_new(o->arena, dtype, b, 1, 1, dim, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor x = tensor_new(o->arena, dtype, b, 1, 1, n, 0);
    struct tensor h = tensor_new(o->arena, dtype, b, 1, 1, dim, 0);
    float *wave = arena_alloc(o->arena, (size_t)b * (size_t)n, sizeof *wave);
    for (int i = 0; i < b && !arena_planning(o->arena); i++)
        layers_sinusoids(t, n, wave + (size_t)i * (size_t)n);
    struct epilogue silu = {.act = ACT_SILU}, labelled = {.act = ACT_SILU};
    if (u->config.label_dim) {
        labelled.row = prompt->label.data;
        labelled.row_ld = (size_t)prompt->label.ld;
    }
    ops_from_floats(o, &x, wave);
    ops_linear(o, &h, &x, u->time1, &silu);
    ops_linear(o, &y, &h, u->time2, &labelled);
    arena_reset(o->arena, mark);
    return y;
}

struct tensor unet_deep(struct ops *o, const struct unet *u, int b, int h, int w)
{
    int c = u->out[u->out_count - 1].resnet.cin - u->config.model_channels;
    return tensor_new(o->arena, device_dtype(o->dev), b, h, w, c, 0);
}

/* From the first convolution's result through the middle, leaving what each input block makes in
 * skips; returns how many. */
static int run_down(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                    double merging, const struct tensor *first, const struct tensor *emb,
                    struct tensor *skips, struct tensor *mid)
{
    struct tensor y = *first;
    int count = 0;
    skips[count++] = y;
    for (int i = 1; i < u->in_count; i++)
        y = skips[count++] = u->in[i].has_resnet ? run_block(o, &u->in[i], prompt, merging, &y, emb)
                                                 : halve(o, u->in[i].resample, &y);
    y = run_block(o, &u->mid[0], prompt, merging, &y, emb);
    *mid = run_block(o, &u->mid[1], prompt, merging, &y, emb);
    return count;
}

/* From the first convolution's result to what the last block joins with it. */
static struct tensor run_deep(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                              double merging, const struct tensor *first, const struct tensor *emb,
                              const struct unet_residuals *added)
{
    struct tensor skips[MAX_BLOCKS], y;
    int count = run_down(o, u, prompt, merging, first, emb, skips, &y);
    if (added)
        ops_add(o, &y, &added->at[count], 1);
    for (int i = 0; i < u->out_count - 1; i++) {
        count--;
        struct tensor joined = join(o, &y, &skips[count], added ? &added->at[count] : NULL);
        y = run_block(o, &u->out[i], prompt, merging, &joined, emb);
        if (u->out[i].resample)
            y = twice(o, u->out[i].resample, &y);
    }
    return y;
}

static struct tensor run_first(struct ops *o, const struct unet *u, int b, const float *x, int h,
                               int w)
{
    enum dtype dtype = device_dtype(o->dev);
    struct tensor first = tensor_new(o->arena, dtype, b, h, w, u->config.model_channels, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor input = tensor_new(o->arena, dtype, b, h, w, u->config.in_channels, 1);
    ops_from_floats(o, &input, x);
    ops_conv3x3(o, &first, &input, u->conv_in, 1, false, NULL);
    arena_reset(o->arena, mark);
    return first;
}

void unet_residuals_room(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                         int h, int w, struct unet_residuals *out)
{
    int channels[UNET_RESIDUALS];
    out->count = unet_residuals_of(&u->config, channels);
    for (int i = 0; i < out->count; i++) {
        if (i > 0 && i < u->in_count && !u->in[i].has_resnet) {
            h = (h + 1) / 2;
            w = (w + 1) / 2;
        }
        out->at[i] = tensor_new(o->arena, device_dtype(o->dev), prompt->b, h, w, channels[i], 0);
    }
}

void unet_forward_down(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                       const float *x, int h, int w, float t, const struct tensor *hint,
                       struct unet_residuals *out)
{
    struct tensor emb = embed_time(o, u, prompt, t);
    struct tensor first = run_first(o, u, prompt->b, x, h, w);
    for (int i = 0; i < prompt->b; i++) {
        struct tensor one = first;
        one.b = 1;
        if (!arena_planning(o->arena))
            one.data = tensor_at(&first, i, 0, 0);
        ops_add(o, &one, hint, 1);
    }
    out->count = run_down(o, u, prompt, 0, &first, &emb, out->at, &out->at[u->in_count]) + 1;
}

void unet_forward(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                  const float *x, int h, int w, float t, const struct unet_shortcuts *shortcuts,
                  const struct unet_residuals *added, float *out)
{
    struct unet_shortcuts s = shortcuts ? *shortcuts : (struct unet_shortcuts){0};
    size_t mark = arena_mark(o->arena);
    enum dtype dtype = device_dtype(o->dev);
    int b = prompt->b, mc = u->config.model_channels;
    struct tensor emb = embed_time(o, u, prompt, t), first = run_first(o, u, b, x, h, w);
    struct tensor y =
        s.reuse ? *s.deep : run_deep(o, u, prompt, s.token_merging, &first, &emb, added);
    if (s.deep && !s.reuse)
        ops_resize(o, s.deep, &y);
    struct tensor joined = join(o, &y, &first, added ? &added->at[0] : NULL);
    y = run_block(o, &u->out[u->out_count - 1], prompt, s.token_merging, &joined, &emb);

    struct tensor n = tensor_new(o->arena, dtype, b, h, w, mc, 1);
    struct tensor last = tensor_new(o->arena, DTYPE_F32, b, h, w, u->config.out_channels, 0);
    layers_group_norm(o, &n, &y, &u->norm_out, 1e-5f, ACT_SILU);
    ops_conv3x3(o, &last, &n, u->conv_out, 1, false, NULL);
    ops_to_floats(o, out, &last);
    arena_reset(o->arena, mark);
}
