"""What the processor offers, and which path each kernel takes for it.

Every kernel with more than one path asks :c:func:`enabled` when it is called. All paths of a kernel give the
same bytes; forcing one is for tests and for finding faults, never needed for correctness.
"""

import os

cdef extern from "cpu.h" nogil:
    unsigned int cpu_detect()

FEATURES = {
    "sse4.1": CPU_SSE41,
    "avx2": CPU_AVX2,
    "avx512f": CPU_AVX512F,
    "avx512vl": CPU_AVX512VL,
    "avx512bw": CPU_AVX512BW,
    "sha_ni": CPU_SHA_NI,
    "neon": CPU_NEON,
}

# The paths each kernel has beside "portable", best first. A kernel tests `enabled()` in this order.
KERNELS = {
    "blake3": ("avx512bw", "avx2", "sse4.1"),
    "cdc": (),
    "sha256": ("sha_ni", "avx512f", "avx2"),
}

cdef unsigned int machine = cpu_detect()
cdef unsigned int active = machine
cdef unsigned int at_start = machine


cdef unsigned int enabled() noexcept nogil:
    """The CPU_* bits that kernels may use now: the machine's, or fewer when a path is forced."""
    return active


def features():
    """The features of this machine that kernels know of, as a tuple of names."""
    return tuple(name for name, bit in FEATURES.items() if machine & bit)


def selected():
    """The path each kernel takes now: kernel name to feature name or "portable"."""
    return {
        kernel: next((path for path in paths if active & FEATURES[path]), "portable")
        for kernel, paths in KERNELS.items()
    }


def force(path):
    """Let every kernel take `path`, or its portable path where it has no such one; None undoes it.

    None goes back to the state at import, which LAMINA_CPU sets by the same names. Not meant to be called
    while a kernel runs in another thread. ValueError: no kernel has that path, or the machine lacks it.
    """
    global active
    active = at_start if path is None else _bits(path)


def _bits(str path):
    if path == "portable":
        return 0
    known = {name for paths in KERNELS.values() for name in paths}
    if path not in known:
        raise ValueError(f"no kernel has a path {path!r}; there are {', '.join(sorted(known))}, portable")
    if not machine & FEATURES[path]:
        raise ValueError(f"this machine lacks {path}")
    return FEATURES[path]


if os.environ.get("LAMINA_CPU"):
    active = at_start = _bits(os.environ["LAMINA_CPU"])
