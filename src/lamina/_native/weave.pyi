"""Copies between chunks, frames and streams: rows in, bytes moved; see weave.pyx."""

from collections.abc import Buffer as _Buffer

import numpy as np
import numpy.typing as npt

_I64 = npt.NDArray[np.int64]
_U32 = npt.NDArray[np.uint32]
_U8 = npt.NDArray[np.uint8]

def fill(
    frame: _Buffer, used: int, source: _Buffer, offsets: _I64, lengths: _I64, rows: _I64, first: int
) -> tuple[int, int, _U32]:
    """Copy the chunks rows[first:] of `source` behind frame[:used] for as long as they fit.

    Returns the next row to copy, the bytes used now, and the places in the frame of the copied chunks.
    """

def lay(
    run: _Buffer, used: int, source: _Buffer, offsets: _I64, lengths: _I64, rows: _I64, first: int, kind: int, ids: _U8
) -> tuple[int, int, _U32]:
    """Lay the chunks `rows[first:]` into `run[used:]` as raw records of one chunk each, for as long as they fit.

    Returns (next row to lay, bytes used, places u32[k] of the chunks' bytes in the run).
    """

def gather(out: _Buffer, at: int, frame: _Buffer, places: _U32, lengths: _U32) -> int:
    """Copy chunks of one frame behind each other to out[at:]; returns where they end."""

class Weaver:
    """Interleaves a segment stream and a content stream by spans, in pieces of any size."""

    def spans(self, segment: _I64, content: _I64) -> None:
        """The next spans; only when `idle`."""
    @property
    def idle(self) -> bool:
        """Whether the spans are used up."""
    @property
    def wants_content(self) -> bool:
        """Whether the next byte is one of the content stream (of the span begun last)."""
    def weave(
        self, out: _Buffer, at: int, segments: _Buffer, seg: int, contents: _Buffer, con: int
    ) -> tuple[int, int, int]:
        """Fill out[at:] until one of the three buffers ends, or the spans do; returns the places where it stopped."""
