/* kernels_avx2.c: AVX2 and FMA: 8 floats a vector, 12 of 16 registers hold sums. */
#include <immintrin.h>

static inline __m128 halves(__m256 v, __m128 (*both)(__m128, __m128))
{
    __m128 x = both(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = both(x, _mm_movehl_ps(x, x));
    return both(x, _mm_movehdup_ps(x));
}

static inline __m128 larger(__m128 a, __m128 b)
{
    return _mm_max_ps(a, b);
}

static inline __m128 added(__m128 a, __m128 b)
{
    return _mm_add_ps(a, b);
}

/* p 2^floor(t) for t <= 127; what would be less than 2^-126 is that. */
static inline __m256 scale2(__m256 p, __m256 t)
{
    __m256i n = _mm256_cvtps_epi32(_mm256_floor_ps(_mm256_max_ps(t, _mm256_set1_ps(-126))));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(n, 23)));
}

#define VL 8
#define FRACTION(t) ((t) - (vf)_mm256_floor_ps((__m256)(t)))
#define SCALE2(p, t) ((vf)scale2((__m256)(p), (__m256)(t)))
#define RECIPROCAL(v) (set1(1) / (v))
#define MAXV(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MAX_OF(v) _mm_cvtss_f32(halves((__m256)(v), larger))
#define SUM_OF(v) _mm_cvtss_f32(halves((__m256)(v), added))
#define WIDEN_F16(p) ((vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p))))
#define WIDE_S8(p) ((vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
#define WIDE_U8(p) ((vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p))))
#define HALF_AT(p) _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128((p)[0] | (p)[1] << 8)))
#define ROWS 6
#define NV 2
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_avx2 = {.name = "avx2", .peak_bf16 = peak_f32, KERNELS_BASE};
