/* Extended attributes out of PAX records.
 *
 * SCHILY.xattr.KEY has the plain value. LIBARCHIVE.xattr.KEY has the key with %XX escapes and the value in base 64;
 * libarchive writes both for each attribute, so that these count only where none of the former is there.
 */
#ifndef LAMINA_TARSCAN_XATTR_H
#define LAMINA_TARSCAN_XATTR_H

#include "tarscan_member.h"

static inline int ts_hex(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes %XX escapes away into out, which has room for s.n bytes; a % that escapes nothing stays. */
static inline size_t ts_url_decode(ts_str s, uint8_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int high = -1, low = -1;
        if (s.p[i] == '%' && s.n - i > 2) high = ts_hex(s.p[i + 1]), low = ts_hex(s.p[i + 2]);
        if (high >= 0 && low >= 0) {
            out[n++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    return n;
}

static inline int ts_base64_digit(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes base 64 up to its end or padding into out, which has room for s.n bytes. */
static inline size_t ts_base64_decode(ts_str s, uint8_t *out) {
    uint32_t bits = 0;
    int have = 0;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int digit = ts_base64_digit(s.p[i]);
        if (digit < 0) break;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

/* u32 LE length and bytes of the text, decoded by one of the two above. */
static inline int ts_add_decoded(ts_buf *out, ts_str s, size_t (*decode)(ts_str, uint8_t *)) {
    uint8_t *at = ts_buf_room(out, 4 + s.n);
    if (!at) return TS_NOMEM;
    size_t n = decode(s, at + 4);
    if (ts_buf_add_u32(out, (uint32_t)n)) return TS_NOMEM;
    out->n += n;
    return TS_OK;
}

static inline int ts_add_plain(ts_buf *out, ts_str s) {
    return ts_buf_add_u32(out, (uint32_t)s.n) || ts_buf_add(out, s.p, s.n) ? TS_NOMEM : TS_OK;
}

/* Appends the attributes of the records, which ts_ext_parse has accepted, in their order. */
static inline int ts_xattrs(const ts_ext *e, ts_buf *out) {
    const uint8_t *at = e->data.p, *end = at + e->data.n;
    ts_str key, value, with = e->schily ? ts_schily : ts_libarchive;
    int r = TS_OK;
    while (r == TS_OK && at < end && ts_pax_record(&at, end, &key, &value) == TS_OK) {
        if (!ts_starts(key, with)) continue;
        key.p += with.n;
        key.n -= with.n;
        if (e->schily) {
            r = ts_add_plain(out, key) || ts_add_plain(out, value) ? TS_NOMEM : TS_OK;
        } else {
            r = ts_add_decoded(out, key, ts_url_decode) || ts_add_decoded(out, value, ts_base64_decode) ? TS_NOMEM
                                                                                                        : TS_OK;
        }
    }
    return r;
}

#endif
