/* onednn.c: every convolution and matrix product of a Stable Diffusion 1.5 picture, ours and
 * oneDNN's in turn, as a table with ratios. A program of its own, so that pictor itself does not
 * need the library: `make bench` builds and runs it where dnnl.h is installed.
 *
 * oneDNN may choose the layout of its weights; pictures stay channels-last, as in a network made of
 * both. Biases are added by both. A gated layer is a plain one of twice the width for oneDNN,
 * without its GELU; an upsampling convolution is one over the picture that is upsampled already. */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dnnl.h>

#include "engine/bench.h"
#include "engine/base/log.h"

#define RUNS 5 /* the median of */

static void check(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) {
        fprintf(stderr, "onednn: %s: status %d\n", what, (int)status);
        exit(1);
    }
}

struct table {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    double log_sum;
    int count, slower;
};

/* A tensor of small numbers. */
static dnnl_memory_t tensor_of(struct table *t, const dnnl_memory_desc_t *md)
{
    dnnl_memory_t memory;
    void *data;
    check(dnnl_memory_create(&memory, md, t->engine, DNNL_MEMORY_ALLOCATE), "memory");
    check(dnnl_memory_get_data_handle(memory, &data), "data");
    memset(data, 0x3c, dnnl_memory_desc_get_size(md)); /* about 0.01 in either format */
    return memory;
}

/* Runs a primitive with source, weights, bias and destination; returns the median of its times. */
static double time_of(struct table *t, dnnl_primitive_desc_t pd)
{
    static const struct {
        dnnl_query_t query;
        int arg;
    } parts[] = {
        {dnnl_query_src_md, DNNL_ARG_SRC},
        {dnnl_query_weights_md, DNNL_ARG_WEIGHTS},
        {dnnl_query_weights_md, DNNL_ARG_BIAS},
        {dnnl_query_dst_md, DNNL_ARG_DST},
    };
    enum { PARTS = sizeof parts / sizeof *parts };
    dnnl_exec_arg_t args[PARTS];
    dnnl_primitive_t primitive;
    double times[RUNS];
    check(dnnl_primitive_create(&primitive, pd), "primitive");
    for (int i = 0; i < PARTS; i++) {
        int index = parts[i].arg == DNNL_ARG_BIAS;
        const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, parts[i].query, index);
        args[i] = (dnnl_exec_arg_t){parts[i].arg, tensor_of(t, md)};
    }
    for (int i = 0; i <= RUNS; i++) {
        double began = bench_now();
        check(dnnl_primitive_execute(primitive, t->stream, PARTS, args), "execute");
        check(dnnl_stream_wait(t->stream), "wait");
        if (i > 0) /* the first run brings the pages in */
            times[i - 1] = bench_now() - began;
    }
    for (int i = 0; i < PARTS; i++)
        dnnl_memory_destroy(args[i].memory);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    return bench_median(times, RUNS);
}

static dnnl_memory_desc_t shape(int ndims, const dnnl_dims_t dims, dnnl_data_type_t type,
                                dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md;
    check(dnnl_memory_desc_init_by_tag(&md, ndims, dims, type, tag), "shape");
    return md;
}

static double convolution(struct table *t, const struct bench_row *r)
{
    int step = r->kind == BENCH_CONV_HALF ? 2 : 1;
    const dnnl_dims_t x = {r->batch, r->k, r->height, r->width}, w = {r->n, r->k, 3, 3}, b = {r->n},
                      y = {r->batch, r->n, r->height / step, r->width / step},
                      strides = {step, step}, pad = {1, 1}, pad_end = {step == 1, step == 1};
    dnnl_memory_desc_t xd = shape(4, x, dnnl_bf16, dnnl_nhwc),
                       wd = shape(4, w, dnnl_bf16, dnnl_format_tag_any),
                       bd = shape(1, b, dnnl_f32, dnnl_a), yd = shape(4, y, dnnl_bf16, dnnl_nhwc);
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t pd;
    check(dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct,
                                             &xd, &wd, &bd, &yd, strides, pad, pad_end),
          "convolution");
    check(dnnl_primitive_desc_create(&pd, &d, NULL, t->engine, NULL), "convolution");
    return time_of(t, pd);
}

