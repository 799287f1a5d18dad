/* checkpoint.c: see checkpoint.h.
 *
 * Opening makes one table, in order of LDM names, over the tensors of one or three files; whatever
 * layout they came in is forgotten then. */
#include "engine/io/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/io/names.h"
#include "engine/io/safetensors.h"

#define NAME_ROOM 256

struct checkpoint {
    struct safetensors *files[3]; /* of a folder, by names_part; else the first alone */
    struct raw_tensor *tensors;   /* in order of name; they own their names */
    size_t count;
};

/* Opening. */

static bool add(struct checkpoint *cp, const struct raw_tensor *t, const char *name,
                struct err *err)
{
    char *copy = strdup(name);
    if (!copy)
        return err_set(err, ERR_INTERNAL, "out of memory for tensor names");
    cp->tensors[cp->count] = *t;
    cp->tensors[cp->count++].name = copy;
    return true;
}

static bool reserve(struct checkpoint *cp, struct err *err)
{
    size_t room = 0;
    for (int i = 0; i < 3; i++)
        room += cp->files[i] ? safetensors_count(cp->files[i]) : 0;
    cp->tensors = calloc(room + 1, sizeof *cp->tensors);
    return cp->tensors || err_set(err, ERR_INTERNAL, "out of memory for %zu tensors", room);
}

/* A name too long for NAME_ROOM is none that a model has: such a tensor is left out. */
static bool index_file(struct checkpoint *cp, struct err *err)
{
    if (!reserve(cp, err))
        return false;
    const struct safetensors *file = cp->files[0];
    for (size_t i = 0; i < safetensors_count(file); i++) {
        char name[NAME_ROOM];
        const struct raw_tensor *t = safetensors_at(file, i);
        if (names_from_ldm(t->name, name, sizeof name) && !add(cp, t, name, err))
            return false;
    }
    return raw_tensor_sort(cp->tensors, cp->count, err);
}

static bool index_folder(struct checkpoint *cp, struct err *err)
{
    if (!reserve(cp, err))
        return false;
    for (int part = NAMES_UNET; part <= NAMES_TEXT; part++) {
        const struct safetensors *file = cp->files[part];
        struct names_layout layout = {0};
        for (size_t i = 0; i < safetensors_count(file); i++)
            names_scan(&layout, part, safetensors_at(file, i)->name);
        for (size_t i = 0; i < safetensors_count(file); i++) {
            char name[NAME_ROOM];
            const struct raw_tensor *t = safetensors_at(file, i);
            if (names_from_diffusers(&layout, part, t->name, name, sizeof name) &&
                !add(cp, t, name, err))
                return false;
        }
    }
    return raw_tensor_sort(cp->tensors, cp->count, err);
}

/* How willingly a file of a folder is taken: 0 model.safetensors, 1 model.fp16.safetensors, 2 some
 * other *.safetensors; -1 not at all: another kind, one of several, or the unaveraged weights. */
static int preference(const char *file)
{
    const char *dot = strchr(file, '.'), *end = strrchr(file, '.');
    if (!dot || strcmp(end, ".safetensors") != 0 || strstr(file, "-of-") || strstr(file, "non_ema"))
        return -1;
    if (dot == end)
        return 0;
    return strncmp(dot, ".fp16.", 6) == 0 ? 1 : 2;
}

static struct safetensors *open_part(const char *folder, const char *part, struct err *err)
{
    char path[PATH_MAX], best[NAME_MAX + 1] = "";
    int best_preference = INT_MAX;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, part) >= sizeof path) {
        err_set(err, ERR_INVALID, "path too long: %s", folder);
        return NULL;
    }
    DIR *dir = opendir(path);
    if (!dir) {
        err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                "%s: %s (a diffusers folder holds unet, vae and text_encoder)", path,
                strerror(errno));
        return NULL;
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        int p = preference(d->d_name);
        if (p >= 0 &&
            (p < best_preference || (p == best_preference && strcmp(d->d_name, best) < 0))) {
            best_preference = p;
            snprintf(best, sizeof best, "%s", d->d_name);
        }
    }
    closedir(dir);
    if (!*best) {
        err_set(err, ERR_NOT_FOUND, "%s: wanted a .safetensors file, found none", path);
        return NULL;
    }
    size_t used = strlen(path);
    if ((size_t)snprintf(path + used, sizeof path - used, "/%s", best) >= sizeof path - used) {
        err_set(err, ERR_INVALID, "path too long: %s", folder);
        return NULL;
    }
    return safetensors_open(path, err);
}

