/* pixel_unet.c: Block numbers are those of unet.c. */
#include "engine/model/pixel_unet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/layers.h"

#define ROOT "model.diffusion_model."

struct block {
    struct resnet resnet;
    bool attention;
    struct norm norm; /* in front of attention */
    struct matrix *qkv, *out;
    struct matrix
        *resample; /* a convolution that halves (alone in its block) or doubles (behind) */
};

struct pixel_unet {
    struct pixel_unet_config config;
    struct matrix *time1, *time2, *conv_in, *conv_out;
    struct norm norm_out;
    struct block in[PIXEL_UNET_BLOCKS], mid[2], out[PIXEL_UNET_BLOCKS];
    int in_count, out_count;
};

/* ---- sizes ---- */

static bool has_attention(const struct checkpoint *cp, const char *list, int block)
{
    return checkpoint_findf(cp, ROOT "%s.%d.1.to_q.weight", list, block) != NULL;
}

static bool read_levels(const struct checkpoint *cp, struct pixel_unet_config *c, struct err *err)
{
    int blocks = 0;
    for (int n = 1; n < PIXEL_UNET_BLOCKS; n++) {
        char name[96];
        int shape[4];
        snprintf(name, sizeof name, ROOT "input_blocks.%d.0.in_layers.2.weight", n);
        if (checkpoint_find(cp, name)) {
            if (c->levels == PIXEL_UNET_LEVELS || !checkpoint_sizes(cp, name, 4, shape, err))
                return c->levels < PIXEL_UNET_LEVELS
                           ? false
                           : err_set(err, ERR_UNSUPPORTED, "UNet: more than %d levels",
                                     PIXEL_UNET_LEVELS);
            if (blocks++ && shape[0] != c->width[c->levels])
                return err_set(err, ERR_UNSUPPORTED,
                               "UNet: input_blocks.%d makes %d channels, those before it on its "
                               "level %d",
                               n, shape[0], c->width[c->levels]);
            c->width[c->levels] = shape[0];
            c->in_attention[n] = has_attention(cp, "input_blocks", n);
            continue;
        }
        if (c->levels == 0)
            c->blocks = blocks;
        if (blocks == 0 || blocks != c->blocks)
            return err_set(err, ERR_INVALID,
                           "UNet: wanted as many blocks on each level, found %d at "
                           "input_blocks.%d",
                           blocks, n);
        c->levels++;
        blocks = 0;
        if (!checkpoint_findf(cp, ROOT "input_blocks.%d.0.op.weight", n))
            return true;
    }
    return err_set(err, ERR_UNSUPPORTED, "UNet: more than %d blocks", PIXEL_UNET_BLOCKS);
}

