/* kernels_blocks.h: GGML's blocks of few bits to floats, VL at a time; and rows turned to columns.
 * Included by kernels_simd.h.
 *
 * dtype_blocks.c has the layouts and is the definition: what comes out is the same bit for bit, so
 * a product must not become one instruction with the sum behind it (APART). */

#ifndef WIDE_S8 /* VL bytes, signed or not, as 32-bit lanes */
INLINE vi wide_s8(const unsigned char *p)
{
    vb b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, vi);
}
#define WIDE_S8(p) wide_s8(p)
#define WIDE_U8(p) (wide_s8(p) & 255)
#endif

#ifndef HALF_AT /* the F16 at p, unaligned, as a float */
#define HALF_AT(p) dtype_of_f16((uint16_t)((p)[0] | (p)[1] << 8))
#endif

#if defined(__x86_64__)
#define APART(v) __asm__("" : "+x"(v))
#else
#define APART(v) __asm__("" : "+w"(v))
#endif

INLINE vf floats_v(vi v)
{
    return __builtin_convertvector(v, vf);
}

/* VL numbers of F8, E4M3 or else E5M2: what has an exponent gets F32's, what has none is so many
 * of the smallest. */
INLINE vf floats_of_f8(const unsigned char *p, bool four)
{
    int fraction = four ? 3 : 2, least = four ? -9 : -16;
    vi b = WIDE_U8(p), size = b & 127, whole = size >= 1 << fraction;
    vi large = (size << (23 - fraction)) + ((least + fraction + 126) << 23);
    vi bits = (whole & large) | (~whole & (vi)(floats_v(size) * set1(four ? 0x1p-9f : 0x1p-16f)));
    vi none = four ? size == 127 : size >= 124; /* NaN; of E5M2 infinity, too */
    vi top = four ? 0x7fc00000 + 0 * size : 0x7f800000 | (size & 3) << 21;
    return (vf)((none & top) | (~none & bits) | (b & 128) << 24);
}

/* Lane 0 holds `from`, the next one more... */
INLINE vi count_v(int from)
{
    static const int32_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi v;
    memcpy(&v, lanes, sizeof v);
    return v + from;
}

#define VECTORS_OF(n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i += VL)

INLINE void block_q8_0(const unsigned char *b, float *out)
{
    vf d = set1(HALF_AT(b));
    VECTORS_OF(32)
    store(out + i, floats_v(WIDE_S8(b + 2 + i)) * d);
}

/* Q4_0, Q4_1, Q5_0 and Q5_1. */
INLINE void block_nibbles(const unsigned char *b, bool five, bool minimum, float *out)
{
    vf d = set1(HALF_AT(b)), m = minimum ? set1(HALF_AT(b + 2)) : (vf){0};
    const unsigned char *p = b + (minimum ? 4 : 2);
    uint32_t bits = 0;
    int zero = minimum ? 0 : five ? 16 : 8;
    if (five) {
        memcpy(&bits, p, sizeof bits);
        p += 4;
    }
    VECTORS_OF(16)
    {
        vi both = WIDE_U8(p + i), low = both & 15, up = both >> 4;
        if (five) {
            vu high = bits - (vu){0};
            low |= (vi)(high >> (vu)count_v(i) & 1) << 4;
            up |= (vi)(high >> (vu)count_v(i + 16) & 1) << 4;
        }
        vf x = floats_v(low - zero) * d, y = floats_v(up - zero) * d;
        if (minimum) {
            APART(x);
            APART(y);
            x += m;
            y += m;
        }
        store(out + i, x);
        store(out + i + 16, y);
    }
}

INLINE void block_q2_k(const unsigned char *b, float *out)
{
    float d = HALF_AT(b + 80), dmin = HALF_AT(b + 82);
    for (int s = 0; s < 16; s++, out += 16) {
        vf scale = set1(d * (float)(b[s] & 15)), minimum = set1(dmin * (float)(b[s] >> 4));
        const unsigned char *from = b + 16 + s / 8 * 32 + s % 2 * 16;
        VECTORS_OF(16)
        {
            vf x = scale * floats_v(WIDE_U8(from + i) >> s % 8 / 2 * 2 & 3);
            APART(x);
            store(out + i, x - minimum);
        }
    }
}

INLINE void block_q3_k(const unsigned char *b, float *out)
{
    const unsigned char *scales = b + 96;
    float d = HALF_AT(b + 108);
    for (int s = 0; s < 16; s++, out += 16) {
        int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
        int scale = low | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4;
        vf dl = set1(d * (float)(scale - 32));
        const unsigned char *from = b + 32 + s / 8 * 32 + s % 2 * 16, *bit = b + s % 2 * 16;
        VECTORS_OF(16)
        {
            vi q = WIDE_U8(from + i) >> s % 8 / 2 * 2 & 3;
            vi high = (WIDE_U8(bit + i) >> s / 2 & 1) << 2;
            store(out + i, dl * floats_v(q + high - 4));
        }
    }
}

