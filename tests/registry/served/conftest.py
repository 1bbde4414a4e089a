"""A server for every test, which must leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.served.kit import Server
from registry.served.memory import Memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    assert not made.readers, "a reader was not closed"
    assert not made.held, "an upload is still held"


@pytest.fixture
def server(memory: Memory) -> Iterator[Server]:
    with Server(memory) as running:
        yield running
        running.stop()
        assert running.service.buffers.lent == 0, "a buffer was not given back"
