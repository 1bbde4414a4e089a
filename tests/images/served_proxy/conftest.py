"""An upstream and a server before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry.fake import Fake

from images.served_proxy.kit import Front, front


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as made:
        yield made


@pytest.fixture
def served(fake: Fake, tmp_path: Path) -> Iterator[Front]:
    """It passes `hub.test/…` through."""
    with front(tmp_path / "store", ("hub.test", fake.base)) as made:
        yield made
        made.server.stop()
        assert made.server.service.buffers.lent == 0
        assert not list(made.store.receiving.all()), "a fetch has left a file"
