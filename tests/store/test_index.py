"""The chunk index over files and delta: a state machine against a dict, damage everywhere, several processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import struct
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lamina._native.chunkindex import NONE
from lamina.errors import StoreDamaged
from lamina.store.index import FILES_PER_TIER, ChunkIndex
from lamina.store.indexfile import IndexFile, write_index

MULTIPLIER = 0x9E3779B97F4A7C15
GOLDEN = "1aa65d9fa24e244dca40b84c39896753df79ebf0afb757e04f497deb85f87b27"


def random_ids(seed, count):
    return np.frombuffer(np.random.default_rng(seed).bytes(count * 32), np.uint8).reshape(-1, 32)


def name_of(number):
    return b"pack" + number.to_bytes(12, "big")


class Packs:
    """Packs with their footers, as the store would hold them."""

    def __init__(self, counts=()):
        self.columns = {number: random_ids(1000 + number, count) for number, count in enumerate(counts)}
        self.asked = []

    def footer_ids(self, number):
        self.asked.append(number)
        return self.columns[number]

    def live(self, *numbers):
        return {name_of(n): (n, len(self.columns[n])) for n in numbers or self.columns}


def index_files(directory):
    return sorted(path.name for path in directory.glob("*.idx"))


def answers(pair):
    return list(zip(pair[0].tolist(), pair[1].tolist(), strict=True))


def assert_finds(index, packs, *numbers, by="lookup"):
    for number in numbers:
        column = packs.columns[number]
        assert answers(getattr(index, by)(column)) == [(number, i) for i in range(len(column))]


def assert_misses(index, ids):
    assert (index.lookup(ids)[0] == NONE).all()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "index"


class Machine(RuleBasedStateMachine):
    """Two processes' views of one directory; ids come from a small pool, so that packs share many."""

    pool = random_ids(1, 80)
    numbers = st.integers(0, 11)

    @initialize()
    def start(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.columns = {}
        self.live = set()
        self.open = set()
        self.sealed = set()
        self.next = 0
        self.index = self.make()
        self.other = self.make()

    def teardown(self):
        self.temporary.cleanup()

    def make(self):
        directory = Path(self.temporary.name)
        return ChunkIndex(directory, lambda n: self.pool[self.columns[n]], delta_chunks=30, delta_packs=3, columns=2)

    def footers(self):
        return {name_of(n): (n, len(self.columns[n])) for n in self.live}

    @rule(rows=st.lists(st.integers(0, 79), min_size=1, max_size=15, unique=True))
    def write(self, rows):
        self.columns[self.next] = rows
        cut = len(rows) // 2
        self.index.add(self.next, self.pool[rows[:cut]], 0)
        self.index.add(self.next, self.pool[rows[cut:]], cut)
        self.open.add(self.next)
        self.next += 1

    @rule(number=numbers)
    def seal(self, number):
        if number in self.open:
            self.open.remove(number)
            self.sealed.add(number)
            self.index.sealed(number, name_of(number))

    @rule()
    def commit(self):
        self.live |= self.sealed
        self.sealed.clear()
        self.index.refresh(self.footers())

    @rule(numbers=st.sets(numbers))
    def collect(self, numbers):
        self.live -= numbers
        self.index.refresh(self.footers())

    @rule(number=numbers)
    def forget(self, number):
        self.index.forget(number)
        for group in (self.live, self.open, self.sealed):
            group.discard(number)

    @rule(force=st.booleans(), which=st.booleans())
    def flush(self, force, which):
        (self.index if which else self.other).flush(force=force)

    @rule()
    def begin_again(self):
        self.index.close()
        self.index = self.make()
        self.open.clear()
        self.sealed.clear()
        self.index.refresh(self.footers())

    @rule(number=st.integers(0, 5))
    def lose_file(self, number):
        for path in list(Path(self.temporary.name).glob("*.idx"))[number : number + 1]:
            path.unlink()

    def right(self, index, known):
        for row, (pack, ordinal) in enumerate(answers(index.lookup(self.pool))):
            places = {(n, self.columns[n].index(row)) for n in known if row in self.columns[n]}
            assert (pack, ordinal) in places if places else pack == NONE

    @invariant()
    def first_agrees(self):
        self.right(self.index, self.live | self.open | self.sealed)

    @rule()
    def other_agrees(self):
        self.other.refresh(self.footers())
        self.right(self.other, self.live)


Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestMachine = Machine.TestCase


class TestClaim:
    def test_known_new_and_repeated_rows(self, directory):
        packs = Packs([10, 10])
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live(0))
        index.flush(force=True)
        index.add(1, packs.columns[1][:4], 0)
        fresh = random_ids(7, 2)
        rows = [packs.columns[0][3:4], fresh, packs.columns[1][2:3], fresh, packs.columns[0][3:4]]
        claim = index.claim(np.concatenate(rows))
        assert claim.packs.tolist() == [0, NONE, NONE, 1, NONE, NONE, 0]
        assert claim.ordinals.tolist() == [3, NONE, NONE, 2, NONE, NONE, 3]
        assert claim.first.tolist() == [NONE, 1, 2, NONE, 1, 2, NONE]
        assert claim.new.tolist() == [1, 2]

    def test_of_nothing(self, directory):
        assert ChunkIndex(directory, Packs().footer_ids).claim(random_ids(0, 0)).new.tolist() == []


