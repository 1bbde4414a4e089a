/* What the processor offers, one bit per feature that a kernel of this package may ask for. */
#ifndef LAMINA_CPU_H
#define LAMINA_CPU_H

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum {
    CPU_SSE41 = 1 << 0,
    CPU_AVX2 = 1 << 1,
    CPU_AVX512F = 1 << 2,
    CPU_AVX512VL = 1 << 3,
    CPU_SHA_NI = 1 << 4,
    CPU_NEON = 1 << 5,
    CPU_AVX512BW = 1 << 6,
};

static unsigned int cpu_detect(void)
{
    unsigned int found = 0;
#if defined(__x86_64__)
    unsigned int a, b = 0, c, d;
    /* The compiler's own test also asks whether the kernel saves the wide registers. */
    if (__builtin_cpu_supports("sse4.1")) found |= CPU_SSE41;
    if (__builtin_cpu_supports("avx2")) found |= CPU_AVX2;
    if (__builtin_cpu_supports("avx512f")) found |= CPU_AVX512F;
    if (__builtin_cpu_supports("avx512vl")) found |= CPU_AVX512VL;
    if (__builtin_cpu_supports("avx512bw")) found |= CPU_AVX512BW;
    /* SHA lives in the SSE registers; GCC before 14 has no name for it: leaf 7, EBX bit 29. */
    if ((found & CPU_SSE41) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1)) found |= CPU_SHA_NI;
#elif defined(__aarch64__)
    found |= CPU_NEON; /* part of the base architecture */
#endif
    return found;
}

#endif
