/* checkpoint_test.c: both layouts of the tiny golden model, and what is refused.
 *
 * Hostile and foreign checkpoints are the golden file with its header edited: offsets count from
 * the header's end, so a header may grow without the data knowing. */
#include "engine/io/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/family/stable.h"
#include "engine/io/names.h"
#include "engine/io/safetensors.h"
#include "engine/pictor.h"

#define TINY "tests/golden/tiny/tiny-ldm.safetensors"
#define NAMES "tests/golden/tiny/diffusers/names.tsv"
#define UNET "model.diffusion_model."
#define VAE "first_stage_model."
#define TEXT "cond_stage_model.transformer.text_model."

/* The lines of names.tsv, which tests/golden/README.md describes. */
struct line {
    char file[64], name[160], ldm[160], shape[32];
};

static struct line *lines;
static size_t line_count;
static unsigned char *tiny; /* the golden file */
static size_t tiny_size, tiny_header;

static int load(void **state)
{
    FILE *f = fopen(TINY, "rb");
    struct stat info;
    if (!f || fstat(fileno(f), &info) != 0)
        return -1;
    tiny_size = (size_t)info.st_size;
    tiny = malloc(tiny_size);
    if (!tiny || fread(tiny, 1, tiny_size, f) != tiny_size)
        return -1;
    fclose(f);
    for (int i = 0; i < 4; i++)
        tiny_header |= (size_t)tiny[i] << 8 * i;

    f = fopen(NAMES, "r");
    lines = calloc(2000, sizeof *lines);
    if (!f || !lines)
        return -1;
    for (struct line *l = lines;
         fscanf(f, "%63s %159s %159s %31s", l->file, l->name, l->ldm, l->shape) == 4; l++)
        line_count++;
    fclose(f);
    return line_count > 900 ? 0 : -1;
}

static int unload(void **state)
{
    free(tiny);
    free(lines);
    return 0;
}

/* The golden file with every `from` in its header replaced. Checks that there is one. */
static unsigned char *patch(const char *from, const char *to, size_t *size)
{
    const char *at = (const char *)tiny + 8, *end = at + tiny_header;
    size_t room = tiny_header * 2 + 65536, n = 0, count = 0;
    char *header = malloc(room);
    assert_non_null(header);
    while (at < end) {
        const char *hit = memmem(at, (size_t)(end - at), from, strlen(from));
        size_t keep = (size_t)((hit ? hit : end) - at);
        assert_true(n + keep + strlen(to) < room);
        memcpy(header + n, at, keep);
        n += keep;
        at += keep;
        if (hit) {
            n = (size_t)(stpcpy(header + n, to) - header);
            at += strlen(from);
            count++;
        }
    }
    if (!count)
        fail_msg("no %s in the golden header", from);
    *size = 8 + n + tiny_size - 8 - tiny_header;
    unsigned char *file = malloc(*size);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, tiny + 8 + tiny_header, tiny_size - 8 - tiny_header);
    free(header);
    return file;
}

/* names.c */

static enum names_part part_of(const struct line *l)
{
    return strncmp(l->file, "unet", 4) == 0  ? NAMES_UNET
           : strncmp(l->file, "vae", 3) == 0 ? NAMES_VAE
                                             : NAMES_TEXT;
}

static struct names_layout layout_of_lines(void)
{
    struct names_layout layout = {0};
    for (size_t i = 0; i < line_count; i++)
        names_scan(&layout, part_of(&lines[i]), lines[i].name);
    return layout;
}

static void every_name(void **state)
{
    struct names_layout layout = layout_of_lines();
    assert_int_equal(layout.unet_blocks, 2);
    assert_int_equal(layout.vae_levels, 4);
    assert_int_equal(layout.up_attention, 0xe);
    for (size_t i = 0; i < line_count; i++) {
        char got[256] = "";
        if (!names_to_ldm(&layout, part_of(&lines[i]), lines[i].name, got, sizeof got) ||
            strcmp(got, lines[i].ldm) != 0)
            fail_msg("%s: got %s, wanted %s", lines[i].name, got, lines[i].ldm);
    }
}

