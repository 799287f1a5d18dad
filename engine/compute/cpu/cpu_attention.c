/* cpu_attention.c: attention without a stored score matrix (Dao et al. 2022; the running softmax of
 * Milakov & Gimelshein 2018).
 *
 * Keys and values of every head are packed once, like weights, so both products run on the same
 * inner kernel as every other layer. A task takes QUERIES rows of one head through all keys, KEYS
 * at a time: scores, their maximum, exponentials and the product with the values stay in the
 * thread's scratch; when the maximum grows, what was summed so far is scaled down. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/compute/cpu/cpu.h"

#define QUERIES 64
#define KEYS 256

struct attention {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *q, *k, *v;
    enum dtype dtype;
    int heads, d;
    bool causal;
    size_t size;             /* bytes an element */
    size_t pack_d, pack_k;   /* d and keys, rounded up */
    size_t k_panel, v_panel; /* elements a panel: 32 keys x d; 32 of d x keys */
    size_t k_head, v_head;   /* elements a head */
    unsigned char *k_packed, *v_packed;
    size_t q_blocks;
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Element (row, column) of a packed panel. */
static size_t packed_at(enum dtype dtype, size_t row, size_t column)
{
    return dtype == DTYPE_BF16 ? row / 2 * 2 * PANEL + column * 2 + row % 2 : row * PANEL + column;
}

static void put(const struct attention *a, unsigned char *panel, size_t at, const void *src)
{
    memcpy(panel + at * a->size, src, a->size);
}

static void pack_head(void *ctx, size_t task, int thread)
{
    const struct attention *a = ctx;
    int b = (int)(task / (size_t)a->heads), head = (int)(task % (size_t)a->heads);
    unsigned char *kp = a->k_packed + task * a->k_head * a->size;
    unsigned char *vp = a->v_packed + task * a->v_head * a->size;
    memset(kp, 0, a->k_head * a->size);
    memset(vp, 0, a->v_head * a->size);
    for (int t = 0; t < a->k->w; t++) {
        size_t offset = (size_t)(head * a->d) * a->size;
        const unsigned char *k = (const unsigned char *)tensor_at(a->k, b, 0, t) + offset;
        const unsigned char *v = (const unsigned char *)tensor_at(a->v, b, 0, t) + offset;
        unsigned char *k_panel = kp + (size_t)t / PANEL * a->k_panel * a->size;
        for (size_t i = 0; i < (size_t)a->d; i++) {
            put(a, k_panel, packed_at(a->dtype, i, (size_t)t % PANEL), k + i * a->size);
            put(a, vp + i / PANEL * a->v_panel * a->size, packed_at(a->dtype, (size_t)t, i % PANEL),
                v + i * a->size);
        }
    }
}

static void product(const struct attention *a, const struct gemm *g)
{
    if (a->dtype == DTYPE_BF16)
        a->dev->k->gemm_bf16(g);
    else
        a->dev->k->gemm_f32(g);
}

