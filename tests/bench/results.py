"""Results made up, for tables and pages: names as hostile as an archive's can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.bench.dedup import Dedup, ImageLayers
from lamina.bench.result import Contender, Figure, LayerRow, Result, StageRow
from lamina.bench.settings import Setting
from lamina.bench.sources import Source
from lamina.bench.spread import Sample, compare

HOSTILE = "<script>alert(1)</script>&\"'\x1b[31m\x00\u202e]]>"
FACTS: dict[str, Any] = {
    "cpu": {"model": "Some <CPU>", "cores": 2, "features": ["avx2"], "selected": {"cdc": "portable"}, "virtual": True},
    "memory_bytes": 8_000_000_000, "kernel": "Linux 6.1", "system": "Some Linux", "load_average": 0.1,
    "disk": {"file_system": "ext4", "mounted_at": "/", "device": "vda", "model": "", "rotational": None},
}


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def made_up(layers: int = 3, images: int = 2, name: str = HOSTILE, runs: int = 3, out: bool = True) -> Result:
    """A result with two settings and a peer that is twice as slow."""
    base = Sample(tuple(1.0 + run / 100 for run in range(runs)))
    near = Sample(tuple(1.01 - run / 100 for run in range(runs)))
    slow = Sample(tuple(2.0 + run / 100 for run in range(runs)))
    source = Source(name, Path("x.tar"), "docker-archive", 10**9, images, 10**9)
    result = Result(runs, FACTS, {"lamina": "0.1.0"}, [source], read=10**9)
    ours = {"in": base, "again": base, "out": base}
    result.contenders = [
        Contender("lamina zstd:1", "0.1.0", Setting(), "load", "save", 4 * 10**8,
                  {key: Figure(value, value) for key, value in ours.items()}),
        Contender("lamina none", "0.1.0", Setting("none"), "load", "save", 9 * 10**8,
                  {key: Figure(near, near, compare(base, near)) for key in ours}),
        Contender("skopeo", name, None, "copy", "copy back", 10**9,
                  {key: Figure(slow, None, compare(base, slow)) for key in ("in", "out")}),
    ]
    stages = [StageRow("read", 0.1, 0.2, 10**9, 0.1, 0.1), StageRow("hash", 0.9, 0.9, 10**9, 0.9, 0.9)]
    result.stages_in, result.stages_out = stages, stages if out else []
    result.layers = [LayerRow(digest(number), 10**6 * (number + 1), 10**6, 7, 0.1, 0.05, tuple(stages))
                     for number in range(layers)]
    columns = tuple(ImageLayers(f"{name}{number}", digest(99), (digest(number),)) for number in range(images))
    rows = tuple(tuple(10**5 * row for _ in columns) for row in range(layers))
    result.dedup = Dedup(tuple(digest(number) for number in range(layers)), columns, (10**6,) * layers, rows)
    result.skipped = [("docker", "needs root")]
    result.warnings = [f"busy {name}"]
    return result
