"""From a stream's buffers to chunks: tar scanner and cutter over each buffer together; see split.pyx."""

from collections.abc import Buffer as _Buffer

import numpy as np
import numpy.typing as npt

from lamina._native.cdc import Cutter
from lamina._native.tarscan import TarScanner

_I64 = npt.NDArray[np.int64]
_U8 = npt.NDArray[np.uint8]

class Splitter:
    """Cuts one stream.  `body` is the most bytes of one `feed`; `opaque` takes the stream for one content.

    `scan_seconds`, `cut_seconds`: processor time of the last `feed`, of the scanner and of all else.
    """

    scanner: TarScanner
    headroom: int
    body: int
    scan_seconds: float
    cut_seconds: float
    def __init__(
        self, cutter: Cutter, body: int, *, opaque: bool = False, inline_limit: int = 512, entries: bool = True
    ) -> None: ...
    def feed(self, buffer: _Buffer, count: int, last: bool) -> tuple[_I64, _I64, _I64, _I64]:
        """Take buffer[headroom : headroom + count]; the bytes before may be overwritten.  Releases the GIL.

        Returns offsets and lengths (bytes) of the content chunks that are complete now, in `buffer`, and of the
        segment chunks, in `segment_bytes()`; in stream order, each.
        """
    def cut_by(self, cutter: Cutter) -> None:
        """Cut what comes from now on by another rule; ValueError if its chunks may be larger than those of the first one."""
    def segment_bytes(self) -> _U8:
        """The buffer that the last segment chunks lie in; valid until the next feed."""
    def take_spans(self) -> tuple[_I64, _I64]:
        """Closed spans since the last take: so many segment bytes, then so many content bytes."""
    @property
    def spans_ready(self) -> int: ...
