"""What `rmi --dry-run` foretells is to the byte what `gc --max-unused 0` frees, whatever has been done before.

    pytest tests/reliability/test_exact_figures.py --long

Random sequences of loads, children over a parent's layers, images that share files, the same image by two sessions at once,
tags that move, removals, collections and optimizations.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from contracts.samples import put_image
from store.storekit import full, noise, problems, tar_of, words

import lamina
from lamina.images import ImageStore
from lamina.store.session import Session

SHORT, LONG = 20, 100
STEPS = 14
FILES = 10  # that layers are made of


class Sequence:
    """One store and what is done to it."""

    def __init__(self, path: Path, seed: int) -> None:
        self._rng = random.Random(seed)
        self._store = lamina.open(path)
        self._images: dict[str, list[bytes]] = {}  # name -> layers
        self.checked = self.freed = self.twice = 0

    def run(self) -> None:
        with self._store:
            ways: list[Callable[[], None]] = [self._load, self._child, self._twice, self._retag, self._remove, self._collect]
            for _ in range(STEPS):
                self._rng.choices(ways, weights=(2, 2, 5, 1, 5, 1))[0]()
            self._collect()
            assert problems(self._store.blobs) == []

    def _layer(self) -> bytes:
        chosen = self._rng.sample(range(FILES), self._rng.randrange(1, 4))
        return tar_of({f"f{each}": noise(each, 17_000 + each * 6_000) if each % 3 else words(each, 60_000) for each in chosen})

    def _name(self) -> str:
        return f"image{self._rng.randrange(9)}"

    def _commit(self, store: ImageStore, images: dict[str, list[bytes]]) -> Session:
        session = store.blobs.session(compression=self._rng.choice(["none", "zstd:1"]))
        for name, layers in images.items():
            session.tag(put_image(session, *layers), full(name))
        return session

    def _push(self, name: str, layers: list[bytes]) -> None:
        with self._commit(self._store, {name: layers}) as session:
            session.commit()
        self._images[name] = layers

    def _load(self) -> None:
        self._push(self._name(), [self._layer() for _ in range(self._rng.randrange(1, 4))])

    def _child(self) -> None:
        if self._images:
            parent = self._rng.choice(sorted(self._images))
            self._push(self._name(), [*self._images[parent], self._layer()])

    def _twice(self) -> None:
        """Neither session knows what the other one writes: files that both have lie in two packs, in frames of other ends."""
        mine = [self._layer() for _ in range(2)]
        other = self._rng.choice([mine, [mine[0], self._layer()], [self._layer(), self._layer()]])
        with lamina.open(self._store.blobs.path) as beside:
            first, second = f"image{self._rng.randrange(4)}", f"image{self._rng.randrange(4, 9)}"
            with self._commit(self._store, {first: mine}) as one, self._commit(beside, {second: other}) as two:
                for session in self._rng.sample([one, two], 2):
                    session.commit()
        self._images |= {first: mine, second: other}
        self.twice += 1

    def _retag(self) -> None:
        if self._images:
            source, target = self._rng.choice(sorted(self._images)), self._name()
            self._store.tag(f"{source}:latest", f"{target}:latest")
            self._images[target] = self._images[source]

    def _remove(self) -> None:
        """What is foretold is what is dead beyond what was."""
        if not self._images:
            return
        names = self._rng.sample(sorted(self._images), min(len(self._images), self._rng.randrange(1, 3)))
        words = [f"{name}:latest" for name in names]
        before = self._store.blobs.usage().dead
        foretold = self._store.remove(words, dry_run=True)
        removed = self._store.remove(words)
        assert foretold.events == removed.events
        for name in names:
            del self._images[name]
        assert self._store.blobs.usage().dead == before + foretold.frame_bytes
        self.checked += 1
        if self._rng.random() < 0.7:
            self._collect(before + foretold.frame_bytes)

    def _collect(self, expected: int | None = None) -> None:
        """All that is dead goes, at once, and nothing else; the files say so too."""
        store = self._store.blobs
        if self._rng.random() < 0.2:
            self._store.optimize(level=1)
            expected = None
        dead = store.usage().dead
        assert expected in (None, dead)
        assert store.collect(max_unused=0, dry_run=True).unused_freed == dead
        size = sum(size for _, size in store.backend.list("packs/"))
        collected = store.collect(max_unused=0)
        assert collected.unused_freed == dead and collected.problems == []
        left = sum(size for _, size in store.backend.list("packs/"))
        assert collected.bytes_freed == max(0, size - left)
        assert store.usage().dead == 0
        again = store.collect(max_unused=0)
        assert (again.unused_freed, again.bytes_copied, again.packs_removed) == (0, 0, 0)
        self.checked += 1
        self.freed += dead


def test_exact_figures(tmp_path: Path, long: bool, tally: Callable[..., None]) -> None:
    checked = freed = twice = 0
    for seed in range(LONG if long else SHORT):
        sequence = Sequence(tmp_path / f"store{seed}", seed)
        sequence.run()
        checked, freed, twice = checked + sequence.checked, freed + sequence.freed, twice + sequence.twice
    assert twice and freed
    tally("exact figures", sequences=LONG if long else SHORT, figures_compared=checked, bytes_freed=freed,
          written_twice=twice, differences=0)
