/* lora_delta.c: Whatever the kind, a change becomes one or two products of two
 * factors, of which any row can be had by itself: rows are what threads share out. */
#include "engine/model/lora_delta.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RANK 65536
#define MAX_SIDE (1u << 20) /* of a weight */
#define ROWS 16             /* a task */

/* left [rows, rank] right [rank, cols]; `right` alone is a matrix without factors. */
struct product {
    size_t rows, cols, rank;
    float *left, *right;
};

enum kind { SUM, ELEMENTWISE, KRONECKER };

struct lora_delta {
    struct lora_shape shape;
    enum kind kind;
    struct product first, second;
    double scale;
    float *dora; /* lengths of `dora_count` rows or columns, or NULL */
    bool dora_columns;
};

/* ---- reading ---- */

static size_t count_of(const struct raw_tensor *t)
{
    return raw_tensor_count(t);
}

static float *floats_of(const struct raw_tensor *t, struct err *err)
{
    float *f = malloc((count_of(t) + 1) * sizeof *f);
    if (f)
        raw_tensor_floats(t, 0, count_of(t), f);
    else
        err_set(err, ERR_TOO_LARGE, "no memory for %zu numbers of a LoRA", count_of(t));
    return f;
}

static bool misfit(const char *what, const struct raw_tensor *t, size_t rows, size_t cols,
                   struct err *err)
{
    char have[64];
    return err_set(err, ERR_INVALID, "%s: wanted %zu x %zu numbers, found %s", what, rows, cols,
                   raw_tensor_shape(have, sizeof have, t->ndim, t->shape));
}

/* A tensor whose first dimension is `rows` and whose others make `cols`. */
static float *matrix_of(const char *what, const struct raw_tensor *t, size_t rows, size_t cols,
                        struct err *err)
{
    if (t->ndim < 1 || t->shape[0] != rows || count_of(t) != rows * cols) {
        misfit(what, t, rows, cols, err);
        return NULL;
    }
    return floats_of(t, err);
}

static size_t first_of(const struct raw_tensor *t)
{
    return t->ndim > 0 && t->shape[0] <= MAX_RANK ? t->shape[0] : 0;
}

/* p->right = mid [rank, q, taps] right [q, k], over q. */
static bool mix(struct product *p, const struct raw_tensor *mid, size_t q, size_t k, size_t taps,
                struct err *err)
{
    float *m = matrix_of("mid", mid, p->rank, q * taps, err);
    float *out = m ? calloc(p->rank * k * taps, sizeof *out) : NULL;
    if (!out) {
        free(m);
        return m ? err_set(err, ERR_TOO_LARGE, "no memory for a LoRA's factors") : false;
    }
    for (size_t i = 0; i < p->rank; i++)
        for (size_t j = 0; j < q; j++)
            for (size_t t = 0; t < taps; t++) {
                float v = m[(i * q + j) * taps + t];
                for (size_t x = 0; x < k; x++)
                    out[(i * k + x) * taps + t] += v * p->right[j * k + x];
            }
    free(m);
    free(p->right);
    p->right = out;
    return true;
}

/* a [rank, rows] in place of a [rows, rank]. */
static bool turn(struct product *p, struct err *err)
{
    float *out = malloc(p->rows * p->rank * sizeof *out);
    if (!out)
        return err_set(err, ERR_TOO_LARGE, "no memory for a LoRA's factors");
    for (size_t i = 0; i < p->rank; i++)
        for (size_t j = 0; j < p->rows; j++)
            out[j * p->rank + i] = p->left[i * p->rows + j];
    free(p->left);
    p->left = out;
    return true;
}

/* rows x k taps out of left, right and perhaps what lies between them. `turned`: left is [rank,
 * rows] where there is a middle, as LyCORIS has it. */
static bool read_product(struct product *p, const struct raw_tensor *left,
                         const struct raw_tensor *right, const struct raw_tensor *mid, bool turned,
                         size_t rows, size_t k, size_t taps, struct err *err)
{
    size_t q = first_of(right);
    bool small = mid && taps > 0; /* the middle has the taps */
    *p = (struct product){.rows = rows, .cols = k * taps};
    p->rank = mid ? first_of(mid) : q;
    if (!p->rank || !q)
        return err_set(err, ERR_INVALID, "wanted a rank of 1..%d", MAX_RANK);
    bool ok = turned && mid
                  ? (p->left = matrix_of("left factor", left, p->rank, rows, err)) != NULL
                  : (p->left = matrix_of("left factor", left, rows, p->rank, err)) != NULL;
    ok = ok && (p->right = matrix_of("right factor", right, q, small ? k : k * taps, err)) != NULL;
    return ok && (!(turned && mid) || turn(p, err)) && (!mid || mix(p, mid, q, k, taps, err));
}