/* What a configuration may say that is none of what runs here. */
static bool check_words(const struct checkpoint *cp, struct err *err)
{
    static const struct {
        const char *key, *word;
    } wanted[] = {
        {"_class_name", "UNet2DModel"},
        {"time_embedding_type", "positional"},
        {"act_fn", "silu"},
        {"resnet_time_scale_shift", "default"},
        {"downsample_type", "conv"},
        {"upsample_type", "conv"},
        {"mid_block_type", "UNetMidBlock2D"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const char *word = checkpoint_config_text(cp, wanted[i].key);
        if (word && strcmp(word, wanted[i].word) != 0)
            return err_set(err, ERR_UNSUPPORTED, "config.json: %s is '%.40s': wanted '%s'",
                           wanted[i].key, word, wanted[i].word);
    }
    if (checkpoint_has(cp, ROOT "class_embedding.") || checkpoint_has(cp, ROOT "label_emb."))
        return err_set(err, ERR_UNSUPPORTED, "UNet: wanted one without classes");
    return checkpoint_config_number(cp, "mid_block_scale_factor", 1) == 1 ||
           err_set(err, ERR_UNSUPPORTED, "config.json: wanted a mid_block_scale_factor of 1");
}

static bool read_config(const struct checkpoint *cp, struct pixel_unet_config *c, struct err *err)
{
    double groups = checkpoint_config_number(cp, "norm_num_groups", 32);
    double head = checkpoint_config_number(cp, "attention_head_dim", 8);
    double eps = checkpoint_config_number(cp, "norm_eps", 1e-5);
    if (!check_words(cp, err))
        return false;
    if (!(groups >= 1 && groups <= LAYERS_MAX_WIDTH) || groups != floor(groups))
        return err_set(err, ERR_INVALID, "config.json: norm_num_groups is %g", groups);
    if (!(isnan(head) || (head >= 1 && head <= LAYERS_MAX_HEAD && head == floor(head))))
        return err_set(err, ERR_INVALID, "config.json: attention_head_dim is %g: wanted 1..%d",
                       head, LAYERS_MAX_HEAD);
    if (!(eps > 0 && eps < 1))
        return err_set(err, ERR_INVALID, "config.json: norm_eps is %g", eps);
    c->groups = (int)groups;
    c->head = isnan(head) ? 0 : (int)head;
    c->eps = (float)eps;
    c->freq_shift = checkpoint_config_number(cp, "freq_shift", 0);
    c->cosines_first = checkpoint_config_is(cp, "flip_sin_to_cos", true);
    c->pad_end = checkpoint_config_number(cp, "downsample_padding", 1) == 0;
    c->centre = checkpoint_config_is(cp, "center_input_sample", false);
    return (c->freq_shift >= 0 && c->freq_shift <= 1) ||
           err_set(err, ERR_INVALID, "config.json: freq_shift is %g: wanted 0..1", c->freq_shift);
}

static bool check_width(const struct pixel_unet_config *c, int width, struct err *err)
{
    int head = c->head ? c->head : width;
    if (width % 32 == 0 && width <= LAYERS_MAX_WIDTH && width % c->groups == 0 &&
        width % head == 0 && head <= LAYERS_MAX_HEAD)
        return true;
    return err_set(err, ERR_UNSUPPORTED,
                   "UNet level of %d channels: wanted a multiple of 32, of %d groups and of heads "
                   "%d wide, %d at most",
                   width, c->groups, head, LAYERS_MAX_WIDTH);
}

bool pixel_unet_read(const struct checkpoint *cp, struct pixel_unet_config *c, struct err *err)
{
    int in[4] = {0}, out[4] = {0}, time[2] = {0};
    *c = (struct pixel_unet_config){0};
    if (!read_config(cp, c, err) ||
        !checkpoint_sizes(cp, ROOT "input_blocks.0.0.weight", 4, in, err) ||
        !checkpoint_sizes(cp, ROOT "out.2.weight", 4, out, err) ||
        !checkpoint_sizes(cp, ROOT "time_embed.0.weight", 2, time, err) || !read_levels(cp, c, err))
        return false;
    c->channels = in[1];
    c->time_dim = time[0];
    c->mid_attention = checkpoint_find(cp, ROOT "middle_block.1.to_q.weight");
    int up = c->levels * (c->blocks + 1);
    if (up > PIXEL_UNET_BLOCKS ||
        !checkpoint_findf(cp, ROOT "output_blocks.%d.0.in_layers.2.weight", up - 1) ||
        checkpoint_findf(cp, ROOT "output_blocks.%d.0.in_layers.2.weight", up))
        return err_set(err, ERR_INVALID, "UNet: wanted %d output blocks for %d levels of %d", up,
                       c->levels, c->blocks);
    for (int i = 0; i < up; i++)
        c->out_attention[i] = has_attention(cp, "output_blocks", i);
    if (in[0] != c->width[0] || out[0] != in[1] || (in[1] != 1 && in[1] != 3))
        return err_set(err, ERR_UNSUPPORTED,
                       "UNet of pixels: wanted 1 or 3 channels in and out, found %d and %d, and %d "
                       "channels behind the first convolution, found %d",
                       in[1], out[0], c->width[0], in[0]);
    if (c->time_dim % 32 || c->time_dim > LAYERS_MAX_WIDTH)
        return err_set(err, ERR_UNSUPPORTED, "UNet: time embedding of %d: wanted a multiple of 32",
                       c->time_dim);
    for (int i = 0; i < c->levels; i++)
        if (!check_width(c, c->width[i], err))
            return false;
    return true;
}

/* ---- loading ---- */

/* One normed input may be of two levels' channels: groups must divide that too. */
static void load_block(struct loader *l, const struct pixel_unet_config *c, struct block *b,
                       const char *list, int n, int cin, int cout, bool attention)
{
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    char p[96];
    struct resnet *r = &b->resnet;
    snprintf(p, sizeof p, ROOT "%s.%d.0.", list, n);
    if (!l->failed && cin % c->groups) {
        l->failed = !err_set(l->err, ERR_UNSUPPORTED, "%s: %d channels are not %d groups", p, cin,
                             c->groups);
        return;
    }
    *r = (struct resnet){.cin = cin, .cout = cout, .eps = c->eps};
    r->norm1 = layers_norm(l, p, "in_layers.0", cin);
    r->conv1 = layers_conv3x3(l, p, "in_layers.2", cout, cin);
    r->emb = layers_linear(l, p, "emb_layers.1", cout, c->time_dim, true);
    r->norm2 = layers_norm(l, p, "out_layers.0", cout);
    r->conv2 = layers_conv3x3(l, p, "out_layers.3", cout, cout);
    if (cin != cout)
        r->skip = layers_linear(l, p, "skip_connection", cout, cin, true);
    b->attention = attention;
    if (!attention)
        return;
    snprintf(p, sizeof p, ROOT "%s.%d.1.", list, n);
    b->norm = layers_norm(l, p, "group_norm", cout);
    b->qkv = layers_stacked(l, p, qkv, 3, cout, cout, true);
    b->out = layers_linear(l, p, "to_out.0", cout, cout, true);
}

/* The middle's names have no block number: "middle_block.0." and so on. */
static void load_mid(struct loader *l, struct pixel_unet *u, int c)
{
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    struct block attention = {.attention = false};
    for (int i = 0; i < 2; i++) {
        char p[64];
        struct resnet *r = &u->mid[i].resnet;
        snprintf(p, sizeof p, ROOT "middle_block.%d.", 2 * i);
        *r = (struct resnet){.cin = c, .cout = c, .eps = u->config.eps};
        r->norm1 = layers_norm(l, p, "in_layers.0", c);
        r->conv1 = layers_conv3x3(l, p, "in_layers.2", c, c);
        r->emb = layers_linear(l, p, "emb_layers.1", c, u->config.time_dim, true);
        r->norm2 = layers_norm(l, p, "out_layers.0", c);
        r->conv2 = layers_conv3x3(l, p, "out_layers.3", c, c);
    }
    if (!u->config.mid_attention)
        return;
    attention.norm = layers_norm(l, ROOT "middle_block.1.", "group_norm", c);
    attention.qkv = layers_stacked(l, ROOT "middle_block.1.", qkv, 3, c, c, true);
    attention.out = layers_linear(l, ROOT "middle_block.1.", "to_out.0", c, c, true);
    u->mid[0].attention = true;
    u->mid[0].norm = attention.norm;
    u->mid[0].qkv = attention.qkv;
    u->mid[0].out = attention.out;
}

static void load_blocks(struct loader *l, struct pixel_unet *u)
{
    const struct pixel_unet_config *a = &u->config;
    int c = a->width[0], left[PIXEL_UNET_BLOCKS + 1], lefts = 0;
    char p[96];
    left[lefts++] = c;
    u->in_count = 1; /* input block 0 is conv_in */
    for (int level = 0; level < a->levels; level++) {
        for (int i = 0; i < a->blocks; i++, u->in_count++) {
            load_block(l, a, &u->in[u->in_count], "input_blocks", u->in_count, c, a->width[level],
                       a->in_attention[u->in_count]);
            c = left[lefts++] = a->width[level];
        }
        if (level + 1 < a->levels) {
            snprintf(p, sizeof p, ROOT "input_blocks.%d.0.", u->in_count);
            u->in[u->in_count++].resample = layers_conv3x3(l, p, "op", c, c);
            left[lefts++] = c;
        }
    }
    load_mid(l, u, c);
    for (int level = a->levels - 1; level >= 0; level--)
        for (int i = 0; i <= a->blocks; i++) {
            int n = u->out_count++;
            bool attention = a->out_attention[n];
            load_block(l, a, &u->out[n], "output_blocks", n, c + left[--lefts], a->width[level],
                       attention);
            c = a->width[level];
            if (level > 0 && i == a->blocks) {
                snprintf(p, sizeof p, ROOT "output_blocks.%d.%d.", n, attention ? 2 : 1);
                u->out[n].resample = layers_upsample(l, p, "conv", c, c);
            }
        }
}

struct pixel_unet *pixel_unet_load(struct device *dev, const struct checkpoint *cp,
                                   const struct pixel_unet_config *config, struct weights *weights,
                                   struct err *err)
{
    struct loader l = {.dev = dev, .cp = cp, .err = err, .weights = weights};
    struct pixel_unet *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, ERR_INTERNAL, "no memory for a UNet");
        return NULL;
    }
    int mc = config->width[0];
    u->config = *config;
    u->time1 = layers_linear(&l, ROOT, "time_embed.0", config->time_dim, mc, true);
    u->time2 = layers_linear(&l, ROOT, "time_embed.2", config->time_dim, config->time_dim, true);
    u->conv_in = layers_conv3x3(&l, ROOT, "input_blocks.0.0", mc, config->channels);
    load_blocks(&l, u);
    u->norm_out = layers_norm(&l, ROOT, "out.0", mc);
    u->conv_out = layers_conv3x3(&l, ROOT, "out.2", config->channels, mc);
    if (!l.failed)
        return u;
    pixel_unet_free(u);
    return NULL;
}

