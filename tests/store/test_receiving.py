"""Files of uploads: exact whatever comes in whatever pieces, and whatever fails."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.errors import Conflict, NotFound, StorageError
from lamina.store import receiving as module
from lamina.store.receiving import HEAD, Receiving

BUFFER = 1 << 20
DATA = random.Random(7).randbytes(3 * BUFFER + 12_345)


def as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole writes."""


def short_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, view, offset: real(fd, view[: len(view) // 2 + 1], offset))


@pytest.mark.parametrize("way", [as_it_comes, short_writes])
@pytest.mark.parametrize("piece", [4096, 5000, 65_536, BUFFER - 1, BUFFER, BUFFER + 1, len(DATA)])
def test_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[pytest.MonkeyPatch], None],
                    piece: int) -> None:
    way(monkeypatch)
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    with receiving.open("app", name) as one:
        for at in range(0, len(DATA), piece):
            one.write(memoryview(DATA)[at : at + piece])
            assert one.offset == min(at + piece, len(DATA))
    assert (receiving.folder / name).read_bytes()[HEAD:] == DATA


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.one_of(st.integers(1, 9000), st.integers(1, 2 * BUFFER), st.just(-1)), max_size=5), max_size=6))
def test_any_requests(tmp_path_factory: pytest.TempPathFactory, requests: list[list[int]]) -> None:
    """Each opens it again; -1 looks in between: what was written is to be read, through a reader too."""
    receiving = Receiving(tmp_path_factory.mktemp("state"))
    name, data, at = receiving.begin("app"), DATA * 3, 0
    for request in requests:
        with receiving.open("app", name) as one:
            assert one.offset == at
            for size in request:
                if size < 0:
                    assert (receiving.folder / name).stat().st_size == HEAD + at
                    buffer = bytearray(100)
                    count = one.reader()(memoryview(buffer), max(0, at - 50))
                    assert buffer[:count] == data[max(0, at - 50) : at]
                    continue
                step = min(size, len(data) - at)
                one.write(memoryview(data)[at : at + step])
                at += step
        assert (receiving.folder / name).read_bytes()[HEAD:] == data[:at]


def test_golden_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORMAT.md, "Uploads": whoever comes later must be able to go on with what lies there."""
    monkeypatch.setattr(module.secrets, "token_hex", lambda count: "ab" * count)
    receiving = Receiving(tmp_path)
    assert receiving.begin("docker.io/library/app") == "ab" * 16
    path = tmp_path / "receiving" / ("ab" * 16)
    data = path.read_bytes()
    assert data == b'{"version": 1, "repository": "docker.io/library/app"}'.ljust(4096)
    assert hashlib.sha256(data).hexdigest() == "0616e3b9925890f97fba21ed98c037016a0dd347f2d8dca44afb165548980edd"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(data + b"what has come")
    with receiving.open("docker.io/library/app", "ab" * 16) as one:
        assert one.offset == 13


def test_the_longest_name_fits(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    name = "docker.io/" + "a" * 245
    with receiving.open(name, receiving.begin(name)) as one:
        assert one.repository == name


@pytest.mark.parametrize("upload_id", ["", "..", "../receiving", "x" * 32, "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n",
                                       "../" + "0" * 32, "0" * 31 + "/"])
def test_ids_that_are_none(tmp_path: Path, upload_id: str) -> None:
    receiving = Receiving(tmp_path)
    receiving.begin("app")
    with pytest.raises(NotFound):
        receiving.open("app", upload_id)


def test_links_are_not_followed(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    (receiving.folder / name).rename(tmp_path / "elsewhere")
    (receiving.folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        receiving.open("app", name)


def test_one_at_a_time(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    with receiving.open("app", name):
        with pytest.raises(Conflict):
            Receiving(tmp_path).open("app", name)
        with pytest.raises(NotFound):
            receiving.open("other", "0" * 32)
    receiving.open("app", name).close()


def test_a_removed_one_is_gone_for_who_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before it was removed, locked after."""
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    real = module.fcntl.flock

    def late(fd: int, how: int) -> None:
        (receiving.folder / name).unlink(missing_ok=True)
        real(fd, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    with pytest.raises(NotFound):
        receiving.open("app", name)


# -- what fails


class Full:
    """A disk that is full from some byte on."""

    def __init__(self, room: int) -> None:
        self.room, self._real = room, os.pwrite

    def __call__(self, fd: int, view: memoryview, offset: int) -> int:
        if offset + len(view) > self.room:
            if offset >= self.room:
                raise OSError(errno.ENOSPC, "full")
            view = view[: self.room - offset]
        return self._real(fd, view, offset)


@pytest.mark.parametrize("room", [HEAD, HEAD + 4096, HEAD + BUFFER, HEAD + BUFFER + 40_960, HEAD + 3 * BUFFER])
def test_a_full_disk_is_told_and_what_fits_has_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    files = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", Full(room))
        with pytest.raises(StorageError, match="no space") as caught, receiving.open("app", name) as one:
            for at in range(0, len(DATA), 100_000):
                one.write(memoryview(DATA)[at : at + 100_000])
    del caught, one
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    with receiving.open("app", name) as one:
        at = one.offset
        assert at == room - HEAD
        one.write(memoryview(DATA)[at:])
    assert (receiving.folder / name).read_bytes()[HEAD:] == DATA


def test_no_file_of_a_beginning_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", Full(0))
    receiving = Receiving(tmp_path)
    with pytest.raises(StorageError, match="no space"):
        receiving.begin("app")
    assert list(receiving.folder.iterdir()) == []


def test_a_file_that_is_cut_off_in_its_last_block(tmp_path: Path) -> None:
    """A kill ends it anywhere: what lies there is what counts."""
    receiving = Receiving(tmp_path)
    name = receiving.begin("app")
    with receiving.open("app", name) as one:
        one.write(memoryview(DATA))
    for size in (2 * BUFFER + 777, BUFFER, 4095, 1, 0):
        os.truncate(receiving.folder / name, HEAD + size)
        with receiving.open("app", name) as one:
            assert one.offset == size
            one.write(memoryview(DATA)[size:])
        assert (receiving.folder / name).read_bytes()[HEAD:] == DATA


def test_a_reader_outlives_it(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    files = len(list(Path("/proc/self/fd").iterdir()))
    with receiving.open("app", receiving.begin("app")) as one:
        one.write(memoryview(DATA))
        pread = one.reader()
        one.remove()
    buffer = bytearray(len(DATA))
    assert pread(memoryview(buffer), 0) == len(DATA)
    assert buffer == DATA
    assert pread(memoryview(buffer), len(DATA)) == 0
    del pread
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    assert receiving.size() == 0


def test_many_begin_at_once(tmp_path: Path) -> None:
    receiving, found = Receiving(tmp_path), []
    threads = [threading.Thread(target=lambda: found.append(receiving.begin("app"))) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 16
    assert {each.name for each in receiving.all()} == set(found)