static bool read_whole(struct product *p, const struct raw_tensor *t, size_t rows, size_t cols,
                       struct err *err)
{
    *p = (struct product){.rows = rows, .cols = cols};
    return (p->right = matrix_of("weight", t, rows, cols, err)) != NULL;
}

static bool missing(const char *what, struct err *err)
{
    return err_set(err, ERR_INVALID, "wanted %s as well", what);
}

static bool read_lora(struct lora_delta *d, const struct raw_tensor *const *p, struct err *err)
{
    const struct lora_shape *s = &d->shape;
    if (!p[LORA_UP] || !p[LORA_DOWN])
        return missing("both an up and a down weight", err);
    return read_product(&d->first, p[LORA_UP], p[LORA_DOWN], p[LORA_MID], false, s->n, s->k,
                        s->taps, err);
}

static bool read_loha(struct lora_delta *d, const struct raw_tensor *const *p, struct err *err)
{
    const struct lora_shape *s = &d->shape;
    d->kind = ELEMENTWISE;
    if (!p[LORA_W1_A] || !p[LORA_W1_B] || !p[LORA_W2_A] || !p[LORA_W2_B])
        return missing("all four of hada_w1_a, w1_b, w2_a and w2_b", err);
    return read_product(&d->first, p[LORA_W1_A], p[LORA_W1_B], p[LORA_T1], true, s->n, s->k,
                        s->taps, err) &&
           read_product(&d->second, p[LORA_W2_A], p[LORA_W2_B], p[LORA_T2], true, s->n, s->k,
                        s->taps, err);
}

/* The second dimension of a factor whose first is the rank, or of a whole matrix. */
static size_t second_of(const struct raw_tensor *t)
{
    return t->ndim > 1 ? t->shape[1] : 0;
}

static bool read_lokr(struct lora_delta *d, const struct raw_tensor *const *p, struct err *err)
{
    const struct lora_shape *s = &d->shape;
    const struct raw_tensor *w1 = p[LORA_KR_W1], *a = p[LORA_KR_W1_A], *b = p[LORA_KR_W1_B];
    d->kind = KRONECKER;
    if ((!w1 && !(a && b)) || (!p[LORA_KR_W2] && !(p[LORA_KR_W2_A] && p[LORA_KR_W2_B])))
        return missing("lokr_w1 and lokr_w2, each whole or in factors", err);
    size_t rows = w1 ? first_of(w1) : first_of(a), cols = second_of(w1 ? w1 : b);
    if (!rows || !cols || s->n % rows || s->k % cols)
        return err_set(err, ERR_INVALID, "lokr_w1: wanted a size that divides %zu x %zu", s->n,
                       s->k);
    size_t n = s->n / rows, k = s->k / cols;
    return (w1 ? read_whole(&d->first, w1, rows, cols, err)
               : read_product(&d->first, a, b, NULL, false, rows, cols, 1, err)) &&
           (p[LORA_KR_W2] ? read_whole(&d->second, p[LORA_KR_W2], n, k * s->taps, err)
                          : read_product(&d->second, p[LORA_KR_W2_A], p[LORA_KR_W2_B],
                                         p[LORA_KR_T2], true, n, k, s->taps, err));
}

static double number_of(const struct raw_tensor *t, double otherwise)
{
    float v;
    if (!t || count_of(t) != 1)
        return otherwise;
    raw_tensor_floats(t, 0, 1, &v);
    return v;
}

static double scale_of(const struct lora_delta *d, const struct raw_tensor *const *p)
{
    /* Of LoKr the second product's rank counts, if it has one. */
    size_t rank = d->second.rank && d->kind == KRONECKER ? d->second.rank : d->first.rank;
    if (p[LORA_SCALE])
        return number_of(p[LORA_SCALE], 1);
    return rank && p[LORA_ALPHA] ? number_of(p[LORA_ALPHA], (double)rank) / (double)rank : 1;
}

