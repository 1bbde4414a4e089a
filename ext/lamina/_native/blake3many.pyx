"""BLAKE3-256 of many inputs in one call.

The BLAKE3 of one small input cannot fill a vector; those of many can. Every 1 KiB chunk of every input is a *job*
for one lane of the vector, and so is every parent node of every tree: see blake3_lanes.h. A *wave* is up to
512 chunk jobs, from one input or hundreds, followed by its parents level by level. Scratch memory is one wave
on the stack: 53 KiB (plus 64 bytes a tree level for inputs above 512 KiB), whatever the inputs are.

Specification: O'Connor et al., "BLAKE3: one function, fast everywhere", 2021; unkeyed hash, 32 bytes of output.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import numpy as np

from lamina._native.cpu cimport enabled

cdef extern from "blake3.h" nogil:
    enum:
        B3_CHUNK_START
        B3_CHUNK_END
        B3_PARENT
        B3_ROOT
        B3_CHUNK
        B3_BLOCK
        B3_OUT
    ctypedef struct blake3_job:
        const uint8_t* p
        uint8_t* out
        uint64_t counter
        uint32_t len
        uint8_t first
        uint8_t last
    void blake3_run(const blake3_job* jobs, size_t n, unsigned int enabled)

# Chunk jobs in a wave: 32 full vectors of 16 lanes, so that a tail of 15 idle lanes costs at most 3 %. (1,024: 1 % faster.)
cdef enum:
    WAVE = 512
    CVS_SIZE = 512 * 32
    MAX_TREES = 256

# An input (or a part of a long one) of two or more chunks, whose chaining values are cvs[first : first + count].
cdef struct Tree:
    uint32_t first
    uint32_t count
    uint8_t root
    uint8_t* out

cdef struct Wave:
    unsigned int cpu
    size_t n_jobs
    size_t n_short
    size_t n_cvs
    size_t n_trees
    blake3_job jobs[WAVE]
    blake3_job shorts[WAVE]
    uint8_t cvs[CVS_SIZE]
    Tree trees[MAX_TREES]


cdef inline void add_job(Wave* w, const uint8_t* p, size_t length, uint64_t counter, uint8_t first, uint8_t last,
                         uint8_t* out) noexcept nogil:
    cdef blake3_job* job
    if length < B3_CHUNK and first == B3_CHUNK_START:
        job = &w.shorts[w.n_short]
        w.n_short += 1
    else:
        job = &w.jobs[w.n_jobs]
        w.n_jobs += 1
    job.p = p
    job.out = out
    job.counter = counter
    job.len = <uint32_t>length
    job.first = first
    job.last = last


cdef inline size_t chunks_of(size_t length) noexcept nogil:
    return 1 if length == 0 else (length + B3_CHUNK - 1) // B3_CHUNK


cdef void add_input(Wave* w, const uint8_t* p, size_t length, uint64_t counter, uint8_t root,
                    uint8_t* out) noexcept nogil:
    """Queue an input of at most WAVE chunks, for which there is room; `counter` numbers its first chunk."""
    cdef size_t n = chunks_of(length), i, size
    if n == 1:
        add_job(w, p, length, counter, B3_CHUNK_START, <uint8_t>(B3_CHUNK_END | root), out)
        return
    w.trees[w.n_trees] = Tree(<uint32_t>w.n_cvs, <uint32_t>n, root, out)
    w.n_trees += 1
    for i in range(n):
        size = length - i * B3_CHUNK if i == n - 1 else <size_t>B3_CHUNK
        add_job(w, p + i * B3_CHUNK, size, counter + i, B3_CHUNK_START, B3_CHUNK_END, &w.cvs[w.n_cvs * B3_OUT])
        w.n_cvs += 1


cdef void run_jobs(Wave* w) noexcept nogil:
    """Whole chunks first, which keep the lanes in step: files' chunks with their short ends are 7 % faster for it."""
    memcpy(&w.jobs[w.n_jobs], w.shorts, w.n_short * sizeof(blake3_job))
    blake3_run(w.jobs, w.n_jobs + w.n_short, w.cpu)
    w.n_jobs = w.n_short = 0


