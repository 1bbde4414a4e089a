"""Merges of index files: left and gone on with, begun anew when they cannot be, and run beside an import."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from lamina._native.chunkindex import NONE
from lamina.store import indexmerge
from lamina.store.index import FILES_PER_TIER, ChunkIndex
from lamina.store.indexmerge import NOTE, PARTIAL

PACKS = 2 * FILES_PER_TIER
IDS = 10
COLUMNS = np.frombuffer(np.random.default_rng(3).bytes(PACKS * IDS * 32), np.uint8).reshape(PACKS, IDS, 32)


def live(*numbers):
    return {bytes([n]) * 16: (n, IDS) for n in numbers}


def files(directory):
    return sorted(path.name for path in directory.glob("*.idx"))


def assert_finds(index, *numbers):
    for number in numbers:
        packs, ordinals = index.lookup(COLUMNS[number])
        assert packs.tolist() == [number] * IDS and ordinals.tolist() == list(range(IDS))


class Asked:
    """The id columns, and which were asked for."""

    def __init__(self):
        self.numbers = []

    def __call__(self, number):
        self.numbers.append(number)
        return COLUMNS[number]


@pytest.fixture
def directory(tmp_path):
    """An index of four files of two packs each, that nobody has merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamina.store.index.FILES_PER_TIER", 100)
        index = ChunkIndex(tmp_path, COLUMNS.__getitem__)
        for number in range(0, PACKS, 2):
            index.refresh(live(*range(number + 2)))
            index.flush(force=True)
    assert len(files(tmp_path)) == FILES_PER_TIER
    return tmp_path


def left(directory, rows=1):
    """An index whose merge was left after some packs."""
    index = ChunkIndex(directory, COLUMNS.__getitem__)
    index.refresh(live(*range(PACKS)))
    turns = iter([False] * (rows - 1) + [True])
    index._merge(lambda: next(turns))
    assert (directory / NOTE).exists() and (directory / PARTIAL).exists()
    assert_finds(index, *range(PACKS))
    return index


def merged(directory, *numbers):
    """Another index, which merges; the packs whose columns that took."""
    asked = Asked()
    index = ChunkIndex(directory, asked)
    index.refresh(live(*numbers))
    asked.numbers.clear()
    index.flush()
    taken = list(asked.numbers)
    assert len(files(directory)) == 1
    assert not (directory / NOTE).exists() and not (directory / PARTIAL).exists()
    assert_finds(index, *numbers)
    return taken


class TestLeftAndGoneOnWith:
    @pytest.mark.parametrize("rows", range(1, PACKS))
    def test_only_what_is_missing_is_put_in(self, directory, rows):
        left(directory, rows)
        assert merged(directory, *range(PACKS)) == list(range(rows, PACKS))

    def test_by_as_many_as_it_takes(self, directory):
        for _ in range(PACKS):
            index = ChunkIndex(directory, COLUMNS.__getitem__)
            index.refresh(live(*range(PACKS)))
            index.flush(seconds=-1)
            index.close()
        index.refresh(live(*range(PACKS)))
        assert len(files(directory)) == FILES_PER_TIER  # all is put in and nothing synced: every one ran out of time
        assert merged(directory, *range(PACKS)) == []

    def test_the_file_is_what_it_would_have_been(self, directory, monkeypatch):
        monkeypatch.setattr(indexmerge, "random_multiplier", lambda: 0x9E3779B97F4A7C15)
        left(directory, 3)
        merged(directory, *range(PACKS))
        (one,) = files(directory)
        data = (directory / one).read_bytes()
        (directory / one).unlink()
        index = ChunkIndex(directory, COLUMNS.__getitem__)
        with monkeypatch.context() as patch:
            patch.setattr("lamina.store.indexfile.random_multiplier", lambda: 0x9E3779B97F4A7C15)
            index.refresh(live(*range(PACKS)))
            index.flush(force=True)
        assert (directory / one).read_bytes() == data

    def test_packs_that_are_in_may_die(self, directory):
        left(directory, 3)
        assert merged(directory, *range(1, PACKS)) == list(range(3, PACKS))


