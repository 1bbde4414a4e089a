"""Kernels in Cython: buffers and arrays in, arrays out; no I/O, no OCI, no policy."""
