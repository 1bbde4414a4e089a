/* A tar member out of its header block and the extensions before it: PAX records, GNU long names, sparse maps.
 *
 * Functions return TS_OK, TS_BAD (these bytes are not tar) or TS_NOMEM.
 */
#ifndef LAMINA_TARSCAN_MEMBER_H
#define LAMINA_TARSCAN_MEMBER_H

#include "tarscan_buf.h"
#include "tarscan_fields.h"

enum { TS_OK = 0, TS_BAD = 1, TS_NOMEM = 2 };

/* The limits of Go's reader: of extension data, and of sparse maps (which the former bounds already). */
#define TS_MAX_EXTENSION (1 << 20)
#define TS_MAX_SPARSE (1 << 20)

/* The PAX keys that mean something here, in the order of ts_pax_keys. */
enum {
    PAX_PATH, PAX_LINKPATH, PAX_UNAME, PAX_GNAME, PAX_SIZE, PAX_UID, PAX_GID, PAX_MTIME, PAX_ATIME, PAX_CTIME,
    PAX_MAJOR, PAX_MINOR, PAX_NUMBLOCKS, PAX_MAP, PAX_NAME, PAX_REALSIZE, PAX_SPARSESIZE, PAX_OFFSET, PAX_NUMBYTES,
    PAX_KEYS
};

#define TS_KEY(text) {(const uint8_t *)text, sizeof(text) - 1}
static const ts_str ts_pax_keys[PAX_KEYS] = {
    TS_KEY("path"), TS_KEY("linkpath"), TS_KEY("uname"), TS_KEY("gname"), TS_KEY("size"), TS_KEY("uid"), TS_KEY("gid"),
    TS_KEY("mtime"), TS_KEY("atime"), TS_KEY("ctime"), TS_KEY("GNU.sparse.major"), TS_KEY("GNU.sparse.minor"),
    TS_KEY("GNU.sparse.numblocks"), TS_KEY("GNU.sparse.map"), TS_KEY("GNU.sparse.name"), TS_KEY("GNU.sparse.realsize"),
    TS_KEY("GNU.sparse.size"), TS_KEY("GNU.sparse.offset"), TS_KEY("GNU.sparse.numbytes"),
};
static const ts_str ts_schily = TS_KEY("SCHILY.xattr."), ts_libarchive = TS_KEY("LIBARCHIVE.xattr.");

/* The extensions that wait for their member. An empty value means none, as if the record were not there. */
typedef struct {
    ts_buf data;      /* the PAX records of the last 'x', which the values point into */
    ts_buf map;       /* the values of a sparse 0.0 map, joined by commas as 0.1 has them */
    ts_buf path;      /* 'L' */
    ts_buf link;      /* 'K' */
    ts_str value[PAX_KEYS];
    int schily;       /* some record is a SCHILY.xattr */
} ts_ext;

/* Where the map of a sparse member stands. */
enum { SPARSE_NONE, SPARSE_HEADER, SPARSE_RECORDS, SPARSE_DATA };

/* A member with its extensions applied; texts point into the block and the extensions. */
typedef struct {
    uint8_t kind;
    int sparse;
    int64_t mode, uid, gid, size, stored, mtime, devmajor, devminor;
    uint32_t mtime_ns;
    ts_str prefix, path, link, uname, gname;
} ts_member;

/* The map of a sparse 1.0 member, read block by block at the head of its data. */
typedef struct {
    int64_t value, wanted; /* the number being read; how many follow the first, -1 before it is known */
    int digits, sign;      /* whether it has digits; 0, or the sign before it */
    size_t numbers, bytes;
} ts_map;

static inline int ts_starts(ts_str s, ts_str with) { return s.n >= with.n && !memcmp(s.p, with.p, with.n); }

static inline int ts_same(ts_str a, ts_str b) { return a.n == b.n && !memcmp(a.p, b.p, a.n); }

