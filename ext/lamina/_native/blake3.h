/* BLAKE3 jobs in the lanes of a vector: three instances of blake3_lanes.h, and the choice between them. */
#ifndef LAMINA_BLAKE3_H
#define LAMINA_BLAKE3_H

#include "blake3_job.h"
#include "cpu.h"

/* Portable: GCC's vectors of four words become SSE2, NEON, or plain words. */
#define B3_LANES 4
#define B3_NAME(x) b3_portable_##x
#define B3_TARGET
#define B3_LOAD(m, q, off)                                                                                   \
    for (int i = 0; i < 16; i++)                                                                             \
        m[i] = (VEC){b3_load(q[0] + off + 4 * i), b3_load(q[1] + off + 4 * i), b3_load(q[2] + off + 4 * i),  \
                     b3_load(q[3] + off + 4 * i)};
#define B3_SPLIT(ids, h)                                                                                     \
    for (int i = 0; i < 32; i++) b3_store(&ids[i / 8][i % 8], h[i % 8].w[i / 8]);
#define B3_ROT16(x) ROT(x, 16)
#define B3_ROT8(x) ROT(x, 8)
#include "blake3_lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* m[0..3] = columns of the 4x4 words at q[0..3] + off. */
static inline __attribute__((target("sse4.1"), always_inline)) void
b3_transpose4(__m128i m[4], const uint8_t *const *q, size_t off)
{
    __m128i r0 = _mm_loadu_si128((const __m128i *)(q[0] + off));
    __m128i r1 = _mm_loadu_si128((const __m128i *)(q[1] + off));
    __m128i r2 = _mm_loadu_si128((const __m128i *)(q[2] + off));
    __m128i r3 = _mm_loadu_si128((const __m128i *)(q[3] + off));
    __m128i lo01 = _mm_unpacklo_epi32(r0, r1), hi01 = _mm_unpackhi_epi32(r0, r1);
    __m128i lo23 = _mm_unpacklo_epi32(r2, r3), hi23 = _mm_unpackhi_epi32(r2, r3);
    m[0] = _mm_unpacklo_epi64(lo01, lo23), m[1] = _mm_unpackhi_epi64(lo01, lo23);
    m[2] = _mm_unpacklo_epi64(hi01, hi23), m[3] = _mm_unpackhi_epi64(hi01, hi23);
}

#define B3_LANES 4
#define B3_NAME(x) b3_sse41_##x
#define B3_TARGET __attribute__((target("sse4.1")))
#define B3_LOAD(m, q, off)                                                                                   \
    for (int i = 0; i < 4; i++) b3_transpose4((__m128i *)m + 4 * i, q, off + 16 * i);
#define B3_SPLIT(ids, h)                                                                                     \
    for (int half = 0; half < 2; half++) {                                                                   \
        __m128i c[4];                                                                                        \
        const uint8_t *r[4];                                                                                 \
        for (int i = 0; i < 4; i++) r[i] = (const uint8_t *)&h[4 * half + i];                                \
        b3_transpose4(c, r, 0);                                                                              \
        for (int l = 0; l < 4; l++) memcpy(&ids[l][4 * half], &c[l], 16);                                    \
    }
#define B3_ROT16(x) \
    (VEC) _mm_shuffle_epi8((__m128i)(x), _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2))
#define B3_ROT8(x) \
    (VEC) _mm_shuffle_epi8((__m128i)(x), _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1))
#include "blake3_lanes.h"

/* m[0..7] = columns of the 8x8 words at q[0..7] + off: halves of 4x4 words first, joined on loading. */
static inline __attribute__((target("avx2"), always_inline)) void
b3_transpose8(__m256i m[8], const uint8_t *const *q, size_t off)
{
    for (int half = 0; half < 2; half++) {
        __m256i r[4];
        for (int l = 0; l < 4; l++) {
            __m128i low = _mm_loadu_si128((const __m128i *)(q[l] + off + 16 * half));
            r[l] = _mm256_inserti128_si256(_mm256_castsi128_si256(low),
                                           _mm_loadu_si128((const __m128i *)(q[l + 4] + off + 16 * half)), 1);
        }
        __m256i lo01 = _mm256_unpacklo_epi32(r[0], r[1]), hi01 = _mm256_unpackhi_epi32(r[0], r[1]);
        __m256i lo23 = _mm256_unpacklo_epi32(r[2], r[3]), hi23 = _mm256_unpackhi_epi32(r[2], r[3]);
        m[4 * half] = _mm256_unpacklo_epi64(lo01, lo23), m[4 * half + 1] = _mm256_unpackhi_epi64(lo01, lo23);
        m[4 * half + 2] = _mm256_unpacklo_epi64(hi01, hi23), m[4 * half + 3] = _mm256_unpackhi_epi64(hi01, hi23);
    }
}

#define B3_LANES 8
#define B3_NAME(x) b3_avx2_##x
#define B3_TARGET __attribute__((target("avx2,tune=znver2")))
#define B3_LOAD(m, q, off)                                                                                   \
    for (int i = 0; i < 2; i++) b3_transpose8((__m256i *)m + 8 * i, q, off + 32 * i);
#define B3_SPLIT(ids, h)                                                                                     \
    do {                                                                                                     \
        const uint8_t *r[8];                                                                                 \
        for (int i = 0; i < 8; i++) r[i] = (const uint8_t *)&h[i];                                           \
        b3_transpose8((__m256i *)ids, r, 0);                                                                 \
    } while (0)
#define B3_ROT16(x)                                                                                          \
    (VEC) _mm256_shuffle_epi8((__m256i)(x),                                                                  \
                              _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12,  \
                                              15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2))
