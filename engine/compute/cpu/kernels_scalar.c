/* kernels_scalar.c: the definition of every inner loop, in plain C. See kernels.h. */
#include "engine/compute/cpu/kernels.h"

#include <math.h>
#include <string.h>

static float from_bf16(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) /* a NaN must not round to infinity */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void gemm_f32(const struct gemm *g)
{
    const float *a = g->a;
    for (int i = 0; i < g->m; i++) {
        for (int j0 = 0; j0 < g->n; j0 += PANEL) {
            const float *w = (const float *)g->w + (size_t)(j0 / PANEL) * g->w_panel;
            float sum[PANEL] = {0};
            for (int t = 0; t < g->taps; t++) {
                const float *row = a + (ptrdiff_t)((size_t)i * g->lda) + g->tap[t];
                for (int k = 0; k < g->k; k++, w += PANEL)
                    for (int j = 0; j < PANEL; j++)
                        sum[j] += row[k] * w[j];
            }
            memcpy(g->c + (size_t)i * g->ldc + j0, sum, sizeof sum);
        }
    }
}

static void gemm_bf16(const struct gemm *g)
{
    const uint16_t *a = g->a;
    for (int i = 0; i < g->m; i++) {
        for (int j0 = 0; j0 < g->n; j0 += PANEL) {
            const uint16_t *w = (const uint16_t *)g->w + (size_t)(j0 / PANEL) * g->w_panel;
            float sum[PANEL] = {0};
            for (int t = 0; t < g->taps; t++) {
                const uint16_t *row = a + (ptrdiff_t)((size_t)i * g->lda) + g->tap[t];
                for (int k = 0; k < g->k; k += 2, w += 2 * PANEL) {
                    float a0 = from_bf16(row[k]), a1 = from_bf16(row[k + 1]);
                    for (int j = 0; j < PANEL; j++)
                        sum[j] += a0 * from_bf16(w[2 * j]) + a1 * from_bf16(w[2 * j + 1]);
                }
            }
            memcpy(g->c + (size_t)i * g->ldc + j0, sum, sizeof sum);
        }
    }
}

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = from_bf16(src[i]);
}

static void f32_to_bf16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = to_bf16(src[i]);
}

static float silu(float x)
{
    return x / (1 + expf(-x));
}

static float gelu(float x)
{
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

static void activate(float *x, size_t n, enum activation act)
{
    switch (act) {
    case ACT_NONE:
        break;
    case ACT_SILU:
        for (size_t i = 0; i < n; i++)
            x[i] = silu(x[i]);
        break;
    case ACT_GELU:
        for (size_t i = 0; i < n; i++)
            x[i] = gelu(x[i]);
        break;
    case ACT_QUICK_GELU: /* x * sigmoid(1.702 x), as CLIP has it */
        for (size_t i = 0; i < n; i++)
            x[i] = x[i] / (1 + expf(-1.702f * x[i]));
        break;
    }
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void scale(float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= s;
}

static void affine(float *y, const float *x, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * a[i] + b[i];
}

static void moments(float *sum, float *sum2, const float *x, const float *pivot, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - pivot[i];
        sum[i] += d;
        sum2[i] += d * d;
    }
}

static void mean_var(float *mean, float *var, const float *x, size_t n)
{
    double sum = 0, sum2 = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    double m = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        sum2 += (x[i] - m) * (x[i] - m);
    *mean = (float)m;
    *var = (float)(sum2 / (double)n);
}

static void gate(float *y, const float *x, const float *g, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * gelu(g[i]);
}

static float max_of(const float *x, size_t n)
{
    float m = -INFINITY;
    for (size_t i = 0; i < n; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

static float exp_sum(float *x, float max, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - max);
    return sum;
}

static double peak(size_t rounds)
{
    enum { CHAINS = 8 };
    volatile float one = 1;
    float sum[CHAINS] = {0}, x = one, total = 0;
    for (size_t i = 0; i < rounds; i++)
        for (int j = 0; j < CHAINS; j++)
            sum[j] = sum[j] * x + x;
    for (int j = 0; j < CHAINS; j++)
        total += sum[j];
    one = total; /* so that it has to be computed */
    return 2.0 * CHAINS * (double)rounds;
}

const struct kernels kernels_scalar = {
    .name = "scalar",
    .peak_f32 = peak,
    .peak_bf16 = peak,
    .gemm_f32 = gemm_f32,
    .gemm_bf16 = gemm_bf16,
    .bf16_to_f32 = bf16_to_f32,
    .f32_to_bf16 = f32_to_bf16,
    .activate = activate,
    .add = add,
    .scale = scale,
    .affine = affine,
    .moments = moments,
    .mean_var = mean_var,
    .gate = gate,
    .max = max_of,
    .exp_sum = exp_sum,
};
