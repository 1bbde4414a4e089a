"""Copies between chunks, frames and streams: rows in, bytes moved, no Python per row."""

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


def gather(uint8_t[::1] out, Py_ssize_t at, const uint8_t[::1] frame, const uint32_t[::1] places,
           const uint32_t[::1] lengths):
    """Copy chunks of one frame behind each other to out[at:]; returns where it ends."""
    cdef Py_ssize_t i, n = places.shape[0], end = at
    if lengths.shape[0] != n:
        raise ValueError("places and lengths differ in number")
    if at < 0 or at > out.shape[0]:
        raise ValueError("a place lies outside of its buffer")
    for i in range(n):
        if places[i] > frame.shape[0] or lengths[i] > frame.shape[0] - places[i]:
            raise ValueError("a chunk lies outside of its frame")
        end += lengths[i]
    if end > out.shape[0]:
        raise ValueError("the chunks do not fit")
    with nogil:
        for i in range(n):
            if lengths[i]:
                memcpy(&out[at], &frame[places[i]], lengths[i])
            at += lengths[i]
    return at


cdef class Weaver:
    """Interleaves a segment stream and a content stream by spans, in pieces of any size."""

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

    @property
    def wants_content(self):
        """Whether the next byte is one of the content stream."""
        return self.left_segment == 0

    def weave(self, uint8_t[::1] out, Py_ssize_t at, const uint8_t[::1] segments, Py_ssize_t seg,
              const uint8_t[::1] contents, Py_ssize_t con):
        """Fill out[at:] from segments[seg:] and contents[con:] until one of the three ends, or the spans do.

        Returns the three places (out, segments, contents) where it stopped.
        """
        cdef Py_ssize_t n, room = out.shape[0], segs = segments.shape[0], cons = contents.shape[0]
        if at < 0 or seg < 0 or con < 0 or at > room or seg > segs or con > cons:
            raise ValueError("a place lies outside of its buffer")
        with nogil:
            while at < room:
                if self.left_segment > 0:
                    n = min(self.left_segment, room - at, segs - seg)
                    if n <= 0:
                        break
                    memcpy(&out[at], &segments[seg], n)
                    self.left_segment -= n
                    seg += n
                    at += n
                elif self.left_content > 0:
                    n = min(self.left_content, room - at, cons - con)
                    if n <= 0:
                        break
                    memcpy(&out[at], &contents[con], n)
                    self.left_content -= n
                    con += n
                    at += n
                elif self.span + 1 < self.segment.shape[0]:
                    self.span += 1
                    self.left_segment = self.segment[self.span]
                    self.left_content = self.content[self.span]
                else:
                    break
        return at, seg, con
