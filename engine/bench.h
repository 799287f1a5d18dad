/* bench.h: this machine's figures: every operation of a Stable Diffusion 1.5 picture against what
 * the CPU can do at most, measured in the same run. Part of libpictor's face, for `pictor bench`.
 */
#ifndef PICTOR_ENGINE_BENCH_H
#define PICTOR_ENGINE_BENCH_H

#include "engine/pictor.h"

enum bench_kind {
    BENCH_CONV, /* 3x3 */
    BENCH_CONV_HALF,
    BENCH_UPSAMPLE, /* to twice the size, then 3x3 */
    BENCH_LINEAR,
    BENCH_GATED, /* linear to 2 n channels and GEGLU */
    BENCH_ATTENTION,
    BENCH_CROSS, /* attention to 77 tokens */
    BENCH_GROUP_NORM,
    BENCH_LAYER_NORM
};

/* One row: an operation of a shape, with random weights. */
struct bench_row {
    const char *part; /* "unet" or "vae" */
    enum bench_kind kind;
    int batch, k, n;   /* channels in and out; attention: n heads of k channels */
    char name[64];     /* "conv 3x3 320 -> 320" */
    int width, height; /* pixels or tokens it works on, a picture */
    int count;         /* times it runs in one guided step, or in one decode */
    double seconds;    /* median of one run */
    double flops;      /* operations of one run */
    double share;      /* of the peak measured beside it */
};

/* Measures the operations of a guided UNet step (batch of two) and of a decode at `side` x `side`
 * pixels, calling `row` after each. `peak` gets the median peak in FLOP/s. */
bool bench_operations(const struct pictor_engine_options *options, int side,
                      void (*row)(void *ctx, const struct bench_row *row), void *ctx, double *peak,
                      struct err *err);

/* Seconds of a clock that only goes forward. */
double bench_now(void);
/* Sorts v. */
double bench_median(double *v, int n);

#endif
