"""Attention in float32 for heads of 8 to 16 channels, on a CPU with AVX2 (or more).

PyTorch's own spends nearly all its time beside the arithmetic when a head is this small. Here the keys
of a head lie as [channel][key], so that eight keys are a register; one query at a time meets all keys,
whose scores stay in the first cache. The way back makes the scores again from the row's logarithm of
the sum of exponentials.
"""
import torch
from torch.utils.cpp_extension import load_inline

SOURCE = r"""
#include <torch/extension.h>
#include <ATen/Parallel.h>
#include <cmath>
#include <cstring>
#include <vector>

typedef float v8 __attribute__((vector_size(32)));
typedef int i8 __attribute__((vector_size(32)));

static inline v8 all(float x)
{
    return v8{x, x, x, x, x, x, x, x};
}
/* 2^x for x in -126 .. 0, to 1e-5 or so */
static inline v8 exp2v(v8 x)
{
    x = x > -126 ? x : all(-126);
    v8 t = x + 12582912.f; /* 1.5 2^23: what is left of the point goes to the low bits */
    v8 f = x - (t - 12582912.f);
    v8 p = f * .00961812911f + .0555041086f;
    p = p * f + .240226507f;
    p = p * f + .693147181f;
    p = p * f + 1.f;
    i8 n = ((i8)t - 0x4b400000 + 127) << 23;
    return p * (v8)n;
}
static inline float sum(v8 v)
{
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}
static inline float biggest(v8 v)
{
    float m = v[0];
    for (int i = 1; i < 8; i++)
        m = v[i] > m ? v[i] : m;
    return m;
}
static inline v8 ld(const float *p)
{
    v8 v;
    memcpy(&v, p, 32);
    return v;
}
static inline void st(float *p, v8 v)
{
    memcpy(p, &v, 32);
}

/* keys of a head as [D][M], M a multiple of 8, zero where there are none */
template <int D>
static void turn(const float *x, int64_t step, int64_t n, int64_t M, float *to)
{
    for (int64_t j = 0; j < M; j++)
        for (int d = 0; d < D; d++)
            to[d * M + j] = j < n ? x[j * step + d] : 0;
}

static const float LOG2E = 1.44269504f, NEVER = -1e30f;

template <int D>
static void scores(const float *q, const float *kt, int64_t n, int64_t M, float scale, float *s)
{
    v8 a[D];
    for (int d = 0; d < D; d++)
        a[d] = all(q[d] * scale * LOG2E);
    for (int64_t j = 0; j < M; j += 8) {
        v8 x = a[0] * ld(kt + j);
        for (int d = 1; d < D; d++)
            x += a[d] * ld(kt + d * M + j);
        st(s + j, x);
    }
    for (int64_t j = n; j < M; j++)
        s[j] = NEVER;
}

/* q [B][N][H][D] by strides, k and v [B][n][H][D]; o [B][N][H][D], l [B][H][N] */
template <int D>
static void forward_t(const float *q, const float *k, const float *v, float *o, float *l, int64_t B, int64_t H,
                      int64_t N, int64_t n, float scale)
{
    int64_t M = (n + 7) / 8 * 8, step = H * D;
    at::parallel_for(0, B * H, 1, [&](int64_t from, int64_t to) {
        std::vector<float> kt(D * M + 8), vt(D * M + 8), s(M + 8);
        for (int64_t i = from; i < to; i++) {
            int64_t b = i / H, h = i % H;
            turn<D>(k + b * n * step + h * D, step, n, M, kt.data());
            turn<D>(v + b * n * step + h * D, step, n, M, vt.data());
            for (int64_t r = 0; r < N; r++) {
                scores<D>(q + (b * N + r) * step + h * D, kt.data(), n, M, scale, s.data());
                v8 m = ld(s.data());
                for (int64_t j = 8; j < M; j += 8) {
                    v8 x = ld(s.data() + j);
                    m = x > m ? x : m;
                }
                float top = biggest(m);
                v8 total = all(0), out[D];
                for (int d = 0; d < D; d++)
                    out[d] = all(0);
                for (int64_t j = 0; j < M; j += 8) {
                    v8 p = exp2v(ld(s.data() + j) - top);
                    total += p;
                    for (int d = 0; d < D; d++)
                        out[d] += p * ld(vt.data() + d * M + j);
                }
                float z = sum(total);
                for (int d = 0; d < D; d++)
                    o[(b * N + r) * step + h * D + d] = sum(out[d]) / z;
                l[i * N + r] = top + std::log2(z);
            }
        }
    });
}

template <int D>
static void backward_t(const float *q, const float *k, const float *v, const float *o, const float *l,
                       const float *go, float *dq, float *dk, float *dv, int64_t B, int64_t H, int64_t N, int64_t n,
                       float scale)
{
    int64_t M = (n + 7) / 8 * 8, step = H * D;
    at::parallel_for(0, B * H, 1, [&](int64_t from, int64_t to) {
        std::vector<float> kt(D * M), vt(D * M), dkt(D * M), dvt(D * M), s(M);
        for (int64_t i = from; i < to; i++) {
            int64_t b = i / H, h = i % H;
            turn<D>(k + b * n * step + h * D, step, n, M, kt.data());
            turn<D>(v + b * n * step + h * D, step, n, M, vt.data());
            std::fill(dkt.begin(), dkt.end(), 0.f);
            std::fill(dvt.begin(), dvt.end(), 0.f);
            for (int64_t r = 0; r < N; r++) {
                int64_t at = (b * N + r) * step + h * D;
                scores<D>(q + at, kt.data(), n, M, scale, s.data());
                float delta = 0, low = l[i * N + r];
                v8 g[D], a[D], dx[D];
                for (int d = 0; d < D; d++) {
                    delta += go[at + d] * o[at + d];
                    g[d] = all(go[at + d]);
                    a[d] = all(q[at + d]);
                    dx[d] = all(0);
                }
                for (int64_t j = 0; j < M; j += 8) {
                    v8 p = exp2v(ld(s.data() + j) - low);
                    v8 dp = all(-delta);
                    for (int d = 0; d < D; d++) {
                        dp += g[d] * ld(vt.data() + d * M + j);
                        st(dvt.data() + d * M + j, ld(dvt.data() + d * M + j) + p * g[d]);
                    }
                    v8 ds = p * dp * scale;
                    for (int d = 0; d < D; d++) {
                        dx[d] += ds * ld(kt.data() + d * M + j);
                        st(dkt.data() + d * M + j, ld(dkt.data() + d * M + j) + ds * a[d]);
                    }
                }
                for (int d = 0; d < D; d++)
                    dq[at + d] = sum(dx[d]);
            }
            for (int64_t j = 0; j < n; j++)
                for (int d = 0; d < D; d++) {
                    dk[(b * n + j) * step + h * D + d] = dkt[d * M + j];
                    dv[(b * n + j) * step + h * D + d] = dvt[d * M + j];
                }
        }
    });
}

#define EACH(call) \
    switch (D) { case 8: call<8> ARGS; break; case 12: call<12> ARGS; break; case 16: call<16> ARGS; break; \
    default: TORCH_CHECK(false, "heads of 8, 12 or 16 channels"); }

/* all [B][tokens][H][D], contiguous */
std::vector<at::Tensor> attend(at::Tensor q, at::Tensor k, at::Tensor v, double scale)
{
    int64_t B = q.size(0), N = q.size(1), H = q.size(2), D = q.size(3), n = k.size(1);
    auto o = at::empty_like(q), l = at::empty({B, H, N}, q.options());
#define ARGS (q.data_ptr<float>(), k.data_ptr<float>(), v.data_ptr<float>(), o.data_ptr<float>(), \
              l.data_ptr<float>(), B, H, N, n, (float)scale)
    EACH(forward_t)
#undef ARGS
    return {o, l};
}

std::vector<at::Tensor> attend_back(at::Tensor go, at::Tensor q, at::Tensor k, at::Tensor v, at::Tensor o,
                                    at::Tensor l, double scale)
{
    int64_t B = q.size(0), N = q.size(1), H = q.size(2), D = q.size(3), n = k.size(1);
    auto dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
#define ARGS (q.data_ptr<float>(), k.data_ptr<float>(), v.data_ptr<float>(), o.data_ptr<float>(), \
              l.data_ptr<float>(), go.data_ptr<float>(), dq.data_ptr<float>(), dk.data_ptr<float>(), \
              dv.data_ptr<float>(), B, H, N, n, (float)scale)
    EACH(backward_t)
#undef ARGS
    return {dq, dk, dv};
}
"""

ext = load_inline("pictor_small_heads", SOURCE, functions=["attend", "attend_back"],
                  extra_cflags=["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast",
                                "-funroll-loops", "-Wno-psabi"])


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale):  # [B, tokens, heads, channels]
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        o, low = ext.attend(q, k, v, scale)
        ctx.scale = scale
        ctx.save_for_backward(q, k, v, o, low)
        return o

    @staticmethod
    def backward(ctx, go):
        return *ext.attend_back(go.contiguous(), *ctx.saved_tensors, ctx.scale), None


def fits(q, *args, **kwargs):
    return (q.dtype == torch.float32 and q.dim() == 4 and q.shape[-1] in (8, 12, 16) and not args and
            not kwargs and q.shape[2] >= 128)


def attention(q, k, v):
    """As scaled_dot_product_attention: [B, heads, tokens, channels]."""
    out = Attention.apply(*(x.transpose(1, 2) for x in (q, k, v)), q.shape[-1] ** -.5)
    return out.transpose(1, 2)
