"""From a stream's buffers to chunks: the tar scanner and the cutter run over each buffer together.

The caller owns the buffers and leaves `headroom` bytes free before what it read; what a buffer leaves undecided (a
file's last, unfinished chunk; half a header) is copied there before the next call, so that every content chunk
lies in one piece in the buffer.  At most one chunk a buffer is copied: 6 % of 4 MiB, or 12 of a gzip stream.
Segments are gathered in a buffer of the splitter's own, since headers lie scattered.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memmove
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

import numpy as np

from lamina._native.cdc cimport CutParams, Cutter, next_cut
from lamina._native.tarscan cimport SPAN_CONTENT, SPAN_ENDS, TarScanner

cdef enum:
    SLACK = 4096      # above a scanner's pending bytes (under 512); keeps the headroom a multiple of a page


cdef struct Pairs:
    int64_t* first
    int64_t* second
    size_t n
    size_t cap


cdef double processor_seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef int push(Pairs* pairs, int64_t first, int64_t second) except -1 nogil:
    cdef size_t cap
    cdef void* grown
    if pairs.n == pairs.cap:
        cap = pairs.cap * 2 if pairs.cap else 1024
        grown = PyMem_RawRealloc(pairs.first, cap * sizeof(int64_t))
        if grown == NULL:
            raise MemoryError
        pairs.first = <int64_t*> grown
        grown = PyMem_RawRealloc(pairs.second, cap * sizeof(int64_t))
        if grown == NULL:
            raise MemoryError
        pairs.second = <int64_t*> grown
        pairs.cap = cap
    pairs.first[pairs.n] = first
    pairs.second[pairs.n] = second
    pairs.n += 1
    return 0


cdef tuple columns(Pairs* pairs):
    """Both columns as arrays; the pairs are empty after."""
    first = np.empty(pairs.n, dtype=np.int64)
    second = np.empty(pairs.n, dtype=np.int64)
    cdef int64_t[::1] a = first
    cdef int64_t[::1] b = second
    if pairs.n:
        memcpy(&a[0], pairs.first, pairs.n * sizeof(int64_t))
        memcpy(&b[0], pairs.second, pairs.n * sizeof(int64_t))
    pairs.n = 0
    return first, second


cdef class Splitter:
    cdef readonly object scanner
    cdef readonly Py_ssize_t headroom
    cdef readonly Py_ssize_t body
    cdef readonly double scan_seconds          # processor time of the last feed: headers
    cdef readonly double cut_seconds           # and cut points, with the gathering of segments
    cdef TarScanner scan
    cdef CutParams prm
    cdef bint opaque
    cdef bint ended
    cdef uint8_t* carry         # what the last buffer left undecided
    cdef size_t carry_n
    cdef size_t carry_open      # of that, bytes of an unfinished content chunk
    cdef uint8_t* seg           # segment bytes, gathered
    cdef size_t seg_cap, seg_n, seg_done
    cdef Pairs content, segments, spans
    cdef int64_t run_segment, run_content      # the span that is not closed yet

    def __cinit__(self, Cutter cutter, Py_ssize_t body, *, bint opaque=False, int inline_limit=512, bint entries=True):
        if body < 512:
            raise ValueError("a buffer holds at least 512 bytes")
        self.prm = cutter.prm
        self.headroom = (self.prm.max + SLACK + SLACK - 1) // SLACK * SLACK
        self.body = body
        self.opaque = opaque
        self.scan = TarScanner(inline_limit, entries)
        self.scanner = self.scan
        self.seg_cap = self.prm.max + self.headroom + body
        self.carry = <uint8_t*> PyMem_RawMalloc(self.headroom)
        self.seg = <uint8_t*> PyMem_RawMalloc(self.seg_cap)
        if self.carry == NULL or self.seg == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self.carry)
        PyMem_RawFree(self.seg)
        PyMem_RawFree(self.content.first)
        PyMem_RawFree(self.content.second)
        PyMem_RawFree(self.segments.first)
        PyMem_RawFree(self.segments.second)
        PyMem_RawFree(self.spans.first)
        PyMem_RawFree(self.spans.second)

    def feed(self, buffer, Py_ssize_t count, bint last):
        cdef Py_buffer view
        if count < 0 or count > self.body:
            raise ValueError("more bytes than the splitter was made for")
        if self.ended:
            raise ValueError("the stream has ended")
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if view.len < self.headroom + count:
                raise ValueError("the buffer lacks its headroom")
            with nogil:
                self._feed(<uint8_t*> view.buf, count, last)
        finally:
            PyBuffer_Release(&view)
        self.ended = last
        return (*columns(&self.content), *columns(&self.segments))

    def cut_by(self, Cutter cutter):
        if cutter.prm.max > self.headroom - SLACK:
            raise ValueError("chunks larger than the splitter was made for")
        self.prm = cutter.prm

    def segment_bytes(self):
        """The buffer that the last segment chunks point into; valid until the next feed."""
        return np.asarray(<uint8_t[:self.seg_cap]> self.seg)

    def take_spans(self):
        return columns(&self.spans)

    @property
    def spans_ready(self):
        return self.spans.n

    cdef int _feed(self, uint8_t* buf, size_t count, bint last) except -1 nogil:
        cdef uint8_t* fresh = buf + self.headroom
        cdef uint8_t* begin = fresh - self.carry_n
        cdef uint8_t* pos = begin + self.carry_open    # first byte that no span has covered yet
        cdef uint8_t* start = begin                    # first byte of the content that is not cut yet
        cdef uint8_t* stop = fresh + count
        cdef double started = processor_seconds()
        memcpy(begin, self.carry, self.carry_n)
        if self.seg_done:
            memmove(self.seg, self.seg + self.seg_done, self.seg_n - self.seg_done)
            self.seg_n -= self.seg_done
            self.seg_done = 0
        if self.opaque:
            self.run_content += count
            pos = stop
            self.scan_seconds = 0
        else:
            self.scan.scan(fresh, count)
            self.scan_seconds = processor_seconds() - started
            self._walk(buf, &pos, &start)
            if last:
                self.scan.end()
                self._walk(buf, &pos, &start)
        self._cut_content(buf, &start, pos, last)
        self._cut_segments(last)
        if last:
            self._close_span()
        self.carry_open = pos - start
        self.carry_n = stop - start
        memcpy(self.carry, start, self.carry_n)
        self.cut_seconds = processor_seconds() - started - self.scan_seconds
        return 0

    cdef int _walk(self, uint8_t* buf, uint8_t** pos, uint8_t** start) except -1 nogil:
        """Follow the scanner's spans: cut ended contents, gather segments."""
        cdef size_t i
        cdef size_t n
        for i in range(self.scan.span_n):
            n = self.scan.span_len[i]
            if self.scan.span_kind[i] & SPAN_CONTENT:
                self.run_content += n
                pos[0] += n
                if self.scan.span_kind[i] & SPAN_ENDS:
                    self._cut_content(buf, start, pos[0], True)
            elif n:
                if self.run_content:
                    self._close_span()
                memcpy(self.seg + self.seg_n, pos[0], n)
                self.seg_n += n
                self.run_segment += n
                pos[0] += n
                start[0] = pos[0]
        return 0

    cdef int _close_span(self) except -1 nogil:
        if self.run_segment or self.run_content:
            push(&self.spans, self.run_segment, self.run_content)
        self.run_segment = 0
        self.run_content = 0
        return 0

    cdef int _cut_content(self, uint8_t* buf, uint8_t** start, uint8_t* stop, bint ends) except -1 nogil:
        cdef size_t n
        while start[0] < stop and (ends or <size_t> (stop - start[0]) >= self.prm.max):
            n = next_cut(start[0], stop - start[0], &self.prm)
            push(&self.content, start[0] - buf, n)
            start[0] += n
        return 0

    cdef int _cut_segments(self, bint ends) except -1 nogil:
        cdef size_t n
        while self.seg_done < self.seg_n and (ends or self.seg_n - self.seg_done >= self.prm.max):
            n = next_cut(self.seg + self.seg_done, self.seg_n - self.seg_done, &self.prm)
            push(&self.segments, self.seg_done, n)
            self.seg_done += n
        return 0
