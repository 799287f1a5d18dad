/* canvas.h: the pixel side of painting over a picture.
 *
 * canvas_prepare turns an initial picture of any size and a mask into what the model works on: RGB
 * pixels of exactly width x height and a mask over latent pixels. canvas_finish puts the painted
 * result back: scaled into its region when only the mask's surroundings were painted, and composed
 * so that pixels outside the mask are the input's, bit for bit.
 *
 *     struct canvas canvas;
 *     canvas_prepare(params, factor, &canvas, &err);
 *     init = encode(canvas.image); noise, sample with canvas.mask, decode -> painted
 *     canvas_finish(&canvas, &painted, &out, &err);
 *     canvas_free(&canvas);
 *
 * Rules are the SD WebUI's (resize_mode, inpainting_fill, inpaint_full_res). Not thread-safe. */
#ifndef PICTOR_ENGINE_PIPELINE_CANVAS_H
#define PICTOR_ENGINE_PIPELINE_CANVAS_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

struct canvas {
    struct pictor_image image; /* RGB, params' width x height; filled under the mask as asked. If
                                  canvas_is_own, of its own size, but for what is no whole latent
                                  pixel at the right and below */
    float *mask; /* [mask_height, mask_width] 1: repaint, 0: keep; NULL: repaint all. Between them
                    where it is soft */
    int mask_width, mask_height; /* latent pixels of params' width x height */
    struct pictor_image area;    /* grey, as `image`: that mask over pixels; empty without one */
    bool soft;                   /* the masks are 0..1 */
    enum pictor_fill fill; /* with a mask: FILL_NOISE asks for init = init * (1 - mask) + mask *
                              first draw of the seed, FILL_NOTHING for init * (1 - mask) */

    /* For canvas_finish. */
    struct pictor_image original; /* RGB, at the size of the result; empty without a mask */
    struct pictor_image overlay;  /* grey, same size: 255 shows the painting, 0 the original */
    int x, y, width, height;      /* where the painting goes in it */
    bool part;                    /* which is not the whole of it */
};

/* Resizes: FIT_STRETCH and FIT_LATENT to the size, FIT_CROP so that it covers it (what sticks out
 * is cut off), FIT_PAD so that it fits into it (the edges are drawn out). Centred. `out` is
 * owned. */
bool canvas_fit(const struct pictor_image *in, enum pictor_fit mode, int width, int height,
                struct pictor_image *out, struct err *err);

/* A mask as grey, where 255 is meant: what is white, or, in one with a transparent part, what is
 * not. `out` is owned. */
bool canvas_mask_read(const struct pictor_image *in, struct pictor_image *out, struct err *err);

/* A picture that goes with the whole of it, as what is worked on has it: fitted, or, where the
 * mask's surroundings alone are painted, fitted to the whole and cut out as they are. `out` is
 * owned. */
bool canvas_fit_beside(const struct canvas *canvas, const struct pictor_image *in,
                       enum pictor_fit mode, int width, int height, struct pictor_image *out,
                       struct err *err);

/* Whether the picture is encoded at its own size: FIT_LATENT, no mask, and large enough for it. */
bool canvas_is_own(const struct pictor_params *params);

/* Needs params->init. A latent pixel is `factor` pixels a side. Fails on pictures of no size or odd
 * channels and on mask_blur out of range; `canvas` is then empty. An empty mask with mask_only_area
 * means no mask at all. */
bool canvas_prepare(const struct pictor_params *params, int factor, struct canvas *canvas,
                    struct err *err);

/* Bytes that a prepared canvas holds at most. */
size_t canvas_bytes(const struct pictor_params *params);

/* The mask for a latent of another size, not larger: the most of what lies there. Needs
 * canvas->mask. out: [height, width]. */
void canvas_mask(const struct canvas *canvas, int width, int height, float *out);

/* The mask over pixels, of width x height that need not be params': 1 or 0, between them where it
 * is soft. */
void canvas_area(const struct canvas *canvas, int width, int height, float *out);

/* `painted` is RGB of params' width x height. `out` is owned by the caller. */
bool canvas_finish(const struct canvas *canvas, const struct pictor_image *painted,
                   struct pictor_image *out, struct err *err);

void canvas_free(struct canvas *canvas);

#endif
