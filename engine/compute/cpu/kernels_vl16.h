/* kernels_vl16.h: what kernels_simd.h asks of AVX-512: 16 floats a vector, 24 of 32 registers hold
 * sums. */
#include <immintrin.h>

/* An estimate of 14 bits and one step of Newton's: a third of a division's time. */
static inline __m512 reciprocal512(__m512 v)
{
    __m512 r = _mm512_rcp14_ps(v);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(v, r, _mm512_set1_ps(2)));
}

#define VL 16
#define ROWS 12
#define NV 2
#define MAXV(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define FRACTION(t) ((vf)_mm512_reduce_ps((__m512)(t), _MM_FROUND_TO_NEG_INF))
#define SCALE2(p, t) ((vf)_mm512_scalef_ps((__m512)(p), (__m512)(t)))
#define RECIPROCAL(v) ((vf)reciprocal512((__m512)(v)))
#define MAX_OF(v) _mm512_reduce_max_ps((__m512)(v))
#define SUM_OF(v) _mm512_reduce_add_ps((__m512)(v))
#define WIDEN_F16(p) ((vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p))))
/* GCC 12 makes two halves of it otherwise. */
#define WIDE(h) ((vu)_mm512_cvtepu16_epi32((__m256i)(h)))
#define SOME(left) ((__mmask16)((1u << (left)) - 1))
#define GET_F32(p, left) ((vf)_mm512_maskz_loadu_ps(SOME(left), p))
#define GET_16(p, left) ((vh)_mm256_maskz_loadu_epi16(SOME(left), p))
#define PUT_F32(p, left, v) _mm512_mask_storeu_ps(p, SOME(left), (__m512)(v))
#define PUT_16(p, left, h) _mm256_mask_storeu_epi16(p, SOME(left), (__m256i)(h))
#define WIDE_S8(p) ((vi)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define WIDE_U8(p) ((vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define HALF_AT(p) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128((p)[0] | (p)[1] << 8)))
#define LOW8(v) ((vb)_mm512_cvtepi32_epi8((__m512i)(v)))
#include "engine/compute/cpu/kernels_simd.h"
