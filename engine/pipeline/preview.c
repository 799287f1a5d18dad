/* preview.c: see preview.h. */
#include "engine/pipeline/preview.h"

#include <math.h>
#include <stdlib.h>

#define ROWS MODEL_PREVIEW_ROWS
#define PATCH 16 /* pixels a side: two latent pixels, so that at least one is of one colour */

/* Solves A X = B for symmetric positive definite A [ROWS, ROWS] by Gauss-Jordan; false: singular.
 */
static bool solve(double a[ROWS][ROWS], double b[ROWS][3])
{
    for (int i = 0; i < ROWS; i++) {
        if (fabs(a[i][i]) < 1e-9)
            return false;
        double scale = 1 / a[i][i];
        for (int j = 0; j < ROWS; j++)
            a[i][j] *= scale;
        for (int j = 0; j < 3; j++)
            b[i][j] *= scale;
        for (int k = 0; k < ROWS; k++) {
            if (k == i)
                continue;
            double f = a[k][i];
            for (int j = 0; j < ROWS; j++)
                a[k][j] -= f * a[i][j];
            for (int j = 0; j < 3; j++)
                b[k][j] -= f * b[i][j];
        }
    }
    return true;
}

/* Patch colours that cover the cube: a small linear congruential sequence, the same each time. */
static void paint_patches(float *picture, int side)
{
    uint32_t state = 1;
    int patches = side / PATCH;
    for (int py = 0; py < patches; py++)
        for (int px = 0; px < patches; px++)
            for (int c = 0; c < 3; c++) {
                state = state * 1664525u + 1013904223u; /* Numerical Recipes */
                float v = (float)(state >> 8) / (float)(1 << 23) - 1;
                for (int y = 0; y < PATCH; y++)
                    for (int x = 0; x < PATCH; x++)
                        picture[((size_t)c * (size_t)side + (size_t)(py * PATCH + y)) *
                                    (size_t)side +
                                (size_t)(px * PATCH + x)] = v;
            }
}

void preview_fit(struct pictor_model *m, struct ops *o)
{
    /* For the autoencoder that all published SD 1.x models share, fitted on photographs: the
     * figures that SD front ends agree on. Other autoencoders are fitted here. */
    static const float sd1[4][3] = {{.298f, .207f, .208f},
                                    {.187f, .286f, .173f},
                                    {-.158f, .189f, .264f},
                                    {-.184f, -.271f, -.473f}};
    if (m->has_preview)
        return;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++)
            m->preview[i][j] = sd1[i][j] / 2;
    for (int j = 0; j < 3; j++)
        m->preview[4][j] = 0.5f;
    m->has_preview = true;
    if (m->arch.vae.encoder_channels[0] == 128) /* SD's own autoencoder */
        return;
    int side = PREVIEW_SIDE, n = side / VAE_FACTOR;
    float *picture = malloc(3 * (size_t)side * (size_t)side * sizeof *picture);
    float *latent = malloc(4 * (size_t)n * (size_t)n * sizeof *latent);
    if (!picture || !latent)
        goto done;
    paint_patches(picture, side);
    vae_encode(o, m->vae, picture, n, n, latent);
    double a[ROWS][ROWS] = {{0}}, b[ROWS][3] = {{0}};
    for (int i = 0; i < n * n; i++) {
        double row[ROWS];
        for (int c = 0; c < 4; c++)
            row[c] = latent[c * n * n + i];
        row[4] = 1;
        const float *p =
            picture + (size_t)(i / n * VAE_FACTOR) * (size_t)side + (size_t)(i % n * VAE_FACTOR);
        for (int j = 0; j < ROWS; j++) {
            for (int k = 0; k < ROWS; k++)
                a[j][k] += row[j] * row[k];
            for (int c = 0; c < 3; c++)
                b[j][c] += row[j] * (p[(size_t)c * (size_t)side * (size_t)side] + 1) / 2;
        }
    }
    for (int j = 0; j < ROWS; j++)
        a[j][j] += 1e-3; /* ridge: latents that hardly vary must not get huge factors */
    if (solve(a, b))
        for (int j = 0; j < ROWS; j++)
            for (int c = 0; c < 3; c++)
                m->preview[j][c] = (float)b[j][c];
done:
    free(picture);
    free(latent);
}

void preview_paint(const struct pictor_model *m, const float *latent, int w, int h,
                   struct pictor_image *out)
{
    out->width = w;
    out->height = h;
    out->channels = 3;
    for (size_t i = 0; i < (size_t)w * (size_t)h; i++)
        for (int c = 0; c < 3; c++) {
            float v = m->preview[4][c];
            for (int k = 0; k < 4; k++)
                v += latent[4 * i + (size_t)k] * m->preview[k][c];
            out->pixels[3 * i + (size_t)c] = (uint8_t)(v > 0 ? v < 1 ? v * 255 : 255 : 0);
        }
}
