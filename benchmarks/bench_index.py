"""The chunk index from 10^5 to 10^8 chunks: bytes a chunk, open, look-ups, memory, and what growth costs an import.

    python benchmarks/bench_index.py [CHUNKS ...] [--dir DIR]      default: 1e5 1e6 1e7 1e8; 1e8 needs 10 GB of disk in DIR

Ids are random; id columns lie in one file that is mapped, as footers are; packs have 3,000 chunks. Look-ups go through
`ChunkIndex`, in batches of 1,000 ids (an import's buffer of 8 MiB has some 200; that column is there too), and are counted by
CPU time of their thread: the machine may be busy. Medians of five passes over a million ids in random order, all mapped before.
"cold" is wall time of the first 20,000 known ids when the page cache has been told to forget table and columns.

"Growth" is an import beside it: into four files of a quarter of the chunks each, so that the first flush makes them one, come
60,000 chunks a second in batches of 200 that are claimed, added and flushed as `ingest` does, until the merge has ended (two
minutes at most).  The pause is the longest of those three calls together, by the wall; `quiet` the longest when nothing is
flushed at all: what the machine's other work adds.  `memory` is anonymous memory beyond that of before, at its height.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE
from lamina.store.index import ChunkIndex, LivePack
from lamina.store.indexfile import publish

PACK = 3000
BATCH, BUFFER = 1000, 200
ASKED = 1_000_000
COLD = 20_000
PASSES = 5
RATE = 60_000  # chunks a second: 2 GB/s of content
MERGING = 120.0  # seconds of growth at most
Ids = npt.NDArray[np.uint8]


def random_ids(rng: np.random.Generator, count: int) -> Ids:
    return np.frombuffer(rng.bytes(count * 32), np.uint8).reshape(-1, 32)


def write_columns(path: Path, rng: np.random.Generator, chunks: int) -> Ids:
    with path.open("wb") as file:
        for at in range(0, chunks, 1_000_000):
            file.write(rng.bytes(min(1_000_000, chunks - at) * 32))
    return np.memmap(path, np.uint8, "r").reshape(-1, 32)


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def rate(call: Callable[[Ids], object], ids: Ids, batch: int = BATCH) -> float:
    """Ids a second of CPU time."""
    taken = []
    for _ in range(PASSES):
        begin = time.thread_time()
        for at in range(0, len(ids), batch):
            call(ids[at : at + batch])
        taken.append(time.thread_time() - begin)
    return len(ids) / statistics.median(taken)


def forget(path: Path) -> None:
    """Let the page cache forget a file; what is mapped and touched stays."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


