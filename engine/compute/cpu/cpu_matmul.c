/* cpu_matmul.c: linear layers and 3x3 convolutions as one matrix product.
 *
 * A product's rows are output pixels. In a linear layer they are evenly spaced in memory from the
 * first to the last; in a convolution along one row of the picture. Such a stretch is a run, and
 * the inner kernel takes a piece of one run at a time with a stride and, for a convolution, nine
 * offsets (taps) into the padded input. Where rows are short, a picture is one run that passes
 * through the borders between its rows: what is computed there is thrown away. Convolutions that
 * upsample are four products, one for each of the pixels that one becomes, with four taps each.
 *
 * A task is a block of pixels by a range of columns. It takes BLOCK_COLS columns at a time, and of
 * their weights so much (a chunk) as stays in the second-level cache while all its pixels meet it.
 * Sums wait in F32 in the thread's scratch until the last chunk; then the epilogue finishes them
 * and writes the output. So weights are read from memory once a task, and every output is summed
 * in the same order however the product is cut into tasks.
 *
 * Weights that a file keeps in blocks of few bits may stay there (lean): a task packs a chunk of
 * them into its thread's room before its pixels meet it, to the numbers that would lie in `w`. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/compute/cpu/cpu.h"

#define PIECE 64         /* rows a kernel call: with BLOCK_COLS, sums of 16 KiB */
#define BLOCK_COLS 64    /* columns a kernel call: two panels, so that a gate meets its value */
#define BLOCK_ROWS 512   /* pixels a task: the more, the fewer times weights are read */
#define CHUNK_K 6144     /* k times taps a chunk: BLOCK_COLS of BF16 are 768 KiB; of int8 twice */
#define MAX_TAPS 9       /* or pieces, of which a k of 8 CHUNK_K has no more */
#define TASKS_A_THREAD 8 /* at least, so that threads end together */

#define LEAN_BLOCKS 4 /* of columns, that few threads have something to do */
#define LEAN_PARTS 4  /* more stacked matrices than that are packed */

struct cpu_matrix {
    struct matrix base;
    enum dtype dtype;
    int taps, phases; /* phases: products, of `panels` panels each */
    int pack_k, panels;
    /* Taps, or equal pieces of a linear layer's k; how many of them a chunk; chunks. */
    int cut, chunk, chunks;
    size_t w_panel; /* elements a panel */
    size_t mapped;  /* bytes */
    void *w;
    /* Of a linear layer whose weights stay in blocks: where they are; then `w` is NULL. 0: all is
     * in `w`. */
    struct matrix_part lean[LEAN_PARTS];
    int lean_count;
    float *bias;  /* padded with zeros to whole panels */
    float *scale; /* int8: of each column, behind the bias; else NULL */
};

struct pack {
    struct cpu_device *dev;
    struct cpu_matrix *m;
    const struct matrix_part *parts;
    int count;
};

#define AHEAD 3       /* rows that are fetched before they are packed */
#define PACK_COLS 512 /* source elements a row that are packed together: 32 rows fit in L1 */

/* A row of stored weights: `n` elements of a part from `first` on. */
struct row {
    const struct matrix_part *part;
    size_t first, n;
};

/* Row `n` of the stacked parts, which have `row` elements each. */
static struct row source_row(const struct pack *p, int n, size_t row, float *bias)
{
    int part = 0;
    while (n >= p->parts[part].n)
        n -= p->parts[part++].n;
    const struct matrix_part *q = &p->parts[part];
    if (q->bias)
        dtype_range_to_f32(q->bias_dtype, q->bias, (size_t)n, bias, 1);
    return (struct row){q, (size_t)n * row, row};
}

/* `n` numbers of a row from `at` on. */
static void read_row(const struct kernels *kn, const struct row *r, size_t at, float *f32, size_t n)
{
    const struct matrix_part *q = r->part;
    size_t block = dtype_block(q->dtype), first = r->first + at, row = r->first / r->n;
    if (q->scales && (n % block || !dtype_scales_whole(q->scales, at, n)))
        dtype_scales_read(q->scales, q->dtype, q->w, q->first_row, q->first_row + row, at, f32, n);
    else if (first % block || n % block)
        dtype_range_to_f32(q->dtype, q->w, first, f32, n);
    else
        kn->to_f32(f32, q->dtype,
                   (const unsigned char *)q->w + first / block * dtype_size(q->dtype), n);
    if (q->scales && n % block == 0 && dtype_scales_whole(q->scales, at, n))
        dtype_scales_apply(q->scales, q->first_row + row, at, f32, n);
    for (size_t i = 0; q->scale != 0 && i < n; i++)
        f32[i] *= q->scale;
    if (q->more)
        q->more->add(q->more, row, at, n, f32);
}

