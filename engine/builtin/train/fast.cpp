/* The UNet's blocks, forward and backward, on a CPU with AMX; and AdamW in one pass.
 *
 * The one idea: activations are [pixel][picture][channel] in bfloat16. Sixteen pictures at one
 * pixel are then a tile's rows, so that a convolution is a sum of plain products over its taps: no
 * padding, no copies, and taps outside the picture are left out (at 1x1 pixels eight of nine). A
 * table of taps describes every kind of convolution, its transpose serves the gradient. Weights
 * come in float32 as [out][tap][in], and so do their gradients. Pictures and channels are multiples
 * of 32.
 *
 * Attention has heads of few channels, where exponentials and not products cost: 16 queries (or
 * keys) a vector, exp2 by a polynomial, the logarithm of the sum kept for the way back.
 */
#include <ATen/Parallel.h>
#include <immintrin.h>
#include <map>
#include <sys/syscall.h>
#include <torch/extension.h>
#include <unistd.h>

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

static void tiles_on(void)
{
    alignas(64) static const struct Config {
        uint8_t palette = 1, start = 0, zero[14] = {0};
        uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    _tile_loadconfig(&config);
}

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
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (const Pair &e : lists[p]) {
                    const bf *a = x + (e.from * B + b) * K, *r = w + ((int64_t)e.tap * N + n) * K;
                    for (int64_t k = 0; k < K; k += 32, r += 1024) {
                        _tile_loadd(4, a + k, 2 * K);
                        _tile_loadd(6, r, 64);
                        _tile_dpbf16ps(0, 4, 6);
                        _tile_loadd(7, r + 512, 64);
                        _tile_dpbf16ps(1, 4, 7);
                        _tile_loadd(5, a + 16 * K + k, 2 * K);
                        _tile_dpbf16ps(2, 5, 6);
                        _tile_dpbf16ps(3, 5, 7);
                    }
                }
                _tile_stored(0, c, 128);
                _tile_stored(1, c + 16, 128);
                _tile_stored(2, c + 512, 128);
                _tile_stored(3, c + 528, 128);
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
        _tile_release();
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
        tiles_on();
        for (int64_t i = from; i < to; i++) {
            int64_t n = i % (N / 32) * 32, tap = i / (N / 32), so = ro / 32 * 1024,
                    si = ri / 32 * 1024;
            for (int64_t k = 0; k < K; k += 32) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (auto [p, q] : t.each[tap])
                    for (int64_t b = 0; b < blocks; b++) {
                        char *a = l + n / 16 * so + (p * blocks + b) * 1024;
                        char *c = r + k / 16 * si + (q * blocks + b) * 1024;
                        _tile_loadd(4, a, 64);
                        _tile_loadd(6, c, 64);
                        _tile_dpbf16ps(0, 4, 6);
                        _tile_loadd(7, c + si, 64);
                        _tile_dpbf16ps(1, 4, 7);
                        _tile_loadd(5, a + so, 64);
                        _tile_dpbf16ps(2, 5, 6);
                        _tile_dpbf16ps(3, 5, 7);
                    }
                float *o = out + (n * t.count + tap) * K + k;
                int64_t row = t.count * K;
                _tile_stored(0, o, 4 * row);
                _tile_stored(1, o + 16, 4 * row);
                _tile_stored(2, o + 16 * row, 4 * row);
                _tile_stored(3, o + 16 * row + 16, 4 * row);
            }
        }
        _tile_release();
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

/* ---- norms ---- */

/* Group norm of x [P][B][C], then SiLU if wanted. Gives y and, for the way back, scale and offset
 * of each picture and channel [2][B][C] with mean and deviation [2][B][32]. */
static List group_norm(const Tensor &x, const Tensor &gamma, const Tensor &beta, double eps,
                       bool silu)
{
    int64_t P = x.size(0), B = x.size(1), C = x.size(2), G = 32, W = C / G;
    auto y = at::empty_like(x), affine = at::empty({2, B, C}, at::kFloat),
         stats = at::empty({2, B, G}, at::kFloat);
    const bf *xp = x.data_ptr<bf>();
    const float *gp = gamma.data_ptr<float>(), *bp = beta.data_ptr<float>();
    bf *yp = y.data_ptr<bf>();
    float *mul = affine.data_ptr<float>(), *add = mul + B * C, *mean = stats.data_ptr<float>(),
          *dev = mean + B * G;
    at::parallel_for(0, B, 8, [&](int64_t from, int64_t to) {
        std::vector<float> sums(2 * C);
        for (int64_t b = from; b < to; b++) {
            for (int64_t c = 0; c < C; c += 16) {
                vf s = all(0);
                for (int64_t p = 0; p < P; p++)
                    s += ld(xp + (p * B + b) * C + c);
                st(sums.data() + c, s);
            }
            for (int64_t g = 0; g < G; g++) {
                float s = 0;
                for (int64_t c = g * W; c < (g + 1) * W; c++)
                    s += sums[c];
                mean[b * G + g] = s / (float)(W * P);
                for (int64_t c = g * W; c < (g + 1) * W; c++)
                    sums[C + c] = mean[b * G + g];
            }
            for (int64_t c = 0; c < C; c += 16) {
                vf q = all(0), m = ld(sums.data() + C + c);
                for (int64_t p = 0; p < P; p++) {
                    vf v = ld(xp + (p * B + b) * C + c) - m;
                    q = _mm512_fmadd_ps(v, v, q);
                }
                st(sums.data() + c, q);
            }
            for (int64_t g = 0; g < G; g++) {
                float q = 0, m = mean[b * G + g];
                for (int64_t c = g * W; c < (g + 1) * W; c++)
                    q += sums[c];
                float r = dev[b * G + g] = 1 / std::sqrt(q / (float)(W * P) + (float)eps);
                for (int64_t c = g * W; c < (g + 1) * W; c++) {
                    mul[b * C + c] = r * gp[c];
                    add[b * C + c] = bp[c] - m * r * gp[c];
                }
            }
            for (int64_t c = 0; c < C; c += 16) {
                vf m = ld(mul + b * C + c), a = ld(add + b * C + c);
                for (int64_t p = 0; p < P; p++) {
                    int64_t at = (p * B + b) * C + c;
                    vf v = _mm512_fmadd_ps(ld(xp + at), m, a);
                    st(yp + at, silu ? v * sigmoid(v) : v);
                }
            }
        }
    });
    return {y, affine, stats};
}

