"""The crowd of R5: each role is a process that works until a moment, and says what it counted, or what went wrong.

What takes no time on a quiet machine is where it is sharp: between the collector's marking and its condemnation, between a
writer's look-up and its commit, in the middle of a save.  So there they let others work, for a bounded time.
"""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from reliability.crowding import archive, image, saved, wrong

import lamina
from lamina.errors import NotFound
from lamina.store import BlobStore, session
from lamina.store.replacing import Replacing

SIZE = 400_000  # bytes of an image
SEEDS = 12  # images: writers have the same ones, so the layers of one that is removed come back at once by another
OWN = 3  # names of a writer
TURNS = 8  # collections for one optimization
COMMITS = 60  # sequence numbers, three a commit and two a reading, that a collector waits for at most ...
LATE = 1.5  # ... and seconds
SWEEPS = 2  # condemnations that a late writer or saver waits for
RARE = 4  # one of so many is late

Counts = Counter[str]


def work(role: str, path: Path, number: int, until: float, out: Connection) -> None:
    """Work until that time (monotonic); (what went wrong, counts) is sent in the end."""
    counts, failure = Counter[str](), ""
    try:
        with lamina.open(path) as store:
            step = ROLES[role](store, random.Random(number), number, counts)
            while time.monotonic() < until:
                step()
    except BaseException:
        failure = f"{role} {number}: {traceback.format_exc()}"
    out.send((failure, counts))


def _name(number: int, each: int, seed: int) -> str:
    """The name tells which image it should lead to."""
    return f"w{number}n{each}/s{seed}:latest"


def _seed(name: str) -> int:
    return int(name.partition("/s")[2].partition(":")[0])


def _let_others(done: Callable[[], bool]) -> None:
    late = time.monotonic() + LATE
    while not done() and time.monotonic() < late:
        time.sleep(0.005)


def _let_sweep(store: lamina.ImageStore) -> None:
    """Each round of a collection has a checkpoint."""
    seen = {store.blobs.catalog.checkpoint()}

    def done() -> bool:
        seen.add(store.blobs.catalog.checkpoint())
        return len(seen) > SWEEPS

    _let_others(done)


def _check(store: lamina.ImageStore, name: str, counts: Counts) -> None:
    data = saved(store, name)
    assert (said := wrong(data, image(_seed(name), SIZE))) == "", f"{name}: {said}"
    counts["saves"] += 1
    counts["bytes saved"] += len(data)


def writer(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Has a few names, which lead now here, now there: what it has loaded is there until it removes it itself."""
    mine: dict[int, str] = {}
    publish = session.publish

    def late(*words: Any) -> None:
        if not rng.randrange(RARE):
            _let_sweep(store)
        publish(*words)

    session.publish = late

    def step() -> None:
        each = rng.randrange(OWN)
        if each in mine:
            if rng.random() < 0.3:
                _check(store, mine[each], counts)
            store.remove([mine.pop(each)])
            counts["removes"] += 1
        else:
            seeds = rng.sample(range(SEEDS), rng.randrange(1, 3))
            names = [_name(number, each, seeds[0]), *(_name(number, 10 + each, seed) for seed in seeds[1:])]
            store.load(archive(*((image(seed, SIZE), name) for seed, name in zip(seeds, names, strict=True))))
            counts["loads"] += 1
            mine[each] = names[0]
            for name in names[1:]:
                store.remove([name])
                counts["removes"] += 1
            _check(store, names[0], counts)

    return step


def collector(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Collects without a pause, and now and then optimizes; between marking and condemning it lets others commit."""
    condemn = Replacing._condemn

    def slowly(self: Replacing, *words: Any) -> None:
        until = store.blobs.catalog.sequence() + rng.randrange(COMMITS)
        _let_others(lambda: store.blobs.catalog.sequence() >= until)
        condemn(self, *words)

    Replacing._condemn = slowly  # type: ignore[method-assign]

    def step() -> None:
        if rng.randrange(TURNS):
            done = store.blobs.collect(max_unused=0)
            counts["bytes freed"] += done.bytes_freed
        else:
            done = store.blobs.optimize(level=1)
        assert done.problems == [], done.problems
        counts["collections"] += 1
        counts["packs removed"] += done.packs_removed

    return step


def saver(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Saves whatever has a name; it may be removed before that begins, and no more when it has found the first blob."""
    read, begun = BlobStore.reader_of_row, False

    def late(*words: Any, **more: Any) -> Any:
        nonlocal begun
        if not begun and not rng.randrange(2):
            _let_sweep(store)
        begun = True
        return read(*words, **more)

    BlobStore.reader_of_row = late  # type: ignore[method-assign]

    def step() -> None:
        nonlocal begun
        begun = False
        names = [name for name in store.names() if "/s" in name]
        if not names:
            return
        try:
            _check(store, rng.choice(names), counts)
        except NotFound:
            if begun:
                raise
            counts["names gone"] += 1

    return step


def verifier(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Verifies and counts."""

    def step() -> None:
        problems = store.verify().problems
        assert not problems, problems
        store.df()
        counts["verifications"] += 1

    return step


ROLES = {"writer": writer, "collector": collector, "saver": saver, "verifier": verifier}