static void block_free(struct block *b)
{
    layers_resnet_free(&b->resnet);
    layers_norm_free(&b->norm);
    matrix_free(b->qkv);
    matrix_free(b->out);
    matrix_free(b->resample);
}

void pixel_unet_free(struct pixel_unet *u)
{
    if (!u)
        return;
    for (int i = 0; i < PIXEL_UNET_BLOCKS; i++) {
        block_free(&u->in[i]);
        block_free(&u->out[i]);
    }
    block_free(&u->mid[0]);
    block_free(&u->mid[1]);
    layers_norm_free(&u->norm_out);
    matrix_free(u->time1);
    matrix_free(u->time2);
    matrix_free(u->conv_in);
    matrix_free(u->conv_out);
    free(u);
}

/* ---- running ---- */

static void group_norm(struct ops *o, const struct pixel_unet *u, struct tensor *y,
                       const struct tensor *x, const struct norm *n, enum activation act)
{
    ops_group_norm(o, y, x, u->config.groups, u->config.eps, n->gamma, n->beta, act);
}

static void run_resnet(struct ops *o, const struct pixel_unet *u, const struct resnet *r,
                       struct tensor *y, const struct tensor *x, const struct tensor *emb)
{
    size_t mark = arena_mark(o->arena);
    struct tensor row = tensor_new(o->arena, DTYPE_F32, 1, 1, 1, r->cout, 0);
    struct tensor h1 = tensor_new(o->arena, x->dtype, 1, x->h, x->w, r->cin, 1);
    struct tensor h2 = tensor_new(o->arena, x->dtype, 1, x->h, x->w, r->cout, 0);
    struct tensor h3 = tensor_new(o->arena, x->dtype, 1, x->h, x->w, r->cout, 1);
    struct epilogue first = {.row = row.data}, last = {.residual = x};
    ops_linear(o, &row, emb, r->emb, NULL);
    group_norm(o, u, &h1, x, &r->norm1, ACT_SILU);
    ops_conv3x3(o, &h2, &h1, r->conv1, 1, false, &first);
    group_norm(o, u, &h3, &h2, &r->norm2, ACT_SILU);
    if (r->skip) {
        ops_linear(o, y, x, r->skip, NULL);
        last.residual = y;
    }
    ops_conv3x3(o, y, &h3, r->conv2, 1, false, &last);
    arena_reset(o->arena, mark);
}

