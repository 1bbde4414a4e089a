"""From what children told, run by run, to medians."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lamina.bench.result import LayerRow, StageRow

Stages = Mapping[str, Sequence[float]]  # name -> (CPU seconds, wall seconds, bytes)
# In the order in which bytes meet them, on the way in and on the way out; a name that is new goes to the end.
ORDER = ("read", "inflate", "hash", "scan", "cut", "id", "look-up", "lay", "compress", "checksum", "write", "sync",
         "check", "decompress", "weave", "verify")


def stage_rows(runs: Sequence[Stages], total: int) -> list[StageRow]:
    """The median of each stage; `total`: the bytes that a GB is counted by."""
    names = {name: None for run in runs for name in run}
    median = {name: tuple(statistics.median(run.get(name, (0, 0, 0))[part] for run in runs) for part in range(3))
              for name in sorted(names, key=_place)}
    cpu = sum(values[0] for values in median.values()) or 1e-9
    return [StageRow(name, values[0], values[1], int(values[2]), values[0] / max(total, 1) * 1e9, values[0] / cpu)
            for name, values in median.items()]


def layer_rows(loaded: Sequence[Sequence[Mapping[str, Any]]],
               drained: Sequence[Mapping[str, Mapping[str, float]]]) -> list[LayerRow]:
    """Each distinct layer once, the largest first."""
    by_digest = [{layer["digest"]: layer for layer in run if layer["status"] == "loaded"} for run in loaded]
    rows = []
    for digest, first in sorted(by_digest[0].items(), key=lambda item: (-item[1]["size"], item[0])):
        ins = [run[digest] for run in by_digest if digest in run]
        outs = [run[digest]["seconds"] for run in drained if digest in run]
        rows.append(LayerRow(
            digest, first["size"], int(statistics.median(one["new"] for one in ins)), first["entries"],
            statistics.median(one["seconds"] for one in ins), statistics.median(outs) if outs else 0.0,
            tuple(stage_rows([one["stages"] for one in ins], first["size"]))))
    return rows


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
