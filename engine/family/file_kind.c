/* file_kind.c: pictor_file_probe: what a file is, by names of tensors that no other kind has, and
 * what it goes with, by the size of what its attention looks at (768 numbers a token in SD 1.x,
 * 1024 in 2.x, 2048 in XL). */
#include <stdio.h>
#include <string.h>

#include "engine/family/embedding.h"
#include "engine/family/family.h"
#include "engine/family/lone.h"

/* Where in a name the text stands. */
enum where { AT_START, ANYWHERE };

/* The first that fits some tensor is the answer: a LoRA's names hold those of what it changes. */
static const struct {
    enum pictor_kind kind;
    enum where where;
    const char *text;
} marks[] = {
    {PICTOR_KIND_CONTROLNET, ANYWHERE, "lora_controlnet"},
    {PICTOR_KIND_CONTROLNET, AT_START, "lllite_"},
    {PICTOR_KIND_CONTROLNET, AT_START, "control_model."},
    {PICTOR_KIND_CONTROLNET, AT_START, "controlnet_cond_embedding."},
    {PICTOR_KIND_CONTROLNET, AT_START, "controlnet_down_blocks."},
    {PICTOR_KIND_CONTROLNET, AT_START, "input_hint_block."},
    {PICTOR_KIND_LORA, ANYWHERE, ".lora_down."},
    {PICTOR_KIND_LORA, ANYWHERE, ".lora_up."},
    {PICTOR_KIND_LORA, ANYWHERE, ".lora_A."},
    {PICTOR_KIND_LORA, ANYWHERE, ".lora.down."},
    {PICTOR_KIND_LORA, ANYWHERE, "_lora.down."},
    {PICTOR_KIND_LORA, ANYWHERE, ".lora_linear_layer."},
    {PICTOR_KIND_LORA, ANYWHERE, ".hada_w1_"},
    {PICTOR_KIND_LORA, ANYWHERE, ".lokr_w1"},
    {PICTOR_KIND_LORA, ANYWHERE, ".oft_"},
    {PICTOR_KIND_LORA, AT_START, "lora_unet_"},
    {PICTOR_KIND_LORA, AT_START, "lora_te"},
    {PICTOR_KIND_MODEL, AT_START, "model.diffusion_model."},
    {PICTOR_KIND_MODEL, AT_START, "double_blocks."},
    {PICTOR_KIND_MODEL, AT_START, "joint_blocks."},
    {PICTOR_KIND_MODEL, AT_START, "single_transformer_blocks."},
    {PICTOR_KIND_MODEL, AT_START, "transformer_blocks."},
    {PICTOR_KIND_MODEL, AT_START, "noise_refiner."}, /* Z-Image's */
    {PICTOR_KIND_MODEL, AT_START, "input_blocks."},
    {PICTOR_KIND_MODEL, AT_START, "down_blocks."},
    {PICTOR_KIND_VAE, AT_START, "first_stage_model."},
    {PICTOR_KIND_VAE, AT_START, "post_quant_conv."},
    {PICTOR_KIND_VAE, AT_START, "decoder.conv_in."},
    {PICTOR_KIND_VAE, AT_START, "decoder.layers."}, /* TAESD in diffusers' layout */
    {PICTOR_KIND_VAE, AT_START, "3.conv.0."},       /* half of it as it was published */
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "text_model."},
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "embeddings.token_embedding."},
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "cond_stage_model."},
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "encoder.block.0.layer.0.SelfAttention."}, /* T5 */
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "enc.blk."},                               /* T5, GGUF */
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "model.layers.0.self_attn."},
    {PICTOR_KIND_TEXT_ENCODER, AT_START, "blk.0.attn_q."}, /* a language model's, GGUF */
    {PICTOR_KIND_UPSCALER, AT_START, "conv_first."},
    {PICTOR_KIND_UPSCALER, AT_START, "params_ema."},
    {PICTOR_KIND_UPSCALER, AT_START, "params."},
    {PICTOR_KIND_UPSCALER, AT_START, "model.1.sub."},
    {PICTOR_KIND_UPSCALER, AT_START, "body.0.rdb1."},
    {PICTOR_KIND_EMBEDDING, AT_START, "emb_params"},
    {PICTOR_KIND_EMBEDDING, AT_START, "string_to_param"},
};

const char *pictor_kind_name(enum pictor_kind kind)
{
    static const char *const names[] = {"model",     "lora",       "vae",          "upscaler",
                                        "embedding", "controlnet", "text-encoder", "unknown"};
    return names[kind];
}

static bool has(const struct checkpoint *cp, enum where where, const char *text)
{
    if (where == AT_START)
        return checkpoint_has(cp, text);
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        if (strstr(checkpoint_at(cp, i)->name, text))
            return true;
    return false;
}

