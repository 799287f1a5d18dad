/* image_detect.c: Canny (1986) as OpenCV counts it: 3x3 Sobel, of the channel that changes most, in
 * |dx| + |dy|, whole numbers throughout. */
#include "engine/io/image_detect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/io/image.h"
#include "engine/io/image_resize.h"

#define TANGENT 13573 /* of 22.5 degrees, in 32768ths */

struct detector {
    const char *name;
    double a, b; /* the usual thresholds */
    bool (*run)(struct pictor_image *image, double a, double b, struct err *err);
    bool sized;   /* what it finds depends on the picture's size */
    bool inpaint; /* what a mask covers is not shown */
};

static bool keep(struct pictor_image *image, double a, double b, struct err *err)
{
    return true;
}

static bool invert(struct pictor_image *image, double a, double b, struct err *err)
{
    size_t n = 3 * (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < n; i++)
        image->pixels[i] = (uint8_t)(255 - image->pixels[i]);
    return true;
}

/* White where every channel is above the threshold. */
static bool threshold(struct pictor_image *image, double a, double b, struct err *err)
{
    for (size_t i = 0; i < (size_t)image->width * (size_t)image->height; i++) {
        uint8_t *p = image->pixels + 3 * i;
        memset(p, p[0] > a && p[1] > a && p[2] > a ? 255 : 0, 3);
    }
    return true;
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Along one axis; `step` bytes from one pixel to the next. */
static void blur_line(uint8_t *p, int n, size_t step, const float *kernel, int radius, float *line)
{
    for (int i = 0; i < n; i++)
        line[i] = p[(size_t)i * step];
    for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int k = -radius; k <= radius; k++)
            sum += kernel[k + radius] * line[inside(i + k, n)];
        p[(size_t)i * step] = (uint8_t)(sum + 0.5f);
    }
}

#define MOST_SIGMA 64

static bool blur(struct pictor_image *image, double a, double b, struct err *err)
{
    float kernel[2 * 3 * MOST_SIGMA + 1], sum = 0;
    int w = image->width, h = image->height, radius;
    if (!(a > 0 && a <= MOST_SIGMA))
        return err_set(err, ERR_INVALID, "blur_gaussian: wanted a sigma of 0..%d, got %g",
                       MOST_SIGMA, a);
    radius = (int)ceil(3 * a);
    float *line = malloc((size_t)(w > h ? w : h) * sizeof *line);
    if (!line)
        return err_set(err, ERR_TOO_LARGE, "no memory to blur a picture");
    for (int k = -radius; k <= radius; k++)
        sum += kernel[k + radius] = (float)exp(-k * k / (2 * a * a));
    for (int k = 0; k <= 2 * radius; k++)
        kernel[k] /= sum;
    for (int c = 0; c < 3; c++) {
        for (int y = 0; y < h; y++)
            blur_line(image->pixels + 3 * (size_t)y * (size_t)w + c, w, 3, kernel, radius, line);
        for (int x = 0; x < w; x++)
            blur_line(image->pixels + 3 * (size_t)x + c, h, 3 * (size_t)w, kernel, radius, line);
    }
    free(line);
    return true;
}

/* ---- edges ---- */

struct slope {
    int dx, dy, m; /* m: |dx| + |dy| */
};

static struct slope slope_at(const struct pictor_image *image, int x, int y)
{
    struct slope best = {0, 0, -1};
    for (int c = 0; c < 3; c++) {
        int p[3][3];
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 3; i++)
                p[j][i] = image->pixels[3 * ((size_t)inside(y + j - 1, image->height) *
                                                 (size_t)image->width +
                                             (size_t)inside(x + i - 1, image->width)) +
                                        (size_t)c];
        int dx = p[0][2] + 2 * p[1][2] + p[2][2] - p[0][0] - 2 * p[1][0] - p[2][0];
        int dy = p[2][0] + 2 * p[2][1] + p[2][2] - p[0][0] - 2 * p[0][1] - p[0][2];
        if (abs(dx) + abs(dy) > best.m)
            best = (struct slope){dx, dy, abs(dx) + abs(dy)};
    }
    return best;
}

/* Steepness with a border of zeros around it: [h + 2, w + 2]. */
static int steepness(const struct slope *s, int w, int h, int x, int y)
{
    return x < 0 || y < 0 || x >= w || y >= h ? 0 : s[(size_t)y * (size_t)w + (size_t)x].m;
}

/* Whether nothing across the edge is steeper. */
static bool is_ridge(const struct slope *s, int w, int h, int x, int y)
{
    const struct slope *at = &s[(size_t)y * (size_t)w + (size_t)x];
    int m = at->m;
    int64_t across = (int64_t)abs(at->dx) * TANGENT, along = (int64_t)abs(at->dy) << 15;
    if (along < across)
        return m > steepness(s, w, h, x - 1, y) && m >= steepness(s, w, h, x + 1, y);
    if (along > across + ((int64_t)abs(at->dx) << 16))
        return m > steepness(s, w, h, x, y - 1) && m >= steepness(s, w, h, x, y + 1);
    int side = (at->dx ^ at->dy) < 0 ? -1 : 1;
    return m > steepness(s, w, h, x - side, y - 1) && m > steepness(s, w, h, x + side, y + 1);
}

