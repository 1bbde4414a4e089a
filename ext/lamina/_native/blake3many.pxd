from libc.stdint cimport int64_t, uint8_t

cdef int hash_rows(const uint8_t* base, const int64_t* offsets, const int64_t* lengths, size_t n,
                   uint8_t* out) noexcept nogil
