"""A process that loads, removes, collects and optimizes until it is killed; what it says, and what it makes."""

from __future__ import annotations

import io
import random
from functools import lru_cache
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from images.archives import Built, docker_archive
from storekit import noise, tar_of, words

import lamina
from lamina.errors import Conflict

LOADED, REMOVING, REMOVED = "loaded", "removing", "removed"


@lru_cache(16)
def image(seed: int) -> Built:
    """An image of 2 MB: a layer that many share, one whose files others have too, and one of its own."""
    rng = random.Random(seed)
    base = tar_of({"base": noise(seed % 3, 500_000)})
    mixed = tar_of({f"f{each}": words(each, 150_000) for each in rng.sample(range(12), 4)})
    return Built(base, mixed, tar_of({"own": noise(seed, 700_000), "more": words(seed, 200_000)}))


def name(seed: int) -> str:
    return f"image{seed}:latest"


def work(path: Path, first: int, out: Connection) -> None:
    """Seeds of its own, from `first` on; each step is told when it is done (a removal before, too)."""
    rng = random.Random(first)
    mine: list[int] = []
    with lamina.open(path) as store:
        for seed in count(first):
            store.load(io.BytesIO(docker_archive((image(seed), [name(seed)])).getvalue()))
            out.send((LOADED, seed))
            mine.append(seed)
            if rng.random() < 0.3:
                gone = mine.pop(rng.randrange(len(mine)))
                out.send((REMOVING, gone))
                store.remove([name(gone)])
                out.send((REMOVED, gone))
            if rng.random() < 0.4:
                try:
                    if rng.random() < 0.5:
                        store.blobs.collect(max_unused=0)
                    else:
                        store.blobs.optimize(level=rng.randrange(1, 4))
                except Conflict:
                    continue  # another process collects
