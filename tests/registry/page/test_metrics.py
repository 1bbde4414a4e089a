"""What a server counts, over its processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.registry.server import metrics
from lamina.registry.server.counters import Counters, clear
from lamina.registry.server.metrics import BUCKETS, Metrics
from lamina.registry.server.page.library import Traffic

from .fakes import friendly

SAMPLE = re.compile(r'(lamina_[a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)*)\})? (-?[0-9.e+-]+|\+Inf)')


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Metrics]:
    found = Metrics(tmp_path)
    yield found
    found.close()


def samples(text: bytes) -> dict[str, float]:
    """Sample with its labels -> value, by the rules of the text format; fails on anything that breaks them."""
    found: dict[str, float] = {}
    types: dict[str, str] = {}
    for line in text.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        elif not line.startswith("# HELP "):
            parts = SAMPLE.fullmatch(line)
            assert parts, line
            family = next(name for name in types if re.fullmatch(rf"{name}(_bucket|_sum|_count)?", parts[1]))
            assert list(types)[-1] == family, "samples of a family stand together"
            key = line.rpartition(" ")[0]
            assert key not in found
            found[key] = float(parts[3])
    assert text.endswith(b"\n")
    return found


def test_requests(counted: Metrics) -> None:
    counted.request("GET", "blob", 200, 0.2)
    counted.request("GET", "blob", 200, 0.003)
    counted.request("PUT", "upload", 201, 4000)
    found = samples(counted.text())
    assert found['lamina_requests_total{method="GET",route="blob",status="200"}'] == 2
    assert found['lamina_requests_total{method="PUT",route="upload",status="201"}'] == 1
    assert found['lamina_request_seconds_bucket{route="blob",le="0.1"}'] == 1
    assert found['lamina_request_seconds_bucket{route="blob",le="0.25"}'] == 2
    assert found['lamina_request_seconds_count{route="blob"}'] == 2
    assert found['lamina_request_seconds_bucket{route="upload",le="1800"}'] == 0
    assert found['lamina_request_seconds_bucket{route="upload",le="+Inf"}'] == 1
    assert found['lamina_request_seconds_sum{route="upload"}'] == 4000


def test_an_edge_is_of_its_bucket(counted: Metrics) -> None:
    counted.downloaded(BUCKETS[3])
    assert samples(counted.text())['lamina_download_seconds_bucket{le="0.25"}'] == 1


def test_no_client_can_add_labels(counted: Metrics) -> None:
    for number in range(200):
        counted.request(f'BREW{number}"', f"a/{number}", 600 + number, 0.1)
        counted.error(f"E{number}\n")
    found = samples(counted.text())
    assert found['lamina_requests_total{method="other",route="other",status="other"}'] == 200
    assert found['lamina_errors_total{code="INTERNAL"}'] == 200
    assert len(counted.text()) < 5000


def test_all_of_it_is_bounded(counted: Metrics) -> None:
    for slot in range(len(metrics._SLOTS)):
        counted._counters.add(slot, 1)
    assert len(samples(counted.text())) < 3400


def test_uploads(counted: Metrics) -> None:
    with counted.upload():
        with pytest.raises(OSError), counted.upload():
            assert counted.traffic().uploads == 2
            raise OSError
        assert samples(counted.text())["lamina_uploads_in_progress"] == 1
    found = samples(counted.text())
    assert (found["lamina_uploads_in_progress"], found["lamina_upload_seconds_count"]) == (0, 1)


def test_bytes_and_collections(counted: Metrics) -> None:
    counted.received(5)
    counted.sent(1 << 52)
    counted.sent(1)
    counted.collected(700, 1.5)
    found = samples(counted.text())
    assert found["lamina_sent_bytes_total"] == (1 << 52) + 1
    assert (found["lamina_collections_total"], found["lamina_collected_bytes_total"]) == (1, 700)
    assert found["lamina_collection_seconds_total"] == 1.5
    assert counted.traffic() == Traffic(5, (1 << 52) + 1, 0, 0)


def test_the_store(counted: Metrics) -> None:
    store = friendly().store()
    found = samples(counted.text(store))
    assert found['lamina_store_bytes{what="disk"}'] == store.stored and found["lamina_repositories"] == 2
    library = friendly()
    library.chunks = None
    assert 'lamina_store_bytes{what="chunks"}' not in samples(counted.text(library.store()))


def test_processes_count_together(counted: Metrics, tmp_path: Path) -> None:
    counted.received(1)
    other = Metrics(tmp_path)
    other.received(10)
    with other.upload():
        assert (counted.traffic().received, counted.traffic().uploads) == (11, 1)
        assert other.traffic().received == 11
    other.close()
    assert counted.traffic().received == 11, "what one has counted stays when it is gone"


def test_what_a_killed_process_had_in_progress_is_over(counted: Metrics, tmp_path: Path) -> None:
    code = ("import sys; from pathlib import Path; from lamina.registry.server.metrics import Metrics\n"
            "own = Metrics(Path(sys.argv[1])); own.received(100)\n"
            "with own.upload(): print('begun', flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as child:
        try:
            assert child.stdout and child.stdout.readline() == b"begun\n"
            assert counted.traffic() == Traffic(100, 0, 0, 1)
        finally:
            child.kill()
    assert counted.traffic() == Traffic(100, 0, 0, 0)


def test_threads_lose_nothing(counted: Metrics) -> None:
    threads = [threading.Thread(target=lambda: [counted.sent(1) for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.traffic().sent == 20_000


@pytest.mark.parametrize("data", [b"", b"lamcnt1\n", b"\xff" * 30_000, b"lamcnt1\n" + bytes(100)])
def test_a_strange_file_counts_nothing(counted: Metrics, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "1-abc.counters").write_bytes(data)
    counted.received(3)
    assert counted.traffic() == Traffic(3, 0, 0, 0)


def test_a_new_server_begins_at_nothing(counted: Metrics, tmp_path: Path) -> None:
    gone = Counters.begin(tmp_path, 3, frozenset())
    gone.close()
    assert len(list(tmp_path.iterdir())) == 2
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == [counted._counters._path], "of one that lives it stays"
