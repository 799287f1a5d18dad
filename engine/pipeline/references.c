#include "engine/pipeline/references.h"

#include <math.h>

#include "engine/io/image.h"
#include "engine/pipeline/canvas.h"

/* diffusers' bounds of what FLUX.2 is shown; FLUX.1 Kontext was trained on pictures of as many
 * pixels. */
#define MOST_PIXELS (1024.0 * 1024)
#define LEAST_SIDE 64
#define MOST_ASPECT 8

bool references_check(const struct family_facts *facts, const struct pictor_params *p,
                      struct err *err)
{
    int most = facts->info.references, own = most && p->init && p->strength >= 1;
    if (p->reference_count > (size_t)(most - own))
        return err_set(err, ERR_INVALID,
                       "references: this model is shown at most %d pictures%s, "
                       "got %zu",
                       most, own ? ", that which is begun from among them" : "",
                       p->reference_count + (size_t)own);
    for (size_t i = 0; i < p->reference_count; i++) {
        const struct pictor_image *image = p->references[i];
        int w = image ? image->width : 0, h = image ? image->height : 0;
        if (w < LEAST_SIDE || h < LEAST_SIDE || (int64_t)w > (int64_t)MOST_ASPECT * h ||
            (int64_t)h > (int64_t)MOST_ASPECT * w)
            return err_set(err, ERR_INVALID,
                           "references: number %zu is %d x %d: wanted sides of %d pixels or more, "
                           "neither more than %d times the other",
                           i + 1, w, h, LEAST_SIDE, MOST_ASPECT);
    }
    return true;
}

/* A side of a picture that is shown, in latent pixels; it is a multiple of what the network paints.
 */
static int shown(int side, double scale, const struct family_facts *facts)
{
    int pixels = (int)floor(side * scale + 1e-9), multiple = facts->multiple;
    return (pixels < multiple ? 1 : pixels / multiple) * (multiple / facts->factor);
}

static bool encode(struct ops *o, const struct family_model *m, const struct pictor_image *image,
                   struct family_reference *out, struct err *err)
{
    const struct family_facts *facts = &m->facts;
    double pixels = (double)image->width * image->height;
    double scale = pixels > MOST_PIXELS ? sqrt(MOST_PIXELS / pixels) : 1;
    int w = shown(image->width, scale, facts), h = shown(image->height, scale, facts);
    size_t n = (size_t)w * (size_t)h, f = (size_t)facts->factor;
    float *latent = arena_alloc(o->arena, n * (size_t)facts->channels, sizeof *latent);
    size_t mark = arena_mark(o->arena);
    float *floats = arena_alloc(o->arena, 3 * n * f * f, sizeof *floats);
    if (!arena_planning(o->arena)) {
        struct pictor_image rgb, fitted;
        if (!image_convert(image, 3, &rgb, err))
            return false;
        bool ok =
            canvas_fit(&rgb, PICTOR_FIT_CROP, w * facts->factor, h * facts->factor, &fitted, err);
        pictor_image_free(&rgb);
        if (!ok)
            return false;
        for (size_t i = 0; i < 3 * n * f * f; i++)
            floats[i] = (float)fitted.pixels[i] / 127.5f - 1;
        pictor_image_free(&fitted);
    }
    m->family->encode(m, o, floats, h, w, latent);
    arena_reset(o->arena, mark);
    *out = (struct family_reference){latent, h, w};
    return true;
}

bool references_new(struct references *r, struct ops *o, const struct family_model *m,
                    const struct pictor_params *p, struct err *err)
{
    r->count = 0;
    bool wraps = device_wrap(o->dev, false); /* they end where they end */
    bool ok = true;
    for (size_t i = 0; ok && m->facts.info.references && i < p->reference_count; i++)
        ok = encode(o, m, p->references[i], &r->at[r->count++], err);
    device_wrap(o->dev, wraps);
    return ok;
}
