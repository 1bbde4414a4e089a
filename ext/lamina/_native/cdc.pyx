"""Content-defined chunking: FastCDC, normalised Gear (Xia et al., USENIX ATC 2016; IEEE TPDS 2020).

The rule, which is a promise for what is on disk (the same bytes are the same chunks in every version):

- The hash of a position is H = sum of gear[b_k] << k modulo 2**64 over the 64 bytes before it, b_0 the nearest.
- gear[b] is the first 8 bytes, little-endian, of SHA-256(b"lamina gear 1" + bytes([b])).
- A mask of n bits has the bits 12 + 29 * j % 48 for j = 0 .. n-1: spread over 48 high bits, as in the paper, so
  that each looks back over 13 to 60 bytes, and a mask of fewer bits is part of one of more.
- The chunk ends at the first length L, min <= L < max, at which H & mask == 0, with log2(avg) + 2 bits
  in the mask where L < avg and log2(avg) - 2 from there on (normalisation level 2); else at max, or the end of
  the input. An input of at most min bytes is one chunk, an empty one is none.

Every chunk starts anew, so that a cutter owns no state, and the min - 64 bytes after each cut are not looked at.
"""

import hashlib

import numpy as np

cdef extern from "cdc.h" nogil:
    enum:
        CDC_WINDOW
    uint64_t* cdc_gear
    size_t cdc_scan(const uint8_t* p, size_t first, size_t to, uint64_t mask)

MAX_SIZE = 1 << 24


cdef void fill_gear() noexcept:
    cdef int i
    for i in range(256):
        cdc_gear[i] = int.from_bytes(hashlib.sha256(b"lamina gear 1" + bytes([i])).digest()[:8], "little")


fill_gear()


cdef size_t next_cut(const uint8_t* p, size_t n, const CutParams* prm) noexcept nogil:
    """Length of the first chunk of the n bytes at p: n if n <= min or if no cut comes before min(n, max).

    To be called with at least max bytes, or with all that is left of the input.
    """
    cdef size_t end = n if n < prm.max else prm.max
    cdef size_t middle = end if end < prm.avg else prm.avg
    cdef size_t cut
    if n <= prm.min:
        return n
    cut = cdc_scan(p, prm.min, middle, prm.mask_small)
    if cut < middle:
        return cut
    return cdc_scan(p, middle, end, prm.mask_large)


def mask(int bits):
    """The mask of so many bits; see the rule above."""
    return sum(1 << (12 + 29 * j % 48) for j in range(bits))


cdef int64_t cut_row(const uint8_t* p, int64_t n, const CutParams* prm, int64_t* lengths) noexcept nogil:
    """Write the lengths of all chunks of one input; returns their number."""
    cdef int64_t at = 0, m = 0
    while at < n:
        lengths[m] = <int64_t>next_cut(p + at, <size_t>(n - at), prm)
        at += lengths[m]
        m += 1
    return m


cdef class Cutter:
    """Cuts inputs in memory into chunks of min_size to max_size bytes, avg_size being where cuts get likely.

    avg_size is a power of two, 64 <= min_size <= avg_size <= max_size <= 16 MiB; else ValueError.
    """

    def __cinit__(self, min_size=16384, avg_size=65536, max_size=262144):
        if not CDC_WINDOW <= min_size <= avg_size <= max_size <= MAX_SIZE:
            raise ValueError(
                f"64 <= min <= avg <= max <= 16 MiB does not hold for {min_size}, {avg_size}, {max_size}"
            )
        if avg_size & (avg_size - 1):
            raise ValueError(f"the average size {avg_size} is not a power of two")
        bits = avg_size.bit_length() - 1
        self.prm = CutParams(min_size, avg_size, max_size, mask(bits + 2), mask(bits - 2))

    @property
    def min_size(self):
        return self.prm.min

    @property
    def avg_size(self):
        return self.prm.avg

    @property
    def max_size(self):
        return self.prm.max

    def cut(self, const uint8_t[::1] data):
        """The lengths of the chunks of `data`, a whole file, as i64[m]; they add up to its size."""
        cdef int64_t n = data.shape[0], m = 0
        lengths = np.empty(n // <int64_t>self.prm.min + 1, dtype=np.int64)
        cdef int64_t[::1] rows = lengths
        if n:
            with nogil:
                m = cut_row(&data[0], n, &self.prm, &rows[0])
        return lengths[:m]

    def cut_many(self, const uint8_t[::1] data, const int64_t[::1] offsets, const int64_t[::1] lengths):
        """The chunks of many whole files, data[offsets[i] : offsets[i] + lengths[i]].

        Returns (file_row u32[m], length i64[m]): for every chunk, in order, the i of its file and its size.
        ValueError: arrays of unequal length, or a file outside `data`.
        """
        cdef Py_ssize_t n = offsets.shape[0], i
        cdef int64_t size = data.shape[0], bound, m = 0, count, j
        if lengths.shape[0] != n:
            raise ValueError(f"{n} offsets but {lengths.shape[0]} lengths")
        bound = most_chunks(offsets, lengths, size, <int64_t>self.prm.min)
        if bound < 0:
            raise ValueError(f"a file lies outside the {size} bytes of data")
        out_rows = np.empty(bound, dtype=np.uint32)
        out_lengths = np.empty(bound, dtype=np.int64)
        if bound == 0:
            return out_rows, out_lengths
        cdef uint32_t[::1] row = out_rows
        cdef int64_t[::1] length = out_lengths
        with nogil:
            for i in range(n):
                if lengths[i] == 0:
                    continue
                count = cut_row(&data[offsets[i]], lengths[i], &self.prm, &length[m])
                for j in range(m, m + count):
                    row[j] = <uint32_t>i
                m += count
        return out_rows[:m], out_lengths[:m]


cdef int64_t most_chunks(const int64_t[::1] offsets, const int64_t[::1] lengths, int64_t size,
                         int64_t min_size) noexcept nogil:
    """No more chunks than this come out of these files; -1 if one of them lies outside `size` bytes."""
    cdef int64_t total = 0
    cdef Py_ssize_t i
    for i in range(offsets.shape[0]):
        if offsets[i] < 0 or lengths[i] < 0 or offsets[i] > size or lengths[i] > size - offsets[i]:
            return -1
        total += (lengths[i] + min_size - 1) // min_size
    return total
