/* cpu_attention.c: attention without a stored score matrix (Dao et al. 2022; the running softmax of
 * Milakov & Gimelshein 2018).
 *
 * Keys and values of every head are packed once, like weights, so both products run on the same
 * inner kernel as every other layer. A task takes QUERIES rows of one head through all keys, KEYS
 * at a time: scores, exponentials and the product with the values stay in the thread's scratch.
 *
 * A softmax may subtract any number from its scores as long as nothing overflows. The largest of
 * the first KEYS scores nearly always serves the whole row, which saves finding the others. A sum
 * that has grown too large shows when it does not: then the rows are done again, with a running
 * maximum. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/compute/cpu/cpu.h"

#define QUERIES 64 /* rows a task */
#define HALF 32    /* rows whose scores are in L1 at a time: two tiles */
#define KEYS 128   /* a step: HALF x KEYS scores are 16 KiB */
#define GAP 16 /* floats after each row of scores or sums: rows at powers of two share L1 sets */
#define LARGE 1e30f /* a sum of exponentials that leaves room for values up to 1e8 */
#define LDS (KEYS + GAP)
#define LDP (KEYS + 2 * GAP)

struct attention {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *q, *k, *v;
    enum dtype dtype;
    int heads, d, kv_heads;
    int keys; /* that are seen */
    bool causal, plain;
    const float *distance;
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

/* BF16: keys and values of two neighbouring k lie side by side; see kernels.h. */
static void pack_head_bf16(const struct attention *a, int b, int head, uint16_t *kp, uint16_t *vp)
{
    size_t d = (size_t)a->d, tokens = (size_t)a->keys, offset = (size_t)head * d;
    memset(kp, 0, a->k_head * sizeof *kp);
    memset(vp, 0, a->v_head * sizeof *vp);
    for (size_t t = 0; t < tokens; t++) {
        const uint16_t *k = (const uint16_t *)tensor_at(a->k, b, 0, (int)t) + offset;
        uint16_t *dst = kp + t / PANEL * a->k_panel + t % PANEL * 2;
        for (size_t i = 0; i + 1 < d; i += 2)
            memcpy(dst + i * PANEL, k + i, 2 * sizeof *k);
        if (d % 2)
            dst[(d - 1) * PANEL] = k[d - 1];
    }
    static const uint16_t none[CPU_MAX_HEAD];
    for (size_t t = 0; t < tokens; t += 2) {
        const uint16_t *v0 = (const uint16_t *)tensor_at(a->v, b, 0, (int)t) + offset;
        const uint16_t *v1 = t + 1 < tokens ? v0 + a->v->ld : none;
        for (size_t i0 = 0; i0 < d; i0 += PANEL) {
            uint16_t *dst = vp + i0 / PANEL * a->v_panel + t * PANEL;
            size_t n = d - i0 < PANEL ? d - i0 : PANEL;
            for (size_t i = 0; i < n; i++) {
                uint32_t pair = v0[i0 + i] | (uint32_t)v1[i0 + i] << 16;
                memcpy(dst + 2 * i, &pair, sizeof pair);
            }
        }
    }
}

static void pack_head_f32(const struct attention *a, int b, int head, float *kp, float *vp)
{
    size_t d = (size_t)a->d, tokens = (size_t)a->keys, offset = (size_t)head * d;
    memset(kp, 0, a->k_head * sizeof *kp);
    memset(vp, 0, a->v_head * sizeof *vp);
    for (size_t t = 0; t < tokens; t++) {
        const float *k = (const float *)tensor_at(a->k, b, 0, (int)t) + offset;
        const float *v = (const float *)tensor_at(a->v, b, 0, (int)t) + offset;
        float *dst = kp + t / PANEL * a->k_panel + t % PANEL;
        for (size_t i = 0; i < d; i++)
            dst[i * PANEL] = k[i];
        for (size_t i = 0; i < d; i++)
            vp[i / PANEL * a->v_panel + t * PANEL + i % PANEL] = v[i];
    }
}

static void pack_head(void *ctx, size_t task, int thread)
{
    const struct attention *a = ctx;
    int b = (int)(task / (size_t)a->kv_heads), head = (int)(task % (size_t)a->kv_heads);
    unsigned char *k = a->k_packed + task * a->k_head * a->size;
    unsigned char *v = a->v_packed + task * a->v_head * a->size;
    if (a->dtype == DTYPE_BF16)
        pack_head_bf16(a, b, head, (uint16_t *)k, (uint16_t *)v);
    else
        pack_head_f32(a, b, head, (float *)k, (float *)v);
}

static void product(const struct attention *a, const struct gemm *g)
{
    if (a->dtype == DTYPE_BF16)
        a->dev->k->gemm_bf16(g);
    else
        a->dev->k->gemm_f32(g);
}

/* Scores [rows, n] of queries from `first` and keys from `at` on get what their distance says. The
 * softmax multiplies them by `scale`. */
static void add_distance(const struct attention *a, int head, int first, int at, int rows, int n,
                         float scale, float *scores)
{
    size_t all = (size_t)(a->q->w + a->k->w - 1);
    const float *zero = a->distance + (size_t)head * all + (size_t)(a->q->w - 1);
    for (int i = 0; i < rows; i++) {
        const float *from = zero + at - (first + i);
        for (int j = 0; j < n; j++)
            scores[(size_t)i * LDS + (size_t)j] += from[j] / scale;
    }
}

static float sum_of(const float *lanes)
{
    float sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
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
    size_t kv = (a->k->b == 1 ? 0 : (size_t)b) * (size_t)a->kv_heads +
                (size_t)(head / (a->heads / a->kv_heads));
    const unsigned char *k_packed = a->k_packed + kv * a->k_head * a->size;
    const unsigned char *v_packed = a->v_packed + kv * a->v_head * a->size;

    /* Scratch, all of it a multiple of 64 bytes. */
    size_t wide = round_up((size_t)a->d, PANEL), ld_sum = wide + GAP;
    float *scores = (float *)cpu_scratch(a->dev, thread); /* [HALF, KEYS] */
    float *sum = scores + (size_t)HALF * LDS;             /* [QUERIES, wide] */
    float *top = sum + (size_t)QUERIES * ld_sum;          /* [QUERIES] running maximum */
    float *total = top + QUERIES;                         /* [QUERIES, LANES] running sum */
    unsigned char *q = (unsigned char *)(total + QUERIES * LANES); /* [QUERIES, wide] of dtype */
    unsigned char *p = q + (size_t)QUERIES * wide * a->size;       /* [QUERIES, KEYS] of dtype */

    size_t d = (size_t)a->d;
    memset(q, 0, (size_t)QUERIES * wide * a->size);
    for (int i = 0; i < rows; i++) {
        const unsigned char *src = (const unsigned char *)tensor_at(a->q, b, 0, first + i);
        memcpy(q + (size_t)i * wide * a->size, src + (size_t)head * d * a->size, d * a->size);
    }
    float scale = a->plain ? 1 : 1 / sqrtf((float)a->d);
    int keys = a->causal && first + rows < a->keys ? first + rows : a->keys;
    bool good = false;
    for (bool running = false; !good; running = true) {
        memset(total, 0, QUERIES * LANES * sizeof *total);
        for (int i = 0; i < rows; i++)
            top[i] = -INFINITY;
        for (int at = 0; at < keys; at += KEYS) {
            int n = keys - at < KEYS ? keys - at : KEYS;
            int wide_n = (int)round_up((size_t)n, PANEL);
            for (int half = 0; half < rows; half += HALF) {
                int some = rows - half < HALF ? rows - half : HALF;
                product(a, &(struct gemm){
                               .a = q + (size_t)half * wide * a->size,
                               .lda = wide,
                               .m = some,
                               .taps = 1,
                               .tap = no_tap,
                               .k = (int)a->pack_d,
                               .w = k_packed + (size_t)at / PANEL * a->k_panel * a->size,
                               .w_panel = a->k_panel,
                               .n = n,
                               .c = scores,
                               .ldc = LDS,
                           });
                if (a->distance)
                    add_distance(a, head, first + half, at, some, n, scale, scores);
                kn->softmax(&(struct softmax){
                    .s = scores,
                    .lds = LDS,
                    .rows = (size_t)some,
                    .n = (size_t)n,
                    .wide = (size_t)wide_n,
                    .causal = a->causal,
                    .seen = first + half - at,
                    .scale = scale,
                    .first = at == 0,
                    .running = running,
                    .top = top + half,
                    .total = total + half * LANES,
                    .sum = sum + (size_t)half * ld_sum,
                    .sum_ld = ld_sum,
                    .sum_n = at > 0 ? d : 0,
                    .dtype = a->dtype,
                    .p = p + (size_t)half * LDP * a->size,
                    .ldp = LDP,
                });
            }
            product(a, &(struct gemm){
                           .a = p,
                           .lda = LDP,
                           .m = rows,
                           .taps = 1,
                           .tap = no_tap,
                           .k = wide_n,
                           .w = v_packed + (size_t)at * PANEL * a->size,
                           .w_panel = a->v_panel,
                           .n = (int)d,
                           .c = sum,
                           .ldc = ld_sum,
                           .accumulate = at > 0,
                       });
        }
        good = true;
        for (int i = 0; i < rows && !running; i++)
            good = good && sum_of(total + i * LANES) < LARGE;
    }
    for (int i = 0; i < rows; i++) {
        kn->scale(a->y->dtype,
                  (unsigned char *)tensor_at(a->y, b, 0, first + i) +
                      (size_t)head * d * dtype_size(a->y->dtype),
                  sum + (size_t)i * ld_sum, 1 / sum_of(total + i * LANES), d);
    }
}

void cpu_attention(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_how *how)
{
    struct attention a = {.dev = cpu_of(o),
                          .y = y,
                          .q = q,
                          .k = k,
                          .v = v,
                          .dtype = q->dtype,
                          .heads = how->heads,
                          .d = q->c / how->heads,
                          .kv_heads = how->kv_heads,
                          .keys = how->keys,
                          .causal = how->causal,
                          .plain = how->plain,
                          .distance = how->distance};
    assert(a.d <= CPU_MAX_HEAD);
    a.size = dtype_size(a.dtype);
    a.pack_d = kernels_pack_k(a.dtype, (size_t)a.d);
    a.pack_k = round_up((size_t)how->keys, PANEL);
    a.k_panel = a.pack_d * PANEL;
    a.v_panel = a.pack_k * PANEL;
    a.k_head = a.pack_k / PANEL * a.k_panel;
    a.v_head = round_up((size_t)a.d, PANEL) / PANEL * a.v_panel;
    a.q_blocks = ((size_t)q->w + QUERIES - 1) / QUERIES;
    size_t mark = arena_mark(o->arena), packs = (size_t)k->b * (size_t)how->kv_heads;
    a.k_packed = arena_alloc(o->arena, packs * a.k_head, a.size);
    a.v_packed = arena_alloc(o->arena, packs * a.v_head, a.size);
    if (!arena_planning(o->arena)) {
        pool_run(a.dev->pool, packs, pack_head, &a);
        pool_run(a.dev->pool, (size_t)q->b * (size_t)how->heads * a.q_blocks, attend, &a);
    }
    arena_reset(o->arena, mark);
}
