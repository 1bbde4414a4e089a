"""SHA-256 of several streams side by side.

Each round of SHA-256 waits for the one before, so that one stream leaves a quarter (Sapphire Rapids) or half (Zen 4) of
the SHA unit idle, which a second one uses; layers of an image are streams of their own. What runs together is chosen in
sha256.h: the longest pieces take turns so that all end at once. Scratch memory is 2 KiB of stack and 104 bytes a stream.

Specification: FIPS 180-4, Secure Hash Standard, 2015.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t

cimport cython

from lamina._native.cpu cimport enabled

cdef extern from "sha256.h" nogil:
    enum:
        SHA_BLOCK
        SHA_OUT
    ctypedef struct sha_state:
        pass
    ctypedef struct sha_piece:
        sha_state* state
        const uint8_t* p
        size_t n
    void sha_start(sha_state* s)
    void sha_update(sha_piece* pieces, size_t n, unsigned int enabled)
    void sha_digest(const sha_state* s, uint8_t* out, unsigned int enabled)


@cython.auto_pickle(False)
cdef class Sha256:
    """The state of one stream, with the face of a `hashlib` object; not to be used from two threads at once."""

    cdef sha_state state
    name = "sha256"
    digest_size = SHA_OUT
    block_size = SHA_BLOCK

    def __cinit__(self):
        sha_start(&self.state)

    def __init__(self):
        pass  # __cinit__ alone would take any arguments

    def update(self, data):
        """Append `data`, any contiguous buffer. The GIL is released."""
        cdef Py_buffer view
        cdef sha_piece piece
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        piece = sha_piece(&self.state, <const uint8_t*> view.buf, <size_t> view.len)
        with nogil:
            sha_update(&piece, 1, enabled())
        PyBuffer_Release(&view)

    def digest(self):
        """The 32 bytes for what came so far; more may follow."""
        cdef uint8_t out[SHA_OUT]
        sha_digest(&self.state, out, enabled())
        return PyBytes_FromStringAndSize(<const char*> out, SHA_OUT)

    def hexdigest(self):
        """The digest as 64 hexadecimal digits."""
        return self.digest().hex()

    def copy(self):
        """Another stream that begins with all that this one has."""
        cdef Sha256 other = Sha256.__new__(Sha256)
        other.state = self.state
        return other


def update_many(states, pieces):
    """states[i].update(pieces[i]) for every i, side by side. The GIL is released.

    States are distinct; pieces may be of any lengths. ValueError: a state given twice, or unequal numbers. No state is
    changed when an argument is wrong.
    """
    cdef list held = list(states), given = list(pieces)
    cdef Py_ssize_t n = len(held), i, taken = 0
    if len(given) != n:
        raise ValueError(f"{n} states but {len(given)} pieces")
    for state in held:
        if not isinstance(state, Sha256):
            raise TypeError(f"a state is a Sha256, not {type(state).__name__}")
    if len(set(map(id, held))) != n:
        raise ValueError("a state is given twice")
    cdef Py_buffer* views = <Py_buffer*> PyMem_Malloc(n * sizeof(Py_buffer))
    cdef sha_piece* work = <sha_piece*> PyMem_Malloc(n * sizeof(sha_piece))
    try:
        if views == NULL or work == NULL:
            raise MemoryError
        for i in range(n):
            PyObject_GetBuffer(given[i], &views[i], PyBUF_SIMPLE)
            taken += 1
            work[i] = sha_piece(&(<Sha256> held[i]).state, <const uint8_t*> views[i].buf, <size_t> views[i].len)
        with nogil:
            sha_update(work, n, enabled())
    finally:
        for i in range(taken):
            PyBuffer_Release(&views[i])
        PyMem_Free(views)
        PyMem_Free(work)
