#include "engine/io/image_extend.h"

#include <string.h>

#include "engine/io/image.h"

bool image_extend_fit(struct image_margins *m, int width, int height, int multiple, int max_side,
                      size_t max_pixels, struct err *err)
{
    const int given[] = {m->left, m->right, m->up, m->down};
    int any = 0;
    for (int i = 0; i < 4; i++) {
        if (given[i] < 0 || given[i] > max_side)
            return err_set(err, ERR_INVALID, "wanted margins of 0..%d pixels, got %d", max_side,
                           given[i]);
        any |= given[i];
    }
    if (!any)
        return err_set(err, ERR_INVALID,
                       "wanted a margin to the left, right, up or down, got none");
    int64_t w = (int64_t)width + m->left + m->right, h = (int64_t)height + m->up + m->down;
    w = (w + multiple - 1) / multiple * multiple;
    h = (h + multiple - 1) / multiple * multiple;
    if (w > max_side || h > max_side || (size_t)w * (size_t)h > max_pixels)
        return err_set(err, ERR_TOO_LARGE,
                       "the extended picture must be at most %zu pixels and %d on a side, got "
                       "%lldx%lld",
                       max_pixels, max_side, (long long)w, (long long)h);
    if (m->left)
        m->left = (int)(m->left * (w - width) / (m->left + m->right));
    if (m->up)
        m->up = (int)(m->up * (h - height) / (m->up + m->down));
    m->right = (int)w - width - m->left;
    m->down = (int)h - height - m->up;
    return true;
}

double image_extend_blur(int width, int height)
{
    int shorter = width < height ? width : height;
    return shorter < 256 ? shorter / 16 : 16;
}

int image_extend_overlap(double mask_blur)
{
    return mask_blur > 4 ? (int)(2 * mask_blur) : 8;
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* How far a place is from 0..n. */
static int beyond(int i, int n)
{
    return i < 0 ? -i : i < n ? 0 : i - n + 1;
}

/* 8 bits that look random, of a place and a channel (Steele et al. 2014, SplitMix64's finish). */
static int noise_at(int x, int y, int k)
{
    uint64_t z = ((uint64_t)(uint32_t)y << 34 ^ (uint64_t)(uint32_t)x << 2 ^ (uint64_t)k) *
                 UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (int)(z >> 56);
}

#define HALFWAY 64 /* pixels from the edge where noise has half of what it gets at most: one half */

static void paint(const struct pictor_image *in, const struct image_margins *m,
                  struct pictor_image *out)
{
    uint8_t *to = out->pixels;
    for (int j = -m->up; j < in->height + m->down; j++)
        for (int i = -m->left; i < in->width + m->right; i++) {
            const uint8_t *from = in->pixels + 3 * ((size_t)inside(j, in->height) *
                                                        (size_t)in->width +
                                                    (size_t)inside(i, in->width));
            int x = beyond(i, in->width), y = beyond(j, in->height), far = x > y ? x : y;
            for (int k = 0; k < 3; k++, to++)
                *to = far ? (uint8_t)((from[k] * (far + 2 * HALFWAY) + noise_at(i, j, k) * far) /
                                      (2 * (far + HALFWAY)))
                          : from[k];
        }
}

/* How deep the mask goes into the picture from a side that grows. */
static int depth(int margin, int overlap, int side)
{
    int most = side / 4;
    return margin ? overlap < most ? overlap : most : 0;
}

static void cover(const struct pictor_image *in, const struct image_margins *m, int overlap,
                  struct pictor_image *mask)
{
    int left = depth(m->left, overlap, in->width), right = depth(m->right, overlap, in->width);
    int up = depth(m->up, overlap, in->height), down = depth(m->down, overlap, in->height);
    memset(mask->pixels, 255, (size_t)mask->width * (size_t)mask->height);
    for (int y = up; y < in->height - down; y++)
        memset(mask->pixels + (size_t)(m->up + y) * (size_t)mask->width + m->left + left, 0,
               (size_t)(in->width - left - right));
}

bool image_extend(const struct pictor_image *in, const struct image_margins *m, int overlap,
                  struct pictor_image *out, struct pictor_image *mask, struct err *err)
{
    struct pictor_image colours = {0};
    int width = in->width + m->left + m->right, height = in->height + m->up + m->down;
    *out = *mask = (struct pictor_image){0};
    bool ok = image_convert(in, 3, &colours, err) && image_new(out, width, height, 3, err) &&
              image_new(mask, width, height, 1, err);
    if (ok) {
        paint(&colours, m, out);
        cover(&colours, m, overlap, mask);
    } else {
        pictor_image_free(out);
    }
    pictor_image_free(&colours);
    return ok;
}
