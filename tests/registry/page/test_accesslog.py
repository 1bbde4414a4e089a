"""The access log."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.registry.server.accesslog import LONGEST, AccessLog, Request, line

from .fakes import HOSTILE

PLAIN = Request(1_700_000_000.25, "10.0.0.7", "alice", "GET", "/v2/a/manifests/x", 200, 0, 1234, 0.01234567, "docker/27")


def test_a_line() -> None:
    text = line(PLAIN)
    assert text.endswith(b"\n") and text.count(b"\n") == 1
    assert json.loads(text) == {
        "time": "2023-11-14T22:13:20.250Z", "address": "10.0.0.7", "user": "alice", "method": "GET",
        "path": "/v2/a/manifests/x", "status": 200, "received": 0, "sent": 1234, "seconds": 0.0123, "agent": "docker/27"}


@pytest.mark.parametrize("text", [*HOSTILE, '"' * 5000, "\\" * 5000, "\u202e" * 5000, "a\nb\r\n", "\x7f" * 5000])
def test_hostile_words_make_one_short_plain_line(text: str) -> None:
    found = line(replace(PLAIN, address=text, user=text, method=text, path=text, agent=text))
    assert len(found) <= LONGEST
    assert found.endswith(b"\n") and all(32 <= byte < 127 for byte in found[:-1])
    value = json.loads(found)
    path = value["path"].removesuffix("...")
    assert text.encode("utf-16", "surrogatepass").startswith(path.encode("utf-16", "surrogatepass"))  # JSON joins surrogates


def test_what_fits_is_whole() -> None:
    assert json.loads(line(replace(PLAIN, path="/" + "é" * 100)))["path"] == "/" + "é" * 100


def test_writing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = AccessLog(file.fileno())
        log.write(PLAIN)
        log.write(PLAIN)
    assert (tmp_path / "log").read_bytes() == 2 * line(PLAIN) and log.lost == 0


def test_a_log_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    log = AccessLog(write)
    log.write(PLAIN)
    os.close(write)
    log.write(PLAIN)
    assert log.lost == 2