/* dx (and what is added to it), dgamma, dbeta. With x^ = (x - m) r, y = g x^ + b and n values in a
 * group, dx = r g dy - r S / n - r x^ T / n,  S = sum(g dy),  T = sum(g dy x^). */
static List group_norm_back(const Tensor &x, const Tensor &dy, const Tensor &gamma,
                            const Tensor &affine, const Tensor &stats, bool silu, const bf *plus)
{
    int64_t P = x.size(0), B = x.size(1), C = x.size(2), G = 32, W = C / G;
    auto dx = at::empty_like(x), dg = at::zeros({C}, at::kFloat), db = at::zeros({C}, at::kFloat);
    const bf *xp = x.data_ptr<bf>(), *dp = dy.data_ptr<bf>();
    const float *gp = gamma.data_ptr<float>(), *mul = affine.data_ptr<float>(), *add = mul + B * C;
    const float *mean = stats.data_ptr<float>(), *dev = mean + B * G;
    float *dgp = dg.data_ptr<float>(), *dbp = db.data_ptr<float>();
    bf *o = dx.data_ptr<bf>();
    std::vector<float> sums(2 * C), k(3 * C);
    for (int64_t b = 0; b < B; b++) {
        auto slope = [&](int64_t at, vf v, vf m, vf a) {
            vf d = ld(dp + at);
            if (!silu)
                return d;
            vf z = _mm512_fmadd_ps(v, m, a), s = sigmoid(z);
            return d * s * (all(1) + z * (all(1) - s));
        };
        for (int64_t c = 0; c < C; c += 16) {
            vf m = ld(mul + b * C + c), a = ld(add + b * C + c), s = all(0), q = s;
            for (int64_t p = 0; p < P; p++) {
                int64_t at = (p * B + b) * C + c;
                vf v = ld(xp + at), d = slope(at, v, m, a);
                s += d;
                q = _mm512_fmadd_ps(d, v, q);
            }
            st(sums.data() + c, s);
            st(sums.data() + C + c, q);
        }
        for (int64_t g = 0; g < G; g++) {
            float m = mean[b * G + g], r = dev[b * G + g], s1 = 0, s2 = 0, n = (float)(W * P);
            for (int64_t c = g * W; c < (g + 1) * W; c++) {
                s1 += gp[c] * sums[c];
                s2 += gp[c] * sums[C + c];
            }
            float t = r * (s2 - m * s1);
            for (int64_t c = g * W; c < (g + 1) * W; c++) {
                k[c] = r * gp[c];
                k[C + c] = -r * r * t / n;
                k[2 * C + c] = -r * s1 / n + r * r * m * t / n;
                dgp[c] += r * (sums[C + c] - m * sums[c]);
                dbp[c] += sums[c];
            }
        }
        for (int64_t c = 0; c < C; c += 16) {
            vf m = ld(mul + b * C + c), a = ld(add + b * C + c);
            vf k0 = ld(&k[c]), k1 = ld(&k[C + c]), k2 = ld(&k[2 * C + c]);
            for (int64_t p = 0; p < P; p++) {
                int64_t at = (p * B + b) * C + c;
                vf v = ld(xp + at), d = slope(at, v, m, a) * k0 + v * k1 + k2;
                st(o + at, plus ? d + ld(plus + at) : d);
            }
        }
    }
    return {dx, dg, db};
}

/* mean and 1 / deviation of a row */
static std::pair<float, float> row_stats(const bf *x, int64_t C)
{
    vf s = all(0), q = s;
    for (int64_t c = 0; c < C; c += 16)
        s += ld(x + c);
    float m = _mm512_reduce_add_ps(s) / C;
    for (int64_t c = 0; c < C; c += 16) {
        vf v = ld(x + c) - all(m);
        q = _mm512_fmadd_ps(v, v, q);
    }
    return {m, 1 / std::sqrt(_mm512_reduce_add_ps(q) / C + 1e-5f)};
}

static Tensor layer_norm(const Tensor &x, const Tensor &gamma, const Tensor &beta)
{
    int64_t C = x.size(-1), R = x.numel() / C;
    auto y = at::empty_like(x);
    const float *g = gamma.data_ptr<float>(), *b = beta.data_ptr<float>();
    const bf *p = x.data_ptr<bf>();
    bf *o = y.data_ptr<bf>();
    for (int64_t i = 0; i < R; i++, p += C, o += C) {
        auto [m, r] = row_stats(p, C);
        for (int64_t c = 0; c < C; c += 16)
            st(o + c, (ld(p + c) - all(m)) * all(r) * ld(g + c) + ld(b + c));
    }
    return y;
}