/* `n` numbers of a row from `at` on will soon be read. */
static void fetch_row(const struct row *r, size_t at, size_t n)
{
    const struct matrix_part *q = r->part;
    size_t block = dtype_block(q->dtype), size = dtype_size(q->dtype);
    const char *p = (const char *)q->w + (r->first + at) / block * size;
    for (size_t i = 0; i < n / block * size; i += 64)
        __builtin_prefetch(p + i);
}

/* Nine taps for each of `cols` become the four of phase 2 y + x, in place: source rows and columns
 * that fall on the same pixel are added up. */
static void fold(float *w, size_t cols, int phase)
{
    int y = phase / 2 + 1, x = phase % 2 + 1; /* rows and columns before them are of the first */
    const float *src = w;
    for (size_t i = 0; i < cols; i++, src += 9, w += 4) {
        float sum[4] = {0};
        for (int t = 0; t < 9; t++)
            sum[(t / 3 >= y) * 2 + (t % 3 >= x)] += src[t];
        memcpy(w, sum, sizeof sum);
    }
}

/* Turns `rows` rows of `cols` numbers, `taps` apart, so that rows lie side by side: dst [cols,
 * PANEL]. */
static void turn_f32(float *dst, const float *src, int rows, size_t cols, size_t taps, size_t ld)
{
    for (size_t i = 0; i < cols; i++, dst += PANEL)
        for (int j = 0; j < rows; j++)
            dst[j] = src[(size_t)j * ld + i * taps];
}

/* The same in pairs: dst [cols / 2, PANEL, 2]. */
static void turn_bf16(uint16_t *dst, const uint16_t *src, int rows, size_t cols, size_t taps,
                      size_t ld)
{
    for (size_t i = 0; i < cols; i += 2, dst += 2 * PANEL) {
        const uint16_t *even = src + i * taps, *odd = even + taps;
        uint32_t mask = i + 1 < cols ? 0xffff : 0;
        for (int j = 0; j < rows; j++) {
            uint32_t pair = even[(size_t)j * ld] | (odd[(size_t)j * ld] & mask) << 16;
            memcpy(dst + 2 * j, &pair, sizeof pair);
        }
    }
}

/* The same in fours: dst [cols / 4, PANEL, 4]. */
static void turn_s8(int8_t *dst, const int8_t *src, int rows, size_t cols, size_t taps, size_t ld)
{
    for (size_t i = 0; i < cols; i++)
        for (int j = 0; j < rows; j++)
            dst[i / 4 * 4 * PANEL + 4 * (size_t)j + i % 4] = src[(size_t)j * ld + i * taps];
}

/* Of a row's numbers, converted to `f32` `step` at a time. */
static float largest(const struct kernels *kn, const struct row *r, float *f32, size_t step)
{
    float most = 0;
    for (size_t i = 0; i < r->n; i += step) {
        size_t some = r->n - i < step ? r->n - i : step;
        read_row(kn, r, i, f32, some);
        most = fmaxf(most, kn->amax(DTYPE_F32, f32, some));
    }
    return most;
}

/* The rows of a panel, and their biases. Returns how many there are. */
static int panel_rows(const struct pack *p, int panel, struct row *src, float *bias)
{
    const struct cpu_matrix *m = p->m;
    size_t row = (size_t)m->base.k * (size_t)(m->phases > 1 ? 9 : m->taps);
    bool gated = matrix_kind_gated(m->base.kind);
    bool gates_first = m->base.kind != MATRIX_GATED;
    int rows = 0;
    for (; rows < PANEL; rows++) {
        /* Gated: values fill the even panels, gates the odd ones. */
        int n = gated ? panel / 2 * PANEL + rows : panel * PANEL + rows;
        if (n >= m->base.n)
            break;
        if (gated && (panel % 2 == 1) != gates_first)
            n += m->base.n;
        bias[rows] = 0;
        src[rows] = source_row(p, n, row, &bias[rows]);
    }
    return rows;
}

