#include "engine/compute/dtype.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/compute/dtype_blocks.h"

static const struct {
    const char *name;
    size_t size, block; /* block 0: 1 */
} dtypes[] = {
    [DTYPE_F32] = {"F32", 4},         [DTYPE_F16] = {"F16", 2},         [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [DTYPE_F8_E5M2] = {"F8_E5M2", 1}, [DTYPE_F64] = {"F64", 8},
    [DTYPE_I64] = {"I64", 8},         [DTYPE_I8] = {"I8", 1},
    [DTYPE_F4_E2M1] = {"F4", 1, 2},
    [DTYPE_Q4_0] = {"Q4_0", 18, 32},  [DTYPE_Q4_1] = {"Q4_1", 20, 32},
    [DTYPE_Q5_0] = {"Q5_0", 22, 32},  [DTYPE_Q5_1] = {"Q5_1", 24, 32},
    [DTYPE_Q8_0] = {"Q8_0", 34, 32},  [DTYPE_Q2_K] = {"Q2_K", 84, 256},
    [DTYPE_Q3_K] = {"Q3_K", 110, 256}, [DTYPE_Q4_K] = {"Q4_K", 144, 256},
    [DTYPE_Q5_K] = {"Q5_K", 176, 256}, [DTYPE_Q6_K] = {"Q6_K", 210, 256},
    [DTYPE_IQ4_NL] = {"IQ4_NL", 18, 32}, [DTYPE_IQ4_XS] = {"IQ4_XS", 136, 256},
    [DTYPE_MXFP4] = {"MXFP4", 17, 32}, [DTYPE_OTHER] = {"other", 0},
};

size_t dtype_size(enum dtype dtype)
{
    return dtypes[dtype].size;
}

size_t dtype_block(enum dtype dtype)
{
    return dtypes[dtype].block ? dtypes[dtype].block : 1;
}

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float dtype_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f;
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13; /* float32's fields, but a bias of 15 */
    if (exponent == 0x1f)
        bits |= 0x7f800000; /* infinity or NaN, the payload kept */
    else if (exponent)
        bits += (127 - 15) << 23;
    else /* a subnormal m * 2^-24 is the fraction of 2^-14 (1 + m/1024), less 2^-14 */
        memcpy(&bits, &(float){float_of(bits + (113u << 23)) - 0x1p-14f}, sizeof bits);
    return float_of(sign | bits);
}

static float f32_of_e4m3(uint8_t b)
{
    uint32_t sign = (uint32_t)(b & 0x80) << 24, exponent = b >> 3 & 0xf, fraction = b & 7;
    if ((b & 0x7f) == 0x7f)
        return float_of(sign | 0x7fc00000);
    if (exponent)
        return float_of(sign | (exponent + 127 - 7) << 23 | fraction << 20);
    float f = (float)fraction * 0x1p-9f;
    return sign ? -f : f;
}

/* One loop a format; memcpy because `src` may be unaligned. */
#define EACH(type, value)                                                                          \
    for (size_t i = 0; i < n; i++) {                                                               \
        type x;                                                                                    \
        memcpy(&x, bytes + i * sizeof x, sizeof x);                                                \
        dst[i] = (value);                                                                          \
    }                                                                                              \
    break

static const float fours[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

void dtype_to_f32(enum dtype dtype, const void *src, float *dst, size_t n)
{
    const unsigned char *bytes = src;
    switch (dtype) {
    case DTYPE_F32:
        memcpy(dst, src, n * sizeof *dst);
        break;
    case DTYPE_F16:
        EACH(uint16_t, dtype_of_f16(x));
    case DTYPE_BF16:
        EACH(uint16_t, float_of((uint32_t)x << 16));
    case DTYPE_F8_E4M3:
        EACH(uint8_t, f32_of_e4m3(x));
    case DTYPE_F8_E5M2: /* the upper half of a float16 */
        EACH(uint8_t, dtype_of_f16((uint16_t)(x << 8)));
    case DTYPE_F64:
        EACH(double, (float)x);
    case DTYPE_I64:
        EACH(int64_t, (float)x);
    case DTYPE_I8:
        EACH(int8_t, (float)x);
    case DTYPE_F4_E2M1:
        for (size_t i = 0; i < n; i += 2, bytes++) {
            dst[i] = fours[*bytes >> 4];
            dst[i + 1] = fours[*bytes & 15];
        }
        break;
    case DTYPE_Q4_0:
    case DTYPE_Q4_1:
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q8_0:
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS:
    case DTYPE_MXFP4:
        for (size_t i = 0; i < n; i += dtype_block(dtype), bytes += dtype_size(dtype))
            dtype_blocks_read(dtype, bytes, dst + i);
        break;
    case DTYPE_OTHER:
        assert(!"dtype_to_f32: no such format");
    }
}

void dtype_range_to_f32(enum dtype dtype, const void *base, size_t first, float *dst, size_t n)
{
    size_t block = dtype_block(dtype), size = dtype_size(dtype), skip = first % block;
    const unsigned char *bytes = (const unsigned char *)base + first / block * size;
    float whole[DTYPE_BLOCK_MOST];
    if (skip && n) { /* the end of a block */
        size_t some = block - skip < n ? block - skip : n;
        dtype_to_f32(dtype, bytes, whole, block);
        memcpy(dst, whole + skip, some * sizeof *dst);
        bytes += size;
        dst += some;
        n -= some;
    }
    size_t rest = n % block;
    dtype_to_f32(dtype, bytes, dst, n - rest);
    if (rest) { /* the beginning of one */
        dtype_to_f32(dtype, bytes + (n - rest) / block * size, whole, block);
        memcpy(dst + (n - rest), whole, rest * sizeof *dst);
    }
}
