"""Buffers that are left to the next session: bounded, of the right size, never two users'."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from storekit import noise

from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.oci import OCI_LAYER, Descriptor
from lamina.store import BlobStore, sink, stream
from lamina.store.spares import Spares


def test_the_same_size_or_none() -> None:
    spares = Spares(100)
    buffer = np.empty(40, np.uint8)
    spares.give([buffer])
    assert spares.take(39) is None
    assert spares.take(40) is buffer
    assert spares.take(40) is None


def test_bounded() -> None:
    spares = Spares(100)
    spares.give([np.empty(40, np.uint8) for _ in range(5)])
    assert [spares.take(40) is None for _ in range(3)] == [False, False, True]
    spares.give([np.empty(60, np.uint8), np.empty(60, np.uint8), np.empty(40, np.uint8)])
    assert [spares.take(size) is None for size in (60, 60, 40)] == [False, True, False]


def test_they_go_when_nobody_asks() -> None:
    now = [0.0]
    spares = Spares(100, lambda: now[0])
    spares.give([np.empty(40, np.uint8)])
    now[0] = 9
    spares.tend(10)
    buffer = spares.take(40)
    assert buffer is not None
    spares.give([buffer])
    now[0] = 20
    spares.tend(10)
    assert spares.take(40) is None
    spares.give([np.empty(100, np.uint8)])
    assert spares.take(100) is not None  # nothing is counted twice


def test_the_next_session_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spares, made = Spares(), []
    monkeypatch.setattr(stream, "SPARES", spares)
    monkeypatch.setattr(sink, "SPARES", spares)
    true = stream._aligned
    monkeypatch.setattr(stream, "_aligned", lambda size: made.append(size) or true(size))  # type: ignore[func-returns-value]
    with BlobStore.open(tmp_path / "store") as store:
        for number in range(3):
            data = noise(number, 3_000_000)
            blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
            with store.session() as session:
                session.push(blob, BytesReader(data))
                session.root(blob)
                session.commit()
            assert len(made) == stream.BUFFERS
        assert spares._held > stream.BUFFERS * stream.BODY
        assert store.verify().problems == []


def test_many_threads_never_share_one() -> None:
    spares = Spares(4 * 1000)
    wrong: list[int] = []

    def run(mine: int) -> None:
        for _ in range(300):
            buffer = spares.take(1000)
            buffer = np.empty(1000, np.uint8) if buffer is None else buffer
            buffer[:] = mine
            if (buffer != mine).any():
                wrong.append(mine)
            spares.give([buffer])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and spares._held <= 4000