static double product(struct table *t, const struct bench_row *r)
{
    int n = r->kind == BENCH_GATED ? 2 * r->n : r->n, rows = r->batch * r->width * r->height;
    const dnnl_dims_t x = {rows, r->k}, w = {r->k, n}, b = {1, n}, y = {rows, n};
    dnnl_memory_desc_t xd = shape(2, x, dnnl_bf16, dnnl_ab),
                       wd = shape(2, w, dnnl_bf16, dnnl_format_tag_any),
                       bd = shape(2, b, dnnl_f32, dnnl_ab), yd = shape(2, y, dnnl_bf16, dnnl_ab);
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd;
    check(dnnl_matmul_desc_init(&d, &xd, &wd, &bd, &yd), "matmul");
    check(dnnl_primitive_desc_create(&pd, &d, NULL, t->engine, NULL), "matmul");
    return time_of(t, pd);
}

struct turn {
    struct table *t;
    const struct bench_row *row;
    double seconds;
};

static void *take_turn(void *arg)
{
    struct turn *turn = arg;
    bool conv = turn->row->kind <= BENCH_UPSAMPLE;
    turn->seconds = (conv ? convolution : product)(turn->t, turn->row);
    return NULL;
}

static void on_row(void *ctx, const struct bench_row *r)
{
    struct table *t = ctx;
    struct turn turn = {t, r, 0};
    pthread_t thread;
    if (r->kind > BENCH_GATED)
        return;
    /* In a thread of its own: both leave configured tiles behind and rely on finding them. */
    if (pthread_create(&thread, NULL, take_turn, &turn) != 0 || pthread_join(thread, NULL) != 0) {
        fprintf(stderr, "onednn: no thread\n");
        exit(1);
    }
    double theirs = turn.seconds, ratio = theirs / r->seconds;
    t->log_sum += log(ratio);
    t->count++;
    t->slower += ratio < 1;
    printf("%-4s %-28s %4dx%-4d %3d  %9.3f ms  %9.3f ms  %6.2f\n", r->part, r->name, r->width,
           r->height, r->count, r->seconds * 1e3, theirs * 1e3, ratio);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct table t = {0};
    struct err err;
    int threads = argc > 1 ? atoi(argv[1]) : 0, side = argc > 2 ? atoi(argv[2]) : 512;
    char text[16];
    double peak;
    log_set_level(LOG_WARN);
    if (threads < 0 || side < 64 || side > 2048 || side % 64) {
        fprintf(stderr, "usage: onednn [THREADS [SIDE]]; SIDE: 64..2048, a multiple of 64\n");
        return 2;
    }
    if (threads) {
        snprintf(text, sizeof text, "%d", threads);
        setenv("OMP_NUM_THREADS", text, 1);
    }
    const dnnl_version_t *v = dnnl_version();
    check(dnnl_engine_create(&t.engine, dnnl_cpu, 0), "engine");
    check(dnnl_stream_create(&t.stream, t.engine, dnnl_stream_default_flags), "stream");
    printf("%-4s %-28s %-9s %3s  %12s  oneDNN %d.%d.%d  %6s\n", "part", "operation", "size", "n",
           "pictor", v->major, v->minor, v->patch, "ratio");
    struct pictor_engine_options options = {.threads = threads, .precision = PICTOR_PRECISION_BF16};
    if (!bench_operations(&options, side, on_row, &t, &peak, &err)) {
        fprintf(stderr, "onednn: %s\n", err.msg);
        return 1;
    }
    printf("\n%d shapes: pictor is %.2f times as fast in the geometric mean; slower on %d\n",
           t.count, exp(t.log_sum / t.count), t.slower);
    dnnl_stream_destroy(t.stream);
    dnnl_engine_destroy(t.engine);
    return 0;
}
