"""Tar scanner: a push parser that tells file content from everything else, and lists the members.

What it is for, its guarantees and its formats stand in tarscan.pyi. The bytes of fields and extensions are read by
tarscan_fields.h and tarscan_member.h; here is the walk over the stream. It touches headers, extension data and sparse
maps only: content and padding are passed by arithmetic.
"""

from collections import namedtuple

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset


cdef extern from "tarscan_member.h" nogil:
    enum:
        TS_OK, TS_NOMEM, TS_BLOCK, TS_MAX_EXTENSION
        SPARSE_NONE, SPARSE_HEADER, SPARSE_RECORDS, SPARSE_DATA

    uint8_t* ts_buf_room(ts_buf* b, size_t more)
    int ts_buf_add(ts_buf* b, const void* p, size_t n)
    int ts_buf_add_u32(ts_buf* b, uint32_t x)
    void ts_buf_free(ts_buf* b)
    int ts_is_zero(const uint8_t* p, size_t n)
    void ts_prefetch(const uint8_t* block)
    ts_str ts_text(const uint8_t* p, size_t n)
    int ts_header_parse(const uint8_t* block, ts_header* h)
    int ts_ext_parse(ts_ext* e)
    void ts_ext_clear(ts_ext* e)
    void ts_ext_free(ts_ext* e)
    int ts_member_make(ts_member* m, const ts_header* h, const uint8_t* block, const ts_ext* e)
    int ts_sparse_check(const ts_buf* sparse, int64_t size)
    int ts_sparse_pairs(ts_buf* sparse, const uint8_t* p, int room, int* more)
    int ts_sparse_records(ts_buf* sparse, const ts_ext* e)
    int ts_map_block(ts_map* m, ts_buf* sparse, const uint8_t* p)


cdef extern from "tarscan_xattr.h" nogil:
    int ts_xattrs(const ts_ext* e, ts_buf* out)


cdef enum:      # states; those up to MAP take whole blocks, the others runs of `left` bytes
    HEADER, PAIRS, MAP, EXTENSION, INLINE, CONTENT, PADDING, REST

cdef enum:      # whether the scanner takes bytes
    OPEN, CLOSED, BUSY

cdef enum:      # columns of variable length
    PATH, LINK, UNAME, GNAME, XATTRS, SPARSE, COLUMNS

cdef enum:
    OLD_GNU_MAP = 386               # the map in an old GNU sparse header: place, pairs, bytes
    OLD_GNU_PAIRS = 4
    OLD_GNU_BYTES = 97
    BLOCK_PAIRS = 21                # pairs in a block that continues it
    DUE_ENTRIES = 8192
    DUE_BYTES = 8 << 20
    FEED_LIMIT = 512 << 20          # texts of one feed stay below 2**32 bytes: a sparse map grows fourfold

MAX_FEED = FEED_LIMIT

Column = namedtuple("Column", ["starts", "data"], module=__name__)

EntryColumns = namedtuple(
    "EntryColumns",
    [
        "kind", "mode", "uid", "gid", "size", "stored", "offset", "header", "mtime", "mtime_ns", "devmajor",
        "devminor", "path", "link", "uname", "gname", "xattrs", "sparse",
    ],
    module=__name__,
)


cdef int _fits(int result) except -1 nogil:
    """1 for tar, 0 for what is not; no memory is an error."""
    if result == TS_NOMEM:
        with gil:
            raise MemoryError("tar scanner")
    return result == TS_OK


