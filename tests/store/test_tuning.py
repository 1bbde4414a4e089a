"""What a session may be told: threads, and sizes of chunks."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store.storekit import assert_whole, noise, push, tar_of

from lamina.content.progress import Silent
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.mediatypes import OCI_LAYER
from lamina.oci import Descriptor
from lamina.store import BlobStore, ingest, layout
from lamina.store.inflated import PIECE, Inflater
from lamina.store.schema import LIVE
from lamina.store.tuning import Tuning

LAYER = tar_of({"large": noise(1, 9_000_000)})


def average(store: BlobStore) -> float:
    """The mean length of the content chunks in a store."""
    lengths = []
    for pack in store.catalog.packs(LIVE):
        footer = store.packs.footer(pack.number)
        lengths.append(footer.places["length"][footer.records["type"][footer.places["record"]] == layout.CONTENT])
    return float(np.concatenate(lengths).mean())


@pytest.mark.parametrize("average_size", [16 << 10, 256 << 10, 1 << 20])
def test_a_session_cuts_as_it_is_told_and_everything_comes_back(tmp_path: Path, average_size: int) -> None:
    cutting = average_size // 4, average_size, min(4 * average_size, layout.FRAME_BYTES)
    with BlobStore.open(tmp_path / "store") as store:
        with store.session(tuning=Tuning(workers=1, lanes=1, cutting=cutting)) as session:
            push(session, "one", LAYER)
            session.commit()
        assert average_size / 2 < average(store) < average_size * 2
        assert_whole(store, LAYER)


def test_threads_are_as_many_as_asked_for(tmp_path: Path) -> None:
    with BlobStore.open(tmp_path / "store") as store, store.session(tuning=Tuning(workers=3)) as session:
        assert session.sink._pool._max_workers == 3


class Advanced(Silent):
    """The bytes of each piece."""

    def __init__(self) -> None:
        self.pieces: list[int] = []

    def advance(self, key: str, count: int) -> None:
        self.pieces.append(count)


@pytest.mark.parametrize("piece", [4096, 1 << 20])
def test_the_size_of_pieces_changes_no_chunk(tmp_path: Path, piece: int) -> None:
    found = []
    for name, size in (("default", 0), ("smaller", piece)):
        seen = Advanced()
        with BlobStore.open(tmp_path / name) as store:
            with store.session(progress=seen, tuning=Tuning(piece=size)) as session:
                push(session, "one", LAYER)
                session.commit()
            found.append({bytes(chunk) for pack in store.catalog.packs(LIVE) for chunk in store.packs.footer(pack.number).ids})
            assert_whole(store, LAYER)
    assert max(seen.pieces) == piece
    assert found[0] == found[1]


@pytest.mark.parametrize(("size", "inflated"), [(0, PIECE), (1 << 20, 512 << 10)])
def test_smaller_pieces_are_inflated_by_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, inflated: int) -> None:
    """A server has hundreds of uploads at a time, each with three such pieces."""
    made = []

    class Seen(Inflater):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self._piece)

    monkeypatch.setattr(ingest, "Inflater", Seen)
    with BlobStore.open(tmp_path / "store") as store, store.session(tuning=Tuning(piece=size)) as session:
        data = gzip.compress(LAYER)
        session.push(Descriptor(f"{OCI_LAYER}+gzip", Digest.of(data), len(data)), BytesReader(data))
    assert made == [inflated]
