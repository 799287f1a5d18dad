/* Norms, gates and attention for training, forward and backward.
 *
 * Attention has heads of few channels, where exponentials and not products cost: 16 queries (or
 * keys) a vector, exp2 by a polynomial, the logarithm of the sum kept for the way back.
 */
#pragma once
#include "fast_tiles.hpp"

/* ---- norms ---- */

/* f(at, i) for 16 numbers of every pixel, at = p R + i: pixel by pixel in strips of the row, so that
 * memory is read in order and sums over pixels stay in the cache. */
template <class F> static void strips(int64_t P, int64_t R, F f)
{
    const int64_t strip = 512;
    at::parallel_for(0, (R + strip - 1) / strip, 1, [&](int64_t from, int64_t to) {
        for (int64_t s = from; s < to; s++)
            for (int64_t p = 0; p < P; p++)
                for (int64_t i = s * strip; i < std::min(R, (s + 1) * strip); i += 16)
                    f(p * R + i, i);
    });
}

/* Group norm of x [P][B][C], then SiLU if wanted. Gives y and, for the way back, scale and offset
 * of each picture and channel [2][B][C] with mean and deviation [2][B][32]. */
static List group_norm(const Tensor &x, const Tensor &gamma, const Tensor &beta, double eps,
                       bool silu)
{
    int64_t P = x.size(0), B = x.size(1), C = x.size(2), G = 32, W = C / G, R = B * C;
    auto y = at::empty_like(x), affine = at::empty({2, B, C}, at::kFloat),
         stats = at::empty({2, B, G}, at::kFloat);
    const bf *xp = x.data_ptr<bf>();
    const float *gp = gamma.data_ptr<float>(), *bp = beta.data_ptr<float>();
    bf *yp = y.data_ptr<bf>();
    float *mul = affine.data_ptr<float>(), *add = mul + R, *mean = stats.data_ptr<float>(),
          *dev = mean + B * G;
    std::vector<float> sum(R), square(R);
    auto group = [&](const std::vector<float> &v, int64_t g) { /* of B G: its mean over all */
        float s = 0;
        for (int64_t i = g * W; i < (g + 1) * W; i++)
            s += v[i];
        return s / (float)(W * P);
    };
    strips(P, R, [&](int64_t at, int64_t i) { st(&sum[i], ld(&sum[i]) + ld(xp + at)); });
    for (int64_t g = 0; g < B * G; g++) {
        mean[g] = group(sum, g);
        std::fill(&sum[g * W], &sum[g * W] + W, mean[g]);
    }
    strips(P, R, [&](int64_t at, int64_t i) {
        vf v = ld(xp + at) - ld(&sum[i]);
        st(&square[i], _mm512_fmadd_ps(v, v, ld(&square[i])));
    });
    for (int64_t i = 0; i < R; i++) {
        int64_t g = i / W, c = i % C;
        if (i % W == 0)
            dev[g] = 1 / std::sqrt(group(square, g) + (float)eps);
        mul[i] = dev[g] * gp[c];
        add[i] = bp[c] - mean[g] * mul[i];
    }
    strips(P, R, [&](int64_t at, int64_t i) {
        vf v = _mm512_fmadd_ps(ld(xp + at), ld(mul + i), ld(add + i));
        st(yp + at, silu ? v * sigmoid(v) : v);
    });
    return {y, affine, stats};
}

/* dx (and what is added to it), dgamma, dbeta. With x^ = (x - m) r, y = g x^ + b and n values in a
 * group, dx = r g dy - r S / n - r x^ T / n,  S = sum(g dy),  T = sum(g dy x^). */