/* dx plus what reached x past the norm, dgamma, dbeta */
static List layer_norm_back(const Tensor &x, const Tensor &dy, const Tensor &gamma,
                            const Tensor &plus)
{
    int64_t C = x.size(-1), R = x.numel() / C;
    auto dx = at::empty_like(x), dg = at::zeros({C}, at::kFloat), db = at::zeros({C}, at::kFloat);
    float *dgp = dg.data_ptr<float>(), *dbp = db.data_ptr<float>();
    const float *g = gamma.data_ptr<float>();
    const bf *p = x.data_ptr<bf>(), *d = dy.data_ptr<bf>(), *past = plus.data_ptr<bf>();
    bf *o = dx.data_ptr<bf>();
    for (int64_t i = 0; i < R; i++, p += C, d += C, past += C, o += C) {
        auto [m, r] = row_stats(p, C);
        vf s = all(0), t = s, mv = all(m), rv = all(r);
        for (int64_t c = 0; c < C; c += 16) {
            vf v = (ld(p + c) - mv) * rv, e = ld(d + c), ge = e * ld(g + c);
            s += ge;
            t = _mm512_fmadd_ps(ge, v, t);
            st(dgp + c, ld(dgp + c) + e * v);
            st(dbp + c, ld(dbp + c) + e);
        }
        vf s1 = all(_mm512_reduce_add_ps(s) / C), t1 = all(_mm512_reduce_add_ps(t) / C);
        for (int64_t c = 0; c < C; c += 16) {
            vf v = (ld(p + c) - mv) * rv, ge = ld(d + c) * ld(g + c);
            st(o + c, (ge - s1 - v * t1) * rv + ld(past + c));
        }
    }
    return {dx, dg, db};
}

/* the normal distribution's integral (Abramowitz and Stegun 7.1.26) and its density times x */
static inline void normal(vf x, vf &whole, vf &slope)
{
    vf a = _mm512_abs_ps(x) * all(.70710678f), e = exp2v(x * x * all(-.72134752f));
    vf t = all(1) / _mm512_fmadd_ps(a, all(.3275911f), all(1));
    vf p = _mm512_fmadd_ps(t, all(1.061405429f), all(-1.453152027f));
    p = _mm512_fmadd_ps(p, t, all(1.421413741f));
    p = _mm512_fmadd_ps(p, t, all(-.284496736f));
    p = _mm512_fmadd_ps(p, t, all(.254829592f)) * t * e * all(.5f);
    whole = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, all(0), _CMP_LT_OQ), all(1) - p, p);
    slope = x * e * all(.39894228f);
}

static Tensor gate(const Tensor &u)
{
    int64_t C = u.size(2) / 2, R = u.numel() / (2 * C);
    auto y = at::empty({u.size(0), u.size(1), C}, u.options());
    const bf *p = u.data_ptr<bf>();
    bf *o = y.data_ptr<bf>();
    for (int64_t i = 0; i < R; i++, p += 2 * C, o += C)
        for (int64_t c = 0; c < C; c += 16) {
            vf w, s, b = ld(p + C + c);
            normal(b, w, s);
            st(o + c, ld(p + c) * b * w);
        }
    return y;
}

static Tensor gate_back(const Tensor &u, const Tensor &dy)
{
    int64_t C = u.size(2) / 2, R = u.numel() / (2 * C);
    auto du = at::empty_like(u);
    const bf *p = u.data_ptr<bf>(), *from = dy.data_ptr<bf>();
    bf *o = du.data_ptr<bf>();
    for (int64_t i = 0; i < R; i++, p += 2 * C, o += 2 * C, from += C)
        for (int64_t c = 0; c < C; c += 16) {
            vf w, s, b = ld(p + C + c), d = ld(from + c);
            normal(b, w, s);
            st(o + c, d * b * w);
            st(o + C + c, d * ld(p + c) * (w + s));
        }
    return du;
}

/* ---- attention ---- */

static const int HEADS = 8;
static const float LOG2E = 1.44269504f, LIMIT = 80;

static inline vf bound(vf s)
{
    return _mm512_max_ps(_mm512_min_ps(s, all(LIMIT)), all(-LIMIT));
}
/* the slope t of a score s, which has none outside the bounds */
static inline vf within(vf s, vf t)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(s), all(LIMIT), _CMP_LT_OQ), t);
}

/* rows i of one head, [n][D] with a step between rows, to float: as they are, or turned [D][n16] */
template <int D>
static void take(const bf *x, int64_t n, int64_t step, float scale, float *rows, float *turned)
{
    int64_t n16 = (n + 15) / 16 * 16;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < D; c++) {
            float v = (float)x[i * step + c] * scale;
            if (rows)
                rows[i * D + c] = v;
            if (turned)
                turned[c * n16 + i] = v;
        }
    if (turned)
        for (int c = 0; c < D; c++)
            for (int64_t i = n; i < n16; i++)
                turned[c * n16 + i] = 0;
}

template <int D> static void give(const float *turned, int64_t n, float scale, bf *x, int64_t step)
{
    int64_t n16 = (n + 15) / 16 * 16;
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < D; c++)
            x[i * step + c] = bf(turned[c * n16 + i] * scale);
}

struct Heads {
    const bf *q, *k, *v;
    int64_t nq, nk, B, ldq, ldk;
}; /* rows [token][picture], ld channels apart */

