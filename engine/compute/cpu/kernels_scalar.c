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
    float *c = g->c;
    for (int i = 0; i < g->m; i++) {
        for (int j0 = 0; j0 < g->n; j0 += PANEL) {
            const float *w = (const float *)g->w + (size_t)(j0 / PANEL) * g->w_panel;
            float sum[PANEL] = {0};
            if (g->accumulate)
                memcpy(sum, c + (size_t)i * g->ldc + j0, sizeof sum);
            for (int t = 0; t < g->taps; t++) {
                const float *row = a + (ptrdiff_t)((size_t)i * g->lda) + g->tap[t];
                for (int k = 0; k < g->k; k++, w += PANEL)
                    for (int j = 0; j < PANEL; j++)
                        sum[j] += row[k] * w[j];
            }
            memcpy(c + (size_t)i * g->ldc + j0, sum, sizeof sum);
        }
    }
}

static void gemm_bf16(const struct gemm *g)
{
    const uint16_t *a = g->a;
    float *c = g->c;
    for (int i = 0; i < g->m; i++) {
        for (int j0 = 0; j0 < g->n; j0 += PANEL) {
            const uint16_t *w = (const uint16_t *)g->w + (size_t)(j0 / PANEL) * g->w_panel;
            float sum[PANEL] = {0};
            if (g->accumulate)
                memcpy(sum, c + (size_t)i * g->ldc + j0, sizeof sum);
            for (int t = 0; t < g->taps; t++) {
                const uint16_t *row = a + (ptrdiff_t)((size_t)i * g->lda) + g->tap[t];
                for (int k = 0; k < g->k; k += 2, w += 2 * PANEL) {
                    float a0 = from_bf16(row[k]), a1 = from_bf16(row[k + 1]);
                    for (int j = 0; j < PANEL; j++)
                        sum[j] += a0 * from_bf16(w[2 * j]) + a1 * from_bf16(w[2 * j + 1]);
                }
            }
            memcpy(c + (size_t)i * g->ldc + j0, sum, sizeof sum);
        }
    }
}

static void gemm_s8(const struct gemm *g)
{
    const int8_t *a = g->a;
    int32_t *c = g->c;
    for (int i = 0; i < g->m; i++) {
        for (int j0 = 0; j0 < g->n; j0 += PANEL) {
            const int8_t *w = (const int8_t *)g->w + (size_t)(j0 / PANEL) * g->w_panel;
            int32_t sum[PANEL] = {0};
            if (g->accumulate)
                memcpy(sum, c + (size_t)i * g->ldc + j0, sizeof sum);
            for (int t = 0; t < g->taps; t++) {
                const int8_t *row = a + (ptrdiff_t)((size_t)i * g->lda) + g->tap[t];
                for (int k = 0; k < g->k; k += 4, w += 4 * PANEL)
                    for (int j = 0; j < PANEL; j++)
                        for (int l = 0; l < 4; l++)
                            sum[j] += row[k + l] * w[4 * j + l];
            }
            memcpy(c + (size_t)i * g->ldc + j0, sum, sizeof sum);
        }
    }
}

