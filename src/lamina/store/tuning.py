"""How hard a session works, and how finely it cuts: what `lamina bench` varies in stores of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """`workers`: threads that compress; `lanes`: streams on their way at once; 0 is what suits the machine.

    `cutting`: least, average and most bytes of a chunk, the most no larger than a frame.  A store that stays is never given
    any: chunks of other sizes would find nothing of what it holds.

    `piece`: bytes that go through the pipeline together, 0 for what is quickest in all; with less a stream that comes slowly
    is done with sooner after its end.  The chunks are the same.
    """

    workers: int = 0
    lanes: int = 0
    cutting: tuple[int, int, int] | None = None
    piece: int = 0
