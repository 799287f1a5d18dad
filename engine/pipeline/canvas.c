#include "engine/pipeline/canvas.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pipeline/canvas_fill.h"
#include "engine/pipeline/params.h"

#define MASK_BLUR_MAX 64

struct region {
    int x, y, width, height;
};

static int clamp(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* A window of width x height on `in` whose corner lies at (x, y) of it; outside of `in` its edge
 * goes on. */
static bool window(const struct pictor_image *in, int x, int y, int width, int height,
                   struct pictor_image *out, struct err *err)
{
    if (!image_new(out, width, height, in->channels, err))
        return false;
    size_t channels = (size_t)in->channels, stride = (size_t)in->width * channels;
    uint8_t *to = out->pixels;
    for (int j = 0; j < height; j++) {
        const uint8_t *row = in->pixels + (size_t)clamp(y + j, in->height) * stride;
        for (int i = 0; i < width; i++, to += channels)
            memcpy(to, row + (size_t)clamp(x + i, in->width) * channels, channels);
    }
    return true;
}

bool canvas_fit(const struct pictor_image *in, enum pictor_fit mode, int width, int height,
                struct pictor_image *out, struct err *err)
{
    int64_t w = width, h = height;
    if (mode == PICTOR_FIT_CROP || mode == PICTOR_FIT_PAD) {
        bool wider = (int64_t)in->width * height > (int64_t)width * in->height;
        if (wider == (mode == PICTOR_FIT_CROP))
            w = (int64_t)in->width * height / in->height;
        else
            h = (int64_t)in->height * width / in->width;
        w = w > 1 ? w : 1;
        h = h > 1 ? h : 1;
    }
    if (w > IMAGE_SIDE_MAX || h > IMAGE_SIDE_MAX)
        return err_set(err, ERR_TOO_LARGE, "a picture of %d x %d is too narrow to fill %d x %d",
                       in->width, in->height, width, height);
    struct pictor_image sized;
    if (!image_resize(in, (int)w, (int)h, IMAGE_LANCZOS, &sized, err))
        return false;
    bool ok = window(&sized, sized.width / 2 - width / 2, sized.height / 2 - height / 2, width,
                     height, out, err);
    pictor_image_free(&sized);
    return ok;
}

/* Masks. */

/* `soft`: of what is transparent, how much. */
static bool read_mask(const struct pictor_image *in, bool soft, struct pictor_image *out,
                      struct err *err)
{
    if (!image_convert(in, 1, out, err))
        return false;
    size_t n = (size_t)in->width * (size_t)in->height;
    bool see_through = false;
    for (size_t i = 0; in->channels == 4 && i < n; i++)
        see_through |= in->pixels[4 * i + 3] != 255;
    for (size_t i = 0; see_through && i < n; i++)
        out->pixels[i] = soft ? in->pixels[4 * i + 3] : in->pixels[4 * i + 3] > 128 ? 255 : 0;
    return true;
}

bool canvas_mask_read(const struct pictor_image *in, struct pictor_image *out, struct err *err)
{
    return read_mask(in, false, out, err);
}

static void mask_invert(struct pictor_image *mask)
{
    for (size_t i = 0; i < (size_t)mask->width * (size_t)mask->height; i++)
        mask->pixels[i] = (uint8_t)(255 - mask->pixels[i]);
}

/* Mirrors an index into a line of n without repeating its ends: ... 2 1 0 1 2 ... */
static int mirror(int i, int n)
{
    if (n == 1)
        return 0;
    int period = 2 * n - 2;
    i %= period;
    i = i < 0 ? i + period : i;
    return i < n ? i : period - i;
}

/* `line` [n + 2 radius] is scratch. */
static void blur_line(uint8_t *pixels, int n, size_t step, const float *kernel, int radius,
                      uint8_t *line)
{
    for (int i = -radius; i < n + radius; i++)
        line[i + radius] = pixels[(size_t)mirror(i, n) * step];
    for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k <= 2 * radius; k++)
            sum += kernel[k] * line[i + k];
        pixels[(size_t)i * step] = (uint8_t)(sum + 0.5f);
    }
}

