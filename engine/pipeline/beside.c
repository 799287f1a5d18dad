#include "engine/pipeline/beside.h"

#include <math.h>

/* The canvas's picture as a family takes it. In a second pass it may be the smaller one. */
static const float *picture_of(struct ops *o, const struct canvas *canvas, size_t width,
                               size_t height)
{
    float *floats = arena_alloc(o->arena, 3 * width * height, sizeof *floats);
    const struct pictor_image *image = &canvas->image;
    size_t w = (size_t)image->width, h = (size_t)image->height;
    for (size_t y = 0; y < height && !arena_planning(o->arena); y++)
        for (size_t x = 0; x < width; x++) {
            const uint8_t *from = image->pixels + 3 * (y * h / height * w + x * w / width);
            for (size_t k = 0; k < 3; k++)
                floats[3 * (y * width + x) + k] = (float)from[k] / 127.5f - 1;
        }
    return floats;
}

const float *beside_new(const struct family_model *m, struct ops *o, const struct pictor_params *p,
                        const struct canvas *canvas, const struct latent *latent, bool from_latent)
{
    size_t more = (size_t)m->facts.beside, factor = (size_t)m->facts.factor;
    size_t width = (size_t)latent->width * factor, height = (size_t)latent->height * factor;
    if (!more)
        return NULL;
    bool dry = arena_planning(o->arena);
    float *out =
        arena_alloc(o->arena, (size_t)latent->width * (size_t)latent->height * more, sizeof *out);
    size_t mark = arena_mark(o->arena);
    double weight = isnan(p->mask_weight) ? 1 : p->mask_weight;
    struct family_source source = {latent->width, latent->height, NULL, NULL, p, weight};
    if (p->init) {
        source.picture = picture_of(o, canvas, width, height);
    } else if (from_latent && weight < 1) {
        float *picture = arena_alloc(o->arena, 3 * width * height, sizeof *picture);
        m->family->decode(m, o, latent->at, latent->height, latent->width, picture);
        source.picture = picture;
    }
    if (dry ? p->mask != NULL : canvas->mask != NULL) {
        float *mask = arena_alloc(o->arena, width * height, sizeof *mask);
        if (!dry)
            canvas_area(canvas, (int)width, (int)height, mask);
        source.mask = mask;
    }
    m->family->beside(m, o, &source, out);
    arena_reset(o->arena, mark);
    return out;
}
