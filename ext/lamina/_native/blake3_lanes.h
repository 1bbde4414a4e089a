/* The lane engine, a template: every lane of a vector hashes a job of its own, block by block, and takes the
 * next job when it is done. Thus chunks, short inputs and parents of any mixture keep all lanes busy.
 *
 * The includer defines B3_LANES (4, 8 or 16), B3_NAME(x), B3_TARGET, and
 * B3_LOAD(m, q, off): m[16] = the block at q[lane] + off of every lane, one vector a word;
 * B3_SPLIT(ids, h): ids[lane] = the 32 bytes that eight rows of words hold for each lane;
 * B3_ROT16(x), B3_ROT8(x): rotate right (column i of four), for which byte shuffles are cheaper than two shifts;
 * B3_ROT(x, n), where there is an instruction for it.
 */

typedef uint32_t B3_NAME(vec) __attribute__((vector_size(4 * B3_LANES)));
#define VEC B3_NAME(vec)

typedef union {
    VEC v;
    uint32_t w[B3_LANES];
} B3_NAME(row);
#define ROW B3_NAME(row)

typedef struct {
    ROW h[8];               /* chaining values */
    ROW lo, hi, len, flags; /* words 12..15 of the state */
    ROW left;               /* blocks still to do; B3_IDLE without a job */
    ROW tail, last;         /* length of the last block, and its further flags */
    const uint8_t *q[B3_LANES];
    const blake3_job *job[B3_LANES];
    uint8_t pad[B3_LANES][B3_BLOCK];
} B3_NAME(lanes);
#define LANES B3_NAME(lanes)

#ifdef B3_ROT
#define ROT B3_ROT
#else
#define ROT(x, n) ((x) >> (n) | (x) << (32 - (n)))
#endif
#define ROT12(x) ROT(x, 12)
#define ROT7(x) ROT(x, 7)
#define FOUR _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
/* Half a G on four columns or diagonals side by side. Sixteen words of state and a temporary are one more than
 * AVX2 has registers; left to itself the compiler spills what the next step waits for. So v[11], which has the
 * most time, is sent to memory by hand: 15 % faster. (Sixteen lanes come with 32 registers.) */
#define PIN(x) __asm__("" : "+m"(x))
#define HALF(a, b, c, d, x, ROT_D, ROT_B)                                                                    \
    FOUR v[a(i)] = v[a(i)] + m[s[x + 2 * i]] + v[b(i)];                                                      \
    FOUR v[d(i)] = ROT_D(v[d(i)] ^ v[a(i)]);                                                                 \
    FOUR                                                                                                     \
    {                                                                                                        \
        v[c(i)] += v[d(i)];                                                                                  \
        v[b(i)] ^= v[c(i)];                                                                                  \
        if (B3_LANES < 16 && c(i) == 11) PIN(v[11]);                                                                          \
    }                                                                                                        \
    FOUR v[b(i)] = ROT_B(v[b(i)]);
#define A(i) (i)
#define B0(i) (4 + (i))
#define C0(i) (8 + (i))
#define D0(i) (12 + (i))
#define B1(i) (4 + ((i) + 1) % 4)
#define C1(i) (8 + ((i) + 2) % 4)
#define D1(i) (12 + ((i) + 3) % 4)

/* Section 2.2, the compression function, one block of every lane: at q[lane] + off. */
static B3_TARGET __attribute__((noinline)) void B3_NAME(compress)(LANES *s_, size_t off)
{
    VEC m[16], v[16];
    B3_LOAD(m, s_->q, off);
    for (int i = 0; i < 8; i++) v[i] = s_->h[i].v;
    for (int i = 0; i < 4; i++) v[8 + i] = (VEC){0} + B3_IV[i];
    v[12] = s_->lo.v, v[13] = s_->hi.v, v[14] = s_->len.v, v[15] = s_->flags.v;
#pragma GCC unroll 7
    for (int round = 0; round < 7; round++) {
        const uint8_t *s = B3_SCHEDULE[round];
        HALF(A, B0, C0, D0, 0, B3_ROT16, ROT12)
        HALF(A, B0, C0, D0, 1, B3_ROT8, ROT7)
        HALF(A, B1, C1, D1, 8, B3_ROT16, ROT12)
        HALF(A, B1, C1, D1, 9, B3_ROT8, ROT7)
    }
    for (int i = 0; i < 8; i++) s_->h[i].v = v[i] ^ v[8 + i];
}