INLINE void block_q45_k(const unsigned char *b, bool five, float *out)
{
    const unsigned char *p = b + 4, *high = b + 16, *from = b + (five ? 48 : 16);
    float d = HALF_AT(b), dmin = HALF_AT(b + 2);
    for (int s = 0; s < 8; s += 2, from += 32, out += 64) {
        vf scale[2], minimum[2];
        for (int j = 0; j < 2; j++) {
            int t = s + j, sc = t < 4 ? p[t] & 63 : (p[t + 4] & 15) | p[t - 4] >> 6 << 4;
            int mn = t < 4 ? p[t + 4] & 63 : p[t + 4] >> 4 | p[t] >> 6 << 4;
            scale[j] = set1(d * (float)sc);
            minimum[j] = set1(dmin * (float)mn);
        }
        VECTORS_OF(32)
        {
            vi both = WIDE_U8(from + i), low = both & 15, up = both >> 4;
            if (five) {
                vi h = WIDE_U8(high + i) >> s;
                low += (h & 1) << 4;
                up += (h & 2) << 3;
            }
            vf x = scale[0] * floats_v(low), y = scale[1] * floats_v(up);
            APART(x);
            APART(y);
            store(out + i, x - minimum[0]);
            store(out + i + 32, y - minimum[1]);
        }
    }
}

INLINE void block_q6_k(const unsigned char *b, float *out)
{
    float d = HALF_AT(b + 208);
    for (int half = 0; half < 2; half++, out += 128) {
        const unsigned char *low = b + 64 * half, *high = b + 128 + 32 * half;
        const unsigned char *scales = b + 192 + 8 * half;
        for (int l = 0; l < 32; l += 16) {
            vf scale[4];
            for (int q = 0; q < 4; q++)
                scale[q] = set1(d * (float)(int8_t)scales[2 * q + l / 16]);
            VECTORS_OF(16)
            {
                vi h = WIDE_U8(high + l + i);
                vi first = WIDE_U8(low + l + i), second = WIDE_U8(low + 32 + l + i);
                float *to = out + l + i;
                store(to, scale[0] * floats_v(((first & 15) | (h & 3) << 4) - 32));
                store(to + 32, scale[1] * floats_v(((second & 15) | (h & 12) << 2) - 32));
                store(to + 64, scale[2] * floats_v((first >> 4 | (h & 48)) - 32));
                store(to + 96, scale[3] * floats_v((second >> 4 | (h & 192) >> 2) - 32));
            }
        }
    }
}

/* 32 numbers of a table of 16, at a scale. */
INLINE void block_table(const unsigned char *q, const int8_t *table, float d, float *out)
{
    float scaled[16];
    for (int i = 0; i < 16; i++)
        scaled[i] = d * (float)table[i];
    for (int i = 0; i < 16; i++) {
        out[i] = scaled[q[i] & 15];
        out[i + 16] = scaled[q[i] >> 4];
    }
}

INLINE void block_iq4_xs(const unsigned char *b, float *out)
{
    float d = HALF_AT(b);
    for (int s = 0; s < 8; s++)
        block_table(b + 8 + 16 * s, dtype_blocks_curved, d * (float)dtype_blocks_xs_scale(b, s),
                    out + 32 * s);
}

#define BLOCKS(kind, call)                                                                         \
    case kind:                                                                                     \
        for (; n >= block; n -= block, b += size, out += block)                                    \
            call;                                                                                  \
        return true

/* Whole blocks; false: it has none of this kind. */
static bool blocks_to_f32(enum dtype dtype, const unsigned char *b, float *out, size_t n)
{
    const size_t block = dtype_block(dtype), size = dtype_size(dtype);
    switch ((int)dtype) {
        BLOCKS(DTYPE_Q8_0, block_q8_0(b, out));
        BLOCKS(DTYPE_Q4_0, block_nibbles(b, false, false, out));
        BLOCKS(DTYPE_Q4_1, block_nibbles(b, false, true, out));
        BLOCKS(DTYPE_Q5_0, block_nibbles(b, true, false, out));
        BLOCKS(DTYPE_Q5_1, block_nibbles(b, true, true, out));
        BLOCKS(DTYPE_Q2_K, block_q2_k(b, out));
        BLOCKS(DTYPE_Q3_K, block_q3_k(b, out));
        BLOCKS(DTYPE_Q4_K, block_q45_k(b, false, out));
        BLOCKS(DTYPE_Q5_K, block_q45_k(b, true, out));
        BLOCKS(DTYPE_Q6_K, block_q6_k(b, out));
        BLOCKS(DTYPE_IQ4_NL, block_table(b + 2, dtype_blocks_curved, HALF_AT(b), out));
        BLOCKS(DTYPE_IQ4_XS, block_iq4_xs(b, out));
        BLOCKS(DTYPE_MXFP4, block_table(b + 1, dtype_blocks_mx, dtype_blocks_mx_scale(*b), out));
    }
    return false;
}

