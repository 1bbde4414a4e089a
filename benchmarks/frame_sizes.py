"""What the size of a frame and zstd's parameters cost and gain, over a store of docker-archives: a markdown table.

    python benchmarks/frame_sizes.py DIR [--megabytes N]

Loads DIR/*.tar into a temporary store without compression, takes stretches of 8 MiB of its content frames evenly from all
of it, up to N MB (240), and compresses them by frames of several sizes.  Sizes are exact for one version of zstd; CPU
seconds are the least of three rounds, in which the rows alternate.  Both are relative to the row in use.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zstandard

import lamina
from lamina.store import layout
from lamina.store.codec import parameters
from lamina.store.schema import LIVE

STRETCH = 8 << 20
KIB = 1024
# (frame in KiB, level, parameters of our own); the first row is what is compared with.
ROWS: list[tuple[int, int, dict[str, int]]] = [
    (1024, 1, {"min_match": 6}),
    *[(size, 1, {"min_match": 6}) for size in (64, 256, 512, 2048, 4096)],
    *[(1024, 1, {"min_match": match, "hash_log": log}) for match in (5, 6, 7) for log in (13, 14, 15)],
    *[(size, 3, {}) for size in (256, 1024, 2048)],
]


def stretches(store_path: Path, limit: int) -> list[bytes]:
    """Content in the order in which it lies in the packs."""
    with lamina.open(store_path) as store:
        found, run = [], bytearray()
        for pack in store.blobs.catalog.packs(LIVE):
            for number, row in enumerate(store.blobs.packs.footer(pack.number).records):
                if row["type"] == layout.CONTENT:
                    run += store.blobs.packs.record(pack.number, number)
                if len(run) >= STRETCH:
                    found.append(bytes(run[:STRETCH]))
                    run = run[STRETCH:]
    step = max(1, len(found) * STRETCH // limit)
    return found[::step]


def measure(data: list[bytes], frame: int, level: int, own: dict[str, int]) -> tuple[int, float]:
    """(bytes, CPU seconds)."""
    compressor = zstandard.ZstdCompressor(compression_params=parameters(level, frame, **own))
    started, total = time.thread_time(), 0
    for stretch in data:
        view = memoryview(stretch)
        for at in range(0, len(view), frame):
            piece = view[at : at + frame]
            total += min(len(compressor.compress(piece)), len(piece))
    return total, time.thread_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--megabytes", type=int, default=240)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lamina-bench-") as work:
        command = [sys.executable, "-m", "lamina", "--store", f"{work}/store", "load", "-q", "--compression", "none"]
        subprocess.run([*command, str(options.directory)], check=True, stdout=subprocess.DEVNULL)
        data = stretches(Path(work) / "store", options.megabytes * 10**6)
    plain = sum(map(len, data))
    best: list[tuple[int, float]] = []
    for _ in range(3):
        results = [measure(data, size * KIB, level, own) for size, level, own in ROWS]
        best = [(size, min(seconds, before[1])) for (size, seconds), before in zip(results, best or results, strict=True)]
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    print(f"{plain / 1e6:.0f} MB; zstd {version}; {plain / best[0][1] / 1e6:.0f} MB/s in the row in use\n")
    print("| frame | level | own parameters | plain / stored | size | CPU time |\n|---|---|---|---|---|---|")
    for (frame, level, own), (size, seconds) in zip(ROWS, best, strict=True):
        words = ", ".join(f"{name} {value}" for name, value in own.items()) or "none"
        against = f"{size / best[0][0]:.3f} | {seconds / best[0][1]:.2f}"
        print(f"| {frame} KiB | {level} | {words} | {plain / size:.2f} | {against} |")


if __name__ == "__main__":
    main()