/* From each pixel that is steep enough along all that hang together with it. */
static bool canny(struct pictor_image *image, double a, double b, struct err *err)
{
    int w = image->width, h = image->height;
    /* No slope is as steep as 1e6, which an int still holds. */
    int low = (int)floor(fmin(fmin(a, b), 1e6)), high = (int)floor(fmin(fmax(a, b), 1e6));
    size_t n = (size_t)w * (size_t)h, pending = 0;
    struct slope *slopes = malloc(n * sizeof *slopes);
    uint8_t *kind = calloc(n, 1); /* 1: may be an edge, 2: is one */
    size_t *stack = malloc(n * sizeof *stack);
    bool ok = slopes && kind && stack;
    if (!ok)
        err_set(err, ERR_TOO_LARGE, "no memory for the edges of %d x %d pixels", w, h);
    for (size_t i = 0; ok && i < n; i++)
        slopes[i] = slope_at(image, (int)(i % (size_t)w), (int)(i / (size_t)w));
    for (size_t i = 0; ok && i < n; i++)
        if (slopes[i].m > low &&
            is_ridge(slopes, w, h, (int)(i % (size_t)w), (int)(i / (size_t)w))) {
            kind[i] = slopes[i].m > high ? 2 : 1;
            if (kind[i] == 2)
                stack[pending++] = i;
        }
    while (ok && pending) {
        size_t i = stack[--pending];
        int x = (int)(i % (size_t)w), y = (int)(i / (size_t)w);
        for (int k = 0; k < 9; k++) {
            int nx = x + k % 3 - 1, ny = y + k / 3 - 1;
            size_t j = (size_t)ny * (size_t)w + (size_t)nx;
            if (nx >= 0 && ny >= 0 && nx < w && ny < h && kind[j] == 1) {
                kind[j] = 2;
                stack[pending++] = j;
            }
        }
    }
    for (size_t i = 0; ok && i < n; i++)
        memset(image->pixels + 3 * i, kind[i] == 2 ? 255 : 0, 3);
    free(slopes);
    free(kind);
    free(stack);
    return ok;
}

/* ---- strokes ---- */

/* Along one axis of a plane of floats, mirrored beyond its ends without repeating them. `line` has
 * room for n + 2 radius. */
static void smooth_line(float *p, int n, size_t step, const float *kernel, int radius, float *line)
{
    int period = n > 1 ? 2 * n - 2 : 1;
    for (int i = -radius; i < n + radius; i++) {
        int at = (i % period + period) % period;
        line[i + radius] = p[(size_t)(at < n ? at : period - at) * step];
    }
    for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k <= 2 * radius; k++)
            sum += kernel[k] * line[i + k];
        p[(size_t)i * step] = sum;
    }
}

#define STROKE_RADIUS 20 /* four sigma of the wider one */

static void smooth(float *plane, int w, int h, double sigma, float *line)
{
    float kernel[2 * STROKE_RADIUS + 1];
    int radius = (int)(4 * sigma + 0.5);
    double sum = 0;
    for (int k = -radius; k <= radius; k++)
        sum += exp(-k * k / (2 * sigma * sigma));
    for (int k = -radius; k <= radius; k++)
        kernel[k + radius] = (float)(exp(-k * k / (2 * sigma * sigma)) / sum);
    for (int y = 0; y < h; y++)
        smooth_line(plane + (size_t)y * (size_t)w, w, 1, kernel, radius, line);
    for (int x = 0; x < w; x++)
        smooth_line(plane + x, h, (size_t)w, kernel, radius, line);
}

/* White where something is darker than what surrounds it by more than half the threshold: the
 * difference of two Gaussians (Winnemoeller et al. 2012, "XDoG"), in the channel where it is least.
 */
static bool strokes(struct pictor_image *image, double a, double b, struct err *err)
{
    int w = image->width, h = image->height;
    size_t n = (size_t)w * (size_t)h;
    float *fine = malloc(n * sizeof *fine), *wide = malloc(n * sizeof *wide);
    float *least = malloc(n * sizeof *least);
    float *line = malloc(((size_t)(w > h ? w : h) + 2 * STROKE_RADIUS) * sizeof *line);
    bool ok = fine && wide && least && line;
    if (!ok)
        err_set(err, ERR_TOO_LARGE, "no memory for the strokes of %d x %d pixels", w, h);
    for (int c = 0; ok && c < 3; c++) {
        for (size_t i = 0; i < n; i++)
            fine[i] = wide[i] = image->pixels[3 * i + (size_t)c];
        smooth(fine, w, h, 0.5, line);
        smooth(wide, w, h, 5, line);
        for (size_t i = 0; i < n; i++)
            least[i] = c == 0 ? wide[i] - fine[i] : fminf(least[i], wide[i] - fine[i]);
    }
    for (size_t i = 0; ok && i < n; i++) {
        int left = (int)fminf(255, fmaxf(0, 255 - least[i])); /* whole numbers, cut off */
        memset(image->pixels + 3 * i, 2 * (255 - left) > a ? 255 : 0, 3);
    }
    free(fine);
    free(wide);
    free(least);
    free(line);
    return ok;
}

