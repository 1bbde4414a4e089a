"""What a session counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lamina.store.stages import Stages


@dataclass(slots=True)
class LayerStats:
    """One blob that was taken in, or was there already; bytes and seconds."""

    digest: str
    size: int
    new: int
    entries: int
    seconds: float
    status: str  # "loaded" or "exists"
    stages: Stages = field(default_factory=Stages)  # up to where chunks are laid into frames


@dataclass(slots=True)
class SessionStats:
    """Bytes read, bytes not read because their digest was known, plain bytes stored for the first time, bytes written."""

    read: int = 0
    known: int = 0
    new: int = 0
    stored: int = 0
    layers: list[LayerStats] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def exists(self, digest: str, size: int) -> None:
        """A blob needed no reading."""
        self.known += size
        self.layers.append(LayerStats(digest, size, 0, 0, 0.0, "exists"))

    def loaded(self, layer: LayerStats) -> None:
        """A blob was taken in."""
        self.read += layer.size
        self.new += layer.new
        self.layers.append(layer)

    def finish(self) -> None:
        """The session is over."""
        self.seconds = time.monotonic() - self.started
