/* cpu_device.c: the one place that asks what the CPU can do, and the table of its operations. */
#include "engine/compute/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static void device_destroy(struct device *dev)
{
    struct cpu_device *d = (struct cpu_device *)dev;
    pool_free(d->pool);
    free(d->scratch);
    free(d);
}

#define PEAK_SECONDS 0.01

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct peak {
    const struct cpu_device *dev;
    size_t rounds;
    double *flops; /* a task */
};

static void peak_task(void *ctx, size_t task, int thread)
{
    const struct peak *p = ctx;
    const struct kernels *k = p->dev->k;
    p->flops[task] = (p->dev->base.dtype == DTYPE_BF16 ? k->peak_bf16 : k->peak_f32)(p->rounds);
}

static uint64_t beats(const struct device *dev)
{
    return pool_loops(((const struct cpu_device *)dev)->pool);
}

static double peak(struct device *dev)
{
    struct cpu_device *d = (struct cpu_device *)dev;
    double *flops = calloc((size_t)dev->threads, sizeof *flops), sum = 0, took = 0;
    struct peak p = {.dev = d, .rounds = 1000, .flops = flops};
    if (!flops)
        return 0;
    while (took < PEAK_SECONDS) { /* the first rounds also wake the threads and the clock */
        double began = seconds();
        pool_run(d->pool, (size_t)dev->threads, peak_task, &p);
        took = seconds() - began;
        p.rounds *= 2;
    }
    for (int i = 0; i < dev->threads; i++)
        sum += flops[i];
    free(flops);
    return sum / took;
}

static void device_tasks(struct device *dev, size_t n, pool_fn *fn, void *ctx)
{
    pool_run(((struct cpu_device *)dev)->pool, n, fn, ctx);
}

static const struct device_table table = {
    .free = device_destroy,
    .peak = peak,
    .beats = beats,
    .run = device_tasks,
    .matrix_new = cpu_matmul_new,
    .matrix_refill = cpu_matmul_refill,
    .matrix_rest = cpu_matmul_rest,
    .matrix_free = cpu_matmul_free,
    .linear = cpu_matmul_linear,
    .conv3x3 = cpu_matmul_conv3x3,
    .upsample = cpu_matmul_upsample,
    .group_norm = cpu_norm_group,
    .norm = cpu_norm_pixels,
    .attention = cpu_attention,
    .rope = cpu_rope,
    .activate = cpu_rows_activate,
    .add = cpu_rows_add,
    .resize = cpu_rows_resize,
    .from_floats = cpu_rows_from_floats,
    .to_floats = cpu_rows_to_floats,
};

static bool always(void)
{
    return true;
}

static bool never(void)
{
    return false;
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/* CPUID leaf 7, because the compiler's names for these are not in every version: subleaf 1, EAX
 * bit 5 is AVX512-BF16; subleaf 0, EDX bit 22 AMX-BF16, bit 24 AMX-TILE and
 * bit 25 AMX-INT8. */
static bool has_avx512bf16(void)
{
    unsigned a, b, c, d;
    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

static bool has_amx(void)
{
    unsigned a, b, c, d;
    return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) &&
           (d >> 24 & 1) && kernels_amx_enable();
}

static bool has_amx_int8(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 25 & 1);
}

/* VDPBF16PS multiplies twice as much as an F32 FMA, at the same rate on AMD's Zen 4, but at a
 * quarter of it on Intel's Sapphire Rapids (docs/performance.md). */
static bool is_amd(void)
{
    return __builtin_cpu_is("amd");
}
#endif

/* Worst to best. */
static const struct level {
    const struct kernels *kernels;
    bool (*present)(void);
    bool (*bf16)(void); /* multiplies BF16 faster than F32: worth using by default */
    bool (*int8)(void); /* multiplies int8 faster than either; scalar: for the tests */
} levels[] = {
    {&kernels_scalar, always, never, always},
#if defined(__x86_64__)
    {&kernels_avx2, has_avx2, never, never},
    {&kernels_avx512, has_avx512, never, never},
    {&kernels_avx512bf16, has_avx512bf16, is_amd, never},
    {&kernels_amx, has_amx, always, has_amx_int8},
#elif defined(__aarch64__)
    {&kernels_neon, always, never, never},
#endif
};

#define LEVELS (sizeof levels / sizeof *levels)

const char *cpu_device_level_name(int i)
{
    return i >= 0 && (size_t)i < LEVELS ? levels[i].kernels->name : NULL;
}

static const struct level *choose(const char *cap, struct err *err)
{
    size_t top = LEVELS - 1;
    if (cap && *cap) {
        for (top = 0; top < LEVELS && strcmp(levels[top].kernels->name, cap) != 0;)
            top++;
        if (top == LEVELS) {
            char known[64] = "";
            for (size_t i = 0; i < LEVELS; i++) {
                strcat(known, " ");
                strcat(known, levels[i].kernels->name);
            }
            err_set(err, ERR_INVALID, "unknown CPU level '%s': this program has%s", cap, known);
            return NULL;
        }
    }
    while (!levels[top].present())
        top--;
    return &levels[top];
}

struct device *cpu_device_new(const struct device_options *options, struct err *err)
{
    const char *cap = options->cpu ? options->cpu : getenv("PICTOR_CPU");
    struct cpu_device *d = calloc(1, sizeof *d);
    if (!d) {
        err_set(err, ERR_INTERNAL, "no memory for a device");
        return NULL;
    }
    d->base.table = &table;
    const struct level *level = choose(cap, err);
    if (!level || !(d->pool = pool_new(options->threads, err)))
        goto fail;
    d->k = level->kernels;
    d->base.level = d->k->name;
    d->base.threads = pool_threads(d->pool);
    if (options->int8 && !level->int8()) {
        err_set(err, ERR_UNSUPPORTED, "int8 at CPU level %s: wanted amx with AMX-INT8", d->k->name);
        goto fail;
    }
    d->base.int8 = options->int8;
    bool bf16 = options->bf16 < 0 ? level->bf16() : options->bf16;
    d->base.dtype = bf16 ? DTYPE_BF16 : DTYPE_F32;
    d->scratch = aligned_alloc(64, (size_t)d->base.threads * CPU_SCRATCH);
    if (!d->scratch) {
        err_set(err, ERR_INTERNAL, "no memory for %d threads' scratch", d->base.threads);
        goto fail;
    }
    return &d->base;
fail:
    device_destroy(&d->base);
    return NULL;
}