cdef class TarScanner:

    def __cinit__(self, object inline_limit=512, bint entries=True):
        if inline_limit < 0:
            raise ValueError("inline_limit must not be negative")
        self.inline_limit = min(inline_limit, INT64_MAX)
        self.keep = entries
        self.state = HEADER
        self.chain = -1

    def __dealloc__(self):
        cdef int i
        free(self.span_kind)
        free(self.span_len)
        free(self.rows)
        ts_ext_free(&self.ext)
        ts_buf_free(&self.sparse)
        for i in range(COLUMNS):
            ts_buf_free(&self.columns[i])

    # ------------------------------------------------------------------ Python face

    def feed(self, data):
        cdef Py_buffer view
        self._usable()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len > FEED_LIMIT:
                raise ValueError(f"feed at most {FEED_LIMIT} bytes at once")
            self.closed = BUSY      # no second thread while this one is without the GIL
            with nogil:
                self.scan(<const uint8_t*>view.buf, <size_t>view.len)
            self.closed = OPEN
        finally:
            PyBuffer_Release(&view)
        return self._spans()

    def finish(self):
        self._usable()
        self.end()
        return self._spans()

    def skip(self, int64_t n):
        self._usable()
        if n < 0 or self.pass_over(n):
            raise ValueError("skip is for content that is left")

    def take_entries(self):
        if self.closed == BUSY:
            self._usable()
        if not self.row_n:
            return None
        columns = self._fixed_columns()
        texts = [self._text_column(i) for i in range(COLUMNS)]
        self.row_n = 0
        return EntryColumns(*columns, *texts)

    @property
    def pending(self):
        return self.block_n

    @property
    def content_left(self):
        return self.content_left_c()

    @property
    def position(self):
        return self.place

    @property
    def entries_ready(self):
        return self.row_n

    @property
    def entries_due(self):
        cdef size_t held = 0
        cdef int i
        for i in range(COLUMNS):
            held += self.columns[i].n
        return self.row_n > DUE_ENTRIES or held > DUE_BYTES

    @property
    def entry_count(self):
        return self.count

    @property
    def file_bytes(self):
        return self.total

    @property
    def is_tar(self):
        return self.verdict == 1 or (self.verdict == 0 and self.blocks != 0)

    def _usable(self):
        if self.closed:
            raise ValueError("the scanner is finished, failed, or at work in another thread")

    def _spans(self):
        kinds = np.empty(self.span_n, np.uint8)
        lengths = np.empty(self.span_n, np.int64)
        cdef uint8_t[::1] to_kinds = kinds
        cdef int64_t[::1] to_lengths = lengths
        if self.span_n:
            memcpy(&to_kinds[0], self.span_kind, self.span_n)
            memcpy(&to_lengths[0], self.span_len, 8 * self.span_n)
        return kinds, lengths

    cdef list _fixed_columns(self):
        cdef size_t n = self.row_n, i
        cdef uint8_t[::1] kind = np.empty(n, np.uint8)
        cdef uint32_t[:, ::1] small = np.empty((4, n), np.uint32)
        cdef int64_t[:, ::1] large = np.empty((7, n), np.int64)
        cdef Row* r
        with nogil:
            for i in range(n):
                r = &self.rows[i]
                kind[i] = r.kind
                small[0, i], small[1, i], small[2, i], small[3, i] = r.mode, r.mtime_ns, r.devmajor, r.devminor
                large[0, i], large[1, i], large[2, i], large[3, i] = r.uid, r.gid, r.size, r.stored
                large[4, i], large[5, i], large[6, i] = r.offset, r.header, r.mtime
        narrow, wide = np.asarray(small), np.asarray(large)
        return [np.asarray(kind), narrow[0], *wide, *narrow[1:]]

    cdef object _text_column(self, int column):
        cdef size_t i
        cdef ts_buf* text = &self.columns[column]
        starts = np.empty(self.row_n + 1, np.uint32)
        cdef uint32_t[::1] to = starts
        to[0] = 0
        for i in range(self.row_n):
            to[i + 1] = self.rows[i].ends[column]
        data = PyBytes_FromStringAndSize(<char*>text.p, <Py_ssize_t>text.n)
        text.n = 0
        return Column(starts, data)

    # ------------------------------------------------------------------ the walk

    cdef int scan(self, const uint8_t* p, size_t n) except -1 nogil:
        cdef size_t used
        cdef const uint8_t* block
        self.span_n = 0
        self.carry_n = self.block_n
        memcpy(self.carry, self.block, self.block_n)
        while n:
            if self.state > MAP:
                used = self._take_run(p, n)
            else:
                block = p
                used = TS_BLOCK
                if self.block_n or n < TS_BLOCK:
                    used = min(n, TS_BLOCK - self.block_n)
                    memcpy(self.block + self.block_n, p, used)
                    self.block_n += used
                    if self.block_n < TS_BLOCK:
                        return 0
                    self.block_n = 0
                    block = self.block
                self._take_block(block)
                if self.left < n and self.left + self.pad + used + TS_BLOCK <= n:
                    ts_prefetch(p + used + self.left + self.pad)
            p += used
            n -= used
        return 0

    cdef int end(self) except -1 nogil:
        cdef size_t n = self.block_n
        self.span_n = 0
        self.carry_n = n
        memcpy(self.carry, self.block, n)
        self.closed = CLOSED
        self.block_n = 0
        if n:
            if not ts_is_zero(self.carry, n):
                self._run(REST, 0, 0)
            self._emit(SPAN_CONTENT | SPAN_ENDS if self.state == REST else 0, n)
        elif self.open:
            self._emit(SPAN_CONTENT | SPAN_ENDS, 0)
        return 0

    cdef int pass_over(self, int64_t n) noexcept nogil:
        if n == 0:
            return 0
        if self.state != CONTENT or <uint64_t>n > self.left or n > INT64_MAX - self.place:
            return 1
        self.place += n
        self.left -= <uint64_t>n
        if self.left == 0:
            self.open = 0
            self._run(PADDING, self.pad, 0)
        return 0

    cdef int64_t content_left_c(self) noexcept nogil:
        if self.state == REST:
            return -1
        return <int64_t>self.left if self.state == CONTENT else 0

    cdef int _take_block(self, const uint8_t* block) except -1 nogil:
        """Reads one block; what is not tar is content from this block on."""
        cdef int tar
        if self.state == HEADER:
            tar = self._header(block)
        elif self.state == PAIRS:
            tar = self._sparse_block(block)
        else:
            tar = self._map_block(block)
        self.blocks = 1
        if not tar:
            if not self.verdict:
                self.verdict = -1
            self._run(REST, 0, 0)
        return self._emit(0 if tar else SPAN_CONTENT, TS_BLOCK)

    cdef int64_t _take_run(self, const uint8_t* p, uint64_t n) except -1 nogil:
        """Covers up to n bytes of the present run, and returns how many."""
        cdef int ends
        if self.state == REST:
            self._emit(SPAN_CONTENT, n)
            return <int64_t>n
        n = min(n, self.left)
        ends = n == self.left
        if self.state == CONTENT:
            self._emit(SPAN_CONTENT | SPAN_ENDS if ends else SPAN_CONTENT, n)
        else:
            if self.state == EXTENSION:
                self._add_extension(p, n)
            self._emit(0, n)
        self.left -= n
        if ends:
            self._end_run()
        return <int64_t>n

    cdef int _end_run(self) except -1 nogil:
        """A run is complete: its padding comes next, then a header."""
        cdef int was = self.state
        self._run(PADDING, self.pad, 0)
        if was == EXTENSION and not self._extension_done():
            self._run(REST, 0, 0)
        return 0

    cdef void _run(self, int state, uint64_t left, uint64_t pad) noexcept nogil:
        """Goes on to a run of `left` bytes, or past it if there are none."""
        self.state = state
        self.left = left
        self.pad = pad
        if state < REST and left == 0:      # the padding of nothing is nothing
            self.state = HEADER

    cdef int _emit(self, uint8_t kind, uint64_t n) except -1 nogil:
        """Covers n bytes: part of the last span of this call if that is a segment, or content not yet ended."""
        cdef size_t last = self.span_n - 1
        cdef uint8_t before = self.span_kind[last] if self.span_n else SPAN_ENDS
        self.place += <int64_t>n
        if kind & SPAN_CONTENT:
            self.open = not kind & SPAN_ENDS
        if before == kind & SPAN_CONTENT:
            self.span_kind[last] = kind
            self.span_len[last] += <int64_t>n
            return 0
        if self.span_n == self.span_cap:
            self._grow_spans()
        self.span_kind[self.span_n] = kind
        self.span_len[self.span_n] = <int64_t>n
        self.span_n += 1
        return 0

    cdef int _grow_spans(self) except -1 nogil:
        cdef size_t cap = 2 * self.span_cap + 64
        cdef void* kinds = realloc(self.span_kind, cap)
        cdef void* lengths
        if kinds != NULL:
            self.span_kind = <uint8_t*>kinds
            lengths = realloc(self.span_len, cap * sizeof(int64_t))
            if lengths != NULL:
                self.span_len = <int64_t*>lengths
                self.span_cap = cap
                return 0
        return _fits(TS_NOMEM)

    # ------------------------------------------------------------------ headers: 1 if the block is tar, else 0

    cdef int _header(self, const uint8_t* block) except -1 nogil:
        cdef ts_header h
        if block[0] == 0 and ts_is_zero(block, TS_BLOCK):
            self.zeros = min(self.zeros + 1, 2)
            self._forget()
            return 1
        if self.zeros == 1 or ts_header_parse(block, &h) != TS_OK:
            return 0        # a lone zero block ends an archive, but nothing may follow it (as in Go)
        if h.type == c"x" or h.type == c"g" or h.type == c"L" or h.type == c"K":
            if not self._extension(&h):
                return 0
        elif not self._member(block, &h):
            return 0
        self.zeros = 0
        if not self.verdict:
            self.verdict = 1
        return 1

    cdef void _forget(self) noexcept nogil:
        """The extensions were for a member that came, or for none."""
        if self.chain >= 0:
            ts_ext_clear(&self.ext)
            self.chain = -1

    cdef int _extension(self, const ts_header* h) except -1 nogil:
        if h.size < 0 or h.size > TS_MAX_EXTENSION:
            return 0
        if self.chain < 0:
            self.chain = self.place
        self.extension = h.type
        self._extension_buf().n = 0
        self._run(EXTENSION, <uint64_t>h.size, -<uint64_t>h.size & (TS_BLOCK - 1))
        return 1 if h.size else self._extension_done()

    cdef ts_buf* _extension_buf(self) noexcept nogil:
        if self.extension == c"L":
            return &self.ext.path
        return &self.ext.link if self.extension == c"K" else &self.ext.data

    cdef int _add_extension(self, const uint8_t* p, uint64_t n) except -1 nogil:
        return _fits(ts_buf_add(self._extension_buf(), p, n))

    cdef int _extension_done(self) except -1 nogil:
        cdef ts_buf* text = self._extension_buf()
        cdef int tar = 1
        if text == &self.ext.data:
            tar = _fits(ts_ext_parse(&self.ext))
            if self.extension == c"g":      # as Go: never applied, and what came before it is lost
                self._forget()
        elif text.n:
            text.n = ts_text(text.p, text.n).n
        return tar

    cdef int _member(self, const uint8_t* block, const ts_header* h) except -1 nogil:
        cdef ts_member m
        cdef int more = 0
        if ts_member_make(&m, h, block, &self.ext) != TS_OK:
            return 0
        self.sparse.n = 0
        if m.sparse == SPARSE_NONE:
            return self._admit(&m, 0)
        memcpy(self.head, block, TS_BLOCK)
        memset(&self.map, 0, sizeof(ts_map))
        if m.sparse == SPARSE_DATA:
            self.map.wanted = -1
            self.state = MAP
            self.left = <uint64_t>m.stored
            return m.stored >= TS_BLOCK
        if m.sparse == SPARSE_RECORDS:
            return _fits(ts_sparse_records(&self.sparse, &self.ext)) and self._mapped()
        if not _fits(ts_sparse_pairs(&self.sparse, block + OLD_GNU_MAP, OLD_GNU_PAIRS, &more)):
            return 0
        self.map.bytes = OLD_GNU_BYTES
        if more:
            if self.chain < 0:
                self.chain = self.place
            self.state = PAIRS
            return 1
        return self._mapped()

    cdef int _sparse_block(self, const uint8_t* block) except -1 nogil:
        """A block that continues an old GNU map."""
        cdef int more = 0
        self.map.bytes += TS_BLOCK
        if self.map.bytes >= TS_MAX_EXTENSION:
            return 0
        if not _fits(ts_sparse_pairs(&self.sparse, block, BLOCK_PAIRS, &more)):
            return 0
        return 1 if more else self._mapped()

    cdef int _map_block(self, const uint8_t* block) except -1 nogil:
        """A block of a map of sparse 1.0, which is the head of the data."""
        if not _fits(ts_map_block(&self.map, &self.sparse, block)):
            return 0
        self.left -= TS_BLOCK
        if <int64_t>self.map.numbers == self.map.wanted:
            return self._mapped()
        if self.left < TS_BLOCK:
            self._run(REST, 0, 0)
        return 1

    cdef int _mapped(self) except -1 nogil:
        """The map of the member in `head` is complete."""
        cdef ts_header h
        cdef ts_member m
        ts_header_parse(self.head, &h)
        ts_member_make(&m, &h, self.head, &self.ext)
        if ts_sparse_check(&self.sparse, m.size) != TS_OK:
            return 0
        return self._admit(&m, <int64_t>self.map.bytes if m.sparse == SPARSE_DATA else 0)

    # ------------------------------------------------------------------ entries

    cdef int _admit(self, const ts_member* m, int64_t mapped) except -1 nogil:
        """Lists a member whose content begins after this block, and goes on to the content."""
        cdef int64_t stored = m.stored - mapped
        cdef uint64_t pad = -<uint64_t>m.stored & (TS_BLOCK - 1)
        if self.keep:
            self._row(m, self.place + TS_BLOCK, stored)
        self.count += 1
        if m.kind == c"0":
            self.total = self.total + m.size if m.size <= INT64_MAX - self.total else INT64_MAX
        self._forget()
        self._run(INLINE if <uint64_t>stored < self.inline_limit else CONTENT, <uint64_t>stored, pad)
        return 1

    cdef int _row(self, const ts_member* m, int64_t offset, int64_t stored) except -1 nogil:
        cdef int i
        cdef Row* r
        if m.prefix.n:
            self._add_text(PATH, m.prefix.p, m.prefix.n)
            self._add_text(PATH, <const uint8_t*>"/", 1)
        self._add_text(PATH, m.path.p, m.path.n)
        self._add_text(LINK, m.link.p, m.link.n)
        self._add_text(UNAME, m.uname.p, m.uname.n)
        self._add_text(GNAME, m.gname.p, m.gname.n)
        self._add_text(SPARSE, self.sparse.p, self.sparse.n)
        if self.ext.data.n:
            _fits(ts_xattrs(&self.ext, &self.columns[XATTRS]))
        if self.row_n == self.row_cap:
            self._grow_rows()
        r = &self.rows[self.row_n]
        r.kind = m.kind
        r.mode, r.devmajor, r.devminor = <uint32_t>m.mode, <uint32_t>m.devmajor, <uint32_t>m.devminor
        r.uid, r.gid, r.size, r.mtime, r.mtime_ns = m.uid, m.gid, m.size, m.mtime, m.mtime_ns
        r.offset, r.stored = offset, stored
        r.header = self.place if self.chain < 0 else self.chain
        for i in range(COLUMNS):
            if self.columns[i].n > UINT32_MAX:
                with gil:
                    raise OverflowError("take_entries was not called for 4 GiB of names")
            r.ends[i] = <uint32_t>self.columns[i].n
        self.row_n += 1
        return 0

    cdef int _add_text(self, int column, const uint8_t* p, size_t n) except -1 nogil:
        return _fits(ts_buf_add(&self.columns[column], p, n))

    cdef int _grow_rows(self) except -1 nogil:
        cdef size_t cap = self.row_cap + self.row_cap // 2 + 64
        cdef void* rows = realloc(self.rows, cap * sizeof(Row))
        if rows == NULL:
            return _fits(TS_NOMEM)
        self.rows = <Row*>rows
        self.row_cap = cap
        return 0