/* Where a thread packs: numbers of one row, and a strip of all rows [PANEL][columns * taps]. */
#define PACK_ROOM (PACK_COLS * 9 * sizeof(float) + (size_t)PANEL * PACK_COLS * 9 * sizeof(float))

/* Packs columns k0 to k1 of `rows` rows; `to` is where those of k0 go. Source rows are [k][taps]; a
 * strip of all of them is converted, then turned so that the panel is written from front to back
 * for each tap. */
static void pack_columns(const struct cpu_device *dev, const struct cpu_matrix *m,
                         const struct row *src, int rows, int phase, const float *scale, size_t k0,
                         size_t k1, void *to, void *room)
{
    const struct kernels *kn = dev->k;
    size_t taps = (size_t)m->taps, src_taps = m->phases > 1 ? 9 : taps;
    size_t size = dtype_size(m->dtype), step = taps > 1 ? PACK_COLS / 8 : PACK_COLS;
    float *f32 = room;
    unsigned char *strip = (unsigned char *)(f32 + PACK_COLS * 9);
    for (size_t from = k0; from < k1; from += step) {
        size_t cols = k1 - from < step ? k1 - from : step, wide = cols * taps;
        bool whole = taps == 1 && rows == PANEL && wide * size % 4 == 0;
        for (int j = 0; j < rows; j++) {
            if (taps == 1) { /* rows lie far apart, where no processor looks ahead */
                int next = j + AHEAD < rows ? j + AHEAD : j + AHEAD - rows;
                size_t then = next > j ? from : from + step;
                if (next < rows && then < k1)
                    fetch_row(&src[next], then, k1 - then < step ? k1 - then : step);
            }
            read_row(kn, &src[j], from * src_taps, f32, cols * src_taps);
            if (m->phases > 1)
                fold(f32, cols, phase);
            unsigned char *row = strip + (size_t)j * wide * size;
            if (scale)
                kn->to_s8(DTYPE_F32, (int8_t *)row, f32, scale[j] > 0 ? 1 / scale[j] : 0, wide);
            else
                kn->from_f32(m->dtype, row, f32, wide);
        }
        if (whole) /* words of one, two or four numbers */
            kn->turn((uint32_t *)((unsigned char *)to + (from - k0) * PANEL * size),
                     (const uint32_t *)strip, wide * size / 4, wide * size / 4);
        for (size_t t = 0; t < taps && !whole; t++) {
            size_t at = (t * (size_t)m->pack_k + from - k0) * PANEL;
            if (scale)
                turn_s8((int8_t *)to + at, (const int8_t *)strip + t, rows, cols, taps, wide);
            else if (m->dtype == DTYPE_BF16)
                turn_bf16((uint16_t *)to + at, (const uint16_t *)strip + t, rows, cols, taps, wide);
            else
                turn_f32((float *)to + at, (const float *)strip + t, rows, cols, taps, wide);
        }
    }
}

/* Fills panel `task`, which counts through all phases. */
static void pack_panel(void *ctx, size_t task, int thread)
{
    const struct pack *p = ctx;
    struct cpu_matrix *m = p->m;
    int phase = (int)task / m->panels, panel = (int)task % m->panels;
    float *room = (float *)cpu_scratch(p->dev, thread), bias[PANEL];
    float *scale = m->scale ? m->scale + task * PANEL : NULL;
    struct row src[PANEL];
    int rows = panel_rows(p, panel, src, bias);
    if (phase == 0)
        memcpy(m->bias + panel * PANEL, bias, (size_t)rows * sizeof *bias);
    if (m->lean_count)
        return;
    for (int j = 0; j < rows && scale; j++)
        scale[j] = largest(p->dev->k, &src[j], room, PACK_COLS) / 127;
    pack_columns(p->dev, m, src, rows, phase, scale, 0, (size_t)m->base.k,
                 (unsigned char *)m->w + task * m->w_panel * dtype_size(m->dtype), room);
}

