/* flow_ops_test.c: what flow transformers are made of, against plain loops: norms of pixels, rotary
 * positions, grouped attention, products into parts of a sequence. See ops_case.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/ops_case.h"

/* Gates of a picture, a residual, and y as a part of the channels of a part of the tokens of a
 * longer sequence, whose other numbers stay as they are. */
static void joint_case(const struct fixture *f, int before, int m, int k, int n)
{
    enum { AFTER = 3, LEFT = 32 };
    struct err err;
    int tokens = before + m + AFTER;
    size_t count = (size_t)(2 * tokens * n);
    float *x = randoms((size_t)(2 * m * k), f->dtype), *w = randoms((size_t)(n * k), f->dtype);
    float *gate = randoms((size_t)(2 * n), DTYPE_F32), *old = randoms(count, f->dtype);
    float *got = malloc(count * 4), *want = malloc(count * 4);
    for (int i = 0; i < 2 * tokens * n; i++) {
        int j = i % n, t = i / n % tokens - before, b = i / n / tokens;
        double sum = 0;
        for (int c = 0; c < k && t >= 0 && t < m; c++)
            sum += (double)x[(b * m + t) * k + c] * w[j * k + c];
        want[i] = (float)(sum * gate[b * n + j] + old[i]);
    }
    struct matrix *mx =
        matrix_new(f->dev, MATRIX_LINEAR, n, k, DTYPE_F32, w, DTYPE_F32, NULL, &err);
    assert_non_null(mx);
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, 2, 1, m, k, 0);
        struct tensor wide = tensor_new(o.arena, f->dtype, 2, 1, tokens, LEFT + n, 0);
        struct tensor plain = tensor_new(o.arena, f->dtype, 2, 1, tokens, n, 0);
        struct tensor y = tensor_slice(&wide, LEFT, n);
        ops_from_floats(&o, &in, x);
        ops_from_floats(&o, &plain, old);
        ops_resize(&o, &y, &plain);
        for (int b = 0; b < 2; b++) {
            struct tensor from = tensor_picture(&in, b);
            struct tensor to = tensor_picture(&y, b);
            to = tensor_range(&to, before, m);
            struct epilogue e = {.gate = gate + b * n, .residual = &to};
            ops_linear(&o, &to, &from, mx, &e);
        }
        ops_to_floats(&o, got, &y);
    });
    compare(f, "part of a sequence", got, want, count);
    matrix_free(mx);
    free(x), free(w), free(gate), free(old), free(got), free(want);
}

static void joint(const struct fixture *f)
{
    joint_case(f, 9, 40, 96, 70);
    joint_case(f, 64, 130, 32, 33);
}

/* Fewer heads of keys, keys that nothing sees, all of them channels of one tensor; what is behind
 * the keys is huge. */
static void grouped_case(const struct fixture *f, int b, int t, int heads, int kv, int d, int keys,
                         bool causal)
{
    int c = (heads + 2 * kv) * d, k0 = heads * d, v0 = k0 + kv * d;
    size_t n = (size_t)(b * t * heads * d);
    float *x = randoms((size_t)(b * t * c), f->dtype);
    float *got = malloc(n * 4), *want = calloc(n, 4);
    double *s = malloc((size_t)t * sizeof *s);
    for (int i = 0; i < b * t * c; i++)
        if (i % c >= k0 && i / c % t >= keys)
            x[i] = 1e30f;
        else if (i % c < k0)
            x[i] *= 4;
    for (int i = 0; i < b * t * heads; i++) {
        int h = i % heads, q = i / heads % t, bi = i / heads / t, g = h / (heads / kv);
        int seen = causal && q + 1 < keys ? q + 1 : keys;
        double total = 0, top = -1e30;
        for (int u = 0; u < seen; u++) {
            s[u] = 0;
            for (int e = 0; e < d; e++)
                s[u] += (double)x[(bi * t + q) * c + h * d + e] *
                        x[(bi * t + u) * c + k0 + g * d + e] / sqrt(d);
            top = s[u] > top ? s[u] : top;
        }
        for (int u = 0; u < seen; u++)
            total += s[u] = exp(s[u] - top);
        for (int u = 0; u < seen; u++)
            for (int e = 0; e < d; e++)
                want[i * d + e] += (float)(s[u] / total * x[(bi * t + u) * c + v0 + g * d + e]);
    }
    WITH_ARENA(f, {
        struct tensor all = tensor_new(o.arena, f->dtype, b, 1, t, c, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, b, 1, t, heads * d, 0);
        struct tensor q = tensor_slice(&all, 0, heads * d);
        struct tensor k = tensor_slice(&all, k0, kv * d);
        struct tensor v = tensor_slice(&all, v0, kv * d);
        struct attention_how how = {
            .heads = heads, .kv_heads = kv, .keys = keys, .causal = causal};
        ops_from_floats(&o, &all, x);
        ops_attend(&o, &y, &q, &k, &v, &how);
        ops_to_floats(&o, got, &y);
    });
    char what[96];
    snprintf(what, sizeof what, "attention b%d %d tokens, heads %d of %d, d %d, keys %d%s", b, t,
             heads, kv, d, keys, causal ? " causal" : "");
    compare(f, what, got, want, n);
    free(x), free(got), free(want), free(s);
}

