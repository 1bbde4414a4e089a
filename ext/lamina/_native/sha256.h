/* Several SHA-256 streams side by side: the choice of what runs together, and the ends of pieces. */
#ifndef LAMINA_SHA256_H
#define LAMINA_SHA256_H

#include "cpu.h"
#include "sha256_job.h"

/* One stream in plain words. AArch64 takes it too; its SHA instructions have no path here yet. */
#define SHA_LANES 1
#define SHA_NAME(x) sha_portable_##x
#define SHA_TARGET
#include "sha256_lanes.h"

/* Streams from which lanes are faster than what is else there. Measured on a Sapphire Rapids, GB/s of a core: portable
 * 0.31, with BMI2 0.38; AVX2 0.17 a lane; AVX-512 0.22 a lane, 3.5 with all sixteen; SHA instructions 1.5 for one stream, 1.9 for two,
 * 2.0 for four (the unit takes a new pair of rounds every third cycle). On a Zen 4 they make 1.8, 3.5 and 4.2, which
 * lanes do not beat. A lone stream without SHA instructions gets 0.65 of what OpenSSL
 * would make of it, 0.8 with BMI2: a state cannot move between the two, and this does not matter enough. */
enum { SHA_NI_MAX = 4, SHA_AVX2_MIN = 3, SHA_AVX512_MIN = 2, SHA_AVX512_BEATS_NI = 10 };

#if defined(__x86_64__)
/* The same where rotations need not be preceded by a move: 1.25 times as fast. */
#define SHA_LANES 1
#define SHA_NAME(x) sha_bmi2_##x
#define SHA_TARGET __attribute__((target("bmi2")))
#include "sha256_lanes.h"

#include "sha256_ni.h"
#include "sha256_simd.h"
#endif

typedef void sha_kernel(const sha_job *jobs, size_t n, size_t blocks);

/* What runs `live` streams best; *width is how many of them at once. */
static sha_kernel *sha_choose(size_t live, unsigned int enabled, size_t *width)
{
#if defined(__x86_64__)
    size_t wide = enabled & CPU_SHA_NI ? SHA_AVX512_BEATS_NI : SHA_AVX512_MIN;
    if (enabled & CPU_AVX512F && live >= wide && (!(enabled & CPU_SHA_NI) || __builtin_cpu_is("intel"))) {
        *width = live < 16 ? live : 16;
        return sha_avx512_run;
    }
    if (enabled & CPU_SHA_NI) {
        *width = live < SHA_NI_MAX ? live : SHA_NI_MAX;
        return sha_ni_run;
    }
    if (enabled & CPU_AVX2 && live >= SHA_AVX2_MIN) {
        *width = live < 8 ? live : 8;
        return sha_avx2_run;
    }
    if (enabled & (CPU_AVX2 | CPU_AVX512F) && __builtin_cpu_supports("bmi2")) {
        *width = 1;
        return sha_bmi2_run;
    }
#endif
    (void)live, (void)enabled;
    *width = 1;
    return sha_portable_run;
}

/* Longest first. Insertion: the order is nearly kept from one turn to the next. */
static void sha_sort(sha_job *jobs, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        sha_job job = jobs[i];
        size_t at = i;
        for (; at && jobs[at - 1].blocks < job.blocks; at--) jobs[at] = jobs[at - 1];
        jobs[at] = job;
    }
}

enum { SHA_TURN = 128 }; /* blocks: 8 KiB a stream, against which sorting 64 jobs costs below 1 % */

/* Do all jobs; they are used up. The longest go first, and when others have become as long as they, those get
 * their turn: so that all end together, and none is left to run alone before it must. */
static void sha_run(sha_job *jobs, size_t n, unsigned int enabled)
{
    for (;;) {
        size_t width, blocks;
        sha_kernel *kernel;
        sha_sort(jobs, n);
        while (n && !jobs[n - 1].blocks) n--;
        if (!n) return;
        kernel = sha_choose(n, enabled, &width);
        blocks = jobs[width - 1].blocks;
        if (n > width) {
            size_t turn = blocks - jobs[width].blocks;
            if (turn < SHA_TURN) turn = SHA_TURN;
            if (blocks > turn) blocks = turn;
        }
        kernel(jobs, width, blocks);
        for (size_t i = 0; i < width; i++) {
            jobs[i].blocks -= blocks;
            jobs[i].p += blocks * SHA_BLOCK;
        }
    }
}

typedef struct {
    sha_state *state;
    const uint8_t *p;
    size_t n;
} sha_piece;

enum { SHA_GROUP = 64 };

/* Complete the blocks that wait; then the whole blocks of all pieces; then what remains waits. */
static void sha_update_group(sha_piece *pieces, size_t n, unsigned int enabled)
{
    sha_job jobs[SHA_GROUP];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        sha_piece *piece = pieces + i;
        size_t have = piece->state->count % SHA_BLOCK, more = SHA_BLOCK - have;
        piece->state->count += piece->n;
        if (!have || !piece->n) continue;
        if (more > piece->n) more = piece->n;
        memcpy(piece->state->pending + have, piece->p, more);
        piece->p += more;
        piece->n -= more;
        if (have + more == SHA_BLOCK) jobs[m++] = (sha_job){piece->state->h, piece->state->pending, 1};
    }
    sha_run(jobs, m, enabled);
    m = 0;
    for (size_t i = 0; i < n; i++)
        if (pieces[i].n >= SHA_BLOCK)
            jobs[m++] = (sha_job){pieces[i].state->h, pieces[i].p, pieces[i].n / SHA_BLOCK};
    sha_run(jobs, m, enabled);
    for (size_t i = 0; i < n; i++) {
        size_t rest = pieces[i].n % SHA_BLOCK;
        if (rest) memcpy(pieces[i].state->pending, pieces[i].p + (pieces[i].n - rest), rest);
    }
}

/* Every piece goes into its state; states are distinct. The pieces are used up. */
static void sha_update(sha_piece *pieces, size_t n, unsigned int enabled)
{
    for (; n > SHA_GROUP; pieces += SHA_GROUP, n -= SHA_GROUP) sha_update_group(pieces, SHA_GROUP, enabled);
    sha_update_group(pieces, n, enabled);
}

static void sha_start(sha_state *s)
{
    memset(s, 0, sizeof *s);
    memcpy(s->h, SHA_IV, sizeof s->h);
}

/* Section 5.1.1: a one bit, zeros, and the number of bits; `s` itself goes on. */
static void sha_digest(const sha_state *s, uint8_t out[SHA_OUT], unsigned int enabled)
{
    sha_state end = *s;
    uint8_t tail[2 * SHA_BLOCK] = {0};
    size_t have = s->count % SHA_BLOCK, blocks = have < SHA_BLOCK - 8 ? 1 : 2;
    sha_job job = {end.h, tail, blocks};
    memcpy(tail, s->pending, have);
    tail[have] = 0x80;
    sha_store(tail + blocks * SHA_BLOCK - 8, (uint32_t)(s->count >> 29));
    sha_store(tail + blocks * SHA_BLOCK - 4, (uint32_t)(s->count << 3));
    sha_run(&job, 1, enabled);
    for (int i = 0; i < 8; i++) sha_store(out + 4 * i, end.h[i]);
}

#endif
