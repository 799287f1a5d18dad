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
            !(c->start >= 0 && c->start <= c->end && c->end <= 1))
            return err_set(err, ERR_INVALID,
                           "controls: number %zu wants a picture, a weight of 0..%d, and a start "
                           "and an end of 0..1",
                           i + 1, MOST_WEIGHT);
    }
    return true;
}

bool guides_new(struct guides *g, struct ops *o, const struct pictor_params *p, int width,
                int height, struct err *err)
{
    size_t n = 3 * (size_t)width * (size_t)height;
    for (size_t i = 0; i < p->control_count; i++) {
        const struct pictor_control *c = &p->controls[i];
        struct pictor_image colours, fitted;
        float *floats = arena_alloc(o->arena, n, sizeof *floats);
        g->at[i] = floats;
        if (arena_planning(o->arena))
            continue;
        if (!image_convert(c->image, 3, &colours, err))
            return false;
        bool ok = canvas_fit(&colours, c->fit, width, height, &fitted, err);
        pictor_image_free(&colours);
        if (!ok)
            return false;
        for (size_t k = 0; k < n; k++)
            floats[k] = (float)fitted.pixels[k] / 255;
        pictor_image_free(&fitted);
    }
    return true;
}