# ---------------------------------------------------------------------- names in entry blocks

cdef size_t _common(const uint8_t* a, size_t a_n, const uint8_t* b, size_t b_n) noexcept nogil:
    """Bytes that a and b begin with alike, at most 255."""
    cdef size_t limit = min(min(a_n, b_n), 255), i = 0
    while i < limit and a[i] == b[i]:
        i += 1
    return i


def front_code(const uint32_t[::1] starts, const uint8_t[::1] data):
    cdef size_t n = starts.shape[0] - 1, i, begin, end, was = 0, shared, size = data.shape[0]
    if starts.shape[0] < 1 or starts[0] != 0 or starts[n] != size:
        raise ValueError("starts must go from 0 to the length of data")
    cdef uint8_t[::1] prefix = np.empty(n, np.uint8)
    cdef uint8_t[::1] rest = np.empty(size, np.uint8)
    cdef size_t kept = 0
    for i in range(n):
        begin, end = starts[i], starts[i + 1]
        if end < begin or end > size:
            raise ValueError("starts must ascend")
        shared = _common(&data[was], begin - was, &data[begin], end - begin) if end > begin > was else 0
        prefix[i] = <uint8_t>shared
        if end - begin > shared:
            memcpy(&rest[kept], &data[begin + shared], end - begin - shared)
        kept += end - begin - shared
        was = begin
    return np.asarray(prefix), np.asarray(rest)[:kept].tobytes()