/* The record "LENGTH KEY=VALUE\n" at *at; moves *at behind it. */
static inline int ts_pax_record(const uint8_t **at, const uint8_t *end, ts_str *key, ts_str *value) {
    const uint8_t *p = *at, *space = (const uint8_t *)memchr(p, ' ', (size_t)(end - p)), *last, *equals;
    int64_t n;
    if (!space || ts_decimal(p, (size_t)(space - p), &n) || n < 5 || n > end - p || n <= space + 1 - p) return TS_BAD;
    last = p + n - 1;
    equals = (const uint8_t *)memchr(space + 1, '=', (size_t)(last - space - 1));
    if (*last != '\n' || !equals || equals == space + 1) return TS_BAD;
    key->p = space + 1;
    key->n = (size_t)(equals - space - 1);
    value->p = equals + 1;
    value->n = (size_t)(last - equals - 1);
    *at = last + 1;
    return TS_OK;
}

/* A key's number, or PAX_KEYS. */
static inline int ts_pax_key(ts_str key) {
    int i = 0;
    while (i < PAX_KEYS && !ts_same(key, ts_pax_keys[i])) i++;
    return i;
}

/* One value of a sparse 0.0 map, which must alternate offset and length. */
static inline int ts_ext_map_value(ts_ext *e, int key, ts_str value, size_t *count) {
    if (key != (*count % 2 ? PAX_NUMBYTES : PAX_OFFSET) || (value.n && memchr(value.p, ',', value.n))) return TS_BAD;
    if (((*count)++ && ts_buf_add(&e->map, ",", 1)) || ts_buf_add(&e->map, value.p, value.n)) return TS_NOMEM;
    return TS_OK;
}

/* Reads the records in e->data; of a repeated key the last counts, and replaces the former even if it is empty. */
static inline int ts_ext_parse(ts_ext *e) {
    const uint8_t *at = e->data.p, *end = at + e->data.n;
    size_t map_values = 0;
    int r;
    e->map.n = 0;
    e->schily = 0;
    memset(e->value, 0, sizeof e->value);
    while (at < end) {
        ts_str key, value;
        if (ts_pax_record(&at, end, &key, &value)) return TS_BAD;
        int k = ts_pax_key(key);
        ts_str checked = k <= PAX_GNAME ? value : key;
        if (checked.n && memchr(checked.p, 0, checked.n)) return TS_BAD;
        if (k == PAX_OFFSET || k == PAX_NUMBYTES) {
            if ((r = ts_ext_map_value(e, k, value, &map_values))) return r;
        } else if (k < PAX_KEYS) {
            e->value[k] = value;
        } else if (ts_starts(key, ts_schily)) {
            e->schily = 1;
        }
    }
    if (map_values) {
        e->value[PAX_MAP].p = e->map.p;
        e->value[PAX_MAP].n = e->map.n;
    }
    return TS_OK;
}

static inline void ts_ext_clear(ts_ext *e) {
    e->data.n = e->map.n = e->path.n = e->link.n = 0;
    e->schily = 0;
    memset(e->value, 0, sizeof e->value);
}

static inline void ts_ext_free(ts_ext *e) {
    ts_buf_free(&e->data);
    ts_buf_free(&e->map);
    ts_buf_free(&e->path);
    ts_buf_free(&e->link);
}

/* Types that never have data, whatever their size field says. */
static inline int ts_header_only(uint8_t type) { return type >= '1' && type <= '6'; }

static inline int ts_pax_number(ts_str value, int64_t *out) {
    return value.n ? ts_decimal(value.p, value.n, out) : 0;
}

static inline void ts_pax_text(ts_str value, ts_str *out) {
    if (value.n) *out = value;
}

/* Applies the PAX records that override header fields. */
static inline int ts_member_pax(ts_member *m, const ts_ext *e) {
    const ts_str *v = e->value;
    int64_t seconds;
    uint32_t nanos;
    if (v[PAX_PATH].n) m->prefix.n = 0;
    ts_pax_text(v[PAX_PATH], &m->path);
    ts_pax_text(v[PAX_LINKPATH], &m->link);
    ts_pax_text(v[PAX_UNAME], &m->uname);
    ts_pax_text(v[PAX_GNAME], &m->gname);
    if (ts_pax_number(v[PAX_SIZE], &m->size) || ts_pax_number(v[PAX_UID], &m->uid) ||
        ts_pax_number(v[PAX_GID], &m->gid))
        return TS_BAD;
    if (v[PAX_MTIME].n && ts_time(v[PAX_MTIME].p, v[PAX_MTIME].n, &m->mtime, &m->mtime_ns)) return TS_BAD;
    for (int k = PAX_ATIME; k <= PAX_CTIME; k++) /* not kept, but a bad one is an invalid header to Go */
        if (v[k].n && ts_time(v[k].p, v[k].n, &seconds, &nanos)) return TS_BAD;
    return TS_OK;
}

