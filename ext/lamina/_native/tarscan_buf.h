/* A byte buffer that grows, by half at least, and is emptied without giving its memory back. */
#ifndef LAMINA_TARSCAN_BUF_H
#define LAMINA_TARSCAN_BUF_H

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *p;
    size_t n, cap;
} ts_buf;

/* Room for `more` bytes behind the n that are there, or NULL when there is no memory. */
static inline uint8_t *ts_buf_room(ts_buf *b, size_t more) {
    if (!b->p || b->cap - b->n < more) {
        size_t cap = b->n + more + b->n / 2 + 64;
        uint8_t *p = (uint8_t *)realloc(b->p, cap);
        if (!p) return NULL;
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

static inline int ts_buf_add(ts_buf *b, const void *bytes, size_t n) {
    uint8_t *at = ts_buf_room(b, n);
    if (!at) return -1;
    if (n) memcpy(at, bytes, n);
    b->n += n;
    return 0;
}

static inline int ts_buf_add_i64(ts_buf *b, int64_t x) {
    uint64_t le = htole64((uint64_t)x);
    return ts_buf_add(b, &le, 8);
}

static inline int ts_buf_add_u32(ts_buf *b, uint32_t x) {
    uint32_t le = htole32(x);
    return ts_buf_add(b, &le, 4);
}

static inline int64_t ts_buf_i64(const ts_buf *b, size_t index) {
    uint64_t le;
    memcpy(&le, b->p + 8 * index, 8);
    return (int64_t)le64toh(le);
}

static inline void ts_buf_free(ts_buf *b) {
    free(b->p);
    b->p = NULL;
    b->n = b->cap = 0;
}

#endif