static float get(enum dtype dtype, const void *p, size_t i)
{
    return dtype == DTYPE_BF16 ? from_bf16(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

static void put(enum dtype dtype, void *p, size_t i, float v)
{
    if (dtype == DTYPE_BF16)
        ((uint16_t *)p)[i] = to_bf16(v);
    else
        ((float *)p)[i] = v;
}

static void to_f32(float *dst, enum dtype dtype, const void *src, size_t n)
{
    dtype_to_f32(dtype, src, dst, n);
}

static void from_f32(enum dtype dtype, void *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(dtype, dst, i, src[i]);
}

static float amax(enum dtype dtype, const void *x, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(get(dtype, x, i)));
    return most;
}

static void to_s8(enum dtype dtype, int8_t *y, const void *x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (int8_t)(fmaf(get(dtype, x, i), by, ROUND_F32) - ROUND_F32);
}

static float gelu(float x)
{
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

static float act_of(float x, enum activation act)
{
    switch (act) {
    case ACT_NONE:
        break;
    case ACT_SILU:
        return x / (1 + expf(-x));
    case ACT_GELU:
        return gelu(x);
    case ACT_GELU_TANH:
        return 0.5f * x * (1 + tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
    case ACT_QUICK_GELU: /* x * sigmoid(1.702 x), as CLIP has it */
        return x / (1 + expf(-1.702f * x));
    case ACT_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

static float sum_of(const struct finish *f, size_t i, size_t j)
{
    size_t at = i * f->ldc + j;
    if (f->scale)
        return (float)((const int32_t *)f->c)[at] * (f->scale[j] * f->row_scale[i * f->row_step]);
    return ((const float *)f->c)[at];
}

static void finish(const struct finish *f)
{
    for (size_t i = 0; i < f->rows; i++) {
        for (size_t j = 0; j < f->n; j++) {
            float v;
            if (f->gated) {
                size_t at = j / PANEL * 2 * PANEL + j % PANEL;
                v = (sum_of(f, i, at) + f->bias[at]) *
                    act_of(sum_of(f, i, at + PANEL) + f->bias[at + PANEL], f->act);
            } else {
                v = act_of(sum_of(f, i, j) + f->bias[j] + (f->row ? f->row[j] : 0), f->act);
                if (f->slope && v < 0)
                    v *= f->slope[j];
                if (f->gate)
                    v *= f->gate[j];
                if (f->residual)
                    v += get(f->dtype, f->residual, i * f->residual_ld + j);
            }
            put(f->dtype, f->y, i * f->y_ld + j, v);
        }
    }
}

static void activate(enum dtype dtype, void *y, const void *x, size_t n, enum activation act)
{
    for (size_t i = 0; i < n; i++)
        put(dtype, y, i, act_of(get(dtype, x, i), act));
}

static void affine(enum dtype dtype, void *y, const void *x, const float *a, const float *b,
                   size_t n, enum activation act)
{
    for (size_t i = 0; i < n; i++)
        put(dtype, y, i, act_of(get(dtype, x, i) * a[i] + b[i], act));
}

static void moments(enum dtype dtype, float *sum, float *sum2, const void *x, const float *pivot,
                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float d = get(dtype, x, i) - pivot[i];
        sum[i] += d;
        sum2[i] += d * d;
    }
}

static void layer_norm(enum dtype dtype, void *y, const void *x, const float *gamma,
                       const float *beta, float eps, size_t n)
{
    double sum = 0, sum2 = 0;
    for (size_t i = 0; i < n; i++)
        sum += get(dtype, x, i);
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        sum2 += (get(dtype, x, i) - mean) * (get(dtype, x, i) - mean);
    double scale = 1 / sqrt(sum2 / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        put(dtype, y, i, (float)((get(dtype, x, i) - mean) * scale) * gamma[i] + beta[i]);
}

static void rms_norm(enum dtype dtype, void *y, const void *x, const float *gamma, float eps,
                     size_t n)
{
    double sum2 = 0;
    for (size_t i = 0; i < n; i++)
        sum2 += (double)get(dtype, x, i) * get(dtype, x, i);
    double scale = 1 / sqrt(sum2 / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        put(dtype, y, i, (float)(get(dtype, x, i) * scale) * gamma[i]);
}

static void rope(enum dtype dtype, void *y, const void *x, const float *near, const float *far,
                 size_t n, enum rope_pairs pairs)
{
    for (size_t p = 0; p < n / 2; p++) {
        size_t i = pairs == ROPE_ADJACENT ? 2 * p : p;
        size_t j = pairs == ROPE_ADJACENT ? 2 * p + 1 : p + n / 2;
        float u = get(dtype, x, i), v = get(dtype, x, j);
        put(dtype, y, i, u * near[i] + v * far[i]);
        put(dtype, y, j, v * near[j] + u * far[j]);
    }
}

static void turn(uint32_t *dst, const uint32_t *src, size_t n, size_t ld)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < PANEL; j++)
            dst[i * PANEL + j] = src[j * ld + i];
}

static void scale(enum dtype dtype, void *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(dtype, y, i, x[i] * s);
}

static void softmax(const struct softmax *f)
{
    size_t size = dtype_size(f->dtype);
    for (size_t i = 0; i < f->rows; i++) {
        const float *s = f->s + i * f->lds;
        char *p = (char *)f->p + i * f->ldp * size;
        size_t n = kernels_seen(f, i);
        if (n && (f->first || f->running)) {
            float m = -INFINITY;
            for (size_t j = 0; j < n; j++)
                m = s[j] > m ? s[j] : m;
            kernels_top(f, i, m * f->scale);
        }
        for (size_t j = 0; j < n; j++) {
            float e = expf(s[j] * f->scale - f->top[i]);
            put(f->dtype, p, j, e);
            f->total[i * LANES] += e;
        }
        memset(p + n * size, 0, (f->wide - n) * size);
    }
}

static double peak(size_t rounds)
{
    enum { CHAINS = 8 };
    volatile float one = 1;
    float sum[CHAINS] = {0, 1, 2, 3, 4, 5, 6, 7}, x = one, total = 0;
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
    .gemm_s8 = gemm_s8,
    .finish = finish,
    .to_f32 = to_f32,
    .from_f32 = from_f32,
    .amax = amax,
    .to_s8 = to_s8,
    .activate = activate,
    .affine = affine,
    .moments = moments,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .rope = rope,
    .turn = turn,
    .scale = scale,
    .softmax = softmax,
};
