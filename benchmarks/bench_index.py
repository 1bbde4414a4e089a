"""The chunk index: bytes a chunk, build, open, look-up, claim, longest pause.

    python benchmarks/bench_index.py [CHUNKS ...]        default: 1e5 1e6 1e7; 1e8 needs 7 GB of disk

Id columns lie in one file, as footers do; packs have 3,000 chunks. Look-ups are in batches of 1,000 ids, as ingest makes them;
"pause" is the longest single call of that column. Times are of warm files (a second pass).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE, DeltaTable
from lamina.store.index import ChunkIndex

PACK = 3000
BATCH = 1000
DELTA = 10_000_000  # more than the store ever lets it grow to
Ids = npt.NDArray[np.uint8]


def random_ids(rng: np.random.Generator, count: int) -> Ids:
    return np.frombuffer(rng.bytes(count * 32), np.uint8).reshape(-1, 32)


def write_columns(path: Path, rng: np.random.Generator, chunks: int) -> npt.NDArray[np.uint8]:
    with path.open("wb") as file:
        for at in range(0, chunks, 1_000_000):
            file.write(rng.bytes(min(1_000_000, chunks - at) * 32))
    return np.memmap(path, np.uint8, "r").reshape(-1, 32)


def batches(call: Callable[[Ids], object], ids: Ids) -> tuple[float, float]:
    """(seconds, longest call) over batches."""
    longest, begin = 0.0, time.perf_counter()
    for at in range(0, len(ids), BATCH):
        one = time.perf_counter()
        call(ids[at : at + BATCH])
        longest = max(longest, time.perf_counter() - one)
    return time.perf_counter() - begin, longest


def measure(directory: Path, chunks: int) -> list[str]:
    rng = np.random.default_rng(7)
    columns = write_columns(directory / "columns", rng, chunks)
    packs = -(-chunks // PACK)
    live = {n.to_bytes(16, "big"): (n, min(PACK, chunks - n * PACK)) for n in range(packs)}

    def footer_ids(number: int) -> Ids:
        return columns[number * PACK : (number + 1) * PACK]

    index = ChunkIndex(directory / "index", footer_ids, delta_chunks=0, delta_packs=0)
    begin = time.perf_counter()
    index.refresh(live)
    build = time.perf_counter() - begin
    size = sum(path.stat().st_size for path in (directory / "index").glob("*.idx"))
    index.close()

    index = ChunkIndex(directory / "index", footer_ids, columns=packs)
    begin = time.perf_counter()
    index.refresh(live)
    opened = time.perf_counter() - begin

    asked = min(chunks, 1_000_000)
    hits = np.ascontiguousarray(columns[rng.integers(0, chunks, asked)])
    misses = random_ids(rng, asked)
    assert not (index.lookup(hits)[0] == NONE).any()
    index.lookup(misses)
    (hit, pause_hit), (miss, pause_miss) = batches(index.lookup, hits), batches(index.lookup, misses)
    claim, _ = batches(index.claim, np.concatenate([hits[: asked // 2], misses[: asked // 2]]))

    held = min(chunks, DELTA)
    delta = DeltaTable(0x9E3779B97F4A7C15)
    insert, pause_insert = batches(lambda ids: delta.insert(ids, 0, 0), columns[:DELTA])
    done = asked / 1e6
    return [
        f"{chunks:.0e}", f"{size / chunks:.1f}", f"{build:.2f}", f"{opened * 1000:.1f}", f"{done / hit:.1f}",
        f"{done / miss:.1f}", f"{done / claim:.1f}", f"{max(pause_hit, pause_miss) * 1000:.2f}",
        f"{delta.nbytes / held:.1f}", f"{held / insert / 1e6:.1f}", f"{pause_insert * 1000:.2f}",
    ]  # fmt: skip


def main() -> None:
    head = [
        "chunks", "file B/chunk", "build s", "open ms", "hit M/s", "miss M/s", "claim M/s", "pause ms",
        "delta B/chunk", "insert M/s", "pause ms",
    ]  # fmt: skip
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for argument in sys.argv[1:] or ["1e5", "1e6", "1e7"]:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
            print("| " + " | ".join(measure(Path(directory), int(float(argument)))) + " |", flush=True)


if __name__ == "__main__":
    main()
