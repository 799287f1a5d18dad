/* stable_control.h: the ControlNets of a Stable Diffusion model, and what they do for a picture. */
#ifndef PICTOR_ENGINE_FAMILY_STABLE_CONTROL_H
#define PICTOR_ENGINE_FAMILY_STABLE_CONTROL_H

#include "engine/family/family.h"
#include "engine/model/controlnet.h"

/* Starts as {0}. */
struct stable_control {
    struct controlnet *nets[PICTOR_CONTROLS_MAX];
    struct checkpoint *files[PICTOR_CONTROLS_MAX]; /* whose mappings hold what stays quantised */
    size_t count, bytes;
};

/* From now on these, and no others; on failure none. */
bool stable_control_load(struct stable_control *c, struct device *dev,
                         const struct unet_config *unet, const struct pictor_control_file *files,
                         size_t count, struct err *err);
void stable_control_free(struct stable_control *c);

/* What they know of a picture and its words; starts as {0}. */
struct stable_guides {
    const struct stable_control *nets;
    const struct pictor_control *wanted;
    const double *done;
    const float *const *regions;
    size_t count;
    int led; /* pictures of the batch, the first ones, that are not what is led away from */
    struct unet_prompt *prompts[PICTOR_CONTROLS_MAX];
    /* Of those alone, of nets that lead no others; NULL: prompts has them. */
    struct unet_prompt *alone[PICTOR_CONTROLS_MAX];
    struct tensor hints[PICTOR_CONTROLS_MAX];
};

/* The context and label are as unet_prompt_new has them, of the prompts in `words`, of which those
 * that are negative come last. In the arena, but for what stable_control_end frees. */
bool stable_control_begin(struct stable_guides *g, const struct stable_control *nets, struct ops *o,
                          const struct family_picture *picture, const struct family_words *words,
                          int b, const float *context, const float *label, struct err *err);
/* Of the first prompt alone. */
bool stable_control_first(struct stable_guides *first, const struct stable_guides *g,
                          struct err *err);
void stable_control_end(struct stable_guides *g);

/* What the network is to add, made in the arena; NULL: nothing leads at this time. */
const struct unet_residuals *stable_control_run(struct ops *o, const struct stable_guides *g,
                                                const float *x, int h, int w, float t,
                                                struct unet_residuals *out);

#endif