static inline int ts_is_digit(ts_str s, char digit) { return s.n == 1 && s.p[0] == (uint8_t)digit; }

/* Which sparse format the records name; those before 0.1 had no version. */
static inline int ts_pax_sparse(const ts_ext *e) {
    ts_str major = e->value[PAX_MAJOR], minor = e->value[PAX_MINOR];
    if (ts_is_digit(major, '0') && (ts_is_digit(minor, '0') || ts_is_digit(minor, '1'))) return SPARSE_RECORDS;
    if (ts_is_digit(major, '1') && ts_is_digit(minor, '0')) return SPARSE_DATA;
    if (major.n || minor.n) return SPARSE_NONE;
    return e->value[PAX_MAP].n ? SPARSE_RECORDS : SPARSE_NONE;
}

/* Finds the sparse format, and the real size and name that go with it. */
static inline int ts_member_sparse(ts_member *m, const ts_header *h, const uint8_t *block, const ts_ext *e) {
    m->sparse = h->type == 'S' ? SPARSE_HEADER : ts_pax_sparse(e);
    if (m->sparse == SPARSE_NONE) return TS_OK;
    if (ts_header_only(m->kind)) return TS_BAD;
    if (m->sparse == SPARSE_HEADER) return h->format == TS_GNU && !ts_number(block + 483, 12, &m->size) ? TS_OK : TS_BAD;
    if (e->value[PAX_NAME].n) {
        m->path = e->value[PAX_NAME];
        m->prefix.n = 0;
    }
    int size = e->value[PAX_SPARSESIZE].n ? PAX_SPARSESIZE : PAX_REALSIZE;
    return ts_pax_number(e->value[size], &m->size) ? TS_BAD : TS_OK;
}

/* Old typeflags, brought to those of today: NUL is a file (or a directory, by its name), 7 and S are files. */
static inline uint8_t ts_kind(uint8_t type, ts_str path) {
    if (type == 0) return path.n && path.p[path.n - 1] == '/' ? '5' : '0';
    return type == '7' || type == 'S' ? '0' : type;
}

/* The member that a header announces. */
static inline int ts_member_make(ts_member *m, const ts_header *h, const uint8_t *block, const ts_ext *e) {
    if (h->size < 0 && !ts_header_only(h->type)) return TS_BAD;
    m->mode = h->mode, m->uid = h->uid, m->gid = h->gid, m->mtime = h->mtime;
    m->size = h->size < 0 ? 0 : h->size; /* of a link: what has no data says what it likes */
    m->devmajor = h->devmajor, m->devminor = h->devminor, m->mtime_ns = 0;
    m->prefix = h->prefix, m->path = h->name, m->link = h->link, m->uname = h->uname, m->gname = h->gname;
    if (ts_member_pax(m, e)) return TS_BAD;
    if (e->path.n) {
        m->path.p = e->path.p, m->path.n = e->path.n;
        m->prefix.n = 0;
    }
    if (e->link.n) m->link.p = e->link.p, m->link.n = e->link.n;
    ts_str named = m->path.n || !m->prefix.n ? m->path : (ts_str)TS_KEY("/");
    m->kind = ts_kind(h->type, named);
    m->stored = ts_header_only(m->kind) ? 0 : m->size;
    if (m->stored < 0) return TS_BAD;
    return ts_member_sparse(m, h, block, e);
}

static inline int ts_sparse_add(ts_buf *sparse, int64_t offset, int64_t length) {
    if (sparse->n / 16 >= TS_MAX_SPARSE) return TS_BAD;
    return ts_buf_add_i64(sparse, offset) || ts_buf_add_i64(sparse, length) ? TS_NOMEM : TS_OK;
}