class TestBegunAnew:
    def anew(self, directory, *numbers):
        numbers = numbers or tuple(range(PACKS))
        assert merged(directory, *numbers) == list(numbers)

    def test_when_a_pack_that_is_missing_has_died(self, directory):
        left(directory, 3)
        self.anew(directory, *range(PACKS - 1))

    def test_when_its_parts_are_no_longer_there(self, directory):
        left(directory, 3)
        (directory / files(directory)[0]).unlink()
        asked = Asked()
        index = ChunkIndex(directory, asked)
        index.refresh(live(*range(PACKS)))
        asked.numbers.clear()
        index.flush()
        assert asked.numbers == [] and len(files(directory)) == FILES_PER_TIER - 1
        assert not (directory / NOTE).exists() and not (directory / PARTIAL).exists()
        assert_finds(index, *range(PACKS))

    def test_after_a_crash(self, directory):
        left(directory, 3)
        (directory / NOTE).unlink()
        self.anew(directory)

    def test_after_the_machine_has_started_again(self, directory, monkeypatch):
        left(directory, 3)
        monkeypatch.setattr(indexmerge, "_boot", lambda: "another")
        self.anew(directory)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("done", [9, 0, 0]), ("done", [-1, 0, 0]), ("done", "x"), ("multiplier", 2), ("size", 1), ("packs", [["zz", 1]]),
         ("packs", [["00" * 16, 1 << 50]]), ("packs", [["00" * 16, -5]]), ("files", None), ("boot", 1)],
    )  # fmt: skip
    def test_when_the_note_is_nonsense(self, directory, field, value):
        left(directory, 3)
        note = json.loads((directory / NOTE).read_text())
        (directory / NOTE).write_text(json.dumps(note | {field: value}))
        self.anew(directory)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x80"])
    def test_when_it_is_no_note(self, directory, text):
        left(directory, 3)
        (directory / NOTE).write_bytes(text.encode("latin-1"))
        self.anew(directory)

    def test_without_a_pack_that_proves_broken(self, directory):
        def broken(number):
            return COLUMNS[number] if number != 5 else COLUMNS[number][:-1]

        index = ChunkIndex(directory, broken)
        index.refresh(live(*range(PACKS)))
        index.flush()
        assert len(files(directory)) == 1 and index.broken == {5}
        assert_finds(index, *(number for number in range(PACKS) if number != 5))


class TestBesideAnImport:
    def test_packs_are_covered_and_files_merged(self, tmp_path):
        index = ChunkIndex(tmp_path, COLUMNS.__getitem__, delta_chunks=IDS - 1)
        index.refresh({})
        for number in range(FILES_PER_TIER):
            index.add(number, COLUMNS[number], 0)
            index.sealed(number, bytes([number]) * 16)
            index.grow()
            index._helper.join()
        assert len(files(tmp_path)) == 1
        assert_finds(index, *range(FILES_PER_TIER))

    def test_a_merge_that_is_under_way_keeps_nobody(self, directory):
        """The import goes on, and what it has sealed is covered before the merge has ended."""
        reached, go_on = threading.Event(), threading.Event()

        def slow(number):
            if threading.current_thread().name == "lamina-index" and number == 2:
                reached.set()
                assert go_on.wait(60)
            return COLUMNS[number] if number < PACKS else COLUMNS[0][::-1].copy()

        index = ChunkIndex(directory, slow, delta_chunks=IDS - 1)
        index.refresh(live(*range(PACKS)))
        index.grow()
        assert reached.wait(60)
        index.add(PACKS, slow(PACKS), 0)
        index.sealed(PACKS, bytes([PACKS]) * 16)
        index.grow()
        assert_finds(index, *range(1, PACKS))
        closing = threading.Thread(target=index.close)
        closing.start()
        go_on.set()
        closing.join(60)
        assert json.loads((directory / NOTE).read_text())["done"][0] == 3
        assert len(files(directory)) == FILES_PER_TIER + 1
        assert (ChunkIndex(directory, slow).lookup(COLUMNS[0])[0] == NONE).all()  # of an index that was told of nothing

    def test_a_delta_far_beyond_its_bounds_is_waited_for(self, tmp_path, monkeypatch):
        index = ChunkIndex(tmp_path, COLUMNS.__getitem__, delta_packs=1)
        index.refresh({})
        monkeypatch.setattr(index, "_tend", lambda: None)  # a helper that does not get on
        for number in range(5):
            index.add(number, COLUMNS[number], 0)
            index.sealed(number, bytes([number]) * 16)
            index.grow()
        assert len(files(tmp_path)) == 1
        assert_finds(index, *range(5))