static bool read_dora(struct lora_delta *d, const struct raw_tensor *const *parts, struct err *err)
{
    const struct lora_shape *s = &d->shape;
    const struct raw_tensor *t = parts[LORA_MAGNITUDE] ? parts[LORA_MAGNITUDE] : parts[LORA_DORA];
    if (!t)
        return true;
    d->dora_columns = !parts[LORA_MAGNITUDE] && t->ndim > 1 && t->shape[0] == 1 && s->n > 1;
    size_t want = d->dora_columns ? s->k : s->n;
    if (count_of(t) != want)
        return misfit("DoRA's lengths", t, want, 1, err);
    return (d->dora = floats_of(t, err)) != NULL;
}

/* Then no product of them, a rank and a float's size wraps, and a part with a dimension of 0 has
 * not the numbers that are wanted of it. */
static bool in_range(const struct lora_shape *s)
{
    return s->n - 1 < MAX_SIDE && s->k - 1 < MAX_SIDE && s->taps - 1 < MAX_SIDE;
}

struct lora_delta *lora_delta_new(const struct raw_tensor *const *parts,
                                  const struct lora_shape *shape, struct err *err)
{
    struct lora_delta *d = calloc(1, sizeof *d);
    bool ok = d || err_set(err, ERR_INTERNAL, "no memory for a LoRA");
    if (ok && !in_range(shape))
        ok = err_set(err, ERR_INVALID, "the weight is %zu x %zu x %zu: wanted 1..%zu of each",
                     shape->n, shape->k, shape->taps, (size_t)MAX_SIDE);
    for (int i = 0; ok && i < LORA_PARTS; i++)
        if (parts[i] && parts[i]->dtype == DTYPE_OTHER)
            ok = err_set(err, ERR_UNSUPPORTED, "wanted F32, F16, BF16 or F8 numbers");
    if (!ok) {
        free(d);
        return NULL;
    }
    d->shape = *shape;
    if (parts[LORA_DIFF])
        ok = read_whole(&d->first, parts[LORA_DIFF], shape->n, shape->k * shape->taps, err);
    else if (parts[LORA_W1_A] || parts[LORA_W2_A])
        ok = read_loha(d, parts, err);
    else if (parts[LORA_UP] || parts[LORA_DOWN])
        ok = read_lora(d, parts, err);
    else
        ok = read_lokr(d, parts, err);
    d->scale = ok ? scale_of(d, parts) : 1;
    if (ok && read_dora(d, parts, err))
        return d;
    lora_delta_free(d);
    return NULL;
}

void lora_delta_free(struct lora_delta *d)
{
    if (!d)
        return;
    free(d->first.left);
    free(d->first.right);
    free(d->second.left);
    free(d->second.right);
    free(d->dora);
    free(d);
}

/* ---- adding ---- */

/* out [n] += the sum of four rows `ld` apart, each times its factor: four at a time, because what
 * takes the time is loading and storing `out`. */
static void add_four(float *restrict out, const float *restrict rows, size_t ld, const float *v,
                     size_t n)
{
    float a = v[0], b = v[1], c = v[2], d = v[3];
    for (size_t j = 0; j < n; j++)
        out[j] += a * rows[j] + b * rows[ld + j] + c * rows[2 * ld + j] + d * rows[3 * ld + j];
}

/* out [n] = of row i the numbers from `at` on. */
static void product_part(const struct product *p, size_t i, size_t at, size_t n,
                         float *restrict out)
{
    size_t r = 0;
    if (!p->left) {
        memcpy(out, p->right + i * p->cols + at, n * sizeof *out);
        return;
    }
    const float *left = p->left + i * p->rank, *right = p->right + at;
    memset(out, 0, n * sizeof *out);
    for (; r + 4 <= p->rank; r += 4)
        add_four(out, right + r * p->cols, p->cols, left + r, n);
    for (; r < p->rank; r++)
        for (size_t j = 0; j < n; j++)
            out[j] += left[r] * right[r * p->cols + j];
}

static void product_row(const struct product *p, size_t i, float *out)
{
    product_part(p, i, 0, p->cols, out);
}

/* out [k taps] = scale times row i of the change; `other`: as large. */
static void delta_row(const struct lora_delta *d, size_t i, float *out, float *other)
{
    size_t cols = d->shape.k * d->shape.taps;
    float scale = (float)d->scale;
    const struct product *a = &d->first, *b = &d->second;
    if (d->kind == KRONECKER) {
        product_row(a, i / b->rows, other);
        product_row(b, i % b->rows, other + a->cols);
        for (size_t j = 0; j < a->cols; j++)
            for (size_t x = 0; x < b->cols; x++)
                out[j * b->cols + x] = scale * other[j] * other[a->cols + x];
        return;
    }
    product_row(a, i, out);
    if (d->kind == ELEMENTWISE) {
        product_row(b, i, other);
        for (size_t j = 0; j < cols; j++)
            out[j] *= other[j];
    }
    for (size_t j = 0; j < cols; j++)
        out[j] *= scale;
}

