/* The fields of a tar header block: numbers, texts, the checksum.
 *
 * Semantics are those of Go's archive/tar (what container engines read layers with). Nothing here allocates, and
 * nothing reads beyond the length that it is given. A function that can fail returns 0, or -1 for bytes that are
 * not a tar field.
 */
#ifndef LAMINA_TARSCAN_FIELDS_H
#define LAMINA_TARSCAN_FIELDS_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TS_BLOCK 512

typedef struct {
    const uint8_t *p;
    size_t n;
} ts_str;

enum { TS_V7, TS_USTAR, TS_STAR, TS_GNU };

/* One header block as it stands, before extensions change it; texts point into the block. */
typedef struct {
    int format;
    uint8_t type;
    int64_t mode, uid, gid, size, mtime, devmajor, devminor;
    ts_str name, prefix, link, uname, gname;
} ts_header;

/* Asks for a header block that is read soon: its 8 cache lines come at once instead of one after another, which takes a
 * fifth off the scan of a layer that is in memory but not in a cache. */
static inline void ts_prefetch(const uint8_t *block) {
    for (int i = 0; i < TS_BLOCK; i += 64) __builtin_prefetch(block + i);
}

/* The text up to its first NUL, or all n bytes. */
static inline ts_str ts_text(const uint8_t *p, size_t n) {
    const uint8_t *nul = (const uint8_t *)memchr(p, 0, n);
    ts_str s = {p, nul ? (size_t)(nul - p) : n};
    return s;
}

/* Octal digits between any spaces and NULs; an empty field is 0. Fields have at most 12 bytes: 36 bits. */
static inline int ts_octal_any(const uint8_t *p, size_t n, int64_t *out) {
    const uint8_t *end = p + n;
    int64_t x = 0;
    while (p < end && (*p == ' ' || *p == 0)) p++;
    while (end > p && (end[-1] == ' ' || end[-1] == 0)) end--;
    for (; p < end && *p; p++) {
        if (*p < '0' || *p > '7') return -1;
        x = x << 3 | (*p - '0');
    }
    *out = x;
    return 0;
}

/* Seven octal digits and a NUL, all at once: neighbours join to fields of 6, then 12, then 24 bits. */
static inline int ts_octal_7(const uint8_t *p, int64_t *out) {
    uint64_t w;
    memcpy(&w, p, 8);
    w = le64toh(w);
    if ((w & 0xfff8f8f8f8f8f8f8u) != 0x0030303030303030u) return -1;
    w = (w & 0x0007070707070707u) << 8;
    w = ((w << 3) + (w >> 8)) & 0x003f003f003f003fu;
    w = ((w << 6) + (w >> 16)) & 0x00000fff00000fffu;
    *out = (int64_t)(((w << 12) + (w >> 32)) & 0xffffffu);
    return 0;
}

/* Four octal digits, likewise. */
static inline int ts_octal_4(const uint8_t *p, int64_t *out) {
    uint32_t w;
    memcpy(&w, p, 4);
    w = le32toh(w);
    if ((w & 0xf8f8f8f8u) != 0x30303030u) return -1;
    w &= 0x07070707u;
    w = ((w << 3) + (w >> 8)) & 0x003f003fu;
    *out = ((w << 6) + (w >> 16)) & 0xfffu;
    return 0;
}

/* The same for any field; the usual shapes, digits up to a last NUL, take a third of the loop's time. */
static inline int ts_octal(const uint8_t *p, size_t n, int64_t *out) {
    int64_t high;
    if (n == 8 && !ts_octal_7(p, out)) return 0;
    if (n == 12 && !ts_octal_4(p, &high) && !ts_octal_7(p + 4, out)) {
        *out |= high << 21;
        return 0;
    }
    return ts_octal_any(p, n, out);
}

/* Octal, or base 256 (two's complement, big-endian, first bit set as the mark) that fits 64 bits. */
static inline int ts_number(const uint8_t *p, size_t n, int64_t *out) {
    if (!(p[0] & 0x80)) return ts_octal(p, n, out);
    uint8_t inverted = p[0] & 0x40 ? 0xff : 0;
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i] ^ inverted;
        if (i == 0) c &= 0x7f;
        if (x >> 56) return -1;
        x = x << 8 | c;
    }
    if (x >> 63) return -1;
    *out = inverted ? (int64_t)~x : (int64_t)x;
    return 0;
}

/* A decimal number with an optional sign, nothing around it, that fits 64 bits. */
static inline int ts_decimal(const uint8_t *p, size_t n, int64_t *out) {
    const uint8_t *end = p + n;
    uint64_t x = 0, limit = INT64_MAX;
    int negative = n && *p == '-';
    if (n && (*p == '-' || *p == '+')) p++;
    if (p == end) return -1;
    limit += negative;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (digit > 9 || x > (limit - digit) / 10) return -1;
        x = x * 10 + digit;
    }
    *out = (int64_t)(negative ? 0 - x : x);
    return 0;
}

