/* Tiles: of AMX or, where there is none, of AVX-512 with its products of bfloat16 pairs.
 *
 * A left tile is 16 rows of 16 pairs, a right one 16 pairs of rows of 16 columns, and what is summed
 * up 16 x 16 floats. Without AMX a loaded tile is only remembered by its address, so nothing may be
 * written there until its product; sums are left in memory between products. A `block` of 32 x 32
 * is what convolutions are made of. tiles_on() comes first in every thread's function.
 */
#pragma once
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What was stored is read by tiles next, which the compiler does not see. */
static inline void written(void)
{
    __asm__ volatile("" ::: "memory");
}

#ifdef __AMX_BF16__

static bool tiles(void)
{
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) == 0;
}

static void tiles_on(void)
{
    alignas(64) static const struct Config {
        uint8_t palette = 1, start = 0, zero[14] = {0};
        uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    written();
    _tile_loadconfig(&config);
}
#define tiles_off() _tile_release()
#define tile_zero(i) _tile_zero(i)
#define tile_load(i, from, step) _tile_loadd(i, from, step)
#define tile_sums(i, from, step) _tile_loadd(i, from, step)
#define tile_store(i, to, step) _tile_stored(i, to, step)
/* of the left tile's rows the first `rows` are wanted: 8, 12 or 16 */
#define tile_dot(sum, left, right, rows) _tile_dpbf16ps(sum, left, right)
/* one product: of the left tile's pairs the first `count` may be other than zero */
#define tile_times(left, right, count, to, step) \
    do { \
        _tile_loadd(5, left, 64); \
        _tile_loadd(6, right, 64); \
        _tile_zero(4); \
        _tile_dpbf16ps(4, 5, 6); \
        _tile_stored(4, to, step); \
    } while (0)

static inline void block_zero(float *)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}
/* Adds `count` products: left tiles have rows `step` bytes apart and the lower 16 rows `lower` bytes
 * further, right ones their next 16 columns `aside` bytes further; each next product's are next_left
 * and next_right bytes on. */
static inline void block_add(float *, const char *left, int64_t step, int64_t lower, int64_t next_left,
                             const char *right, int64_t aside, int64_t next_right, int64_t count)
{
    for (; count > 0; count--, left += next_left, right += next_right) {
        _tile_loadd(4, left, step);
        _tile_loadd(6, right, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + aside, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, left + lower, step);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}
/* the block as sums[32][32] */
static inline void block_store(float *sums)
{
    _tile_stored(0, sums, 128);
    _tile_stored(1, sums + 16, 128);
    _tile_stored(2, sums + 512, 128);
    _tile_stored(3, sums + 528, 128);
}

#else

struct Tile {
    const char *at;
    int64_t step;
    alignas(64) float sums[256];
};
static bool tiles(void)
{
    return true;
}
#define tiles_on() [[maybe_unused]] Tile tile[8]
#define tiles_off()
#define tile_zero(i) memset(tile[i].sums, 0, sizeof tile[i].sums)
#define tile_load(i, from, stride) (tile[i].at = (const char *)(from), tile[i].step = (stride))
#define tile_sums(i, from, step) sums_copy((char *)tile[i].sums, 64, (const char *)(from), step)
#define tile_store(i, to, step) sums_copy((char *)(to), step, (const char *)tile[i].sums, 64)
#define tile_dot(sum, left, right, rows) sums_add(tile[sum], tile[left], tile[right], rows)

static inline void sums_copy(char *to, int64_t to_step, const char *from, int64_t step)
{
    for (int r = 0; r < 16; r++)
        _mm512_storeu_ps(to + r * to_step, _mm512_loadu_ps(from + r * step));
}

static inline __m512bh pairs_at(const char *p)
{
    return (__m512bh)_mm512_loadu_si512(p);
}
/* one pair for all columns */
static inline __m512bh pair_at(const char *p)
{
    int32_t pair;
    memcpy(&pair, p, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
}

template <int ROWS>
static inline void sums_rows(float *sums, const char *a, int64_t step, const char *b, int64_t next)
{
    __m512 s[ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
        s[r] = _mm512_load_ps(sums + 16 * r);
    for (int k = 0; k < 16; k++, a += 4, b += next) {
        __m512bh y = pairs_at(b);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++)
            s[r] = _mm512_dpbf16_ps(s[r], pair_at(a + r * step), y);
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
        _mm512_store_ps(sums + 16 * r, s[r]);
}
static inline void sums_add(Tile &sum, const Tile &left, const Tile &right, int64_t rows)
{
    if (rows == 8)
        sums_rows<8>(sum.sums, left.at, left.step, right.at, right.step);
    else if (rows == 12)
        sums_rows<12>(sum.sums, left.at, left.step, right.at, right.step);
    else
        sums_rows<16>(sum.sums, left.at, left.step, right.at, right.step);
}
static inline void tile_times(const char *left, const char *right, int64_t count, float *to, int64_t step)
{
    __m512 s[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        s[r] = _mm512_setzero_ps();
    for (int64_t k = 0; k < count; k++) {
        __m512bh y = pairs_at(right + 64 * k);
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++)
            s[r] = _mm512_dpbf16_ps(s[r], pair_at(left + 64 * r + 4 * k), y);
    }
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        _mm512_storeu_ps((char *)to + r * step, s[r]);
}

static inline void block_zero(float *sums)
{
    memset(sums, 0, 4 * 32 * 32);
}
static inline void block_add(float *sums, const char *left, int64_t step, int64_t lower, int64_t next_left,
                             const char *right, int64_t aside, int64_t next_right, int64_t count)
{
    enum { ROWS = 8 }; /* so many, of 32 columns, stay in registers */
    for (int part = 0; part < 32 / ROWS; part++) {
        const char *first = left + part / 2 * lower + part % 2 * ROWS * step, *y = right;
        float *to = sums + part * ROWS * 32;
        __m512 s[ROWS], t[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            s[r] = _mm512_load_ps(to + 32 * r);
            t[r] = _mm512_load_ps(to + 32 * r + 16);
        }
        for (int64_t i = 0; i < count; i++, first += next_left, y += next_right) {
            const char *x = first;
            for (int k = 0; k < 16; k++, x += 4) {
                __m512bh y0 = pairs_at(y + 64 * k), y1 = pairs_at(y + aside + 64 * k);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; r++) {
                    __m512bh pair = pair_at(x + r * step);
                    s[r] = _mm512_dpbf16_ps(s[r], pair, y0);
                    t[r] = _mm512_dpbf16_ps(t[r], pair, y1);
                }
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            _mm512_store_ps(to + 32 * r, s[r]);
            _mm512_store_ps(to + 32 * r + 16, t[r]);
        }
    }
}
static inline void block_store(float *)
{
}

#endif