/* The pieces are in order, do not overlap, and lie within the real size. */
static inline int ts_sparse_check(const ts_buf *sparse, int64_t size) {
    int64_t before = 0;
    if (size < 0) return TS_BAD;
    for (size_t i = 0; i < sparse->n / 16; i++) {
        int64_t offset = ts_buf_i64(sparse, 2 * i), length = ts_buf_i64(sparse, 2 * i + 1);
        if (offset < before || length < 0 || offset > size || length > size - offset) return TS_BAD;
        before = offset + length;
    }
    return TS_OK;
}

/* An old GNU map of `room` pairs of 12-byte numbers; *more is set if another block continues it. */
static inline int ts_sparse_pairs(ts_buf *sparse, const uint8_t *p, int room, int *more) {
    *more = p[24 * room] != 0;
    for (int i = 0; i < room && p[24 * i]; i++) {
        int64_t offset, length;
        int r;
        if (ts_number(p + 24 * i, 12, &offset) || ts_number(p + 24 * i + 12, 12, &length)) return TS_BAD;
        if ((r = ts_sparse_add(sparse, offset, length))) return r;
    }
    return TS_OK;
}

/* The number at *at up to the next comma or the end; moves *at behind the comma, or to NULL at the end. */
static inline int ts_sparse_number(const uint8_t **at, const uint8_t *end, int64_t *out) {
    const uint8_t *p = *at, *comma;
    if (!p) return TS_BAD;
    comma = p < end ? (const uint8_t *)memchr(p, ',', (size_t)(end - p)) : NULL;
    if (ts_decimal(p, (size_t)((comma ? comma : end) - p), out)) return TS_BAD;
    *at = comma ? comma + 1 : NULL;
    return TS_OK;
}

/* The map of sparse 0.0 and 0.1: "offset,length,offset,length", as many pairs as another record says. */
static inline int ts_sparse_records(ts_buf *sparse, const ts_ext *e) {
    ts_str blocks = e->value[PAX_NUMBLOCKS], map = e->value[PAX_MAP];
    const uint8_t *at = map.n ? map.p : NULL, *end = map.p + map.n;
    int64_t pairs;
    if (ts_decimal(blocks.p, blocks.n, &pairs) || pairs < 0) return TS_BAD;
    for (; at && pairs; pairs--) {
        int64_t offset, length;
        int r;
        if (ts_sparse_number(&at, end, &offset) || ts_sparse_number(&at, end, &length)) return TS_BAD;
        if ((r = ts_sparse_add(sparse, offset, length))) return r;
    }
    return at || pairs ? TS_BAD : TS_OK;
}

/* A number of a 1.0 map is complete: the first says how many pairs follow. */
static inline int ts_map_number(ts_map *m, ts_buf *sparse) {
    int64_t x = m->sign < 0 ? -m->value : m->value;
    if (!m->digits) return TS_BAD;
    m->value = m->digits = m->sign = 0;
    if (m->wanted < 0) {
        if (x < 0 || x > TS_MAX_SPARSE) return TS_BAD;
        m->wanted = 2 * x;
        return TS_OK;
    }
    m->numbers++;
    return ts_buf_add_i64(sparse, x) ? TS_NOMEM : TS_OK;
}

/* Reads a block of a 1.0 map, decimal numbers each on a line; it is complete when numbers == wanted. */
static inline int ts_map_block(ts_map *m, ts_buf *sparse, const uint8_t *p) {
    m->bytes += TS_BLOCK;
    if (m->bytes > TS_MAX_EXTENSION) return TS_BAD;
    for (int i = 0; i < TS_BLOCK && (m->wanted < 0 || m->numbers < (size_t)m->wanted); i++) {
        unsigned digit = (unsigned)(p[i] - '0');
        int r;
        if (p[i] == '\n') {
            if ((r = ts_map_number(m, sparse))) return r;
        } else if (digit <= 9) {
            if (m->value > (INT64_MAX - (int64_t)digit) / 10) return TS_BAD;
            m->value = m->value * 10 + digit;
            m->digits = 1;
        } else if ((p[i] == '+' || p[i] == '-') && !m->digits && !m->sign) {
            m->sign = p[i] == '-' ? -1 : 1;
        } else {
            return TS_BAD;
        }
    }
    return TS_OK;
}

#endif
