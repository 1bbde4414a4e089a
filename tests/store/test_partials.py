"""Downloads that were interrupted go on where they were: what is asked for again is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import Line, finish, layer, layer_of, partial_files, plain
from storekit import assert_whole, problems, read

from lamina.errors import RegistryUnavailable
from lamina.store import BlobStore
from lamina.store.ingest import CUTTING

SIZE = 6 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def cut(store: BlobStore, data: bytes, until: int) -> Line:
    """A session whose line breaks."""
    line = Line(data, until)
    with store.session() as session, pytest.raises(RegistryUnavailable, match="the line is cut"):
        session.push(layer_of(data), line)
    return line


def resume(store: BlobStore, data: bytes, content: bytes) -> Line:
    """A session in which the layer comes to its end."""
    line = Line(data)
    with store.session() as session:
        session.push(layer_of(data), line)
        finish(session, "image", [(data, content)])
    return line


@pytest.mark.parametrize("tenth", range(1, 11))
def test_cut_at_every_tenth(store: BlobStore, tenth: int) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    first = cut(store, data, min(len(data) * tenth // 10, len(data) - 1))
    assert len(partial_files(store)) == 1
    assert problems(store) == []
    second = resume(store, data, content)
    assert first.given + second.given - len(data) <= CUTTING[2], "what was not cut into a chunk yet may come again"
    assert second.began == [len(data) - second.given]
    assert read(store, layer_of(data).digest) == data
    store.collect()  # nothing of the failed session is left that only a collection takes away
    assert partial_files(store) == []
    assert_whole(store, data)