/* Gaussian, across or down; 8-bit between the two, as the SD WebUI calls OpenCV. */
static bool mask_blur(struct pictor_image *mask, double sigma, bool down, struct err *err)
{
    int radius = (int)(2.5 * sigma + 0.5);
    if (radius == 0)
        return true;
    int longer = mask->width > mask->height ? mask->width : mask->height;
    float kernel[2 * (5 * MASK_BLUR_MAX / 2 + 1) + 1];
    uint8_t *line = malloc((size_t)longer + 2 * (size_t)radius);
    if (!line)
        return err_set(err, ERR_TOO_LARGE, "no memory to blur a mask");
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = -radius; i <= radius; i++) {
            double weight = exp(-i * i / (2 * sigma * sigma));
            if (pass == 0)
                sum += weight;
            else
                kernel[i + radius] = (float)(weight / sum);
        }
    size_t width = (size_t)mask->width;
    for (int y = 0; y < mask->height && !down; y++)
        blur_line(mask->pixels + (size_t)y * width, mask->width, 1, kernel, radius, line);
    for (int x = 0; x < mask->width && down; x++)
        blur_line(mask->pixels + x, mask->height, width, kernel, radius, line);
    free(line);
    return true;
}

/* The rectangle around everything that is not 0; false when there is nothing. */
static bool mask_bounds(const struct pictor_image *mask, struct region *out)
{
    int left = mask->width, top = mask->height, right = 0, bottom = 0;
    const uint8_t *p = mask->pixels;
    for (int y = 0; y < mask->height; y++)
        for (int x = 0; x < mask->width; x++)
            if (*p++) {
                left = x < left ? x : left;
                right = x >= right ? x + 1 : right;
                top = y < top ? y : top;
                bottom = y + 1;
            }
    *out = (struct region){left, top, right - left, bottom - top};
    return right > 0;
}

/* One side of the region: grown by `grow` pixels around its middle, moved and cut to lie in 0..n.
 */
static void region_grow(int *at, int *size, int grow, int n)
{
    int start = *at - grow / 2, length = *size + grow;
    if (start + length > n)
        start = n - length;
    if (start < 0)
        start = 0;
    *at = start;
    *size = length < n ? length : n;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Pads, then grows the side that is too short for the proportions width : height. */
static struct region region_expand(struct region r, int padding, int width, int height,
                                   const struct pictor_image *image)
{
    int right = smaller(r.x + r.width + padding, image->width);
    int bottom = smaller(r.y + r.height + padding, image->height);
    r.x = r.x > padding ? r.x - padding : 0;
    r.y = r.y > padding ? r.y - padding : 0;
    r.width = right - r.x;
    r.height = bottom - r.y;
    if ((int64_t)r.width * height > (int64_t)width * r.height) {
        int64_t want = (int64_t)r.width * height / width;
        region_grow(&r.y, &r.height, (int)(want - r.height), image->height);
    } else {
        int64_t want = (int64_t)r.height * width / height;
        region_grow(&r.x, &r.width, (int)(want - r.width), image->width);
    }
    return r;
}

static bool mask_to_latent(const struct pictor_image *mask, int factor, struct canvas *canvas,
                           struct err *err)
{
    struct pictor_image small;
    if (!image_resize(mask, mask->width / factor, mask->height / factor, IMAGE_BICUBIC, &small,
                      err))
        return false;
    size_t n = (size_t)small.width * (size_t)small.height;
    canvas->mask = malloc(n * sizeof *canvas->mask);
    canvas->mask_width = small.width;
    canvas->mask_height = small.height;
    for (size_t i = 0; canvas->mask && i < n; i++)
        canvas->mask[i] =
            canvas->soft ? (float)small.pixels[i] / 255 : (float)(small.pixels[i] >= 128);
    pictor_image_free(&small);
    return canvas->mask || err_set(err, ERR_TOO_LARGE, "no memory for a mask");
}

void canvas_mask(const struct canvas *canvas, int width, int height, float *out)
{
    int w = canvas->mask_width, h = canvas->mask_height;
    memset(out, 0, (size_t)width * (size_t)height * sizeof *out);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            float *to = &out[y * height / h * width + x * width / w];
            *to = fmaxf(*to, canvas->mask[y * w + x]);
        }
}

void canvas_area(const struct canvas *canvas, int width, int height, float *out)
{
    size_t w = (size_t)canvas->area.width, h = (size_t)canvas->area.height;
    for (size_t y = 0; y < (size_t)height; y++)
        for (size_t x = 0; x < (size_t)width; x++) {
            int v = canvas->area.pixels[y * h / (size_t)height * w + x * w / (size_t)width];
            *out++ = canvas->soft ? (float)v / 255 : (float)(v >= 128);
        }
}

/* Preparing. */

