"""The journal of uploads: found again, private, bounded, and never a reason to fail."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from lamina.store import uploads
from lamina.store.uploads import MOST_ENTRIES, OLDEST, UploadJournal

VALUE = {"location": "https://registry.test/v2/x/blobs/uploads/1?_state=secret", "offset": 4 << 20}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


def test_another_process_finds_what_was_put(directory: Path) -> None:
    UploadJournal(directory).put("https://registry.test/app@sha256:1", VALUE)
    assert UploadJournal(directory).get("https://registry.test/app@sha256:1") == VALUE
    assert UploadJournal(directory).get("https://registry.test/app@sha256:2") is None
    UploadJournal(directory).put("https://registry.test/app@sha256:1", VALUE | {"offset": 8 << 20})
    assert UploadJournal(directory).get("https://registry.test/app@sha256:1") == VALUE | {"offset": 8 << 20}
    for _ in range(2):
        UploadJournal(directory).drop("https://registry.test/app@sha256:1")
        assert UploadJournal(directory).get("https://registry.test/app@sha256:1") is None
    assert not list(directory.iterdir())


def test_only_the_owner_may_read_it(directory: Path) -> None:
    UploadJournal(directory).put("key", VALUE)
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_what_is_old_counts_no_more_and_goes(directory: Path) -> None:
    UploadJournal(directory).put("key", VALUE)
    (file,) = directory.iterdir()
    os.utime(file, (1_000_000, 1_000_000))
    young, old = (UploadJournal(directory, lambda late=late: 1_000_000 + OLDEST + late) for late in (-1, 1))
    assert young.get("key") == VALUE and old.get("key") is None
    young.put("other", VALUE)
    assert file.exists()
    old.put("other", VALUE)
    assert not file.exists()


def test_the_newest_are_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_ENTRIES", 4)
    for number in range(6):
        UploadJournal(directory, lambda: 1_000_100.0).put(str(number), VALUE)
        os.utime(max(directory.iterdir(), key=lambda path: path.stat().st_mtime), (1_000_000 + number, 1_000_000 + number))
    assert [number for number in range(6) if UploadJournal(directory, lambda: 1_000_100.0).get(str(number))] == [2, 3, 4, 5]
    assert MOST_ENTRIES == 256



@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"key": "key"}', b'{"key": "other", "value": {}}',
                                  b'{"key": "key", "value": 3}', b"\xff", b"[" * 60_000, b"\0" * 100])
def test_an_entry_that_is_damaged_is_none(directory: Path, data: bytes) -> None:
    journal = UploadJournal(directory)
    journal.put("key", VALUE)
    (file,) = directory.iterdir()
    file.write_bytes(data)
    assert journal.get("key") is None
    journal.put("key", VALUE)
    assert json.loads(file.read_bytes())["value"] == VALUE


def test_a_value_beyond_all_measure_is_not_kept(directory: Path) -> None:
    journal = UploadJournal(directory)
    journal.put("key", VALUE)
    journal.put("key", {"location": "x" * (1 << 20)})
    assert journal.get("key") is None and not list(directory.iterdir())


def test_a_disk_that_refuses_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("no directory")
    journal = UploadJournal(tmp_path / "uploads")
    journal.put("key", VALUE)
    assert journal.get("key") is None
    journal.drop("key")


def test_pieces_in_a_row_wait_for_the_disk_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    now = 1_000_000.0
    journal = UploadJournal(directory, lambda: now)
    for number in range(10):
        journal.put("key", VALUE | {"offset": number})
    assert len(synced) == 2  # the file and its directory
    now += 1
    journal.put("key", VALUE)
    assert len(synced) == 4


def test_one_claim_at_a_time(directory: Path) -> None:
    """Of all processes; the end of one, however it comes, lets go of its claims."""
    first, second = UploadJournal(directory), UploadJournal(directory)
    assert first.claim("key") and not second.claim("key") and not first.claim("key") and second.claim("other")
    first.release("key")
    assert second.claim("key")
    second.release("key")
    second.release("other")
    assert not list(directory.iterdir())


def test_a_directory_that_cannot_be_written_to_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("in the way")
    assert not UploadJournal(tmp_path / "uploads").claim("key")
