#include "engine/pipeline/preview.h"

#include <math.h>
#include <string.h>

#define SIDE 16 /* latent pixels of the picture of patches */
#define PATCH 2 /* latent pixels of a patch: at least one is of one colour */
#define ROWS (FAMILY_CHANNELS + 1)

/* A X = B with A [rows, rows]. */
struct system {
    int rows;
    double a[ROWS][ROWS], b[ROWS][3];
};

/* Solves it, for symmetric positive definite A, by Gauss-Jordan, leaving X in B; false: singular.
 */
static bool solve(struct system *s)
{
    for (int i = 0; i < s->rows; i++) {
        if (fabs(s->a[i][i]) < 1e-9)
            return false;
        double scale = 1 / s->a[i][i];
        for (int j = 0; j < s->rows; j++)
            s->a[i][j] *= scale;
        for (int j = 0; j < 3; j++)
            s->b[i][j] *= scale;
        for (int k = 0; k < s->rows; k++) {
            if (k == i)
                continue;
            double f = s->a[k][i];
            for (int j = 0; j < s->rows; j++)
                s->a[k][j] -= f * s->a[i][j];
            for (int j = 0; j < 3; j++)
                s->b[k][j] -= f * s->b[i][j];
        }
    }
    return true;
}

/* Patch colours that cover the cube: a small linear congruential sequence, the same each time.
 * `patch`: pixels a side. */
static void paint_patches(float *picture, int side, int patch)
{
    uint32_t state = 1;
    int patches = side / patch;
    for (int py = 0; py < patches; py++)
        for (int px = 0; px < patches; px++)
            for (int c = 0; c < 3; c++) {
                state = state * 1664525u + 1013904223u; /* Numerical Recipes */
                float v = (float)(state >> 8) / (float)(1 << 23) - 1;
                for (int y = 0; y < patch; y++)
                    for (int x = 0; x < patch; x++)
                        picture[((size_t)(py * patch + y) * (size_t)side +
                                 (size_t)(px * patch + x)) *
                                    3 +
                                (size_t)c] = v;
            }
}

/* The normal equations of latent pixels against the colours of the corners of theirs. */
static void add_up(struct system *s, const float *picture, const float *latent, int channels,
                   int factor)
{
    int side = SIDE * factor;
    for (int i = 0; i < SIDE * SIDE; i++) {
        double row[ROWS];
        for (int c = 0; c < channels; c++)
            row[c] = latent[i * channels + c];
        row[channels] = 1;
        const float *p =
            picture +
            ((size_t)(i / SIDE * factor) * (size_t)side + (size_t)(i % SIDE * factor)) * 3;
        for (int j = 0; j < s->rows; j++) {
            for (int k = 0; k < s->rows; k++)
                s->a[j][k] += row[j] * row[k];
            for (int c = 0; c < 3; c++)
                s->b[j][c] += row[j] * (p[c] + 1) / 2;
        }
    }
    for (int j = 0; j < s->rows; j++)
        s->a[j][j] += 1e-3; /* ridge: latents that hardly vary must not get huge factors */
}

void preview_fit(struct preview *p, const struct family_model *m, struct ops *o)
{
    const struct family_facts *facts = &m->facts;
    int channels = facts->channels, side = SIDE * facts->factor;
    if (p->known)
        return;
    if (facts->preview) {
        memcpy(p->matrix, facts->preview, (size_t)(channels + 1) * sizeof *facts->preview);
        p->known = true;
        return;
    }
    size_t mark = arena_mark(o->arena);
    struct system *s = arena_alloc(o->arena, 1, sizeof *s);
    float *picture = arena_alloc(o->arena, 3 * (size_t)side * (size_t)side, sizeof *picture);
    float *latent = arena_alloc(o->arena, SIDE * SIDE * (size_t)channels, sizeof *latent);
    if (!arena_planning(o->arena))
        paint_patches(picture, side, PATCH * facts->factor);
    m->family->encode(m, o, picture, SIDE, SIDE, latent);
    if (!arena_planning(o->arena) && !device_stopped(o->dev)) {
        memset(s, 0, sizeof *s);
        s->rows = channels + 1;
        add_up(s, picture, latent, channels, facts->factor);
        if (solve(s))
            for (int j = 0; j < s->rows; j++)
                for (int c = 0; c < 3; c++)
                    p->matrix[j][c] = (float)s->b[j][c];
        p->known = true;
    }
    arena_reset(o->arena, mark);
}

void preview_paint(const struct preview *p, int channels, const float *latent, int w, int h,
                   struct pictor_image *out)
{
    out->width = w;
    out->height = h;
    out->channels = 3;
    for (size_t i = 0; i < (size_t)w * (size_t)h; i++)
        for (int c = 0; c < 3; c++) {
            float v = p->matrix[channels][c];
            for (int k = 0; k < channels; k++)
                v += latent[(size_t)channels * i + (size_t)k] * p->matrix[k][c];
            out->pixels[3 * i + (size_t)c] = (uint8_t)(v > 0 ? v < 1 ? v * 255 : 255 : 0);
        }
}

/* The mean of side x side pixels, of -1..1, as a byte. */
static uint8_t mean_at(const float *picture, int width, int x, int y, int side, int channel)
{
    float sum = 0;
    for (int k = 0; k < side * side; k++)
        sum += picture[((size_t)(y * side + k / side) * (size_t)width +
                        (size_t)(x * side + k % side)) *
                           3 +
                       (size_t)channel];
    float v = (sum / (float)(side * side) + 1) * 127.5f;
    return (uint8_t)(v > 0 ? v < 255 ? v : 255 : 0); /* NaN is 0 */
}

void preview_decode(const struct family_model *m, struct ops *o, const float *latent, int w, int h,
                    struct pictor_image *out)
{
    int width = w * m->facts.factor, height = h * m->facts.factor;
    int longer = width > height ? width : height, side = (longer + PREVIEW_SIDE - 1) / PREVIEW_SIDE;
    size_t mark = arena_mark(o->arena), n = 3 * (size_t)width * (size_t)height;
    float *picture = arena_alloc(o->arena, n, sizeof *picture);
    m->family->preview(m, o, latent, h, w, picture);
    out->width = width / side;
    out->height = height / side;
    out->channels = 3;
    uint8_t *to = out->pixels;
    for (int y = 0; y < out->height && !arena_planning(o->arena); y++)
        for (int x = 0; x < out->width; x++)
            for (int c = 0; c < 3; c++)
                *to++ = mean_at(picture, width, x, y, side, c);
    arena_reset(o->arena, mark);
}