class TestDelta:
    def test_small_stores_write_no_file(self, directory):
        packs = Packs([5, 0, 7])
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        index.flush()
        assert index_files(directory) == []
        assert_finds(index, packs, 0, 1, 2)

    @pytest.mark.parametrize("counts", [[40, 40], [1] * 9])
    def test_too_much_for_the_delta_becomes_a_file(self, directory, counts):
        packs = Packs(counts)
        index = ChunkIndex(directory, packs.footer_ids, delta_chunks=60, delta_packs=8)
        index.refresh(packs.live())
        assert len(index_files(directory)) == 1
        assert_finds(index, packs, *packs.columns)
        packs.asked.clear()
        again = ChunkIndex(directory, packs.footer_ids, delta_chunks=60, delta_packs=8)
        again.refresh(packs.live())
        assert packs.asked == []  # opening reads no footer

    def test_packs_that_are_still_written_stay_out_of_files(self, directory):
        packs = Packs([8, 8])
        index = ChunkIndex(directory, packs.footer_ids)
        index.add(0, packs.columns[0], 0)
        index.flush(force=True)
        assert index_files(directory) == []
        index.sealed(0, name_of(0))
        index.add(1, packs.columns[1], 0)
        index.flush(force=True)
        (name,) = index_files(directory)
        assert IndexFile.open(directory / name).packs == [(name_of(0), 8)]
        assert_finds(index, packs, 0, 1)

    def test_a_sealed_pack_that_is_not_live_yet_is_its_writers_alone(self, directory):
        packs = Packs([8])
        writer, reader = (ChunkIndex(directory, packs.footer_ids) for _ in range(2))
        writer.add(0, packs.columns[0], 0)
        writer.sealed(0, name_of(0))
        writer.flush(force=True)
        reader.refresh({})
        assert_misses(reader, packs.columns[0])
        writer.refresh({})
        assert_finds(writer, packs, 0)
        for index in (writer, reader):
            index.refresh(packs.live())
            assert_finds(index, packs, 0)

    def test_close_forgets_everything(self, directory):
        packs = Packs([8])
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        index.flush(force=True)
        index.add(5, random_ids(1, 3), 0)
        index.close()
        assert_misses(index, packs.columns[0])
        assert_misses(index, random_ids(1, 3))


