"""kill -9 at random moments, four processes at work in one store.

LAMINA_KILLS says how many (200 take some minutes), LAMINA_KILL_SEED which.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import tarfile
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

from killing import LOADED, REMOVED, REMOVING, image, name, work
from storekit import leftovers, live_packs, pack_files, problems

import lamina

KILLS = int(os.environ.get("LAMINA_KILLS", "16"))
SEED = int(os.environ.get("LAMINA_KILL_SEED", "1"))
WORKERS = 4
LONGEST = 0.6  # seconds that a process lives at most after the last kill, give or take
SEEDS = 1_000_000  # of one process


class Kills:
    """Four processes that are killed one after the other, and what they said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["killing", "lamina.images", "lamina.store.session", "lamina.store.collect",
                                                "lamina.store.optimize"])
        self._begun = 0
        self._alive: dict[Connection, multiprocessing.process.BaseProcess] = {}
        self.loaded: set[int] = set()
        self.unsure: set[int] = set()  # a removal began, and nobody said how it ended
        self.removed: set[int] = set()

    def run(self, kills: int, rng: random.Random) -> None:
        for _ in range(WORKERS):
            self._begin()
        for done in range(kills):
            self._listen(time.monotonic() + rng.uniform(0, LONGEST))
            self._kill(rng.choice(list(self._alive)))
            if done + WORKERS < kills:
                self._begin()
        for out in list(self._alive):
            self._kill(out)

    def _begin(self) -> None:
        out, inside = self._context.Pipe(duplex=False)
        self._begun += 1
        process = self._context.Process(target=work, args=(self._path, self._begun * SEEDS, inside))
        process.start()
        inside.close()
        self._alive[out] = process

    def _listen(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for out in wait(list(self._alive), left):
                assert isinstance(out, Connection)
                self._take(*out.recv())  # EOFError: a process died by itself

    def _kill(self, out: Connection) -> None:
        process = self._alive.pop(out)
        process.kill()
        process.join()
        assert process.exitcode == -9
        with out:
            while True:
                try:
                    self._take(*out.recv())
                except (EOFError, OSError):  # the end, or a message cut off
                    return

    def _take(self, what: str, seed: int) -> None:
        if what == LOADED:
            self.loaded.add(seed)
        elif what == REMOVING:
            self.loaded.remove(seed)
            self.unsure.add(seed)
        elif what == REMOVED:
            self.unsure.remove(seed)
            self.removed.add(seed)


def saved(store: lamina.ImageStore, seed: int) -> tuple[bytes, list[bytes]]:
    """Config and layers as `save` gives them."""
    out = io.BytesIO()
    store.save([name(seed)], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        files = {info.name.rpartition("/")[2]: archive.extractfile(info).read() for info in archive if info.isreg()}
    built = image(seed)
    layers = [next((data for data in files.values() if data == layer), b"") for layer in built.layers]
    return files.get(built.id.removeprefix("sha256:"), files.get(f"{built.id.removeprefix('sha256:')}.json", b"")), layers


def test_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with lamina.open(path):
        pass
    kills = Kills(path)
    kills.run(max(KILLS, WORKERS), random.Random(SEED))
    print(f"{len(kills.loaded)} loaded, {len(kills.removed)} removed, {len(kills.unsure)} unsure")
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
            assert summary.whole and summary.image_id == built.id
            assert saved(store, seed) == (built.config, list(built.layers))
        assert problems(store.blobs) == []
        store.gc()
        store.blobs.collect(max_unused=0)
        assert leftovers(store.blobs) == []
        assert pack_files(store.blobs) == live_packs(store.blobs)
        assert problems(store.blobs) == []
        assert store.blobs.usage().dead == 0