/* A PAX time, seconds with an optional fraction, as floored seconds and nanoseconds (digits beyond nine are cut). */
static inline int ts_time(const uint8_t *p, size_t n, int64_t *seconds, uint32_t *nanos) {
    const uint8_t *dot = n ? (const uint8_t *)memchr(p, '.', n) : NULL;
    size_t whole = dot ? (size_t)(dot - p) : n;
    uint32_t ns = 0;
    size_t digits = 0;
    if (ts_decimal(p, whole, seconds)) return -1;
    for (size_t i = whole + 1; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        if (digits < 9) ns = ns * 10 + (p[i] - '0'), digits++;
    }
    for (; digits < 9; digits++) ns *= 10;
    if (ns && p[0] == '-' && *seconds > INT64_MIN) {
        *seconds -= 1;
        ns = 1000000000u - ns;
    }
    *nanos = ns;
    return 0;
}

/* The sum of a block's bytes, each shifted right: 16-bit lanes hold 64 words of 2 * 255, and the compiler makes vectors
 * of the loop; a sum byte by byte costs 150 ns more, a third of the whole scan of an entry. */
static inline uint32_t ts_sum(const uint8_t *b, int shift) {
    const uint64_t lanes = 0x00ff00ff00ff00ffu, low = 0x0101010101010101u * (0xffu >> shift);
    uint64_t sum = 0;
    for (int i = 0; i < TS_BLOCK; i += 8) {
        uint64_t w;
        memcpy(&w, b + i, 8);
        w = w >> shift & low;
        sum += (w & lanes) + (w >> 8 & lanes);
    }
    sum = (sum & 0x0000ffff0000ffffu) + (sum >> 16 & 0x0000ffff0000ffffu);
    return (uint32_t)(sum + (sum >> 32));
}

/* The sum of the block's bytes, its checksum field taken as spaces, equals that field; Sun tar summed signed bytes. */
static inline int ts_checksum_ok(const uint8_t *b) {
    int64_t stated;
    uint32_t sum, field = 0, field_high = 0;
    if (ts_octal(b + 148, 8, &stated)) return 0;
    for (int i = 148; i < 156; i++) field += b[i], field_high += b[i] >> 7;
    sum = ts_sum(b, 0) + 8 * ' ' - field;
    return stated == (int64_t)sum || stated == (int64_t)sum - 256 * (int64_t)(ts_sum(b, 7) - field_high);
}

static inline int ts_is_zero(const uint8_t *b, size_t n) {
    return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

static inline int ts_is_ascii(ts_str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] & 0x80) return 0;
    return 1;
}

static inline int ts_format(const uint8_t *b) {
    if (!memcmp(b + 257, "ustar\0", 6)) return memcmp(b + 508, "tar\0", 4) ? TS_USTAR : TS_STAR;
    return memcmp(b + 257, "ustar  \0", 8) ? TS_V7 : TS_GNU;
}

/* The prefix of a GNU header is none, but Go before 1.8 wrote one over atime and ctime, which then do not parse. */
static inline ts_str ts_gnu_prefix(const uint8_t *b) {
    int64_t unused;
    ts_str none = {b, 0}, prefix = ts_text(b + 345, 155);
    int bad = (b[345] && ts_number(b + 345, 12, &unused)) || (b[357] && ts_number(b + 357, 12, &unused));
    return bad && ts_is_ascii(prefix) ? prefix : none;
}

/* A non-zero block of TS_BLOCK bytes as a header; -1 if it is none. */
static inline int ts_header_parse(const uint8_t *b, ts_header *h) {
    ts_str none = {b, 0};
    int64_t unused;
    if (!ts_checksum_ok(b)) return -1;
    h->format = ts_format(b);
    h->type = b[156];
    h->name = ts_text(b, 100);
    h->link = ts_text(b + 157, 100);
    h->prefix = h->uname = h->gname = none;
    h->devmajor = h->devminor = 0;
    if (ts_number(b + 100, 8, &h->mode) || ts_number(b + 108, 8, &h->uid) || ts_number(b + 116, 8, &h->gid) ||
        ts_number(b + 124, 12, &h->size) || ts_number(b + 136, 12, &h->mtime))
        return -1;
    if (h->format == TS_V7) return 0;
    h->uname = ts_text(b + 265, 32);
    h->gname = ts_text(b + 297, 32);
    if (ts_number(b + 329, 8, &h->devmajor) || ts_number(b + 337, 8, &h->devminor)) return -1;
    if (h->format == TS_USTAR) {
        h->prefix = ts_text(b + 345, 155);
    } else if (h->format == TS_GNU) {
        h->prefix = ts_gnu_prefix(b);
    } else {
        h->prefix = ts_text(b + 345, 131);
        if (ts_number(b + 476, 12, &unused) || ts_number(b + 488, 12, &unused)) return -1;
    }
    return 0;
}

#endif