static bool open_folder(struct checkpoint *cp, const char *path, struct err *err)
{
    static const char *const parts[] = {
        [NAMES_UNET] = "unet", [NAMES_VAE] = "vae", [NAMES_TEXT] = "text_encoder"};
    for (int part = NAMES_UNET; part <= NAMES_TEXT; part++)
        if (!(cp->files[part] = open_part(path, parts[part], err)))
            return false;
    return index_folder(cp, err);
}

static struct checkpoint *new_checkpoint(struct err *err)
{
    struct checkpoint *cp = calloc(1, sizeof *cp);
    if (!cp)
        err_set(err, ERR_INTERNAL, "out of memory");
    return cp;
}

struct checkpoint *checkpoint_open(const char *path, struct err *err)
{
    struct checkpoint *cp = new_checkpoint(err);
    if (!cp)
        return NULL;
    struct stat info;
    bool ok;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        ok = open_folder(cp, path, err);
    else
        ok = (cp->files[0] = safetensors_open(path, err)) && index_file(cp, err);
    if (ok)
        return cp;
    checkpoint_free(cp);
    return NULL;
}

struct checkpoint *checkpoint_open_memory(const void *data, size_t size, struct err *err)
{
    struct checkpoint *cp = new_checkpoint(err);
    if (!cp)
        return NULL;
    if ((cp->files[0] = safetensors_open_memory(data, size, err)) && index_file(cp, err))
        return cp;
    checkpoint_free(cp);
    return NULL;
}

void checkpoint_free(struct checkpoint *cp)
{
    if (!cp)
        return;
    for (size_t i = 0; i < cp->count; i++)
        free((char *)cp->tensors[i].name);
    free(cp->tensors);
    for (int i = 0; i < 3; i++)
        safetensors_close(cp->files[i]);
    free(cp);
}

void checkpoint_release(const struct checkpoint *cp, const struct raw_tensor *t)
{
    for (int i = 0; i < 3 && cp->files[i]; i++)
        safetensors_release(cp->files[i], t->data, t->bytes);
}

/* Looking up. */

const struct raw_tensor *checkpoint_find(const struct checkpoint *cp, const char *ldm_name)
{
    return raw_tensor_find(cp->tensors, cp->count, ldm_name);
}

bool checkpoint_get(const struct checkpoint *cp, const char *ldm_name, int ndim,
                    const size_t *shape, struct raw_tensor *out, struct err *err)
{
    char want[64], have[64];
    raw_tensor_shape(want, sizeof want, ndim, shape);
    const struct raw_tensor *t = checkpoint_find(cp, ldm_name);
    if (!t)
        return err_set(err, ERR_INVALID, "tensor %s: wanted %s, but the file has none of that name",
                       ldm_name, want);
    *out = *t;
    if (ndim == 4 && t->ndim == 2) { /* a linear layer for a 1x1 convolution */
        out->ndim = 4;
        out->shape[2] = out->shape[3] = 1;
    } else if (ndim == 2 && t->ndim == 4 && t->shape[2] == 1 && t->shape[3] == 1) {
        out->ndim = 2;
    }
    bool fits = out->ndim == ndim;
    for (int i = 0; i < ndim && fits; i++)
        fits = shape[i] == 0 || shape[i] == out->shape[i];
    if (!fits)
        return err_set(err, ERR_INVALID, "tensor %s: wanted %s, found %s", ldm_name, want,
                       raw_tensor_shape(have, sizeof have, t->ndim, t->shape));
    if (t->dtype == DTYPE_OTHER)
        return err_set(err, ERR_UNSUPPORTED,
                       "tensor %s: wanted F32, F16, BF16 or F8 numbers, found another kind",
                       ldm_name);
    return true;
}

