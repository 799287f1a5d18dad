#include "engine/io/names_flow.h"

#include <stdio.h>

#include "engine/io/names_swap.h"

/* FLUX.1's and FLUX.2's transformers. */
static const struct names_swap flux_stems[] = {
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
static const struct names_swap flux_double[] = {
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
static const struct names_swap flux_single[] = {
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
static const struct names_swap zimage_stems[] = {
    {"all_x_embedder.2-1.", "x_embedder."},
    {"all_final_layer.2-1.", "final_layer."},
    {NULL, NULL},
};

/* Behind "layers.N.", "noise_refiner.N." and "context_refiner.N." */
static const struct names_swap zimage_block[] = {
    {"attention.to_q.", "attention.q."},
    {"attention.to_k.", "attention.k."},
    {"attention.to_v.", "attention.v."},
    {"attention.to_out.0.", "attention.out."},
    {"attention.norm_q.", "attention.q_norm."},
    {"attention.norm_k.", "attention.k_norm."},
    {NULL, NULL},
};

/* Stable Diffusion 3's transformer; what comes last is called as FLUX's. */
static const struct names_swap sd3_stems[] = {
    {"pos_embed.proj.", "x_embedder.proj."},
    {"pos_embed.pos_embed", "pos_embed"},
    {"context_embedder.", "context_embedder."},
    {"time_text_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0."},
    {"time_text_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2."},
    {"time_text_embed.text_embedder.linear_1.", "y_embedder.mlp.0."},
    {"time_text_embed.text_embedder.linear_2.", "y_embedder.mlp.2."},
    {NULL, NULL},
};

/* Behind "transformer_blocks.N." */
static const struct names_swap sd3_block[] = {
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

static bool from_flux(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    const char *p = "model.diffusion_model";
    if (names_swap_match(name, "transformer_blocks.#.", n, &rest))
        return names_swap_emit(out, size, flux_double, rest, "%s.double_blocks.%d.", p, n[0]);
    if (names_swap_match(name, "single_transformer_blocks.#.", n, &rest))
        return names_swap_emit(out, size, flux_single, rest, "%s.single_blocks.%d.", p, n[0]);
    return names_swap_emit(out, size, flux_stems, name, "%s.", p);
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
        if (names_swap_match(name, pattern, n, &rest))
            return names_swap_emit(out, size, zimage_block, rest, "%s.%s.%d.", p, kinds[i], n[0]);
    }
    return names_swap_emit(out, size, zimage_stems, name, "%s.", p);
}

static bool from_sd3(const char *name, char *out, size_t size)
{
    int n[1];
    const char *rest;
    const char *p = "model.diffusion_model";
    if (names_swap_match(name, "transformer_blocks.#.", n, &rest))
        return names_swap_emit(out, size, sd3_block, rest, "%s.joint_blocks.%d.", p, n[0]);
    for (const struct names_swap *s = sd3_stems; s->from; s++)
        if (names_swap_match(name, s->from, n, &rest))
            return names_swap_emit(out, size, sd3_stems, name, "%s.", p);
    return names_swap_emit(out, size, flux_stems, name, "%s.", p);
}

bool names_flow_to_ldm(const struct names_layout *layout, const char *name, char *out, size_t size)
{
    return layout->flux     ? from_flux(name, out, size)
           : layout->zimage ? from_zimage(name, out, size)
                            : from_sd3(name, out, size);
}

bool names_flow_back(const char *name, int nth, char *out, size_t size)
{
    static const struct {
        const char *pattern, *start;
        const struct names_swap *swaps;
    } blocks[] = {
        {"double_blocks.#.", "transformer_blocks", flux_double},
        {"single_blocks.#.", "single_transformer_blocks", flux_single},
        {"joint_blocks.#.", "transformer_blocks", sd3_block},
        {"layers.#.", "layers", zimage_block},
        {"noise_refiner.#.", "noise_refiner", zimage_block},
        {"context_refiner.#.", "context_refiner", zimage_block},
    };
    int n[1];
    const char *rest;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (names_swap_match(name, blocks[i].pattern, n, &rest)) {
            char start[64];
            snprintf(start, sizeof start, "%s.%d.", blocks[i].start, n[0]);
            return names_swap_back(out, size, blocks[i].swaps, rest, start, &nth);
        }
    return names_swap_back(out, size, flux_stems, name, "", &nth) ||
           names_swap_back(out, size, zimage_stems, name, "", &nth) ||
           names_swap_back(out, size, sd3_stems, name, "", &nth);
}