class TestBrokenPacks:
    @pytest.mark.parametrize("covered", [False, True])
    def test_a_footer_that_cannot_be_had_is_passed_over(self, directory, covered):
        packs = Packs([5, 6])
        if covered:
            index = ChunkIndex(directory, packs.footer_ids)
            index.refresh(packs.live())
            index.flush(force=True)

        def footer_ids(number):
            if number == 0:
                raise StoreDamaged("no footer")
            return packs.footer_ids(number)

        index = ChunkIndex(directory, footer_ids)
        index.refresh(packs.live())
        assert_misses(index, packs.columns[0])
        assert_finds(index, packs, 1)
        assert index.broken == {0}
        index.flush(force=True)
        assert_finds(index, packs, 1, by="find")

    def test_a_footer_of_another_size_is_left_out_of_a_file(self, directory):
        packs = Packs([5, 6])
        index = ChunkIndex(directory, packs.footer_ids, delta_packs=0)
        index.refresh({name_of(0): (0, 4), name_of(1): (1, 6)})
        assert index.broken == {0}
        (name,) = index_files(directory)
        assert IndexFile.open(directory / name).packs == [(name_of(1), 6)]
        assert_misses(index, packs.columns[0])


def small_file(directory, counts=(3, 2)):
    packs = Packs(counts)
    index = ChunkIndex(directory, packs.footer_ids)
    index.refresh(packs.live())
    index.flush(force=True)
    (name,) = index_files(directory)
    return packs, directory / name


class TestDamage:
    def test_of_a_bit_of_every_byte(self, directory):
        packs, path = small_file(directory)
        whole = path.read_bytes()
        expected = {number: [(number, i) for i in range(len(packs.columns[number]))] for number in (0, 1)}
        slots_at = 4096
        padding = range(200, slots_at - 8)  # one in 61 of its bytes will do
        for at in (at for at in range(len(whole)) if at not in padding or at % 61 == 0):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
            index = ChunkIndex(directory, packs.footer_ids)
            index.refresh(packs.live())
            assert path.exists() == (at >= slots_at), at
            for number in (0, 1):
                got = answers(index.lookup(packs.columns[number]))
                if at < slots_at:
                    assert got == expected[number], at
                assert all(a in (b, (NONE, NONE)) for a, b in zip(got, expected[number], strict=True)), at
                assert answers(index.find(packs.columns[number])) == expected[number], at
            index.close()

    def test_of_every_length(self, directory):
        packs, path = small_file(directory)
        whole = path.read_bytes()
        for size in [*range(0, 140), *range(4090, len(whole)), len(whole) + 1, len(whole) + 24]:
            path.write_bytes((whole + bytes(24))[:size])
            index = ChunkIndex(directory, packs.footer_ids)
            index.refresh(packs.live())
            assert not path.exists(), size
            assert_finds(index, packs, 0, 1)

    def test_find_removes_a_file_that_hides_chunks(self, directory):
        packs, path = small_file(directory)
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        assert_misses(index, packs.columns[0])
        both = np.concatenate([packs.columns[1], packs.columns[1], random_ids(5, 1)])
        assert answers(index.find(both)) == [(1, 0), (1, 1), (1, 0), (1, 1), (NONE, NONE)]
        assert not path.exists()
        assert_finds(index, packs, 0, 1)

    def test_find_of_what_is_nowhere_removes_nothing(self, directory):
        packs, path = small_file(directory)
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        assert (index.find(random_ids(5, 9))[0] == NONE).all()
        assert path.exists()

    @pytest.mark.parametrize("field", ["version", "homes", "multiplier", "reserved"])
    def test_well_summed_nonsense(self, directory, field):
        packs, path = small_file(directory)
        whole = bytearray(path.read_bytes())
        at, value = {"version": (8, 2), "homes": (24, 2**40), "multiplier": (40, 2), "reserved": (52, 1)}[field]
        whole[at : at + 4 if field in ("version", "reserved") else at + 8] = value.to_bytes(
            4 if field in ("version", "reserved") else 8, "little"
        )
        whole[64:96] = blake3(whole[:64] + whole[96:4096]).digest()
        path.write_bytes(whole)
        with pytest.raises(StoreDamaged):
            IndexFile.open(path)
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        assert not path.exists()
        assert_finds(index, packs, 0, 1)

    def test_foreign_things_of_that_name(self, directory):
        packs, path = small_file(directory)
        (directory / "text.idx").write_text("hello")
        (directory / "directory.idx").mkdir()
        (directory / "link.idx").symlink_to("/dev/zero")
        (directory / "dangling.idx").symlink_to("nowhere")
        os.mkfifo(directory / "pipe.idx")
        (directory / "notes.txt").write_text("mine")
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        assert_finds(index, packs, 0, 1)
        assert {"notes.txt", path.name} <= {p.name for p in directory.iterdir()}
        assert not (directory / "text.idx").exists() and not (directory / "pipe.idx").exists()

    def test_a_full_disk_costs_memory_only(self, directory, monkeypatch):
        def full(fd, offset, length):
            raise OSError(errno.ENOSPC, "No space left on device")

        packs = Packs([40, 40])
        index = ChunkIndex(directory, packs.footer_ids, delta_chunks=10)
        monkeypatch.setattr(os, "posix_fallocate", full)
        index.refresh(packs.live())
        assert list(directory.iterdir()) == []
        assert_finds(index, packs, 0, 1)
        with pytest.raises(OSError, match="No space"):
            index.flush()
        monkeypatch.undo()
        index.flush()
        assert len(index_files(directory)) == 1
        assert_finds(index, packs, 0, 1)