/* SDXL's: one for each text encoder. */
static bool is_dual_embedding(const struct checkpoint *cp)
{
    const struct raw_tensor *l = checkpoint_find(cp, "clip_l"), *g = checkpoint_find(cp, "clip_g");
    return (l || g) && checkpoint_count(cp) <= 2;
}

/* diffusers calls an embedding's one tensor by the word that it stands for. */
static bool is_lone_embedding(const struct checkpoint *cp)
{
    const struct raw_tensor *t = checkpoint_count(cp) == 1 ? checkpoint_at(cp, 0) : NULL;
    size_t width = t && t->ndim > 0 && t->ndim <= 2 ? t->shape[t->ndim - 1] : 0;
    return width == 768 || width == 1024 || width == 1280;
}

/* SRVGGNetCompact: convolutions and slopes, numbered, and nothing else; ESRGAN's old names begin
 * with model.0. and its kin are told by marks. */
static bool is_compact_upscaler(const struct checkpoint *cp)
{
    const struct raw_tensor *first = checkpoint_find(cp, "body.0.weight");
    const struct raw_tensor *slopes = checkpoint_find(cp, "body.1.weight");
    return first && first->ndim == 4 && first->shape[1] == 3 && slopes && slopes->ndim == 1;
}

static enum pictor_kind kind_of(const struct checkpoint *cp)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has(cp, marks[i].where, marks[i].text))
            return marks[i].kind;
    if (is_dual_embedding(cp) || is_lone_embedding(cp))
        return PICTOR_KIND_EMBEDDING;
    return is_compact_upscaler(cp) ? PICTOR_KIND_UPSCALER : PICTOR_KIND_UNKNOWN;
}

static const char *family_of_width(size_t width)
{
    return width == 768 ? "sd1" : width == 1024 ? "sd2" : width == 2048 ? "sdxl" : "";
}

/* By what keys and values of the attention to the prompt are made of; a LoRA's first factor has
 * that size too. */
static const char *family_by_attention(const struct checkpoint *cp)
{
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        const char *at = strstr(t->name, "attn2");
        if (at && t->ndim >= 2 && strstr(at, "to_k") && !strstr(at, "up.weight") &&
            !strstr(at, "lora_B") && *family_of_width(t->shape[1]))
            return family_of_width(t->shape[1]);
    }
    return "";
}

static const struct {
    const char *text, *family;
} transformers[] = {
    {"to_qkv_mlp_proj", "flux2"},
    {"ff.linear_in", "flux2"},
    {"double_stream_modulation", "flux2"},
    {"proj_mlp", "flux1"},
    {"img_mod", "flux1"},
    {"modulation.lin", "flux1"},
    {"modulation_lin", "flux1"},
    {"double_blocks", "flux"},
    {"single_transformer_blocks", "flux"},
    {"noise_refiner", "zimage"},
    {"context_refiner", "zimage"},
    {"layers.0.attention.", "zimage"},
    {"layers_0_attention_", "zimage"},
    {"joint_blocks", "sd3"},
    {"pos_embed.proj", "sd3"},
};

/* FLUX.2's single blocks make nine times their width of what they take in, FLUX.1's seven times. */
static const char *family_by_single_block(const struct checkpoint *cp)
{
    size_t in = 0, out = 0;
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        if (!strstr(t->name, "single_blocks") || !strstr(t->name, "linear1") || t->ndim != 2)
            continue;
        bool up = strstr(t->name, "lora_up") || strstr(t->name, "lora_B");
        *(up ? &out : &in) = t->shape[up ? 0 : 1];
    }
    return in && out == 9 * in ? "flux2" : in && out == 7 * in ? "flux1" : "";
}

/* What SD 3 and FLUX call alike in diffusers is 1536 or 2432 channels wide of the first. */
static bool is_sd3_joint(const struct checkpoint *cp)
{
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        const char *at = strstr(t->name, "transformer_blocks");
        if (!at || t->ndim != 2 ||
            !(strstr(at, ".attn.to_q") || strstr(at, "_attn_to_q") || strstr(at, "add_q_proj")) ||
            !(strstr(at, "lora_A") || strstr(at, "lora_down") || strstr(at, "lora.down")))
            continue;
        return t->shape[1] == 1536 || t->shape[1] == 2432;
    }
    return false;
}

static const char *family_by_name(const struct checkpoint *cp)
{
    const char *single = family_by_single_block(cp);
    if (*single)
        return single;
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++)
        if (has(cp, ANYWHERE, transformers[i].text))
            return transformers[i].family;
    return is_sd3_joint(cp) ? "sd3" : "";
}

static const char *family_of_embedding(const struct checkpoint *cp)
{
    if (checkpoint_find(cp, "clip_g"))
        return "sdxl";
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        if (t->ndim > 0 && t->ndim <= 2)
            return family_of_width(t->shape[t->ndim - 1]);
    }
    return "";
}

