/* stable.h: what the Stable Diffusion families have in common: one or two CLIP text encoders, a
 * UNet and an autoencoder. A family says how they are made; the functions below fill its table. */
#ifndef PICTOR_ENGINE_FAMILY_STABLE_H
#define PICTOR_ENGINE_FAMILY_STABLE_H

#include "engine/family/conditioning.h"
#include "engine/family/family.h"
#include "engine/model/clip.h"
#include "engine/model/tae.h"
#include "engine/model/unet.h"
#include "engine/model/vae.h"

/* Linear in their square root between these: what SD 1.x, 2.x and XL were trained on. */
#define STABLE_BETA_START 0.00085
#define STABLE_BETA_END 0.012

/* What the UNet is shown of what it paints over, in channels beside the latent's. */
enum stable_beside {
    STABLE_NOTHING,
    STABLE_MASKED, /* the mask, and the latent of what it leaves: the inpainting models */
    STABLE_EDITED  /* the latent of the whole, not scaled (InstructPix2Pix: Brooks et al. 2023) */
};

struct stable_config {
    /* Text encoders; whose layers are read is told as conditioning.h has it. */
    int encoders;
    struct clip_config clip[CONDITIONING_ENCODERS];
    int pad[CONDITIONING_ENCODERS], skip[CONDITIONING_ENCODERS];
    struct unet_config unet;
    enum stable_beside beside;
    struct vae_config vae;
    bool tiny;             /* the checkpoint has a tiny autoencoder, which decodes, */
    struct tae_config tae; /* and which encodes too if it can */
    /* The UNet's label: what the last text encoder pools, and sinusoids of `numbers` numbers, each
     * `number_dim` wide: heights and widths of the picture that was asked for, where it was cut
     * out, and either its size or (5 numbers) how beautiful it is. */
    int numbers, number_dim;
    bool zero_empty; /* an empty negative prompt is zeros, not what encoders make of it */
    enum schedule_prediction prediction;
    bool zero_terminal; /* see schedule_zero_terminal */
    bool sdxl;          /* figures that were fitted to SDXL: of previews, and Align Your Steps */
    /* Composing small: see compose.h. */
    int compose_side;
    double detail_strength;
};

/* Whether a checkpoint has a UNet with one text encoder that is known by no other name, and whose
 * spatial transformers begin with a linear layer, as in SD 2.x, or with a convolution. */
bool stable_is_unet(const struct checkpoint *cp, bool linear);

/* Reads the sizes of the networks, and checks that they fit each other: 4 latent channels, text as
 * wide as the UNet takes it. The text encoders are those whose names begin with `roots`, which ends
 * with a NULL; `name` ("SD 1.x") is for messages. */
bool stable_read(const struct checkpoint *cp, const char *name, const char *const *roots,
                 struct stable_config *out, struct err *err);

/* Whether the text encoders have the layers that `skip` says are read. */
bool stable_check_layers(const struct stable_config *config, struct err *err);

/* What the checkpoint says that its network predicts: by a tensor "v_pred", else in a folder's
 * scheduler, else in the file's metadata; false: nowhere. */
bool stable_says_prediction(const struct checkpoint *cp, enum schedule_prediction *out);

/* Whether an SD 2.x UNet predicts v, by its weights. */
bool stable_looks_like_v(const struct checkpoint *cp, const struct unet_config *unet);

/* The facts that follow from the configuration; not those of family_describe. */
struct family_facts stable_facts(const struct stable_config *config);

/* `facts` is what the family's `read` gave. Returns owned. */
struct family_model *stable_open(const struct family *family, struct device *dev,
                                 const struct checkpoint *cp, const struct stable_config *config,
                                 const struct family_facts *facts, struct err *err);

/* UNet and autoencoder alone, for a hollow device. Returns owned. */
struct family_model *stable_sketch(const struct family *family, struct device *dev,
                                   const struct stable_config *config, struct err *err);

/* The functions of the table. */
void stable_free(struct family_model *m);
bool stable_merge(struct family_model *m, const struct pictor_lora *loras, size_t count,
                  struct err *err);
void stable_rest(struct family_model *m);
bool stable_wake(struct family_model *m, struct err *err);
bool stable_model_control(struct family_model *m, const struct pictor_control_file *files,
                          size_t count, struct err *err);
bool stable_embed(struct family_model *m, const struct pictor_embedding *list, size_t count,
                  struct err *err);
bool stable_model_tiny(struct family_model *m, const struct pictor_control_file *file,
                       struct err *err);
void stable_schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out);
bool stable_fit(const struct family_model *m, const struct pictor_params *asked,
                struct family_fitted *fitted);
bool stable_words(struct family_model *m, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err);
struct family_call *stable_call_new(const struct family_model *m, struct ops *o,
                                    const struct family_picture *picture,
                                    const struct family_words *words, int b, struct err *err);
struct family_call *stable_call_first(const struct family_call *call, struct err *err);
void stable_call_free(struct family_call *call);
void stable_predict(const struct family_model *m, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y);
void stable_beside(const struct family_model *m, struct ops *o, const struct family_source *source,
                   float *out);
void stable_decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture);
void stable_encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent);
void stable_preview(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                    float *picture);

#endif