class TestFiles:
    def test_golden_bytes(self, tmp_path):
        columns = [
            np.arange(96, dtype=np.uint8).reshape(3, 32),
            np.arange(100, 164, dtype=np.uint8).reshape(2, 32),
        ]
        names = [bytes(range(16)), bytes(range(16, 32))]
        path = tmp_path / "golden.idx"
        with path.open("w+b") as file:
            assert write_index(file.fileno(), [(names[0], 3), (names[1], 2)], columns.__getitem__, MULTIPLIER)
        data = path.read_bytes()
        header = struct.pack("<8sIIQQQQIIQ", b"lamidx\r\n", 1, 2, 5, 7, 12, MULTIPLIER, 2, 0, 4096)
        table = names[0] + struct.pack("<I", 3) + names[1] + struct.pack("<I", 2)
        table = table.ljust(4096 - 96, b"\0")
        assert data[:4096] == header + blake3(header + table).digest() + table
        expected = [b""] * 12
        by_h = sorted(
            (int.from_bytes(ids[i].tobytes()[:8], "little") * MULTIPLIER % 2**64, row, i)
            for row, ids in enumerate(columns)
            for i in range(len(ids))
        )
        at = 0
        for h, row, i in by_h:
            at = max(at, h * 7 >> 64)
            expected[at] = columns[row][i].tobytes()[:16] + struct.pack("<II", row + 1, i)
            at += 1
        assert data[4096:] == b"".join(slot or bytes(24) for slot in expected)
        assert blake3(data).hexdigest() == GOLDEN

    def test_files_are_private_and_nothing_else_is_left(self, directory):
        _, path = small_file(directory)
        assert path.stat().st_mode & 0o777 == 0o600
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {p.name for p in directory.iterdir()} == {path.name, "lock"}

    def test_temporaries_of_the_dead_go_those_of_the_living_stay(self, directory):
        directory.mkdir(parents=True)
        (directory / ".new-dead").write_bytes(b"x")
        with (directory / ".new-living").open("wb") as living:
            fcntl.flock(living, fcntl.LOCK_EX)
            small_file(directory)
            assert [p.name for p in directory.glob(".new-*")] == [".new-living"]

    def test_four_files_become_one(self, directory):
        packs = Packs([10] * FILES_PER_TIER)
        index, other = (ChunkIndex(directory, packs.footer_ids) for _ in range(2))
        for number in range(FILES_PER_TIER):
            index.refresh(packs.live(*range(number + 1)))
            index.flush(force=True)
            assert len(index_files(directory)) == (1 if number == FILES_PER_TIER - 1 else number + 1)
            if number == FILES_PER_TIER - 2:
                other.refresh(packs.live(0, 1, 2))
        assert_finds(index, packs, *packs.columns)
        assert_finds(other, packs, 0, 1, 2)  # from the files that are gone but mapped
        other.refresh(packs.live())
        assert_finds(other, packs, *packs.columns)

    def test_a_merge_elsewhere_hides_no_pack_that_is_not_live_yet(self, directory):
        packs = Packs([10] * (FILES_PER_TIER + 1))
        writer, other = (ChunkIndex(directory, packs.footer_ids) for _ in range(2))
        writer.add(0, packs.columns[0], 0)
        writer.sealed(0, name_of(0))
        writer.flush(force=True)
        for number in range(1, FILES_PER_TIER):
            other.refresh(packs.live(*range(1, number + 1)))
            other.flush(force=True)
        assert len(index_files(directory)) == 1
        writer.refresh(packs.live(1))
        assert_finds(writer, packs, 0, 1)
        writer.refresh(packs.live(FILES_PER_TIER))
        writer.flush(force=True)
        assert_finds(writer, packs, 0, FILES_PER_TIER)

    def test_who_does_not_get_the_lock_does_not_merge(self, directory):
        packs = Packs([10] * (FILES_PER_TIER + 1))
        index = ChunkIndex(directory, packs.footer_ids)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for number in range(FILES_PER_TIER):
                index.refresh(packs.live(*range(number + 1)))
                index.flush(force=True)
            assert len(index_files(directory)) == FILES_PER_TIER
        index.refresh(packs.live())
        index.flush(force=True)
        assert len(index_files(directory)) == 1
        assert_finds(index, packs, *packs.columns)

    def test_a_half_dead_file_is_replaced_and_a_dead_one_goes(self, directory):
        packs = Packs([10] * 5)
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live(0, 1, 2))
        index.flush(force=True)
        (before,) = index_files(directory)
        index.refresh(packs.live(2, 3))
        index.flush(force=True)
        assert before not in index_files(directory)
        assert_misses(index, packs.columns[0])
        assert_finds(index, packs, 2, 3)
        index.refresh(packs.live(4))
        index.flush(force=True)
        (name,) = index_files(directory)
        assert IndexFile.open(directory / name).packs == [(name_of(4), 10)]

    def test_columns_are_bounded_between_lookups(self, directory):
        packs = Packs([10] * 20)
        index = ChunkIndex(directory, packs.footer_ids, columns=3)
        index.refresh(packs.live())
        index.flush(force=True)
        everything = np.concatenate(list(packs.columns.values()))
        expected = [(n, i) for n in range(20) for i in range(10)]
        for _ in range(2):
            packs.asked.clear()
            assert answers(index.lookup(everything)) == expected
        assert len(packs.asked) == 17
        packs.asked.clear()
        assert_finds(index, packs, 16)  # the last that was mapped
        assert packs.asked == []

    def test_two_packs_with_one_chunk(self, directory):
        packs = Packs([10, 10])
        packs.columns[1] = packs.columns[0][::-1].copy()
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        index.flush(force=True)
        assert_finds(index, packs, 0)
        index.forget(0)
        assert_finds(index, packs, 1)


