"""R2: kill -9 at random moments, seven processes at work in one store: four writers, a collector, two readers.

`pytest tests/reliability/test_r2_random_kills.py --long`: 500 kills.  LAMINA_KILL_SEED says which.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

from reliability.crowding import image, saved, wrong
from reliability.killing import COLLECTED, COLLECTOR, LOADED, READ, READER, REMOVED, REMOVING, WRITER, WRONG, name, work
from store.storekit import leftovers, live_packs, pack_files, problems

import lamina

SEED = int(os.environ.get("LAMINA_KILL_SEED", "1"))
ROLES = (WRITER, WRITER, WRITER, WRITER, COLLECTOR, READER, READER)
LONGEST = 0.6  # seconds from one kill to the next at most
PATIENCE = 120  # seconds for the first image
SEEDS = 1_000_000  # of one process


class Kills:
    """Seven processes that are killed one after the other, each replaced by one of its kind; and what they said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["reliability.killing", "lamina.images", "lamina.store.session",
                                              "lamina.store.collect", "lamina.store.optimize"])
        self._begun = 0
        self._alive: dict[Connection, tuple[str, multiprocessing.process.BaseProcess]] = {}
        self.loaded: set[int] = set()
        self.unsure: set[int] = set()  # a removal began, and nobody said how it ended
        self.removed: set[int] = set()
        self.collected = self.read = self.kills = 0

    def run(self, kills: int, rng: random.Random) -> None:
        for role in ROLES:
            self._begin(role)
        try:
            late = time.monotonic() + PATIENCE
            while not self.loaded and time.monotonic() < late:  # a busy machine: there is to be something to lose
                self._listen(time.monotonic() + 0.1)
            for _ in range(max(0, kills - len(ROLES))):
                self._listen(time.monotonic() + rng.uniform(0, LONGEST))
                self._begin(self._kill(rng.choice(list(self._alive))))
            while self._alive:
                self._listen(time.monotonic() + rng.uniform(0, LONGEST))
                self._kill(rng.choice(list(self._alive)))
        finally:
            for _, process in self._alive.values():
                process.kill()
                process.join()

    def _begin(self, role: str) -> None:
        out, inside = self._context.Pipe(duplex=False)
        self._begun += 1
        process = self._context.Process(target=work, args=(role, self._path, self._begun * SEEDS, inside))
        process.start()
        inside.close()
        self._alive[out] = role, process

    def _listen(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for out in wait(list(self._alive), left):
                assert isinstance(out, Connection)
                self._take(*out.recv())  # EOFError: a process died by itself

    def _kill(self, out: Connection) -> str:
        role, process = self._alive.pop(out)
        process.kill()
        process.join()
        assert process.exitcode == -9
        self.kills += 1
        with out:
            while True:
                try:
                    self._take(*out.recv())
                except (EOFError, OSError):  # the end, or a message cut off
                    return role

    def _take(self, what: str, value: int) -> None:
        assert what != WRONG, value
        if what == LOADED:
            self.loaded.add(value)
        elif what == REMOVING:
            self.loaded.remove(value)
            self.unsure.add(value)
        elif what == REMOVED:
            self.unsure.remove(value)
            self.removed.add(value)
        elif what == COLLECTED:
            self.collected += 1
        elif what == READ:
            self.read += value


def test_kill_at_any_moment(tmp_path: Path, long: bool, tally) -> None:
    path = tmp_path / "store"
    with lamina.open(path):
        pass
    kills = Kills(path)
    kills.run(500 if long else 16, random.Random(SEED))
    assert kills.loaded, "no process got as far as to load one image"
    with lamina.open(path) as store:
        listed = {summary.repository: summary for summary in store.images(all=True)}
        for seed in kills.loaded:
            built = image(seed)
            assert listed[f"image{seed}"].image_id == built.id
        assert not {f"image{seed}" for seed in kills.removed} & set(listed)
        # What is listed beyond that was committed, and its process killed before it could say so: it is whole.
        for repository, summary in listed.items():
            seed = int(repository.removeprefix("image"))
            built = image(seed)
            assert summary.whole
            assert summary.image_id == built.id
            assert wrong(saved(store, name(seed)), built) == ""
        assert problems(store.blobs) == []
        store.gc()
        store.blobs.collect(max_unused=0)
        assert leftovers(store.blobs) == []
        assert pack_files(store.blobs) == live_packs(store.blobs)
        assert problems(store.blobs) == []
        assert store.blobs.usage().dead == 0
    tally("R2", kills=kills.kills, images_loaded=len(kills.loaded) + len(kills.removed) + len(kills.unsure), images_lost=0,
          collections=kills.collected, bytes_read=kills.read)
