/* zimage.h: the transformer of Z-Image (Tongyi-MAI 2025): what is to be taken from a latent of 16
 * channels, of which 2x2 pixels are a token, beside the tokens of words.
 *
 * All tokens share one kind of block. Those of the picture go through some blocks of their own
 * first, and those of the words through some that the time says nothing to, so that these are made
 * once a prompt. Either are filled up to a multiple of ZIMAGE_FILL with a token that was learnt,
 * and that is seen as any other. What the time says of a block are scales and gates, no shifts, and
 * there is a norm on either side of attention and feed-forward. Positions have three numbers: the
 * place of a word, behind them all the picture, and its row and column.
 *
 * No sizes are fixed: they come from names and shapes. */
#ifndef PICTOR_ENGINE_MODEL_ZIMAGE_H
#define PICTOR_ENGINE_MODEL_ZIMAGE_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define ZIMAGE_PATCH 2 /* pixels of a latent a token has, a side */
#define ZIMAGE_FILL 32

struct zimage_config {
    int channels; /* of a latent */
    int width, heads, head;
    int inside;                  /* of a feed-forward */
    int text;                    /* channels of a word */
    int time, time_inside;       /* what blocks are told of the time, and what that is made in */
    int layers, pictures, words; /* blocks of all, of the picture alone, of the words alone */
};

/* Sizes from the names and shapes of "model.diffusion_model.": ComfyUI's names, or what names.h
 * makes of diffusers'. */
bool zimage_read(const struct checkpoint *cp, struct zimage_config *out, struct err *err);

struct zimage;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. `cp` NULL: of
 * zeros, for a hollow device. Returns owned. */
struct zimage *zimage_load(struct device *dev, const struct checkpoint *cp,
                           const struct zimage_config *config, struct weights *weights,
                           struct err *err);
void zimage_free(struct zimage *m);

/* out [all, config.width] = what the blocks of the words make of `tokens` states [tokens,
 * config.text] and of as many that fill up: `all` is `tokens`, or the next multiples of
 * ZIMAGE_FILL. */
void zimage_words(struct ops *o, const struct zimage *m, const float *states, int tokens, int all,
                  float *out);

/* What is the same in every step of a picture, in the arena, as long as it lies there. */
struct zimage_call {
    int tokens;              /* of the words */
    int height, width;       /* of the latent */
    int own, filled;         /* tokens of the latent, without and with what fills up */
    struct tensor text, pad; /* as the blocks take them; no pad: not made */
    float *cos, *sin;        /* [filled + tokens, head / 2] */
};

/* `words` [tokens, config.width]: of zimage_words. Sides of the latent are multiples of
 * ZIMAGE_PATCH. Pointers to numbers are not touched while planning. */
void zimage_begin(struct ops *o, const struct zimage *m, const float *words, int tokens, int height,
                  int width, struct zimage_call *out);

/* y [height, width, channels] = the velocity (noise - picture) of x at time t, 0..1000, where 1000
 * is all noise. */
void zimage_forward(struct ops *o, const struct zimage *m, const struct zimage_call *call,
                    const float *x, double t, float *y);

#endif