static void other_names(void **state)
{
    static const struct {
        enum names_part part;
        const char *name, *ldm;
    } cases[] = {
        {NAMES_VAE, "encoder.mid_block.attentions.0.query.weight",
         VAE "encoder.mid.attn_1.q.weight"},
        {NAMES_VAE, "decoder.mid_block.attentions.0.key.bias", VAE "decoder.mid.attn_1.k.bias"},
        {NAMES_VAE, "decoder.mid_block.attentions.0.value.bias", VAE "decoder.mid.attn_1.v.bias"},
        {NAMES_VAE, "decoder.mid_block.attentions.0.proj_attn.weight",
         VAE "decoder.mid.attn_1.proj_out.weight"},
        {NAMES_TEXT, "encoder.layers.0.mlp.fc1.bias", TEXT "encoder.layers.0.mlp.fc1.bias"},
        {NAMES_UNET, "add_embedding.linear_1.weight", UNET "label_emb.0.0.weight"},
        {NAMES_UNET, "up_blocks.99.upsamplers.0.conv.bias", UNET "output_blocks.299.1.conv.bias"},
        {NAMES_UNET, "encoder_hid_proj.weight", NULL},
        {NAMES_UNET, "down_blocks.0.resnets.x.conv1.weight", NULL},
        {NAMES_UNET, "down_blocks..resnets.0.conv1.weight", NULL},
        {NAMES_UNET, "down_blocks.99999999999.resnets.0.conv1.weight", NULL},
        {NAMES_UNET, "down_blocks", NULL},
        {NAMES_UNET, "", NULL},
        {NAMES_VAE, "discriminator.weight", NULL},
        {NAMES_VAE, "decoder.", NULL},
    };
    struct names_layout layout = layout_of_lines();
    char got[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool known = names_to_ldm(&layout, cases[i].part, cases[i].name, got, sizeof got);
        if (known != (cases[i].ldm != NULL) || (known && strcmp(got, cases[i].ldm) != 0))
            fail_msg("%s: got %s, wanted %s", cases[i].name, known ? got : "none",
                     cases[i].ldm ? cases[i].ldm : "none");
    }
    char small[20];
    assert_false(names_to_ldm(&layout, NAMES_TEXT, "x", small, sizeof small));
    struct names_layout none = {0};
    assert_false(names_to_ldm(&none, NAMES_WHOLE, "twenty characters!!!", small, sizeof small));
    assert_true(names_to_ldm(&none, NAMES_WHOLE, "nineteen characters", small, sizeof small));
    assert_string_equal(small, "nineteen characters");

    /* A network by itself in the single file's layout, with the prefix and without. */
    assert_true(names_to_ldm(&none, NAMES_VAE, "decoder.conv_in.bias", got, sizeof got));
    assert_string_equal(got, VAE "decoder.conv_in.bias");
    assert_true(names_to_ldm(&none, NAMES_VAE, VAE "decoder.conv_in.bias", got, sizeof got));
    assert_string_equal(got, VAE "decoder.conv_in.bias");
    assert_true(names_to_ldm(&none, NAMES_UNET, "time_embed.0.bias", got, sizeof got));
    assert_string_equal(got, UNET "time_embed.0.bias");
}

/* Opening and looking up. */

static void check_arch(const struct checkpoint *cp)
{
    struct err err;
    struct clip_config text;
    struct unet_config unet;
    struct vae_config vae;
    if (!clip_read(cp, CLIP_FIRST, &text, &err) || !unet_read(cp, &unet, &err) ||
        !vae_read(cp, &vae, &err))
        fail_msg("%s", err.msg);
    static const int channels[] = {32, 32, 64, 64}, vae_channels[] = {32, 32, 64, 32};
    static const int depth[] = {1, 1, 1, 0};
    assert_int_equal(text.width, 64);
    assert_int_equal(text.layers, 2);
    assert_int_equal(text.heads, 1);
    assert_int_equal(text.ff, 256);
    assert_int_equal(text.vocab, 49408);
    assert_int_equal(text.positions, 77);
    assert_int_equal(unet.in_channels, 4);
    assert_int_equal(unet.out_channels, 4);
    assert_int_equal(unet.model_channels, 32);
    assert_int_equal(unet.time_dim, 128);
    assert_int_equal(unet.levels, 4);
    assert_memory_equal(unet.channels, channels, sizeof channels);
    assert_int_equal(unet.res_blocks, 2);
    assert_memory_equal(unet.depth, depth, sizeof depth);
    assert_int_equal(unet.mid_depth, 1);
    assert_int_equal(unet.label_dim, 0);
    assert_int_equal(unet.context_dim, 64);
    assert_int_equal(vae.channels, 4);
    assert_int_equal(vae.levels, 4);
    assert_memory_equal(vae.encoder_channels, vae_channels, sizeof vae_channels);
    assert_memory_equal(vae.decoder_channels, vae_channels, sizeof vae_channels);
    assert_int_equal(vae.encoder_blocks, 2);
    assert_int_equal(vae.decoder_blocks, 3);
}