cdef int64_t _front_size(const uint8_t[::1] prefix, const uint32_t[::1] lengths, size_t size) noexcept nogil:
    """Bytes of the whole names, or -1 if prefixes, lengths and the rest's size do not go together."""
    cdef uint64_t total = 0, rest = 0, before = 0
    cdef Py_ssize_t i
    if prefix.shape[0] != lengths.shape[0]:
        return -1
    for i in range(prefix.shape[0]):
        if prefix[i] > before:
            return -1
        before = <uint64_t>prefix[i] + lengths[i]
        total += before
        rest += lengths[i]
        if rest > size or total > UINT32_MAX:
            return -1
    return <int64_t>total if rest == size else -1


def front_decode(const uint8_t[::1] prefix, const uint32_t[::1] lengths, const uint8_t[::1] rest):
    cdef int64_t size = _front_size(prefix, lengths, rest.shape[0])
    cdef Py_ssize_t i
    cdef size_t at = 0, was = 0, used = 0
    if size < 0:
        return None
    starts = np.zeros(prefix.shape[0] + 1, np.uint32)
    cdef uint32_t[::1] to = starts
    data = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* out = <uint8_t*><char*>data
    for i in range(prefix.shape[0]):
        memcpy(out + at, out + was, prefix[i])
        was = at
        at += prefix[i]
        if lengths[i]:
            memcpy(out + at, &rest[used], lengths[i])
        at += lengths[i]
        used += lengths[i]
        to[i + 1] = <uint32_t>at
    return Column(starts, data)
