/* The compression function in plain C, a template: one stream in every lane of a vector, or in a single word.
 *
 * The includer defines SHA_LANES (1, 8 or 16), SHA_NAME(x), SHA_TARGET, and for more than one lane
 * SHA_LOAD(w, p, off): w[16] = the big-endian words at p[lane] + off of every lane, one vector a word;
 * it may define all of SHA_ROR(x, n), SHA_XOR3(x, y, z), SHA_CH(x, y, z) and SHA_MAJ(x, y, z), for which AVX-512 has
 * single instructions.
 */

#ifndef SHA_ROR
#define SHA_ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define SHA_XOR3(x, y, z) ((x) ^ (y) ^ (z))
#define SHA_CH(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define SHA_MAJ(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#endif

#if SHA_LANES == 1
#define SHA_LOAD(w, p, off) \
    for (int i = 0; i < 16; i++) w[i] = sha_load(p[0] + off + 4 * i);
typedef uint32_t SHA_NAME(vec);
#else
typedef uint32_t SHA_NAME(vec) __attribute__((vector_size(4 * SHA_LANES)));
#endif
#define VEC SHA_NAME(vec)

typedef union {
    VEC v;
    uint32_t w[SHA_LANES];
} SHA_NAME(row);
#define ROW SHA_NAME(row)

/* Section 6.2.2. Round i of sixteen; instead of eight variables that move on, their places in v do. */
#define V(i, k) v[((k) - (i)) & 7]
#define ROUND(i)                                                                                             \
    {                                                                                                        \
        VEC e = V(i, 4), a = V(i, 0);                                                                        \
        VEC t = V(i, 7) + (w[i] + SHA_K[r + i]) + SHA_CH(e, V(i, 5), V(i, 6)) +                              \
                SHA_XOR3(SHA_ROR(e, 6), SHA_ROR(e, 11), SHA_ROR(e, 25));                                     \
        V(i, 3) += t;                                                                                        \
        V(i, 7) = t + SHA_MAJ(a, V(i, 1), V(i, 2)) + SHA_XOR3(SHA_ROR(a, 2), SHA_ROR(a, 13), SHA_ROR(a, 22)); \
    }
/* The word sixteen rounds on takes the place of the one just used. */
#define EXTEND(i)                                                                                            \
    {                                                                                                        \
        VEC x = w[((i) + 1) & 15], y = w[((i) + 14) & 15];                                                   \
        w[i] += w[((i) + 9) & 15] + SHA_XOR3(SHA_ROR(x, 7), SHA_ROR(x, 18), x >> 3) +                        \
                SHA_XOR3(SHA_ROR(y, 17), SHA_ROR(y, 19), y >> 10);                                           \
    }
#define SIXTEEN _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++)

/* The next `blocks` blocks of the first n jobs, 1 <= n <= SHA_LANES; idle lanes go along with the first. */
static SHA_TARGET void SHA_NAME(run)(const sha_job *jobs, size_t n, size_t blocks)
{
    ROW h[8];
    const uint8_t *p[SHA_LANES];
    for (size_t l = 0; l < SHA_LANES; l++) {
        const sha_job *job = jobs + (l < n ? l : 0);
        p[l] = job->p;
        for (int i = 0; i < 8; i++) h[i].w[l] = job->h[i];
    }
    for (size_t off = 0; off < blocks * SHA_BLOCK; off += SHA_BLOCK) {
        VEC v[8], w[16];
        int r;
        SHA_LOAD(w, p, off);
        for (int i = 0; i < 8; i++) v[i] = h[i].v;
#pragma GCC unroll 1
        for (r = 0; r < 48; r += 16) {
            SIXTEEN
            {
                ROUND(i)
                EXTEND(i)
            }
        }
        SIXTEEN ROUND(i)
        for (int i = 0; i < 8; i++) h[i].v += v[i];
    }
    for (size_t l = 0; l < n; l++)
        for (int i = 0; i < 8; i++) jobs[l].h[i] = h[i].w[l];
}

#undef VEC
#undef ROW
#undef V
#undef ROUND
#undef EXTEND
#undef SIXTEEN
#undef SHA_LANES
#undef SHA_NAME
#undef SHA_TARGET
#undef SHA_LOAD
#undef SHA_ROR
#undef SHA_XOR3
#undef SHA_CH
#undef SHA_MAJ
