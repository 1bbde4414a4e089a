/* The lane engine, a template: every lane of a vector hashes a job of its own, block by block, and takes the
 * next job when it is done. Thus chunks, short inputs and parents of any mixture keep all lanes busy.
 *
 * The includer defines B3_LANES (4 or 8), B3_NAME(x), B3_TARGET, and
 * B3_LOAD(m, q, off): m[16] = the block at q[lane] + off of every lane, one vector a word;
 * B3_ROT16(x), B3_ROT8(x): rotate right, for which byte shuffles are cheaper than two shifts.
 */

typedef uint32_t B3_NAME(vec) __attribute__((vector_size(4 * B3_LANES)));
#define VEC B3_NAME(vec)

typedef union {
    VEC v;
    uint32_t w[B3_LANES];
} B3_NAME(row);
#define ROW B3_NAME(row)

typedef struct {
    ROW h[8];                 /* chaining values */
    ROW lo, hi, len, flags;   /* words 12..15 of the state */
    const uint8_t *q[B3_LANES];
    uint32_t left[B3_LANES];  /* blocks still to do; 0 in an idle lane */
    const blake3_job *job[B3_LANES];
    uint8_t pad[B3_LANES][B3_BLOCK];
} B3_NAME(lanes);
#define LANES B3_NAME(lanes)

#define ROT(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define ROT12(x) ROT(x, 12)
#define ROT7(x) ROT(x, 7)
#define FOUR _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
/* Half a G on four columns or diagonals side by side. Sixteen words of state and a temporary are one more than
 * AVX2 has registers; left to itself the compiler spills what the next step waits for. So v[11], which has the
 * most time, is sent to memory by hand: 15 % faster. */
#define PIN(x) __asm__("" : "+m"(x))
#define HALF(a, b, c, d, x, ROT_D, ROT_B)                                                                    \
    FOUR v[a(i)] = v[a(i)] + m[s[x + 2 * i]] + v[b(i)];                                                      \
    FOUR v[d(i)] = ROT_D(v[d(i)] ^ v[a(i)]);                                                                 \
    FOUR                                                                                                     \
    {                                                                                                        \
        v[c(i)] += v[d(i)];                                                                                  \
        v[b(i)] ^= v[c(i)];                                                                                  \
        if (c(i) == 11) PIN(v[11]);                                                                          \
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

static inline void B3_NAME(start)(LANES *s, int l, const blake3_job *job)
{
    s->job[l] = job;
    s->q[l] = job->p;
    s->left[l] = job->len <= B3_BLOCK ? 1 : (job->len + B3_BLOCK - 1) / B3_BLOCK;
    s->lo.w[l] = (uint32_t)job->counter;
    s->hi.w[l] = (uint32_t)(job->counter >> 32);
    s->flags.w[l] = job->first;
    for (int i = 0; i < 8; i++) s->h[i].w[l] = B3_IV[i];
}

/* The last block of a lane: its flags, its length, and zeros behind it. */
static inline void B3_NAME(last)(LANES *s, int l, size_t off)
{
    const blake3_job *job = s->job[l];
    size_t done = (size_t)(s->q[l] + off - job->p), len = job->len - done;
    s->flags.w[l] |= job->last;
    s->len.w[l] = (uint32_t)len;
    if (len == B3_BLOCK) return;
    memcpy(s->pad[l], s->q[l] + off, len);
    memset(s->pad[l] + len, 0, B3_BLOCK - len);
    s->q[l] = s->pad[l] - off;
}

/* Compress `run` blocks of every lane; the last of them ends each lane that has no more left. */
static B3_TARGET void B3_NAME(advance)(LANES *s, uint32_t run)
{
    size_t off = 0;
    s->len.v = (VEC){0} + B3_BLOCK;
    for (uint32_t k = 1; k < run; k++, off += B3_BLOCK) {
        B3_NAME(compress)(s, off);
        s->flags.v = (VEC){0};
    }
    for (int l = 0; l < B3_LANES; l++) {
        if (s->left[l] == run) B3_NAME(last)(s, l, off);
        if (s->left[l] == 0) s->q[l] = s->pad[l] - off;
    }
    B3_NAME(compress)(s, off);
    s->flags.v = (VEC){0};
}

static B3_TARGET void B3_NAME(run)(const blake3_job *jobs, size_t n)
{
    LANES s;
    size_t next = 0, live = 0;
    memset(&s, 0, sizeof s);
    for (; live < B3_LANES && next < n; live++) B3_NAME(start)(&s, (int)live, &jobs[next++]);
    while (live) {
        uint32_t run = UINT32_MAX;
        const uint8_t *any = NULL;
        for (int l = 0; l < B3_LANES; l++) {
            if (!s.left[l]) continue;
            any = s.q[l];
            if (s.left[l] < run) run = s.left[l];
        }
        for (int l = 0; l < B3_LANES; l++)
            if (!s.left[l]) s.q[l] = any; /* an idle lane reads along: cheaper than masking it */
        B3_NAME(advance)(&s, run);
        for (int l = 0; l < B3_LANES; l++) {
            if (!s.left[l]) continue;
            s.q[l] += (size_t)run * B3_BLOCK;
            s.left[l] -= run;
            if (s.left[l]) continue;
            for (int i = 0; i < 8; i++) b3_store(s.job[l]->out + 4 * i, s.h[i].w[l]);
            if (next < n) B3_NAME(start)(&s, l, &jobs[next++]);
            else live--;
        }
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
#undef B3_ROT16
#undef B3_ROT8
