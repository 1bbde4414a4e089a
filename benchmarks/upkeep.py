"""`lamina verify` and `lamina gc`: speed, growth with the size of the store, and memory at its highest.

    python benchmarks/upkeep.py DIR [--json FILE] [--images 10,100,1000] [--runs 3]

DIR has docker-archives (*.tar).  Stores are made of them, and of small generated images (three layers of 64 KB each, of which
neighbours share one).  Each row is a whole command, start included, warm in the page cache:

    verify      plain bytes of distinct blobs a second, chunks a second, when an earlier run has read the blobs back
    verify --rehash  the same as the first time: every blob against its digest, too
    verify --stored  the same: stored bytes against their checksums, nothing decompressed
    gc          of a store in which every chunk is live: the marking alone, chunks a second
    gc, half    of a store half of whose names were removed: live frames copied, and bytes freed

The floor is what the machine needs for the same bytes by one thread, each step alone: reading, checksums, zstd, ids, SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from memory import measured

from lamina._native.blake3many import hash_many
from lamina._native.sha256many import Sha256, update_many
from lamina.store import BlobStore, layout
from lamina.store.codec import decode_into

LAYER = 64_000


@dataclass(frozen=True)
class Row:
    """One command on one store; bytes are plain ones of distinct blobs for verify, copied ones for gc.  `cpu`: seconds."""

    store: str
    command: str
    images: int
    chunks: int
    bytes: int
    seconds: float
    cpu: float
    memory: int

    def line(self) -> str:
        """Of the table."""
        rate = f"{self.bytes / self.seconds / 1e9:.3f}" if self.bytes else ""
        cells = [self.store, self.command, f"{self.images:,}", f"{self.chunks:,}", f"{self.bytes / 1e6:,.1f}",
                 f"{self.seconds:.2f}", f"{self.cpu:.2f}", rate, f"{self.chunks / self.seconds:,.0f}",
                 f"{self.memory / 2**20:.0f}"]
        return f"| {' | '.join(cells)} |"


COLUMNS = ("store", "command", "images", "chunks", "MB", "s", "CPU s", "GB/s", "chunks/s", "MiB")
HEADING = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def tar_of(name: str, data: bytes) -> bytes:
    """A tar of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def generated(number: int) -> bytes:
    """The archive of one small image: a layer of all, one that it shares with its neighbour, one of its own."""
    layers = {}
    for name in ("base", f"pair{number // 2}", f"own{number}"):
        data = tar_of(name, random.Random(name).randbytes(LAYER))
        layers[hashlib.sha256(data).hexdigest()] = data
    config = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in layers]}}).encode()
    names = [f"{digest}/layer.tar" for digest in layers]
    manifest = [{"Config": "config.json", "RepoTags": [f"small:{number}"], "Layers": names}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        members = dict(zip(names, layers.values(), strict=True))
        for name, data in {**members, "config.json": config, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def load(path: Path, sources: Iterator[io.BytesIO | Path]) -> None:
    """Into a new store."""
    import lamina

    with lamina.open(path) as store:
        for batch in store.load_all(list(sources)):
            for error in getattr(batch, "errors", ()):
                raise SystemExit(str(error))


def facts(path: Path) -> tuple[int, int, int]:
    """(chunks, plain bytes of distinct blobs, names)."""
    with BlobStore.open(path) as store:
        return (sum(pack.chunks for pack in store.catalog.packs()), sum(row.size for row in store.catalog.blobs()),
                len(store.catalog.refs()))


def command(path: Path, *arguments: str, runs: int = 1) -> tuple[float, float, int]:
    """Seconds and CPU seconds, their medians, and memory at its highest."""
    found = []
    for _ in range(runs):
        before = os.times()
        peak = measured(["--store", str(path), *arguments])
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        found.append((peak.seconds, cpu, peak.anonymous))
    seconds, cpus, memory = zip(*found, strict=True)
    return statistics.median(seconds), statistics.median(cpus), max(memory)


def rows(path: Path, name: str, runs: int) -> Iterator[Row]:
    """What is measured of a store; half of its names are gone in the end."""
    chunks, plain, images = facts(path)
    command(path, "verify")  # warms the cache, and proves that blobs follow from their chunks
    yield Row(name, "verify", images, chunks, plain, *command(path, "verify", runs=runs))
    yield Row(name, "verify --rehash", images, chunks, plain, *command(path, "verify", "--rehash", runs=runs))
    yield Row(name, "verify --stored", images, chunks, plain, *command(path, "verify", "--stored", runs=runs))
    yield Row(name, "gc", images, chunks, 0, *command(path, "gc", runs=runs))
    with BlobStore.open(path) as store:
        with store.session() as session:
            for ref in store.catalog.refs()[::2]:
                session.untag(ref.name)
            session.commit()
        started, cpu = time.monotonic(), time.process_time()
        copied = store.collect(max_unused=0).bytes_copied
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    yield Row(name, "gc, half", images, chunks, copied, seconds, cpu, 0)


def floor(path: Path) -> dict[str, float]:
    """CPU seconds a plain GB of each step by one thread."""
    took = dict.fromkeys(("read", "checksum", "zstd", "ids", "SHA-256, two streams"), 0.0)
    plain = 0
    stored_buffer, plain_buffer = np.empty(layout.RECORD_LIMIT, np.uint8), np.empty(layout.RECORD_LIMIT, np.uint8)
    states = [Sha256(), Sha256()]
    with BlobStore.open(path) as store:
        for pack in store.catalog.packs():
            footer, handle = store.packs.footer(pack.number), store.packs.handle(pack.number)
            for number in np.flatnonzero(np.isin(footer.records["type"], layout.FRAMES)).tolist():
                row, places = footer.records[number], footer.places[footer.places["record"] == number]
                stored = memoryview(stored_buffer)[: int(row["stored"])]
                data = memoryview(plain_buffer)[: int(row["plain"])]
                half = len(data) // 2
                offsets, lengths = places["offset"].astype(np.int64), places["length"].astype(np.int64)
                steps: list[tuple[str, Callable[[], object]]] = [
                    ("read", lambda h=handle, s=stored, r=row: h.pread_into(s, int(r["offset"]))),
                    ("checksum", lambda s=stored: layout.checksum(s)),
                    ("zstd", lambda r=row, s=stored, d=data: decode_into(int(r["codec"]), s, d, "")),
                    ("ids", lambda d=data, o=offsets, n=lengths: hash_many(d, o, n)),
                    ("SHA-256, two streams", lambda d=data, h=half: update_many(states, [d[:h], d[h:]])),
                ]
                for step, act in steps:
                    before = time.thread_time()
                    act()
                    took[step] += time.thread_time() - before
                plain += len(data)
    return {step: seconds / plain * 1e9 for step, seconds in took.items()}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", default="10,100,1000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where stores are made, by default among the temporary files")
    options = parser.parse_args()
    archives = sorted(options.directory.glob("*.tar"))
    if not archives:
        raise SystemExit(f"no *.tar in {options.directory}")
    found: list[Row] = []
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n{HEADING}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lamina-bench-", dir=options.work) as name:
        work = Path(name) / "store"
        for count in map(int, filter(None, options.images.split(","))):
            load(work, (io.BytesIO(generated(number)) for number in range(count)))
            for row in rows(work, f"{count:,} small", options.runs):
                found.append(row)
                print(row.line(), flush=True)
            shutil.rmtree(work)
        load(work, iter(archives))
        steps = floor(work)
        for row in rows(work, "real", options.runs):
            found.append(row)
            print(row.line(), flush=True)
    print("\nCPU s a GB of frames, one thread: " + ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items())
          + f"; {sum(steps.values()):.2f} in all")
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": [asdict(row) for row in found], "floor": steps},
                                           indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
