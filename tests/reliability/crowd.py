"""The crowd of R5: each role is a process that works until a moment, and says what it counted, or what went wrong.

What takes no time on a quiet machine is where it is sharp: between the collector's marking and its condemnation, between a
writer's look-up and its commit, in the middle of a save.  So there they let others work, for a bounded time; or until what they
rely on is gone, which must not come about.
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
from lamina.store.schema import BlobRow

SIZE = 400_000  # bytes of an image
SEEDS = 16  # images: writers have the same ones, so the layers of one that is removed come back at once by another
OWN = 3  # names of a writer
TURNS = 8  # collections for one optimization
COMMITS = 60  # sequence numbers, three a commit and two a reading, that a collector waits for at most ...
LATE = 1.5  # ... and seconds
RARE = 4  # one of so many commits is late
PATIENT = 20.0  # seconds that a patient saver is held up for at most ...
ROUNDS = 6  # ... and rounds of collections, two or three each: what the first condemns, a later one deletes

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


def _let_others(done: Callable[[], bool], seconds: float = LATE) -> None:
    late = time.monotonic() + seconds
    while not done() and time.monotonic() < late:
        time.sleep(0.005)


def _let_collect(blobs: BlobStore, row: BlobRow) -> None:
    """Until the pack of a blob or its row is gone, or rounds have passed; each has a checkpoint."""
    seen = {blobs.catalog.checkpoint()}

    def done() -> bool:
        seen.add(blobs.catalog.checkpoint())
        return len(seen) > ROUNDS or blobs.catalog.pack(row.pack) is None or blobs.catalog.blob(row.digest) is None

    _let_others(done, PATIENT)


def _check(store: lamina.ImageStore, name: str, counts: Counts) -> None:
    data = saved(store, name)
    assert (said := wrong(data, image(_seed(name), SIZE))) == "", f"{name}: {said}"
    counts["saves"] += 1
    counts["bytes saved"] += len(data)


def writer(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Has a few names, which lead now here, now there: what it has loaded is there until it removes it itself."""
    mine_by_number: dict[int, str] = {}
    publish = session.publish

    def late(blobs: BlobStore, mine: session.Session, *words: Any) -> None:
        if not rng.randrange(RARE):
            _let_others(lambda: any(blobs.catalog.blob(digest) is None for digest in mine._held))
        publish(blobs, mine, *words)

    session.publish = late

    def step() -> None:
        each = rng.randrange(OWN)
        if each in mine_by_number:
            if rng.random() < 0.3:
                _check(store, mine_by_number[each], counts)
            store.remove([mine_by_number.pop(each)])
            counts["removes"] += 1
        else:
            seeds = rng.sample(range(SEEDS), rng.randrange(1, 3))
            names = [_name(number, each, seeds[0]), *(_name(number, 10 + each, seed) for seed in seeds[1:])]
            store.load(archive(*((image(seed, SIZE), name) for seed, name in zip(seeds, names, strict=True))))
            counts["loads"] += 1
            mine_by_number[each] = names[0]
            for name in names[1:]:
                store.remove([name])
                counts["removes"] += 1
            _check(store, names[0], counts)

    return step


def collector(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Collects without a pause, and now and then optimizes; between marking and condemning it lets others commit."""
    condemn = Replacing._condemn

    def slowly(self: Replacing, *words: Any) -> set[int]:
        until = store.blobs.catalog.sequence() + rng.randrange(COMMITS)
        _let_others(lambda: store.blobs.catalog.sequence() >= until)
        return condemn(self, *words)

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

    def begin(*words: Any) -> Any:
        nonlocal begun
        begun = True
        return read(*words)

    BlobStore.reader_of_row = begin  # type: ignore[method-assign]

    def step() -> None:
        nonlocal begun
        begun = False
        names = [name for name in store.names() if "/s" in name]
        if not names:
            return
        try:
            with lamina.open(store.blobs.path) as afresh:
                _check(afresh, rng.choice(names), counts)
        except NotFound:
            if begun:
                raise
            counts["names gone"] += 1

    return step


def patient(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """A saver that is held up when it has found its first layer, and before it looks into the pack."""
    read, held = BlobStore.reader_of_row, False

    def late(blobs: BlobStore, row: BlobRow, *words: Any) -> Any:
        nonlocal held
        if row.kind != "document" and not held:
            held = True
            _let_collect(blobs, row)
            blobs.packs.close()  # as if there were more packs than are kept open: these can be read though they are deleted
        return read(blobs, row, *words)

    BlobStore.reader_of_row = late  # type: ignore[method-assign]
    save = saver(store, rng, number, counts)

    def step() -> None:
        nonlocal held
        held = False
        save()

    return step


def verifier(store: lamina.ImageStore, rng: random.Random, number: int, counts: Counts) -> Callable[[], None]:
    """Verifies and counts."""

    def step() -> None:
        problems = store.verify().problems
        assert not problems, problems
        store.df()
        counts["verifications"] += 1

    return step


ROLES = {"writer": writer, "collector": collector, "saver": saver, "patient": patient, "verifier": verifier}
