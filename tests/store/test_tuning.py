"""What a session may be told: threads, and sizes of chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store.storekit import assert_whole, noise, push, tar_of

from lamina.store import BlobStore, layout
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
