"""Space that is kept for removals on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from store.storekit import layer, load, remove

from lamina.errors import StorageError
from lamina.storage import reserve
from lamina.storage.local import LocalBackend
from lamina.store import BlobStore


def kept(path: Path) -> int:
    place = path / "state" / "reserve"
    return place.stat().st_size if place.exists() else 0


def full(monkeypatch: pytest.MonkeyPatch, free: int = 0) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=1, f_frsize=1))


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_who_takes_in_content_keeps_it(tmp_path: Path) -> None:
    with BlobStore.open(tmp_path / "store") as store:
        assert kept(store.path) == 0
        load(store, "image", layer(1))
        assert kept(store.path) == reserve.SIZE


def test_on_a_full_disk_it_is_given_away_and_content_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "image", layer(1))
    full(monkeypatch)
    with BlobStore.open(tmp_path / "store") as store:
        assert kept(store.path) == 0
        monkeypatch.setattr(os, "posix_fallocate", no_space)
        full(monkeypatch, 64 << 20)  # with less, new layers are refused before
        with pytest.raises(StorageError, match="cannot keep space in reserve for removals: no space left on the device"):
            load(store, "other", layer(2))
        assert kept(store.path) == 0 and not (store.path / "state" / "reserve").exists()
        remove(store, "image")
        store.collect(max_unused=0)
        monkeypatch.undo()
        store.collect(max_unused=0)
        assert kept(store.path) == reserve.SIZE


def test_who_loads_while_it_is_given_away_does_not_use_it_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "first", layer(1))
        with store.session() as session:
            session.ingest  # noqa: B018 - content is on its way
            full(monkeypatch)
            BlobStore.open(store.path).close()
            monkeypatch.setattr(os, "posix_fallocate", no_space)
            with pytest.raises(StorageError, match="in reserve"):
                session.commit()


def test_one_that_was_cut_off_is_made_whole(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "store")
    backend.initialise()
    (tmp_path / "store" / "state" / "reserve").write_bytes(b"")
    backend.hold_reserve()
    assert kept(tmp_path / "store") == reserve.SIZE
