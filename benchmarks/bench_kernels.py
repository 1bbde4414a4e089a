"""The kernels alone, on one core, with the PyPI package `blake3` and `hashlib` beside them in the same run.

    pytest -s benchmarks/bench_kernels.py --benchmark-max-time=0.2 --benchmark-columns=min,median

GB/s are input bytes by CPU time in the median round, which neighbours disturb least; `extra_info` holds gb_s and ids_s.
"real" are the files of numpy, small and large; "mixture" their chunks, of 0.5 KiB to 256 KiB, as the store names them in
one call. All else is random bytes: the kernels do not depend on them, but for where the cutter cuts.
"""

import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

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
SIZES = [64, 512, 1024, 4096, 16384, 65536, 262144, 1 << 20, "mixture"]
PATHS = ["portable", *(path for path in cpu.KERNELS["blake3"] if path in cpu.features())]
STREAMS = [1, 2, 3, 4, 8, 16]
SHA_PATHS = [None, "portable", *(path for path in cpu.KERNELS["sha256"] if path in cpu.features())]

Column = npt.NDArray[np.int64]
Rows = tuple[npt.NDArray[np.uint8], Column, Column]  # bytes, offsets, lengths


def offsets_of(lengths: Column) -> Column:
    return np.cumsum(lengths) - lengths


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, TOTAL, dtype=np.uint8)


@pytest.fixture(scope="module")
def real() -> Rows:
    """Whole files from 512 bytes on, one behind the other."""
    files = [file for file in sorted(Path(np.__file__).parent.rglob("*.*")) if file.suffix in {".py", ".pyi", ".so"}]
    contents = [content for content in (file.read_bytes() for file in files) if len(content) >= 512]
    lengths = np.array([len(content) for content in contents], np.int64)
    return np.frombuffer(b"".join(contents), np.uint8), offsets_of(lengths), lengths


@pytest.fixture
def inputs(size: int | str, noise: npt.NDArray[np.uint8], real: Rows) -> Rows:
    if isinstance(size, str):
        chunks = Cutter().cut_many(*real)[1]
        return real[0], offsets_of(chunks), chunks
    lengths = np.full(TOTAL // size, size, np.int64)
    return noise, offsets_of(lengths), lengths


def run(benchmark: BenchmarkFixture, call: Callable[[], object], total: int, ids: int) -> None:
    times: list[float] = []

    def timed() -> None:
        begin = time.thread_time()
        call()
        times.append(time.thread_time() - begin)

    benchmark(timed)
    median = statistics.median(times)
    benchmark.extra_info.update(gb_s=round(total / median / 1e9, 2), ids_s=round(ids / median))
    print(f" {benchmark.name}: {total / median / 1e9:.2f} GB/s, {ids / median:,.0f} ids/s")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="blake3")
def test_blake3_many(benchmark: BenchmarkFixture, inputs: Rows, path: str) -> None:
    out = np.empty((len(inputs[1]), 32), np.uint8)
    cpu.force(path)
    try:
        run(benchmark, lambda: hash_many(*inputs, out), inputs[2].sum(), len(out))
    finally:
        cpu.force(None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="blake3")
def test_blake3_package(benchmark: BenchmarkFixture, inputs: Rows) -> None:
    whole = memoryview(inputs[0])
    each = [whole[at : at + size] for at, size in zip(*(column.tolist() for column in inputs[1:]), strict=True)]

    def call() -> None:
        for one in each:
            blake3.blake3(one).digest()

    run(benchmark, call, inputs[2].sum(), len(each))


@pytest.mark.parametrize("average", [16384, 65536])
@pytest.mark.parametrize("content", ["random", "real"])
@pytest.mark.benchmark(group="cdc")
def test_cut(benchmark: BenchmarkFixture, noise: npt.NDArray[np.uint8], real: Rows, content: str, average: int) -> None:
    data = noise if content == "random" else real[0]
    cutter = Cutter(average // 4, average, average * 4)
    run(benchmark, lambda: cutter.cut(data), data.size, len(cutter.cut(data)))


@pytest.mark.parametrize("path", SHA_PATHS)
@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.benchmark(group="sha256")
def test_sha256_many(benchmark: BenchmarkFixture, noise: npt.NDArray[np.uint8], streams: int, path: str | None) -> None:
    states, pieces = [Sha256() for _ in range(streams)], np.split(noise[: TOTAL // streams * streams], streams)
    cpu.force(path)
    try:
        run(benchmark, lambda: update_many(states, pieces), TOTAL, streams)
    finally:
        cpu.force(None)


@pytest.mark.benchmark(group="sha256")
def test_sha256_hashlib(benchmark: BenchmarkFixture, noise: npt.NDArray[np.uint8]) -> None:
    """One stream. For that of a machine without SHA instructions: OPENSSL_ia32cap='~0x0:~0x20000000'."""
    run(benchmark, lambda: hashlib.sha256(noise).digest(), TOTAL, 1)
