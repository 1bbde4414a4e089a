"""What the average chunk size costs and gains, over docker-archives: a markdown table.

    python benchmarks/chunk_sizes.py DIR-OR-ARCHIVE ...

For averages of 16 to 128 KiB (minimum a quarter, maximum four times of it): distinct bytes, chunks, index at 32 bytes a
chunk, zstd level 1 of the distinct chunks in frames of 256 KiB in stream order, and CPU seconds. Every layer counts once.
File contents are cut from their own first byte; the segments of a layer, contents below 512 bytes among them, are one
stream. Columns of one size are exact and the same on every machine, but for CPU seconds and zstd's version.
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from lamina._native.blake3many import hash_many
from lamina._native.cdc import Cutter
from lamina._native.tarscan import TarScanner

AVERAGES = (16384, 32768, 65536, 131072)
FRAME = 256 * 1024
FEED = 64 * 1024 * 1024
CONTENT, END = 1, 2
SLOT = 32

Bytes = npt.NDArray[np.uint8]
Column = npt.NDArray[np.int64]


def layers(archives: list[Path]) -> Iterator[Bytes]:
    """The distinct layers of all archives, each mapped."""
    seen: set[str] = set()
    for path in archives:
        with tarfile.open(path) as tar:
            for image in json.loads(_read(tar, "manifest.json")):
                diff_ids = json.loads(_read(tar, image["Config"]))["rootfs"]["diff_ids"]
                for diff_id, name in zip(diff_ids, image["Layers"], strict=True):
                    if diff_id in seen:
                        continue
                    seen.add(diff_id)
                    yield _map_member(path, tar, name)


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file.read()


def _map_member(path: Path, tar: tarfile.TarFile, name: str) -> Bytes:
    member = tar.getmember(name)
    while member.issym():  # docker before version 25 links to layers that it wrote already
        parts: list[str] = []
        for part in (Path(member.name).parent / member.linkname).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        member = tar.getmember("/".join(parts))
    return np.memmap(path, np.uint8, "r", member.offset_data, (member.size,))


def scan(layer: Bytes) -> tuple[Column, Column, Bytes]:
    """Offsets and lengths of the file contents of a layer, and its segment stream."""
    scanner = TarScanner()
    parts = [scanner.feed(layer[at : at + FEED]) for at in range(0, len(layer), FEED)]
    parts.append(scanner.finish())
    kinds = np.concatenate([kind for kind, _ in parts])
    lengths = np.concatenate([length for _, length in parts])
    starts = np.cumsum(lengths) - lengths
    segments = [layer[a : a + n] for k, a, n in zip(kinds, starts, lengths, strict=True) if not k & CONTENT]
    # A content that crosses a feed is several spans; it begins after a segment span or after another's end.
    content = (kinds & CONTENT) != 0
    before = np.concatenate([[True], ~content[:-1] | ((kinds[:-1] & END) != 0)])
    first = np.flatnonzero(content & before)
    last = np.flatnonzero(content & ((kinds & END) != 0))
    offsets = starts[first]
    return offsets, starts[last] + lengths[last] - offsets, np.concatenate(segments)


class Store:
    """Counts what one average would keep."""

    def __init__(self, average: int) -> None:
        self.cutter = Cutter(average // 4, average, average * 4)
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.seen: set[bytes] = set()
        self.frame: list[bytes] = []
        self.frame_size = self.distinct = self.chunks = self.stored = 0
        self.cpu = dict.fromkeys(("cut", "hash", "zstd"), 0.0)

    def add(self, data: Bytes, offsets: Column, lengths: Column) -> None:
        begin = time.process_time()
        rows, sizes = self.cutter.cut_many(data, offsets, lengths)
        cut = time.process_time()
        ends = np.cumsum(sizes)
        # chunks of a file lie end to end: shift the running sum by where each file begins
        starts = ends - sizes + (offsets - (np.cumsum(lengths) - lengths))[rows]
        ids = hash_many(data, starts, sizes)
        self.cpu["cut"] += cut - begin
        self.cpu["hash"] += time.process_time() - cut
        for chunk_id, start, size in zip(ids, starts.tolist(), sizes.tolist(), strict=True):
            key = chunk_id.tobytes()
            if key not in self.seen:
                self.seen.add(key)
                self._keep(data[start : start + size].tobytes())

    def _keep(self, chunk: bytes) -> None:
        if self.frame_size + len(chunk) > FRAME:
            self.flush()
        self.frame.append(chunk)
        self.frame_size += len(chunk)
        self.chunks += 1
        self.distinct += len(chunk)

    def flush(self) -> None:
        if not self.frame:
            return
        plain = b"".join(self.frame)
        begin = time.process_time()
        self.stored += min(len(plain), len(self.compressor.compress(plain)))
        self.cpu["zstd"] += time.process_time() - begin
        self.frame, self.frame_size = [], 0


def measure(archives: list[Path]) -> str:
    stores = {average: Store(average) for average in AVERAGES}
    total = files = segment_bytes = 0
    for layer in layers(archives):
        offsets, lengths, segments = scan(layer)
        layer[::4096].max()  # its pages come in before the clocks run
        total += len(layer)
        files += len(offsets)
        segment_bytes += len(segments)
        whole = np.array([0], np.int64), np.array([len(segments)], np.int64)
        for store in stores.values():
            store.add(layer, offsets, lengths)
            store.add(segments, *whole)
    head = (
        f"{len(archives)} archives: {total / 1e6:,.1f} MB in distinct layers, {files:,} contents, "
        f"{segment_bytes / 1e6:,.1f} MB of segments\n\n"
        "| average | chunks | distinct MB | zstd 1 MB | index MB | zstd + index MB | CPU s: cut | ids | zstd |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_row(average, store) for average, store in stores.items())


def _row(average: int, store: Store) -> str:
    store.flush()
    index = store.chunks * SLOT
    cells = [
        f"{average // 1024} KiB",
        f"{store.chunks:,}",
        f"{store.distinct / 1e6:,.1f}",
        f"{store.stored / 1e6:,.1f}",
        f"{index / 1e6:,.2f}",
        f"{(store.stored + index) / 1e6:,.1f}",
        *(f"{seconds:.2f}" for seconds in store.cpu.values()),
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> None:
    if not arguments:
        sys.exit(__doc__)
    archives: list[Path] = []
    for argument in map(Path, arguments):
        archives += sorted(argument.glob("*.tar")) if argument.is_dir() else [argument]
    print(measure(archives))


if __name__ == "__main__":
    main(sys.argv[1:])
