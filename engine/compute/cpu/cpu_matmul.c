/* cpu_matmul.c: linear layers and 3x3 convolutions as one matrix product.
 *
 * A product's rows are output pixels. In a linear layer they are evenly spaced in memory from the
 * first to the last; in a convolution along one row of the picture. Such a stretch is a run, and
 * the inner kernel takes a piece of one run at a time with a stride and, for a convolution, nine
 * offsets (taps) into the padded input. Sums land in a small block of F32 in the thread's scratch,
 * where the epilogue finishes them and writes the output.
 *
 * A task is up to BLOCK_ROWS pixels by a range of panels. When there are few pixels (the deep
 * levels of the UNet, where weights outweigh activations) tasks split the panels instead, so that
 * every weight is read once. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/compute/cpu/cpu.h"

#define PIECE 64       /* rows a kernel call: with BLOCK_COLS, sums of 16 KiB */
#define BLOCK_COLS 64  /* columns a kernel call */
#define BLOCK_ROWS 256 /* pixels a task: their inputs fit in the second-level cache */
#define MIN_TASKS 32   /* fewer than this, and the panels are split too */

struct cpu_matrix {
    struct matrix base;
    enum dtype dtype;
    int pack_k;
    size_t w_panel; /* elements a panel */
    size_t mapped;  /* bytes */
    void *w;
    float *bias; /* padded with zeros to whole panels */
};

struct pack {
    struct cpu_device *dev;
    struct cpu_matrix *m;
    const struct matrix_part *parts;
    int count;
};

/* Fills panel `task`: source rows are [k][taps], F32 on the way. */
static void pack_panel(void *ctx, size_t task, int thread)
{
    const struct pack *p = ctx;
    struct cpu_matrix *m = p->m;
    size_t row = (size_t)m->base.k * (size_t)m->base.taps;
    size_t chunk = CPU_SCRATCH / sizeof(float);
    float *src = (float *)cpu_scratch(p->dev, thread);
    int first = 0, part = 0;
    for (int j = 0; j < PANEL; j++) {
        int n = (int)task * PANEL + j;
        if (n >= m->base.n)
            break;
        while (n >= first + p->parts[part].n)
            first += p->parts[part++].n;
        const struct matrix_part *q = &p->parts[part];
        size_t size = dtype_size(q->dtype);
        const unsigned char *w = (const unsigned char *)q->w + (size_t)(n - first) * row * size;
        if (q->bias)
            dtype_to_f32(q->bias_dtype,
                         (const unsigned char *)q->bias +
                             (size_t)(n - first) * dtype_size(q->bias_dtype),
                         &m->bias[n], 1);
        for (size_t at = 0; at < row; at += chunk) {
            size_t len = row - at < chunk ? row - at : chunk;
            dtype_to_f32(q->dtype, w + at * size, src, len);
            for (size_t i = 0; i < len; i++) {
                size_t k = (at + i) / (size_t)m->base.taps, t = (at + i) % (size_t)m->base.taps;
                size_t at_k = t * (size_t)m->pack_k + k;
                if (m->dtype == DTYPE_BF16) {
                    uint16_t *dst = (uint16_t *)m->w + task * m->w_panel;
                    p->dev->k->f32_to_bf16(dst + at_k / 2 * 2 * PANEL + (size_t)j * 2 + at_k % 2,
                                           &src[i], 1);
                } else {
                    ((float *)m->w)[task * m->w_panel + at_k * PANEL + (size_t)j] = src[i];
                }
            }
        }
    }
}

struct matrix *cpu_matmul_new(struct device *dev, int k, int taps, const struct matrix_part *parts,
                              int count, struct err *err)
{
    struct cpu_matrix *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a matrix");
        return NULL;
    }
    m->base = (struct matrix){.table = dev->table, .k = k, .taps = taps};
    for (int i = 0; i < count; i++)
        m->base.n += parts[i].n;
    m->dtype = dev->dtype;
    m->pack_k = (int)kernels_pack_k(dev->dtype, (size_t)k);
    size_t panels = ((size_t)m->base.n + PANEL - 1) / PANEL;
    m->w_panel = (size_t)taps * (size_t)m->pack_k * PANEL;
    m->mapped = panels * m->w_panel * dtype_size(m->dtype);
    m->base.bytes = m->mapped + panels * PANEL * sizeof *m->bias;
    m->bias = calloc(panels * PANEL, sizeof *m->bias);
    /* Anonymous pages are zero, which is what the padding has to be. */
    m->w = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->w == MAP_FAILED || !m->bias) {
        m->w = m->w == MAP_FAILED ? NULL : m->w;
        err_set(err, ERR_TOO_LARGE, "no memory for weights of %zu MiB", m->base.bytes >> 20);
        cpu_matmul_free(&m->base);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    madvise(m->w, m->mapped, MADV_HUGEPAGE);
#endif
    struct pack p = {(struct cpu_device *)dev, m, parts, count};
    pool_run(p.dev->pool, panels, pack_panel, &p);
    return &m->base;
}

void cpu_matmul_free(struct matrix *matrix)
{
    struct cpu_matrix *m = (struct cpu_matrix *)matrix;
    if (m->w)
        munmap(m->w, m->mapped);
    free(m->bias);
    free(m);
}

struct product {
    struct cpu_device *dev;
    const struct cpu_matrix *w;
    const struct epilogue *e;
    struct tensor *y;
    const struct tensor *x;
    /* Rows of y: `runs` runs of `length` pixels. */
    size_t runs, length, pieces; /* pieces a run */
    int stride, origin;          /* of a convolution; 0: linear */
    ptrdiff_t tap[9];
    size_t row_blocks, pieces_a_block;
    int col_blocks, cols_a_block;
};

