"""What a bench found, and the same as JSON, whose keys stay as they are (version 1).

    version, runs        1; how often everything was measured
    machine, versions    see `machine`
    inputs[]             name, format, bytes, plain_bytes, images
    bytes                of all inputs: what every MB/s of a contender is reckoned by
    read_bytes           of the layers that were read, each distinct one once: what the stages of `in` are reckoned by
    images[]             name, id, layers[] (digests)
    contenders[]         name, kind ("lamina" or "peer"), version, setting {compression, chunk_size_kib, threads} or null,
                         what {in, out}, stored_bytes, and the figures `in`, `again`, `out`:
                           seconds {runs[], median, least, most}, cpu_seconds (the same, or null), mb_per_second,
                           ratio {median, least, most, verdict} against the first contender, or null for itself
                         `again` (the same once more, all digests known) is Lamina's alone, else null
    stages {in[], out[]} name, cpu_seconds, wall_seconds, bytes, seconds_per_gb (of `read_bytes`), share (of all stages' CPU)
    layers[]             digest, bytes, new_bytes, entries, in_seconds, out_seconds, stages[] (as above)
    dedup                layers[], images[] (names), whole_bytes[], cells[][] {bytes, own}: for each layer, for each image, the
                         plain bytes of the layer's chunks that the image has in its other layers; `own`: it has this layer
    skipped[], failed[]  name, reason: peers that cannot be measured here, or met an error
    warnings[]           texts

Seconds, bytes; of several runs the medians.  `out` of one contender covers all images, one archive each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lamina.bench.dedup import Dedup
from lamina.bench.settings import Setting
from lamina.bench.sources import Source
from lamina.bench.spread import Ratio, Sample

VERSION = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was timed: seconds, processor seconds where known, and the ratio to the first contender's."""

    seconds: Sample
    cpu: Sample | None = None
    ratio: Ratio | None = None


@dataclass(slots=True)
class Contender:
    """Lamina with one setting, or a peer.  `figures`: "in", "again", "out"."""

    name: str
    version: str
    setting: Setting | None
    what_in: str
    what_out: str
    stored: int
    figures: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage: processor and wall seconds, bytes that went in; seconds a GB of what was measured, share of all stages' CPU."""

    name: str
    cpu: float
    wall: float
    bytes: int
    per_gb: float
    share: float


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer on its way in, beside others, and alone on its way out."""

    digest: str
    bytes: int
    new: int
    entries: int
    seconds: float
    out_seconds: float
    stages: tuple[StageRow, ...]


@dataclass(slots=True)
class Result:
    """All of it.  `read`: bytes of the layers that had to be read, each distinct one once; what stages are reckoned by."""

    runs: int
    machine: dict[str, Any]
    versions: dict[str, str]
    inputs: list[Source]
    contenders: list[Contender] = field(default_factory=list)
    stages_in: list[StageRow] = field(default_factory=list)
    stages_out: list[StageRow] = field(default_factory=list)
    layers: list[LayerRow] = field(default_factory=list)
    read: int = 0
    dedup: Dedup | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all inputs."""
        return sum(source.bytes for source in self.inputs)

    def json(self) -> dict[str, Any]:
        """The keys above."""
        dedup = self.dedup
        return {
            "version": VERSION, "runs": self.runs, "machine": self.machine, "versions": self.versions, "bytes": self.bytes,
            "read_bytes": self.read,
            "inputs": [{"name": one.name, "format": one.format, "bytes": one.bytes, "plain_bytes": one.plain,
                        "images": one.images} for one in self.inputs],
            "images": [{"name": one.name, "id": one.id, "layers": list(one.layers)} for one in (dedup.images if dedup else ())],
            "contenders": [self._contender(one) for one in self.contenders],
            "stages": {"in": _stages(self.stages_in), "out": _stages(self.stages_out)},
            "layers": [{"digest": one.digest, "bytes": one.bytes, "new_bytes": one.new, "entries": one.entries,
                        "in_seconds": one.seconds, "out_seconds": one.out_seconds, "stages": _stages(one.stages)}
                       for one in self.layers],
            "dedup": _dedup(dedup) if dedup else None,
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
            "failed": [{"name": name, "reason": reason} for name, reason in self.failed],
            "warnings": self.warnings,
        }

    def _contender(self, one: Contender) -> dict[str, Any]:
        setting = one.setting
        return {
            "name": one.name, "kind": "lamina" if setting else "peer", "version": one.version,
            "setting": {"compression": setting.compression, "chunk_size_kib": setting.chunk_size,
                        "threads": setting.threads or None} if setting else None,
            "what": {"in": one.what_in, "out": one.what_out}, "stored_bytes": one.stored,
            **{name: self._figure(one.figures.get(name)) for name in ("in", "again", "out")},
        }

    def _figure(self, figure: Figure | None) -> dict[str, Any] | None:
        if figure is None:
            return None
        return {
            "seconds": _sample(figure.seconds), "cpu_seconds": _sample(figure.cpu) if figure.cpu else None,
            "mb_per_second": self.bytes / 1e6 / max(figure.seconds.median, 1e-9),
            "ratio": asdict(figure.ratio) if figure.ratio else None,
        }


def _sample(sample: Sample) -> dict[str, Any]:
    return {"runs": list(sample.runs), "median": sample.median, "least": sample.least, "most": sample.most}


def _stages(rows: Sequence[StageRow]) -> list[dict[str, Any]]:
    return [{"name": row.name, "cpu_seconds": row.cpu, "wall_seconds": row.wall, "bytes": row.bytes,
             "seconds_per_gb": row.per_gb, "share": row.share} for row in rows]


def _dedup(dedup: Dedup) -> dict[str, Any]:
    return {
        "layers": list(dedup.layers), "images": [image.name for image in dedup.images], "whole_bytes": list(dedup.whole),
        "cells": [[{"bytes": count, "own": layer in image.layers} for count, image in zip(row, dedup.images, strict=True)]
                  for layer, row in zip(dedup.layers, dedup.cells, strict=True)],
    }
