"""How fast layers are compressed for a push, and how small: a markdown table.

    python benchmarks/bench_compress.py FILE [--bytes N] [--pieces KIB,...] [--settings gzip:2,zstd:3]

FILE is any tar; its first N bytes (256 MiB) are held in memory.  MB/s are plain bytes by wall clock on all cores, with the
SHA-256 of what comes out, as a push takes it; CPU s are of a GB of plain bytes.  `one thread` rows are zlib's own and
ISA-L's whole stream without pieces, for comparison.  With `--pieces`, gzip is measured with pieces of those sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from isal import isal_zlib

from lamina.content import compress
from lamina.content.verify import BytesReader

DEFAULT = "none,gzip:0,gzip:1,gzip:2,gzip:3,zstd:1,zstd:3"


def pushed(data: bytes, settings: str) -> int:
    """Compress as a push does; bytes that came out."""
    packing = compress.Packing.parse(settings)
    hasher, buffer, total = hashlib.sha256(), memoryview(bytearray(4 << 20)), 0
    with packing.crew() as crew:
        reader = packing.reader(BytesReader(data), crew)
        while count := reader.readinto(buffer):
            hasher.update(buffer[:count])
            total += count
        reader.close()
    return total


def whole(data: bytes, library: object, level: int) -> int:
    """One stream in one thread."""
    packer = library.compressobj(level, zlib.DEFLATED, 31)  # type: ignore[attr-defined]
    hasher, total = hashlib.sha256(), 0
    for place in range(0, len(data), 1 << 20):
        part = packer.compress(memoryview(data)[place : place + (1 << 20)])
        hasher.update(part)
        total += len(part)
    return total + len(packer.flush())


def row(name: str, data: bytes, work: Callable[[], int]) -> None:
    """Run it and print its line."""
    wall, cpu = time.perf_counter(), time.process_time()
    size = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {name} | {len(data) / wall / 1e6:.0f} | {cpu / len(data) * 1e9:.2f} | {size / len(data):.4f} |", flush=True)


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bytes", type=int, default=256 << 20)
    parser.add_argument("--pieces", default="", help="KiB of a gzip piece, several by commas")
    parser.add_argument("--settings", default=DEFAULT)
    options = parser.parse_args()
    with options.file.open("rb") as file:
        data = file.read(options.bytes)
    print(f"{options.file.name}, {len(data) / 1e6:.0f} MB, {os.cpu_count()} cores\n")
    print("| what | MB/s | CPU s/GB | ratio |\n|---|---|---|---|")
    for settings in options.settings.split(","):
        row(settings, data, lambda settings=settings: pushed(data, settings))  # type: ignore[misc]
    for size in filter(None, options.pieces.split(",")):
        compress.GZIP_PIECE = int(size) << 10
        row(f"gzip, pieces of {size} KiB", data, lambda: pushed(data, "gzip"))
    for library, name, levels in ((zlib, "zlib", (1, 6)), (isal_zlib, "ISA-L", (2,))):
        for level in levels:
            row(f"{name} {level}, one thread", data[: 64 << 20], lambda one=(library, level): whole(data[: 64 << 20], *one))  # type: ignore[misc]


if __name__ == "__main__":
    main()