/* o [nq][B][C]; sums [B][HEADS][nq16]: logarithms of the sums */
template <int D> static void attend(const Heads &h, bf *o, float *sums)
{
    int64_t nq = h.nq, nk = h.nk, q16 = (nq + 15) / 16 * 16, C = HEADS * D;
    at::parallel_for(0, h.B, 4, [&](int64_t from, int64_t to) {
        std::vector<float> q(D * q16), k(nk * D), v(nk * D), out(D * q16);
        for (int64_t b = from; b < to; b++)
            for (int head = 0; head < HEADS; head++) {
                int64_t at = head * D;
                take<D>(h.q + b * h.ldq + at, nq, h.B * h.ldq, LOG2E / std::sqrt((float)D), nullptr,
                        q.data());
                take<D>(h.k + b * h.ldk + at, nk, h.B * h.ldk, 1, k.data(), nullptr);
                take<D>(h.v + b * h.ldk + at, nk, h.B * h.ldk, 1, v.data(), nullptr);
                for (int64_t i = 0; i < q16; i += 16) {
                    vf a[D], x[D], sum = all(0);
                    for (int c = 0; c < D; c++) {
                        x[c] = ld(&q[c * q16 + i]);
                        a[c] = all(0);
                    }
                    for (int64_t j = 0; j < nk; j++) {
                        vf s0 = all(0), s1 = s0;
                        for (int c = 0; c < D; c += 2) {
                            s0 = _mm512_fmadd_ps(x[c], all(k[j * D + c]), s0);
                            s1 = _mm512_fmadd_ps(x[c + 1], all(k[j * D + c + 1]), s1);
                        }
                        vf p = exp2v(bound(s0 + s1));
                        sum += p;
                        for (int c = 0; c < D; c++)
                            a[c] = _mm512_fmadd_ps(p, all(v[j * D + c]), a[c]);
                    }
                    alignas(64) float l[16];
                    vf inverse = all(1) / sum;
                    _mm512_store_ps(l, sum);
                    for (int c = 0; c < D; c++)
                        st(&out[c * q16 + i], a[c] * inverse);
                    for (int n = 0; n < 16; n++)
                        sums[(b * HEADS + head) * q16 + i + n] = std::log2(l[n]);
                }
                give<D>(out.data(), nq, 1, o + b * C + at, h.B * C);
            }
    });
}

/* dq, dk, dv lie as q, k, v do */
template <int D>
static void attend_back(const Heads &h, const bf *o, const bf *grad, const float *sums, bf *dq,
                        bf *dk, bf *dv)
{
    int64_t nq = h.nq, nk = h.nk, q16 = (nq + 15) / 16 * 16, k16 = (nk + 15) / 16 * 16,
            C = HEADS * D;
    at::parallel_for(0, h.B, 4, [&](int64_t from, int64_t to) {
        std::vector<float> q(nq * D), qt(D * q16), k(nk * D), kt(D * k16), v(nk * D), vt(D * k16);
        std::vector<float> g(nq * D), gt(D * q16), dot(q16), dqt(D * q16), dkt(D * k16),
            dvt(D * k16);
        for (int64_t b = from; b < to; b++)
            for (int head = 0; head < HEADS; head++) {
                int64_t at = head * D;
                const float *l = sums + (b * HEADS + head) * q16;
                take<D>(h.q + b * h.ldq + at, nq, h.B * h.ldq, LOG2E / std::sqrt((float)D),
                        q.data(), qt.data());
                take<D>(h.k + b * h.ldk + at, nk, h.B * h.ldk, 1, k.data(), kt.data());
                take<D>(h.v + b * h.ldk + at, nk, h.B * h.ldk, 1, v.data(), vt.data());
                take<D>(grad + b * C + at, nq, h.B * C, 1, g.data(), gt.data());
                for (int64_t i = 0; i < nq; i++) {
                    const bf *r = o + (i * h.B + b) * C + at;
                    float s = 0;
                    for (int c = 0; c < D; c++)
                        s += (float)r[c] * g[i * D + c];
                    dot[i] = s;
                }
                for (int64_t i = 0; i < q16; i += 16) {
                    vf x[D], e[D], a[D], lv = ld(l + i), dv = ld(&dot[i]);
                    for (int c = 0; c < D; c++) {
                        x[c] = ld(&qt[c * q16 + i]);
                        e[c] = ld(&gt[c * q16 + i]);
                        a[c] = all(0);
                    }
                    for (int64_t j = 0; j < nk; j++) {
                        vf s = all(0), t = s;
                        for (int c = 0; c < D; c++) {
                            s = _mm512_fmadd_ps(x[c], all(k[j * D + c]), s);
                            t = _mm512_fmadd_ps(e[c], all(v[j * D + c]), t);
                        }
                        t = within(s, exp2v(bound(s) - lv) * (t - dv));
                        for (int c = 0; c < D; c++)
                            a[c] = _mm512_fmadd_ps(t, all(k[j * D + c]), a[c]);
                    }
                    for (int c = 0; c < D; c++)
                        st(&dqt[c * q16 + i], a[c]);
                }
                for (int64_t j = 0; j < k16; j += 16) {
                    vf x[D], y[D], a[D], e[D];
                    for (int c = 0; c < D; c++) {
                        x[c] = ld(&kt[c * k16 + j]);
                        y[c] = ld(&vt[c * k16 + j]);
                        a[c] = e[c] = all(0);
                    }
                    for (int64_t i = 0; i < nq; i++) {
                        vf s = all(0), t = s;
                        for (int c = 0; c < D; c++) {
                            s = _mm512_fmadd_ps(x[c], all(q[i * D + c]), s);
                            t = _mm512_fmadd_ps(y[c], all(g[i * D + c]), t);
                        }
                        vf p = exp2v(bound(s) - all(l[i]));
                        t = within(s, p * (t - all(dot[i])));
                        for (int c = 0; c < D; c++) {
                            a[c] = _mm512_fmadd_ps(t, all(q[i * D + c]), a[c]);
                            e[c] = _mm512_fmadd_ps(p, all(g[i * D + c]), e[c]);
                        }
                    }
                    for (int c = 0; c < D; c++) {
                        st(&dkt[c * k16 + j], a[c]);
                        st(&dvt[c * k16 + j], e[c]);
                    }
                }
                give<D>(dqt.data(), nq, 1 / std::sqrt((float)D), dq + b * h.ldq + at, h.B * h.ldq);
                give<D>(dkt.data(), nk, 1 / LOG2E, dk + b * h.ldk + at, h.B * h.ldk);
                give<D>(dvt.data(), nk, 1, dv + b * h.ldk + at, h.B * h.ldk);
            }
    });
}

