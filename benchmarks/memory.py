"""Peak anonymous and shared memory of whole commands, over layers that are generated as they are read.

    python benchmarks/memory.py [--case NAME]... [--gigabytes 20] [--files 5000000] [--store DIR]

Each case is a docker-archive that streams through the standard input of `lamina load -`; the store is then read back by
`lamina verify`, collected, optimized, and removed.  RssAnon and RssShmem of the process are sampled every 20 ms: mapped
files are not counted.  The layer's bytes are mostly repeated, so that a layer of 20 GB takes little room on disk.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BLOCK = 512
PIECE = 8 << 20
LIMIT = 300 << 20


@dataclass(frozen=True)
class Case:
    """A layer: its name, how many entries it has, its pieces (the same each time they are asked for)."""

    name: str
    entries: int
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Peak:
    """What a command took; bytes and seconds."""

    anonymous: int
    seconds: float


def header(name: str, size: int) -> bytes:
    """A ustar header, or for what it cannot say a PAX one."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def large(total: int) -> Iterator[bytes]:
    """One file: pieces out of a few, and 1 % that is new."""
    rng = random.Random(1)
    known = [rng.randbytes(PIECE) for _ in range(4)]
    yield header("large", total)
    done = 0
    for number in range((total + PIECE - 1) // PIECE):
        piece = rng.randbytes(PIECE) if number % 100 == 0 else known[rng.randrange(4)]
        yield piece[: total - done]
        done += min(PIECE, total - done)
    yield bytes(-total % BLOCK + 2 * BLOCK)


def empty(count: int) -> Iterator[bytes]:
    """Empty files, as 5 million of them come: names in order."""
    out = bytearray()
    block = bytearray(header("d0000/file-00000000", 0))
    unsummed = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    name = block[:19]
    for number in range(count):
        text = b"d%04d/file-%08d" % (number // 1000, number)
        block[:19] = text
        block[148:156] = b"%06o\0 " % (unsummed - sum(name) + sum(text))
        out += block
        if len(out) >= PIECE:
            yield bytes(out)
            out.clear()
    yield bytes(out) + bytes(2 * BLOCK)


def small(count: int) -> Iterator[bytes]:
    """Files of 600 bytes, each its own content: the most chunks and spans for its bytes."""
    rng = random.Random(2)
    out = bytearray()
    for number in range(count):
        out += header(f"{number:07}", 600) + rng.randbytes(600) + bytes(-600 % BLOCK)
        if len(out) >= PIECE:
            yield bytes(out)
            out.clear()
    yield bytes(out) + bytes(2 * BLOCK)


def zipped(pieces: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """The layer in gzip."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        for piece in pieces():
            file.write(piece)
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def cases(gigabytes: float, files: int) -> list[Case]:
    """All there are."""
    total = int(gigabytes * 1e9)
    return [
        Case("large", 1, lambda: large(total)),
        Case("empty", files, lambda: empty(files)),
        Case("small", files // 5, lambda: small(files // 5)),
        Case("gzip", 1, lambda: zipped(lambda: large(total // 10))),
    ]


def archive(case: Case) -> tuple[int, Iterator[bytes]]:
    """(bytes of the layer, a docker-archive around it): read twice, for a layer stands behind a header that has its size."""
    size = sum(len(piece) for piece in case.pieces())
    return size, _archive(case, size)


def _archive(case: Case, size: int) -> Iterator[bytes]:
    plain = hashlib.sha256()
    yield header("layer.tar", size)
    inflate = zlib.decompressobj(31) if case.name == "gzip" else None
    for piece in case.pieces():
        plain.update(inflate.decompress(piece) if inflate else piece)
        yield piece
    yield bytes(-size % BLOCK)
    config = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [f"{case.name}:latest"], "Layers": ["layer.tar"]}]).encode()
    for name, data in (("config.json", config), ("manifest.json", manifest)):
        yield header(name, len(data)) + data + bytes(-len(data) % BLOCK)
    yield bytes(2 * BLOCK)


def anonymous(pid: int) -> int:
    """RssAnon and RssShmem of a process, in bytes; 0 when it is over."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    rows = dict(line.split(":", 1) for line in text.splitlines())
    return sum(int(rows.get(key, "0 kB").split()[0]) << 10 for key in ("RssAnon", "RssShmem"))


def measured(arguments: list[str], feed: Iterator[bytes] | None = None) -> Peak:
    """Run `lamina` with these arguments and standard input; `CalledProcessError` if it fails."""
    command = [sys.executable, "-m", "lamina", *arguments]
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE if feed else subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    peak, over = 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, anonymous(process.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        if feed is not None and process.stdin is not None:
            _write(process.stdin, feed)
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    finally:
        process.kill()
        process.wait()
        over.set()
        sampler.join()
    return Peak(peak, time.monotonic() - started)


def _write(pipe: IO[bytes], pieces: Iterator[bytes]) -> None:
    with pipe:
        for piece in pieces:
            pipe.write(piece)


def run(case: Case, directory: Path) -> list[tuple[str, int, Peak]]:
    """(command, bytes of the layer, what it took) for each command on this case."""
    store = ["--store", str(directory / case.name)]
    size, pieces = archive(case)
    try:
        rows = [("load", size, measured([*store, "load", "-q", "-i", "-"], pieces))]
        rest = [["save", "-o", os.devnull, f"{case.name}:latest"], ["verify"], ["system", "df"], ["gc"], ["optimize", "-q"]]
        for command in rest:
            rows.append((command[0], size, measured([*store, *command])))
        return rows
    finally:
        shutil.rmtree(directory / case.name, ignore_errors=True)


def main() -> int:
    """Print the table; 1 if a command took more than its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--files", type=int, default=5_000_000)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    worst = 0
    print(f"{'case':8} {'command':8} {'layer bytes':>14} {'entries':>9} {'anonymous + shared':>18} {'seconds':>8} {'MB/s':>6}")
    with tempfile.TemporaryDirectory(dir=options.store) as directory:
        for case in cases(options.gigabytes, options.files):
            if options.case and case.name not in options.case:
                continue
            for command, size, peak in run(case, Path(directory)):
                worst = max(worst, peak.anonymous)
                print(f"{case.name:8} {command:8} {size:14,} {case.entries:9,} {peak.anonymous / 2**20:14.1f} MiB "
                      f"{peak.seconds:8.1f} {size / peak.seconds / 1e6:6.0f}", flush=True)
    print(f"bound: {LIMIT / 2**20:.0f} MiB; most: {worst / 2**20:.1f} MiB")
    return int(worst > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