/* x is changed in place. */
static void run_attention(struct ops *o, const struct pixel_unet *u, const struct block *b,
                          struct tensor *x)
{
    size_t mark = arena_mark(o->arena);
    int c = x->c, heads = u->config.head ? c / u->config.head : 1;
    struct tensor n = tensor_new(o->arena, x->dtype, 1, x->h, x->w, c, 0);
    struct tensor qkv = tensor_new(o->arena, x->dtype, 1, 1, x->h * x->w, 3 * c, 0);
    struct tensor mixed = tensor_new(o->arena, x->dtype, 1, 1, x->h * x->w, c, 0);
    struct tensor q = tensor_slice(&qkv, 0, c), k = tensor_slice(&qkv, c, c),
                  v = tensor_slice(&qkv, 2 * c, c), nt = tensor_tokens(&n), xt = tensor_tokens(x);
    struct epilogue onto_x = {.residual = &xt};
    group_norm(o, u, &n, x, &b->norm, ACT_NONE);
    ops_linear(o, &qkv, &nt, b->qkv, NULL);
    ops_attention(o, &mixed, &q, &k, &v, heads, false);
    ops_linear(o, &xt, &mixed, b->out, &onto_x);
    arena_reset(o->arena, mark);
}

static struct tensor run_block(struct ops *o, const struct pixel_unet *u, const struct block *b,
                               const struct tensor *x, const struct tensor *emb)
{
    struct tensor y = tensor_new(o->arena, x->dtype, 1, x->h, x->w, b->resnet.cout, 0);
    run_resnet(o, u, &b->resnet, &y, x, emb);
    if (b->attention)
        run_attention(o, u, b, &y);
    return y;
}