cdef void add_parents(Wave* w, const Tree* tree) noexcept nogil:
    """Queue the parents of one level: neighbours are paired, and the last of an odd number goes up as it is.

    That makes the tree of section 2.1 (left subtrees are full). A parent is written over the first half of
    its level; jobs of one block finish in order, so nothing is overwritten before it is read.
    """
    cdef uint8_t* cvs = &w.cvs[<size_t>tree.first * B3_OUT]
    cdef size_t i
    if tree.count == 2:
        add_job(w, cvs, B3_BLOCK, 0, B3_PARENT, tree.root, tree.out)
        return
    for i in range(tree.count // 2):
        add_job(w, cvs + i * B3_BLOCK, B3_BLOCK, 0, B3_PARENT, 0, cvs + i * B3_OUT)


cdef void reduce_level(Wave* w) noexcept nogil:
    """Hash one level of parents of all trees together; trees that reached their root leave the list."""
    cdef size_t i, kept = 0
    cdef Tree tree
    cdef uint8_t* cvs
    for i in range(w.n_trees):
        add_parents(w, &w.trees[i])
    run_jobs(w)
    for i in range(w.n_trees):
        tree = w.trees[i]
        if tree.count == 2:
            continue
        cvs = &w.cvs[<size_t>tree.first * B3_OUT]
        if tree.count & 1:
            memcpy(cvs + tree.count // 2 * B3_OUT, cvs + (tree.count - 1) * B3_OUT, B3_OUT)
        tree.count = (tree.count + 1) // 2
        w.trees[kept] = tree
        kept += 1
    w.n_trees = kept


cdef void flush(Wave* w) noexcept nogil:
    run_jobs(w)
    while w.n_trees:
        reduce_level(w)
    w.n_cvs = 0


cdef void hash_long(Wave* w, const uint8_t* p, size_t length, uint64_t counter, uint8_t root,
                    uint8_t* out) noexcept nogil:
    """An input above a wave (or a part of one), in an empty wave: left subtree, right subtree, their parent."""
    cdef size_t n = chunks_of(length), left = WAVE
    cdef uint8_t children[B3_BLOCK]
    if n <= WAVE:
        add_input(w, p, length, counter, root, out)
        flush(w)
        return
    while left * 2 < n:
        left *= 2
    hash_long(w, p, left * B3_CHUNK, counter, 0, children)
    hash_long(w, p + left * B3_CHUNK, length - left * B3_CHUNK, counter + left, 0, children + B3_OUT)
    add_job(w, children, B3_BLOCK, 0, B3_PARENT, root, out)
    run_jobs(w)


cdef int hash_rows(const uint8_t* base, const int64_t* offsets, const int64_t* lengths, size_t n,
                   uint8_t* out) noexcept nogil:
    """out[32 * i : 32 * i + 32] = BLAKE3-256 of base[offsets[i] : offsets[i] + lengths[i]]; returns 0.

    The caller has checked the bounds. Rows may overlap one another, `out` must not overlap them.
    """
    cdef Wave w
    cdef size_t i, chunks
    w.cpu = enabled()
    w.n_jobs = w.n_short = w.n_cvs = w.n_trees = 0
    for i in range(n):
        chunks = chunks_of(<size_t>lengths[i])
        if w.n_jobs + w.n_short + chunks > WAVE:
            flush(&w)
        if chunks > WAVE:
            hash_long(&w, base + offsets[i], <size_t>lengths[i], 0, B3_ROOT, out + i * B3_OUT)
        else:
            add_input(&w, base + offsets[i], <size_t>lengths[i], 0, B3_ROOT, out + i * B3_OUT)
    flush(&w)
    return 0


cdef bint rows_inside(const int64_t[::1] offsets, const int64_t[::1] lengths, int64_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(offsets.shape[0]):
        if offsets[i] < 0 or lengths[i] < 0 or offsets[i] > size or lengths[i] > size - offsets[i]:
            return False
    return True


def hash_many(const uint8_t[::1] data, const int64_t[::1] offsets, const int64_t[::1] lengths, out=None):
    """The BLAKE3-256 of data[offsets[i] : offsets[i] + lengths[i]] for every i, as u8[n, 32].

    `out`, if given, is filled and returned. The GIL is released throughout. ValueError: arrays of unequal
    length, rows outside `data`, or an `out` of another shape.
    """
    cdef Py_ssize_t n = offsets.shape[0]
    if lengths.shape[0] != n:
        raise ValueError(f"{n} offsets but {lengths.shape[0]} lengths")
    if out is None:
        out = np.empty((n, 32), dtype=np.uint8)
    cdef uint8_t[:, ::1] ids = out
    if ids.shape[0] != n or ids.shape[1] != 32:
        raise ValueError(f"out has shape ({ids.shape[0]}, {ids.shape[1]}), not ({n}, 32)")
    cdef bint inside
    with nogil:
        inside = rows_inside(offsets, lengths, data.shape[0])
        if inside and n:
            hash_rows(&data[0], &offsets[0], &lengths[0], n, &ids[0, 0])
    if not inside:
        raise ValueError(f"a row lies outside the {data.shape[0]} bytes of data")
    return out
