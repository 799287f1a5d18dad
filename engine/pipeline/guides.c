#include "engine/pipeline/guides.h"

#include "engine/io/image.h"
#include "engine/pipeline/canvas.h"

#define MOST_WEIGHT 10

bool guides_check(const struct pictor_params *p, size_t nets, struct err *err)
{
    if (p->control_count != nets)
        return err_set(err, ERR_INVALID, "controls: %zu pictures for %zu ControlNets",
                       p->control_count, nets);
    for (size_t i = 0; i < p->control_count; i++) {
        const struct pictor_control *c = &p->controls[i];
        if (!c->image || !(c->weight >= 0 && c->weight <= MOST_WEIGHT) ||
            !(c->start >= 0 && c->start <= c->end && c->end <= 1) || c->say > PICTOR_SAY_CONTROL)
            return err_set(err, ERR_INVALID,
                           "controls: number %zu wants a picture, a weight of 0..%d, and a start "
                           "and an end of 0..1, and a known say",
                           i + 1, MOST_WEIGHT);
    }
    return true;
}

/* A mask as it lies over the picture. `out` is owned. */
static bool fit_mask(const struct canvas *canvas, const struct pictor_image *mask,
                     enum pictor_fit fit, int width, int height, struct pictor_image *out,
                     struct err *err)
{
    struct pictor_image grey;
    if (!canvas_mask_read(mask, &grey, err))
        return false;
    bool ok = canvas_fit_beside(canvas, &grey, fit, width, height, out, err);
    pictor_image_free(&grey);
    return ok;
}

static bool show(const struct canvas *canvas, const struct pictor_control *c, int width, int height,
                 float *out, struct err *err)
{
    size_t pixels = (size_t)width * (size_t)height;
    struct pictor_image colours, fitted;
    if (!image_convert(c->image, 3, &colours, err))
        return false;
    bool ok = canvas_fit_beside(canvas, &colours, c->fit, width, height, &fitted, err);
    pictor_image_free(&colours);
    if (!ok)
        return false;
    for (size_t k = 0; k < 3 * pixels; k++)
        out[k] = (float)fitted.pixels[k] / 255;
    pictor_image_free(&fitted);
    if (!c->hidden)
        return true;
    if (!fit_mask(canvas, c->hidden, c->fit, width, height, &fitted, err))
        return false;
    for (size_t k = 0; k < 3 * pixels; k++)
        if (fitted.pixels[k / 3] > 127)
            out[k] = -1;
    pictor_image_free(&fitted);
    return true;
}

/* A latent pixel is led as much as its pixels are on average. */
static bool lead(const struct canvas *canvas, const struct pictor_control *c, int width, int height,
                 int factor, float *out, struct err *err)
{
    struct pictor_image fitted;
    if (!fit_mask(canvas, c->region, c->fit, width, height, &fitted, err))
        return false;
    for (int y = 0; y < height / factor; y++)
        for (int x = 0; x < width / factor; x++) {
            int sum = 0;
            for (int k = 0; k < factor * factor; k++)
                sum += fitted.pixels[(size_t)(y * factor + k / factor) * (size_t)width +
                                     (size_t)(x * factor + k % factor)];
            *out++ = (float)sum / (float)(255 * factor * factor);
        }
    pictor_image_free(&fitted);
    return true;
}

bool guides_new(struct guides *g, struct ops *o, const struct pictor_params *p,
                const struct canvas *canvas, int width, int height, int factor, struct err *err)
{
    size_t n = (size_t)width * (size_t)height, latents = n / (size_t)(factor * factor);
    *g = (struct guides){.at = {NULL}};
    for (size_t i = 0; i < p->control_count; i++) {
        const struct pictor_control *c = &p->controls[i];
        float *picture = arena_alloc(o->arena, 3 * n, sizeof *picture);
        float *region = c->region ? arena_alloc(o->arena, latents, sizeof *region) : NULL;
        g->at[i] = picture;
        g->regions[i] = region;
        if (arena_planning(o->arena))
            continue;
        if (!show(canvas, c, width, height, picture, err) ||
            (region && !lead(canvas, c, width, height, factor, region, err)))
            return false;
    }
    return true;
}
