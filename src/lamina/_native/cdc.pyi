"""Content-defined chunking: FastCDC, normalised Gear. The rule of the cuts stands in cdc.pyx."""

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

MAX_SIZE: int
"""The largest chunk that can be asked for, 16 MiB."""

def mask(bits: int) -> int:
    """The mask of so many bits, all in 12..59; one of fewer bits is part of one of more."""

class Cutter:
    """Cuts inputs in memory into chunks of min_size to max_size bytes; stateless, so one serves all threads.

    avg_size is a power of two, 64 <= min_size <= avg_size <= max_size <= 16 MiB; else ValueError.
    """

    def __init__(self, min_size: int = 16384, avg_size: int = 65536, max_size: int = 262144) -> None: ...
    @property
    def min_size(self) -> int: ...
    @property
    def avg_size(self) -> int: ...
    @property
    def max_size(self) -> int: ...
    def cut(self, data: Buffer) -> npt.NDArray[np.int64]:
        """The lengths (bytes) of the chunks of `data`, a whole file, as i64[m]; they add up to its size.

        At most min_size bytes are one chunk, none are no chunk. The GIL is released.
        """

    def cut_many(
        self, data: Buffer, offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """The chunks of many whole files, data[offsets[i] : offsets[i] + lengths[i]] (bytes).

        Returns (file_row u32[m], length i64[m]): for every chunk, in order, the i of its file and its size.
        The GIL is released. ValueError: arrays of unequal length, or a file outside `data`.
        """