static List group_norm_back(const Tensor &x, const Tensor &dy, const Tensor &gamma,
                            const Tensor &affine, const Tensor &stats, bool silu, const bf *plus)
{
    int64_t P = x.size(0), B = x.size(1), C = x.size(2), G = 32, W = C / G, R = B * C;
    auto dx = at::empty_like(x), dg = at::zeros({C}, at::kFloat), db = at::zeros({C}, at::kFloat);
    const bf *xp = x.data_ptr<bf>(), *dp = dy.data_ptr<bf>();
    const float *gp = gamma.data_ptr<float>(), *mul = affine.data_ptr<float>(), *add = mul + R;
    const float *mean = stats.data_ptr<float>(), *dev = mean + B * G;
    float *dgp = dg.data_ptr<float>(), *dbp = db.data_ptr<float>();
    bf *o = dx.data_ptr<bf>();
    std::vector<float> sum(R), product(R), k(3 * R); /* of dy, of dy x; factors of dy, x, 1 */
    auto slope = [&](int64_t at, int64_t i, vf v) {
        vf d = ld(dp + at);
        if (!silu)
            return d;
        vf z = _mm512_fmadd_ps(v, ld(mul + i), ld(add + i)), s = sigmoid(z);
        return d * s * (all(1) + z * (all(1) - s));
    };
    strips(P, R, [&](int64_t at, int64_t i) {
        vf v = ld(xp + at), d = slope(at, i, v);
        st(&sum[i], ld(&sum[i]) + d);
        st(&product[i], _mm512_fmadd_ps(d, v, ld(&product[i])));
    });
    for (int64_t g = 0; g < B * G; g++) {
        float m = mean[g], r = dev[g], s1 = 0, s2 = 0, n = (float)(W * P);
        for (int64_t i = g * W; i < (g + 1) * W; i++) {
            s1 += gp[i % C] * sum[i];
            s2 += gp[i % C] * product[i];
        }
        float t = r * (s2 - m * s1);
        for (int64_t i = g * W; i < (g + 1) * W; i++) {
            k[i] = r * gp[i % C];
            k[R + i] = -r * r * t / n;
            k[2 * R + i] = -r * s1 / n + r * r * m * t / n;
            dgp[i % C] += r * (product[i] - m * sum[i]);
            dbp[i % C] += sum[i];
        }
    }
    strips(P, R, [&](int64_t at, int64_t i) {
        vf v = ld(xp + at), d = slope(at, i, v) * ld(&k[i]) + v * ld(&k[R + i]) + ld(&k[2 * R + i]);
        st(o + at, plus ? d + ld(plus + at) : d);
    });
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

/* Scores are bounded instead of shifted by their maximum: 2^80 of them can be summed, and beyond
 * the bound a score has no slope. */
static inline vf bound(vf s)
{
    return _mm512_max_ps(_mm512_min_ps(s, all(LIMIT)), all(-LIMIT));
}
static inline vf within(vf s, vf t)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(s), all(LIMIT), _CMP_LT_OQ), t);
}

/* Rows of q, k, v are [token][picture], ldq and ldk channels apart; heads have D channels. */
struct Heads {
    const bf *q, *k, *v;
    int64_t nq, nk, B, ldq, ldk, D;
};

static int64_t up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* One head's rows in the forms that tiles want. Rows and channels are padded with zeros to 32. */
struct Rows {
    int64_t n;
    Tensor memory;
    char *plain, *across, *down, *turned;

    explicit Rows(int64_t count) : n(up(count, 32))
    {
        memory = at::empty({4 * n * 32}, at::kBFloat16);
        plain = (char *)memory.data_ptr();
        across = plain + 64 * n;
        down = across + 64 * n;
        turned = down + 64 * n;
    }
    char *row(int64_t i) const
    {
        return plain + 64 * i;
    } /* [rows][32 channels] */
    char *column(int64_t i) const
    {
        return across + 64 * i;
    } /* right: 16 rows aside */
    char *pairs_of(int64_t i) const
    {
        return down + 32 * i;
    } /* right: 32 rows below */
    char *channels(int64_t i) const
    {
        return turned + 32 * i;
    } /* left: 32 rows aside */

    void take(const bf *x, int64_t count, int64_t step, int64_t D, float scale)
    {
        __mmask16 some = (__mmask16)((1 << D) - 1);
        for (int64_t i = 0; i < n; i++) {
            __m256i r = _mm256_setzero_si256();
            if (i < count) {
                r = _mm256_maskz_loadu_epi16(some, x + i * step);
                if (scale != 1) {
                    vf v = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(r), 16));
                    r = (__m256i)_mm512_cvtneps_pbh(v * all(scale));
                }
            }
            _mm512_store_si512(row(i), _mm512_zextsi256_si512(r));
        }
    }
    void turn_across()
    {
        for (int64_t i = 0; i < n; i += 16) {
            __m512i t[16];
            for (int r = 0; r < 16; r++)
                t[r] = _mm512_load_si512(row(i + r));
            transpose(t);
            for (int r = 0; r < 16; r++)
                _mm512_store_si512(column(i) + 64 * r, t[r]);
        }
    }
    void turn_down(bool also_turned)
    {
        for (int64_t i = 0; i < n; i += 32) {
            __m512i t[16];
            for (int r = 0; r < 16; r++) {
                t[r] = pairs(_mm256_load_si256((const __m256i *)row(i + 2 * r)),
                             _mm256_load_si256((const __m256i *)row(i + 2 * r + 1)));
                _mm512_store_si512(pairs_of(i) + 64 * r, t[r]);
            }
            if (!also_turned)
                continue;
            transpose(t);
            for (int r = 0; r < 16; r++)
                _mm512_store_si512(channels(i) + 64 * r, t[r]);
        }
    }
};

