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

def gather(out: _Buffer, frames: list[npt.NDArray[np.uint8]], frame: _U32, source: _U32, lengths: _U32, skip: int) -> None:
    """Fill `out` with pieces of frames, one behind the other: piece i is frames[frame[i]][source[i] : source[i] + lengths[i]].

    The first `skip` bytes of the first piece are left out, and the last one is cut where `out` ends.  ValueError for pieces
    outside of their frames, and for fewer bytes than `out` holds.  The GIL is released while bytes are copied.
    """

class Weaver:
    """Interleaves a segment stream and a content stream by spans: which pieces of their chunks follow one another."""

    def spans(self, segment: _I64, content: _I64) -> None:
        """The next spans, bytes of each; only when `idle`."""
    @property
    def idle(self) -> bool:
        """Whether the spans are used up."""
    def plan(
        self, want: int, most: int, segments: _U32, seg: int, seg_skip: int, contents: _U32, con: int, con_skip: int
    ) -> tuple[_I64, _U32, _U32, int, int, int, int]:
        """The next pieces, `want` bytes or `most` pieces of them, fewer where the spans or the chunks of a stream end.

        `segments` and `contents` are the lengths of the streams' chunks; a stream stands at byte `skip` of its chunk `seg` or
        `con`.  Returns (chunk i64[k], skip u32[k], length u32[k] of the pieces, seg, seg_skip, con, con_skip behind them).
        A piece's chunk is counted from `seg`; those of the contents are counted on behind the segments' chunks that were
        touched, which are `seg_end - seg`, and one more if seg_skip is not 0.
        """
