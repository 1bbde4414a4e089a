/* The compression function by the SHA instructions of x86, several streams side by side.
 *
 * Two rounds are one instruction that takes four cycles while another may start after two (Zen 4) or three
 * (Sapphire Rapids), and each waits for the one before of its stream. Four streams need more registers than there
 * are, but their message words wait in memory well enough: 5 % faster than two here, 20 % on a Zen 4.
 */
#include <immintrin.h>

#define NI_TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define EACH _Pragma("GCC unroll 4") for (int s = 0; s < streams; s++)

/* The next `blocks` blocks of the first `streams` jobs, a constant where this is inlined. The state lies in two
 * registers as the instructions want it: a, b, e, f and c, d, g, h, from the top down. */
static inline __attribute__((always_inline)) NI_TARGET void
sha_ni_body(const sha_job *jobs, size_t blocks, const int streams)
{
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i abef[SHA_NI_MAX], cdgh[SHA_NI_MAX];
    EACH
    {
        __m128i dcba = _mm_loadu_si128((const __m128i *)jobs[s].h);
        __m128i hgfe = _mm_loadu_si128((const __m128i *)(jobs[s].h + 4));
        __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1), efgh = _mm_shuffle_epi32(hgfe, 0x1B);
        abef[s] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[s] = _mm_blend_epi16(efgh, cdab, 0xF0);
    }
    for (size_t off = 0; off < blocks * SHA_BLOCK; off += SHA_BLOCK) {
        __m128i m[SHA_NI_MAX][4], abef_before[SHA_NI_MAX], cdgh_before[SHA_NI_MAX];
        EACH
        {
            abef_before[s] = abef[s], cdgh_before[s] = cdgh[s];
        }
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) { /* four rounds, and the four words that come sixteen rounds later */
            const __m128i k = _mm_load_si128((const __m128i *)(SHA_K + 4 * g));
            __m128i wk[SHA_NI_MAX];
            EACH
            {
                if (g < 4)
                    m[s][g] = _mm_shuffle_epi8(
                        _mm_loadu_si128((const __m128i *)(jobs[s].p + off + 16 * g)), swap);
                wk[s] = _mm_add_epi32(m[s][g & 3], k);
                cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], wk[s]);
            }
            EACH
            {
                if (g >= 3 && g < 15) { /* the four words for the next group */
                    __m128i w9 = _mm_alignr_epi8(m[s][g & 3], m[s][(g + 3) & 3], 4);
                    m[s][(g + 1) & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(m[s][(g + 1) & 3], w9), m[s][g & 3]);
                }
                abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], _mm_shuffle_epi32(wk[s], 0x0E));
                if (g >= 1 && g < 13) m[s][(g + 3) & 3] = _mm_sha256msg1_epu32(m[s][(g + 3) & 3], m[s][g & 3]);
            }
        }
        EACH
        {
            abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
        }
    }
    EACH
    {
        __m128i feba = _mm_shuffle_epi32(abef[s], 0x1B), dchg = _mm_shuffle_epi32(cdgh[s], 0xB1);
        _mm_storeu_si128((__m128i *)jobs[s].h, _mm_blend_epi16(feba, dchg, 0xF0));
        _mm_storeu_si128((__m128i *)(jobs[s].h + 4), _mm_alignr_epi8(dchg, feba, 8));
    }
}

#define NI_RUN(n)                                                                                            \
    static __attribute__((noinline)) NI_TARGET void sha_ni_run##n(const sha_job *jobs, size_t blocks)        \
    {                                                                                                        \
        sha_ni_body(jobs, blocks, n);                                                                        \
    }
NI_RUN(1)
NI_RUN(2)
NI_RUN(3)
NI_RUN(4)

static void sha_ni_run(const sha_job *jobs, size_t n, size_t blocks)
{
    switch (n) {
    case 1: sha_ni_run1(jobs, blocks); break;
    case 2: sha_ni_run2(jobs, blocks); break;
    case 3: sha_ni_run3(jobs, blocks); break;
    default: sha_ni_run4(jobs, blocks);
    }
}

#undef NI_TARGET
#undef NI_RUN
#undef EACH
