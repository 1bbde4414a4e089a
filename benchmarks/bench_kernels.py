"""The kernels alone, on one core, with the PyPI package `blake3` and `hashlib` beside them in the same run.

    pytest -s benchmarks/bench_kernels.py --benchmark-max-time=0.2 --benchmark-columns=min,median

Bytes are random: neither kernel depends on them, but for where the cutter cuts. `extra_info` holds gb_s and ids_s
of the fastest round.
"""

import hashlib
import time
from collections.abc import Callable

import blake3
import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from lamina._native import cpu
from lamina._native.blake3many import hash_many
from lamina._native.cdc import Cutter
from lamina._native.sha256many import Sha256, update_many

TOTAL = 8 << 20
SIZES = [64, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20]
PATHS = ["portable", *(path for path in cpu.KERNELS["blake3"] if path in cpu.features())]
STREAMS = [1, 2, 3, 4, 8, 16]
SHA_PATHS = [None, "portable", *(path for path in cpu.KERNELS["sha256"] if path in cpu.features())]

Column = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def data() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, TOTAL, dtype=np.uint8)


def rows(size: int) -> tuple[Column, Column]:
    count = TOTAL // size
    return np.arange(count, dtype=np.int64) * size, np.full(count, size, np.int64)


def run(benchmark: BenchmarkFixture, call: Callable[[], object], ids: int) -> None:
    times: list[float] = []

    def timed() -> None:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)

    benchmark(timed)
    fastest = min(times)
    benchmark.extra_info.update(gb_s=round(TOTAL / fastest / 1e9, 2), ids_s=round(ids / fastest))
    print(f" {benchmark.name}: {TOTAL / fastest / 1e9:.2f} GB/s, {ids / fastest:,.0f} ids/s")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="blake3")
def test_blake3_many(benchmark: BenchmarkFixture, data: npt.NDArray[np.uint8], size: int, path: str) -> None:
    offsets, lengths = rows(size)
    out = np.empty((len(offsets), 32), np.uint8)
    cpu.force(path)
    try:
        run(benchmark, lambda: hash_many(data, offsets, lengths, out), len(offsets))
    finally:
        cpu.force(None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="blake3")
def test_blake3_package(benchmark: BenchmarkFixture, data: npt.NDArray[np.uint8], size: int) -> None:
    whole = memoryview(data)
    inputs = [whole[at : at + size] for at in range(0, TOTAL, size)]

    def each() -> None:
        for one in inputs:
            blake3.blake3(one).digest()

    run(benchmark, each, len(inputs))


@pytest.mark.parametrize("path", SHA_PATHS)
@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.benchmark(group="sha256")
def test_sha256_many(benchmark: BenchmarkFixture, data: npt.NDArray[np.uint8], streams: int, path: str | None) -> None:
    states, pieces = [Sha256() for _ in range(streams)], np.split(data[: TOTAL // streams * streams], streams)
    cpu.force(path)
    try:
        run(benchmark, lambda: update_many(states, pieces), streams)
    finally:
        cpu.force(None)


@pytest.mark.benchmark(group="sha256")
def test_sha256_hashlib(benchmark: BenchmarkFixture, data: npt.NDArray[np.uint8]) -> None:
    """One stream. For that of a machine without SHA instructions: OPENSSL_ia32cap='~0x0:~0x20000000'."""
    run(benchmark, lambda: hashlib.sha256(data).digest(), 1)


@pytest.mark.parametrize("average", [16384, 65536])
@pytest.mark.benchmark(group="cdc")
def test_cut(benchmark: BenchmarkFixture, data: npt.NDArray[np.uint8], average: int) -> None:
    cutter = Cutter(average // 4, average, average * 4)
    run(benchmark, lambda: cutter.cut(data), len(cutter.cut(data)))
