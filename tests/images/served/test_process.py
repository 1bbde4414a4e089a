"""`lamina serve` as a process: that what one part counts is told by another."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.contents import digest_of
from store.storekit import load, tar_of

from lamina.store import BlobStore

BLOB = b"a blob"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "docker.io/library/here:1", tar_of({"a": b"a"}))
        load(store, "localhost:5000/there:1", tar_of({"b": b"b"}))  # a name that no URL can say
    process = subprocess.Popen(
        [sys.executable, "-m", "lamina", "--store", str(tmp_path / "store"), "serve", "--listen", "127.0.0.1:0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True)
    assert process.stderr is not None
    try:
        found = re.search(r"serving http://127.0.0.1:(\d+)", process.stderr.readline())
        assert found is not None
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0 and process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_and_page(port: int) -> None:
    digest = digest_of(BLOB)
    assert ask(port, "POST", f"/v2/app/blobs/uploads/?digest={digest}", BLOB)[0] == 201
    assert ask(port, "GET", f"/v2/app/blobs/{digest}") == (200, BLOB.decode())
    assert ask(port, "GET", f"/v2/app/blobs/{digest_of(b'none')}")[0] == 404
    for _ in range(100):  # a blob is counted once it has been sent, and its client may be quicker
        status, told = ask(port, "GET", "/metrics")
        assert status == 200
        if "lamina_download_seconds_count 1" in (lines := told.splitlines()):
            break
    assert 'lamina_errors_total{code="BLOB_UNKNOWN"} 1' in lines
    assert "lamina_upload_seconds_count 1" in lines and "lamina_download_seconds_count 1" in lines
    assert "lamina_uploads_in_progress 0" in lines and f"lamina_received_bytes_total {len(BLOB)}" in lines
    status, page = ask(port, "GET", "/")
    assert status == 200 and "here" in page and "there" not in page
    assert ask(port, "GET", "/readyz") == (200, "ok\n")