static void attend(void *ctx, size_t task, int thread)
{
    const struct attention *a = ctx;
    const struct kernels *kn = a->dev->k;
    static const ptrdiff_t no_tap[1] = {0};
    size_t head_task = task / a->q_blocks;
    int b = (int)(head_task / (size_t)a->heads), head = (int)(head_task % (size_t)a->heads);
    int first = (int)(task % a->q_blocks) * QUERIES;
    int rows = a->q->w - first < QUERIES ? a->q->w - first : QUERIES;
    size_t kv = (a->k->b == 1 ? 0 : (size_t)b) * (size_t)a->heads + (size_t)head;
    const unsigned char *k_packed = a->k_packed + kv * a->k_head * a->size;
    const unsigned char *v_packed = a->v_packed + kv * a->v_head * a->size;

    /* Scratch, all of it a multiple of 64 bytes. */
    size_t wide = round_up((size_t)a->d, PANEL);
    float *scores = (float *)cpu_scratch(a->dev, thread);    /* [QUERIES, KEYS] */
    float *sum = scores + (size_t)QUERIES * KEYS;            /* [QUERIES, wide] */
    float *part = sum + (size_t)QUERIES * wide;              /* [QUERIES, wide] */
    float *top = part + (size_t)QUERIES * wide;              /* [QUERIES] running maximum */
    float *total = top + QUERIES;                            /* [QUERIES] running sum */
    unsigned char *q = (unsigned char *)(total + QUERIES);   /* [QUERIES, wide] of dtype */
    unsigned char *p = q + (size_t)QUERIES * wide * a->size; /* [QUERIES, KEYS] of dtype */

    size_t d = (size_t)a->d;
    memset(q, 0, (size_t)QUERIES * wide * a->size);
    for (int i = 0; i < rows; i++) {
        const unsigned char *src = (const unsigned char *)tensor_at(a->q, b, 0, first + i);
        memcpy(q + (size_t)i * wide * a->size, src + (size_t)head * d * a->size, d * a->size);
        top[i] = -INFINITY;
        total[i] = 0;
    }
    memset(sum, 0, (size_t)rows * wide * sizeof *sum);
    float scale = 1 / sqrtf((float)a->d);
    int keys = a->causal && first + rows < a->k->w ? first + rows : a->k->w;
    for (int at = 0; at < keys; at += KEYS) {
        int n = keys - at < KEYS ? keys - at : KEYS;
        int wide_n = (int)round_up((size_t)n, PANEL);
        struct gemm g = {
            .a = q,
            .lda = wide,
            .m = rows,
            .taps = 1,
            .tap = no_tap,
            .k = (int)a->pack_d,
            .w = k_packed + (size_t)at / PANEL * a->k_panel * a->size,
            .w_panel = a->k_panel,
            .n = n,
            .c = scores,
            .ldc = KEYS,
        };
        product(a, &g);
        for (int i = 0; i < rows; i++) {
            float *s = scores + (size_t)i * KEYS;
            size_t seen = (size_t)n;
            if (a->causal && first + i - at + 1 < n)
                seen = first + i - at + 1 > 0 ? (size_t)(first + i - at + 1) : 0;
            if (seen) {
                kn->scale(s, scale, seen);
                float m = kn->max(s, seen);
                if (m > top[i]) {
                    float shrink = expf(top[i] - m);
                    total[i] *= shrink;
                    kn->scale(sum + (size_t)i * wide, shrink, wide);
                    top[i] = m;
                }
                total[i] += kn->exp_sum(s, top[i], seen);
            }
            memset(s + seen, 0, ((size_t)wide_n - seen) * sizeof *s);
            cpu_store(kn, a->dtype, p + (size_t)i * KEYS * a->size, s, (size_t)wide_n);
        }
        struct gemm h = {
            .a = p,
            .lda = KEYS,
            .m = rows,
            .taps = 1,
            .tap = no_tap,
            .k = wide_n,
            .w = v_packed + (size_t)at * PANEL * a->size,
            .w_panel = a->v_panel,
            .n = (int)d,
            .c = part,
            .ldc = wide,
        };
        product(a, &h);
        for (int i = 0; i < rows; i++)
            kn->add(sum + (size_t)i * wide, part + (size_t)i * wide, d);
    }
    for (int i = 0; i < rows; i++) {
        kn->scale(sum + (size_t)i * wide, 1 / total[i], d);
        cpu_store(kn, a->y->dtype,
                  (unsigned char *)tensor_at(a->y, b, 0, first + i) +
                      (size_t)head * d * dtype_size(a->y->dtype),
                  sum + (size_t)i * wide, d);
    }
}

void cpu_attention(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, int heads, bool causal)
{
    struct attention a = {.dev = cpu_of(o),
                          .y = y,
                          .q = q,
                          .k = k,
                          .v = v,
                          .dtype = q->dtype,
                          .heads = heads,
                          .d = q->c / heads,
                          .causal = causal};
    assert(a.d <= CPU_MAX_HEAD);
    a.size = dtype_size(a.dtype);
    a.pack_d = kernels_pack_k(a.dtype, (size_t)a.d);
    a.pack_k = round_up((size_t)k->w, PANEL);
    a.k_panel = a.pack_d * PANEL;
    a.v_panel = a.pack_k * PANEL;
    a.k_head = a.pack_k / PANEL * a.k_panel;
    a.v_head = round_up((size_t)a.d, PANEL) / PANEL * a.v_panel;
    a.q_blocks = ((size_t)q->w + QUERIES - 1) / QUERIES;
    size_t mark = arena_mark(o->arena), packs = (size_t)k->b * (size_t)heads;
    a.k_packed = arena_alloc(o->arena, packs * a.k_head, a.size);
    a.v_packed = arena_alloc(o->arena, packs * a.v_head, a.size);
    if (!arena_planning(o->arena)) {
        pool_run(a.dev->pool, packs, pack_head, &a);
        pool_run(a.dev->pool, (size_t)q->b * (size_t)heads * a.q_blocks, attend, &a);
    }
    arena_reset(o->arena, mark);
}