/* Scores that are not divided, with numbers for distances, more keys than queries. */
static void distant_case(const struct fixture *f, int queries, int keys, int heads, int d)
{
    int c = heads * d, all = queries + keys - 1;
    size_t n = (size_t)(queries * c);
    float *xq = randoms(n, f->dtype), *xk = randoms((size_t)(keys * c), f->dtype);
    float *xv = randoms((size_t)(keys * c), f->dtype);
    float *far = randoms((size_t)(heads * all), DTYPE_F32);
    float *got = malloc(n * 4), *want = calloc(n, 4);
    double *s = malloc((size_t)keys * sizeof *s);
    for (int i = 0; i < heads * all; i++)
        far[i] *= 3;
    for (int i = 0; i < queries * heads; i++) {
        int h = i % heads, q = i / heads;
        double total = 0;
        for (int u = 0; u < keys; u++) {
            s[u] = far[h * all + u - q + queries - 1];
            for (int e = 0; e < d; e++)
                s[u] += (double)xq[q * c + h * d + e] * xk[u * c + h * d + e];
            total += s[u] = exp(s[u]);
        }
        for (int u = 0; u < keys; u++)
            for (int e = 0; e < d; e++)
                want[i * d + e] += (float)(s[u] / total * xv[u * c + h * d + e]);
    }
    WITH_ARENA(f, {
        struct tensor q = tensor_new(o.arena, f->dtype, 1, 1, queries, c, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, 1, 1, queries, c, 0);
        struct tensor k = tensor_new(o.arena, f->dtype, 1, 1, keys, c, 0);
        struct tensor v = tensor_new(o.arena, f->dtype, 1, 1, keys, c, 0);
        struct attention_how how = {.heads = heads, .plain = true, .distance = far};
        ops_from_floats(&o, &q, xq);
        ops_from_floats(&o, &k, xk);
        ops_from_floats(&o, &v, xv);
        ops_attend(&o, &y, &q, &k, &v, &how);
        ops_to_floats(&o, got, &y);
    });
    compare(f, "attention by distance", got, want, n);
    free(xq), free(xk), free(xv), free(far), free(got), free(want), free(s);
}

static void grouped(const struct fixture *f)
{
    grouped_case(f, 1, 150, 4, 2, 128, 37, true);
    grouped_case(f, 2, 70, 6, 2, 32, 70, true);
    grouped_case(f, 1, 200, 3, 3, 64, 161, false);
    grouped_case(f, 1, 5, 8, 1, 96, 1, true);
    distant_case(f, 150, 150, 3, 64);
    distant_case(f, 5, 300, 2, 16);
}

/* By groups, with or without a mean, from a slice into itself, and a picture's own gamma and beta
 * or none. */