struct adding {
    const struct lora_delta *d;
    double strength;
    size_t from, count; /* rows of the change that w has */
    float *w, *scratch; /* scratch: three rows a thread */
    double *columns;    /* squared lengths [k], which rows add to, or factors; of DoRA's columns */
    bool measuring;
};

static double length(const float *row, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)row[i] * row[i];
    return sqrt(sum);
}

static double ratio(double wanted, double found)
{
    return found > 0 ? wanted / found : 0;
}

static void add_row(const struct adding *a, size_t i, float *scratch)
{
    const struct lora_delta *d = a->d;
    size_t taps = d->shape.taps, cols = d->shape.k * taps;
    float *w = a->w + (i - a->from) * cols, *delta = scratch;
    delta_row(d, i, delta, scratch + cols);
    if (!d->dora) {
        for (size_t j = 0; j < cols; j++)
            w[j] += (float)a->strength * delta[j];
        return;
    }
    for (size_t j = 0; j < cols; j++)
        delta[j] += w[j];
    if (a->measuring) {
        for (size_t j = 0; j < cols; j++)
            a->columns[j / taps] += (double)delta[j] * delta[j];
        return;
    }
    double row = d->dora_columns ? 0 : ratio(d->dora[i], length(delta, cols));
    for (size_t j = 0; j < cols; j++) {
        double factor = d->dora_columns ? a->columns[j / taps] : row;
        w[j] += (float)(a->strength * (factor * delta[j] - w[j]));
    }
}

static void add_rows(void *ctx, size_t task, int thread)
{
    const struct adding *a = ctx;
    size_t n = a->count, cols = a->d->shape.k * a->d->shape.taps;
    for (size_t i = task * ROWS; i < n && i < (task + 1) * ROWS; i++)
        add_row(a, a->from + i, a->scratch + (size_t)thread * 3 * cols);
}

bool lora_delta_add(const struct lora_delta *d, struct device *dev, double strength, float *w,
                    size_t first, size_t count, struct err *err)
{
    size_t k = d->shape.k, cols = k * d->shape.taps, threads = (size_t)device_threads(dev);
    struct adding a = {.d = d, .strength = strength, .from = first, .count = count, .w = w};
    assert(first + count <= d->shape.n);
    if (d->dora_columns && count < d->shape.n)
        return err_set(err, ERR_UNSUPPORTED,
                       "its DoRA says how long columns are, of a weight that is held in parts");
    a.scratch = malloc(threads * 3 * cols * sizeof *a.scratch);
    a.columns = calloc(k, sizeof *a.columns);
    if (!a.scratch || !a.columns) {
        free(a.scratch);
        free(a.columns);
        return err_set(err, ERR_TOO_LARGE, "no memory to add a LoRA");
    }
    if (d->dora_columns) { /* one after another: they add to the same lengths */
        a.measuring = true;
        for (size_t i = 0; i < d->shape.n; i++)
            add_row(&a, i, a.scratch);
        for (size_t j = 0; j < k; j++)
            a.columns[j] = ratio(d->dora[j], sqrt(a.columns[j]));
        a.measuring = false;
    }
    device_run(dev, (count + ROWS - 1) / ROWS, add_rows, &a);
    free(a.scratch);
    free(a.columns);
    return true;
}

bool lora_delta_is_plain(const struct lora_delta *d)
{
    return d->kind == SUM && !d->dora;
}

size_t lora_delta_bytes(const struct lora_delta *d)
{
    const struct product *p = &d->first;
    size_t left = p->left ? p->rank * p->rows : 0;
    return (left + (p->left ? p->rank : p->rows) * p->cols) * sizeof(float);
}

#define PIECE 512 /* numbers at a time */

void lora_delta_add_part(const struct lora_delta *d, double strength, size_t row, size_t at,
                         size_t n, float *w)
{
    float scale = (float)d->scale, delta[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t some = n - i < PIECE ? n - i : PIECE;
        product_part(&d->first, row, at + i, some, delta);
        for (size_t j = 0; j < some; j++)
            w[i + j] += (float)strength * (delta[j] * scale);
    }
}