#define BY_WIDTH(C, CALL)                                                                          \
    switch ((C) / HEADS) {                                                                         \
    case 8:                                                                                        \
        CALL(8);                                                                                   \
        break;                                                                                     \
    case 12:                                                                                       \
        CALL(12);                                                                                  \
        break;                                                                                     \
    case 16:                                                                                       \
        CALL(16);                                                                                  \
        break;                                                                                     \
    default:                                                                                       \
        TORCH_CHECK(false, "heads of 8, 12 or 16 channels");                                       \
    }

/* ---- blocks ---- */

static const float *f(const Tensor &t)
{
    return t.defined() && t.numel() ? t.data_ptr<float>() : nullptr;
}
static Tensor flat(const Tensor &x)
{
    return x.view({1, -1, x.size(-1)});
}
static Tensor as_taps(const Tensor &w)
{
    return w.view({w.size(0), 1, -1});
}

static Tensor linear(const Tensor &x, const Tensor &w, const Tensor &bias, const Tensor &add)
{
    Then then;
    then.bias = f(bias);
    then.add = add.defined() ? add.data_ptr<bf>() : nullptr;
    auto y = conv(flat(x), as_taps(w), taps(LINEAR, 1), then);
    return y.view({x.size(0), x.size(1), w.size(0)});
}
static Tensor linear_dx(const Tensor &dy, const Tensor &w, const Tensor &add)
{
    auto dx = conv_dx(flat(dy), as_taps(w), taps(LINEAR, 1),
                      add.defined() ? add.data_ptr<bf>() : nullptr);
    return dx.view({dy.size(0), dy.size(1), -1});
}
static Tensor linear_dw(const Tensor &dy, const Tensor &x)
{
    return conv_dw(flat(dy), flat(x), taps(LINEAR, 1)).squeeze(1);
}

/* x, e; p: norm1 2, conv1 2, norm2 2, conv2 2, skip 2 (if the width changes) */
List resnet(Tensor x, Tensor e, List p)
{
    const Taps &t = taps(SAME, x.size(0));
    auto n1 = group_norm(x, p[0], p[1], 1e-5, true);
    Then then;
    then.bias = f(p[3]);
    then.each = f(e);
    auto h = conv(n1[0], p[2], t, then);
    auto n2 = group_norm(h, p[4], p[5], 1e-5, true);
    auto skip = p.size() > 8 ? linear(x, p[8], p[9], Tensor()) : x;
    then = Then();
    then.bias = f(p[7]);
    then.add = skip.data_ptr<bf>();
    return {conv(n2[0], p[6], t, then), n1[0], n1[1], n1[2], h, n2[0], n2[1], n2[2]};
}

/* dx, de, then as p */
List resnet_back(Tensor dy, Tensor x, List kept, List p)
{
    const Taps &t = taps(SAME, x.size(0));
    const Tensor &a1 = kept[0], &h = kept[3], &a2 = kept[4];
    auto dw2 = conv_dw(dy, a2, t), db2 = sum_rows(dy);
    auto d2 = group_norm_back(h, conv_dx(dy, p[6], t), p[4], kept[5], kept[6], true, nullptr);
    auto de = sum_pixels(d2[0]);
    auto dw1 = conv_dw(d2[0], a1, t), da1 = conv_dx(d2[0], p[2], t);
    auto past = p.size() > 8 ? linear_dx(dy, p[8], Tensor()) : dy;
    auto d1 = group_norm_back(x, da1, p[0], kept[1], kept[2], true, past.data_ptr<bf>());
    List out = {d1[0], de, d1[1], d1[2], dw1, de.sum(0), d2[1], d2[2], dw2, db2};
    if (p.size() > 8) {
        out.push_back(linear_dw(dy, x));
        out.push_back(db2);
    }
    return out;
}

enum {
    NORM = 0,
    IN = 2,
    LN1 = 4,
    LN2 = 6,
    LN3 = 8,
    QKV = 10,
    OUT1 = 13,
    Q2 = 15,
    KV2 = 16,
    OUT2 = 18,
    FF1 = 20,
    FF2 = 22,
    LAST = 24,
    PARAMS = 26
};

static Heads self(const Tensor &qkv, int64_t C)
{
    const bf *q = qkv.data_ptr<bf>();
    return {q, q + C, q + 2 * C, qkv.size(0), qkv.size(0), qkv.size(1), 3 * C, 3 * C};
}
static Heads cross(const Tensor &q, const Tensor &kv, int64_t C)
{
    const bf *k = kv.data_ptr<bf>();
    return {q.data_ptr<bf>(), k, k + C, q.size(0), kv.size(0), q.size(1), C, 2 * C};
}