#define MOST_COARSE 8

/* What is left of it at a size so many times smaller. */
static bool coarsen(struct pictor_image *image, double a, double b, struct err *err)
{
    struct pictor_image small;
    if (!(a >= 1 && a <= MOST_COARSE))
        return err_set(err, ERR_INVALID, "tile_resample: wanted a rate of 1..%d, got %g",
                       MOST_COARSE, a);
    int w = (int)(image->width / a), h = (int)(image->height / a);
    if (a == 1)
        return true;
    if (!image_resize(image, w > 1 ? w : 1, h > 1 ? h : 1, IMAGE_BOX, &small, err))
        return false;
    pictor_image_free(image);
    *image = small;
    return true;
}

static const struct detector detectors[] = {
    {"none", 0, 0, keep, false, false},
    {"canny", 100, 200, canny, true, false},
    {"scribble_xdog", 32, 0, strokes, true, false},
    {"threshold", 127, 0, threshold, true, false},
    {"invert (from white bg & black line)", 0, 0, invert, false, false},
    {"blur_gaussian", 9, 0, blur, true, false},
    {"tile_resample", 1, 0, coarsen, false, false},
    {"inpaint_only", 0, 0, keep, false, true},
    {"inpaint_global_harmonious", 0, 0, keep, false, true},
};

const char *image_detect_name(int i)
{
    return i >= 0 && i < (int)(sizeof detectors / sizeof *detectors) ? detectors[i].name : NULL;
}

/* NULL: it is none. Some have a short name besides that in lists. */
static const struct detector *find(const char *module)
{
    static const char *const short_names[][2] = {
        {"", "none"},
        {"invert", "invert (from white bg & black line)"},
        {"scribble", "scribble_xdog"},
        {"blur", "blur_gaussian"},
        {"tile", "tile_resample"},
        {"inpaint", "inpaint_global_harmonious"},
    };
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (strcasecmp(short_names[i][0], module) == 0)
            module = short_names[i][1];
    for (size_t i = 0; i < sizeof detectors / sizeof *detectors; i++)
        if (strcasecmp(detectors[i].name, module) == 0)
            return &detectors[i];
    return NULL;
}

const char *image_detect_known(const char *module)
{
    const struct detector *d = find(module);
    return d ? d->name : NULL;
}

bool image_detect_inpaints(const char *module)
{
    const struct detector *d = find(module);
    return d && d->inpaint;
}

#define MOST_PIXELS (1 << 25) /* of a long and thin one; detectors take some 30 bytes a pixel */

/* RGB, with a shorter side of `side` pixels. */
static bool bring_to(const struct pictor_image *in, int side, struct pictor_image *out,
                     struct err *err)
{
    struct pictor_image colours;
    int shorter = in->width < in->height ? in->width : in->height;
    double scale = (double)side / shorter;
    if (!image_convert(in, 3, &colours, err))
        return false;
    double width = round(in->width * scale), height = round(in->height * scale);
    if (width * height > MOST_PIXELS) {
        pictor_image_free(&colours);
        return err_set(err, ERR_TOO_LARGE,
                       "wanted at most %d pixels at a shorter side of %d, got %.0fx%.0f",
                       MOST_PIXELS, side, width, height);
    }
    enum image_filter filter = scale > 1 ? IMAGE_BICUBIC : IMAGE_BOX;
    bool ok = image_resize(&colours, (int)width, (int)height, filter, out, err);
    pictor_image_free(&colours);
    return ok;
}

bool image_detect(const char *module, const struct pictor_image *in, double a, double b, int side,
                  struct pictor_image *out, struct err *err)
{
    const struct detector *d = find(module);
    *out = (struct pictor_image){0};
    if (!d)
        return err_set(err, ERR_INVALID,
                       "module '%.40s': wanted none, canny, scribble_xdog, threshold, invert, "
                       "blur_gaussian, tile_resample, inpaint_only or inpaint_global_harmonious",
                       module);
    if (!(side > 0 && d->sized ? bring_to(in, side, out, err) : image_convert(in, 3, out, err)))
        return false;
    if (d->run(out, isnan(a) ? d->a : a, isnan(b) ? d->b : b, err))
        return true;
    pictor_image_free(out);
    return false;
}
