#include "engine/io/names.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/io/names_flow.h"
#include "engine/io/names_swap.h"

static const char *const endings[] = {".safetensors", ".sft", ".gguf", ".ckpt", ".pth", ".pt"};

const char *names_ending(const char *file)
{
    size_t n = strlen(file);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(endings[i]);
        if (n > length && strcasecmp(file + n - length, endings[i]) == 0)
            return endings[i];
    }
    return NULL;
}

static const struct names_swap unet_stems[] = {
    {"time_embedding.linear_1.", "time_embed.0."},
    {"time_embedding.linear_2.", "time_embed.2."},
    {"add_embedding.linear_1.", "label_emb.0.0."},
    {"add_embedding.linear_2.", "label_emb.0.2."},
    {"conv_in.", "input_blocks.0.0."},
    {"conv_norm_out.", "out.0."},
    {"conv_out.", "out.2."},
    /* A ControlNet's. */
    {"controlnet_cond_embedding.conv_in.", "input_hint_block.0."},
    {"controlnet_cond_embedding.conv_out.", "input_hint_block.14."},
    {"controlnet_mid_block.", "middle_block_out.0."},
    {NULL, NULL},
};

static const struct names_swap unet_resnet[] = {
    {"norm1.", "in_layers.0."},
    {"conv1.", "in_layers.2."},
    {"time_emb_proj.", "emb_layers.1."},
    {"norm2.", "out_layers.0."},
    {"conv2.", "out_layers.3."},
    {"conv_shortcut.", "skip_connection."},
    {NULL, NULL},
};

static const struct names_swap vae_resnet[] = {
    {"conv_shortcut.", "nin_shortcut."},
    {NULL, NULL},
};

static const struct names_swap vae_attention[] = {
    {"group_norm.", "norm."},    {"to_q.", "q."},  {"to_k.", "k."}, {"to_v.", "v."},
    {"to_out.0.", "proj_out."},  {"query.", "q."}, {"key.", "k."},  {"value.", "v."},
    {"proj_attn.", "proj_out."}, {NULL, NULL},
};

