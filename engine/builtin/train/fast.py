"""Operations that are much faster on a CPU than as PyTorch has them.

Group normalisation:
profiles show more than half of a training step in PyTorch's group norm backward for channels-last
bfloat16, where a group is only a few channels wide. This replaces nn.GroupNorm.forward by a pass
over contiguous pixels with per-channel sums; accumulation is float32. The formulas: with
x^ = (x - m) r, y = g x^ + b and n values in a group,
    dx = r g dy - r S1 / n - r x^ T / n,   S1 = sum(g dy),  T = sum(g dy x^).

Attention: the backward pass for heads of 8 channels is five times faster in float32; small_heads.py has it.
"""
import torch
from torch.utils.cpp_extension import load_inline
import small_heads

SOURCE = r"""
#include <torch/extension.h>
#include <ATen/Parallel.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

static inline float load(const float *p) { return *p; }
static inline float load(const uint16_t *p)
{
    uint32_t u = (uint32_t)*p << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline void store(float *p, float v) { *p = v; }
static inline void store(uint16_t *p, float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    *p = (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* x, y [B][N][C]; mean, rstd [B][G]; gamma, beta [C] */
template <class T>
static void forward_t(const T *x, T *y, const float *gamma, const float *beta, float *mean,
                      float *rstd, int64_t B, int64_t N, int64_t C, int64_t G, double eps)
{
    at::parallel_for(0, B, 1, [&](int64_t b0, int64_t b1) {
        std::vector<float> s(C), q(C), a(C), o(C);
        for (int64_t b = b0; b < b1; b++) {
            const T *xb = x + b * N * C;
            T *yb = y + b * N * C;
            std::fill(s.begin(), s.end(), 0.f);
            std::fill(q.begin(), q.end(), 0.f);
            float *sp = s.data(), *qp = q.data(), *ap = a.data(), *op = o.data();
            for (int64_t i = 0; i < N; i++)
                for (int64_t c = 0; c < C; c++) {
                    float v = load(xb + i * C + c);
                    sp[c] += v;
                    qp[c] += v * v;
                }
            int64_t w = C / G;
            for (int64_t g = 0; g < G; g++) {
                double sum = 0, sq = 0, n = (double)(w * N);
                for (int64_t c = g * w; c < (g + 1) * w; c++) { sum += sp[c]; sq += qp[c]; }
                double m = sum / n, var = std::max(sq / n - m * m, 0.0);
                float r = (float)(1 / std::sqrt(var + eps));
                mean[b * G + g] = (float)m;
                rstd[b * G + g] = r;
                for (int64_t c = g * w; c < (g + 1) * w; c++) {
                    ap[c] = r * gamma[c];
                    op[c] = beta[c] - (float)m * ap[c];
                }
            }
            for (int64_t i = 0; i < N; i++)
                for (int64_t c = 0; c < C; c++)
                    store(yb + i * C + c, load(xb + i * C + c) * ap[c] + op[c]);
        }
    });
}

template <class T>
static void backward_t(const T *x, const T *dy, T *dx, const float *gamma, const float *mean,
                       const float *rstd, float *dgamma, float *dbeta, /* [B][C] each */
                       int64_t B, int64_t N, int64_t C, int64_t G)
{
    at::parallel_for(0, B, 1, [&](int64_t b0, int64_t b1) {
        std::vector<float> s(C), q(C), k1(C), k2(C), k3(C);
        for (int64_t b = b0; b < b1; b++) {
            const T *xb = x + b * N * C, *db = dy + b * N * C;
            T *ob = dx + b * N * C;
            std::fill(s.begin(), s.end(), 0.f);
            std::fill(q.begin(), q.end(), 0.f);
            float *sp = s.data(), *qp = q.data(), *p1 = k1.data(), *p2 = k2.data(), *p3 = k3.data();
            for (int64_t i = 0; i < N; i++)
                for (int64_t c = 0; c < C; c++) {
                    float d = load(db + i * C + c);
                    sp[c] += d;
                    qp[c] += d * load(xb + i * C + c);
                }
            int64_t w = C / G;
            float n = (float)(w * N);
            for (int64_t g = 0; g < G; g++) {
                float m = mean[b * G + g], r = rstd[b * G + g], s1 = 0, s2 = 0;
                for (int64_t c = g * w; c < (g + 1) * w; c++) {
                    s1 += gamma[c] * sp[c];
                    s2 += gamma[c] * qp[c];
                }
                float t = r * (s2 - m * s1);
                for (int64_t c = g * w; c < (g + 1) * w; c++) {
                    p1[c] = r * gamma[c];
                    p2[c] = -r * r * t / n;
                    p3[c] = -r * s1 / n + r * r * m * t / n;
                    dgamma[b * C + c] = r * (qp[c] - m * sp[c]);
                    dbeta[b * C + c] = sp[c];
                }
            }
            for (int64_t i = 0; i < N; i++)
                for (int64_t c = 0; c < C; c++)
                    store(ob + i * C + c, load(db + i * C + c) * p1[c] +
                                              load(xb + i * C + c) * p2[c] + p3[c]);
        }
    });
}

std::vector<at::Tensor> forward(at::Tensor x, at::Tensor gamma, at::Tensor beta, int64_t G, double eps)
{
    int64_t B = x.size(0), N = x.size(1), C = x.size(2);
    auto y = at::empty_like(x), mean = at::empty({B, G}, gamma.options()), rstd = at::empty_like(mean);
    if (x.scalar_type() == at::kBFloat16)
        forward_t((const uint16_t *)x.data_ptr(), (uint16_t *)y.data_ptr(), gamma.data_ptr<float>(),
                  beta.data_ptr<float>(), mean.data_ptr<float>(), rstd.data_ptr<float>(), B, N, C, G, eps);
    else
        forward_t(x.data_ptr<float>(), y.data_ptr<float>(), gamma.data_ptr<float>(),
                  beta.data_ptr<float>(), mean.data_ptr<float>(), rstd.data_ptr<float>(), B, N, C, G, eps);
    return {y, mean, rstd};
}

std::vector<at::Tensor> backward(at::Tensor x, at::Tensor dy, at::Tensor gamma, at::Tensor mean,
                                 at::Tensor rstd)
{
    int64_t B = x.size(0), N = x.size(1), C = x.size(2), G = mean.size(1);
    auto dx = at::empty_like(x), dg = at::empty({B, C}, gamma.options()), db = at::empty_like(dg);
    if (x.scalar_type() == at::kBFloat16)
        backward_t((const uint16_t *)x.data_ptr(), (const uint16_t *)dy.data_ptr(),
                   (uint16_t *)dx.data_ptr(), gamma.data_ptr<float>(), mean.data_ptr<float>(),
                   rstd.data_ptr<float>(), dg.data_ptr<float>(), db.data_ptr<float>(), B, N, C, G);
    else
        backward_t(x.data_ptr<float>(), dy.data_ptr<float>(), dx.data_ptr<float>(),
                   gamma.data_ptr<float>(), mean.data_ptr<float>(), rstd.data_ptr<float>(),
                   dg.data_ptr<float>(), db.data_ptr<float>(), B, N, C, G);
    return {dx, dg.sum(0), db.sum(0)};
}
"""

