"""BLAKE3-256 of many inputs in one call."""

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

def hash_many(
    data: Buffer,
    offsets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """The BLAKE3-256 of data[offsets[i] : offsets[i] + lengths[i]] (bytes) for every i, as u8[n, 32].

    `out`, if given, is filled and returned. Inputs of any length, which may overlap one another; many in one
    call is what makes it fast. Scratch memory is 53 KiB of stack. The GIL is released throughout.
    ValueError: arrays of unequal length, rows outside `data`, or an `out` of another shape.
    """
