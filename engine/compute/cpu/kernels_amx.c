/* kernels_amx.c: AMX-BF16: a 16 x 16 tile of F32 sums takes 16 x 32 by 32 x 16 BF16 an instruction.
 * AMX-INT8 likewise, of 16 x 64 by 64 x 16. Everything but these products is AVX-512's.
 *
 * Two by two tiles of sums (32 rows, one panel) share two tiles of activations and two of weights,
 * so there are as many loads as products. Activations are loaded straight from their rows (the
 * tile load takes a stride), weights from the packed panel, whose layout is a tile's. */
#define NARROW(v) ((vh)_mm512_cvtneps_pbh((__m512)(v)))
#define NARROW2(p, v0, v1)                                                                         \
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)(v1), (__m512)(v0)))
#define OWN_GEMM_BF16
#include "engine/compute/cpu/kernels_vl16.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Tiles: 0-3 sums, 4-5 rows of a, 6-7 weights. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

/* Loading a configuration takes as long as 16 products, so a thread keeps the one it has. */
static void configure(int rows0, int rows1)
{
    static _Thread_local int now0, now1;
    if (rows0 == now0 && rows1 == now1)
        return;
    now0 = rows0;
    now1 = rows1;
    struct tile_config cfg __attribute__((aligned(64))) = {.palette = 1};
    const int rows[8] = {rows0, rows0, rows1, rows1, rows0, rows1, 16, 16};
    for (int i = 0; i < 8; i++) {
        cfg.bytes[i] = 64;
        cfg.rows[i] = (uint8_t)rows[i];
    }
    /* GCC's _tile_loadconfig tells the compiler of the first 8 bytes only. */
    __asm__ volatile("ldtilecfg %0" : : "m"(cfg));
}

#define DOT_TILES(c, a, w)                                                                         \
    do {                                                                                           \
        if (s8)                                                                                    \
            _tile_dpbssd(c, a, w);                                                                 \
        else                                                                                       \
            _tile_dpbf16ps(c, a, w);                                                               \
    } while (0)

/* Sums of rows i .. i + 15, or 31 if `rows2`, and columns j .. j + 15, or 31 if `cols2`. */
INLINE void block(const struct gemm *g, bool s8, int i, int j, bool rows2, bool cols2)
{
    const size_t size = s8 ? 1 : 2; /* bytes an element */
    const char *a = (const char *)g->a + (size_t)i * g->lda * size;
    const char *w = (const char *)g->w + (size_t)(j / PANEL) * g->w_panel * size;
    float *c = (float *)g->c + (size_t)i * g->ldc + j, *c2 = c + 16 * g->ldc;
    size_t lda = g->lda * size, ldc = g->ldc * 4, deep = (size_t)g->k * size;
    if (g->accumulate) {
        _tile_loadd(0, c, ldc);
        if (cols2)
            _tile_loadd(1, c + 16, ldc);
        if (rows2)
            _tile_loadd(2, c2, ldc);
        if (rows2 && cols2)
            _tile_loadd(3, c2 + 16, ldc);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int t = 0; t < g->taps; t++) {
        const char *p = a + g->tap[t] * (ptrdiff_t)size, *q = p + 16 * lda;
        for (size_t k = 0; k < deep; k += 64, w += 64 * PANEL) {
            _tile_loadd(4, p + k, lda);
            _tile_loadd(6, w, 4 * PANEL);
            if (cols2)
                _tile_loadd(7, w + 2 * PANEL, 4 * PANEL);
            DOT_TILES(0, 4, 6);
            if (cols2)
                DOT_TILES(1, 4, 7);
            if (rows2)
                _tile_loadd(5, q + k, lda);
            if (rows2)
                DOT_TILES(2, 5, 6);
            if (rows2 && cols2)
                DOT_TILES(3, 5, 7);
        }
    }
    _tile_stored(0, c, ldc);
    if (cols2)
        _tile_stored(1, c + 16, ldc);
    if (rows2)
        _tile_stored(2, c2, ldc);
    if (rows2 && cols2)
        _tile_stored(3, c2 + 16, ldc);
}

/* 16 rows, or 32 if `rows2`, from i on, and up to 32 columns from j on. */
INLINE void blocks(const struct gemm *g, bool s8, int i, int j, bool rows2)
{
    if (g->n - j > 16)
        block(g, s8, i, j, rows2, true);
    else
        block(g, s8, i, j, rows2, false);
}

/* Rows left over (m modulo 32) are one pair of tiles with fewer rows, or one tile. */
INLINE void gemm(const struct gemm *g, bool s8)
{
    int whole = g->m / 32 * 32, rest = g->m - whole;
    if (whole) {
        configure(16, 16);
        for (int j = 0; j < g->n; j += PANEL)
            for (int i = 0; i < whole; i += 32)
                blocks(g, s8, i, j, true);
    }
    if (rest) {
        configure(rest < 16 ? rest : 16, rest > 16 ? rest - 16 : 16);
        for (int j = 0; j < g->n; j += PANEL)
            blocks(g, s8, whole, j, rest > 16);
    }
}

static void gemm_bf16(const struct gemm *g)
{
    gemm(g, false);
}

/* Four k where BF16 has two: the same bytes, twice the products. */
static void gemm_s8(const struct gemm *g)
{
    gemm(g, true);
}

/* On numbers like those of a network: on zeros the same loop is a quarter faster, because they draw
 * so little power that the clock stays up. */
static double peak_bf16(size_t rounds)
{
    uint16_t some[2][16 * 32];
    uint32_t state = 1;
    for (int i = 0; i < 2 * 16 * 32; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes */
        (&some[0][0])[i] = (uint16_t)(0x3c00 | (state >> 23) | (state >> 31) << 15); /* +-0.01..1 */
    }
    configure(16, 16);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, some[0], 64);
    _tile_loadd(5, some[1], 64);
    _tile_loadd(6, some[1], 64);
    _tile_loadd(7, some[0], 64);
    for (size_t i = 0; i < rounds; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    return 4 * 2.0 * 16 * 16 * 32 * (double)rounds;
}

bool kernels_amx_enable(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* <asm/prctl.h> */
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

const struct kernels kernels_amx = {
    .name = "amx", .peak_bf16 = peak_bf16, .gemm_s8 = gemm_s8, KERNELS_BASE};
