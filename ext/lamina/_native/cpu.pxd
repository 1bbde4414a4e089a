"""For kernels: ``if enabled() & CPU_AVX2: ...`` at the head of a call, never inside its loop."""

cdef extern from "cpu.h" nogil:
    enum:
        CPU_SSE41
        CPU_AVX2
        CPU_AVX512F
        CPU_AVX512VL
        CPU_AVX512BW
        CPU_SHA_NI
        CPU_NEON

cdef unsigned int enabled() noexcept nogil
