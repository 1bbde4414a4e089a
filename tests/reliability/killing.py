"""Processes at work in one store until they are killed: writers, a collector, readers; each says what it does."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from reliability.crowding import archive, image, saved, wrong

import lamina
from lamina.errors import NotFound

LOADED, REMOVING, REMOVED, COLLECTED, READ, WRONG = "loaded", "removing", "removed", "collected", "read", "wrong"
WRITER, COLLECTOR, READER = "writer", "collector", "reader"
Said = tuple[str, int | str]


def name(seed: int) -> str:
    return f"image{seed}:latest"


def work(role: str, path: Path, first: int, out: Connection) -> None:
    """Until killed.  What goes wrong is said, too, and is the end."""
    steps = {WRITER: _write, COLLECTOR: _collect, READER: _read}[role]
    try:
        with lamina.open(path) as store:
            for said in steps(store, first):
                out.send(said)
    except BaseException:
        out.send((WRONG, traceback.format_exc()))


def _write(store: lamina.ImageStore, first: int) -> Iterator[Said]:
    """Load images of seeds from `first` on, and remove some; a removal is told before, too."""
    rng = random.Random(first)
    mine: list[int] = []
    for seed in count(first):
        store.load(archive((image(seed), name(seed))))
        yield LOADED, seed
        mine.append(seed)
        if rng.random() < 0.4:
            gone = mine.pop(rng.randrange(len(mine)))
            yield REMOVING, gone
            store.remove([name(gone)])
            yield REMOVED, gone


def _collect(store: lamina.ImageStore, first: int) -> Iterator[Said]:
    """Collect and optimize in turns."""
    rng = random.Random(first)
    while True:
        store.blobs.collect(max_unused=0)
        yield COLLECTED, first
        store.blobs.optimize(level=rng.randrange(1, 4))
        yield COLLECTED, first


def _read(store: lamina.ImageStore, first: int) -> Iterator[Said]:
    """Save what there is, count it, verify it: right, or not there any more."""
    rng = random.Random(first)
    while True:
        listed = [each for each in store.names() if each.startswith("image")]
        for each in rng.sample(listed, min(3, len(listed))):
            try:
                data = saved(store, each)
            except NotFound:
                continue  # removed meanwhile
            if said := wrong(data, image(int(each.removeprefix("image").removesuffix(":latest")))):
                yield WRONG, said
            yield READ, len(data)
        store.df()
        if problems := store.verify().problems:
            yield WRONG, str(problems)
        yield READ, 0