/* two rows of 16 numbers as pairs */
static inline __m512i interleave(vf a, vf b)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

/* 16 x 16 numbers [channel][row] to rows of D channels */
static void give(const float *tile, vf by, int64_t count, int64_t D, bf *x, int64_t step)
{
    __m512i t[16];
    for (int c = 0; c < 16; c++)
        t[c] = _mm512_castps_si512(_mm512_load_ps(tile + 16 * c) * by);
    transpose(t);
    for (int64_t i = 0; i < std::min<int64_t>(count, 16); i++)
        _mm256_mask_storeu_epi16(x + i * step, (__mmask16)((1 << D) - 1),
                                 (__m256i)_mm512_cvtneps_pbh(_mm512_castsi512_ps(t[i])));
}

/* o [nq][B][C]; inverse [B][HEADS][nq32]: 1 / sum of each query's exponentials */
static void attend(const Heads &h, bf *o, float *inverse)
{
    int64_t D = h.D, C = HEADS * D, q32 = up(h.nq, 32);
    float scale = LOG2E / std::sqrt((float)D);
    at::parallel_for(0, h.B, 4, [&](int64_t from, int64_t to) {
        Rows q(h.nq), k(h.nk), v(h.nk);
        alignas(64) float s[32 * 16], out[256];
        alignas(64) char weights[1024];
        tiles_on();
        for (int64_t b = from; b < to; b++)
            for (int64_t head = 0; head < HEADS; head++) {
                int64_t at = head * D;
                q.take(h.q + b * h.ldq + at, h.nq, h.B * h.ldq, D, scale);
                k.take(h.k + b * h.ldk + at, h.nk, h.B * h.ldk, D, 1);
                v.take(h.v + b * h.ldk + at, h.nk, h.B * h.ldk, D, 1);
                q.turn_across();
                v.turn_down(true);
                written();
                for (int64_t i = 0; i < q32; i += 16) {
                    vf sum = all(0);
                    tile_zero(0);
                    for (int64_t j = 0; j < h.nk; j += 32) {
                        tile_times(k.row(j), q.column(i), D / 2, s, 64);
                        tile_times(k.row(j + 16), q.column(i), D / 2, s + 256, 64);
                        for (int64_t r = 0; r < 32; r += 2) {
                            vf x = all(0), y = x;
                            if (j + r < h.nk)
                                x = exp2v(bound(_mm512_load_ps(s + 16 * r)));
                            if (j + r + 1 < h.nk)
                                y = exp2v(bound(_mm512_load_ps(s + 16 * r + 16)));
                            sum += x + y;
                            _mm512_store_si512(weights + 32 * r, interleave(x, y));
                        }
                        written();
                        tile_load(7, weights, 64);
                        tile_load(3, v.channels(j), 64);
                        tile_dot(0, 3, 7, D);
                    }
                    tile_store(0, out, 64);
                    vf one = all(1) / sum;
                    st(inverse + (b * HEADS + head) * q32 + i, one);
                    if (i < h.nq)
                        give(out, one, h.nq - i, D, o + (i * h.B + b) * C + at, h.B * C);
                }
            }
        tiles_off();
    });
}

