"""The index kernels against dicts, with the ids and slots that chance never brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native.chunkindex import (
    NONE,
    SLOT_BYTES,
    DeltaTable,
    PackIds,
    fill_table,
    lookup_table,
    mark_repeats,
)

MULTIPLIER = 0x9E3779B97F4A7C15


def random_ids(seed, count):
    return np.frombuffer(np.random.default_rng(seed).bytes(count * 32), np.uint8).reshape(-1, 32)


def as_ids(*ids):
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 32)


def nones(count):
    return np.full(count, NONE, np.uint32)


def build(columns, homes=None, tail=None, multiplier=MULTIPLIER):
    """The table of some columns, as the store lays it out: (slots, homes, multiplier, reach)."""
    total = sum(map(len, columns))
    homes = homes or max(1, (4 * total + 2) // 3)
    slots = np.zeros((homes + (total if tail is None else tail)) * SLOT_BYTES, np.uint8)
    reach = 0
    for row, column in enumerate(columns):
        _, far = fill_table(slots, homes, multiplier, row, column)
        reach = max(reach, far)
    return slots, homes, multiplier, reach


def ask(table, columns, ids, pack_map=None):
    """Looks up with all columns registered, pack number = row."""
    registry = PackIds()
    for row, column in enumerate(columns):
        registry.add(row, column)
    pack_map = np.arange(len(columns), dtype=np.uint32) if pack_map is None else pack_map
    packs, ordinals, unmapped = nones(len(ids)), nones(len(ids)), nones(len(ids))
    assert lookup_table(*table, pack_map, registry, ids, packs, ordinals, unmapped) == 0
    return list(zip(packs.tolist(), ordinals.tolist(), strict=True))


MISS = (NONE, NONE)


class TestTable:
    @pytest.mark.parametrize("counts", [[0], [1], [5, 0, 1], [1000, 999, 1], [20000] * 3])
    def test_finds_everything_and_nothing_else(self, counts):
        columns = [random_ids(row, count) for row, count in enumerate(counts)]
        table = build(columns)
        for row, column in enumerate(columns):
            assert ask(table, columns, column) == [(row, i) for i in range(len(column))]
        assert set(ask(table, columns, random_ids(99, 500))) == {MISS}

    def test_is_75_percent_full_and_sorted_within_runs(self):
        columns = [random_ids(1, 30000)]
        slots, homes, multiplier, reach = build(columns)
        rows = slots.reshape(-1, SLOT_BYTES)
        used = rows[:, 16:20].copy().view("<u4").ravel() != 0
        assert used.sum() == 30000 and abs(30000 / homes - 0.75) < 0.001
        h = rows[:, :8].copy().view("<u8").ravel() * np.uint64(multiplier)
        both = used[1:] & used[:-1]
        assert (h[1:][both] >= h[:-1][both]).all()
        places = np.flatnonzero(used)
        distance = [int(at) - (int(h[at]) * homes >> 64) for at in places]
        assert min(distance) >= 0 and max(distance) <= reach < 500

    @pytest.mark.parametrize("same", [8, 16, 31])
    def test_equal_prefixes_are_told_apart(self, same):
        ids = as_ids(*(b"\7" * same + n.to_bytes(32 - same, "big") for n in range(200)))
        columns = [ids[:100], ids[100:199]]
        table = build(columns)
        assert ask(table, columns, ids) == ([(0, i) for i in range(100)] + [(1, i) for i in range(99)] + [MISS])

    def test_probing_goes_on_past_a_pack_that_is_not_live(self):
        ids = random_ids(3, 50)
        columns = [ids, ids, ids[:25]]
        table = build(columns)
        assert ask(table, columns, ids) == [(0, i) for i in range(50)]
        live = np.array([NONE, NONE, 2], np.uint32)
        assert ask(table, columns, ids, live) == [(2, i) for i in range(25)] + [MISS] * 25

    def test_rows_wait_for_columns(self):
        ids = random_ids(4, 40)
        table = build([ids[:20], ids[20:]])
        registry = PackIds()
        packs, ordinals, unmapped = nones(40), nones(40), nones(40)
        pack_map = np.array([70000, 5], np.uint32)
        arguments = (*table, pack_map, registry, ids, packs, ordinals, unmapped)
        assert lookup_table(*arguments) == 40
        assert unmapped.tolist() == [70000] * 20 + [5] * 20
        registry.add(5, ids[20:])
        assert lookup_table(*arguments) == 20
        assert packs.tolist() == [NONE] * 20 + [5] * 20
        assert unmapped.tolist() == [70000] * 20 + [NONE] * 20
        registry.add(70000, ids[:20])
        assert lookup_table(*arguments) == 0
        assert packs.tolist() == [70000] * 20 + [5] * 20
        registry.drop(5)
        packs[:] = NONE
        assert lookup_table(*arguments) == 20

    def test_rows_that_are_known_stay(self):
        ids = random_ids(5, 3)
        registry = PackIds()
        registry.add(0, ids)
        packs, ordinals = np.array([9, NONE, 9], np.uint32), np.array([1, NONE, 2], np.uint32)
        lookup_table(*build([ids]), np.zeros(1, np.uint32), registry, ids, packs, ordinals, nones(3))
        assert packs.tolist() == [9, 0, 9] and ordinals.tolist() == [1, 1, 2]

    def test_an_id_twice_in_one_pack_is_put_once(self):
        ids = random_ids(6, 4)
        slots = np.zeros(40 * SLOT_BYTES, np.uint8)
        put, _ = fill_table(slots, 20, MULTIPLIER, 0, np.concatenate([ids, ids]))
        assert put == 4

    def test_many_copies_of_one_id_build_and_end(self):
        columns = [as_ids(b"x" * 32)] * 300
        table = build(columns)
        assert ask(table, columns, columns[0]) == [(0, 0)]
        only_last = nones(300)
        only_last[299] = 299
        assert ask(table, columns, columns[0], only_last) == [(299, 0)]

    def test_a_run_at_the_end_is_reported(self):
        ids = random_ids(7, 8)
        assert fill_table(np.zeros(4 * SLOT_BYTES, np.uint8), 4, MULTIPLIER, 0, ids) is None

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_hostile_slots_hit_only_what_is_confirmed(self, data):
        columns = [random_ids(8, 30), random_ids(9, 30)]
        slots, homes, multiplier, reach = build(columns)
        for at in data.draw(st.lists(st.integers(0, len(slots) - 1), max_size=40)):
            slots[at] = data.draw(st.sampled_from([0, 1, 2, 0x80, 0xFF]))
        reach = data.draw(st.sampled_from([reach, 0, 2**32 - 1]))
        for row, column in enumerate(columns):
            for i, answer in enumerate(ask((slots, homes, multiplier, reach), columns, column)):
                assert answer in (MISS, (row, i))

    @pytest.mark.parametrize("fill", [0x00, 0x01, 0xFF])
    def test_a_table_of_one_byte_ends(self, fill):
        slots = np.full(1000 * SLOT_BYTES, fill, np.uint8)
        columns = [random_ids(10, 100)]
        assert set(ask((slots, 750, MULTIPLIER, 2**32 - 1), columns, columns[0])) == {MISS}

    def test_slots_that_all_have_the_prefix_end(self):
        ids = random_ids(11, 2)
        slot = ids[0].tobytes()[:16] + (1).to_bytes(4, "little") + (1).to_bytes(4, "little")
        slots = np.frombuffer(slot * 1000, np.uint8)
        assert ask((slots, 750, MULTIPLIER, 2**32 - 1), [ids], ids) == [MISS, MISS]

    def test_ordinals_beyond_the_column_are_passed_over(self):
        ids = random_ids(12, 10)
        table = build([ids])
        assert ask(table, [ids[:4]], ids) == [(0, i) for i in range(4)] + [MISS] * 6
        assert ask(table, [ids[:0]], ids) == [MISS] * 10

    def test_misuse(self):
        ids, one = random_ids(13, 1), nones(1)
        slots = np.zeros(2 * SLOT_BYTES, np.uint8)
        for homes, multiplier, row in [(0, 1, 0), (3, 1, 0), (1, 2, 0), (1, 1, NONE)]:
            with pytest.raises(ValueError):
                fill_table(slots, homes, multiplier, row, ids)
        for homes, packs in [(0, one), (3, one), (1, nones(2))]:
            with pytest.raises(ValueError):
                lookup_table(slots, homes, 1, 0, one, PackIds(), ids, packs, one, one)
        with pytest.raises(ValueError):
            fill_table(slots, 1, 1, 0, np.zeros((1, 31), np.uint8))
        with pytest.raises(ValueError):
            PackIds().add(NONE, ids)


class TestPackIds:
    def test_holds_the_buffer_until_it_is_dropped(self):
        column = bytearray(64)
        registry = PackIds()
        registry.add(3, np.frombuffer(column, np.uint8).reshape(-1, 32))
        with pytest.raises(BufferError):
            column.append(0)
        assert 3 in registry and len(registry) == 1
        registry.drop(3)
        registry.drop(3)
        column.append(0)
        assert 3 not in registry and len(registry) == 0

    def test_oldest(self):
        registry = PackIds()
        for number in (5, 2**32 - 2, 1):
            registry.add(number, random_ids(0, 1))
        assert registry.oldest(2) == [5, 2**32 - 2]
        assert registry.oldest(-1) == []


def find(delta, ids):
    packs, ordinals = nones(len(ids)), nones(len(ids))
    delta.lookup(ids, packs, ordinals)
    return list(zip(packs.tolist(), ordinals.tolist(), strict=True))


class TestDelta:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_agrees_with_a_list(self, data):
        pool = random_ids(20, 60)
        delta = DeltaTable(data.draw(st.integers(0, 2**63 - 1)) * 2 + 1)
        reference = []
        for _ in range(data.draw(st.integers(1, 30))):
            if data.draw(st.integers(0, 3)):
                pack = data.draw(st.integers(0, 5))
                rows = data.draw(st.lists(st.integers(0, 59), max_size=20))
                first = data.draw(st.integers(0, 1000))
                delta.insert(np.ascontiguousarray(pool[rows]), pack, first)
                for i, row in enumerate(rows):
                    if not any(entry[:2] == (row, pack) for entry in reference):
                        reference.append((row, pack, first + i))
            else:
                gone = data.draw(st.sets(st.integers(0, 5)))
                delta.drop_packs(np.array(sorted(gone), np.uint32))
                reference = [entry for entry in reference if entry[1] not in gone]
            expected = [next(((pack, at) for r, pack, at in reference if r == row), MISS) for row in range(60)]
            assert find(delta, pool) == expected
            assert len(delta) == len(reference)

    def test_grows_within_64_bytes_a_chunk_and_gives_back(self):
        ids = random_ids(21, 200_000)
        delta = DeltaTable(MULTIPLIER)
        empty = delta.nbytes
        for at in range(0, len(ids), 2000):
            delta.insert(ids[at : at + 2000], at // 2000, 0)
            done = at + 2000
            if done >= 50_000:
                assert delta.nbytes <= 64 * done
        assert find(delta, ids) == [(i // 2000, i % 2000) for i in range(len(ids))]
        delta.drop_packs(np.arange(99, dtype=np.uint32))
        assert len(delta) == 2000 and delta.nbytes < 400_000
        assert find(delta, ids[-2000:]) == [(99, i) for i in range(2000)]
        delta.clear()
        assert len(delta) == 0 and delta.nbytes <= empty
        delta.insert(ids[:1], 0, 7)
        assert find(delta, ids[:2]) == [(0, 7), MISS]

    @pytest.mark.parametrize("same", [4, 8, 31])
    def test_ids_that_share_a_place(self, same):
        ids = as_ids(*(b"\7" * same + n.to_bytes(32 - same, "little") for n in range(250)))
        delta = DeltaTable(MULTIPLIER)
        delta.insert(ids[:249], 1, 0)
        assert find(delta, ids) == [(1, i) for i in range(249)] + [MISS]

    def test_misuse(self):
        delta = DeltaTable(1)
        with pytest.raises(ValueError):
            DeltaTable(2)
        with pytest.raises(ValueError):
            delta.insert(random_ids(0, 1), NONE, 0)
        with pytest.raises(OverflowError):
            delta.insert(random_ids(0, 1), 0, NONE)
        with pytest.raises(ValueError):
            delta.lookup(random_ids(0, 1), nones(2), nones(1))
        with pytest.raises(ValueError):
            delta.drop_packs(np.array([2, 1], np.uint32))
        assert len(delta) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=50), st.integers(0, 2**63 - 1))
def test_repeats_refer_to_the_first_unknown_row(rows, seed):
    pool = random_ids(30, 13)
    ids = np.ascontiguousarray(pool[[row for row, _ in rows]])
    packs = np.array([0 if known else NONE for _, known in rows], np.uint32)
    first = np.zeros(len(rows), np.uint32)
    fresh = mark_repeats(ids, packs, seed * 2 + 1, first)
    seen: dict[int, int] = {}
    expected = [NONE if known else seen.setdefault(row, i) for i, (row, known) in enumerate(rows)]
    assert first.tolist() == expected
    assert fresh == len(seen)