/* x [P][B][C], context [T][B][D] */
List transformer(Tensor x, Tensor context, List p)
{
    TORCH_CHECK(p.size() == PARAMS && context.is_contiguous(), "a transformer's parameters");
    int64_t P = x.size(0), B = x.size(1), C = x.size(2);
    Tensor none;
    auto n0 = group_norm(x, p[NORM], p[NORM + 1], 1e-6, false);
    auto h0 = linear(n0[0], p[IN], p[IN + 1], none);
    auto n1 = layer_norm(h0, p[LN1], p[LN1 + 1]);
    auto qkv = linear(n1, at::cat({p[QKV], p[QKV + 1], p[QKV + 2]}), none, none);
    auto o1 = at::empty_like(x), o2 = at::empty_like(x);
    auto s1 = at::empty({B, HEADS, (P + 15) / 16 * 16}, at::kFloat), s2 = at::empty_like(s1);
    Heads a = self(qkv, C);
#define CALL(D) attend<D>(a, o1.data_ptr<bf>(), s1.data_ptr<float>())
    BY_WIDTH(C, CALL)
#undef CALL
    auto h1 = linear(o1, p[OUT1], p[OUT1 + 1], h0);
    auto n2 = layer_norm(h1, p[LN2], p[LN2 + 1]);
    auto q2 = linear(n2, p[Q2], none, none),
         kv2 = linear(context, at::cat({p[KV2], p[KV2 + 1]}), none, none);
    a = cross(q2, kv2, C);
#define CALL(D) attend<D>(a, o2.data_ptr<bf>(), s2.data_ptr<float>())
    BY_WIDTH(C, CALL)
#undef CALL
    auto h2 = linear(o2, p[OUT2], p[OUT2 + 1], h1);
    auto n3 = layer_norm(h2, p[LN3], p[LN3 + 1]);
    auto u = linear(n3, p[FF1], p[FF1 + 1], none), g = gate(u);
    auto h3 = linear(g, p[FF2], p[FF2 + 1], h2);
    auto y = linear(h3, p[LAST], p[LAST + 1], x);
    return {y, n0[0], n0[1], n0[2], h0, n1, qkv, o1, s1, h1, n2, q2, kv2, o2, s2, h2, n3, u, g, h3};
}

/* dx, dcontext, then as p */
List transformer_back(Tensor dy, Tensor x, Tensor context, List k, List p)
{
    const Tensor &n0 = k[0], &h0 = k[3], &n1 = k[4], &qkv = k[5], &o1 = k[6], &s1 = k[7],
                 &h1 = k[8], &n2 = k[9];
    const Tensor &q2 = k[10], &kv2 = k[11], &o2 = k[12], &s2 = k[13], &h2 = k[14], &n3 = k[15],
                 &u = k[16];
    const Tensor &g = k[17], &h3 = k[18];
    int64_t C = x.size(2);
    Tensor none;
    List out(2 + PARAMS);
    Tensor *d = out.data() + 2;
    auto weights = [&](int at, const Tensor &dy, const Tensor &x, bool bias) {
        d[at] = linear_dw(dy, x).view(p[at].sizes());
        if (bias)
            d[at + 1] = sum_rows(dy);
    };
    weights(LAST, dy, h3, true);
    auto dh = linear_dx(dy, p[LAST], none); /* of h3, and so of h2 past the gate */
    weights(FF2, dh, g, true);
    auto du = gate_back(u, linear_dx(dh, p[FF2], none));
    weights(FF1, du, n3, true);
    auto l = layer_norm_back(h2, linear_dx(du, p[FF1], none), p[LN3], dh);
    dh = l[0];
    d[LN3] = l[1];
    d[LN3 + 1] = l[2];

    weights(OUT2, dh, o2, true);
    auto d_o = linear_dx(dh, p[OUT2], none), dq = at::empty_like(q2), dkv = at::empty_like(kv2);
    Heads a = cross(q2, kv2, C);
    bf *dk = dkv.data_ptr<bf>();
#define CALL(D)                                                                                    \
    attend_back<D>(a, o2.data_ptr<bf>(), d_o.data_ptr<bf>(), s2.data_ptr<float>(),                 \
                   dq.data_ptr<bf>(), dk, dk + C)
    BY_WIDTH(C, CALL)
#undef CALL
    weights(Q2, dq, n2, false);
    auto both = linear_dw(dkv, context);
    d[KV2] = both.narrow(0, 0, C);
    d[KV2 + 1] = both.narrow(0, C, C);
    out[1] = linear_dx(dkv, at::cat({p[KV2], p[KV2 + 1]}), none);
    l = layer_norm_back(h1, linear_dx(dq, p[Q2], none), p[LN2], dh);
    dh = l[0];
    d[LN2] = l[1];
    d[LN2 + 1] = l[2];

    weights(OUT1, dh, o1, true);
    d_o = linear_dx(dh, p[OUT1], none);
    auto dqkv = at::empty_like(qkv);
    a = self(qkv, C);
    dk = dqkv.data_ptr<bf>();
#define CALL(D)                                                                                    \
    attend_back<D>(a, o1.data_ptr<bf>(), d_o.data_ptr<bf>(), s1.data_ptr<float>(), dk, dk + C,     \
                   dk + 2 * C)
    BY_WIDTH(C, CALL)
#undef CALL
    auto three = linear_dw(dqkv, n1);
    for (int i = 0; i < 3; i++)
        d[QKV + i] = three.narrow(0, i * C, C);
    l = layer_norm_back(h0, linear_dx(dqkv, at::cat({p[QKV], p[QKV + 1], p[QKV + 2]}), none),
                        p[LN1], dh);
    d[LN1] = l[1];
    d[LN1 + 1] = l[2];
    weights(IN, l[0], n0, true);
    auto n = group_norm_back(x, linear_dx(l[0], p[IN], none), p[NORM], k[1], k[2], false,
                             dy.data_ptr<bf>());
    out[0] = n[0];
    d[NORM] = n[1];
    d[NORM + 1] = n[2];
    return out;
}

/* CLIP's activation, x sigmoid(1.702 x), and its slope */
static Tensor quick(const Tensor &u)
{
    auto y = at::empty_like(u);
    const bf *p = u.data_ptr<bf>();
    bf *o = y.data_ptr<bf>();
    for (int64_t i = 0; i < u.numel(); i += 16) {
        vf v = ld(p + i);
        st(o + i, v * sigmoid(v * all(1.702f)));
    }
    return y;
}
static Tensor quick_back(const Tensor &u, const Tensor &dy)
{
    auto du = at::empty_like(u);
    const bf *p = u.data_ptr<bf>(), *d = dy.data_ptr<bf>();
    bf *o = du.data_ptr<bf>();
    for (int64_t i = 0; i < u.numel(); i += 16) {
        vf v = ld(p + i) * all(1.702f), s = sigmoid(v);
        st(o + i, ld(d + i) * s * (all(1) + v * (all(1) - s)));
    }
    return du;
}

