#include "engine/compute/dtype.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DTYPE_F32] = {"F32", 4},         [DTYPE_F16] = {"F16", 2},         [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [DTYPE_F8_E5M2] = {"F8_E5M2", 1}, [DTYPE_F64] = {"F64", 8},
    [DTYPE_I64] = {"I64", 8},         [DTYPE_I8] = {"I8", 1},
    [DTYPE_OTHER] = {"other", 0},
};

size_t dtype_size(enum dtype dtype)
{
    return dtypes[dtype].size;
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

static float f32_of_f16(uint16_t h)
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

void dtype_to_f32(enum dtype dtype, const void *src, float *dst, size_t n)
{
    const unsigned char *bytes = src;
    switch (dtype) {
    case DTYPE_F32:
        memcpy(dst, src, n * sizeof *dst);
        break;
    case DTYPE_F16:
        EACH(uint16_t, f32_of_f16(x));
    case DTYPE_BF16:
        EACH(uint16_t, float_of((uint32_t)x << 16));
    case DTYPE_F8_E4M3:
        EACH(uint8_t, f32_of_e4m3(x));
    case DTYPE_F8_E5M2: /* the upper half of a float16 */
        EACH(uint8_t, f32_of_f16((uint16_t)(x << 8)));
    case DTYPE_F64:
        EACH(double, (float)x);
    case DTYPE_I64:
        EACH(int64_t, (float)x);
    case DTYPE_I8:
        EACH(int8_t, (float)x);
    case DTYPE_OTHER:
        assert(!"dtype_to_f32: no such format");
    }
}
