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
#endif

/* Do all jobs; `enabled` holds the CPU_* bits that may be used. */
static void blake3_run(const blake3_job *jobs, size_t n, unsigned int enabled)
{
#if defined(__x86_64__)
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
