/* canvas_fill.c: The masked part is cut out (made transparent) and what is left is blurred with
 * smaller and smaller radii, each blur laid over the ones before. Far from the edge only the widest
 * blurs reach, so colours become vaguer with distance. Pixels are premultiplied floats [red green
 * blue alpha]. */
#include "engine/pipeline/canvas_fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOXES 3 /* three boxes in a row make a good Gaussian, as Pillow's GaussianBlur does it */

/* A box of 2 * whole + 1 pixels, and `part` of one more on either side. */
struct box {
    int whole;
    double part;
};

/* The box of which BOXES in a row have the variance of a Gaussian of this sigma (Gwosdek et al.
 * 2011, "Theoretical foundations of Gaussian convolution by extended box filtering"). */
static struct box box_for(double sigma)
{
    double variance = sigma * sigma / BOXES;
    double l = floor((sqrt(12 * variance + 1) - 1) / 2);
    double part = (2 * l + 1) * (l * (l + 1) - 3 * variance) / (6 * (variance - (l + 1) * (l + 1)));
    return (struct box){(int)l, part};
}

static int clamp(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* One box over a line of n pixels; beyond its ends the line goes on as it ends. */
static void blur_line(const float *in, float *out, int n, struct box box)
{
    int l = box.whole;
    double scale = 1 / (2 * l + 1 + 2 * box.part), sum[4] = {0};
    for (int i = -l; i <= l; i++)
        for (int k = 0; k < 4; k++)
            sum[k] += in[4 * clamp(i, n) + k];
    for (int i = 0; i < n; i++) {
        const float *before = in + 4 * clamp(i - l - 1, n), *first = in + 4 * clamp(i - l, n);
        const float *after = in + 4 * clamp(i + l + 1, n);
        for (int k = 0; k < 4; k++) {
            out[4 * i + k] = (float)((sum[k] + box.part * (before[k] + after[k])) * scale);
            sum[k] += (double)after[k] - first[k];
        }
    }
}

/* Lines of n pixels that lie `step` floats apart; `line` has room for two of them. */
static void blur_lines(float *pixels, int count, size_t next, int n, size_t step, struct box box,
                       float *line)
{
    for (int i = 0; i < count; i++, pixels += next) {
        float *a = line, *b = line + 4 * (size_t)n;
        for (int k = 0; k < n; k++)
            memcpy(a + 4 * k, pixels + (size_t)k * step, 4 * sizeof *a);
        for (int pass = 0; pass < BOXES; pass++) {
            blur_line(a, b, n, box);
            float *other = a;
            a = b;
            b = other;
        }
        for (int k = 0; k < n; k++)
            memcpy(pixels + (size_t)k * step, a + 4 * k, 4 * sizeof *a);
    }
}

static void cut_out(const struct pictor_image *image, const struct pictor_image *mask, float *out)
{
    size_t n = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < n; i++, out += 4) {
        float alpha = (float)(255 - mask->pixels[i]) / 255;
        for (int k = 0; k < 3; k++)
            out[k] = image->pixels[3 * i + (size_t)k] * alpha;
        out[3] = alpha;
    }
}

static void lay_over(float *below, const float *above, size_t n)
{
    for (size_t i = 0; i < n; i++, below += 4, above += 4)
        for (int k = 3, through_alpha = 3; k >= 0; k--)
            below[k] = above[k] + below[k] * (1 - above[through_alpha]);
}

bool canvas_fill(struct pictor_image *image, const struct pictor_image *mask, struct err *err)
{
    /* The SD WebUI's radii and how often each is laid on. */
    static const struct {
        double sigma;
        int times;
    } layers[] = {{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}};
    int w = image->width, h = image->height;
    size_t n = (size_t)w * (size_t)h, longer = (size_t)(w > h ? w : h);
    float *sum = calloc(n * 4, sizeof *sum), *layer = malloc(n * 4 * sizeof *layer);
    float *line = malloc(longer * 8 * sizeof *line);
    bool ok = sum && layer && line;
    if (!ok)
        err_set(err, ERR_TOO_LARGE, "no memory to fill a mask of %d x %d", w, h);
    for (size_t i = 0; ok && i < sizeof layers / sizeof *layers; i++) {
        cut_out(image, mask, layer);
        if (layers[i].sigma > 0) {
            struct box box = box_for(layers[i].sigma);
            blur_lines(layer, h, (size_t)w * 4, w, 4, box, line);
            blur_lines(layer, w, 4, h, (size_t)w * 4, box, line);
        }
        for (int k = 0; k < layers[i].times; k++)
            lay_over(sum, layer, n);
    }
    for (size_t i = 0; ok && i < n; i++) {
        float alpha = sum[4 * i + 3];
        for (int k = 0; k < 3; k++) {
            float v = alpha > 0 ? sum[4 * i + (size_t)k] / alpha : 0;
            image->pixels[3 * i + (size_t)k] = (uint8_t)lrintf(fmaxf(0, fminf(255, v)));
        }
    }
    free(sum);
    free(layer);
    free(line);
    return ok;
}