ext = load_inline("pictor_group_norm", SOURCE, functions=["forward", "backward"],
                  extra_cflags=["-O3", "-march=native", "-fopenmp", "-fno-math-errno"])


class GroupNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, groups, eps):  # x [B, N, C] contiguous
        y, mean, rstd = ext.forward(x, gamma.float(), beta.float(), groups, eps)
        ctx.save_for_backward(x, gamma, mean, rstd)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, gamma, mean, rstd = ctx.saved_tensors
        dx, dgamma, dbeta = ext.backward(x, dy.to(x.dtype).contiguous(), gamma.float(), mean, rstd)
        return dx, dgamma.to(gamma.dtype), dbeta.to(gamma.dtype), None, None


def group_norm_forward(self, x):
    shape = x.shape
    flat = x.movedim(1, -1).reshape(shape[0], -1, shape[1]).contiguous()
    y = GroupNormFunction.apply(flat, self.weight, self.bias, self.num_groups, self.eps)
    return y.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


attention = torch.nn.functional.scaled_dot_product_attention


def attention_f32(q, k, v, *args, **kwargs):
    with torch.autocast("cpu", enabled=False):
        if small_heads.fits(q, *args, **kwargs):
            return small_heads.attention(q, k, v)
        return attention(q.float(), k.float(), v.float(), *args, **kwargs).to(q.dtype)


def install():
    torch.nn.GroupNorm.forward = group_norm_forward
    torch.nn.functional.scaled_dot_product_attention = attention_f32
