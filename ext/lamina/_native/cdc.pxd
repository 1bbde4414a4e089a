from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

ctypedef struct CutParams:
    size_t min
    size_t avg
    size_t max
    uint64_t mask_small  # asked of cuts below avg: two bits more than log2(avg)
    uint64_t mask_large  # asked of cuts from avg on: two bits fewer

cdef size_t next_cut(const uint8_t* p, size_t n, const CutParams* prm) noexcept nogil


cdef class Cutter:
    cdef CutParams prm