static inline __attribute__((always_inline)) void B3_NAME(start)(LANES *s, int l, const blake3_job *job)
{
    uint32_t before = job->len ? (job->len - 1) / B3_BLOCK : 0;
    s->job[l] = job;
    s->q[l] = job->p;
    s->left.w[l] = before + 1;
    s->tail.w[l] = job->len - before * B3_BLOCK;
    s->lo.w[l] = (uint32_t)job->counter;
    s->hi.w[l] = (uint32_t)(job->counter >> 32);
    s->flags.w[l] = job->first;
    s->last.w[l] = job->last;
}

/* The last of `run` blocks, at off, for the lanes that end with it: flags, length, and zeros behind a short one. */
static inline __attribute__((always_inline)) B3_TARGET void B3_NAME(ending)(LANES *s, uint32_t run, size_t off)
{
    VEC ends = (VEC)(s->left.v == run);
    s->flags.v |= s->last.v & ends;
    s->len.v = (s->tail.v & ends) | (s->len.v & ~ends);
    for (int l = 0; l < B3_LANES; l++) {
        if (s->left.w[l] >= B3_IDLE) s->q[l] = s->pad[l] - off;
        if (s->left.w[l] != run || s->tail.w[l] == B3_BLOCK) continue;
        memcpy(s->pad[l], s->q[l] + off, s->tail.w[l]);
        memset(s->pad[l] + s->tail.w[l], 0, B3_BLOCK - s->tail.w[l]);
        s->q[l] = s->pad[l] - off;
    }
}

/* Compress `run` blocks of every lane, where no lane has fewer left. */
static B3_TARGET void B3_NAME(advance)(LANES *s, uint32_t run)
{
    size_t off = 0;
    s->len.v = (VEC){0} + B3_BLOCK;
    for (uint32_t k = 1; k < run; k++, off += B3_BLOCK) {
        B3_NAME(compress)(s, off);
        s->flags.v = (VEC){0};
    }
    B3_NAME(ending)(s, run, off);
    B3_NAME(compress)(s, off);
    s->flags.v = (VEC){0};
    s->left.v -= run;
}

/* An idle lane reads along with a busy one: cheaper than masking it. */
static void B3_NAME(lend)(LANES *s)
{
    const uint8_t *any = NULL;
    for (int l = 0; l < B3_LANES; l++)
        if (s->left.w[l] < B3_IDLE) any = s->q[l];
    for (int l = 0; l < B3_LANES; l++) {
        if (s->left.w[l] < B3_IDLE) continue;
        s->left.w[l] = UINT32_MAX;
        s->q[l] = any;
    }
}

static B3_TARGET void B3_NAME(run)(const blake3_job *jobs, size_t n)
{
    LANES s;
    ROW fresh;
    const blake3_job *next = jobs, *end = jobs + n;
    size_t live = 0;
    memset(&s, 0, sizeof s);
    for (int l = 0; l < B3_LANES; l++) {
        s.left.w[l] = UINT32_MAX;
        if (next == end) continue;
        B3_NAME(start)(&s, l, next++);
        live++;
    }
    for (int i = 0; i < 8; i++) s.h[i].v = (VEC){0} + B3_IV[i];
    while (live) {
        uint32_t run = UINT32_MAX;
        uint32_t ids[B3_LANES][8] __attribute__((aligned(64)));
        for (int l = 0; l < B3_LANES; l++) run = s.left.w[l] < run ? s.left.w[l] : run;
        if (live < B3_LANES) B3_NAME(lend)(&s);
        B3_NAME(advance)(&s, run);
        B3_SPLIT(ids, s.h);
        fresh.v = (VEC)(s.left.v == 0);
        for (int l = 0; l < B3_LANES; l++) {
            s.q[l] += (size_t)run * B3_BLOCK;
            if (s.left.w[l]) continue;
            memcpy(s.job[l]->out, ids[l], B3_OUT);
            if (next < end) {
                B3_NAME(start)(&s, l, next++);
            } else {
                s.left.w[l] = UINT32_MAX;
                live--;
            }
        }
        for (int i = 0; i < 8; i++) s.h[i].v = (s.h[i].v & ~fresh.v) | (B3_IV[i] & fresh.v);
    }
}

#undef VEC
#undef ROW
#undef LANES
#undef ROT
#undef HALF
#undef FOUR
#undef PIN
#undef ROT12
#undef ROT7
#undef A
#undef B0
#undef C0
#undef D0
#undef B1
#undef C1
#undef D1
#undef B3_LANES
#undef B3_NAME
#undef B3_TARGET
#undef B3_LOAD
#undef B3_SPLIT
#undef B3_ROT
#undef B3_ROT16
#undef B3_ROT8
