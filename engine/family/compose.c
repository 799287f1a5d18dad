#include "engine/family/compose.h"

#include <math.h>

#define MIN_SIDE 64 /* the pipeline's */

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

bool compose_fit(const struct family_facts *facts, int side, double detail,
                 const struct pictor_params *asked, struct family_fitted *fitted)
{
    struct pictor_params *f = &fitted->params;
    struct size size = size_of(asked);
    double pixels = size.width * size.height;
    double native = (double)facts->info.native_width * facts->info.native_height;
    if (pixels < 2.0 * side * side)
        return false;
    *f = *asked;
    fitted->network = true;
    f->hires_width = f->hires_height = 0;
    f->hires_crop = false;
    f->hires_network = NULL; /* it enlarges what this makes */
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