/* y = act(c + bias + row) + residual for `rows` pixels of one run. */
static void finish(const struct product *p, float *c, size_t run, size_t at, size_t rows, int j,
                   int n)
{
    const struct kernels *k = p->dev->k;
    const struct epilogue *e = p->e;
    size_t pixel = run * p->length + at;
    size_t picture = (size_t)p->y->h * (size_t)p->y->w;
    size_t y_size = dtype_size(p->y->dtype);
    float residual[BLOCK_COLS];
    for (size_t i = 0; i < rows; i++, pixel++, c += BLOCK_COLS) {
        k->add(c, p->w->bias + j, (size_t)n);
        if (e && e->row)
            k->add(c, e->row + pixel / picture * e->row_ld + j, (size_t)n);
        if (e && e->act != ACT_NONE)
            k->activate(c, (size_t)n, e->act);
        if (e && e->residual) {
            const struct tensor *r = e->residual;
            cpu_load(k, residual, r->dtype,
                     (const unsigned char *)r->data +
                         (pixel * (size_t)r->ld + (size_t)j) * dtype_size(r->dtype),
                     (size_t)n);
            k->add(c, residual, (size_t)n);
        }
        cpu_store(k, p->y->dtype,
                  (unsigned char *)p->y->data + (pixel * (size_t)p->y->ld + (size_t)j) * y_size, c,
                  (size_t)n);
    }
}

static const void *input_at(const struct product *p, size_t run, size_t at)
{
    const struct tensor *x = p->x;
    if (!p->stride)
        return (const unsigned char *)x->data +
               (run * p->length + at) * (size_t)x->ld * dtype_size(x->dtype);
    int b = (int)(run / (size_t)p->y->h), y = (int)(run % (size_t)p->y->h);
    return tensor_at(x, b, y * p->stride + p->origin, (int)at * p->stride + p->origin);
}

static void product_task(void *ctx, size_t task, int thread)
{
    const struct product *p = ctx;
    const struct cpu_matrix *w = p->w;
    float *c = (float *)cpu_scratch(p->dev, thread);
    size_t block = task / (size_t)p->col_blocks;
    int j0 = (int)(task % (size_t)p->col_blocks) * p->cols_a_block;
    int j1 = j0 + p->cols_a_block < w->base.n ? j0 + p->cols_a_block : w->base.n;
    size_t first = block * p->pieces_a_block, last = first + p->pieces_a_block;
    if (last > p->runs * p->pieces)
        last = p->runs * p->pieces;
    size_t w_size = dtype_size(w->dtype);
    for (int j = j0; j < j1; j += BLOCK_COLS) {
        int n = j1 - j < BLOCK_COLS ? j1 - j : BLOCK_COLS;
        for (size_t piece = first; piece < last; piece++) {
            size_t run = piece / p->pieces, at = piece % p->pieces * PIECE;
            size_t rows = p->length - at < PIECE ? p->length - at : PIECE;
            struct gemm g = {
                .a = input_at(p, run, at),
                .lda = (size_t)p->x->ld * (size_t)(p->stride ? p->stride : 1),
                .m = (int)rows,
                .taps = w->base.taps,
                .tap = p->tap,
                .k = w->pack_k,
                .w = (const unsigned char *)w->w + (size_t)(j / PANEL) * w->w_panel * w_size,
                .w_panel = w->w_panel,
                .n = n,
                .c = c,
                .ldc = BLOCK_COLS,
            };
            if (w->dtype == DTYPE_BF16)
                p->dev->k->gemm_bf16(&g);
            else
                p->dev->k->gemm_f32(&g);
            finish(p, c, run, at, rows, j, n);
        }
    }
}

static void run_product(struct product *p)
{
    p->pieces = (p->length + PIECE - 1) / PIECE;
    size_t piece_rows = p->length < PIECE ? p->length : PIECE;
    p->pieces_a_block = (BLOCK_ROWS + piece_rows - 1) / piece_rows;
    p->row_blocks = (p->runs * p->pieces + p->pieces_a_block - 1) / p->pieces_a_block;
    int blocks = (p->w->base.n + BLOCK_COLS - 1) / BLOCK_COLS;
    int split = (int)((MIN_TASKS + p->row_blocks - 1) / p->row_blocks);
    int a_task = (blocks + split - 1) / split;
    p->cols_a_block = a_task * BLOCK_COLS;
    p->col_blocks = (p->w->base.n + p->cols_a_block - 1) / p->cols_a_block;
    pool_run(p->dev->pool, p->row_blocks * (size_t)p->col_blocks, product_task, p);
}

void cpu_matmul_linear(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct matrix *w, const struct epilogue *e)
{
    struct product p = {
        .dev = cpu_of(o), .w = (const struct cpu_matrix *)w, .e = e, .y = y, .x = x};
    assert(x->dtype == p.w->dtype && x->ld >= p.w->pack_k);
    p.runs = 1;
    p.length = (size_t)x->b * (size_t)x->h * (size_t)x->w;
    run_product(&p);
}

void cpu_matmul_conv3x3(struct ops *o, struct tensor *y, const struct tensor *x,
                        const struct matrix *w, int stride, bool even, const struct epilogue *e)
{
    struct product p = {
        .dev = cpu_of(o), .w = (const struct cpu_matrix *)w, .e = e, .y = y, .x = x};
    assert(x->dtype == p.w->dtype && x->ld >= p.w->pack_k);
    p.stride = stride;
    p.origin = even ? 0 : -1;
    p.runs = (size_t)y->b * (size_t)y->h;
    p.length = (size_t)y->w;
    for (int i = 0; i < 9; i++)
        p.tap[i] = (ptrdiff_t)(i / 3 * (x->w + 2) + i % 3) * x->ld;
    run_product(&p);
}