const char *checkpoint_metadata(const struct checkpoint *cp, const char *key)
{
    return safetensors_metadata(cp->files[0], key);
}

/* Recognising SD 1.x. */

#define SIZE_LIMIT (1 << 20) /* of any dimension: 20 times the vocabulary */
#define LAYER_LIMIT 64       /* of the text encoder; CLIP-L has 12 */
#define VOCAB 49408          /* CLIP's, which the tokenizer's ids index */
#define POSITIONS 77

static const struct raw_tensor *find(const struct checkpoint *cp, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static const struct raw_tensor *find(const struct checkpoint *cp, const char *fmt, ...)
{
    char name[NAME_ROOM];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return checkpoint_find(cp, name);
}

/* The dimensions of a tensor that has to be there with ndim of them, each 1..SIZE_LIMIT. */
static bool sizes(const struct checkpoint *cp, const char *name, int ndim, int *out,
                  struct err *err)
{
    static const size_t any[RAW_TENSOR_DIMS];
    struct raw_tensor t;
    if (!checkpoint_get(cp, name, ndim, any, &t, err))
        return false;
    for (int i = 0; i < ndim; i++) {
        if (t.shape[i] < 1 || t.shape[i] > SIZE_LIMIT)
            return err_set(err, ERR_INVALID, "tensor %s: wanted sizes of 1..%d, found %zu", name,
                           SIZE_LIMIT, t.shape[i]);
        out[i] = (int)t.shape[i];
    }
    return true;
}

static bool has_prefix(const struct checkpoint *cp, const char *prefix)
{
    for (size_t i = 0; i < cp->count; i++)
        if (strncmp(cp->tensors[i].name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* Refuses what is known not to be SD 1.x by a name. The first that fits is the answer. */
static bool refuse_others(const struct checkpoint *cp, struct err *err)
{
    static const struct {
        const char *prefix, *what;
    } others[] = {
        {"cond_stage_model.model.", "an SD 2.x checkpoint"},
        {"conditioner.embedders.1.", "an SDXL checkpoint"},
        {"conditioner.embedders.0.", "an SDXL refiner checkpoint"},
        {"model.diffusion_model.label_emb.", "an SDXL checkpoint"},
        {"model.diffusion_model.joint_blocks.", "an SD 3 checkpoint"},
        {"model.diffusion_model.double_blocks.", "a Flux checkpoint"},
        {"double_blocks.", "a Flux checkpoint"},
        {"control_model.", "a ControlNet"},
        {"lora_unet_", "a LoRA"},
        {"lora_te_", "a LoRA"},
        {"down_blocks.", "a UNet alone, in the diffusers layout (give the folder that holds it)"},
        {"decoder.", "a VAE alone"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has_prefix(cp, others[i].prefix))
            return err_set(err, ERR_UNSUPPORTED, "this is %s; pictor runs SD 1.x", others[i].what);
    if (!has_prefix(cp, "model.diffusion_model.input_blocks."))
        return err_set(err, ERR_INVALID,
                       "this is not a Stable Diffusion checkpoint: wanted tensors named "
                       "model.diffusion_model.input_blocks.*, found none");
    return true;
}

static bool read_text(const struct checkpoint *cp, struct sd1_arch *a, struct err *err)
{
#define TEXT "cond_stage_model.transformer.text_model."
    int token[2] = {0}, position[2] = {0}, fc1[2] = {0};
    if (!sizes(cp, TEXT "embeddings.token_embedding.weight", 2, token, err) ||
        !sizes(cp, TEXT "embeddings.position_embedding.weight", 2, position, err) ||
        !sizes(cp, TEXT "encoder.layers.0.mlp.fc1.weight", 2, fc1, err))
        return false;
    a->text.vocab = token[0];
    a->text.width = token[1];
    a->text.positions = position[0];
    a->text.ff = fc1[0];
    a->text.heads = a->text.width < 128 ? 1 : a->text.width / 64;
    while (a->text.layers < LAYER_LIMIT &&
           find(cp, TEXT "encoder.layers.%d.mlp.fc1.weight", a->text.layers))
        a->text.layers++;
    if (a->text.width == 1024)
        return err_set(err, ERR_UNSUPPORTED, "this is an SD 2.x checkpoint; pictor runs SD 1.x");
    if (a->text.vocab < VOCAB || a->text.positions < POSITIONS ||
        a->text.width % a->text.heads != 0)
        return err_set(err, ERR_INVALID,
                       "text encoder: wanted %d tokens, %d positions and a width that %d heads "
                       "divide, found %d, %d and %d",
                       VOCAB, POSITIONS, a->text.heads, a->text.vocab, a->text.positions,
                       a->text.width);
    return true;
#undef TEXT
}

/* Reads the levels of the UNet off its input blocks: resnets, each with or without attention behind
 * it, and a downsampler that ends the level. */
static bool read_unet_levels(const struct checkpoint *cp, struct sd1_arch *a, struct err *err)
{
#define UNET "model.diffusion_model."
    int blocks = 0;
    for (int n = 1;; n++) {
        bool ends = find(cp, UNET "input_blocks.%d.0.op.weight", n);
        const struct raw_tensor *conv = find(cp, UNET "input_blocks.%d.0.in_layers.2.weight", n);
        bool attention =
            find(cp, UNET "input_blocks.%d.1.transformer_blocks.0.attn2.to_k.weight", n);
        int level = a->unet.levels;
        if (!conv) { /* the level's end */
            if (level == 0 && blocks > 0)
                a->unet.res_blocks = blocks;
            if (blocks == 0 || blocks != a->unet.res_blocks || level == CHECKPOINT_LEVELS)
                return err_set(err, ERR_INVALID,
                               "UNet: wanted 1..%d levels of the same number of blocks, found %d "
                               "blocks at input_blocks.%d",
                               CHECKPOINT_LEVELS, blocks, n);
            a->unet.levels++;
            blocks = 0;
            if (!ends)
                return true;
            continue;
        }
        if (level == CHECKPOINT_LEVELS || conv->ndim != 4 || conv->shape[0] > SIZE_LIMIT ||
            conv->shape[0] % 32 != 0 || conv->shape[0] == 0)
            return err_set(err, ERR_INVALID,
                           "UNet: input_blocks.%d: wanted a convolution to a multiple of 32 "
                           "channels in one of %d levels",
                           n, CHECKPOINT_LEVELS);
        int channels = (int)conv->shape[0];
        if (blocks++ == 0) {
            a->unet.channels[level] = channels;
            a->unet.attention[level] = attention;
        } else if (channels != a->unet.channels[level] || attention != a->unet.attention[level]) {
            return err_set(err, ERR_UNSUPPORTED,
                           "UNet: input_blocks.%d differs in channels or attention from the "
                           "block before it on its level",
                           n);
        }
        if (blocks > LAYER_LIMIT)
            return err_set(err, ERR_INVALID, "UNet: more than %d blocks a level", LAYER_LIMIT);
    }
}

static bool read_unet(const struct checkpoint *cp, struct sd1_arch *a, struct err *err)
{
    int in[4] = {0}, out[4] = {0}, time[2] = {0}, context[2] = {0};
    if (!sizes(cp, UNET "input_blocks.0.0.weight", 4, in, err))
        return false;
    if (in[1] == 9 || in[1] == 8)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is an SD 1.x %s checkpoint (%d input channels); pictor runs SD 1.x "
                       "with 4",
                       in[1] == 9 ? "inpainting" : "InstructPix2Pix", in[1]);
    if (!sizes(cp, UNET "out.2.weight", 4, out, err) ||
        !sizes(cp, UNET "time_embed.0.weight", 2, time, err) ||
        !sizes(cp, UNET "middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2, context, err) ||
        !read_unet_levels(cp, a, err))
        return false;
    a->unet.model_channels = in[0];
    a->unet.in_channels = in[1];
    a->unet.out_channels = out[0];
    a->unet.time_dim = time[0];
    a->unet.context_dim = context[1];
    a->unet.heads = 8;

    if (in[1] != 4 || out[0] != 4)
        return err_set(err, ERR_UNSUPPORTED,
                       "UNet: wanted 4 channels in and out, found %d in and %d out", in[1], out[0]);
    if (find(cp, UNET "middle_block.1.transformer_blocks.1.norm1.weight"))
        return err_set(err, ERR_UNSUPPORTED,
                       "UNet: more than one transformer block in a row; pictor runs SD 1.x");
    if (a->unet.context_dim != a->text.width)
        return err_set(err, ERR_INVALID,
                       "UNet: takes text of width %d, but the text encoder's is %d",
                       a->unet.context_dim, a->text.width);
    if (in[0] % 32 != 0)
        return err_set(err, ERR_INVALID, "UNet: wanted channels in multiples of 32, found %d",
                       in[0]);
    int up = a->unet.levels * (a->unet.res_blocks + 1);
    if (!find(cp, UNET "output_blocks.%d.0.in_layers.2.weight", up - 1) ||
        find(cp, UNET "output_blocks.%d.0.in_layers.2.weight", up))
        return err_set(err, ERR_INVALID,
                       "UNet: wanted %d output blocks for %d levels of %d input blocks", up,
                       a->unet.levels, a->unet.res_blocks);
    return true;
#undef UNET
}

/* Reads levels and blocks of one half of the VAE; `stem` is "encoder.down" or "decoder.up". */
static bool read_vae_half(const struct checkpoint *cp, const char *stem, int *levels, int *channels,
                          int *blocks, struct err *err)
{
    for (*levels = 0;; ++*levels) {
        int n = 0;
        const struct raw_tensor *conv;
        for (; n < LAYER_LIMIT &&
               (conv = find(cp, "first_stage_model.%s.%d.block.%d.conv2.weight", stem, *levels, n));
             n++) {
            if (*levels == CHECKPOINT_LEVELS || conv->ndim != 4 || conv->shape[0] > SIZE_LIMIT ||
                conv->shape[0] % 32 != 0 || conv->shape[0] == 0 ||
                (n > 0 && (size_t)channels[*levels] != conv->shape[0]))
                return err_set(err, ERR_INVALID,
                               "VAE: %s.%d.block.%d: wanted a convolution to the level's channels, "
                               "a multiple of 32, in one of %d levels",
                               stem, *levels, n, CHECKPOINT_LEVELS);
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

static bool read_vae(const struct checkpoint *cp, struct sd1_arch *a, struct err *err)
{
    int quant[2] = {0}, post[2] = {0}, up;
    if (!sizes(cp, "first_stage_model.quant_conv.weight", 2, quant, err) ||
        !sizes(cp, "first_stage_model.post_quant_conv.weight", 2, post, err) ||
        !read_vae_half(cp, "encoder.down", &a->vae.levels, a->vae.encoder_channels,
                       &a->vae.encoder_blocks, err) ||
        !read_vae_half(cp, "decoder.up", &up, a->vae.decoder_channels, &a->vae.decoder_blocks, err))
        return false;
    a->vae.z_channels = post[1];
    if (post[0] != 4 || post[1] != 4 || quant[0] != 8 || quant[1] != 8)
        return err_set(err, ERR_UNSUPPORTED, "VAE: wanted 4 latent channels, found %d", post[1]);
    if (a->vae.levels != 4 || up != 4)
        return err_set(err, ERR_UNSUPPORTED,
                       "VAE: wanted 4 levels (latent pixels of 8x8), found %d down and %d up",
                       a->vae.levels, up);
    return true;
}

bool checkpoint_sd1(const struct checkpoint *cp, struct sd1_arch *out, struct err *err)
{
    *out = (struct sd1_arch){0};
    return refuse_others(cp, err) && read_text(cp, out, err) && read_unet(cp, out, err) &&
           read_vae(cp, out, err);
}