static void pixel_norm_case(const struct fixture *f, int c, int group, bool rms, bool own)
{
    enum { B = 2, T = 21, LEFT = 32 };
    size_t n = (size_t)(B * T * c), ld = (size_t)group + 5;
    float *x = randoms(n, f->dtype), *got = malloc(n * 4), *want = malloc(n * 4);
    float *gamma = randoms(B * ld, DTYPE_F32), *beta = randoms(B * ld, DTYPE_F32);
    struct norm_how how = {.rms = rms, .group = group == c ? 0 : group, .eps = 1e-2f};
    how.gamma = own || rms ? gamma : NULL;
    how.beta = own && !rms ? beta : NULL;
    how.ld = own ? ld : 0;
    for (size_t i = 0; i < n; i += (size_t)group) {
        size_t b = own ? i / (size_t)(T * c) : 0;
        double mean = 0, sum2 = 0;
        for (int j = 0; j < group && !rms; j++)
            mean += x[i + (size_t)j] / group;
        for (int j = 0; j < group; j++)
            sum2 += (x[i + (size_t)j] - mean) * (x[i + (size_t)j] - mean) / group;
        for (int j = 0; j < group; j++) {
            double v = (x[i + (size_t)j] - mean) / sqrt(sum2 + 1e-2);
            want[i + (size_t)j] = (float)(v * (how.gamma ? gamma[b * ld + (size_t)j] : 1) +
                                          (how.beta ? beta[b * ld + (size_t)j] : 0));
        }
    }
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, B, 1, T, c, 0);
        struct tensor wide = tensor_new(o.arena, f->dtype, B, 1, T, LEFT + c, 0);
        struct tensor y = tensor_slice(&wide, LEFT, c);
        ops_from_floats(&o, &in, x);
        ops_resize(&o, &y, &in);
        if (rms && !own)
            ops_rms_norm(&o, &y, &y, group == c ? 0 : group, 1e-2f, gamma);
        else
            ops_norm(&o, &y, &y, &how);
        ops_to_floats(&o, got, &y);
    });
    char what[96];
    snprintf(what, sizeof what, "%s norm of %d by %d%s", rms ? "rms" : "layer", c, group,
             own ? ", own" : "");
    compare(f, what, got, want, n);
    free(x), free(got), free(want), free(gamma), free(beta);
}

static void rope_case(const struct fixture *f, int heads, int d, enum rope_pairs pairs)
{
    enum { B = 2, T = 19, LEFT = 32 };
    int c = heads * d, half = d / 2;
    size_t n = (size_t)(B * T * c);
    float *x = randoms(n, f->dtype), *got = malloc(2 * n * 4), *want = malloc(n * 4);
    float *cs = randoms((size_t)(T * half), DTYPE_F32),
          *sn = randoms((size_t)(T * half), DTYPE_F32);
    for (int i = 0; i < B * T * heads * half; i++) {
        int p = i % half, head = i / half * d, t = i / half / heads % T;
        int u = head + (pairs == ROPE_ADJACENT ? 2 * p : p);
        int v = head + (pairs == ROPE_ADJACENT ? 2 * p + 1 : p + half);
        want[u] = x[u] * cs[t * half + p] - x[v] * sn[t * half + p];
        want[v] = x[v] * cs[t * half + p] + x[u] * sn[t * half + p];
    }
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, B, 1, T, c, 0);
        struct tensor wide = tensor_new(o.arena, f->dtype, B, 1, T, LEFT + c, 0);
        struct tensor y = tensor_slice(&wide, LEFT, c);
        ops_from_floats(&o, &in, x);
        ops_rope(&o, &y, &in, cs, sn, heads, pairs);
        ops_rope(&o, &in, &in, cs, sn, heads, pairs);
        ops_to_floats(&o, got, &y);
        ops_to_floats(&o, got + n, &in);
    });
    assert_memory_equal(got, got + n, n * 4);
    char what[96];
    snprintf(what, sizeof what, "rope of %d heads of %d, %s", heads, d,
             pairs == ROPE_ADJACENT ? "adjacent" : "halves");
    compare(f, what, got, want, n);
    free(x), free(got), free(want), free(cs), free(sn);
}

static void pixel_norm(const struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        pixel_norm_case(f, 384, 128, i / 2, i % 2);
        pixel_norm_case(f, 330, 330, i / 2, i % 2);
        pixel_norm_case(f, 21, 7, i / 2, i % 2);
    }
}

static void rope(const struct fixture *f)
{
    for (int pairs = ROPE_ADJACENT; pairs <= ROPE_HALVES; pairs++) {
        rope_case(f, 3, 128, (enum rope_pairs)pairs);
        rope_case(f, 2, 50, (enum rope_pairs)pairs);
        rope_case(f, 1, 2, (enum rope_pairs)pairs);
    }
}

TEST(joint)
TEST(grouped)
TEST(pixel_norm)
TEST(rope)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joint),
        cmocka_unit_test(test_grouped),
        cmocka_unit_test(test_pixel_norm),
        cmocka_unit_test(test_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
