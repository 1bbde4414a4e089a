/* Kernels of the chunk index; src/lamina/store/INDEX.md describes the table that lies on disk.
 *
 * Both tables place an id by h = (its first 8 bytes, little-endian) * (a secret odd multiplier), mod 2^64: ids are hashes already,
 * but whoever chooses contents can grind a common prefix of 20 or 30 bits, and a run of such ids would make probing quadratic.
 * Multiplication by an odd number is a bijection, so h is equal exactly when those 8 bytes are.
 */
#ifndef LAMINA_CHUNKINDEX_H
#define LAMINA_CHUNKINDEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LCI_NONE 0xFFFFFFFFu
#define LCI_ID 32
#define LCI_SLOT 24
#define LCI_GROUP 32 /* rows in flight at once: enough prefetches to cover a memory latency of 100 ns */

static inline uint64_t lci_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint32_t lci_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline void lci_put32(uint8_t *p, uint32_t v)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, 4);
}

static inline int lci_same(const uint8_t *a, const uint8_t *b)
{
    uint64_t x[4], y[4];
    memcpy(x, a, LCI_ID);
    memcpy(y, b, LCI_ID);
    return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

/* ---------------------------------------------------------------------------------------------- id columns of packs */

typedef struct {
    const uint8_t *ids; /* NULL: not registered */
    uint64_t count;
} lci_column;

#define LCI_PAGE_BITS 12 /* pack numbers are dense and never reused: pages of 4096 columns, 64 KiB each */

typedef struct {
    lci_column **pages;
    uint32_t npages;
} lci_columns;

static inline lci_column *lci_column_of(const lci_columns *c, uint32_t pack)
{
    uint32_t page = pack >> LCI_PAGE_BITS;
    if (page >= c->npages || !c->pages[page])
        return NULL;
    return c->pages[page] + (pack & ((1u << LCI_PAGE_BITS) - 1));
}

/* 0, or -1 when memory is out. */
static int lci_columns_put(lci_columns *c, uint32_t pack, const uint8_t *ids, uint64_t count)
{
    uint32_t page = pack >> LCI_PAGE_BITS;
    lci_column *column;
    if (page >= c->npages) {
        lci_column **pages = realloc(c->pages, ((size_t)page + 1) * sizeof *pages);
        if (!pages)
            return -1;
        memset(pages + c->npages, 0, (page + 1 - c->npages) * sizeof *pages);
        c->pages = pages;
        c->npages = page + 1;
    }
    if (!c->pages[page] && !(c->pages[page] = calloc((size_t)1 << LCI_PAGE_BITS, sizeof(lci_column))))
        return -1;
    column = lci_column_of(c, pack);
    column->ids = ids;
    column->count = count;
    return 0;
}

static void lci_columns_free(lci_columns *c)
{
    uint32_t page;
    for (page = 0; page < c->npages; page++)
        free(c->pages[page]);
    free(c->pages);
    c->pages = NULL;
    c->npages = 0;
}

/* ------------------------------------------------------------------------------------------------- the table on disk */

typedef struct {
    const uint8_t *slots;
    uint64_t nslots, homes, multiplier;
    uint32_t reach; /* no slot lies further behind its home than this */
    const uint32_t *pack_map;
    uint32_t npacks;
} lci_table;

/* Homes rise with h: a run of slots is sorted by h, so that a miss ends at the first larger one (about 2.5 slots seen instead of 8.5
 * at 75 % load), and no division is needed for a table of any size. */
static inline uint64_t lci_home(uint64_t h, uint64_t homes)
{
    return (uint64_t)(((unsigned __int128)h * homes) >> 64);
}

/* Puts the ids of one pack row into the table; an id that the same row has already is left out. Raises *reach as needed.
 * Returns how many were put, or -1 when a run reaches the end of the table: build it again with another multiplier. */
static int64_t lci_fill(uint8_t *slots, uint64_t nslots, uint64_t homes, uint64_t multiplier, uint32_t row,
                        const uint8_t *ids, uint64_t n, uint32_t *reach)
{
    uint64_t i, put = 0;
    for (i = 0; i < n; i++) {
        const uint8_t *id = ids + i * LCI_ID;
        uint64_t h = lci_le64(id) * multiplier, home = lci_home(h, homes), at, end;
        uint8_t *slot;
        int repeat = 0;
        if (i + LCI_GROUP < n) {
            const uint8_t *ahead = slots + lci_home(lci_le64(id + LCI_GROUP * LCI_ID) * multiplier, homes) * LCI_SLOT;
            __builtin_prefetch(ahead, 1);
            __builtin_prefetch(ahead + 64, 1);
        }
        for (at = home; at < nslots; at++) {
            uint32_t tenant;
            uint64_t other;
            slot = slots + at * LCI_SLOT;
            tenant = lci_le32(slot + 16);
            other = lci_le64(slot) * multiplier;
            if (!tenant || other > h)
                break;
            if (other == h && tenant == row + 1) {
                uint32_t ordinal = lci_le32(slot + 20);
                if (ordinal < i && lci_same(ids + (uint64_t)ordinal * LCI_ID, id)) {
                    repeat = 1;
                    break;
                }
            }
        }
        if (repeat)
            continue;
        for (end = at; end < nslots && lci_le32(slots + end * LCI_SLOT + 16); end++)
            ;
        if (end >= nslots || end - home > LCI_NONE)
            return -1;
        slot = slots + at * LCI_SLOT;
        memmove(slot + LCI_SLOT, slot, (end - at) * LCI_SLOT);
        memcpy(slot, id, 16);
        lci_put32(slot + 16, row + 1);
        lci_put32(slot + 20, (uint32_t)i);
        /* Every slot that moved has a home at or behind this one: end - home bounds them all. */
        if (end - home > *reach)
            *reach = (uint32_t)(end - home);
        put++;
    }
    return (int64_t)put;
}

typedef struct {
    const uint8_t *id, *stored; /* the id asked for; the id of the candidate in its pack's column */
    uint64_t h, home, step, row;
    uint32_t pack, ordinal;
} lci_probe;

enum { LCI_MISS, LCI_CANDIDATE, LCI_UNMAPPED };

/* Goes on to the next slot with the prefix of the id whose pack is live. Slots may hold anything (a flipped bit, a hostile file):
 * row and ordinal are checked, and the steps are bounded. */
static inline int lci_next(const lci_table *t, const lci_columns *c, lci_probe *p)
{
    while (p->step <= t->reach && p->home + p->step < t->nslots) {
        const uint8_t *slot = t->slots + (p->home + p->step) * LCI_SLOT;
        uint32_t tenant = lci_le32(slot + 16);
        uint64_t h = lci_le64(slot) * t->multiplier;
        if (!tenant || h > p->h)
            return LCI_MISS;
        p->step++;
        if (h == p->h && lci_le64(slot + 8) == lci_le64(p->id + 8) && tenant <= t->npacks) {
            const lci_column *column;
            p->pack = t->pack_map[tenant - 1];
            if (p->pack == LCI_NONE)
                continue;
            column = lci_column_of(c, p->pack);
            if (!column || !column->ids)
                return LCI_UNMAPPED;
            p->ordinal = lci_le32(slot + 20);
            if (p->ordinal < column->count) {
                p->stored = column->ids + (uint64_t)p->ordinal * LCI_ID;
                return LCI_CANDIDATE;
            }
        }
    }
    return LCI_MISS;
}

/* Looks up the rows whose packs[row] is NONE. A row that needs the column of a pack which is not registered gets that pack in
 * unmapped[row] (all other looked-up rows get NONE). Returns the number of such rows. */
static uint64_t lci_lookup(const lci_table *t, const lci_columns *c, const uint8_t *ids, uint64_t n,
                           uint32_t *packs, uint32_t *ordinals, uint32_t *unmapped)
{
    uint64_t row = 0, missing = 0;
    while (row < n) {
        lci_probe group[LCI_GROUP];
        int found[LCI_GROUP], size = 0, k;
        /* Three rounds over a group, each prefetching for the next: slots, then the ids that confirm them. */
        for (; row < n && size < LCI_GROUP; row++) {
            lci_probe *p = group + size;
            const uint8_t *slot;
            unmapped[row] = LCI_NONE;
            if (packs[row] != LCI_NONE)
                continue;
            p->row = row;
            p->id = ids + row * LCI_ID;
            p->h = lci_le64(p->id) * t->multiplier;
            p->home = lci_home(p->h, t->homes);
            p->step = 0;
            slot = t->slots + p->home * LCI_SLOT;
            __builtin_prefetch(slot);
            __builtin_prefetch(slot + 64);
            size++;
        }
        for (k = 0; k < size; k++) {
            found[k] = lci_next(t, c, group + k);
            if (found[k] == LCI_CANDIDATE)
                __builtin_prefetch(group[k].stored);
        }
        for (k = 0; k < size; k++) {
            lci_probe *p = group + k;
            while (found[k] == LCI_CANDIDATE && !lci_same(p->stored, p->id))
                found[k] = lci_next(t, c, p);
            if (found[k] == LCI_CANDIDATE) {
                packs[p->row] = p->pack;
                ordinals[p->row] = p->ordinal;
            } else if (found[k] == LCI_UNMAPPED) {
                unmapped[p->row] = p->pack;
                missing++;
            }
        }
    }
    return missing;
}

/* --------------------------------------------------------------------------------------------- the delta, in memory */

typedef struct {
    uint8_t id[LCI_ID];
    uint32_t pack, ordinal; /* pack NONE: dropped */
} lci_entry;

typedef struct {
    uint32_t tag, entry; /* entry + 1; 0: empty */
} lci_cell;

typedef struct {
    lci_cell *cells;
    uint32_t used, bits; /* 2^bits cells, at most 3/4 used */
} lci_shard;

#define LCI_BLOCK_BITS 12 /* 160 KiB: entries never move when the table grows */
#define LCI_SHARD_BITS 10 /* a shard grows alone: at 10^8 entries that moves 8 * 10^4 cells, one millisecond */
#define LCI_FIRST_BITS 4

typedef struct {
    lci_entry **blocks;
    uint32_t nblocks, room; /* blocks there are; pointers there is room for */
    uint32_t entries, dead;
    uint64_t multiplier;
    lci_shard shards[1 << LCI_SHARD_BITS];
} lci_delta;

static inline lci_entry *lci_entry_at(const lci_delta *d, uint32_t i)
{
    return d->blocks[i >> LCI_BLOCK_BITS] + (i & ((1u << LCI_BLOCK_BITS) - 1));
}

static inline const lci_shard *lci_shard_of(const lci_delta *d, uint64_t h)
{
    return d->shards + (h >> (64 - LCI_SHARD_BITS));
}

/* The 32 bits of h below those that choose the shard; their top chooses the cell, so that growing needs no look at the entries. */
static inline uint32_t lci_tag(uint64_t h)
{
    return (uint32_t)(h >> (32 - LCI_SHARD_BITS));
}

static void lci_shard_put(lci_shard *s, uint32_t tag, uint32_t entry)
{
    uint32_t mask = (1u << s->bits) - 1, at = tag >> (32 - s->bits);
    while (s->cells[at].entry)
        at = (at + 1) & mask;
    s->cells[at].tag = tag;
    s->cells[at].entry = entry;
    s->used++;
}

/* Makes room for one more cell; 0, or -1 when memory is out. */
static int lci_shard_grow(lci_shard *s)
{
    lci_shard next = {NULL, 0, s->cells ? s->bits + 1 : LCI_FIRST_BITS};
    uint64_t i, cells = s->cells ? (uint64_t)1 << s->bits : 0;
    if (s->used < cells / 4 * 3)
        return 0;
    if (next.bits > 31 || !(next.cells = calloc((size_t)1 << next.bits, sizeof(lci_cell))))
        return -1;
    for (i = 0; i < cells; i++)
        if (s->cells[i].entry)
            lci_shard_put(&next, s->cells[i].tag, s->cells[i].entry);
    free(s->cells);
    *s = next;
    return 0;
}

/* Makes room for one more entry; 0, or -1 when memory is out. */
static int lci_delta_grow(lci_delta *d)
{
    if (d->entries >> LCI_BLOCK_BITS < d->nblocks)
        return 0;
    if (d->entries >= LCI_NONE - (1u << LCI_BLOCK_BITS))
        return -1;
    if (d->nblocks == d->room) {
        uint32_t room = d->room ? 2 * d->room : 64;
        lci_entry **blocks = realloc(d->blocks, room * sizeof *blocks);
        if (!blocks)
            return -1;
        d->blocks = blocks;
        d->room = room;
    }
    if (!(d->blocks[d->nblocks] = malloc(sizeof(lci_entry) << LCI_BLOCK_BITS)))
        return -1;
    d->nblocks++;
    return 0;
}

static inline void lci_prefetch_cell(const lci_delta *d, const uint8_t *id)
{
    uint64_t h = lci_le64(id) * d->multiplier;
    const lci_shard *s = lci_shard_of(d, h);
    if (s->cells)
        __builtin_prefetch(s->cells + (lci_tag(h) >> (32 - s->bits)));
}

/* The first live entry of that id; of that pack only, unless pack is NONE. NULL: none. */
static inline const lci_entry *lci_delta_find(const lci_delta *d, const uint8_t *id, uint64_t h, uint32_t pack)
{
    const lci_shard *s = lci_shard_of(d, h);
    uint32_t tag = lci_tag(h), mask, at;
    if (!s->cells)
        return NULL;
    mask = (1u << s->bits) - 1;
    for (at = tag >> (32 - s->bits); s->cells[at].entry; at = (at + 1) & mask) {
        const lci_entry *e;
        if (s->cells[at].tag != tag)
            continue;
        e = lci_entry_at(d, s->cells[at].entry - 1);
        if (e->pack != LCI_NONE && (pack == LCI_NONE || e->pack == pack) && lci_same(e->id, id))
            return e;
    }
    return NULL;
}

static void lci_delta_lookup(const lci_delta *d, const uint8_t *ids, uint64_t n, uint32_t *packs, uint32_t *ordinals)
{
    uint64_t i;
    for (i = 0; i < n; i++) {
        const uint8_t *id = ids + i * LCI_ID;
        const lci_entry *e;
        if (i + LCI_GROUP < n)
            lci_prefetch_cell(d, id + LCI_GROUP * LCI_ID);
        if (packs[i] != LCI_NONE)
            continue;
        e = lci_delta_find(d, id, lci_le64(id) * d->multiplier, LCI_NONE);
        if (e) {
            packs[i] = e->pack;
            ordinals[i] = e->ordinal;
        }
    }
}

/* 0, or -1 when memory is out (what was put before stays). */
static int lci_delta_insert(lci_delta *d, const uint8_t *ids, uint64_t n, uint32_t pack, uint32_t first)
{
    uint64_t i;
    for (i = 0; i < n; i++) {
        const uint8_t *id = ids + i * LCI_ID;
        uint64_t h = lci_le64(id) * d->multiplier;
        lci_shard *s = (lci_shard *)lci_shard_of(d, h);
        lci_entry *e;
        if (i + LCI_GROUP < n)
            lci_prefetch_cell(d, id + LCI_GROUP * LCI_ID);
        if (lci_delta_find(d, id, h, pack))
            continue;
        if (lci_delta_grow(d) || lci_shard_grow(s))
            return -1;
        e = lci_entry_at(d, d->entries);
        memcpy(e->id, id, LCI_ID);
        e->pack = pack;
        e->ordinal = first + (uint32_t)i;
        lci_shard_put(s, lci_tag(h), ++d->entries);
    }
    return 0;
}

static void lci_delta_free_shards(lci_delta *d)
{
    uint32_t i;
    for (i = 0; i < 1u << LCI_SHARD_BITS; i++)
        free(d->shards[i].cells);
    memset(d->shards, 0, sizeof d->shards);
}

static void lci_delta_clear(lci_delta *d)
{
    uint32_t i;
    for (i = 0; i < d->nblocks; i++)
        free(d->blocks[i]);
    free(d->blocks);
    lci_delta_free_shards(d);
    d->blocks = NULL;
    d->nblocks = d->room = d->entries = d->dead = 0;
}

/* Moves the live entries together and gives back the blocks behind them; 0, or -1 when memory is out. */
static int lci_delta_compact(lci_delta *d)
{
    uint32_t from, entries = d->entries, keep;
    lci_delta_free_shards(d);
    d->entries = d->dead = 0;
    for (from = 0; from < entries; from++) {
        const lci_entry *e = lci_entry_at(d, from);
        uint64_t h = lci_le64(e->id) * d->multiplier;
        lci_shard *s = (lci_shard *)lci_shard_of(d, h);
        if (e->pack == LCI_NONE)
            continue;
        if (lci_shard_grow(s))
            return -1;
        *lci_entry_at(d, d->entries) = *e;
        lci_shard_put(s, lci_tag(h), ++d->entries);
    }
    for (keep = (d->entries + (1u << LCI_BLOCK_BITS) - 1) >> LCI_BLOCK_BITS; d->nblocks > keep;)
        free(d->blocks[--d->nblocks]);
    return 0;
}

static int lci_ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Entries of the given packs (ascending) match no more; 0, or -1 when memory is out. */
static int lci_delta_drop(lci_delta *d, const uint32_t *packs, uint64_t n)
{
    uint32_t i, last = LCI_NONE, gone = 0;
    for (i = 0; i < d->entries; i++) {
        lci_entry *e = lci_entry_at(d, i);
        if (e->pack == LCI_NONE)
            continue;
        if (e->pack != last) { /* entries of a pack come one after the other: one search for thousands */
            last = e->pack;
            gone = bsearch(&last, packs, n, sizeof *packs, lci_ascending) != NULL;
        }
        if (gone) {
            e->pack = LCI_NONE;
            d->dead++;
        }
    }
    return d->dead > d->entries / 2 ? lci_delta_compact(d) : 0;
}

static uint64_t lci_delta_bytes(const lci_delta *d)
{
    uint64_t bytes = sizeof *d + d->room * sizeof *d->blocks + ((uint64_t)d->nblocks * sizeof(lci_entry) << LCI_BLOCK_BITS);
    uint32_t i;
    for (i = 0; i < 1u << LCI_SHARD_BITS; i++)
        if (d->shards[i].cells)
            bytes += sizeof(lci_cell) << d->shards[i].bits;
    return bytes;
}

/* first[i]: NONE where packs[i] is known, else the first unknown row with the same id (i itself: new in this batch).
 * Returns the number of new rows, or -1 when memory is out. */
static int64_t lci_repeats(const uint8_t *ids, uint64_t n, const uint32_t *packs, uint64_t multiplier, uint32_t *first)
{
    uint32_t bits = 4, *cells, mask;
    uint64_t i;
    int64_t fresh = 0;
    while ((uint64_t)1 << bits < 2 * n)
        bits++;
    if (bits > 31 || !(cells = calloc((size_t)1 << bits, sizeof *cells)))
        return -1;
    mask = (1u << bits) - 1;
    for (i = 0; i < n; i++) {
        const uint8_t *id = ids + i * LCI_ID;
        uint32_t at = (uint32_t)((lci_le64(id) * multiplier) >> (64 - bits));
        if (packs[i] != LCI_NONE) {
            first[i] = LCI_NONE;
            continue;
        }
        while (cells[at] && !lci_same(ids + (uint64_t)(cells[at] - 1) * LCI_ID, id))
            at = (at + 1) & mask;
        if (!cells[at]) {
            cells[at] = (uint32_t)i + 1;
            fresh++;
        }
        first[i] = cells[at] - 1;
    }
    free(cells);
    return fresh;
}

#endif
