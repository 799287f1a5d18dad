/* image_detect.c: Canny (1986) as OpenCV counts it: 3x3 Sobel, of the channel that changes most, in
 * |dx| + |dy|, whole numbers throughout. */
#include "engine/io/image_detect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/io/image.h"

#define TANGENT 13573 /* of 22.5 degrees, in 32768ths */

struct detector {
    const char *name;
    double a, b; /* the usual thresholds */
    bool (*run)(struct pictor_image *image, double a, double b, struct err *err);
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

static const struct detector detectors[] = {
    {"none", 0, 0, keep},
    {"canny", 100, 200, canny},
    {"threshold", 127, 0, threshold},
    {"invert (from white bg & black line)", 0, 0, invert},
    {"blur_gaussian", 9, 0, blur},
    {"tile_resample", 0, 0, keep},
};

const char *image_detect_name(int i)
{
    return i >= 0 && i < (int)(sizeof detectors / sizeof *detectors) ? detectors[i].name : NULL;
}

/* "invert" is short for what it is called in lists. */
static bool is_called(const char *name, const char *module)
{
    return strcasecmp(name, module) == 0 ||
           (strcasecmp(module, "invert") == 0 && strncmp(name, "invert", 6) == 0);
}

bool image_detect(const char *module, const struct pictor_image *in, double a, double b,
                  struct pictor_image *out, struct err *err)
{
    const char *name = *module ? module : "none";
    *out = (struct pictor_image){0};
    for (size_t i = 0; i < sizeof detectors / sizeof *detectors; i++) {
        const struct detector *d = &detectors[i];
        if (!is_called(d->name, name))
            continue;
        if (!image_convert(in, 3, out, err))
            return false;
        if (d->run(out, isnan(a) ? d->a : a, isnan(b) ? d->b : b, err))
            return true;
        pictor_image_free(out);
        return false;
    }
    return err_set(err, ERR_INVALID,
                   "module '%.40s': wanted none, canny, threshold, invert, "
                   "blur_gaussian or tile_resample",
                   name);
}
