/* colours.c: CIE L*a*b* of sRGB (IEC 61966-2-1, white of D65) in 8 bits a channel, as OpenCV packs
 * it; matching as skimage.exposure.match_histograms does it; luminosity as a blend mode of W3C's
 * "Compositing and Blending Level 1", section 10.2. A channel's new value depends on its old one
 * alone, so there is a table a channel and no second picture. */
#include "engine/pipeline/colours.h"

#include <math.h>
#include <string.h>

#define LEVELS 256
#define WHITE_X 0.950456f
#define WHITE_Z 1.088754f
#define CUBE_FROM 0.008856f /* of the white; below, the root is a straight line */

struct tables {
    float linear[LEVELS]; /* of an sRGB value */
};

static void tables_init(struct tables *t)
{
    for (int i = 0; i < LEVELS; i++) {
        float v = (float)i / 255;
        t->linear[i] = v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
    }
}

static float to_srgb(float v)
{
    return v <= 0.0031308f ? 12.92f * v : 1.055f * powf(v, 1 / 2.4f) - 0.055f;
}

static uint8_t to_byte(float v)
{
    return (uint8_t)(v > 0 ? v < 255 ? v + 0.5f : 255 : 0);
}

static float root(float t)
{
    return t > CUBE_FROM ? cbrtf(t) : 7.787f * t + 16.0f / 116;
}

static float cube(float f)
{
    float t = f * f * f;
    return t > CUBE_FROM ? t : (f - 16.0f / 116) / 7.787f;
}

static void to_lab(const struct tables *t, const uint8_t *rgb, uint8_t *lab)
{
    float r = t->linear[rgb[0]], g = t->linear[rgb[1]], b = t->linear[rgb[2]];
    float x = root((0.412453f * r + 0.357580f * g + 0.180423f * b) / WHITE_X);
    float light = 0.212671f * r + 0.715160f * g + 0.072169f * b, y = root(light);
    float z = root((0.019334f * r + 0.119193f * g + 0.950227f * b) / WHITE_Z);
    lab[0] = to_byte((light > CUBE_FROM ? 116 * y - 16 : 903.3f * light) * 255 / 100);
    lab[1] = to_byte(500 * (x - y) + 128);
    lab[2] = to_byte(200 * (y - z) + 128);
}

static void to_rgb(const uint8_t *lab, uint8_t *rgb)
{
    float l = (float)lab[0] * 100 / 255;
    float y = (l + 16) / 116;
    float x = cube(((float)lab[1] - 128) / 500 + y) * WHITE_X;
    float z = cube(y - ((float)lab[2] - 128) / 200) * WHITE_Z;
    y = l > 8 ? y * y * y : l / 903.3f;
    rgb[0] = to_byte(255 * to_srgb(3.240479f * x - 1.537150f * y - 0.498535f * z));
    rgb[1] = to_byte(255 * to_srgb(-0.969256f * x + 1.875991f * y + 0.041556f * z));
    rgb[2] = to_byte(255 * to_srgb(0.055648f * x - 0.204043f * y + 1.057311f * z));
}

static size_t pixels_of(const struct pictor_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

/* Of each channel, how many pixels have at most each value. */
static void accumulate(const struct tables *t, const struct pictor_image *image,
                       size_t counts[3][LEVELS])
{
    memset(counts, 0, 3 * sizeof *counts);
    for (size_t i = 0; i < pixels_of(image); i++) {
        uint8_t lab[3];
        to_lab(t, image->pixels + 3 * i, lab);
        for (int k = 0; k < 3; k++)
            counts[k][lab[k]]++;
    }
    for (int k = 0; k < 3; k++)
        for (int i = 1; i < LEVELS; i++)
            counts[k][i] += counts[k][i - 1];
}

/* The value of the other picture that as large a share of pixels lies below, between two that it
 * has. */
static void match(const size_t *from, const size_t *to, uint8_t *table)
{
    double pixels = (double)from[LEVELS - 1], others = (double)to[LEVELS - 1];
    int low = 0, high = 0;
    while (to[high] == 0)
        high++;
    low = high;
    for (int i = 0; i < LEVELS; i++) {
        double share = (double)from[i] / pixels;
        while (high < LEVELS - 1 && (double)to[high] / others < share) {
            low = high++;
            while (high < LEVELS - 1 && to[high] == to[low])
                high++;
        }
        double a = (double)to[low] / others, b = (double)to[high] / others;
        double part = low == high || share >= b ? 1 : share <= a ? 0 : (share - a) / (b - a);
        table[i] = (uint8_t)(low + part * (high - low));
    }
}

static float luminosity(const float *rgb)
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

/* The colour with the luminosity of another one, brought back into 0..255 along the way to grey. */
static void set_luminosity(const uint8_t *colour, const uint8_t *painted, uint8_t *out)
{
    float c[3], p[3];
    for (int k = 0; k < 3; k++) {
        c[k] = colour[k];
        p[k] = painted[k];
    }
    float l = luminosity(p), more = l - luminosity(c);
    for (int k = 0; k < 3; k++)
        c[k] += more;
    float low = fminf(fminf(c[0], c[1]), c[2]), high = fmaxf(fmaxf(c[0], c[1]), c[2]);
    for (int k = 0; k < 3; k++) {
        if (low < 0)
            c[k] = l + (c[k] - l) * l / (l - low);
        if (high > 255)
            c[k] = l + (c[k] - l) * (255 - l) / (high - l);
        out[k] = to_byte(c[k]);
    }
}

void colours_match(const struct pictor_image *like, struct pictor_image *image)
{
    struct tables t;
    size_t from[3][LEVELS], to[3][LEVELS];
    uint8_t table[3][LEVELS];
    tables_init(&t);
    accumulate(&t, image, from);
    accumulate(&t, like, to);
    for (int k = 0; k < 3; k++)
        match(from[k], to[k], table[k]);
    for (size_t i = 0; i < pixels_of(image); i++) {
        uint8_t lab[3], rgb[3], *pixel = image->pixels + 3 * i;
        to_lab(&t, pixel, lab);
        for (int k = 0; k < 3; k++)
            lab[k] = table[k][lab[k]];
        to_rgb(lab, rgb);
        set_luminosity(rgb, pixel, pixel);
    }
}