static const char *family_it_goes_with(const struct checkpoint *cp, enum pictor_kind kind)
{
    const char *family = "";
    if (kind == PICTOR_KIND_EMBEDDING)
        return family_of_embedding(cp);
    if (kind == PICTOR_KIND_LORA || kind == PICTOR_KIND_CONTROLNET) {
        family = family_by_attention(cp);
        if (!*family && (has(cp, AT_START, "lora_te2_") || has(cp, AT_START, "text_encoder_2.")))
            family = "sdxl";
    }
    return *family ? family : family_by_name(cp);
}

static void copy_metadata(const struct checkpoint *cp, const char *key, char *out, size_t size)
{
    const char *text = checkpoint_metadata(cp, key);
    snprintf(out, size, "%s", text ? text : "");
}

static int columns_of(const struct checkpoint *cp, const char *name, int share)
{
    const struct raw_tensor *t = checkpoint_find(cp, name);
    return t && t->ndim == 2 && t->shape[1] <= CHECKPOINT_SIZE_LIMIT ? (int)t->shape[1] / share : 0;
}

/* That a transformer alone takes; FLUX.2 takes three states of each. */
static int words_taken(const struct checkpoint *cp, const struct family *family)
{
    static const char *const names[] = {"model.diffusion_model.txt_in.weight",
                                        "model.diffusion_model.cap_embedder.1.weight"};
    return family == &family_flux2    ? columns_of(cp, names[0], 3)
           : family == &family_zimage ? columns_of(cp, names[1], 1)
                                      : 0;
}

/* By transformers' names or llama.cpp's. */
static int words_of_qwen(const struct checkpoint *cp)
{
    return checkpoint_find(cp, "model.layers.0.self_attn.q_norm.weight")
               ? columns_of(cp, "model.layers.0.mlp.gate_proj.weight", 1)
           : checkpoint_find(cp, "blk.0.attn_q_norm.weight")
               ? columns_of(cp, "blk.0.ffn_gate.weight", 1)
               : 0;
}

/* Another look at a file that is a UNet alone, by the names that it has in a model. */
static bool describe_lone(const char *path, struct pictor_file_info *out, struct err *err)
{
    struct pictor_files files = {.count = 0};
    struct family_facts facts;
    if (!pictor_files_add(&files, "unet", path, err))
        return false;
    struct checkpoint *cp = checkpoint_open_headers(&files, err);
    const struct family *family = cp ? lone_read(cp, &facts, err) : NULL;
    if (family) {
        snprintf(out->family, sizeof out->family, "%s", family->name);
        out->model = facts.info;
        out->lone = true;
        out->words = words_taken(cp, family);
    }
    checkpoint_free(cp);
    pictor_files_close(&files);
    return family;
}

static bool describe(const struct checkpoint *cp, const char *path, struct pictor_file_info *out,
                     struct err *err)
{
    struct family_facts facts;
    out->readable = true;
    out->kind = kind_of(cp);
    copy_metadata(cp, "modelspec.title", out->title, sizeof out->title);
    copy_metadata(cp, "modelspec.trigger_phrase", out->trigger, sizeof out->trigger);
    copy_metadata(cp, "ss_output_name", out->alias, sizeof out->alias);
    snprintf(out->family, sizeof out->family, "%s", family_it_goes_with(cp, out->kind));
    /* One tensor of an unusual width may be one as well, in a folder where such are expected. */
    if (out->kind == PICTOR_KIND_EMBEDDING || out->kind == PICTOR_KIND_UNKNOWN) {
        bool sound = embedding_describe(cp, &out->embedding, err);
        if (out->kind == PICTOR_KIND_EMBEDDING)
            return (out->readable = sound);
    }
    if (out->kind == PICTOR_KIND_TEXT_ENCODER)
        out->words = words_of_qwen(cp);
    if (out->kind != PICTOR_KIND_MODEL && out->kind != PICTOR_KIND_UNKNOWN)
        return true;
    if (lone_is(cp))
        return describe_lone(path, out, err);
    const struct family *family = family_of(cp, err);
    if (!family)
        return false;
    out->kind = PICTOR_KIND_MODEL;
    snprintf(out->family, sizeof out->family, "%s", family->name);
    if (!family->read(cp, &facts, err))
        return false;
    out->model = facts.info;
    return true;
}

bool pictor_file_probe(const char *path, struct pictor_file_info *out, struct err *err)
{
    struct pictor_files files;
    *out = (struct pictor_file_info){.kind = PICTOR_KIND_UNKNOWN};
    if (!pictor_files_open(path, &files, err))
        return false;
    struct checkpoint *cp = checkpoint_open_headers(&files, err);
    bool ok = (cp && describe(cp, path, out, err)) || err_about(err, path);
    checkpoint_free(cp);
    pictor_files_close(&files);
    return ok;
}
