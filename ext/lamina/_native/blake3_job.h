/* BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn; the paper of 2021): constants, and the unit of work. */
#ifndef LAMINA_BLAKE3_JOB_H
#define LAMINA_BLAKE3_JOB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Section 2.1: domain flags. */
enum { B3_CHUNK_START = 1, B3_CHUNK_END = 2, B3_PARENT = 4, B3_ROOT = 8 };
enum { B3_BLOCK = 64, B3_CHUNK = 1024, B3_OUT = 32 };
enum { B3_IDLE = 1 << 30 }; /* more blocks than any job has */

static const uint32_t B3_IV[8] = {
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
};

/* Section 2.2: which message word goes where, round by round (the permutation applied 0..6 times). */
static const uint8_t B3_SCHEDULE[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4},
    {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

/* One chunk (up to 1,024 bytes) or one parent (the two chaining values of its children side by side). */
typedef struct {
    const uint8_t *p;
    uint8_t *out;     /* 32 bytes; written after every input of the same call's jobs before it was read */
    uint64_t counter; /* number of the chunk in its input; 0 for a parent */
    uint32_t len;     /* 0..1024 */
    uint8_t first;    /* flags of the first block */
    uint8_t last;     /* further flags of the last block */
} blake3_job;

/* Little-endian words on any machine. */
static inline uint32_t b3_load(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap32(w);
#endif
    return w;
}

static inline void b3_store(void *p, uint32_t w)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap32(w);
#endif
    memcpy(p, &w, 4);
}

#endif