static struct tensor resample(struct ops *o, const struct pixel_unet *u, const struct matrix *conv,
                              const struct tensor *x, bool up)
{
    struct tensor y =
        up ? tensor_new(o->arena, x->dtype, 1, 2 * x->h, 2 * x->w, x->c, 0)
           : tensor_new(o->arena, x->dtype, 1, (x->h + 1) / 2, (x->w + 1) / 2, x->c, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor padded = tensor_new(o->arena, x->dtype, 1, x->h, x->w, x->c, 1);
    ops_resize(o, &padded, x);
    if (up)
        ops_upsample(o, &y, &padded, conv, NULL);
    else
        ops_conv3x3(o, &y, &padded, conv, 2, u->config.pad_end, NULL);
    arena_reset(o->arena, mark);
    return y;
}

static struct tensor join(struct ops *o, const struct tensor *x, const struct tensor *skip)
{
    struct tensor y = tensor_new(o->arena, x->dtype, 1, skip->h, skip->w, x->c + skip->c, 0);
    struct tensor a = tensor_slice(&y, 0, x->c), b = tensor_slice(&y, x->c, skip->c);
    ops_resize(o, &a, x);
    ops_resize(o, &b, skip);
    return y;
}

/* silu(embedding) of the timestep, which is what every resnet takes. */
static struct tensor embed_time(struct ops *o, const struct pixel_unet *u, double t)
{
    const struct pixel_unet_config *c = &u->config;
    int n = c->width[0], half = n / 2;
    enum dtype dtype = device_dtype(o->dev);
    struct tensor y = tensor_new(o->arena, dtype, 1, 1, 1, c->time_dim, 0);
    size_t mark = arena_mark(o->arena);
    struct tensor x = tensor_new(o->arena, dtype, 1, 1, 1, n, 0);
    struct tensor h = tensor_new(o->arena, dtype, 1, 1, 1, c->time_dim, 0);
    float *wave = arena_alloc(o->arena, (size_t)n, sizeof *wave);
    for (int i = 0; i < half && !arena_planning(o->arena); i++) {
        double angle = t * exp(-log(10000.0) * i / (half - c->freq_shift));
        wave[c->cosines_first ? i : half + i] = (float)cos(angle);
        wave[c->cosines_first ? half + i : i] = (float)sin(angle);
    }
    struct epilogue silu = {.act = ACT_SILU};
    ops_from_floats(o, &x, wave);
    ops_linear(o, &h, &x, u->time1, &silu);
    ops_linear(o, &y, &h, u->time2, &silu);
    arena_reset(o->arena, mark);
    return y;
}

void pixel_unet_forward(struct ops *o, const struct pixel_unet *u, const float *x, int h, int w,
                        double t, float *out)
{
    const struct pixel_unet_config *c = &u->config;
    size_t mark = arena_mark(o->arena), n = (size_t)h * (size_t)w * (size_t)c->channels;
    enum dtype dtype = device_dtype(o->dev);
    struct tensor emb = embed_time(o, u, t), skips[PIXEL_UNET_BLOCKS + 1];
    int count = 0;
    if (c->centre) {
        float *centred = arena_alloc(o->arena, n, sizeof *centred);
        for (size_t i = 0; i < n && !arena_planning(o->arena); i++)
            centred[i] = 2 * x[i] - 1;
        x = centred;
    }
    struct tensor y = tensor_new(o->arena, dtype, 1, h, w, c->width[0], 0);
    struct tensor input = tensor_new(o->arena, dtype, 1, h, w, c->channels, 1);
    ops_from_floats(o, &input, x);
    ops_conv3x3(o, &y, &input, u->conv_in, 1, false, NULL);
    skips[count++] = y;
    for (int i = 1; i < u->in_count; i++)
        y = skips[count++] = u->in[i].resample ? resample(o, u, u->in[i].resample, &y, false)
                                               : run_block(o, u, &u->in[i], &y, &emb);
    y = run_block(o, u, &u->mid[0], &y, &emb);
    y = run_block(o, u, &u->mid[1], &y, &emb);
    for (int i = 0; i < u->out_count; i++) {
        struct tensor joined = join(o, &y, &skips[--count]);
        y = run_block(o, u, &u->out[i], &joined, &emb);
        if (u->out[i].resample)
            y = resample(o, u, u->out[i].resample, &y, true);
    }
    struct tensor normed = tensor_new(o->arena, dtype, 1, h, w, c->width[0], 1);
    struct tensor last = tensor_new(o->arena, DTYPE_F32, 1, h, w, c->channels, 0);
    group_norm(o, u, &normed, &y, &u->norm_out, ACT_SILU);
    ops_conv3x3(o, &last, &normed, u->conv_out, 1, false, NULL);
    ops_to_floats(o, out, &last);
    arena_reset(o->arena, mark);
}
