/* names.h: tensor names of the diffusers layout in terms of the single-file ("LDM") layout.
 *
 * Both name the same weights. LDM numbers a UNet's blocks through all levels, so a translation
 * needs to know how many blocks a level has: names_scan learns that from the names themselves. */
#ifndef PICTOR_ENGINE_IO_NAMES_H
#define PICTOR_ENGINE_IO_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* The ending of a file's name, in lower case, if files that hold a model have it: ".safetensors",
 * ".ckpt"... NULL: it has another one, or nothing in front of it. */
const char *names_ending(const char *file);

/* What a file holds. The networks come first, as names_folder counts them. */
enum names_part { NAMES_UNET, NAMES_VAE, NAMES_TEXT, NAMES_TEXT_2, NAMES_TEXT_3, NAMES_WHOLE };

/* The folder of a network in a diffusers folder, "unet"; NULL past the last network. */
const char *names_folder(int part);

/* What the LDM names of a network begin with, "model.diffusion_model."; "" of NAMES_WHOLE. */
const char *names_prefix(enum names_part part);

/* What a name alone does not say; starts as {0}. */
struct names_layout {
    /* Of a network's file: it is in diffusers' layout, or in LDM's with the prefix; then whatever
     * lacks that is no part of the network. */
    bool diffusers, prefixed;
    bool flux;   /* a UNet's file: FLUX's transformer in diffusers' layout */
    bool zimage; /* the same: Z-Image's */
    bool sd3;    /* the same: Stable Diffusion 3's */
    bool tiny,
        numbered;    /* a VAE's file: the tiny autoencoder's; an encoder named by numbers alone */
    bool language;   /* a text encoder's file: a language model's */
    bool t5;         /* the same: T5's */
    int unet_blocks; /* resnets a level on the way down */
    int vae_levels;
    unsigned up_attention; /* bit i: up_blocks.i of the UNet has attention */
};

/* What the LDM names of a file's tensors begin with, once its names were scanned: the prefix of its
 * part, or T5's. */
const char *names_layout_prefix(const struct names_layout *layout, enum names_part part);

/* Learns from one name; to be called with every name of a file before the first translation. */
void names_scan(struct names_layout *layout, enum names_part part, const char *name);

/* The LDM name of a tensor: of "down_blocks.0.resnets.0..." in a diffusers UNet it is
 * "model.diffusion_model.input_blocks.1.0...". False for a name that has no place there, and when
 * `out` is too small.
 *
 * A tiny autoencoder (TAESD) in a VAE's file is no LDM name's: it is "tae.decoder.N..." and
 * "tae.encoder.N...", layers counted as diffusers does; files named by numbers alone hold one half.
 *
 * FLUX.1's and FLUX.2's transformers stand for a UNet; their names are Black Forest Labs' under the
 * UNet's prefix. What is one weight there and three or four in diffusers' layout is "img_attn.q.",
 * "k." and "v.", in a single block "q.", "k.", "v." and "mlp."; what has its halves the other way
 * round there is "final_layer.scale_shift.".
 *
 * So does Z-Image's, whose names are ComfyUI's; what is one weight there ("attention.qkv.") and
 * three in diffusers' layout is "attention.q.", "k." and "v.".
 *
 * Stable Diffusion 3's transformer stands for a UNet, too; its names are Stability's, with the same
 * exceptions: "x_block.attn.q.", and "final_layer.scale_shift.".
 *
 * Marks of how a UNet was trained ("v_pred", "ztsnr") stay what they are.
 *
 * A ControlNet is given as a UNet by itself, of which it has half: "control_model." goes, and its
 * own names are LDM's ("zero_convs.0.0.", "input_hint_block.0.") under the UNet's prefix.
 *
 * A network by itself may be in the diffusers layout (both kinds of VAE attention names, query and
 * to_q, and text encoder names with or without "text_model." are known) or in LDM's, with or
 * without the prefix. Of a whole file's names those of text encoders are brought to one form: of
 * the first SD 1.x files, which lack "text_model.", of OpenCLIP's (SD 2.x) and of SDXL's two, of
 * which OpenAI's is called as in SD 1.x and OpenCLIP's "conditioner.embedders.1.transformer.", in
 * the refiner too ("cond_stage_model.1.transformer." of stable-diffusion.cpp's is that). Others
 * stay what they are.
 *
 * A language model as text encoder is called as in transformers behind "cond_stage_model.
 * transformer.model.": "layers.N.self_attn.q_proj.weight", "embed_tokens.weight". By itself it may
 * lack "model.", or be llama.cpp's ("blk.N.attn_q.weight"); in a whole file it is any
 * "text_encoders.NAME.transformer.model.", and a VAE there may be "vae." What maps states to words
 * has no place here.
 *
 * T5 as text encoder, whichever it is, is called as in transformers behind
 * "text_encoders.t5xxl.transformer.": "encoder.block.N.layer.0.SelfAttention.q.weight"; by itself
 * it may be llama.cpp's ("enc.blk.N.attn_q.weight"). Its decoder has no place here. */
bool names_to_ldm(const struct names_layout *layout, enum names_part part, const char *name,
                  char *out, size_t size);

#endif