/* OpenCLIP's text encoder; behind "resblocks.N." */
static const struct names_swap open_clip_layer[] = {
    {"ln_1.", "layer_norm1."},
    {"ln_2.", "layer_norm2."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
    {"attn.out_proj.", "self_attn.out_proj."},
    {"attn.in_proj_", "self_attn.in_proj."}, /* queries, keys and values at once */
    {NULL, NULL},
};

static const struct names_swap open_clip_stems[] = {
    {"token_embedding.weight", "embeddings.token_embedding.weight"},
    {"positional_embedding", "embeddings.position_embedding.weight"},
    {"ln_final.", "final_layer_norm."},
    {NULL, NULL},
};

/* A language model's, as llama.cpp has it; behind "blk.N." */
static const struct names_swap llama_layer[] = {
    {"attn_norm.", "input_layernorm."},    {"attn_q.", "self_attn.q_proj."},
    {"attn_k.", "self_attn.k_proj."},      {"attn_v.", "self_attn.v_proj."},
    {"attn_q_norm.", "self_attn.q_norm."}, {"attn_k_norm.", "self_attn.k_norm."},
    {"attn_output.", "self_attn.o_proj."}, {"ffn_norm.", "post_attention_layernorm."},
    {"ffn_gate.", "mlp.gate_proj."},       {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."},       {NULL, NULL},
};

static const struct names_swap llama_stems[] = {
    {"token_embd.", "embed_tokens."},
    {"output_norm.", "norm."},
    {NULL, NULL},
};

/* T5's, as llama.cpp has it; behind "enc.blk.N." */
static const struct names_swap t5_layer[] = {
    {"attn_norm.", "layer.0.layer_norm."},
    {"attn_q.", "layer.0.SelfAttention.q."},
    {"attn_k.", "layer.0.SelfAttention.k."},
    {"attn_v.", "layer.0.SelfAttention.v."},
    {"attn_o.", "layer.0.SelfAttention.o."},
    {"attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."},
    {"ffn_norm.", "layer.1.layer_norm."},
    {"ffn_gate.", "layer.1.DenseReluDense.wi_0."},
    {"ffn_up.", "layer.1.DenseReluDense.wi_1."},
    {"ffn_down.", "layer.1.DenseReluDense.wo."},
    {NULL, NULL},
};

static const struct names_swap t5_stems[] = {
    {"token_embd.", "shared."},
    {"enc.output_norm.", "encoder.final_layer_norm."},
    {NULL, NULL},
};

/* Of a UNet of pixels, as the first published ones have it. */
static const struct names_swap unet_attention[] = {
    {"query.", "to_q."},         {"key.", "to_k."}, {"value.", "to_v."},
    {"proj_attn.", "to_out.0."}, {NULL, NULL},
};

/* OpenCLIP's names as transformers has them, behind `p`. OpenCLIP's projection stays apart: it is
 * the transpose of transformers' "text_projection.weight". */
static bool from_open_clip(const char *p, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (strcmp(name, "text_projection") == 0)
        return names_swap_emit(out, size, names_swap_none, name, "%stransformer.", p);
    if (names_swap_match(name, "transformer.resblocks.#.", n, &rest))
        return names_swap_emit(out, size, open_clip_layer, rest,
                               "%stransformer.text_model.encoder.layers.%d.", p, n[0]);
    return names_swap_emit(out, size, open_clip_stems, name, "%stransformer.text_model.", p);
}

#define T5 "text_encoders.t5xxl."

static const struct {
    const char *folder, *prefix;
} networks[] = {
    [NAMES_UNET] = {"unet", "model.diffusion_model."},
    [NAMES_VAE] = {"vae", "first_stage_model."},
    [NAMES_TEXT] = {"text_encoder", "cond_stage_model."},
    [NAMES_TEXT_2] = {"text_encoder_2", "conditioner.embedders.1."},
    [NAMES_TEXT_3] = {"text_encoder_3", T5},
};

const char *names_folder(int part)
{
    return part < NAMES_WHOLE ? networks[part].folder : NULL;
}

const char *names_prefix(enum names_part part)
{
    return part < NAMES_WHOLE ? networks[part].prefix : "";
}

const char *names_layout_prefix(const struct names_layout *layout, enum names_part part)
{
    return layout->t5 ? T5 : names_prefix(part);
}

void names_scan(struct names_layout *layout, enum names_part part, const char *name)
{
    int n[2];
    const char *rest, *prefix = names_prefix(part);
    layout->prefixed |= *prefix && names_swap_match(name, prefix, n, &rest);
    switch (part) {
    case NAMES_UNET:
        layout->flux |= names_swap_match(name, "single_transformer_blocks.", n, &rest);
        layout->zimage |= names_swap_match(name, "all_x_embedder.", n, &rest);
        layout->sd3 |= names_swap_match(name, "pos_embed.pos_embed", n, &rest);
        layout->diffusers |= layout->flux || layout->zimage || layout->sd3 ||
                             names_swap_match(name, "down_blocks.", n, &rest);
        if (names_swap_match(name, "down_blocks.0.resnets.#.", n, &rest) &&
            n[0] >= layout->unet_blocks)
            layout->unet_blocks = n[0] + 1;
        if (names_swap_match(name, "up_blocks.#.attentions.#.", n, &rest) && n[0] < 32)
            layout->up_attention |= 1u << n[0];
        break;
    case NAMES_VAE:
        layout->diffusers |= names_swap_match(name, "decoder.up_blocks.", n, &rest);
        layout->tiny |= names_swap_match(name, "decoder.layers.#.", n, &rest) ||
                        names_swap_match(name, "encoder.layers.#.", n, &rest) ||
                        names_swap_match(name, "#.", n, &rest);
        layout->numbered |= names_swap_match(name, "0.weight", n, &rest);
        if (names_swap_match(name, "decoder.up_blocks.#.", n, &rest) && n[0] >= layout->vae_levels)
            layout->vae_levels = n[0] + 1;
        break;
    case NAMES_TEXT:
    case NAMES_TEXT_2:
    case NAMES_TEXT_3:
        layout->t5 |= names_swap_match(name, "encoder.block.#.", n, &rest) ||
                      names_swap_match(name, "enc.blk.#.", n, &rest);
        layout->diffusers |= names_swap_match(name, "encoder.layers.", n, &rest) ||
                             names_swap_match(name, "text_model.encoder.layers.", n, &rest);
        layout->language |= names_swap_match(name, "model.layers.#.", n, &rest) ||
                            names_swap_match(name, "layers.#.", n, &rest) ||
                            names_swap_match(name, "blk.#.", n, &rest);
        break;
    case NAMES_WHOLE:
        break;
    }
}

/* A level going down is its blocks and a downsampler, one going up has one block more, and keeps
 * its upsampler behind the last one's resnet and attention. */
static bool from_unet(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    int n[2], a_level = layout->unet_blocks + 1;
    const char *rest;
    const char *p = "model.diffusion_model";
    if (names_swap_match(name, "down_blocks.#.resnets.#.", n, &rest))
        return names_swap_emit(out, size, unet_resnet, rest, "%s.input_blocks.%d.0.", p,
                               a_level * n[0] + 1 + n[1]);
    if (names_swap_match(name, "down_blocks.#.attentions.#.", n, &rest))
        return names_swap_emit(out, size, unet_attention, rest, "%s.input_blocks.%d.1.", p,
                               a_level * n[0] + 1 + n[1]);
    if (names_swap_match(name, "down_blocks.#.downsamplers.0.conv.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.input_blocks.%d.0.op.", p,
                               a_level * (n[0] + 1));
    if (names_swap_match(name, "mid_block.resnets.#.", n, &rest))
        return names_swap_emit(out, size, unet_resnet, rest, "%s.middle_block.%d.", p, 2 * n[0]);
    if (names_swap_match(name, "mid_block.attentions.0.", n, &rest))
        return names_swap_emit(out, size, unet_attention, rest, "%s.middle_block.1.", p);
    if (names_swap_match(name, "up_blocks.#.resnets.#.", n, &rest))
        return names_swap_emit(out, size, unet_resnet, rest, "%s.output_blocks.%d.0.", p,
                               a_level * n[0] + n[1]);
    if (names_swap_match(name, "up_blocks.#.attentions.#.", n, &rest))
        return names_swap_emit(out, size, unet_attention, rest, "%s.output_blocks.%d.1.", p,
                               a_level * n[0] + n[1]);
    if (names_swap_match(name, "up_blocks.#.upsamplers.0.conv.", n, &rest)) {
        bool attention = n[0] < 32 && layout->up_attention >> n[0] & 1;
        return names_swap_emit(out, size, names_swap_none, rest, "%s.output_blocks.%d.%d.conv.", p,
                               a_level * (n[0] + 1) - 1, attention ? 2 : 1);
    }
    if (names_swap_match(name, "controlnet_down_blocks.#.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.zero_convs.%d.0.", p, n[0]);
    if (names_swap_match(name, "controlnet_cond_embedding.blocks.#.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.input_hint_block.%d.", p,
                               2 * (n[0] + 1));
    for (const struct names_swap *s = unet_stems; s->from; s++)
        if (names_swap_match(name, s->from, n, &rest))
            return names_swap_emit(out, size, unet_stems, name, "%s.", p);
    return false;
}

/* LDM counts the decoder's levels from the picture inwards. */
static bool from_vae(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    int n[2];
    const char *rest;
    const char *p = "first_stage_model";
    if (names_swap_match(name, "quant_conv.", n, &rest) ||
        names_swap_match(name, "post_quant_conv.", n, &rest) ||
        names_swap_match(name, "bn.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, name, "%s.", p);
    if (names_swap_match(name, "encoder.down_blocks.#.resnets.#.", n, &rest))
        return names_swap_emit(out, size, vae_resnet, rest, "%s.encoder.down.%d.block.%d.", p, n[0],
                               n[1]);
    if (names_swap_match(name, "encoder.down_blocks.#.downsamplers.0.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.encoder.down.%d.downsample.",
                               p, n[0]);
    if (names_swap_match(name, "decoder.up_blocks.#.resnets.#.", n, &rest))
        return names_swap_emit(out, size, vae_resnet, rest, "%s.decoder.up.%d.block.%d.", p,
                               layout->vae_levels - 1 - n[0], n[1]);
    if (names_swap_match(name, "decoder.up_blocks.#.upsamplers.0.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.decoder.up.%d.upsample.", p,
                               layout->vae_levels - 1 - n[0]);

    const char *side;
    if (names_swap_match(name, "encoder.", n, &rest))
        side = "encoder";
    else if (names_swap_match(name, "decoder.", n, &rest))
        side = "decoder";
    else
        return false;
    name = rest;
    if (names_swap_match(name, "mid_block.resnets.#.", n, &rest))
        return names_swap_emit(out, size, vae_resnet, rest, "%s.%s.mid.block_%d.", p, side,
                               n[0] + 1);
    if (names_swap_match(name, "mid_block.attentions.0.", n, &rest))
        return names_swap_emit(out, size, vae_attention, rest, "%s.%s.mid.attn_1.", p, side);
    if (names_swap_match(name, "conv_norm_out.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s.%s.norm_out.", p, side);
    if (names_swap_match(name, "conv_in.", n, &rest) ||
        names_swap_match(name, "conv_out.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, name, "%s.%s.", p, side);
    return false;
}

/* The published decoder's first layer has no weights and is none in diffusers. */
static bool from_tiny(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (names_swap_match(name, "decoder.layers.#.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "tae.decoder.%d.", n[0]);
    if (names_swap_match(name, "encoder.layers.#.", n, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "tae.encoder.%d.", n[0]);
    if (!names_swap_match(name, "#.", n, &rest))
        return false;
    return layout->numbered
               ? names_swap_emit(out, size, names_swap_none, rest, "tae.encoder.%d.", n[0])
               : names_swap_emit(out, size, names_swap_none, rest, "tae.decoder.%d.", n[0] - 1);
}

static bool from_language(const char *p, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (names_swap_match(name, "model.", n, &rest))
        name = rest;
    if (names_swap_match(name, "lm_head.", n, &rest) || names_swap_match(name, "output.", n, &rest))
        return false;
    if (names_swap_match(name, "blk.#.", n, &rest))
        return names_swap_emit(out, size, llama_layer, rest, "%stransformer.model.layers.%d.", p,
                               n[0]);
    return names_swap_emit(out, size, llama_stems, name, "%stransformer.model.", p);
}

static bool from_t5(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (names_swap_match(name, "decoder.", n, &rest) || names_swap_match(name, "dec.", n, &rest) ||
        names_swap_match(name, "lm_head.", n, &rest) || names_swap_match(name, "output.", n, &rest))
        return false;
    if (names_swap_match(name, "enc.blk.#.", n, &rest))
        return names_swap_emit(out, size, t5_layer, rest, T5 "transformer.encoder.block.%d.", n[0]);
    return names_swap_emit(out, size, t5_stems, name, T5 "transformer.%s", "");
}

/* Newer versions of transformers write the text encoder without its prefix, as the first did. */
static bool from_text(const char *p, const char *name, char *out, size_t size)
{
    bool bare = strncmp(name, "text_model.", 11) != 0 &&
                strncmp(name, "text_projection.", 16) != 0 && strncmp(name, "model.", 6) != 0;
    return names_swap_emit(out, size, names_swap_none, name, "%stransformer.%s", p,
                           bare ? "text_model." : "");
}

static bool from_diffusers(const struct names_layout *layout, enum names_part part,
                           const char *name, char *out, size_t size)
{
    switch (part) {
    case NAMES_UNET:
        return layout->flux || layout->zimage || layout->sd3
                   ? names_flow_to_ldm(layout, name, out, size)
                   : from_unet(layout, name, out, size);
    case NAMES_VAE:
        return from_vae(layout, name, out, size);
    case NAMES_TEXT:
    case NAMES_TEXT_2:
    case NAMES_TEXT_3:
        return from_text(names_prefix(part), name, out, size);
    case NAMES_WHOLE:
        break;
    }
    return false;
}

/* stable-diffusion.cpp calls SDXL's second text encoder so, and knows no "model." of OpenCLIP's. */
static bool from_cpp(const char *p, const char *name, char *out, size_t size)
{
    const char *rest;
    if (names_swap_match(name, "text_model.text_projection", NULL, &rest) && !*rest)
        return names_swap_emit(out, size, names_swap_none, "text_projection", "%stransformer.", p);
    return from_text(p, name, out, size);
}

static bool from_ldm(const char *name, char *out, size_t size)
{
    char whole[256];
    const char *rest, *first = names_prefix(NAMES_TEXT), *second = names_prefix(NAMES_TEXT_2);
    if (names_swap_match(name, "cond_stage_model.1.transformer.", NULL, &rest))
        return from_cpp(second, rest, out, size);
    if (names_swap_match(name, "cond_stage_model.transformer.", NULL, &rest) ||
        names_swap_match(name, "conditioner.embedders.0.transformer.", NULL, &rest))
        return from_text(first, rest, out, size);
    if (names_swap_match(name, "cond_stage_model.model.", NULL, &rest))
        return from_open_clip(first, rest, out, size);
    if (names_swap_match(name, "conditioner.embedders.0.model.", NULL, &rest) ||
        names_swap_match(name, "conditioner.embedders.1.model.", NULL, &rest))
        return from_open_clip(second, rest, out, size);
    if (names_swap_match(name, "text_encoders.clip_l.transformer.", NULL, &rest))
        return from_text(first, rest, out, size);
    if (names_swap_match(name, "text_encoders.clip_g.transformer.", NULL, &rest))
        return from_text(second, rest, out, size);
    if (names_swap_match(name, "text_encoders.", NULL, &rest) &&
        (rest = strstr(rest, ".transformer.model.")))
        return from_language(first, rest + strlen(".transformer."), out, size);
    /* A VAE in a file that ComfyUI put together. */
    if (names_swap_match(name, "vae.", NULL, &rest))
        return names_swap_emit(whole, sizeof whole, names_swap_none, rest, "first_stage_model.") &&
               from_ldm(whole, out, size);
    /* FLUX.2's, by Black Forest Labs. */
    if (names_swap_match(name, "first_stage_model.encoder.quant_conv.", NULL, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "first_stage_model.%s",
                               "quant_conv.");
    if (names_swap_match(name, "first_stage_model.decoder.post_quant_conv.", NULL, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "first_stage_model.%s",
                               "post_quant_conv.");
    return names_swap_emit(out, size, names_swap_none, name, "%s", "");
}

bool names_to_ldm(const struct names_layout *layout, enum names_part part, const char *name,
                  char *out, size_t size)
{
    char full[256];
    const char *prefix = names_prefix(part), *rest;
    if (part == NAMES_UNET && (strcmp(name, "v_pred") == 0 || strcmp(name, "ztsnr") == 0))
        return names_swap_emit(out, size, names_swap_none, name, "%s", ""); /* how it was trained */
    if (part == NAMES_UNET && names_swap_match(name, "control_model.", NULL, &rest))
        return names_swap_emit(out, size, names_swap_none, rest, "%s", prefix);
    if (layout->t5 && strncmp(name, T5, strlen(T5)) == 0)
        return from_ldm(name, out, size);
    if (layout->t5)
        return from_t5(name, out, size);
    if (layout->language)
        return from_language(prefix, name, out, size);
    if (layout->tiny)
        return from_tiny(layout, name, out, size);
    if (strncmp(name, prefix, strlen(prefix)) == 0)
        return from_ldm(name, out, size);
    if (layout->prefixed)
        return false;
    if (layout->diffusers)
        return from_diffusers(layout, part, name, out, size);
    return names_swap_emit(full, sizeof full, names_swap_none, name, "%s", prefix) &&
           from_ldm(full, out, size);
}
