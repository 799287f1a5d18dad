#include "engine/io/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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

struct swap {
    const char *from, *to;
};

static const struct swap unet_stems[] = {
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

static const struct swap unet_resnet[] = {
    {"norm1.", "in_layers.0."},
    {"conv1.", "in_layers.2."},
    {"time_emb_proj.", "emb_layers.1."},
    {"norm2.", "out_layers.0."},
    {"conv2.", "out_layers.3."},
    {"conv_shortcut.", "skip_connection."},
    {NULL, NULL},
};

static const struct swap vae_resnet[] = {
    {"conv_shortcut.", "nin_shortcut."},
    {NULL, NULL},
};

static const struct swap vae_attention[] = {
    {"group_norm.", "norm."},    {"to_q.", "q."},  {"to_k.", "k."}, {"to_v.", "v."},
    {"to_out.0.", "proj_out."},  {"query.", "q."}, {"key.", "k."},  {"value.", "v."},
    {"proj_attn.", "proj_out."}, {NULL, NULL},
};

/* OpenCLIP's text encoder; behind "resblocks.N." */
static const struct swap open_clip_layer[] = {
    {"ln_1.", "layer_norm1."},
    {"ln_2.", "layer_norm2."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
    {"attn.out_proj.", "self_attn.out_proj."},
    {"attn.in_proj_", "self_attn.in_proj."}, /* queries, keys and values at once */
    {NULL, NULL},
};

static const struct swap open_clip_stems[] = {
    {"token_embedding.weight", "embeddings.token_embedding.weight"},
    {"positional_embedding", "embeddings.position_embedding.weight"},
    {"ln_final.", "final_layer_norm."},
    {NULL, NULL},
};

/* A language model's, as llama.cpp has it; behind "blk.N." */
static const struct swap llama_layer[] = {
    {"attn_norm.", "input_layernorm."},    {"attn_q.", "self_attn.q_proj."},
    {"attn_k.", "self_attn.k_proj."},      {"attn_v.", "self_attn.v_proj."},
    {"attn_q_norm.", "self_attn.q_norm."}, {"attn_k_norm.", "self_attn.k_norm."},
    {"attn_output.", "self_attn.o_proj."}, {"ffn_norm.", "post_attention_layernorm."},
    {"ffn_gate.", "mlp.gate_proj."},       {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."},       {NULL, NULL},
};

static const struct swap llama_stems[] = {
    {"token_embd.", "embed_tokens."},
    {"output_norm.", "norm."},
    {NULL, NULL},
};

/* T5's, as llama.cpp has it; behind "enc.blk.N." */
static const struct swap t5_layer[] = {
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

static const struct swap t5_stems[] = {
    {"token_embd.", "shared."},
    {"enc.output_norm.", "encoder.final_layer_norm."},
    {NULL, NULL},
};

/* Of a UNet of pixels, as the first published ones have it. */
static const struct swap unet_attention[] = {
    {"query.", "to_q."},         {"key.", "to_k."}, {"value.", "to_v."},
    {"proj_attn.", "to_out.0."}, {NULL, NULL},
};

/* FLUX.1's and FLUX.2's transformers. */
static const struct swap flux_stems[] = {
    {"x_embedder.", "img_in."},
    {"context_embedder.", "txt_in."},
    {"time_guidance_embed.timestep_embedder.linear_1.", "time_in.in_layer."},
    {"time_guidance_embed.timestep_embedder.linear_2.", "time_in.out_layer."},
    {"time_guidance_embed.guidance_embedder.linear_1.", "guidance_in.in_layer."},
    {"time_guidance_embed.guidance_embedder.linear_2.", "guidance_in.out_layer."},
    {"time_text_embed.timestep_embedder.linear_1.", "time_in.in_layer."},
    {"time_text_embed.timestep_embedder.linear_2.", "time_in.out_layer."},
    {"time_text_embed.guidance_embedder.linear_1.", "guidance_in.in_layer."},
    {"time_text_embed.guidance_embedder.linear_2.", "guidance_in.out_layer."},
    {"time_text_embed.text_embedder.linear_1.", "vector_in.in_layer."},
    {"time_text_embed.text_embedder.linear_2.", "vector_in.out_layer."},
    {"double_stream_modulation_img.linear.", "double_stream_modulation_img.lin."},
    {"double_stream_modulation_txt.linear.", "double_stream_modulation_txt.lin."},
    {"single_stream_modulation.linear.", "single_stream_modulation.lin."},
    {"norm_out.linear.", "final_layer.scale_shift."},
    {"proj_out.", "final_layer.linear."},
    {NULL, NULL},
};

/* Behind "transformer_blocks.N." */
static const struct swap flux_double[] = {
    {"attn.to_q.", "img_attn.q."},
    {"attn.to_k.", "img_attn.k."},
    {"attn.to_v.", "img_attn.v."},
    {"attn.to_out.0.", "img_attn.proj."},
    {"attn.norm_q.", "img_attn.norm.query_norm."},
    {"attn.norm_k.", "img_attn.norm.key_norm."},
    {"attn.add_q_proj.", "txt_attn.q."},
    {"attn.add_k_proj.", "txt_attn.k."},
    {"attn.add_v_proj.", "txt_attn.v."},
    {"attn.to_add_out.", "txt_attn.proj."},
    {"attn.norm_added_q.", "txt_attn.norm.query_norm."},
    {"attn.norm_added_k.", "txt_attn.norm.key_norm."},
    {"norm1.linear.", "img_mod.lin."},
    {"norm1_context.linear.", "txt_mod.lin."},
    {"ff.net.0.proj.", "img_mlp.0."},
    {"ff.net.2.", "img_mlp.2."},
    {"ff_context.net.0.proj.", "txt_mlp.0."},
    {"ff_context.net.2.", "txt_mlp.2."},
    {"ff.linear_in.", "img_mlp.0."},
    {"ff.linear_out.", "img_mlp.2."},
    {"ff_context.linear_in.", "txt_mlp.0."},
    {"ff_context.linear_out.", "txt_mlp.2."},
    {NULL, NULL},
};

/* Behind "single_transformer_blocks.N." */
static const struct swap flux_single[] = {
    {"norm.linear.", "modulation.lin."},
    {"attn.to_q.", "q."},
    {"attn.to_k.", "k."},
    {"attn.to_v.", "v."},
    {"proj_mlp.", "mlp."},
    {"proj_out.", "linear2."},
    {"attn.to_qkv_mlp_proj.", "linear1."},
    {"attn.to_out.", "linear2."},
    {"attn.norm_q.", "norm.query_norm."},
    {"attn.norm_k.", "norm.key_norm."},
    {NULL, NULL},
};

/* Z-Image's transformer. */
static const struct swap zimage_stems[] = {
    {"all_x_embedder.2-1.", "x_embedder."},
    {"all_final_layer.2-1.", "final_layer."},
    {NULL, NULL},
};

/* Behind "layers.N.", "noise_refiner.N." and "context_refiner.N." */
static const struct swap zimage_block[] = {
    {"attention.to_q.", "attention.q."},
    {"attention.to_k.", "attention.k."},
    {"attention.to_v.", "attention.v."},
    {"attention.to_out.0.", "attention.out."},
    {"attention.norm_q.", "attention.q_norm."},
    {"attention.norm_k.", "attention.k_norm."},
    {NULL, NULL},
};

/* Stable Diffusion 3's transformer. */
static const struct swap sd3_stems[] = {
    {"pos_embed.proj.", "x_embedder.proj."},
    {"pos_embed.pos_embed", "pos_embed"},
    {"context_embedder.", "context_embedder."},
    {"time_text_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0."},
    {"time_text_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2."},
    {"time_text_embed.text_embedder.linear_1.", "y_embedder.mlp.0."},
    {"time_text_embed.text_embedder.linear_2.", "y_embedder.mlp.2."},
    {"norm_out.linear.", "final_layer.scale_shift."},
    {"proj_out.", "final_layer.linear."},
    {NULL, NULL},
};

/* Behind "transformer_blocks.N." */
static const struct swap sd3_block[] = {
    {"norm1.linear.", "x_block.adaLN_modulation.1."},
    {"norm1_context.linear.", "context_block.adaLN_modulation.1."},
    {"attn.to_q.", "x_block.attn.q."},
    {"attn.to_k.", "x_block.attn.k."},
    {"attn.to_v.", "x_block.attn.v."},
    {"attn.to_out.0.", "x_block.attn.proj."},
    {"attn.norm_q.", "x_block.attn.ln_q."},
    {"attn.norm_k.", "x_block.attn.ln_k."},
    {"attn.add_q_proj.", "context_block.attn.q."},
    {"attn.add_k_proj.", "context_block.attn.k."},
    {"attn.add_v_proj.", "context_block.attn.v."},
    {"attn.to_add_out.", "context_block.attn.proj."},
    {"attn.norm_added_q.", "context_block.attn.ln_q."},
    {"attn.norm_added_k.", "context_block.attn.ln_k."},
    {"attn2.to_q.", "x_block.attn2.q."},
    {"attn2.to_k.", "x_block.attn2.k."},
    {"attn2.to_v.", "x_block.attn2.v."},
    {"attn2.to_out.0.", "x_block.attn2.proj."},
    {"attn2.norm_q.", "x_block.attn2.ln_q."},
    {"attn2.norm_k.", "x_block.attn2.ln_k."},
    {"ff.net.0.proj.", "x_block.mlp.fc1."},
    {"ff.net.2.", "x_block.mlp.fc2."},
    {"ff_context.net.0.proj.", "context_block.mlp.fc1."},
    {"ff_context.net.2.", "context_block.mlp.fc2."},
    {NULL, NULL},
};

static const struct swap none[] = {{NULL, NULL}};

/* Whether `name` is `pattern`, in which # stands for a number of at most three digits, and which
 * ends where `rest` begins. */
static bool match(const char *name, const char *pattern, int *numbers, const char **rest)
{
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*name++ != *pattern)
                return false;
            continue;
        }
        int n = 0, digits = 0;
        for (; *name >= '0' && *name <= '9' && digits < 3; digits++)
            n = n * 10 + *name++ - '0';
        if (!digits)
            return false;
        *numbers++ = n;
    }
    *rest = name;
    return true;
}

/* out = the formatted text, then `rest` with its beginning swapped. */
static bool emit(char *out, size_t size, const struct swap *swaps, const char *rest,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static bool emit(char *out, size_t size, const struct swap *swaps, const char *rest,
                 const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t used = (size_t)vsnprintf(out, size, fmt, ap);
    va_end(ap);
    const char *swapped = "";
    for (; swaps->from; swaps++)
        if (strncmp(rest, swaps->from, strlen(swaps->from)) == 0) {
            swapped = swaps->to;
            rest += strlen(swaps->from);
            break;
        }
    if (used + strlen(swapped) + strlen(rest) >= size)
        return false;
    strcpy(stpcpy(out + used, swapped), rest);
    return true;
}

/* OpenCLIP's names as transformers has them, behind `p`. OpenCLIP's projection stays apart: it is
 * the transpose of transformers' "text_projection.weight". */
static bool from_open_clip(const char *p, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (strcmp(name, "text_projection") == 0)
        return emit(out, size, none, name, "%stransformer.", p);
    if (match(name, "transformer.resblocks.#.", n, &rest))
        return emit(out, size, open_clip_layer, rest, "%stransformer.text_model.encoder.layers.%d.",
                    p, n[0]);
    return emit(out, size, open_clip_stems, name, "%stransformer.text_model.", p);
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
    layout->prefixed |= *prefix && match(name, prefix, n, &rest);
    switch (part) {
    case NAMES_UNET:
        layout->flux |= match(name, "single_transformer_blocks.", n, &rest);
        layout->zimage |= match(name, "all_x_embedder.", n, &rest);
        layout->sd3 |= match(name, "pos_embed.pos_embed", n, &rest);
        layout->diffusers |=
            layout->flux || layout->zimage || layout->sd3 || match(name, "down_blocks.", n, &rest);
        if (match(name, "down_blocks.0.resnets.#.", n, &rest) && n[0] >= layout->unet_blocks)
            layout->unet_blocks = n[0] + 1;
        if (match(name, "up_blocks.#.attentions.#.", n, &rest) && n[0] < 32)
            layout->up_attention |= 1u << n[0];
        break;
    case NAMES_VAE:
        layout->diffusers |= match(name, "decoder.up_blocks.", n, &rest);
        layout->tiny |= match(name, "decoder.layers.#.", n, &rest) ||
                        match(name, "encoder.layers.#.", n, &rest) || match(name, "#.", n, &rest);
        layout->numbered |= match(name, "0.weight", n, &rest);
        if (match(name, "decoder.up_blocks.#.", n, &rest) && n[0] >= layout->vae_levels)
            layout->vae_levels = n[0] + 1;
        break;
    case NAMES_TEXT:
    case NAMES_TEXT_2:
    case NAMES_TEXT_3:
        layout->t5 |=
            match(name, "encoder.block.#.", n, &rest) || match(name, "enc.blk.#.", n, &rest);
        layout->diffusers |= match(name, "encoder.layers.", n, &rest) ||
                             match(name, "text_model.encoder.layers.", n, &rest);
        layout->language |= match(name, "model.layers.#.", n, &rest) ||
                            match(name, "layers.#.", n, &rest) || match(name, "blk.#.", n, &rest);
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
    if (match(name, "down_blocks.#.resnets.#.", n, &rest))
        return emit(out, size, unet_resnet, rest, "%s.input_blocks.%d.0.", p,
                    a_level * n[0] + 1 + n[1]);
    if (match(name, "down_blocks.#.attentions.#.", n, &rest))
        return emit(out, size, unet_attention, rest, "%s.input_blocks.%d.1.", p,
                    a_level * n[0] + 1 + n[1]);
    if (match(name, "down_blocks.#.downsamplers.0.conv.", n, &rest))
        return emit(out, size, none, rest, "%s.input_blocks.%d.0.op.", p, a_level * (n[0] + 1));
    if (match(name, "mid_block.resnets.#.", n, &rest))
        return emit(out, size, unet_resnet, rest, "%s.middle_block.%d.", p, 2 * n[0]);
    if (match(name, "mid_block.attentions.0.", n, &rest))
        return emit(out, size, unet_attention, rest, "%s.middle_block.1.", p);
    if (match(name, "up_blocks.#.resnets.#.", n, &rest))
        return emit(out, size, unet_resnet, rest, "%s.output_blocks.%d.0.", p,
                    a_level * n[0] + n[1]);
    if (match(name, "up_blocks.#.attentions.#.", n, &rest))
        return emit(out, size, unet_attention, rest, "%s.output_blocks.%d.1.", p,
                    a_level * n[0] + n[1]);
    if (match(name, "up_blocks.#.upsamplers.0.conv.", n, &rest)) {
        bool attention = n[0] < 32 && layout->up_attention >> n[0] & 1;
        return emit(out, size, none, rest, "%s.output_blocks.%d.%d.conv.", p,
                    a_level * (n[0] + 1) - 1, attention ? 2 : 1);
    }
    if (match(name, "controlnet_down_blocks.#.", n, &rest))
        return emit(out, size, none, rest, "%s.zero_convs.%d.0.", p, n[0]);
    if (match(name, "controlnet_cond_embedding.blocks.#.", n, &rest))
        return emit(out, size, none, rest, "%s.input_hint_block.%d.", p, 2 * (n[0] + 1));
    for (const struct swap *s = unet_stems; s->from; s++)
        if (match(name, s->from, n, &rest))
            return emit(out, size, unet_stems, name, "%s.", p);
    return false;
}

static bool from_flux(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    const char *p = "model.diffusion_model";
    if (match(name, "transformer_blocks.#.", n, &rest))
        return emit(out, size, flux_double, rest, "%s.double_blocks.%d.", p, n[0]);
    if (match(name, "single_transformer_blocks.#.", n, &rest))
        return emit(out, size, flux_single, rest, "%s.single_blocks.%d.", p, n[0]);
    return emit(out, size, flux_stems, name, "%s.", p);
}

static bool from_zimage(const char *name, char *out, size_t size)
{
    static const char *const kinds[] = {"layers", "noise_refiner", "context_refiner"};
    int n[1];
    const char *rest;
    const char *p = "model.diffusion_model";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char pattern[32];
        snprintf(pattern, sizeof pattern, "%s.#.", kinds[i]);
        if (match(name, pattern, n, &rest))
            return emit(out, size, zimage_block, rest, "%s.%s.%d.", p, kinds[i], n[0]);
    }
    return emit(out, size, zimage_stems, name, "%s.", p);
}

/* out = `start`, then `rest` with its beginning swapped back, by the swap number *nth of those that
 * made it so; false: they are less, and *nth is less by them. */
static bool emit_back(char *out, size_t size, const struct swap *swaps, const char *rest,
                      const char *start, int *nth)
{
    for (; swaps->from; swaps++) {
        size_t n = strlen(swaps->to);
        if (strncmp(rest, swaps->to, n) == 0 && (*nth)-- == 0)
            return (size_t)snprintf(out, size, "%s%s%s", start, swaps->from, rest + n) < size;
    }
    return false;
}

bool names_of_flow(const char *name, int nth, char *out, size_t size)
{
    static const struct {
        const char *pattern, *start;
        const struct swap *swaps;
    } blocks[] = {
        {"double_blocks.#.", "transformer_blocks", flux_double},
        {"single_blocks.#.", "single_transformer_blocks", flux_single},
        {"layers.#.", "layers", zimage_block},
        {"noise_refiner.#.", "noise_refiner", zimage_block},
        {"context_refiner.#.", "context_refiner", zimage_block},
    };
    int n[1];
    const char *rest;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (match(name, blocks[i].pattern, n, &rest)) {
            char start[64];
            snprintf(start, sizeof start, "%s.%d.", blocks[i].start, n[0]);
            return emit_back(out, size, blocks[i].swaps, rest, start, &nth);
        }
    return emit_back(out, size, flux_stems, name, "", &nth) ||
           emit_back(out, size, zimage_stems, name, "", &nth);
}

static bool from_sd3(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    const char *p = "model.diffusion_model";
    if (match(name, "transformer_blocks.#.", n, &rest))
        return emit(out, size, sd3_block, rest, "%s.joint_blocks.%d.", p, n[0]);
    return emit(out, size, sd3_stems, name, "%s.", p);
}

/* LDM counts the decoder's levels from the picture inwards. */
static bool from_vae(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    int n[2];
    const char *rest;
    const char *p = "first_stage_model";
    if (match(name, "quant_conv.", n, &rest) || match(name, "post_quant_conv.", n, &rest) ||
        match(name, "bn.", n, &rest))
        return emit(out, size, none, name, "%s.", p);
    if (match(name, "encoder.down_blocks.#.resnets.#.", n, &rest))
        return emit(out, size, vae_resnet, rest, "%s.encoder.down.%d.block.%d.", p, n[0], n[1]);
    if (match(name, "encoder.down_blocks.#.downsamplers.0.", n, &rest))
        return emit(out, size, none, rest, "%s.encoder.down.%d.downsample.", p, n[0]);
    if (match(name, "decoder.up_blocks.#.resnets.#.", n, &rest))
        return emit(out, size, vae_resnet, rest, "%s.decoder.up.%d.block.%d.", p,
                    layout->vae_levels - 1 - n[0], n[1]);
    if (match(name, "decoder.up_blocks.#.upsamplers.0.", n, &rest))
        return emit(out, size, none, rest, "%s.decoder.up.%d.upsample.", p,
                    layout->vae_levels - 1 - n[0]);

    const char *side;
    if (match(name, "encoder.", n, &rest))
        side = "encoder";
    else if (match(name, "decoder.", n, &rest))
        side = "decoder";
    else
        return false;
    name = rest;
    if (match(name, "mid_block.resnets.#.", n, &rest))
        return emit(out, size, vae_resnet, rest, "%s.%s.mid.block_%d.", p, side, n[0] + 1);
    if (match(name, "mid_block.attentions.0.", n, &rest))
        return emit(out, size, vae_attention, rest, "%s.%s.mid.attn_1.", p, side);
    if (match(name, "conv_norm_out.", n, &rest))
        return emit(out, size, none, rest, "%s.%s.norm_out.", p, side);
    if (match(name, "conv_in.", n, &rest) || match(name, "conv_out.", n, &rest))
        return emit(out, size, none, name, "%s.%s.", p, side);
    return false;
}

/* The published decoder's first layer has no weights and is none in diffusers. */
static bool from_tiny(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (match(name, "decoder.layers.#.", n, &rest))
        return emit(out, size, none, rest, "tae.decoder.%d.", n[0]);
    if (match(name, "encoder.layers.#.", n, &rest))
        return emit(out, size, none, rest, "tae.encoder.%d.", n[0]);
    if (!match(name, "#.", n, &rest))
        return false;
    return layout->numbered ? emit(out, size, none, rest, "tae.encoder.%d.", n[0])
                            : emit(out, size, none, rest, "tae.decoder.%d.", n[0] - 1);
}

static bool from_language(const char *p, const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (match(name, "model.", n, &rest))
        name = rest;
    if (match(name, "lm_head.", n, &rest) || match(name, "output.", n, &rest))
        return false;
    if (match(name, "blk.#.", n, &rest))
        return emit(out, size, llama_layer, rest, "%stransformer.model.layers.%d.", p, n[0]);
    return emit(out, size, llama_stems, name, "%stransformer.model.", p);
}

static bool from_t5(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    if (match(name, "decoder.", n, &rest) || match(name, "dec.", n, &rest) ||
        match(name, "lm_head.", n, &rest) || match(name, "output.", n, &rest))
        return false;
    if (match(name, "enc.blk.#.", n, &rest))
        return emit(out, size, t5_layer, rest, T5 "transformer.encoder.block.%d.", n[0]);
    return emit(out, size, t5_stems, name, T5 "transformer.%s", "");
}

/* Newer versions of transformers write the text encoder without its prefix, as the first did. */
static bool from_text(const char *p, const char *name, char *out, size_t size)
{
    bool bare = strncmp(name, "text_model.", 11) != 0 &&
                strncmp(name, "text_projection.", 16) != 0 && strncmp(name, "model.", 6) != 0;
    return emit(out, size, none, name, "%stransformer.%s", p, bare ? "text_model." : "");
}

static bool from_diffusers(const struct names_layout *layout, enum names_part part,
                           const char *name, char *out, size_t size)
{
    switch (part) {
    case NAMES_UNET:
        return layout->flux     ? from_flux(name, out, size)
               : layout->zimage ? from_zimage(name, out, size)
               : layout->sd3    ? from_sd3(name, out, size)
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
    if (match(name, "text_model.text_projection", NULL, &rest) && !*rest)
        return emit(out, size, none, "text_projection", "%stransformer.", p);
    return from_text(p, name, out, size);
}

static bool from_ldm(const char *name, char *out, size_t size)
{
    char whole[256];
    const char *rest, *first = names_prefix(NAMES_TEXT), *second = names_prefix(NAMES_TEXT_2);
    if (match(name, "cond_stage_model.1.transformer.", NULL, &rest))
        return from_cpp(second, rest, out, size);
    if (match(name, "cond_stage_model.transformer.", NULL, &rest) ||
        match(name, "conditioner.embedders.0.transformer.", NULL, &rest))
        return from_text(first, rest, out, size);
    if (match(name, "cond_stage_model.model.", NULL, &rest))
        return from_open_clip(first, rest, out, size);
    if (match(name, "conditioner.embedders.0.model.", NULL, &rest) ||
        match(name, "conditioner.embedders.1.model.", NULL, &rest))
        return from_open_clip(second, rest, out, size);
    if (match(name, "text_encoders.clip_l.transformer.", NULL, &rest))
        return from_text(first, rest, out, size);
    if (match(name, "text_encoders.clip_g.transformer.", NULL, &rest))
        return from_text(second, rest, out, size);
    if (match(name, "vae.", NULL, &rest))
        return emit(out, size, none, rest, "first_stage_model.%s", "");
    if (match(name, "text_encoders.", NULL, &rest) && (rest = strstr(rest, ".transformer.model.")))
        return from_language(first, rest + strlen(".transformer."), out, size);
    /* A VAE in a file that ComfyUI put together. */
    if (match(name, "vae.", NULL, &rest))
        return emit(whole, sizeof whole, none, rest, "first_stage_model.") &&
               from_ldm(whole, out, size);
    /* FLUX.2's, by Black Forest Labs. */
    if (match(name, "first_stage_model.encoder.quant_conv.", NULL, &rest))
        return emit(out, size, none, rest, "first_stage_model.%s", "quant_conv.");
    if (match(name, "first_stage_model.decoder.post_quant_conv.", NULL, &rest))
        return emit(out, size, none, rest, "first_stage_model.%s", "post_quant_conv.");
    return emit(out, size, none, name, "%s", "");
}

bool names_to_ldm(const struct names_layout *layout, enum names_part part, const char *name,
                  char *out, size_t size)
{
    char full[256];
    const char *prefix = names_prefix(part), *rest;
    if (part == NAMES_UNET && (strcmp(name, "v_pred") == 0 || strcmp(name, "ztsnr") == 0))
        return emit(out, size, none, name, "%s", ""); /* how it was trained */
    if (part == NAMES_UNET && match(name, "control_model.", NULL, &rest))
        return emit(out, size, none, rest, "%s", prefix);
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
    return emit(full, sizeof full, none, name, "%s", prefix) && from_ldm(full, out, size);
}