/* ---- turning ---- */

/* Lanes i and i + by of every 2 by, of a and b: the upper half of a's changes places with the lower
 * half of b's. */
#if VL == 16
#define SWAP_LANES(a, b, by)                                                                       \
    do {                                                                                           \
        vu low_ = (by) == 1   ? LANES_1(a, b, 0)                                                   \
                  : (by) == 2 ? LANES_2(a, b, 0)                                                   \
                  : (by) == 4 ? LANES_4(a, b, 0)                                                   \
                              : LANES_8(a, b, 0);                                                  \
        b = (by) == 1   ? LANES_1(a, b, 1)                                                         \
            : (by) == 2 ? LANES_2(a, b, 2)                                                         \
            : (by) == 4 ? LANES_4(a, b, 4)                                                         \
                        : LANES_8(a, b, 8);                                                        \
        a = low_;                                                                                  \
    } while (0)
#define LANES_1(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 16 + o, 2 + o, 18 + o, 4 + o, 20 + o, 6 + o, 22 + o,      \
                            8 + o, 24 + o, 10 + o, 26 + o, 12 + o, 28 + o, 14 + o, 30 + o)
#define LANES_2(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 1 + o, 16 + o, 17 + o, 4 + o, 5 + o, 20 + o, 21 + o,      \
                            8 + o, 9 + o, 24 + o, 25 + o, 12 + o, 13 + o, 28 + o, 29 + o)
#define LANES_4(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 1 + o, 2 + o, 3 + o, 16 + o, 17 + o, 18 + o, 19 + o,      \
                            8 + o, 9 + o, 10 + o, 11 + o, 24 + o, 25 + o, 26 + o, 27 + o)
#define LANES_8(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 1 + o, 2 + o, 3 + o, 4 + o, 5 + o, 6 + o, 7 + o, 16 + o,  \
                            17 + o, 18 + o, 19 + o, 20 + o, 21 + o, 22 + o, 23 + o)
#elif VL == 8
#define SWAP_LANES(a, b, by)                                                                       \
    do {                                                                                           \
        vu low_ = (by) == 1 ? LANES_1(a, b, 0) : (by) == 2 ? LANES_2(a, b, 0) : LANES_4(a, b, 0);  \
        b = (by) == 1 ? LANES_1(a, b, 1) : (by) == 2 ? LANES_2(a, b, 2) : LANES_4(a, b, 4);        \
        a = low_;                                                                                  \
    } while (0)
#define LANES_1(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 8 + o, 2 + o, 10 + o, 4 + o, 12 + o, 6 + o, 14 + o)
#define LANES_2(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 1 + o, 8 + o, 9 + o, 4 + o, 5 + o, 12 + o, 13 + o)
#define LANES_4(a, b, o)                                                                           \
    __builtin_shufflevector(a, b, 0 + o, 1 + o, 2 + o, 3 + o, 8 + o, 9 + o, 10 + o, 11 + o)
#else
#define SWAP_LANES(a, b, by)                                                                       \
    do {                                                                                           \
        vu low_ = (by) == 1 ? LANES_1(a, b, 0) : LANES_2(a, b, 0);                                 \
        b = (by) == 1 ? LANES_1(a, b, 1) : LANES_2(a, b, 2);                                       \
        a = low_;                                                                                  \
    } while (0)
#define LANES_1(a, b, o) __builtin_shufflevector(a, b, 0 + o, 4 + o, 2 + o, 6 + o)
#define LANES_2(a, b, o) __builtin_shufflevector(a, b, 0 + o, 1 + o, 4 + o, 5 + o)
#endif

/* VL rows of VL words, `ld` apart, become columns, PANEL apart: halves of ever smaller squares
 * change places. */
INLINE void turn_square(uint32_t *dst, const uint32_t *src, size_t ld)
{
    vu r[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        memcpy(&r[i], src + (size_t)i * ld, sizeof r[i]);
#define SWAP_ROWS(by)                                                                              \
    _Pragma("GCC unroll 8") for (int i = 0; i < VL / 2; i++)                                       \
        SWAP_LANES(r[i / (by)*2 * (by) + i % (by)], r[(i / (by)*2 + 1) * (by) + i % (by)], by)
#if VL == 16
    SWAP_ROWS(8);
#endif
#if VL >= 8
    SWAP_ROWS(4);
#endif
    SWAP_ROWS(2);
    SWAP_ROWS(1);
#undef SWAP_ROWS
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        memcpy(dst + (size_t)i * PANEL, &r[i], sizeof r[i]);
}

static void turn(uint32_t *dst, const uint32_t *src, size_t n, size_t ld)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        for (size_t j = 0; j < PANEL; j += VL)
            turn_square(dst + i * PANEL + j, src + j * ld + i, ld);
    for (; i < n; i++)
        for (size_t j = 0; j < PANEL; j++)
            dst[i * PANEL + j] = src[j * ld + i];
}
