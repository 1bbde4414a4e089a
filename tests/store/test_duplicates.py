"""Which copy of a chunk is in use: all that is wanted is served, nothing beyond need is kept, asked again it is the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storekit import assert_whole, flip, full, live_packs, load, noise, problems, push, read, remove, tar_of, words

from lamina.digest import Digest
from lamina.store import BlobStore, layout
from lamina.store.duplicates import Copies, choose_copies, find_copies
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE

Place = tuple[int, int, int]  # chunk, pack, record


def copies(places: list[Place]) -> Copies:
    """In the order of packs and ordinals, which count up."""
    rows = sorted(places, key=lambda place: place[1:])
    columns = [np.array(column, np.uint32) for column in zip(*rows, strict=True)] or [np.zeros(0, np.uint32)] * 3
    return Copies(*columns, np.arange(len(rows), dtype=np.uint32))


def settle(places: list[Place], fixed: set[tuple[int, int]], damaged: frozenset[tuple[int, int]] = frozenset()) -> set[Place]:
    """The places that are chosen."""
    given = copies(places)
    needed = np.array([place in fixed for place in zip(given.pack.tolist(), given.record.tolist(), strict=True)], np.bool_)
    chosen = given.where(choose_copies(given, needed, lambda pack, record: (pack, record) not in damaged))
    return set(zip(chosen.chunk.tolist(), chosen.pack.tolist(), chosen.record.tolist(), strict=True))


def some_places(rng: random.Random) -> tuple[list[Place], set[tuple[int, int]]]:
    frames = [(pack, record) for pack in range(3) for record in range(rng.randrange(1, 5))]
    places = [(chunk, *frame) for chunk in range(rng.randrange(12)) for frame in rng.choices(frames, k=rng.randrange(2, 5))]
    return places, set(rng.sample(frames, rng.randrange(3)))


@pytest.mark.parametrize("seed", range(200))
def test_served_once_and_the_same_the_next_time(seed: int) -> None:
    places, fixed = some_places(random.Random(seed))
    chosen = settle(places, fixed)
    assert Counter(chunk for chunk, *_ in chosen) == Counter({chunk for chunk, *_ in places})
    assert chosen <= set(places)
    kept = {place[1:] for place in chosen} | fixed
    left = [place for place in places if place[1:] in kept]
    # As after a collection that has kept these frames, whatever their packs are called now: what has one copy is fixed.
    frames_of = Counter(chunk for chunk, *_ in set(left))
    single = {place[1:] for place in left if frames_of[place[0]] == 1}
    assert {place[1:] for place in settle(left, fixed | single)} | fixed == kept
    assert kept <= single | fixed  # each has a chunk that no other one has


@pytest.mark.parametrize("seed", range(100))
def test_what_is_damaged_serves_only_what_is_whole_nowhere(seed: int) -> None:
    rng = random.Random(seed)
    places, fixed = some_places(rng)
    frames = sorted({place[1:] for place in places})
    damaged = frozenset(rng.sample(frames, len(frames) // 2))
    chosen = settle(places, fixed, damaged)
    assert {chunk for chunk, *_ in chosen} == {chunk for chunk, *_ in places}
    kept = {place[1:] for place in chosen} | fixed
    for chunk in {chunk for chunk, *_ in places}:
        whole = {place[1:] for place in places if place[0] == chunk} - damaged
        assert not whole or whole & kept


FILES = {f"f{number}": noise(number, 40_000) for number in range(12)}


def part(*numbers: int) -> bytes:
    return tar_of({f"f{number}": FILES[f"f{number}"] for number in numbers})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def at_once(store: BlobStore, *images: tuple[str, bytes, str]) -> None:
    """(name, layer, compression): none of the sessions knows what the others write."""
    others = [BlobStore.open(store.path) for _ in images]
    sessions = [other.session(compression=compression) for other, (_, _, compression) in zip(others, images, strict=True)]
    for session, (name, data, _) in zip(sessions, images, strict=True):
        push(session, name, data)
    for session, other in zip(sessions, others, strict=True):
        session.commit()
        other.close()


def test_copies_are_found(store: BlobStore) -> None:
    at_once(store, ("one", part(1, 2, 3), "none"), ("two", part(2, 3, 4), "zstd:1"))
    load(store, "three", part(5))
    index = store.new_index()
    packs = [pack.number for pack in store.catalog.packs(LIVE)]
    found = find_copies(store, index, packs)
    index.close()
    ids: dict[bytes, list[tuple[int, int]]] = {}
    for number in packs:
        for ordinal, one in enumerate(store.packs.footer(number).ids):
            ids.setdefault(bytes(one), []).append((number, ordinal))
    expected = sorted(places for places in ids.values() if len(places) > 1)
    mine: dict[int, list[tuple[int, int]]] = {}
    for chunk, pack, ordinal in zip(found.chunk.tolist(), found.pack.tolist(), found.ordinal.tolist(), strict=True):
        mine.setdefault(chunk, []).append((pack, ordinal))
    assert sorted(mine.values()) == expected and expected
    assert all(int(store.packs.footer(int(pack)).places["record"][ordinal]) == record
               for pack, ordinal, record in zip(found.pack, found.ordinal, found.record, strict=True))


def test_one_collection_is_enough(store: BlobStore) -> None:
    """All of the later pack goes that the earlier one has; nothing is dead then."""
    at_once(store, ("one", part(1, 2, 3, 4), "none"), ("two", part(2, 3, 4, 5), "none"), ("same", part(1, 2, 3, 4), "none"))
    dead = store.usage().dead
    assert dead > 200_000
    assert store.collect(max_unused=0).unused_freed == dead
    assert store.usage().dead == 0
    assert store.collect(max_unused=0).packs_removed == 0
    assert_whole(store, part(1, 2, 3, 4), part(2, 3, 4, 5))


def test_no_whole_copy_goes_for_a_damaged_one(store: BlobStore) -> None:
    """The earlier copy would serve; but it is damaged, and so the later one stays."""
    at_once(store, ("one", part(1, 2), "none"), ("two", part(1, 2), "none"))
    number = min(pack.number for pack in store.catalog.packs(LIVE))
    footer = store.packs.footer(number)
    row = next(row for row in footer.records if row["type"] == layout.CONTENT)
    flip(store.path / pack_path(store.packs._name_of(number)), int(row["offset"]))
    collected = store.collect(max_unused=0)
    assert any("checksum" in problem for problem in collected.problems)
    assert problems(store) == []
    assert read(store, Digest.of(part(1, 2))) == part(1, 2)


def test_a_session_that_relies_on_the_copy_that_goes(store: BlobStore) -> None:
    """Its index names a copy in a pack that is condemned while it works: it finds the one that has stayed."""
    at_once(store, ("one", part(1, 2), "none"), ("two", part(1, 2), "none"))
    before = live_packs(store)
    with BlobStore.open(store.path) as other, other.session() as session:
        push(session, "new", part(1, 2, 3))
        store.collect(max_unused=0)
        assert live_packs(store) != before
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, part(1, 2), part(1, 2, 3))


def test_what_may_be_left_in_bytes(store: BlobStore) -> None:
    """The packs with the largest dead part go first, and no more than is needed."""
    for number in range(1, 5):
        with store.session(compression="none") as session:
            push(session, f"dead{number}", tar_of({"dead": noise(100 + number, number * 50_000)}))
            push(session, f"stays{number}", tar_of({"stays": words(200 + number, 100_000)}))
            session.commit()
    remove(store, *(f"dead{number}" for number in range(1, 5)))
    dead = store.usage().dead
    assert store.collect(max_unused_bytes=dead).packs_removed == 0
    foreseen = store.collect(max_unused_bytes=180_000, dry_run=True)
    assert store.usage().dead == dead
    collected = store.collect(max_unused_bytes=180_000)
    assert collected.unused_freed == foreseen.unused_freed == dead - store.usage().dead
    assert 100_000 < store.usage().dead <= 180_000
    assert set(foreseen.problems + collected.problems) == set()
    assert store.catalog.ref(full("stays1")) is not None