/* Whether the weights may stay as they are until a product wants them. */
static bool may_be_lean(const struct cpu_matrix *m, const struct matrix_part *parts, int count)
{
    bool lean = m->taps == 1 && m->dtype != DTYPE_I8 && count <= LEAN_PARTS;
    for (int i = 0; i < count; i++)
        lean &= parts[i].stays && (parts[i].lean || dtype_is_small(parts[i].dtype));
    return lean;
}

/* Biases, and of int8 the scales behind them. */
static size_t bias_floats(const struct cpu_matrix *m)
{
    return (size_t)m->panels * PANEL * (m->dtype == DTYPE_I8 ? 2 : 1);
}

/* Anonymous pages are zero, which is what the padding has to be. */
static bool map_weights(struct cpu_matrix *m, struct err *err)
{
    m->w = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->w == MAP_FAILED) {
        m->w = NULL;
        return err_set(err, ERR_TOO_LARGE, "no memory for weights of %zu MiB", m->mapped >> 20);
    }
#ifdef MADV_HUGEPAGE
    madvise(m->w, m->mapped, MADV_HUGEPAGE);
#endif
    return true;
}

/* What lies in the file anyway, and its biases, stay. */
void cpu_matmul_rest(struct matrix *matrix)
{
    struct cpu_matrix *m = (struct cpu_matrix *)matrix;
    if (m->lean_count || !m->w)
        return;
    munmap(m->w, m->mapped);
    m->w = NULL;
}

bool cpu_matmul_refill(struct device *dev, struct matrix *matrix, const struct matrix_part *parts,
                       int count, struct err *err)
{
    struct cpu_matrix *m = (struct cpu_matrix *)matrix;
    bool lean = may_be_lean(m, parts, count);
    if (!lean && !m->w && !map_weights(m, err))
        return false;
    if (lean && m->w) { /* address space is limited, too */
        munmap(m->w, m->mapped);
        m->w = NULL;
    }
    struct pack p = {(struct cpu_device *)dev, m, parts, count};
    m->lean_count = lean ? count : 0;
    m->base.bytes = bias_floats(m) * sizeof *m->bias + (m->lean_count ? 0 : m->mapped);
    m->base.mapped = 0;
    for (int i = 0; i < m->lean_count; i++)
        m->base.mapped += (size_t)parts[i].n * (size_t)m->base.k / dtype_block(parts[i].dtype) *
                          dtype_size(parts[i].dtype);
    m->base.bytes += m->base.mapped;
    if (m->lean_count)
        memcpy(m->lean, parts, (size_t)count * sizeof *parts);
    pool_run(p.dev->pool, (size_t)m->phases * (size_t)m->panels, pack_panel, &p);
    return true;
}