enum {
    TEXT_LN1 = 0,
    TEXT_Q = 2,
    TEXT_OUT = 8,
    TEXT_LN2 = 10,
    TEXT_FF1 = 12,
    TEXT_FF2 = 14,
    TEXT_PARAMS = 16
};

/* The text's heads have 64 channels and few tokens: rows are vectors, products of two are summed
 * across. A token sees itself and what came before. qkv [T][B][3 C]. */
struct Words {
    int64_t T, step;
    std::vector<float> q, k, v, p;

    Words(int64_t T, int64_t step) : T(T), step(step), q(T * 64), k(T * 64), v(T * 64), p(T + 16)
    {
    }
    static void rows(const bf *x, int64_t T, int64_t step, float *to)
    {
        for (int64_t i = 0; i < T; i++)
            for (int c = 0; c < 64; c += 16)
                st(to + 64 * i + c, ld(x + i * step + c));
    }
    static float dot(const float *a, const float *b)
    {
        return _mm512_reduce_add_ps(ld(a) * ld(b) + ld(a + 16) * ld(b + 16) +
                                    ld(a + 32) * ld(b + 32) + ld(a + 48) * ld(b + 48));
    }
    static void plus(float *to, float by, const float *x)
    {
        for (int c = 0; c < 64; c += 16)
            st(to + c, _mm512_fmadd_ps(ld(x + c), all(by), ld(to + c)));
    }
    void load(const bf *qkv, int64_t C)
    {
        rows(qkv, T, step, q.data());
        rows(qkv + C, T, step, k.data());
        rows(qkv + 2 * C, T, step, v.data());
    }
    void weigh(int64_t i) /* what token i takes of each */
    {
        float sum = 0, most = -INFINITY;
        for (int64_t j = 0; j <= i; j++) {
            p[j] = dot(&q[64 * i], &k[64 * j]) * (LOG2E / 8);
            most = std::max(most, p[j]);
        }
        for (int64_t j = 0; j <= i; j += 16)
            st(&p[j], exp2v(ld(&p[j]) - all(most)));
        for (int64_t j = 0; j <= i; j++)
            sum += p[j];
        for (int64_t j = 0; j <= i; j++)
            p[j] /= sum;
    }
};

static void read_words(const Tensor &qkv, Tensor &o)
{
    int64_t T = qkv.size(0), B = qkv.size(1), C = qkv.size(2) / 3;
    Words w(T, B * 3 * C);
    const bf *from = qkv.data_ptr<bf>();
    bf *to = o.data_ptr<bf>();
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < C; h += 64) {
            w.load(from + b * 3 * C + h, C);
            for (int64_t i = 0; i < T; i++) {
                float row[64] = {0};
                w.weigh(i);
                for (int64_t j = 0; j <= i; j++)
                    Words::plus(row, w.p[j], &w.v[64 * j]);
                for (int c = 0; c < 64; c += 16)
                    st(to + (i * B + b) * C + h + c, ld(row + c));
            }
        }
}

static void read_words_back(const Tensor &qkv, const Tensor &grad, Tensor &dqkv)
{
    int64_t T = qkv.size(0), B = qkv.size(1), C = qkv.size(2) / 3, n = T * 64;
    Words w(T, B * 3 * C);
    std::vector<float> d(3 * n), g(n), e(T);
    const bf *from = qkv.data_ptr<bf>(), *dy = grad.data_ptr<bf>();
    bf *to = dqkv.data_ptr<bf>();
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < C; h += 64) {
            w.load(from + b * 3 * C + h, C);
            Words::rows(dy + b * C + h, T, B * C, g.data());
            std::fill(d.begin(), d.end(), 0.f);
            for (int64_t i = 0; i < T; i++) {
                float mean = 0;
                w.weigh(i);
                for (int64_t j = 0; j <= i; j++) {
                    e[j] = Words::dot(&g[64 * i], &w.v[64 * j]);
                    mean += e[j] * w.p[j];
                }
                for (int64_t j = 0; j <= i; j++) {
                    float ds = w.p[j] * (e[j] - mean) / 8;
                    Words::plus(&d[64 * i], ds, &w.k[64 * j]);
                    Words::plus(&d[n + 64 * j], ds, &w.q[64 * i]);
                    Words::plus(&d[2 * n + 64 * j], w.p[j], &g[64 * i]);
                }
            }
            for (int part = 0; part < 3; part++)
                for (int64_t i = 0; i < T; i++)
                    for (int c = 0; c < 64; c += 16)
                        st(to + (i * B + b) * 3 * C + part * C + h + c,
                           ld(&d[part * n + 64 * i + c]));
        }
}

/* a layer of the text encoder: x [T][B][C], heads of 64 channels */
List text_layer(Tensor x, List p)
{
    TORCH_CHECK(p.size() == TEXT_PARAMS, "a text layer's parameters");
    Tensor none;
    auto n1 = layer_norm(x, p[TEXT_LN1], p[TEXT_LN1 + 1]);
    auto qkv = linear(n1, at::cat({p[TEXT_Q], p[TEXT_Q + 2], p[TEXT_Q + 4]}),
                      at::cat({p[TEXT_Q + 1], p[TEXT_Q + 3], p[TEXT_Q + 5]}), none);
    auto o = at::empty_like(x);
    read_words(qkv, o);
    auto h = linear(o, p[TEXT_OUT], p[TEXT_OUT + 1], x);
    auto n2 = layer_norm(h, p[TEXT_LN2], p[TEXT_LN2 + 1]);
    auto u = linear(n2, p[TEXT_FF1], p[TEXT_FF1 + 1], none), g = quick(u);
    return {linear(g, p[TEXT_FF2], p[TEXT_FF2 + 1], h), n1, qkv, o, h, n2, u, g};
}

