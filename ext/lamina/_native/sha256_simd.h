/* One stream a lane: 8 lanes of AVX2, 16 of AVX-512; two instances of sha256_lanes.h. */
#include <immintrin.h>

/* m[0..3] = columns of the 4x4 words at q[0..3] + off in each quarter: lane l stands in quarter l / 4. */
#define TRANSPOSE4(m, r, BITS)                                                                               \
    __m##BITS##i lo01 = _mm##BITS##_unpacklo_epi32(r[0], r[1]), hi01 = _mm##BITS##_unpackhi_epi32(r[0], r[1]); \
    __m##BITS##i lo23 = _mm##BITS##_unpacklo_epi32(r[2], r[3]), hi23 = _mm##BITS##_unpackhi_epi32(r[2], r[3]); \
    m[0] = _mm##BITS##_unpacklo_epi64(lo01, lo23), m[1] = _mm##BITS##_unpackhi_epi64(lo01, lo23);            \
    m[2] = _mm##BITS##_unpacklo_epi64(hi01, hi23), m[3] = _mm##BITS##_unpackhi_epi64(hi01, hi23);
#define AT(l) _mm_loadu_si128((const __m128i *)(p[l] + off))

static inline __attribute__((target("avx2"), always_inline)) void
sha_words8(__m256i m[4], const uint8_t *const *p, size_t off)
{
    const __m256i swap = _mm256_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8,
                                         9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m256i r[4];
    for (int l = 0; l < 4; l++) {
        r[l] = _mm256_inserti128_si256(_mm256_castsi128_si256(AT(l)), AT(l + 4), 1);
        r[l] = _mm256_shuffle_epi8(r[l], swap);
    }
    TRANSPOSE4(m, r, 256)
}

#define SHA_LANES 8
#define SHA_NAME(x) sha_avx2_##x
#define SHA_TARGET __attribute__((target("avx2,tune=znver2")))
#define SHA_LOAD(w, p, off) \
    for (int i = 0; i < 4; i++) sha_words8((__m256i *)w + 4 * i, p, off + 16 * i);
#include "sha256_lanes.h"

/* AVX-512F has no shuffle of bytes (that is AVX-512BW): two rotations and a choice between them swap them. */
static inline __attribute__((target("avx512f"), always_inline)) void
sha_words16(__m512i m[4], const uint8_t *const *p, size_t off)
{
    const __m512i odd = _mm512_set1_epi32(0x00FF00FF);
    __m512i r[4];
    for (int l = 0; l < 4; l++) {
        r[l] = _mm512_inserti32x4(_mm512_castsi128_si512(AT(l)), AT(l + 4), 1);
        r[l] = _mm512_inserti32x4(_mm512_inserti32x4(r[l], AT(l + 8), 2), AT(l + 12), 3);
        r[l] = _mm512_ternarylogic_epi32(odd, _mm512_rol_epi32(r[l], 8), _mm512_ror_epi32(r[l], 8), 0xCA);
    }
    TRANSPOSE4(m, r, 512)
}

#define SHA_LANES 16
#define SHA_NAME(x) sha_avx512_##x
#define SHA_TARGET __attribute__((target("avx512f")))
#define SHA_LOAD(w, p, off) \
    for (int i = 0; i < 4; i++) sha_words16((__m512i *)w + 4 * i, p, off + 16 * i);
#define SHA_ROR(x, n) (VEC) _mm512_ror_epi32((__m512i)(x), n)
#define SHA_TERNARY(x, y, z, table) \
    (VEC) _mm512_ternarylogic_epi32((__m512i)(x), (__m512i)(y), (__m512i)(z), table)
#define SHA_XOR3(x, y, z) SHA_TERNARY(x, y, z, 0x96)
#define SHA_CH(x, y, z) SHA_TERNARY(x, y, z, 0xCA)
#define SHA_MAJ(x, y, z) SHA_TERNARY(x, y, z, 0xE8)
#include "sha256_lanes.h"

#undef SHA_TERNARY
#undef TRANSPOSE4
#undef AT