struct matrix *cpu_matmul_new(struct device *dev, enum matrix_kind kind, int k,
                              const struct matrix_part *parts, int count, bool coarse,
                              struct err *err)
{
    bool gated = matrix_kind_gated(kind);
    int taps = kind == MATRIX_CONV3X3 ? 9 : kind == MATRIX_UPSAMPLE ? 4 : 1;
    struct cpu_matrix *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a matrix");
        return NULL;
    }
    m->base = (struct matrix){.table = dev->table, .kind = kind, .k = k, .coarse = coarse};
    m->taps = taps;
    m->phases = kind == MATRIX_UPSAMPLE ? 4 : 1;
    for (int i = 0; i < count; i++)
        m->base.n += parts[i].n;
    if (gated)
        m->base.n /= 2;
    m->dtype = coarse && dev->int8 && m->phases == 1 ? DTYPE_I8 : dev->dtype;
    m->pack_k = (int)kernels_pack_k(m->dtype, (size_t)k);
    m->panels = (m->base.n + PANEL - 1) / PANEL * (gated ? 2 : 1);
    int cut = taps; /* a linear layer's k is cut as if it had taps */
    int most = m->dtype == DTYPE_I8 ? 2 * CHUNK_K : CHUNK_K;
    while (taps == 1 && m->pack_k / cut > most && m->pack_k % (2 * cut * PACK_K8) == 0)
        cut *= 2;
    m->chunk = most / (m->pack_k * taps / cut);
    m->chunk = m->chunk < 1 ? 1 : m->chunk > cut ? cut : m->chunk;
    m->chunks = (cut + m->chunk - 1) / m->chunk;
    assert(cut <= MAX_TAPS);
    m->cut = cut;
    m->w_panel = (size_t)taps * (size_t)m->pack_k * PANEL;
    m->mapped = (size_t)m->phases * (size_t)m->panels * m->w_panel * dtype_size(m->dtype);
    size_t columns = (size_t)m->panels * PANEL, floats = bias_floats(m);
    m->base.bytes = m->mapped + floats * sizeof *m->bias;
    m->bias = calloc(floats, sizeof *m->bias);
    if (!m->bias) {
        err_set(err, ERR_TOO_LARGE, "no memory for biases");
        cpu_matmul_free(&m->base);
        return NULL;
    }
    if (m->dtype == DTYPE_I8)
        m->scale = m->bias + columns;
    if (!cpu_matmul_refill(dev, &m->base, parts, count, err)) {
        cpu_matmul_free(&m->base);
        return NULL;
    }
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
    const float *scale; /* int8: of every pixel, or picture, of x */
    int phase;
    /* Where pixels are written: pictures of `picture` pixels in lines of `width`. In elements:
     * where the first is, and steps from pixel to pixel, line to line and picture to picture. */
    size_t picture, width, y_first, y_ld, y_line, y_picture;
    size_t r_first, r_line, r_picture; /* where the residual's are */
    /* Rows of the product: `runs` runs of `length`. Of every `period` of them in a run the first
     * `kept` are pixels, the rest border. */
    size_t runs, length, period, kept;
    size_t pieces;             /* a run */
    const unsigned char *base; /* of x: where the first run's first row reads tap 0 */
    size_t lda;                /* elements of x from row to row */
    ptrdiff_t tap[MAX_TAPS];
    unsigned char *room; /* of lean weights: where threads expand them, `room_size` bytes each */
    size_t room_size;
    size_t row_blocks, pieces_a_block;
    int col_blocks, cols_a_block; /* in columns of the packed matrix */
};

/* Where run `run` begins in x. */
static const unsigned char *run_at(const struct product *p, size_t run)
{
    const struct tensor *x = p->x;
    if (p->runs == 1)
        return p->base;
    size_t a_picture = p->runs / (size_t)x->b, b = run / a_picture, row = run % a_picture;
    size_t line = (size_t)(x->w + 2) * (size_t)x->ld, stride = p->lda / (size_t)x->ld;
    return p->base + (b * (size_t)(x->h + 2) * line + row * stride * line) * dtype_size(x->dtype);
}

/* What the gates of a gated kind go through. */
static enum activation gate_of(enum matrix_kind kind)
{
    return kind == MATRIX_SWIGLU       ? ACT_SILU
           : kind == MATRIX_GATED_TANH ? ACT_GELU_TANH
                                       : ACT_GELU;
}

/* Writes rows [at, at + rows) of a run from their sums: stretch by stretch of pixels. */
static void finish(const struct product *p, const float *c, size_t run, size_t at, size_t rows,
                   int j, int n)
{
    const struct epilogue *e = p->e;
    size_t size = dtype_size(p->y->dtype), picture = p->picture;
    size_t kept_a_run = p->length / p->period * p->kept;
    bool gated = matrix_kind_gated(p->w->base.kind);
    if (p->length % p->period)
        kept_a_run += p->kept;
    for (size_t i = 0, len; i < rows; i += len) {
        size_t line = (at + i) / p->period, in_line = (at + i) % p->period;
        len = p->period - in_line < rows - i ? p->period - in_line : rows - i;
        if (in_line >= p->kept)
            continue;
        size_t keep = p->kept - in_line < len ? p->kept - in_line : len;
        size_t pixel = run * kept_a_run + line * p->kept + in_line;
        while (keep) {
            /* One picture at a time: `row` may differ. */
            size_t some = picture - pixel % picture < keep ? picture - pixel % picture : keep;
            struct finish f = {.c = c + i * BLOCK_COLS,
                               .ldc = BLOCK_COLS,
                               .rows = some,
                               .n = (size_t)n,
                               .bias = p->w->bias + (gated ? 2 * j : j),
                               .gated = gated,
                               .act = gated ? gate_of(p->w->base.kind) : ACT_NONE,
                               .dtype = p->y->dtype,
                               .y = (char *)p->y->data +
                                    (p->y_first + pixel / picture * p->y_picture +
                                     pixel % picture / p->width * p->y_line +
                                     pixel % picture % p->width * p->y_ld + (size_t)j) *
                                        size,
                               .y_ld = p->y_ld};
            if (p->scale) {
                f.scale = p->w->scale + (gated ? 2 * j : j);
                f.row_step = p->w->taps == 1;
                f.row_scale = p->scale + (f.row_step ? pixel : pixel / picture);
            }
            if (e) {
                f.act = e->act;
                if (e->row)
                    f.row = e->row + pixel / picture * e->row_ld + j;
                if (e->gate)
                    f.gate = e->gate + pixel / picture * e->gate_ld + j;
                if (e->slope)
                    f.slope = e->slope + j;
                if (e->residual) {
                    f.residual_ld = (size_t)e->residual->ld;
                    f.residual = (const char *)e->residual->data +
                                 (p->r_first + pixel / picture * p->r_picture +
                                  pixel % picture / p->width * p->r_line +
                                  pixel % picture % p->width * f.residual_ld + (size_t)j) *
                                     size;
                }
            }
            p->dev->k->finish(&f);
            pixel += some;
            keep -= some;
            i += some;
            len -= some;
        }
    }
}