/* dx, then as p */
List text_layer_back(Tensor dy, Tensor x, List k, List p)
{
    const Tensor &n1 = k[0], &qkv = k[1], &o = k[2], &h = k[3], &n2 = k[4], &u = k[5], &g = k[6];
    int64_t C = x.size(2);
    Tensor none;
    List out(1 + TEXT_PARAMS);
    Tensor *d = out.data() + 1;
    auto weights = [&](int at, const Tensor &dy, const Tensor &x) {
        d[at] = linear_dw(dy, x);
        d[at + 1] = sum_rows(dy);
    };
    weights(TEXT_FF2, dy, g);
    auto du = quick_back(u, linear_dx(dy, p[TEXT_FF2], none));
    weights(TEXT_FF1, du, n2);
    auto l = layer_norm_back(h, linear_dx(du, p[TEXT_FF1], none), p[TEXT_LN2], dy);
    auto dh = l[0];
    d[TEXT_LN2] = l[1];
    d[TEXT_LN2 + 1] = l[2];
    weights(TEXT_OUT, dh, o);
    auto d_o = linear_dx(dh, p[TEXT_OUT], none), dqkv = at::empty_like(qkv);
    read_words_back(qkv, d_o, dqkv);
    auto dw = linear_dw(dqkv, n1), db = sum_rows(dqkv);
    for (int i = 0; i < 3; i++) {
        d[TEXT_Q + 2 * i] = dw.narrow(0, i * C, C);
        d[TEXT_Q + 2 * i + 1] = db.narrow(0, i * C, C);
    }
    auto w = at::cat({p[TEXT_Q], p[TEXT_Q + 2], p[TEXT_Q + 4]});
    l = layer_norm_back(x, linear_dx(dqkv, w, none), p[TEXT_LN1], dh);
    out[0] = l[0];
    d[TEXT_LN1] = l[1];
    d[TEXT_LN1 + 1] = l[2];
    return out;
}

Tensor convolution(Tensor x, Tensor w, Tensor bias, int64_t kind)
{
    Then then;
    then.bias = f(bias);
    return conv(x, w, taps((int)kind, x.size(0)), then);
}
List convolution_back(Tensor dy, Tensor x, Tensor w, int64_t kind)
{
    const Taps &t = taps((int)kind, x.size(0));
    return {conv_dx(dy, w, t), conv_dw(dy, x, t), sum_rows(dy)};
}
List norm_back(Tensor x, Tensor dy, Tensor gamma, Tensor affine, Tensor stats)
{
    return group_norm_back(x, dy, gamma, affine, stats, true, nullptr);
}
List norm(Tensor x, Tensor gamma, Tensor beta)
{
    return group_norm(x, gamma, beta, 1e-5, true);
}

/* ---- optimiser ---- */

double length(List g)
{
    double square = 0;
    for (auto &t : g) {
        const float *p = t.data_ptr<float>();
        vf s = all(0);
        int64_t n = t.numel(), i = 0;
        for (; i + 16 <= n; i += 16)
            s = _mm512_fmadd_ps(ld(p + i), ld(p + i), s);
        square += _mm512_reduce_add_ps(s);
        for (; i < n; i++)
            square += p[i] * p[i];
    }
    return std::sqrt(square);
}

/* AdamW of gradients times clip, and the running average of the weights */
void adamw(List w, List g, List m, List v, List average, double clip, double rate, double b1,
           double b2, double eps, double decay, int64_t step, double keep)
{
    float lr = (float)(rate / (1 - std::pow(b1, step))),
          root = (float)(1 / std::sqrt(1 - std::pow(b2, step)));
    float shrink = (float)(1 - rate * decay), by = (float)clip;
    float c1 = (float)b1, c2 = (float)b2, e = (float)eps, part = (float)(1 - keep);
    for (size_t k = 0; k < w.size(); k++) {
        TORCH_CHECK(w[k].strides() == g[k].strides() && w[k].strides() == m[k].strides() &&
                        w[k].strides() == average[k].strides() && w[k].strides() == v[k].strides(),
                    "weights, gradients and averages lie alike");
        float *wp = w[k].data_ptr<float>(), *mp = m[k].data_ptr<float>(),
              *vp = v[k].data_ptr<float>();
        float *ap = average[k].data_ptr<float>();
        const float *gp = g[k].data_ptr<float>();
        int64_t n = w[k].numel();
#pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            float d = gp[i] * by;
            mp[i] = c1 * mp[i] + (1 - c1) * d;
            vp[i] = c2 * vp[i] + (1 - c2) * d * d;
            wp[i] = shrink * wp[i] - lr * mp[i] / (std::sqrt(vp[i]) * root + e);
            ap[i] += part * (wp[i] - ap[i]);
        }
    }
}

bool tiles(void)
{
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) == 0;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module)
{
    module.def("tiles", &tiles);
    module.def("resnet", &resnet);
    module.def("resnet_back", &resnet_back);
    module.def("transformer", &transformer);
    module.def("transformer_back", &transformer_back);
    module.def("text_layer", &text_layer);
    module.def("text_layer_back", &text_layer_back);
    module.def("convolution", &convolution);
    module.def("convolution_back", &convolution_back);
    module.def("norm", &norm);
    module.def("norm_back", &norm_back);
    module.def("length", &length);
    module.def("adamw", &adamw);
}
