"""Tar scanner and entry blocks, over a layer held in memory; GB/s (of tar, of blocks) and entries/s are in extra_info.

The layer is the largest member of the first `docker save` archive in $LAMINA_CORPUS (a directory of tar files), or, where
there is none, a tar of the machine's Python with its packages.
"""

from __future__ import annotations

import io
import os
import sysconfig
import tarfile
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from lamina._native.tarscan import EntryColumns, TarScanner
from lamina.store.entries import decode_block, encode_block

BUFFER = 1 << 20
LIMIT = 256 << 20


def _saved_layer(directory: str) -> bytes:
    with tarfile.open(min(Path(directory).glob("*.tar"))) as archive:
        largest = max((info for info in archive if info.isreg()), key=lambda info: info.size)
        file = archive.extractfile(largest)
        assert file is not None
        return file.read(LIMIT)


def _made_layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*")):
            if path.is_file() and out.tell() < LIMIT:
                tar.add(path)
    return out.getvalue()


@pytest.fixture(scope="module")
def layer() -> bytes:
    corpus = os.environ.get("LAMINA_CORPUS")
    return _saved_layer(corpus) if corpus else _made_layer()


def scan(layer: bytes, entries: bool) -> tuple[int, EntryColumns | None]:
    """Scans in buffers as a load does; returns the number of entries, and the last that were taken."""
    scanner, view, taken = TarScanner(entries=entries), memoryview(layer), None
    for at in range(0, len(layer), BUFFER):
        scanner.feed(view[at : at + BUFFER])
        if scanner.entries_due:
            taken = scanner.take_entries()
    scanner.finish()
    return scanner.entry_count, scanner.take_entries() or taken


def rates(benchmark: BenchmarkFixture, size: int, entries: int) -> None:
    seconds = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "GB/s": round(size / seconds / 1e9, 2),
        "s/GB": round(seconds / size * 1e9, 4),
        "entries/s": round(entries / seconds),
    }


@pytest.mark.parametrize("entries", [True, False], ids=["entries", "spans"])
def test_scan(benchmark: BenchmarkFixture, layer: bytes, entries: bool) -> None:
    count, _ = benchmark(scan, layer, entries)
    rates(benchmark, len(layer), count)


def test_encode(benchmark: BenchmarkFixture, layer: bytes) -> None:
    entries = scan(layer, True)[1]
    assert entries is not None
    block = benchmark(encode_block, entries)
    rates(benchmark, len(block), len(entries.kind))


def test_decode(benchmark: BenchmarkFixture, layer: bytes) -> None:
    entries = scan(layer, True)[1]
    assert entries is not None
    block = encode_block(entries)
    benchmark(decode_block, block)
    rates(benchmark, len(block), len(entries.kind))