/* Elements of a chunk of a panel. */
static size_t chunk_size(const struct cpu_matrix *w)
{
    return (size_t)w->chunk * (size_t)(w->pack_k / w->cut) * PANEL;
}

/* Lean weights: those of `n` columns from `j` on, k from k0 to k1, in the thread's room; a panel is
 * chunk_size behind the other. */
static const unsigned char *expand(const struct product *p, int thread, int j, int n, size_t k0,
                                   size_t k1)
{
    const struct cpu_matrix *w = p->w;
    struct pack pack = {p->dev, (struct cpu_matrix *)w, w->lean, w->lean_count};
    unsigned char *room = p->room + (size_t)thread * p->room_size, *to = room + PACK_ROOM;
    size_t size = dtype_size(w->dtype), end = (size_t)w->base.k < k1 ? (size_t)w->base.k : k1;
    struct row src[PANEL];
    float bias[PANEL];
    for (int at = 0; at < n; at += PANEL, to += chunk_size(w) * size) {
        int rows = panel_rows(&pack, (j + at) / PANEL, src, bias);
        if (rows < PANEL || end < k1) /* the padding has to be zero */
            memset(to, 0, (k1 - k0) * PANEL * size);
        if (k0 < end)
            pack_columns(p->dev, w, src, rows, 0, NULL, k0, end, to, room);
    }
    return room + PACK_ROOM;
}

