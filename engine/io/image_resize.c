/* image_resize.c: Two passes, across and then down, each a weighted sum of source pixels per target
 * pixel. The weights of a row are computed once; they and the sums are integers with WEIGHT_BITS of
 * fraction, laid out so that 8-bit pixels times weights stay within 32 bits. */
#include "engine/io/image_resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"

#define PI 3.14159265358979323846
#define WEIGHT_BITS 22 /* 32 less 8 of the pixel, 1 of the sign, 1 for weights that sum over 1 */

/* Filters: [filter](x), 0 beyond the radius. */

static double box(double x)
{
    return x > -0.5 && x <= 0.5;
}

static double bilinear(double x)
{
    return fmax(0, 1 - fabs(x));
}

/* Keys 1981, with a = -1/2. */
static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(PI * x) / (PI * x);
}

static double lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct {
    double (*weight)(double x);
    double radius;
} filters[] = {
    [IMAGE_BOX] = {box, 0.5},
    [IMAGE_BILINEAR] = {bilinear, 1},
    [IMAGE_BICUBIC] = {bicubic, 2},
    [IMAGE_LANCZOS] = {lanczos, 3},
};

/* Which source pixels make a target pixel: `count` of them from `first`. */
struct span {
    int first, count;
};

struct weights {
    struct span *spans; /* [target] */
    int32_t *values;    /* [target, width] */
    size_t width;
};

static void weights_free(struct weights *w)
{
    free(w->spans);
    free(w->values);
}

static bool weights_init(struct weights *w, int source, int target, enum image_filter filter)
{
    double scale = (double)source / target, stretch = fmax(scale, 1);
    double radius = filters[filter].radius * stretch;
    w->width = (size_t)ceil(radius) * 2 + 1;
    w->spans = malloc((size_t)target * sizeof *w->spans);
    w->values = calloc((size_t)target * w->width, sizeof *w->values);
    double *exact = malloc(w->width * sizeof *exact);
    if (!w->spans || !w->values || !exact) {
        weights_free(w);
        free(exact);
        return false;
    }
    for (int i = 0; i < target; i++) {
        double centre = (i + 0.5) * scale, sum = 0;
        int first = (int)(centre - radius + 0.5), end = (int)(centre + radius + 0.5);
        if (first < 0)
            first = 0;
        if (end > source)
            end = source;
        for (int k = first; k < end; k++) {
            exact[k - first] = filters[filter].weight((k - centre + 0.5) / stretch);
            sum += exact[k - first];
        }
        for (int k = 0; k < end - first; k++)
            w->values[(size_t)i * w->width + (size_t)k] =
                (int32_t)lround(exact[k] / sum * (1 << WEIGHT_BITS));
        w->spans[i] = (struct span){first, end - first};
    }
    free(exact);
    return true;
}

/* The sum over one span; the source pixels lie `step` bytes apart. */
static uint8_t weigh(const uint8_t *in, size_t step, const int32_t *weights, int count)
{
    int32_t sum = 1 << (WEIGHT_BITS - 1);
    for (int k = 0; k < count; k++, in += step)
        sum += *in * weights[k];
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void pass_across(const struct pictor_image *in, const struct weights *w,
                        struct pictor_image *out)
{
    size_t channels = (size_t)in->channels, in_stride = (size_t)in->width * channels;
    uint8_t *to = out->pixels;
    for (int y = 0; y < out->height; y++) {
        const uint8_t *row = in->pixels + (size_t)y * in_stride;
        for (int x = 0; x < out->width; x++)
            for (size_t k = 0; k < channels; k++)
                *to++ = weigh(row + (size_t)w->spans[x].first * channels + k, channels,
                              w->values + (size_t)x * w->width, w->spans[x].count);
    }
}

static void pass_down(const struct pictor_image *in, const struct weights *w,
                      struct pictor_image *out)
{
    size_t stride = (size_t)in->width * (size_t)in->channels;
    uint8_t *to = out->pixels;
    for (int y = 0; y < out->height; y++) {
        const uint8_t *top = in->pixels + (size_t)w->spans[y].first * stride;
        for (size_t i = 0; i < stride; i++)
            *to++ = weigh(top + i, stride, w->values + (size_t)y * w->width, w->spans[y].count);
    }
}

static bool pass(const struct pictor_image *in, bool across, int target, enum image_filter filter,
                 struct pictor_image *out, struct err *err)
{
    struct weights w;
    if (!weights_init(&w, across ? in->width : in->height, target, filter))
        return err_set(err, ERR_TOO_LARGE, "no memory to resize to %d pixels", target);
    bool ok = image_new(out, across ? target : in->width, across ? in->height : target,
                        in->channels, err);
    if (ok)
        (across ? pass_across : pass_down)(in, &w, out);
    weights_free(&w);
    return ok;
}

static void nearest(const struct pictor_image *in, struct pictor_image *out)
{
    size_t channels = (size_t)in->channels, stride = (size_t)in->width * channels;
    uint8_t *to = out->pixels;
    for (int y = 0; y < out->height; y++) {
        const uint8_t *row = in->pixels + (size_t)((y + 0.5) * in->height / out->height) * stride;
        for (int x = 0; x < out->width; x++, to += channels)
            memcpy(to, row + (size_t)((x + 0.5) * in->width / out->width) * channels, channels);
    }
}

static void premultiply(uint8_t *p, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, p += 4)
        for (int k = 0; k < 3; k++)
            p[k] = (uint8_t)((p[k] * p[3] + 127) / 255);
}

static void unpremultiply(uint8_t *p, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, p += 4)
        for (int k = 0; k < 3 && p[3] != 0; k++) {
            int v = 255 * p[k] / p[3];
            p[k] = (uint8_t)(v > 255 ? 255 : v);
        }
}

static size_t pixels_of(const struct pictor_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

bool image_resize(const struct pictor_image *in, int width, int height, enum image_filter filter,
                  struct pictor_image *out, struct err *err)
{
    struct pictor_image source = {0}, narrow = {0}, done = {0};
    *out = (struct pictor_image){0};
    if (!image_check(in, err))
        return false;
    if (width < 1 || height < 1)
        return err_set(err, ERR_INVALID, "a size of 1 x 1 at least wanted, got %d x %d", width,
                       height);
    if (!image_check_size((uint32_t)width, (uint32_t)height, SIZE_MAX, err))
        return false;
    if (filter == IMAGE_NEAREST) {
        if (!image_new(out, width, height, in->channels, err))
            return false;
        nearest(in, out);
        return true;
    }

    bool alpha = in->channels == 4;
    if (!image_new(&source, in->width, in->height, in->channels, err))
        goto fail;
    memcpy(source.pixels, in->pixels, pixels_of(in) * (size_t)in->channels);
    if (alpha)
        premultiply(source.pixels, pixels_of(&source));
    if (width == in->width) {
        narrow = source;
        source = (struct pictor_image){0};
    } else if (!pass(&source, true, width, filter, &narrow, err)) {
        goto fail;
    }
    if (height == in->height) {
        done = narrow;
        narrow = (struct pictor_image){0};
    } else if (!pass(&narrow, false, height, filter, &done, err)) {
        goto fail;
    }
    if (alpha)
        unpremultiply(done.pixels, pixels_of(&done));
    *out = done;
    pictor_image_free(&source);
    pictor_image_free(&narrow);
    return true;
fail:
    pictor_image_free(&source);
    pictor_image_free(&narrow);
    return false;
}
