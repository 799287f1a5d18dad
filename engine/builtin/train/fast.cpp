/* The UNet's and the text encoder's blocks, forward and backward, on a CPU with AMX; and AdamW in
 * one pass. What a block keeps for the way back is returned after its result.
 */
#include "fast_parts.hpp"

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

/* x, e (empty for the autoencoder's); p: norm1 2, conv1 2, norm2 2, conv2 2, skip 2 (if the width
 * changes) */
List resnet(Tensor x, Tensor e, List p)
{
    const Taps &t = taps(SAME, x.size(0));
    double eps = e.numel() ? 1e-5 : 1e-6;
    auto n1 = group_norm(x, p[0], p[1], eps, true);
    Then then;
    then.bias = f(p[3]);
    then.each = f(e);
    auto h = conv(n1[0], p[2], t, then);
    auto n2 = group_norm(h, p[4], p[5], eps, true);
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
    return {q, q + C, q + 2 * C, qkv.size(0), qkv.size(0), qkv.size(1), 3 * C, 3 * C, C / HEADS};
}
static Heads cross(const Tensor &q, const Tensor &kv, int64_t C)
{
    const bf *k = kv.data_ptr<bf>();
    return {q.data_ptr<bf>(), k, k + C, q.size(0), kv.size(0), q.size(1), C, 2 * C, C / HEADS};
}

/* x [P][B][C], context [T][B][D] */
List transformer(Tensor x, Tensor context, List p)
{
    TORCH_CHECK(p.size() == PARAMS && context.is_contiguous(), "a transformer's parameters");
    TORCH_CHECK(x.size(2) % HEADS == 0 && x.size(2) / HEADS <= 16, "heads of 16 channels at most");
    int64_t P = x.size(0), B = x.size(1), C = x.size(2);
    Tensor none;
    auto n0 = group_norm(x, p[NORM], p[NORM + 1], 1e-6, false);
    auto h0 = linear(n0[0], p[IN], p[IN + 1], none);
    auto n1 = layer_norm(h0, p[LN1], p[LN1 + 1]);
    auto qkv = linear(n1, at::cat({p[QKV], p[QKV + 1], p[QKV + 2]}), none, none);
    auto o1 = at::empty_like(x), o2 = at::empty_like(x);
    auto s1 = at::empty({B, HEADS, up(P, 32)}, at::kFloat), s2 = at::empty_like(s1);
    Heads a = self(qkv, C);
    attend(a, o1.data_ptr<bf>(), s1.data_ptr<float>());
    auto h1 = linear(o1, p[OUT1], p[OUT1 + 1], h0);
    auto n2 = layer_norm(h1, p[LN2], p[LN2 + 1]);
    auto q2 = linear(n2, p[Q2], none, none),
         kv2 = linear(context, at::cat({p[KV2], p[KV2 + 1]}), none, none);
    a = cross(q2, kv2, C);
    attend(a, o2.data_ptr<bf>(), s2.data_ptr<float>());
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
    attend_back(a, o2.data_ptr<bf>(), d_o.data_ptr<bf>(), s2.data_ptr<float>(), dq.data_ptr<bf>(),
                dk, dk + C);
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
    attend_back(a, o1.data_ptr<bf>(), d_o.data_ptr<bf>(), s1.data_ptr<float>(), dk, dk + C,
                dk + 2 * C);
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
List norm(Tensor x, Tensor gamma, Tensor beta, double eps)
{
    return group_norm(x, gamma, beta, eps, true);
}

/* ---- optimiser ---- */

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

/* Muon, before: momentum m, and what is to be made orthogonal (its look ahead), [k][numbers] */
Tensor ahead(List g, List m, double clip, double beta)
{
    int64_t n = g[0].numel();
    auto out = at::empty({(int64_t)g.size(), n}, at::kBFloat16);
    float by = (float)clip, b = (float)beta;
    for (size_t k = 0; k < g.size(); k++) {
        TORCH_CHECK(g[k].strides() == m[k].strides() && g[k].numel() == n && n % 16 == 0,
                    "gradients and momenta lie alike");
        const float *gp = g[k].data_ptr<float>();
        float *mp = m[k].data_ptr<float>();
        bf *to = out.data_ptr<bf>() + k * n;
        for (int64_t i = 0; i < n; i += 16) {
            vf d = ld(gp + i) * all(by), v = ld(mp + i);
            v += (d - v) * all(1 - b);
            st(mp + i, v);
            st(to + i, d + (v - d) * all(b));
        }
    }
    return out;
}

/* and after: weights move against u [k][numbers], their running averages follow */
void move(List w, Tensor u, List average, double shrink, double by, double keep)
{
    int64_t n = w[0].numel();
    TORCH_CHECK(u.is_contiguous() && u.numel() == n * (int64_t)w.size(), "a step of each weight");
    for (size_t k = 0; k < w.size(); k++) {
        const bf *up = u.data_ptr<bf>() + k * n;
        float *wp = w[k].data_ptr<float>(), *ap = average[k].data_ptr<float>();
        for (int64_t i = 0; i < n; i += 16) {
            vf v = ld(wp + i) * all((float)shrink) - ld(up + i) * all((float)by), a = ld(ap + i);
            st(wp + i, v);
            st(ap + i, a + (v - a) * all((float)(1 - keep)));
        }
    }
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
    module.def("ahead", &ahead);
    module.def("move", &move);
    module.def("adamw", &adamw);
}
