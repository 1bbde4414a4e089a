"""What the page cache holds of a file."""

from __future__ import annotations

import os
from pathlib import Path

from lamina.storage.mapping import mostly_cached

MIB = 1 << 20


def test_what_was_just_written_is_cached_and_what_is_not_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    os.truncate(path, 3 * MIB)  # a hole, which has no pages
    with path.open("rb") as file:
        fd = file.fileno()
        assert mostly_cached(fd, 0, MIB)
        assert mostly_cached(fd, 5000, MIB - 5000)
        assert not mostly_cached(fd, MIB, 2 * MIB)
        assert not mostly_cached(fd, MIB + 5000, 100_000)
        assert mostly_cached(fd, MIB // 2, MIB)  # half of it
        assert not mostly_cached(fd, MIB // 2, 2 * MIB)
        assert not mostly_cached(fd, 10 * MIB, MIB)  # beyond the end: the read will tell


def test_asking_brings_nothing_into_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, MIB)
    with path.open("rb") as file:
        assert not any(mostly_cached(file.fileno(), 0, MIB) for _ in range(3))


def test_yes_where_it_cannot_be_known() -> None:
    reading, writing = os.pipe()
    assert mostly_cached(reading, 0, MIB)
    os.close(reading)
    os.close(writing)
    assert mostly_cached(reading, 0, MIB)