static void product_task(void *ctx, size_t task, int thread)
{
    const struct product *p = ctx;
    const struct cpu_matrix *w = p->w;
    float *scratch = (float *)cpu_scratch(p->dev, thread);
    size_t block = task / (size_t)p->col_blocks;
    int columns = w->panels * PANEL;
    int j0 = (int)(task % (size_t)p->col_blocks) * p->cols_a_block;
    int j1 = j0 + p->cols_a_block < columns ? j0 + p->cols_a_block : columns;
    size_t first = block * p->pieces_a_block, last = first + p->pieces_a_block;
    if (last > p->runs * p->pieces)
        last = p->runs * p->pieces;
    size_t size = dtype_size(w->dtype);
    int k = w->pack_k * w->taps / w->cut;
    bool gated = matrix_kind_gated(w->base.kind);
    const unsigned char *weights = w->w;
    if (weights)
        weights += (size_t)(p->phase * w->panels) * w->w_panel * size;
    for (int j = j0; j < j1; j += BLOCK_COLS) {
        int n = j1 - j < BLOCK_COLS ? j1 - j : BLOCK_COLS;
        /* The same in columns of y. */
        int y_j = gated ? j / 2 : j, y_n = gated ? n / 2 : n;
        if (y_n > w->base.n - y_j)
            y_n = w->base.n - y_j;
        for (int chunk = 0; chunk < w->chunks; chunk++) {
            int tap = chunk * w->chunk, taps = w->cut - tap < w->chunk ? w->cut - tap : w->chunk;
            const unsigned char *lean = w->lean_count
                                            ? expand(p, thread, j, n, (size_t)tap * (size_t)k,
                                                     (size_t)(tap + taps) * (size_t)k)
                                            : NULL;
            for (size_t piece = first; piece < last; piece++) {
                size_t run = piece / p->pieces, at = piece % p->pieces * PIECE;
                size_t rows = p->length - at < PIECE ? p->length - at : PIECE;
                /* With one chunk no sums wait, and one piece's room stays in L1. */
                float *c = scratch;
                if (w->chunks > 1)
                    c += (piece - first) * PIECE * BLOCK_COLS;
                struct gemm g = {
                    .a = run_at(p, run) + at * p->lda * size,
                    .lda = p->lda,
                    .m = (int)rows,
                    .taps = taps,
                    .tap = p->tap + tap,
                    .k = k,
                    .w = lean ? lean
                              : weights + ((size_t)(j / PANEL) * w->w_panel +
                                           (size_t)tap * (size_t)k * PANEL) *
                                              size,
                    .w_panel = lean ? chunk_size(w) : w->w_panel,
                    .n = n,
                    .c = c,
                    .ldc = BLOCK_COLS,
                    .accumulate = chunk > 0,
                };
                if (w->dtype == DTYPE_I8)
                    p->dev->k->gemm_s8(&g);
                else if (w->dtype == DTYPE_BF16)
                    p->dev->k->gemm_bf16(&g);
                else
                    p->dev->k->gemm_f32(&g);
                if (chunk == w->chunks - 1)
                    finish(p, c, run, at, rows, y_j, y_n);
            }
        }
    }
}

static void run_product(struct product *p)
{
    size_t piece_rows = p->length < PIECE ? p->length : PIECE;
    p->pieces = (p->length + PIECE - 1) / PIECE;
    p->pieces_a_block = BLOCK_ROWS / piece_rows;
    /* Sums that wait must fit in the scratch, whatever the pieces' size. */
    if (p->pieces_a_block > BLOCK_ROWS / PIECE && p->w->chunks > 1)
        p->pieces_a_block = CPU_SCRATCH / sizeof(float) / PIECE / BLOCK_COLS;
    int blocks = (p->w->panels * PANEL + BLOCK_COLS - 1) / BLOCK_COLS;
    /* Lean weights are expanded once a task: there are enough columns for one block of rows. */
    if (p->w->lean_count && p->w->chunks == 1 && blocks >= LEAN_BLOCKS)
        p->pieces_a_block = p->runs * p->pieces;
    p->row_blocks = (p->runs * p->pieces + p->pieces_a_block - 1) / p->pieces_a_block;
    int tasks = TASKS_A_THREAD * p->dev->base.threads;
    int split = (tasks + (int)p->row_blocks - 1) / (int)p->row_blocks;
    int a_task = (blocks + split - 1) / split;
    p->cols_a_block = a_task * BLOCK_COLS;
    p->col_blocks = (p->w->panels * PANEL + p->cols_a_block - 1) / p->cols_a_block;
    pool_run(p->dev->pool, p->row_blocks * (size_t)p->col_blocks, product_task, p);
}

/* For a coarse matrix x is rounded to `q`, which takes its place. */
static struct product product_of(struct ops *o, struct tensor *y, const struct tensor *x,
                                 const struct matrix *w, const struct epilogue *e, struct tensor *q)
{
    struct product p = {
        .dev = cpu_of(o), .w = (const struct cpu_matrix *)w, .e = e, .y = y, .x = x};
    assert(!e || !e->residual || e->residual->dtype == y->dtype);
    if (p.w->dtype == DTYPE_I8) {
        float *scale;
        *q = cpu_quantize(o, x, &scale);
        p.scale = scale;
        p.x = q;
    }
    assert(p.x->dtype == p.w->dtype && p.x->ld >= p.w->pack_k);
    return p;
}