/* The whole picture is painted: picture and mask at the size that is worked on. */
static bool prepare_whole(const struct pictor_params *p, struct canvas *canvas,
                          const struct pictor_image *base, const struct pictor_image *mask,
                          struct pictor_image *work, struct err *err)
{
    if (!canvas_fit(base, p->fit, p->width, p->height, &canvas->image, err) ||
        !canvas_fit(mask, p->fit, p->width, p->height, work, err) ||
        !image_convert(&canvas->image, 3, &canvas->original, err) ||
        !image_convert(work, 1, &canvas->overlay, err))
        return false;
    /* Everything that is at least half in the mask shows the painting: the blurred edge lies
     * outside of the mask and hides the seam. */
    for (size_t i = 0; i < (size_t)p->width * (size_t)p->height; i++)
        canvas->overlay.pixels[i] = (uint8_t)smaller(2 * canvas->overlay.pixels[i], 255);
    canvas->width = p->width;
    canvas->height = p->height;
    return true;
}

/* Only the mask's surroundings are painted. Takes `base` and `mask`. */
static bool prepare_area(const struct pictor_params *p, struct canvas *canvas, struct region bounds,
                         struct pictor_image *base, struct pictor_image *mask,
                         struct pictor_image *work, struct err *err)
{
    struct region r = region_expand(bounds, p->mask_padding, p->width, p->height, base);
    struct pictor_image part = {0};
    bool ok = window(base, r.x, r.y, r.width, r.height, &part, err) &&
              canvas_fit(&part, PICTOR_FIT_PAD, p->width, p->height, &canvas->image, err);
    pictor_image_free(&part);
    ok = ok && window(mask, r.x, r.y, r.width, r.height, &part, err) &&
         canvas_fit(&part, PICTOR_FIT_PAD, p->width, p->height, work, err);
    pictor_image_free(&part);
    if (!ok)
        return false;
    canvas->original = *base;
    canvas->overlay = *mask;
    *base = *mask = (struct pictor_image){0};
    canvas->part = true;
    canvas->x = r.x;
    canvas->y = r.y;
    canvas->width = r.width;
    canvas->height = r.height;
    return true;
}

static bool prepare_masked(const struct pictor_params *p, int factor, struct canvas *canvas,
                           struct pictor_image *base, struct err *err)
{
    struct pictor_image mask = {0}, work = {0};
    struct region bounds;
    bool ok = false;
    if (!read_mask(p->mask, p->mask_soft, &mask, err))
        goto done;
    if (p->mask_only_area && (mask.width != base->width || mask.height != base->height)) {
        struct pictor_image resized;
        if (!image_resize(&mask, base->width, base->height, IMAGE_LANCZOS, &resized, err))
            goto done;
        pictor_image_free(&mask);
        mask = resized;
    }
    if (p->mask_invert)
        mask_invert(&mask);
    if (!mask_blur(&mask, p->mask_blur, false, err) ||
        !mask_blur(&mask, isnan(p->mask_blur_y) ? p->mask_blur : p->mask_blur_y, true, err))
        goto done;
    if (p->mask_only_area && !mask_bounds(&mask, &bounds)) {
        ok = canvas_fit(base, p->fit, p->width, p->height, &canvas->image, err);
        goto done;
    }
    ok = (p->mask_only_area ? prepare_area(p, canvas, bounds, base, &mask, &work, err)
                            : prepare_whole(p, canvas, base, &mask, &work, err)) &&
         (p->fill == PICTOR_FILL_ORIGINAL || canvas_fill(&canvas->image, &work, err)) &&
         mask_to_latent(&work, factor, canvas, err);
    canvas->area = work;
    work = (struct pictor_image){0};
done:
    pictor_image_free(&mask);
    pictor_image_free(&work);
    return ok;
}

bool canvas_is_own(const struct pictor_params *p)
{
    return p->fit == PICTOR_FIT_LATENT && !p->mask && p->init->width >= PARAMS_MIN_SIDE &&
           p->init->height >= PARAMS_MIN_SIDE;
}

static bool prepare_own(int factor, const struct pictor_image *base, struct canvas *canvas,
                        struct err *err)
{
    return window(base, 0, 0, base->width - base->width % factor,
                  base->height - base->height % factor, &canvas->image, err);
}

static bool prepare_fitted(const struct pictor_params *p, const struct pictor_image *base,
                           struct canvas *canvas, struct err *err)
{
    return canvas_fit(base, p->fit, p->width, p->height, &canvas->image, err);
}