def flush_many(directory, first, barrier):
    packs = Packs([50] * 24)
    index = ChunkIndex(directory, packs.footer_ids)
    barrier.wait(60)
    mine = []
    for number in range(first, 24, 2):
        mine.append(number)
        index.add(number, packs.columns[number], 0)
        index.sealed(number, name_of(number))
        index.flush(force=True)
        index.refresh(packs.live(*mine))
        assert_finds(index, packs, *mine)


class TestTogether:
    def test_two_processes_flush_and_merge(self, directory):
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(2)
        workers = [context.Process(target=flush_many, args=(directory, first, barrier)) for first in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0]
        packs = Packs([50] * 24)
        index = ChunkIndex(directory, packs.footer_ids)
        index.refresh(packs.live())
        assert_finds(index, packs, *packs.columns)
        assert list(directory.glob(".new-*")) == []

    def test_threads_look_up_while_another_flushes(self, directory):
        packs = Packs([20] * 30)
        index = ChunkIndex(directory, packs.footer_ids, columns=2)
        index.add(0, packs.columns[0], 0)
        failures, done = [], threading.Event()

        def look():
            while not done.is_set():
                try:
                    assert_finds(index, packs, 0)
                except AssertionError as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(1, 30):
            index.add(number, packs.columns[number], 0)
            index.sealed(number - 1, name_of(number - 1))
            index.flush(force=True)
        done.set()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert_finds(index, packs, *packs.columns)