void cpu_matmul_linear(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct matrix *w, const struct epilogue *e)
{
    size_t mark = arena_mark(o->arena);
    struct tensor q;
    struct product p = product_of(o, y, x, w, e, &q);
    x = p.x;
    p.runs = 1;
    p.length = p.period = p.kept = (size_t)x->b * (size_t)x->h * (size_t)x->w;
    p.picture = p.width = (size_t)x->h * (size_t)x->w;
    p.y_ld = (size_t)y->ld;
    p.y_picture = p.picture * p.y_ld;
    if (e && e->residual)
        p.r_picture = p.picture * (size_t)e->residual->ld;
    p.base = x->data;
    p.lda = (size_t)x->ld;
    for (int i = 0; i < p.w->cut; i++)
        p.tap[i] = (ptrdiff_t)i * (p.w->pack_k / p.w->cut);
    if (p.w->lean_count) {
        size_t size = PACK_ROOM + BLOCK_COLS / PANEL * chunk_size(p.w) * dtype_size(p.w->dtype);
        p.room_size = (size + 63) / 64 * 64;
        p.room = arena_alloc(o->arena, (size_t)p.dev->base.threads, p.room_size);
    }
    if (!arena_planning(o->arena))
        run_product(&p);
    arena_reset(o->arena, mark);
}

/* Pixels a run: lines of `height` x `width` output pixels in a padded x, `stride` apart. */
static void cut_runs(struct product *p, size_t height, size_t width, int stride)
{
    const struct tensor *x = p->x;
    size_t wide = (size_t)x->w + 2;
    p->lda = (size_t)x->ld * (size_t)stride;
    if (stride == 1 && (width < 32 || width % 16)) {
        p->runs = (size_t)x->b;
        p->length = height * wide - 2;
        p->period = wide;
    } else {
        p->runs = (size_t)x->b * height;
        p->length = p->period = width;
    }
    p->kept = p->width = width;
    p->picture = height * width;
}

/* Elements from a tensor's data to its first pixel, and from line to line and picture to picture.
 */
static void strides(const struct tensor *t, size_t *first, size_t *line, size_t *picture)
{
    *line = (size_t)(t->w + 2 * t->pad) * (size_t)t->ld;
    *picture = (size_t)(t->h + 2 * t->pad) * *line;
    *first = (size_t)t->pad * (*line + (size_t)t->ld);
}

void cpu_matmul_conv3x3(struct ops *o, struct tensor *y, const struct tensor *x,
                        const struct matrix *w, int stride, bool even, const struct epilogue *e)
{
    size_t mark = arena_mark(o->arena);
    struct tensor q;
    struct product p = product_of(o, y, x, w, e, &q);
    x = p.x;
    int origin = even ? 0 : -1;
    p.base = tensor_at(x, 0, origin, origin);
    cut_runs(&p, (size_t)y->h, (size_t)y->w, stride);
    p.y_ld = (size_t)y->ld;
    strides(y, &p.y_first, &p.y_line, &p.y_picture);
    if (e && e->residual)
        strides(e->residual, &p.r_first, &p.r_line, &p.r_picture);
    for (int i = 0; i < 9; i++)
        p.tap[i] = (ptrdiff_t)(i / 3 * (x->w + 2) + i % 3) * x->ld;
    if (!arena_planning(o->arena)) {
        cpu_clear_border(y);
        run_product(&p);
    }
    arena_reset(o->arena, mark);
}

void cpu_matmul_upsample(struct ops *o, struct tensor *y, const struct tensor *x,
                         const struct matrix *w, const struct epilogue *e)
{
    if (arena_planning(o->arena))
        return;
    struct tensor q;
    struct product p = product_of(o, y, x, w, e, &q);
    size_t ld = (size_t)y->ld, first, line;
    assert(!e || !e->residual);
    cpu_clear_border(y);
    cut_runs(&p, (size_t)x->h, (size_t)x->w, 1);
    strides(y, &first, &line, &p.y_picture);
    p.y_ld = 2 * ld;
    p.y_line = 2 * line;
    for (int i = 0; i < 4; i++)
        p.tap[i] = (ptrdiff_t)(i / 2 * (x->w + 2) + i % 2) * x->ld;
    for (p.phase = 0; p.phase < 4; p.phase++) {
        p.base = tensor_at(x, 0, p.phase / 2 - 1, p.phase % 2 - 1);
        p.y_first = first + (size_t)(p.phase / 2) * line + (size_t)(p.phase % 2) * ld;
        run_product(&p);
    }
}
