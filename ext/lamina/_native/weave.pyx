"""Copies between chunks, frames and streams: rows in, bytes moved, no Python per row."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

import numpy as np


cdef enum:
    HEADER = 32       # bytes of a record's header


def fill(uint8_t[::1] frame, Py_ssize_t used, const uint8_t[::1] source, const int64_t[::1] offsets,
         const int64_t[::1] lengths, const int64_t[::1] rows, Py_ssize_t first):
    """Copy the chunks `rows[first:]` behind each other into a frame for as long as they fit.

    Returns (next row to copy, bytes used, places u32[k] of the copied chunks in the frame).
    """
    cdef Py_ssize_t i = first, n = rows.shape[0], at = used, cap = frame.shape[0], k
    cdef int64_t row
    if rows.shape[0] and (offsets.shape[0] != lengths.shape[0]):
        raise ValueError("offsets and lengths differ in number")
    if first < 0 or at < 0 or at > cap:
        raise ValueError("a place lies outside of its buffer")
    while i < n:
        row = rows[i]
        if row < 0 or row >= offsets.shape[0] or lengths[row] < 0 or offsets[row] < 0 \
                or offsets[row] > source.shape[0] - lengths[row]:
            raise ValueError("a chunk lies outside of its buffer")
        if lengths[row] > cap - at:
            break
        at += lengths[row]
        i += 1
    places = np.empty(i - first, dtype=np.uint32)
    cdef uint32_t[::1] place = places
    at = used
    with nogil:
        for k in range(first, i):
            row = rows[k]
            place[k - first] = <uint32_t> at
            if lengths[row]:
                memcpy(&frame[at], &source[offsets[row]], lengths[row])
            at += lengths[row]
    return i, at, places


def lay(uint8_t[::1] run, Py_ssize_t used, const uint8_t[::1] source, const int64_t[::1] offsets,
        const int64_t[::1] lengths, const int64_t[::1] rows, Py_ssize_t first, uint8_t kind, const uint8_t[:, ::1] ids):
    """Lay the chunks `rows[first:]` into a run as raw records of one chunk each, for as long as they fit.

    A record's header (FORMAT.md) stands before its bytes; its checksum is the beginning of the chunk's id.
    Returns (next row to lay, bytes used, places u32[k] of the chunks' bytes in the run).
    """
    cdef Py_ssize_t i = first, n = rows.shape[0], at = used, cap = run.shape[0], k
    cdef int64_t row
    cdef uint32_t size
    cdef uint8_t* out
    if offsets.shape[0] != lengths.shape[0] or ids.shape[0] != offsets.shape[0] or ids.shape[1] != 32:
        raise ValueError("offsets, lengths and ids differ in number")
    if first < 0 or used < 0 or used > cap:
        raise ValueError("a place lies outside of its buffer")
    while i < n:
        row = rows[i]
        if row < 0 or row >= offsets.shape[0] or lengths[row] < 0 or offsets[row] < 0 \
                or offsets[row] > source.shape[0] - lengths[row] or lengths[row] >= 1 << 31:
            raise ValueError("a chunk lies outside of its buffer")
        if lengths[row] > cap - at - HEADER:
            break
        at += HEADER + lengths[row]
        i += 1
    places = np.empty(i - first, dtype=np.uint32)
    cdef uint32_t[::1] place = places
    with nogil:
        at = used
        for k in range(first, i):
            row = rows[k]
            size = <uint32_t> lengths[row]
            out = &run[at]
            memset(out, 0, HEADER)
            memcpy(out, b"LREC", 4)
            out[4] = kind
            put32(out + 8, size)
            put32(out + 12, size)
            put32(out + 16, 1)
            memcpy(out + 24, &ids[row, 0], 8)
            if size:
                memcpy(out + HEADER, &source[offsets[row]], size)
            place[k - first] = <uint32_t> (at + HEADER)
            at += HEADER + size
    return i, at, places


cdef inline void put32(uint8_t* out, uint32_t value) noexcept nogil:
    """Little-endian on every machine."""
    out[0] = value & 255
    out[1] = value >> 8 & 255
    out[2] = value >> 16 & 255
    out[3] = value >> 24 & 255


def gather(uint8_t[::1] out, list frames, const uint32_t[::1] frame, const uint32_t[::1] source, const uint32_t[::1] lengths,
           Py_ssize_t skip):
    """Fill `out` with pieces of frames, one behind the other; the first `skip` bytes of the first piece are left out, and the
    last one is cut where `out` ends."""
    cdef Py_ssize_t i, n = frame.shape[0], at = 0, room = out.shape[0], count, start, k = len(frames)
    cdef const uint8_t[::1] view
    cdef const uint8_t** bases
    cdef Py_ssize_t* sizes
    if source.shape[0] != n or lengths.shape[0] != n or skip < 0:
        raise ValueError("the columns of the pieces differ in number")
    bases = <const uint8_t**> PyMem_Malloc((k + 1) * sizeof(void*))
    sizes = <Py_ssize_t*> PyMem_Malloc((k + 1) * sizeof(Py_ssize_t))
    try:
        if bases == NULL or sizes == NULL:
            raise MemoryError()
        for i in range(k):
            view = frames[i]  # the list keeps the bytes where they are
            sizes[i] = view.shape[0]
            bases[i] = &view[0] if view.shape[0] else NULL
        with nogil:
            for i in range(n):
                if at == room:
                    break
                if frame[i] >= k or source[i] > sizes[frame[i]] or lengths[i] > sizes[frame[i]] - source[i] or skip > lengths[i]:
                    with gil:
                        raise ValueError("a piece lies outside of its frame")
                start = <Py_ssize_t> source[i] + skip
                count = min(<Py_ssize_t> lengths[i] - skip, room - at)
                skip = 0
                if count:
                    memcpy(&out[at], bases[frame[i]] + start, count)
                at += count
    finally:
        PyMem_Free(bases)
        PyMem_Free(sizes)
    if at != room:
        raise ValueError("the pieces do not fill the buffer")


cdef class Weaver:
    """Interleaves a segment stream and a content stream by spans: which pieces of their chunks follow one another."""

    cdef const int64_t[::1] segment
    cdef const int64_t[::1] content
    cdef Py_ssize_t span
    cdef int64_t left_segment, left_content

    def __init__(self):
        self.spans(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    def spans(self, const int64_t[::1] segment, const int64_t[::1] content):
        """The next spans; only when `idle`."""
        if segment.shape[0] != content.shape[0]:
            raise ValueError("span columns differ in number")
        self.segment = segment
        self.content = content
        self.span = -1
        self.left_segment = self.left_content = 0

    @property
    def idle(self):
        """Whether the spans are used up."""
        return self.left_segment == 0 and self.left_content == 0 and self.span + 1 >= self.segment.shape[0]

    def plan(self, int64_t want, Py_ssize_t most, const uint32_t[::1] segments, Py_ssize_t seg, int64_t seg_skip,
             const uint32_t[::1] contents, Py_ssize_t con, int64_t con_skip):
        """The next pieces, `want` bytes or `most` pieces of them, fewer where the spans or the chunks of a stream end.

        A stream stands at byte `skip` of its chunk `seg` or `con`.  Returns (chunk i64[k], skip u32[k], length u32[k] of the
        pieces, seg, seg_skip, con, con_skip behind them).  Chunks are counted from `seg`, and behind the last one of the
        segments that has a piece, even a piece of nothing, on from `con`.
        """
        cdef Py_ssize_t n = 0, seg0 = seg, con0 = con, segs = segments.shape[0], cons = contents.shape[0], i, behind
        cdef int64_t total = 0, take
        if seg < 0 or seg > segs or con < 0 or con > cons or seg_skip < 0 or con_skip < 0 or most < 0 \
                or (seg_skip and (seg == segs or seg_skip > segments[seg])) \
                or (con_skip and (con == cons or con_skip > contents[con])):
            raise ValueError("a place lies outside of its stream")
        rows = np.empty(most, dtype=np.int64)
        skips = np.empty(most, dtype=np.uint32)
        lengths = np.empty(most, dtype=np.uint32)
        cdef int64_t[::1] row = rows
        cdef uint32_t[::1] skip = skips, length = lengths
        with nogil:
            while total < want and n < most:
                if self.left_segment > 0:
                    if seg == segs:
                        break
                    take = min(min(self.left_segment, <int64_t> segments[seg] - seg_skip), want - total)
                    if take:
                        row[n] = seg - seg0
                        skip[n] = <uint32_t> seg_skip
                        length[n] = <uint32_t> take
                        n += 1
                    total += take
                    self.left_segment -= take
                    seg_skip += take
                    if seg_skip == segments[seg]:
                        seg += 1
                        seg_skip = 0
                elif self.left_content > 0:
                    if con == cons:
                        break
                    take = min(min(self.left_content, <int64_t> contents[con] - con_skip), want - total)
                    if take:
                        row[n] = -1 - (con - con0)
                        skip[n] = <uint32_t> con_skip
                        length[n] = <uint32_t> take
                        n += 1
                    total += take
                    self.left_content -= take
                    con_skip += take
                    if con_skip == contents[con]:
                        con += 1
                        con_skip = 0
                elif self.span + 1 < self.segment.shape[0]:
                    self.span += 1
                    self.left_segment = self.segment[self.span]
                    self.left_content = self.content[self.span]
                else:
                    break
            behind = seg - seg0 + (1 if seg_skip else 0)
            for i in range(n):
                if row[i] < 0:
                    row[i] = behind - 1 - row[i]
        return rows[:n], skips[:n], lengths[:n], seg, seg_skip, con, con_skip
