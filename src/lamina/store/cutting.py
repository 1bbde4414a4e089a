"""From buffers to chunks, in the thread that reads them, while the lane's own thread names and lays down the buffer before.

Where there are cores enough, the longest stage of one large layer bounds its load: of 1.6 GB without compression that was
the lane's thread with 2.0 CPU seconds, and is 1.3 since the thread that reads (1.2) cuts as well.  On two cores it makes no
difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina._native.cdc import Cutter
from lamina._native.split import Splitter
from lamina._native.tarscan import EntryColumns, TarScanner
from lamina.content.inflate import Kind
from lamina.store.seams import Seams
from lamina.store.stages import Stages
from lamina.store.stream import BODY, Filled

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Cut:
    """What ended in one buffer: places and lengths of content chunks in the buffer itself, and of segment chunks in `source`,
    which is the cut's own; spans and entries where there are any."""

    contents: I64
    content_lengths: I64
    source: U8
    segments: I64
    segment_lengths: I64
    spans: tuple[I64, I64] | None
    entries: EntryColumns | None


class Cutting:
    """One stream's; called with each of its buffers, in their order.  `cutter` is for what has an inside (a plain tar, gzip
    with seams), `seamless` for the rest of a compressed one.  `scanner` is of interest at the end."""

    def __init__(self, kind: Kind, cutter: Cutter, seamless: Cutter, stages: Stages) -> None:
        self._cutter, self._stages = cutter, stages
        self._splitter = Splitter(seamless, BODY, opaque=bool(kind), entries=not kind)
        self._seams = Seams() if kind == "gzip" else None
        if self._seams is None:
            self._splitter.cut_by(cutter)

    @property
    def scanner(self) -> TarScanner:
        """Of a plain stream: what it has counted."""
        return self._splitter.scanner

    def __call__(self, filled: Filled) -> Cut:
        """Cut the next buffer."""
        splitter = self._splitter
        if self._seams is not None and self._seams.found(filled.view, last=filled.last):
            splitter.cut_by(self._cutter)
        contents, content_lengths, segments, segment_lengths = splitter.feed(filled.buffer, filled.count, filled.last)
        self._stages.add("scan", splitter.scan_seconds, splitter.scan_seconds, filled.count)
        self._stages.add("cut", splitter.cut_seconds, splitter.cut_seconds, filled.count)
        # The splitter uses its own buffer again for the next; there is little in it, but of a tar of empty files.
        end = int(segments[-1] + segment_lengths[-1]) if len(segments) else 0
        source = splitter.segment_bytes()[:end].copy()
        spans = splitter.take_spans() if splitter.spans_ready else None
        due = splitter.scanner.entries_due or filled.last
        return Cut(contents, content_lengths, source, segments, segment_lengths, spans,
                   splitter.scanner.take_entries() if due else None)
