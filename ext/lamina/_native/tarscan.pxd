"""C-level face of the tar scanner, for kernels that walk spans without Python objects."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "tarscan_member.h" nogil:
    ctypedef struct ts_buf:
        uint8_t* p
        size_t n, cap

    ctypedef struct ts_str:
        const uint8_t* p
        size_t n

    ctypedef struct ts_ext:
        ts_buf data, map, path, link
        int schily

    ctypedef struct ts_map:
        int64_t wanted
        size_t numbers, bytes

    ctypedef struct ts_header:
        uint8_t type
        int64_t size

    ctypedef struct ts_member:
        uint8_t kind
        int sparse
        int64_t mode, uid, gid, size, stored, mtime, devmajor, devminor
        uint32_t mtime_ns
        ts_str prefix, path, link, uname, gname


cdef enum:
    SPAN_CONTENT = 1    # bit 0 of a span's kind: file content, or what is not tar; else segment
    SPAN_ENDS = 2       # bit 1: the content ends with this span


cdef struct Row:        # one entry; the texts are in the columns, up to these ends
    int64_t uid, gid, size, stored, offset, header, mtime
    uint32_t mode, mtime_ns, devmajor, devminor
    uint32_t ends[6]
    uint8_t kind


cdef class TarScanner:
    # Spans of the last scan() or end(): they cover carry[:carry_n], then the bytes passed to scan(), but for the
    # last `pending` of them, which the next call covers. Valid until the next call.
    cdef uint8_t* span_kind
    cdef int64_t* span_len
    cdef size_t span_n
    cdef uint8_t carry[512]
    cdef size_t carry_n

    cdef size_t span_cap
    cdef uint8_t block[512]     # a block that is not complete yet
    cdef size_t block_n
    cdef uint8_t head[512]      # the header of a sparse member whose map is being read
    cdef int state
    cdef uint64_t left          # bytes left of the run that the state is in
    cdef uint64_t pad           # padding behind it
    cdef uint64_t inline_limit
    cdef int extension          # typeflag of the extension being read
    cdef int zeros              # zero blocks in a row, up to 2
    cdef int open               # content was returned whose end was not
    cdef int verdict            # 0: no header seen; 1: the first was valid; -1: it was not
    cdef int blocks             # a complete block was seen
    cdef int closed
    cdef int64_t place          # stream offset behind the last span
    cdef int64_t chain          # stream offset of the first header of the coming member, or -1
    cdef ts_ext ext
    cdef ts_map map
    cdef ts_buf sparse
    cdef int keep
    cdef Row* rows
    cdef size_t row_n, row_cap
    cdef ts_buf columns[6]
    cdef int64_t count, total

    # Feeds n bytes (any number) and fills the spans. Raises MemoryError, or OverflowError if entries are not taken.
    cdef int scan(self, const uint8_t* p, size_t n) except -1 nogil
    # The stream is over: fills the spans of what is pending, and ends a content that is open (with no bytes).
    cdef int end(self) except -1 nogil
    # n bytes of content were passed over; 0, or 1 if that is more than is left of it.
    cdef int pass_over(self, int64_t n) noexcept nogil
    cdef int64_t content_left_c(self) noexcept nogil

    cdef list _fixed_columns(self)
    cdef object _text_column(self, int column)
    cdef int _take_block(self, const uint8_t* block) except -1 nogil
    cdef int64_t _take_run(self, const uint8_t* p, uint64_t n) except -1 nogil
    cdef int _end_run(self) except -1 nogil
    cdef void _forget(self) noexcept nogil
    cdef int _header(self, const uint8_t* block) except -1 nogil
    cdef int _extension(self, const ts_header* h) except -1 nogil
    cdef ts_buf* _extension_buf(self) noexcept nogil
    cdef int _add_extension(self, const uint8_t* p, uint64_t n) except -1 nogil
    cdef int _extension_done(self) except -1 nogil
    cdef int _member(self, const uint8_t* block, const ts_header* h) except -1 nogil
    cdef int _sparse_block(self, const uint8_t* block) except -1 nogil
    cdef int _map_block(self, const uint8_t* block) except -1 nogil
    cdef int _mapped(self) except -1 nogil
    cdef int _admit(self, const ts_member* m, int64_t skipped) except -1 nogil
    cdef int _row(self, const ts_member* m, int64_t offset, int64_t stored) except -1 nogil
    cdef int _add_text(self, int column, const uint8_t* p, size_t n) except -1 nogil
    cdef int _grow_rows(self) except -1 nogil
    cdef int _grow_spans(self) except -1 nogil
    cdef int _emit(self, uint8_t kind, uint64_t n) except -1 nogil
    cdef void _run(self, int state, uint64_t left, uint64_t pad) noexcept nogil
