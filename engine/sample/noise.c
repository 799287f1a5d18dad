/* noise.c: Both generators are exact in their integers; the normals are computed in double (NV) or
 * float (CPU, as torch does), so they agree with the originals to the last bit or two. */
#include "engine/sample/noise.h"

#include <math.h>

#define PI 3.14159265358979323846
#define TWISTER_SIZE 624 /* Matsumoto & Nishimura 1998, MT19937 */
#define TWISTER_LAG 397

/* Philox4x32-10, Salmon et al. 2011. CUDA's curand takes the first two of the four words for the
 * first normal of a thread; thread `index` makes element `index` of a draw. */
static void philox(uint64_t seed, uint32_t draw, uint32_t index, uint32_t out[2])
{
    uint32_t c[4] = {draw, 0, index, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53u;
        uint64_t b = (uint64_t)c[2] * 0xCD9E8D57u;
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key[0], (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ key[1], (uint32_t)a};
        for (int i = 0; i < 4; i++)
            c[i] = next[i];
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    out[0] = c[0];
    out[1] = c[1];
}

static void draw_nv(struct noise *noise, float *out, size_t n)
{
    const double unit = 0x1p-32;
    const double turn = (float)(2.3283064e-10 * 6.2831855); /* 2 pi 2^-32 as curand rounds it */
    for (size_t i = 0; i < n; i++) {
        uint32_t g[2];
        philox(noise->seed, noise->draws, (uint32_t)i, g);
        double u = g[0] * unit + unit / 2;
        double v = g[1] * turn + turn / 2;
        out[i] = (float)(sqrt(-2.0 * log(u)) * sin(v));
    }
    noise->draws++;
}

static void twister_seed(struct noise *noise, uint32_t seed)
{
    noise->state[0] = seed;
    for (uint32_t i = 1; i < TWISTER_SIZE; i++)
        noise->state[i] = 1812433253u * (noise->state[i - 1] ^ (noise->state[i - 1] >> 30)) + i;
    noise->used = TWISTER_SIZE;
}

static uint32_t twister_next(struct noise *noise)
{
    uint32_t *s = noise->state;
    if (noise->used == TWISTER_SIZE) {
        for (int i = 0; i < TWISTER_SIZE; i++) {
            uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % TWISTER_SIZE] & 0x7fffffffu);
            s[i] = s[(i + TWISTER_LAG) % TWISTER_SIZE] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        noise->used = 0;
    }
    uint32_t y = s[noise->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static void fill_uniform(struct noise *noise, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(twister_next(noise) & 0xffffffu) * 0x1p-24f;
}

/* Sixteen uniforms become sixteen normals in place. */
static void box_muller(float *d)
{
    for (int j = 0; j < 8; j++) {
        float radius = sqrtf(-2.0f * logf(1.0f - d[j]));
        float angle = 2.0f * (float)PI * d[j + 8];
        d[j] = radius * cosf(angle);
        d[j + 8] = radius * sinf(angle);
    }
}

static double uniform_double(struct noise *noise)
{
    uint64_t high = twister_next(noise), low = twister_next(noise);
    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* torch's path for fewer than 16: pairs in double, the second of a pair kept for the next call. */
static float normal_single(struct noise *noise)
{
    if (noise->has_spare) {
        noise->has_spare = false;
        return (float)noise->spare;
    }
    double angle = 2.0 * PI * uniform_double(noise);
    double radius = sqrt(-2.0 * log1p(-uniform_double(noise)));
    noise->spare = radius * sin(angle);
    noise->has_spare = true;
    return (float)(radius * cos(angle));
}

static void draw_cpu(struct noise *noise, float *out, size_t n)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++)
            out[i] = normal_single(noise);
        return;
    }
    fill_uniform(noise, out, n);
    for (size_t i = 0; i + 16 <= n; i += 16)
        box_muller(out + i);
    if (n % 16) {
        /* The tail overlaps the last whole block, which is drawn afresh. */
        fill_uniform(noise, out + n - 16, 16);
        box_muller(out + n - 16);
    }
}

void noise_init(struct noise *noise, enum pictor_rng kind, uint64_t seed)
{
    *noise = (struct noise){.kind = kind, .seed = seed};
    if (kind == PICTOR_RNG_CPU)
        twister_seed(noise, (uint32_t)seed);
}

void noise_draw(struct noise *noise, float *out, size_t n)
{
    switch (noise->kind) {
    case PICTOR_RNG_NV:
        draw_nv(noise, out, n);
        break;
    case PICTOR_RNG_CPU:
        draw_cpu(noise, out, n);
        break;
    }
}

void noise_channels_last(float *out, const float *in, int channels, size_t pixels)
{
    size_t c = (size_t)channels;
    for (size_t k = 0; k < c; k++)
        for (size_t p = 0; p < pixels; p++)
            out[p * c + k] = in[k * pixels + p];
}

/* Cosine of the angle between two columns of `n` values that lie `stride` apart. */
static double cosine(const float *a, const float *b, int n, size_t stride)
{
    double aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < n; i++, a += stride, b += stride) {
        aa += (double)*a * *a;
        bb += (double)*b * *b;
        ab += (double)*a * *b;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
}

void noise_slerp(float *out, const float *a, const float *b, double strength, int channels,
                 int height, int width)
{
    size_t stride = (size_t)width, plane = (size_t)height * stride;
    size_t columns = (size_t)channels * stride;
    double mean = 0;
    for (size_t i = 0; i < columns; i++) {
        size_t at = i / stride * plane + i % stride;
        mean += cosine(a + at, b + at, height, stride);
    }
    bool alike = mean > 0.9995 * (double)columns;

    for (size_t i = 0; i < columns; i++) {
        size_t at = i / stride * plane + i % stride;
        /* For nearly equal noise the SD WebUI mixes with the weights swapped; seeds depend on it.
         */
        double wa = strength, wb = 1 - strength;
        if (!alike) {
            double omega = acos(fmax(-1, fmin(1, cosine(a + at, b + at, height, stride))));
            double s = sin(omega);
            bool degenerate = s < 1e-9; /* parallel columns: any mix lies on the same line */
            wa = degenerate ? 1 - strength : sin((1 - strength) * omega) / s;
            wb = degenerate ? strength : sin(strength * omega) / s;
        }
        for (int y = 0; y < height; y++, at += stride)
            out[at] = (float)(wa * a[at] + wb * b[at]);
    }
}