/* dq, dk, dv lie as q, k, v do */
static void attend_back(const Heads &h, const bf *o, const bf *grad, const float *inverse, bf *dq,
                        bf *dk, bf *dv)
{
    int64_t D = h.D, C = HEADS * D, q32 = up(h.nq, 32);
    float scale = LOG2E / std::sqrt((float)D);
    at::parallel_for(0, h.B, 4, [&](int64_t from, int64_t to) {
        Rows q(h.nq), k(h.nk), v(h.nk), g(h.nq);
        auto sums = at::empty({q32 * 16}, at::kFloat), dots = at::empty({q32}, at::kFloat);
        float *to_q = sums.data_ptr<float>(), *dot = dots.data_ptr<float>();
        alignas(64) float s[32 * 32], e[32 * 32];
        alignas(64) char weights[2048], slopes[2048], beside[2][1024];
        __mmask16 some = (__mmask16)((1 << D) - 1);
        tiles_on();
        for (int64_t b = from; b < to; b++)
            for (int64_t head = 0; head < HEADS; head++) {
                int64_t at = head * D;
                const float *one = inverse + (b * HEADS + head) * q32;
                q.take(h.q + b * h.ldq + at, h.nq, h.B * h.ldq, D, scale);
                k.take(h.k + b * h.ldk + at, h.nk, h.B * h.ldk, D, 1);
                v.take(h.v + b * h.ldk + at, h.nk, h.B * h.ldk, D, 1);
                g.take(grad + b * C + at, h.nq, h.B * C, D, 1);
                q.turn_across();
                q.turn_down(false);
                g.turn_across();
                g.turn_down(false);
                k.turn_down(true);
                for (int64_t i = 0; i < q32; i++) {
                    dot[i] = 0;
                    if (i < h.nq) {
                        __m256i r = _mm256_maskz_loadu_epi16(some, o + (i * h.B + b) * C + at);
                        vf x = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(r), 16));
                        dot[i] = _mm512_reduce_add_ps(x * ld((const bf *)g.row(i)));
                    }
                }
                std::fill(to_q, to_q + q32 * 16, 0.f);
                written();
                for (int64_t j = 0; j < h.nk; j += 32) {
                    tile_zero(0); /* of values, 32 rows */
                    tile_zero(1);
                    tile_zero(2); /* of keys */
                    tile_zero(3);
                    for (int64_t i = 0; i < q32; i += 32) {
                        for (int part = 0; part < 4; part++) {
                            int64_t x = part % 2 * 16, y = part / 2 * 16;
                            tile_times(k.row(j + y), q.column(i + x), D / 2, s + 32 * y + x, 128);
                            tile_times(v.row(j + y), g.column(i + x), D / 2, e + 32 * y + x, 128);
                        }
                        vf one0 = ld(one + i), one1 = ld(one + i + 16), dot0 = ld(dot + i);
                        vf dot1 = ld(dot + i + 16), before0 = all(0), before1 = all(0);
                        for (int64_t r = 0; r < 32; r++) {
                            vf p0 = all(0), p1 = p0, d0 = p0, d1 = p0;
                            if (j + r < h.nk) {
                                vf s0 = _mm512_load_ps(s + 32 * r),
                                   s1 = _mm512_load_ps(s + 32 * r + 16);
                                p0 = exp2v(bound(s0)) * one0;
                                p1 = exp2v(bound(s1)) * one1;
                                d0 = within(s0, p0 * (_mm512_load_ps(e + 32 * r) - dot0));
                                d1 = within(s1, p1 * (_mm512_load_ps(e + 32 * r + 16) - dot1));
                            }
                            _mm512_store_si512(weights + 64 * r,
                                               (__m512i)_mm512_cvtne2ps_pbh(p1, p0));
                            _mm512_store_si512(slopes + 64 * r,
                                               (__m512i)_mm512_cvtne2ps_pbh(d1, d0));
                            if (r % 2) {
                                _mm512_store_si512(beside[0] + 32 * (r - 1),
                                                   interleave(before0, d0));
                                _mm512_store_si512(beside[1] + 32 * (r - 1),
                                                   interleave(before1, d1));
                            }
                            before0 = d0;
                            before1 = d1;
                        }
                        written();
                        tile_load(6, g.pairs_of(i), 64);
                        tile_load(5, weights, 64);
                        tile_dot(0, 5, 6, 16);
                        tile_load(5, weights + 1024, 64);
                        tile_dot(1, 5, 6, 16);
                        tile_load(6, q.pairs_of(i), 64);
                        tile_load(5, slopes, 64);
                        tile_dot(2, 5, 6, 16);
                        tile_load(5, slopes + 1024, 64);
                        tile_dot(3, 5, 6, 16);
                        tile_load(5, k.channels(j), 64);
                        for (int x = 0; x < 2; x++) {
                            float *sum = to_q + (i + 16 * x) * 16;
                            tile_sums(4, sum, 64);
                            tile_load(6, beside[x], 64);
                            tile_dot(4, 5, 6, D);
                            tile_store(4, sum, 64);
                        }
                    }
                    tile_store(0, s, 64);
                    tile_store(1, s + 256, 64);
                    tile_store(2, e, 64);
                    tile_store(3, e + 256, 64);
                    for (int64_t r = 0; r < 32 && j + r < h.nk; r++) {
                        int64_t to = ((j + r) * h.B + b) * h.ldk + at;
                        vf y = _mm512_load_ps(e + 16 * r) * all(1 / LOG2E);
                        _mm256_mask_storeu_epi16(
                            dv + to, some, (__m256i)_mm512_cvtneps_pbh(_mm512_load_ps(s + 16 * r)));
                        _mm256_mask_storeu_epi16(dk + to, some, (__m256i)_mm512_cvtneps_pbh(y));
                    }
                }
                for (int64_t i = 0; i < h.nq; i += 16)
                    give(to_q + 16 * i, all(scale / LOG2E), h.nq - i, D,
                         dq + (i * h.B + b) * h.ldq + at, h.B * h.ldq);
            }
        tiles_off();
    });
}