class Table:
    """A number of chunks in packs, with their index on disk."""

    def __init__(self, directory: Path, chunks: int) -> None:
        self.directory, self.chunks = directory, chunks
        self.rng = np.random.default_rng(7)
        self.columns = write_columns(directory / "columns", self.rng, chunks)
        self.packs = -(-chunks // PACK)
        self.live = {n.to_bytes(16, "big"): LivePack(n, min(PACK, chunks - n * PACK)) for n in range(self.packs)}
        self.grown: list[Ids] = []  # of packs that the import writes

    def ids(self, number: int) -> Ids:
        if number >= self.packs:
            return self.grown[number - self.packs]
        return self.columns[number * PACK : (number + 1) * PACK]

    def build(self, name: str, files: int) -> tuple[float, float]:
        """Index files of equal shares; (bytes a chunk, seconds)."""
        where = self.directory / name
        where.mkdir()
        rows = list(self.live.items())
        begin = time.perf_counter()
        for part in range(files):
            mine = rows[part * len(rows) // files : (part + 1) * len(rows) // files]
            publish(where, [(each, chunks) for each, (_, chunks) in mine], lambda row, m=mine: self.ids(m[row][1][0]))
        seconds = time.perf_counter() - begin
        return sum(path.stat().st_size for path in where.glob("*.idx")) / self.chunks, seconds

    def lookups(self) -> list[str]:
        """How large, how long to open, how fast."""
        size, build = self.build("one", 1)
        asked = min(self.chunks, ASKED)
        known = np.ascontiguousarray(self.columns[self.rng.integers(0, self.chunks, asked)])
        unknown = random_ids(self.rng, asked)
        self.columns = np.empty((0, 32), np.uint8)
        for path in self._files():
            forget(path)
        self.columns = np.memmap(self.directory / "columns", np.uint8, "r").reshape(-1, 32)
        before, opened = anonymous(), []
        for _ in range(PASSES):
            index = ChunkIndex(self.directory / "one", self.ids)
            begin = time.perf_counter()
            index.refresh(self.live)
            opened.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for at in range(0, COLD, BATCH):
            index.lookup(known[at : at + BATCH])
        cold = COLD / (time.perf_counter() - begin)
        self._warm()
        for at in range(0, asked, BATCH):
            assert not (index.lookup(known[at : at + BATCH])[0] == NONE).any()
            assert (index.lookup(unknown[at : at + BATCH])[0] == NONE).all()
        mixed = np.concatenate([known[: asked // 2], unknown[: asked // 2]])[self.rng.permutation(asked // 2 * 2)]
        rates = [rate(index.lookup, known), rate(index.lookup, unknown), rate(index.lookup, known, BUFFER),
                 rate(index.lookup, unknown, BUFFER), rate(index.claim, mixed)]
        memory = anonymous() - before - mixed.nbytes
        index.close()
        return [f"10^{len(str(self.chunks)) - 1}", f"{size:.1f}", f"{build:.1f}", f"{statistics.median(opened) * 1000:.1f}",
                *(f"{each / 1e6:.1f}" for each in rates), f"{cold / 1e3:.0f}", f"{memory / 1e6:.0f}"]

    def _files(self) -> list[Path]:
        return [self.directory / "columns", *(self.directory / "one").glob("*.idx")]

    def _warm(self) -> None:
        """Read all into the page cache, and map it."""
        for path in self._files():
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass

    def growth(self) -> list[str]:
        """The longest pauses of an import, without flushes and with them."""
        shutil.rmtree(self.directory / "one")
        self.build("four", 4)
        before = anonymous()
        unbounded = ChunkIndex(self.directory / "four", self.ids, delta_chunks=1 << 40, delta_packs=1 << 40)
        quiet, _, _ = self._import(unbounded, 5.0)
        pauses, seconds, height = self._import(ChunkIndex(self.directory / "four", self.ids), MERGING)
        files = [path.stat().st_size for path in (self.directory / "four").glob("*.idx")]
        merged = "yes" if max(files) > 24 * self.chunks else "no"
        return [f"{max(quiet) * 1000:.0f}", f"{max(pauses) * 1000:.0f}", f"{np.quantile(pauses, 0.999) * 1000:.1f}",
                f"{seconds:.0f} {merged}", f"{(height - before) / 1e6:.0f}"]

    def _import(self, index: ChunkIndex, limit: float) -> tuple[list[float], float, int]:
        self.grown = []
        index.refresh(self.live)
        pauses: list[float] = []
        height, begin, done = 0, time.perf_counter(), 0
        whole = 24 * self.chunks
        while (passed := time.perf_counter() - begin) < limit:
            pack = random_ids(self.rng, PACK)
            number = self.packs + len(self.grown)
            self.grown.append(pack)
            for at in range(0, PACK, BUFFER):
                batch = pack[at : at + BUFFER]
                one = time.perf_counter()
                index.claim(batch)
                index.add(number, batch, at)
                index.grow()
                pauses.append(time.perf_counter() - one)
                done += len(batch)
                time.sleep(max(0.0, done / RATE - (time.perf_counter() - begin)))
            index.sealed(number, (1 << 64 | number).to_bytes(16, "big"))
            height = max(height, anonymous() - sum(each.nbytes for each in self.grown))
            if passed > 5 and any(path.stat().st_size > whole for path in (self.directory / "four").glob("*.idx")):
                break
        index.close()
        return pauses, time.perf_counter() - begin, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chunks", nargs="*", default=["1e5", "1e6", "1e7", "1e8"])
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    head = ["chunks", "file B/chunk", "build s", "open ms", "known M/s", "unknown M/s", "known, 200 M/s", "unknown, 200 M/s",
            "claim M/s", "cold k/s", "memory MB", "quiet pause ms", "growth pause ms", "99.9 % ms", "s, merged", "memory MB"]
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for argument in options.chunks:
        with tempfile.TemporaryDirectory(dir=options.dir, prefix="lamina-index-") as directory:
            table = Table(Path(directory), int(float(argument)))
            print("| " + " | ".join(table.lookups() + table.growth()) + " |", flush=True)


if __name__ == "__main__":
    main()
