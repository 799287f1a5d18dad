/* lone.c: a UNet alone. Its header says what family it is of and what it is shown; what it reads
 * and what decodes for it are other files. */
#include "engine/family/lone.h"

#include <stdio.h>
#include <string.h>

#include "engine/family/stable.h"

/* Published text encoders' layers. */
#define LAYERS_L 12
#define LAYERS_H 23 /* without the last, which is not read */
#define WIDTH_L 768

/* The refiner's label is what its one text encoder pools, as wide as the words, and five numbers of
 * pairs of sinusoids; SDXL's words are wider than what is pooled, and its numbers are six. */
static bool is_refiner(const struct unet_config *u)
{
    int numbers = u->label_dim - u->context_dim;
    return numbers > 0 && numbers % 10 == 0;
}

static void choose(const struct checkpoint *cp, struct stable_config *c,
                   const struct family **family)
{
    int context = c->unet.context_dim;
    if (c->unet.label_dim > 0) {
        bool refiner = is_refiner(&c->unet);
        *family = refiner ? &family_sdxl_refiner : &family_sdxl;
        c->sdxl = true;
        c->clip[0].width = refiner ? context : WIDTH_L;
        c->clip[1].width = refiner ? 0 : context - WIDTH_L > 0 ? context - WIDTH_L : 0;
        c->clip[0].layers = refiner ? 0 : LAYERS_L;
        return;
    }
    bool second = stable_is_unet(cp, true);
    *family = second ? &family_sd2 : &family_sd1;
    c->clip[0].width = context;
    c->clip[0].layers = second ? LAYERS_H : LAYERS_L;
    if (!stable_says_prediction(cp, &c->prediction))
        c->prediction = second && stable_looks_like_v(cp, &c->unet) ? SCHEDULE_V : SCHEDULE_NOISE;
}

/* Flow transformers, and tensors that no other kind of file has, in one layout and the other. */
static const struct {
    const struct family *family;
    bool (*alone)(const struct checkpoint *cp);
    bool (*read)(const struct checkpoint *cp, struct family_facts *facts, struct err *err);
    const char *names[3]; /* NULL-terminated */
} transformers[] = {
    {&family_sd3,
     family_sd3_alone,
     family_sd3_read_alone,
     {"joint_blocks.0.x_block.mlp.fc1.weight", "pos_embed.pos_embed"}},
    {&family_flux1,
     family_flux1_alone,
     family_flux1_read_alone,
     {"double_blocks.0.img_mod.lin.weight", "single_transformer_blocks.0.norm.linear.weight"}},
    {&family_flux2,
     family_flux2_alone,
     family_flux2_read_alone,
     {"double_stream_modulation_img.lin.weight", "double_stream_modulation_img.linear.weight"}},
    {&family_zimage, family_zimage_alone, family_zimage_read_alone, {"x_pad_token"}},
};

const struct family *lone_read(const struct checkpoint *cp, struct family_facts *facts,
                               struct err *err)
{
    /* The autoencoder that all of these have: an eighth of the picture's sides. */
    struct stable_config c = {
        .vae = {.channels = 4, .levels = 4, .patch = 1, .encoder_channels = {128}}};
    const struct family *family;
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++)
        if (transformers[i].alone(cp))
            return transformers[i].read(cp, facts, err) ? transformers[i].family : NULL;
    if (!unet_read(cp, &c.unet, err))
        return NULL;
    int z = c.vae.channels, in = c.unet.in_channels;
    c.beside = in == 2 * z + 1 ? STABLE_MASKED : in == 2 * z ? STABLE_EDITED : STABLE_NOTHING;
    if ((!c.beside && in != z) || c.unet.out_channels != z) {
        err_set(err, ERR_UNSUPPORTED,
                "this is a UNet that takes %d channels and says %d: wanted %d to be said, of %d, "
                "of %d (InstructPix2Pix) or of %d (inpainting)",
                in, c.unet.out_channels, z, z, 2 * z, 2 * z + 1);
        return NULL;
    }
    choose(cp, &c, &family);
    *facts = stable_facts(&c);
    bool large = family == &family_sd2 && c.prediction == SCHEDULE_V;
    int side = c.sdxl ? 1024 : large ? 768 : 512;
    family_describe(cp, family, side, 7, 20, facts);
    return family;
}

/* In any layout. */
static bool is_transformer(const struct checkpoint *cp, const struct family **family)
{
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++)
        for (int k = 0; transformers[i].names[k]; k++)
            if (checkpoint_find(cp, transformers[i].names[k]) ||
                checkpoint_findf(cp, "model.diffusion_model.%s", transformers[i].names[k])) {
                *family = transformers[i].family;
                return true;
            }
    return false;
}

bool lone_is(const struct checkpoint *cp)
{
    static const char *const others[] = {"first_stage_model.", "cond_stage_model.", "conditioner.",
                                         "control_model."};
    const struct family *family;
    if (is_transformer(cp, &family)) /* Stable Diffusion 3 is published with its VAE */
        return (family == &family_sd3 ||
                (!checkpoint_has(cp, "first_stage_model.") && !checkpoint_has(cp, "vae."))) &&
               !checkpoint_has(cp, "conditioner.") && !checkpoint_has(cp, "cond_stage_model.") &&
               !checkpoint_has(cp, "text_encoders.");
    if (!checkpoint_has(cp, "input_blocks.") && !checkpoint_has(cp, "down_blocks.") &&
        !checkpoint_has(cp, "model.diffusion_model.input_blocks."))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (checkpoint_has(cp, others[i]))
            return false;
    for (size_t i = 0; i < checkpoint_count(cp); i++) /* what reads no words is another kind */
        if (strstr(checkpoint_at(cp, i)->name, ".attn2.to_k.weight"))
            return true;
    return false;
}
