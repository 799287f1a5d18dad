/* dtype_blocks.c: The layouts are those of GGML's ggml-common.h, the arithmetic that of its
 * ggml-quants.c, in the same order, so that what comes out is the same bit for bit. */
#include "engine/compute/dtype_blocks.h"

#include <stdbool.h>
#include <string.h>

static float half_at(const unsigned char *p)
{
    return dtype_of_f16((uint16_t)(p[0] | p[1] << 8));
}

/* Of 32 numbers: d; a minimum in the formats that end in 1; the fifth bits; low nibbles are the
 * numbers 0 to 15, high ones 16 to 31. */
static void read_nibbles(const unsigned char *b, bool five, bool minimum, float *out)
{
    float d = half_at(b), m = minimum ? half_at(b + 2) : 0;
    const unsigned char *p = b + (minimum ? 4 : 2);
    uint32_t high = 0;
    int zero = minimum ? 0 : five ? 16 : 8;
    if (five) {
        high = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        p += 4;
    }
    for (int i = 0; i < 16; i++) {
        int low = (p[i] & 15) | (int)(high >> i & 1) << 4;
        int up = p[i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = (float)(low - zero) * d;
        out[i + 16] = (float)(up - zero) * d;
        if (minimum) { /* a 0 that is added would take the sign off another one */
            out[i] += m;
            out[i + 16] += m;
        }
    }
}

static void read_q8_0(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int i = 0; i < 32; i++)
        out[i] = (float)(int8_t)b[2 + i] * d;
}

/* Sixteen sub-blocks of 16, each with a scale and a minimum in a byte. */
static void read_q2_k(const unsigned char *b, float *out)
{
    const unsigned char *scales = b, *q = b + 16;
    float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int s = 0; s < 16; s++) {
        float scale = d * (float)(scales[s] & 15), minimum = dmin * (float)(scales[s] >> 4);
        const unsigned char *from = q + s / 8 * 32 + s % 2 * 16;
        for (int i = 0; i < 16; i++)
            *out++ = scale * (float)(from[i] >> s % 8 / 2 * 2 & 3) - minimum;
    }
}

/* Scales of 6 bits: four in the low nibbles of 8 bytes, four in the high ones, and the upper two
 * bits of each in four bytes behind them. */
static void read_q3_k(const unsigned char *b, float *out)
{
    const unsigned char *high = b, *q = b + 32, *scales = b + 96;
    float d = half_at(b + 108);
    for (int s = 0; s < 16; s++) {
        int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
        int scale = low | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4;
        float dl = d * (float)(scale - 32);
        const unsigned char *from = q + s / 8 * 32 + s % 2 * 16, *bit = high + s % 2 * 16;
        for (int i = 0; i < 16; i++)
            *out++ = dl * (float)((from[i] >> s % 8 / 2 * 2 & 3) - (bit[i] >> s / 2 & 1 ? 0 : 4));
    }
}

/* The scale and the minimum of sub-block `s` of 8, 6 bits each. */
static void read_scale(const unsigned char *p, int s, int *scale, int *minimum)
{
    if (s < 4) {
        *scale = p[s] & 63;
        *minimum = p[s + 4] & 63;
    } else {
        *scale = (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
        *minimum = p[s + 4] >> 4 | p[s] >> 6 << 4;
    }
}

/* Eight sub-blocks of 32; pairs of them share 32 bytes, low nibbles the first. */
static void read_q45_k(const unsigned char *b, bool five, float *out)
{
    const unsigned char *high = b + 16, *q = b + (five ? 48 : 16);
    float d = half_at(b), dmin = half_at(b + 2);
    for (int s = 0; s < 8; s++) {
        int scale, minimum;
        read_scale(b + 4, s, &scale, &minimum);
        float ds = d * (float)scale, m = dmin * (float)minimum;
        const unsigned char *from = q + s / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int v = s % 2 ? from[i] >> 4 : from[i] & 15;
            if (five)
                v += (high[i] >> s & 1) << 4;
            *out++ = ds * (float)v - m;
        }
    }
}

/* Halves of 128: each has 64 bytes of low nibbles, 32 of upper bits, 8 scales. */
static void read_q6_k(const unsigned char *b, float *out)
{
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++, out += 128) {
        const unsigned char *low = b + 64 * half, *high = b + 128 + 32 * half;
        const unsigned char *scales = b + 192 + 8 * half;
        for (int i = 0; i < 128; i++) {
            int quarter = i / 32, l = i % 32;
            int nibble = low[l + quarter % 2 * 32] >> quarter / 2 * 4 & 15;
            int v = (nibble | (high[l] >> 2 * quarter & 3) << 4) - 32;
            out[i] = d * (float)(int8_t)scales[i / 16] * (float)v;
        }
    }
}

const int8_t dtype_blocks_curved[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
const int8_t dtype_blocks_mx[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float dtype_blocks_mx_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* 32 numbers out of 16 bytes: low nibbles are the first 16. */
static void read_table(const unsigned char *q, const int8_t *table, float d, float *out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)table[q[i] & 15];
        out[i + 16] = d * (float)table[q[i] >> 4];
    }
}

/* Eight sub-blocks of 32. */
static void read_iq4_xs(const unsigned char *b, float *out)
{
    float d = half_at(b);
    for (int s = 0; s < 8; s++)
        read_table(b + 8 + 16 * s, dtype_blocks_curved, d * (float)dtype_blocks_xs_scale(b, s),
                   out + 32 * s);
}

void dtype_blocks_read(enum dtype dtype, const unsigned char *block, float *out)
{
    if (dtype == DTYPE_Q8_0)
        read_q8_0(block, out);
    else if (dtype == DTYPE_Q2_K)
        read_q2_k(block, out);
    else if (dtype == DTYPE_Q3_K)
        read_q3_k(block, out);
    else if (dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K)
        read_q45_k(block, dtype == DTYPE_Q5_K, out);
    else if (dtype == DTYPE_Q6_K)
        read_q6_k(block, out);
    else if (dtype == DTYPE_IQ4_NL)
        read_table(block + 2, dtype_blocks_curved, half_at(block), out);
    else if (dtype == DTYPE_IQ4_XS)
        read_iq4_xs(block, out);
    else if (dtype == DTYPE_MXFP4)
        read_table(block + 1, dtype_blocks_mx, dtype_blocks_mx_scale(*block), out);
    else
        read_nibbles(block, dtype == DTYPE_Q5_0 || dtype == DTYPE_Q5_1,
                     dtype == DTYPE_Q4_1 || dtype == DTYPE_Q5_1, out);
}