static void single_file(void **state)
{
    struct err err;
    struct checkpoint *cp = checkpoint_open(TINY, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    check_arch(cp);
    for (size_t i = 0; i < line_count; i++)
        if (!checkpoint_find(cp, lines[i].ldm))
            fail_msg("no %s", lines[i].ldm);
    assert_null(checkpoint_find(cp, "none"));
    assert_string_equal(checkpoint_metadata(cp, "format"), "pt");
    assert_null(checkpoint_metadata(cp, "none"));
    checkpoint_free(cp);

    assert_null(checkpoint_open("tests/golden/none", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    checkpoint_free(NULL);
}

static void getting(void **state)
{
    struct err err = {0};
    struct raw_tensor t;
    struct checkpoint *cp = checkpoint_open_memory(tiny, tiny_size, &err);
    assert_non_null(cp);

    assert_true(
        checkpoint_get(cp, UNET "input_blocks.0.0.weight", 4, (size_t[]){32, 4, 3, 3}, &t, &err));
    assert_int_equal(t.dtype, DTYPE_F16);
    assert_int_equal(t.bytes, 32 * 4 * 9 * 2);
    assert_true(
        checkpoint_get(cp, UNET "input_blocks.0.0.weight", 4, (size_t[]){0, 0, 3, 0}, &t, &err));
    assert_int_equal(t.shape[0], 32);

    /* [64, 64] in the file, and [32, 32, 1, 1]. */
    assert_true(checkpoint_get(cp, TEXT "encoder.layers.0.self_attn.q_proj.weight", 4,
                               (size_t[]){64, 64, 1, 1}, &t, &err));
    assert_int_equal(t.ndim, 4);
    assert_true(checkpoint_get(cp, UNET "input_blocks.1.1.proj_in.weight", 2, (size_t[]){32, 32},
                               &t, &err));
    assert_int_equal(t.ndim, 2);

    static const struct {
        const char *name;
        int ndim;
        size_t shape[4];
        const char *message;
    } wrong[] = {
        {UNET "time_embed.0.bias",
         1,
         {129},
         "tensor " UNET "time_embed.0.bias: wanted [129], found [128]"},
        {UNET "time_embed.0.bias", 2, {128, 0}, "wanted [128, any], found [128]"},
        {UNET "input_blocks.0.0.weight", 2, {32, 4}, "wanted [32, 4], found [32, 4, 3, 3]"},
        {UNET "time_embed.0.weight", 4, {128, 32, 3, 3}, "wanted [128, 32, 3, 3], found [128, 32]"},
        {"none", 1, {5}, "tensor none: wanted [5], but the file has none of that name"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(checkpoint_get(cp, wrong[i].name, wrong[i].ndim, wrong[i].shape, &t, &err));
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.msg, wrong[i].message))
            fail_msg("got \"%s\", wanted \"%s\"", err.msg, wrong[i].message);
    }
    checkpoint_free(cp);
}

/* A copy of the golden file whose text encoder is named as in the first files. */
static void old_text_names(void **state)
{
    size_t size;
    unsigned char *file = patch("transformer.text_model.", "transformer.", &size);
    struct checkpoint *cp = checkpoint_open_memory(file, size, NULL);
    assert_non_null(cp);
    check_arch(cp);
    assert_non_null(checkpoint_find(cp, TEXT "final_layer_norm.weight"));
    checkpoint_free(cp);
    free(file);
}

/* Diffusers folders. */

static void write_file(const char *path, const char *header, size_t header_len,
                       const unsigned char *data, size_t size)
{
    unsigned char len[8];
    for (int i = 0; i < 8; i++)
        len[i] = (unsigned char)((uint64_t)header_len >> 8 * i);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(len, 1, 8, f), 8);
    assert_int_equal(fwrite(header, 1, header_len, f), header_len);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Writes the lines of one part, all F16, to folder/part/file; the VAE's attention under the names
 * of 2022. */
static void write_part(const struct safetensors *source, const char *folder, const char *part,
                       const char *file)
{
    char path[512], *header = malloc(1 << 20);
    unsigned char *data = malloc(tiny_size);
    assert_true(header && data);
    size_t n = 0, used = 0;
    for (size_t i = 0; i < line_count; i++) {
        if (strncmp(lines[i].file, part, strlen(part)) != 0)
            continue;
        char name[160];
        snprintf(name, sizeof name, "%s", lines[i].name);
        char *q = strstr(name, ".to_q.");
        if (q && strcmp(part, "vae") == 0)
            strcpy(q, strstr(lines[i].name, "weight") ? ".query.weight" : ".query.bias");
        const struct raw_tensor *t = safetensors_find(source, lines[i].ldm);
        assert_non_null(t);
        static const char entry[] =
            "%c\"%s\":{\"dtype\":\"F16\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}";
        n += (size_t)sprintf(header + n, entry, n ? ',' : '{', name, lines[i].shape, used,
                             used + t->bytes);
        memcpy(data + used, t->data, t->bytes);
        used += t->bytes;
    }
    header[n++] = '}';
    snprintf(path, sizeof path, "%s/%s", folder, part);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/%s", folder, part, file);
    write_file(path, header, n, data, used);
    free(header);
    free(data);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Every tensor of the golden file is there, by its LDM name. */
static void check_tensors(const struct checkpoint *cp, const struct safetensors *source)
{
    for (size_t i = 0; i < line_count; i++) {
        struct err err;
        const struct raw_tensor *want = safetensors_find(source, lines[i].ldm);
        struct raw_tensor got;
        if (!checkpoint_get(cp, lines[i].ldm, want->ndim, want->shape, &got, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(got.bytes, want->bytes);
        assert_memory_equal(got.data, want->data, want->bytes);
    }
}

/* A checkpoint of files under their roles, which end with a NULL. */
static struct checkpoint *open_parts(const char *const (*parts)[2])
{
    struct err err;
    struct pictor_files files = {.count = 0};
    for (; (*parts)[0]; parts++)
        if (!pictor_files_add(&files, (*parts)[0], (*parts)[1], &err))
            fail_msg("%s", err.msg);
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    pictor_files_close(&files);
    if (!cp)
        fail_msg("%s", err.msg);
    return cp;
}

/* The folder's files as a list of parts, and one of them in place of the whole file's network. */
static void parts(const char *dir, const struct safetensors *source)
{
    struct err err;
    char unet[512], vae[512], text[512];
    snprintf(unet, sizeof unet, "%s/unet/diffusion_pytorch_model.fp16.safetensors", dir);
    snprintf(vae, sizeof vae, "%s/vae/diffusion_pytorch_model.safetensors", dir);
    snprintf(text, sizeof text, "%s/text_encoder/model.safetensors", dir);
    const char *const all[][2] = {
        {"text_encoder", text}, {"vae", vae}, {"unet", unet}, {NULL, NULL}};
    struct checkpoint *cp = open_parts(all);
    check_arch(cp);
    check_tensors(cp, source);
    checkpoint_free(cp);

    const char *const with_vae[][2] = {{"model", TINY}, {"vae", vae}, {NULL, NULL}};
    cp = open_parts(with_vae);
    check_tensors(cp, source);
    /* A linear layer in the folder, a convolution in the single file: it is the folder's. */
    assert_int_equal(checkpoint_find(cp, VAE "decoder.mid.attn_1.q.weight")->ndim, 2);
    checkpoint_free(cp);

    /* A network that is missing is named by what is wanted of it. */
    struct family_facts facts;
    cp = open_parts(all + 1);
    assert_false(family_of(cp, &err)->read(cp, &facts, &err));
    assert_non_null(strstr(err.msg, "token_embedding"));
    checkpoint_free(cp);

    struct pictor_files none = {.count = 0};
    assert_null(checkpoint_open_files(&none, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void folder(void **state)
{
    char dir[] = P_tmpdir "/checkpoint_test.XXXXXX", path[512];
    assert_non_null(mkdtemp(dir));
    struct safetensors *source = safetensors_open_memory(tiny, tiny_size, NULL);
    assert_non_null(source);
    write_part(source, dir, "unet", "diffusion_pytorch_model.fp16.safetensors");
    write_part(source, dir, "vae", "diffusion_pytorch_model.safetensors");

    struct err err;
    assert_null(checkpoint_open(dir, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "text_encoder: No such file"));
    assert_null(strstr(err.msg, dir));
    assert_non_null(strstr(err.where, dir));
    snprintf(path, sizeof path, "%s/text_encoder", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(checkpoint_open(dir, &err));
    assert_non_null(strstr(err.msg, "wanted a .safetensors file or a pytorch_model.bin, found"));
    assert_int_equal(rmdir(path), 0);
    write_part(source, dir, "text_encoder", "model.safetensors");

    /* Files that must not be taken: none of them can be read. */
    static const char *const others[] = {
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.aaa.safetensors",
        "unet/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.bin",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, others[i]);
        write_file(path, "broken", 6, tiny, 0);
    }

    struct checkpoint *cp = checkpoint_open(dir, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    check_arch(cp);
    check_tensors(cp, source);
    assert_null(checkpoint_scheduler(cp, "prediction_type"));
    checkpoint_free(cp);

    /* What the folder says of its training. */
    snprintf(path, sizeof path, "%s/scheduler", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    write_text(path, "{\"prediction_type\": \"v_prediction\", \"steps_offset\": 1}");
    cp = checkpoint_open(dir, &err);
    assert_non_null(cp);
    assert_string_equal(checkpoint_scheduler(cp, "prediction_type"), "v_prediction");
    assert_null(checkpoint_scheduler(cp, "steps_offset")); /* not a string */
    checkpoint_free(cp);
    write_text(path, "{\"prediction_type\": ");
    assert_null(checkpoint_open(dir, &err));
    assert_int_equal(err.code, ERR_INVALID);
    unlink(path);
    snprintf(path, sizeof path, "%s/scheduler", dir);
    assert_int_equal(rmdir(path), 0);

    parts(dir, source);

    struct pictor_files files;
    assert_true(pictor_files_open(dir, &files, &err));
    assert_int_equal(files.count, 3);
    assert_string_equal(files.items[0].name, "unet/diffusion_pytorch_model.fp16.safetensors");

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, others[i]);
        unlink(path);
    }
    static const char *const ours[] = {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet",
        "vae/diffusion_pytorch_model.safetensors",
        "vae",
        "text_encoder/model.safetensors",
        "text_encoder",
    };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, ours[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    /* What is open needs no path any more. */
    cp = checkpoint_open_files(&files, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    pictor_files_close(&files);
    check_arch(cp);
    checkpoint_free(cp);
    safetensors_close(source);
}

/* What is not SD 1.x, or no model at all. */

static void refused(void **state)
{
    static const struct {
        const char *from, *to;
        enum err_code code;
        const char *message;
    } cases[] = {
        {UNET "time_embed.0.bias", UNET "label_emb.0.0.bias", ERR_UNSUPPORTED,
         "this is a UNet that takes labels, without SDXL's text encoders"},
        {"cond_stage_model.transformer.text_model.", "cond_stage_model.model.transformer.",
         ERR_INVALID, "token_embedding.weight: wanted [any, any], but the file has none"},
        {"model.diffusion_model.input_blocks", "model.diffusion_model.joint_blocks",
         ERR_UNSUPPORTED, "Stable Diffusion 3's blocks that is not whole"},
        {"model.diffusion_model.input_blocks", "lora_unet_input_blocks", ERR_UNSUPPORTED,
         "this is a LoRA: it belongs into the folder of LoRAs"},
        {"model.diffusion_model.input_blocks", "unet.input_blocks", ERR_UNSUPPORTED,
         "this is a LoRA: it belongs into the folder of LoRAs"},
        {"model.diffusion_model.input_blocks", "x", ERR_INVALID,
         "no model of a kind that pictor runs"},
        {"[32,4,3,3]", "[16,8,3,3]", ERR_INVALID, "multiples of 32, found 16"},
        {"[32,4,3,3]", "[64,2,3,3]", ERR_UNSUPPORTED,
         "SD 1.x whose UNet takes 2 channels and says 4: wanted 4 to be said, of 4, of 8 "
         "(InstructPix2Pix) or of 9 (inpainting)"},
        {"[32,4,3,3]", "[24,16,3,1]", ERR_INVALID, "multiples of 32, found 24"},
        {"[4,32,3,3]", "[36,32,1,1]", ERR_UNSUPPORTED, "takes 4 channels and says 36"},
        {"[49408,64]", "[98816,32]", ERR_INVALID, "takes text of width 64, but the text encoder's"},
        {"[49408,64]", "[24704,128]", ERR_INVALID, "wanted 49408 tokens"},
        {"[49408,64]", "[1,3162112]", ERR_INVALID, "wanted sizes of 1..1048576, found 3162112"},
        {TEXT "embeddings.token_embedding.weight", "gone", ERR_INVALID,
         "token_embedding.weight: wanted [any, any], but the file has none"},
        {"input_blocks.1.0.in_layers.2.weight", "gone", ERR_INVALID,
         "found 0 blocks at input_blocks.1"},
        {"input_blocks.5.0.in_layers.2.weight", "gone", ERR_INVALID,
         "found 1 blocks at input_blocks.5"},
        {"input_blocks.9.0.op.weight", "gone", ERR_INVALID, "wanted 9 output blocks for 3 levels"},
        {"input_blocks.5.1.transformer_blocks.0.attn2.to_k.weight", "gone", ERR_UNSUPPORTED,
         "input_blocks.5 differs in channels or layers of attention"},
        {"output_blocks.11.0.in_layers.2.weight", "gone", ERR_INVALID,
         "wanted 12 output blocks for 4 levels of 2 input blocks"},
        {"output_blocks.11.0.skip_connection.weight", "output_blocks.12.0.in_layers.2.weight",
         ERR_INVALID, "wanted 12 output blocks"},
        {"first_stage_model.", "x.", ERR_INVALID, "quant_conv.weight"},
        {"decoder.up.3.block.0.conv2.weight", "gone", ERR_UNSUPPORTED, "4 down and 3 up"},
        {"decoder.up.2.block.2.conv2.weight", "gone", ERR_INVALID,
         "decoder.up.2: wanted 3 blocks as above, found 2"},
        {"[8,8,1,1]", "[4,16,1,1]", ERR_UNSUPPORTED, "wanted 4 latent channels"},
        {"[8,8,1,1]", "[4,8,1,2]", ERR_INVALID, "wanted [any, any], found [4, 8, 1, 2]"},
        {"\"betas\"", "\"" UNET "time_embed.0.weight\"", ERR_INVALID, "is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        unsigned char *file = patch(cases[i].from, cases[i].to, &size);
        struct err err = {0};
        struct family_facts facts;
        struct checkpoint *cp = checkpoint_open_memory(file, size, &err);
        const struct family *family = cp ? family_of(cp, &err) : NULL;
        if (family && family->read(cp, &facts, &err))
            fail_msg("%s -> %s: accepted", cases[i].from, cases[i].to);
        if (err.code != cases[i].code || !strstr(err.msg, cases[i].message))
            fail_msg("%s -> %s: got %s \"%s\", wanted \"%s\"", cases[i].from, cases[i].to,
                     err_name(err.code), err.msg, cases[i].message);
        checkpoint_free(cp);
        free(file);
    }
}

/* Another number format under a name that is wanted. */
static void refused_dtype(void **state)
{
    size_t size;
    unsigned char *file = patch("\"dtype\":\"F16\"", "\"dtype\":\"I16\"", &size);
    struct err err = {0};
    struct family_facts facts;
    struct checkpoint *cp = checkpoint_open_memory(file, size, &err);
    assert_non_null(cp);
    assert_false(family_of(cp, &err)->read(cp, &facts, &err));
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "wanted F32, F16, BF16 or F8 numbers"));
    checkpoint_free(cp);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name),     cmocka_unit_test(other_names),
        cmocka_unit_test(single_file),    cmocka_unit_test(getting),
        cmocka_unit_test(old_text_names), cmocka_unit_test(folder),
        cmocka_unit_test(refused),        cmocka_unit_test(refused_dtype),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