/* The picture that is worked on and, with a mask, original and overlay at the result's size, and
 * the mask over pixels and over latent pixels. */
size_t canvas_bytes(const struct pictor_params *p)
{
    size_t pixels = (size_t)p->width * (size_t)p->height, result = pixels;
    if (canvas_is_own(p))
        return 3 * (size_t)p->init->width * (size_t)p->init->height;
    if (!p->mask)
        return 3 * pixels;
    if (p->mask_only_area)
        result = (size_t)p->init->width * (size_t)p->init->height;
    return 4 * pixels + 4 * result + pixels / 64 * sizeof(float);
}

bool canvas_prepare(const struct pictor_params *p, int factor, struct canvas *canvas,
                    struct err *err)
{
    struct pictor_image base = {0};
    *canvas = (struct canvas){.fill = p->fill, .soft = p->mask_soft};
    assert(p->init && p->width >= factor && p->height >= factor);
    if (!(p->mask_blur >= 0 && p->mask_blur <= MASK_BLUR_MAX))
        return err_set(err, ERR_INVALID, "mask_blur must be 0..%d, got %g", MASK_BLUR_MAX,
                       (double)p->mask_blur);
    if (!isnan(p->mask_blur_y) && !(p->mask_blur_y >= 0 && p->mask_blur_y <= MASK_BLUR_MAX))
        return err_set(err, ERR_INVALID, "mask_blur_y must be 0..%d, got %g", MASK_BLUR_MAX,
                       (double)p->mask_blur_y);
    if (p->mask_padding < 0 || p->mask_padding > IMAGE_SIDE_MAX)
        return err_set(err, ERR_INVALID, "mask_padding must be 0..%d, got %d", IMAGE_SIDE_MAX,
                       p->mask_padding);
    bool ok = image_convert(p->init, 3, &base, err) &&
              (p->mask            ? prepare_masked(p, factor, canvas, &base, err)
               : canvas_is_own(p) ? prepare_own(factor, &base, canvas, err)
                                  : prepare_fitted(p, &base, canvas, err));
    pictor_image_free(&base);
    if (!ok)
        canvas_free(canvas);
    return ok;
}

void canvas_free(struct canvas *canvas)
{
    pictor_image_free(&canvas->image);
    pictor_image_free(&canvas->original);
    pictor_image_free(&canvas->overlay);
    pictor_image_free(&canvas->area);
    free(canvas->mask);
    *canvas = (struct canvas){0};
}

bool canvas_fit_beside(const struct canvas *canvas, const struct pictor_image *in,
                       enum pictor_fit mode, int width, int height, struct pictor_image *out,
                       struct err *err)
{
    struct pictor_image whole, part;
    if (!canvas->part)
        return canvas_fit(in, mode, width, height, out, err);
    if (!canvas_fit(in, mode, canvas->original.width, canvas->original.height, &whole, err))
        return false;
    bool ok = window(&whole, canvas->x, canvas->y, canvas->width, canvas->height, &part, err);
    pictor_image_free(&whole);
    if (!ok)
        return false;
    ok = canvas_fit(&part, PICTOR_FIT_PAD, width, height, out, err);
    pictor_image_free(&part);
    return ok;
}

/* Finishing. */

bool canvas_finish(const struct canvas *canvas, const struct pictor_image *painted,
                   struct pictor_image *out, struct err *err)
{
    const struct pictor_image *original = &canvas->original;
    *out = (struct pictor_image){0};
    if (!canvas->mask)
        return image_convert(painted, 3, out, err);
    struct pictor_image part;
    /* The opposite of padding the region to the painted size. */
    if (!canvas_fit(painted, PICTOR_FIT_CROP, canvas->width, canvas->height, &part, err))
        return false;
    if (!image_convert(original, 3, out, err)) {
        pictor_image_free(&part);
        return false;
    }
    for (int y = 0; y < part.height; y++)
        for (int x = 0; x < part.width; x++) {
            size_t at = (size_t)(canvas->y + y) * (size_t)original->width + (size_t)(canvas->x + x);
            const uint8_t *p = part.pixels + ((size_t)y * (size_t)part.width + (size_t)x) * 3;
            int show = canvas->overlay.pixels[at];
            for (int k = 0; k < 3; k++) {
                uint8_t *o = out->pixels + at * 3 + k;
                *o = (uint8_t)((p[k] * show + *o * (255 - show) + 127) / 255);
            }
        }
    pictor_image_free(&part);
    return true;
}
