#include "engine/family/compose.h"

#include <math.h>

#define MIN_SIDE 64 /* the pipeline's */
/* Of the built-in model's pictures: at 5:4, in its own shape, a dog has two noses already. */
#define SQUARE 1.125
/* How much the second pass of a wide canvas may change: enough that what was drawn out becomes a
 * ground, too little for the thing to come again. */
#define WIDEN 0.6
#define WIDEST 4 /* squares of `side` in a canvas: beyond that it is enlarged, which costs less */

/* What the picture measures in the end. */
struct size {
    double width, height;
};

static struct size size_of(const struct pictor_params *p)
{
    if (p->hires_width)
        return (struct size){p->hires_width, p->hires_height};
    return (struct size){p->width, p->height};
}

static int near_side(double pixels, int multiple)
{
    int side = multiple * (int)lround(pixels / multiple);
    return side < MIN_SIDE ? MIN_SIDE : side;
}

/* `side` x `side` pixels in the proportions of `like`. */
static void shape(const struct family_facts *facts, struct size like, double side, int *width,
                  int *height)
{
    double scale = side / sqrt(like.width * like.height);
    *width = near_side(like.width * scale, facts->multiple);
    *height = near_side(like.height * scale, facts->multiple);
}

/* Whether a square is composed first. What says what is where, how the picture goes on at its other
 * edge, and who refines it, means the whole canvas; another model has latents of its own. */
static bool is_wide(const struct pictor_params *p, struct size size)
{
    bool own = !p->init && !p->tiling && !p->control_count && !p->hires_model && !p->refiner;
    double ratio = size.width / size.height;
    return own && fmax(ratio, 1 / ratio) > SQUARE;
}

/* The square in the middle, then the canvas around it. */
static void widen(const struct family_facts *facts, struct size size, int side,
                  struct family_fitted *fitted)
{
    struct pictor_params *f = &fitted->params;
    double least = fmin(size.width, size.height);
    double scale = fmin(1, side / least);
    scale = fmin(scale, side * sqrt(WIDEST / (size.width * size.height)));
    f->hires_width = near_side(size.width * scale, facts->multiple);
    f->hires_height = near_side(size.height * scale, facts->multiple);
    f->width = f->height = f->hires_width < f->hires_height ? f->hires_width : f->hires_height;
    f->hires_steps = (int)fmax(1, round(WIDEN * f->steps)); /* as long as those before */
    f->hires_strength = WIDEN;
    f->hires_prompt = f->hires_negative_prompt = NULL;
    f->hires_upscaler = "Latent";
    fitted->widen = true;
}

bool compose_fit(const struct family_facts *facts, int side, double detail,
                 const struct pictor_params *asked, struct family_fitted *fitted)
{
    struct pictor_params *f = &fitted->params;
    struct size size = size_of(asked);
    double pixels = size.width * size.height;
    double native = (double)facts->info.native_width * facts->info.native_height;
    bool wide = detail <= 0 && is_wide(asked, size);
    if (pixels < 2.0 * side * side && (!wide || asked->hires_width))
        return false;
    *fitted = (struct family_fitted){.params = *asked};
    fitted->network = true;
    f->hires_width = f->hires_height = 0;
    f->hires_crop = false;
    f->hires_network = NULL; /* it enlarges what this makes */
    if (wide) {
        widen(facts, size, side, fitted);
        return true;
    }
    double most = sqrt(fmin(pixels, native));
    if (asked->init && asked->strength <= detail) {
        shape(facts, size, most, &f->width, &f->height);
        return true;
    }
    shape(facts, size, side, &f->width, &f->height);
    if (detail > 0) {
        shape(facts, size, most, &f->hires_width, &f->hires_height);
        f->hires_steps = (int)fmax(1, round(detail * asked->steps)); /* as long as those before */
        f->hires_strength = detail;
        f->hires_upscaler = "Lanczos";
    }
    return true;
}
