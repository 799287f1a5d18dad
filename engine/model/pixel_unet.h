/* pixel_unet.h: the UNet of unconditional diffusion over pixels (Ho et al. 2020), which diffusers
 * calls UNet2DModel: resnets, plain self-attention where its names say so, no prompt. Read by the
 * names that unet.h has ("model.diffusion_model."); what names do not tell is in a configuration.
 */
#ifndef PICTOR_ENGINE_MODEL_PIXEL_UNET_H
#define PICTOR_ENGINE_MODEL_PIXEL_UNET_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define PIXEL_UNET_LEVELS 8
#define PIXEL_UNET_BLOCKS 64

struct pixel_unet_config {
    int channels;                                 /* of a picture: as many in as out */
    int levels, width[PIXEL_UNET_LEVELS], blocks; /* resnets a level going down; one more up */
    int time_dim;
    /* Which blocks have attention, numbered as in names; in the middle. */
    bool in_attention[PIXEL_UNET_BLOCKS], out_attention[PIXEL_UNET_BLOCKS], mid_attention;

    /* From the configuration. */
    int groups;         /* of every group norm */
    float eps;          /* of them */
    int head;           /* channels of an attention head; 0: all are one head */
    double freq_shift;  /* of the timestep's sinusoids, of which the half that comes first are */
    bool cosines_first; /* these */
    bool pad_end;       /* halving adds zeros right and below alone */
    bool centre;        /* what comes in is 0..1 */
};

/* Sizes from names and shapes, and the checkpoint's configuration. */
bool pixel_unet_read(const struct checkpoint *cp, struct pixel_unet_config *out, struct err *err);

struct pixel_unet;

/* As unet_load. */
struct pixel_unet *pixel_unet_load(struct device *dev, const struct checkpoint *cp,
                                   const struct pixel_unet_config *config, struct weights *weights,
                                   struct err *err);
void pixel_unet_free(struct pixel_unet *u);

/* y [h, w, channels] = what the network says of x at timestep t. y may be x. */
void pixel_unet_forward(struct ops *o, const struct pixel_unet *u, const float *x, int h, int w,
                        double t, float *y);

#endif
