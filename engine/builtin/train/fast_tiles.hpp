/* Products on tiles for training, over numbers that lie as [pixel][picture][channel] in
 * bfloat16.
 *
 * The one idea: sixteen pictures at one pixel are a tile's rows, so that a convolution is a sum of
 * plain products over its taps: no padding, no copies, and taps outside the picture are left out
 * (at 1x1 pixels eight of nine). A table of taps describes every kind of convolution, its transpose
 * serves the gradient. Weights come in float32 as [out][tap][in], and so do their gradients.
 * Pictures and channels are multiples of 32.
 */
#pragma once
#include <ATen/Parallel.h>
#include <immintrin.h>
#include <map>
#include <torch/extension.h>
#include "tiles.hpp"

using at::Tensor;
using List = std::vector<Tensor>;
typedef at::BFloat16 bf;
typedef __m512 vf;

static vf ld(const bf *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
static vf ld(const float *p)
{
    return _mm512_loadu_ps(p);
}
static void st(bf *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(v));
}
static void st(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
static vf all(float x)
{
    return _mm512_set1_ps(x);
}

/* 2^x, to 1e-4: finer than bfloat16 */
static inline vf exp2v(vf x)
{
    vf f = _mm512_reduce_ps(x, 0);
    vf p = _mm512_fmadd_ps(f, all(.0558342f), all(.2422152f));
    p = _mm512_fmadd_ps(p, f, all(.6931218f));
    p = _mm512_fmadd_ps(p, f, all(.9999249f));
    return _mm512_scalef_ps(p, _mm512_roundscale_ps(x, 0));
}
static inline vf sigmoid(vf x)
{
    return all(1) / (all(1) + exp2v(x * all(-1.442695f)));
}

/* ---- taps ---- */

enum { LINEAR, SAME, HALF, TWICE };
struct Pair {
    int from, tap;
};
struct Taps {
    int64_t pin, pout, count;
    std::vector<std::vector<Pair>> out,
        in; /* of each pixel of the output; of the input, for gradients */
    std::vector<std::vector<std::pair<int, int>>> each; /* of each tap: (output, input) */
};

static const Taps &taps(int kind, int64_t pin)
{
    static std::map<std::pair<int, int64_t>, Taps> cache;
    Taps &t = cache[{kind, pin}];
    if (!t.out.empty())
        return t;
    int s = (int)std::lround(std::sqrt((double)pin)), o = kind == HALF    ? (s + 1) / 2
                                                          : kind == TWICE ? 2 * s
                                                                          : s;
    t.pin = pin;
    t.pout = kind == LINEAR ? pin : o * o;
    t.count = kind == LINEAR ? 1 : 9;
    t.out.resize(t.pout);
    t.in.resize(pin);
    t.each.resize(t.count);
    for (int p = 0; p < t.pout; p++)
        for (int w = 0; w < t.count; w++) {
            int y = kind == LINEAR ? 0 : p / o, x = kind == LINEAR ? p : p % o, q = p;
            if (kind != LINEAR) {
                int step = kind == HALF ? 2 : 1, lim = kind == TWICE ? o : s;
                y = y * step + w / 3 - 1;
                x = x * step + w % 3 - 1;
                if (y < 0 || x < 0 || y >= lim || x >= lim)
                    continue;
                q = kind == TWICE ? (y / 2) * s + x / 2 : y * s + x;
            }
            t.out[p].push_back({q, w});
            t.in[q].push_back({p, w});
            t.each[w].push_back({p, q});
        }
    return t;
}

/* ---- products ---- */

static void transpose(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512i a = _mm512_unpacklo_epi32(r[i], r[i + 1]),
                b = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        __m512i c = _mm512_unpacklo_epi32(r[i + 2], r[i + 3]),
                d = _mm512_unpackhi_epi32(r[i + 2], r[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int k = 0; k < 4; k++) {
        __m512i a = _mm512_shuffle_i32x4(t[k], t[k + 4], 0x88),
                b = _mm512_shuffle_i32x4(t[k], t[k + 4], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(t[k + 8], t[k + 12], 0x88);
        __m512i d = _mm512_shuffle_i32x4(t[k + 8], t[k + 12], 0xdd);
        r[k] = _mm512_shuffle_i32x4(a, c, 0x88);
        r[k + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        r[k + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        r[k + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

/* two rows of 16 numbers, interleaved */
static __m512i pairs(__m256i a, __m256i b)
{
    return _mm512_or_si512(_mm512_cvtepu16_epi32(a),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
static __m256i half(const float *p)
{
    return (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(p));
}

/* Weights [N][taps][K] as right-hand tiles [tap][N / 32][K / 32][2]; back: to multiply with N and
 * give K. */
static Tensor pack(const Tensor &weight, bool back)
{
    int64_t N = weight.size(0), T = weight.size(1), K = weight.size(2);
    auto packed = at::empty({N * T * K}, at::kBFloat16);
    const float *w = weight.data_ptr<float>();
    char *to = (char *)packed.data_ptr();
    TORCH_CHECK(weight.is_contiguous() && N % 32 == 0 && K % 32 == 0, "weights of 32 n channels");
    for (int64_t t = 0; t < T; t++)
        for (int64_t n = 0; n < (back ? K : N); n += 32)
            for (int64_t k = 0; k < (back ? N : K); k += 32)
                for (int64_t m = n; m < n + 32; m += 16, to += 1024) {
                    __m512i r[16];
                    for (int i = 0; i < 16; i++) {
                        const float *p = w + ((m + i) * T + t) * K + k;
                        const float *a = w + ((k + 2 * i) * T + t) * K + m;
                        r[i] = back ? pairs(half(a), half(a + T * K))
                                    : (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + 16),
                                                                   _mm512_loadu_ps(p));
                    }
                    if (!back)
                        transpose(r);
                    for (int i = 0; i < 16; i++)
                        _mm512_store_si512(to + 64 * i, r[i]);
                }
    return packed;
}

struct Then {
    const float *bias = nullptr, *each = nullptr;
    const bf *add = nullptr;
}; /* [N], [B][N], [P][B][N] */

/* out[p][b][n] = sum over (q, t) of lists[p]: x[q][b][:] w[t][:][n], and what comes then */
static void product(const bf *x, const Tensor &weight, const std::vector<std::vector<Pair>> &lists,
                    int64_t B, int64_t K, int64_t N, Then then, bf *out)
{
    const bf *w = weight.data_ptr<bf>();
    int64_t blocks = B / 32;
    at::parallel_for(0, (int64_t)lists.size() * blocks, 16, [&](int64_t from, int64_t to) {
        alignas(64) float c[32 * 32];
        tiles_on();
        for (int64_t n = 0; n < N; n += 32)
            for (int64_t i = from; i < to; i++) {
                int64_t p = i / blocks, b = i % blocks * 32;
                block_zero(c);
                for (const Pair &e : lists[p]) {
                    const bf *a = x + (e.from * B + b) * K, *r = w + ((int64_t)e.tap * N + n) * K;
                    block_add(c, (const char *)a, 2 * K, 32 * K, 64, (const char *)r, 1024, 2048, K / 32);
                }
                block_store(c);
                vf b0 = then.bias ? ld(then.bias + n) : all(0),
                   b1 = then.bias ? ld(then.bias + n + 16) : all(0);
                for (int64_t r = 0; r < 32; r++) {
                    vf v0 = _mm512_load_ps(c + 32 * r) + b0,
                       v1 = _mm512_load_ps(c + 32 * r + 16) + b1;
                    int64_t at = (p * B + b + r) * N + n;
                    if (then.each) {
                        v0 += ld(then.each + (b + r) * N + n);
                        v1 += ld(then.each + (b + r) * N + n + 16);
                    }
                    if (then.add) {
                        v0 += ld(then.add + at);
                        v1 += ld(then.add + at + 16);
                    }
                    _mm512_storeu_si512(out + at, (__m512i)_mm512_cvtne2ps_pbh(v1, v0));
                }
            }
        tiles_off();
    });
}

/* Rows [R][C] as tiles [C / 16][R / 32]: pairs of rows interleaved, or turned to 16 channels of 32
 * rows */
static void pack_rows(const bf *x, int64_t R, int64_t C, bool turn, char *to)
{
    for (int64_t r = 0; r < R; r += 32)
        for (int64_t c = 0; c < C; c += 16) {
            __m512i t[16];
            char *tile = to + (c / 16 * (R / 32) + r / 32) * 1024;
            for (int i = 0; i < 16; i++) {
                const bf *p = x + (r + 2 * i) * C + c;
                t[i] = pairs(_mm256_loadu_si256((const __m256i *)p),
                             _mm256_loadu_si256((const __m256i *)(p + C)));
            }
            if (turn)
                transpose(t);
            for (int i = 0; i < 16; i++)
                _mm512_store_si512(tile + 64 * i, t[i]);
        }
}

static Tensor conv(const Tensor &x, const Tensor &w, const Taps &t, Then then)
{
    int64_t B = x.size(1), N = w.size(0), K = w.size(2);
    TORCH_CHECK(x.is_contiguous() && x.size(0) == t.pin && x.size(2) == K && w.size(1) == t.count &&
                    B % 32 == 0,
                "pictures of 32 n, channels as the weights'");
    auto y = at::empty({t.pout, B, N}, x.options());
    product(x.data_ptr<bf>(), pack(w, false), t.out, B, K, N, then, y.data_ptr<bf>());
    return y;
}

static Tensor conv_dx(const Tensor &dy, const Tensor &w, const Taps &t, const bf *add = nullptr)
{
    int64_t B = dy.size(1), N = w.size(0), K = w.size(2);
    auto dx = at::empty({t.pin, B, K}, dy.options());
    Then then;
    then.add = add;
    product(dy.data_ptr<bf>(), pack(w, true), t.in, B, N, K, then, dx.data_ptr<bf>());
    return dx;
}

static Tensor conv_dw(const Tensor &dy, const Tensor &x, const Taps &t)
{
    int64_t B = x.size(1), N = dy.size(2), K = x.size(2), ro = t.pout * B, ri = t.pin * B,
            blocks = B / 32;
    auto dw = at::empty({N, t.count, K}, at::kFloat), left = at::empty({ro * N}, x.options());
    auto right = at::empty({ri * K}, x.options());
    char *l = (char *)left.data_ptr(), *r = (char *)right.data_ptr();
    float *out = dw.data_ptr<float>();
    pack_rows(dy.data_ptr<bf>(), ro, N, true, l);
    pack_rows(x.data_ptr<bf>(), ri, K, false, r);
    at::parallel_for(0, t.count * (N / 32), 1, [&](int64_t from, int64_t to) {
        alignas(64) float sums[32 * 32];
        tiles_on();
        for (int64_t i = from; i < to; i++) {
            int64_t n = i % (N / 32) * 32, tap = i / (N / 32), so = ro / 32 * 1024,
                    si = ri / 32 * 1024;
            for (int64_t k = 0; k < K; k += 32) {
                block_zero(sums);
                for (auto [p, q] : t.each[tap])
                    block_add(sums, l + n / 16 * so + p * blocks * 1024, 64, so, 1024,
                              r + k / 16 * si + q * blocks * 1024, si, 1024, blocks);
                block_store(sums);
                float *o = out + (n * t.count + tap) * K + k;
                for (int row = 0; row < 32; row++, o += t.count * K) {
                    st(o, ld(sums + 32 * row));
                    st(o + 16, ld(sums + 32 * row + 16));
                }
            }
        }
        tiles_off();
    });
    return dw;
}

/* sum over pixels of each picture [B][C], or over pictures, too: [C] */
static Tensor sum_pixels(const Tensor &x)
{
    int64_t P = x.size(0), n = x.size(1) * x.size(2);
    auto s = at::zeros({x.size(1), x.size(2)}, at::kFloat);
    const bf *from = x.data_ptr<bf>();
    float *to = s.data_ptr<float>();
    for (int64_t p = 0; p < P; p++, from += n)
        for (int64_t i = 0; i < n; i += 16)
            st(to + i, ld(to + i) + ld(from + i));
    return s;
}

static Tensor sum_rows(const Tensor &x)
{
    int64_t C = x.size(-1), R = x.numel() / C;
    auto s = at::zeros({C}, at::kFloat);
    const bf *p = x.data_ptr<bf>();
    for (int64_t c = 0; c < C; c += 32) {
        vf a = all(0), b = a;
        for (int64_t r = 0; r < R; r++) {
            a += ld(p + r * C + c);
            b += ld(p + r * C + c + 16);
        }
        st(s.data_ptr<float>() + c, a);
        st(s.data_ptr<float>() + c + 16, b);
    }
    return s;
}