#define B3_ROT8(x)                                                                                           \
    (VEC) _mm256_shuffle_epi8((__m256i)(x),                                                                  \
                              _mm256_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1, 12, 15,  \
                                              14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1))
#include "blake3_lanes.h"

/* Rows of 4x4 words: the words of lanes 4g+k, for every 128-bit group g, at r[k..k+3] become those of lane 4g+k in one. */
static inline __attribute__((target("avx512f"), always_inline)) void b3_transpose4x4(__m512i r[4])
{
    __m512i lo01 = _mm512_unpacklo_epi32(r[0], r[1]), hi01 = _mm512_unpackhi_epi32(r[0], r[1]);
    __m512i lo23 = _mm512_unpacklo_epi32(r[2], r[3]), hi23 = _mm512_unpackhi_epi32(r[2], r[3]);
    r[0] = _mm512_unpacklo_epi64(lo01, lo23), r[1] = _mm512_unpackhi_epi64(lo01, lo23);
    r[2] = _mm512_unpacklo_epi64(hi01, hi23), r[3] = _mm512_unpackhi_epi64(hi01, hi23);
}

/* m[0..15] = columns of the 16x16 words at q[0..15] + off: within groups of 4x4 words first, then the groups.
 * Where chunks follow one another in memory, the block that a lane needs one job later is asked for: what lies
 * outside the second-level cache is hashed 10 % faster. */
static inline __attribute__((target("avx512f"), always_inline)) void
b3_transpose16(__m512i m[16], const uint8_t *const *q, size_t off)
{
    __m512i r[16];
    for (int l = 0; l < 16; l++) {
        r[l] = _mm512_loadu_si512(q[l] + off);
        _mm_prefetch((const char *)((uintptr_t)q[l] + off + 16 * B3_CHUNK), _MM_HINT_T0);
    }
    for (int l = 0; l < 16; l += 4) b3_transpose4x4(r + l);
    for (int i = 0; i < 4; i++) { /* groups g of r[i], r[4+i], r[8+i], r[12+i] hold words 4g+i of lanes 0..3, 4..7, ... */
        __m512i lo01 = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x44), hi01 = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xEE);
        __m512i lo23 = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x44);
        __m512i hi23 = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xEE);
        m[i] = _mm512_shuffle_i32x4(lo01, lo23, 0x88), m[4 + i] = _mm512_shuffle_i32x4(lo01, lo23, 0xDD);
        m[8 + i] = _mm512_shuffle_i32x4(hi01, hi23, 0x88), m[12 + i] = _mm512_shuffle_i32x4(hi01, hi23, 0xDD);
    }
}

/* ids[lane] = words of eight rows. */
static inline __attribute__((target("avx512f"), always_inline)) void b3_split16(uint32_t ids[16][8], const __m512i *h)
{
    const __m512i even = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), odd = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    __m512i a[4], b[4];
    for (int i = 0; i < 4; i++) a[i] = h[i], b[i] = h[4 + i];
    b3_transpose4x4(a);
    b3_transpose4x4(b);
    for (int k = 0; k < 4; k++) { /* groups of a, b: words 0..3, 4..7 of lanes k, 4+k, 8+k, 12+k */
        __m512i near = _mm512_permutex2var_epi64(a[k], even, b[k]), far = _mm512_permutex2var_epi64(a[k], odd, b[k]);
        _mm256_storeu_si256((__m256i *)ids[k], _mm512_castsi512_si256(near));
        _mm256_storeu_si256((__m256i *)ids[4 + k], _mm512_extracti64x4_epi64(near, 1));
        _mm256_storeu_si256((__m256i *)ids[8 + k], _mm512_castsi512_si256(far));
        _mm256_storeu_si256((__m256i *)ids[12 + k], _mm512_extracti64x4_epi64(far, 1));
    }
}

#define B3_LANES 16
#define B3_NAME(x) b3_avx512_##x
#define B3_TARGET __attribute__((target("avx512bw")))
#define B3_LOAD(m, q, off) b3_transpose16((__m512i *)m, q, off);
#define B3_SPLIT(ids, h) b3_split16(ids, (const __m512i *)h);
/* One port rotates words and the other shuffles bytes: half of the columns each, 5 % faster than all on one. */
#define B3_ROT(x, n) (VEC) _mm512_ror_epi32((__m512i)(x), n)
#define B3_BYTES(x, a, b, c, d) (VEC) _mm512_shuffle_epi8((__m512i)(x), _mm512_set4_epi32(d, c, b, a))
#define B3_ROT16(x) (i & 1 ? B3_BYTES(x, 0x01000302, 0x05040706, 0x09080B0A, 0x0D0C0F0E) : B3_ROT(x, 16))
#define B3_ROT8(x) (i & 1 ? B3_BYTES(x, 0x00030201, 0x04070605, 0x080B0A09, 0x0C0F0E0D) : B3_ROT(x, 8))
#include "blake3_lanes.h"
#endif

/* Do all jobs; `enabled` holds the CPU_* bits that may be used. */
static void blake3_run(const blake3_job *jobs, size_t n, unsigned int enabled)
{
#if defined(__x86_64__)
    if (enabled & CPU_AVX512BW) {
        b3_avx512_run(jobs, n);
        return;
    }
    if (enabled & CPU_AVX2) {
        b3_avx2_run(jobs, n);
        return;
    }
    if (enabled & CPU_SSE41) {
        b3_sse41_run(jobs, n);
        return;
    }
#endif
    (void)enabled;
    b3_portable_run(jobs, n);
}

#endif
