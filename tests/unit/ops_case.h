/* ops_case.h: what tests of operations share: devices of every level, random numbers, memory that
 * ends at a guard page, and how far from plain loops a result may be.
 *
 * F32 sums of n products of unit size, in another order, differ by about sqrt(n) * 2^-24; 1e-5 of
 * the result's norm leaves room at the largest n here (12800). BF16 inputs are exact here (they are
 * rounded before both sides see them), so only the output's rounding counts: 2^-9 = 2e-3 an
 * element. */
#ifndef PICTOR_TESTS_UNIT_OPS_CASE_H
#define PICTOR_TESTS_UNIT_OPS_CASE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/compute/ops.h"

struct fixture {
    struct device *dev;
    enum dtype dtype;
};

static uint32_t seed;

static float random_float(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1 << 23) - 1;
}

static float bf16(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&v, &u, sizeof v);
    return v;
}

static float *randoms(size_t n, enum dtype dtype)
{
    float *p = malloc(n * sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        p[i] = random_float();
        if (dtype == DTYPE_BF16)
            p[i] = bf16(p[i]);
    }
    return p;
}

/* An arena whose last byte is followed by a page that may not be touched. */
struct guarded {
    struct arena arena;
    unsigned char *map;
    size_t mapped;
};

static struct guarded guarded_new(size_t size)
{
    size_t page = 4096, body = (size + page - 1) / page * page;
    struct guarded g = {.mapped = body + page};
    g.map = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map + body, page, PROT_NONE), 0);
    memset(g.map, 0x7f, body); /* not zero, and as BF16 or F32 a huge number */
    g.arena = (struct arena){.base = g.map + body - size / 64 * 64, .size = size / 64 * 64};
    return g;
}

static void guarded_free(struct guarded *g)
{
    munmap(g->map, g->mapped);
}

#define WITH_ARENA(f, ...)                                                                         \
    do {                                                                                           \
        struct guarded g_ = {0};                                                                   \
        struct ops o = {(f)->dev, &g_.arena};                                                      \
        arena_plan(&g_.arena);                                                                     \
        bool planning = true;                                                                      \
        __VA_ARGS__;                                                                               \
        g_ = guarded_new(g_.arena.peak);                                                           \
        planning = false;                                                                          \
        __VA_ARGS__;                                                                               \
        (void)planning;                                                                            \
        guarded_free(&g_);                                                                         \
    } while (0)

static void compare_to(const struct fixture *f, const char *what, const float *got,
                       const float *want, size_t n, double limit)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    double e = sqrt(diff / (norm > 0 ? norm : 1));
    if (!(e <= limit))
        fail_msg("%s at %s, %s: error %.2e > %.0e", what, device_level(f->dev),
                 dtype_name(f->dtype), e, limit);
}

static void compare(const struct fixture *f, const char *what, const float *got, const float *want,
                    size_t n)
{
    compare_to(f, what, got, want, n, f->dtype == DTYPE_F32 ? 1e-5 : 4e-3);
}

static inline float act_of(float x, enum activation act)
{
    switch (act) {
    case ACT_NONE:
        return x;
    case ACT_SILU:
        return x / (1 + expf(-x));
    case ACT_GELU:
        return 0.5f * x * (1 + erff(x / sqrtf(2)));
    case ACT_GELU_TANH:
        return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
    case ACT_QUICK_GELU:
        return x / (1 + expf(-1.702f * x));
    case ACT_RELU:
        return x > 0 ? x : 0;
    }
    return 0;
}

static void at_every_level(void (*part)(const struct fixture *f))
{
    const char *cap = getenv("PICTOR_CPU");
    for (int i = 0; device_level_name(i); i++) {
        const char *level = device_level_name(i);
        for (int bf = 0; bf <= 1; bf++) {
            struct err err;
            struct device_options options = {.threads = 2, .cpu = level, .bf16 = bf};
            struct fixture f = {device_new(&options, &err), bf ? DTYPE_BF16 : DTYPE_F32};
            if (!f.dev)
                fail_msg("%s", err.msg);
            seed = 7;
            if (strcmp(device_level(f.dev), level) == 0)
                part(&f);
            device_free(f.dev);
        }
        if (cap && strcmp(cap, level) == 0)
            break;
    }
}

#define TEST(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        at_every_level(name);                                                                      \
    }

#endif
