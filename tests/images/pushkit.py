"""A store and a registry for pushes: the real client over loopback, without waiting or the machine's configuration."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from registry.fake import Fake
from registry.kit import Keys

from lamina.registry.configuration import Registries
from lamina.registry.network import Network
from lamina.registry.timings import Timings


@contextmanager
def network(attempts: int = 3) -> Iterator[Network]:
    timings = Timings(connect=5.0, read=5.0, attempts=attempts, sleep=lambda seconds: None)
    with Network(Registries(), Keys(), timings) as found:  # type: ignore[arg-type]
        yield found


class Told:
    """A progress display that keeps what it was told of each item: the words, and the bytes."""

    def __init__(self) -> None:
        self.words: dict[str, list[str]] = {}
        self.bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def start(self, key: str, label: str, total: int | None) -> None:
        self._say(key, f"start {total}")

    def advance(self, key: str, count: int) -> None:
        with self._lock:
            self.bytes[key] = self.bytes.get(key, 0) + count

    def state(self, key: str, status: str) -> None:
        self._say(key, status)

    def done(self, key: str, status: str) -> None:
        self._say(key, f"done: {status}")

    def _say(self, key: str, word: str) -> None:
        with self._lock:
            self.words.setdefault(key, []).append(word)


def asked(fake: Fake) -> list[str]:
    """The requests so far, without digests and the like: `HEAD manifests`, in their order; forgets them."""
    found, kinds = [], ("manifests", "uploads", "blobs", "tags", "referrers")
    for one in fake.seen:
        kind = next((word for word in kinds if f"/{word}/" in one.path), "ping")
        found.append(f"{one.method} {kind}")
    fake.seen.clear()
    return found


def manifest(fake: Fake, repository: str, tag: str) -> dict[str, Any]:
    """What a tag leads to."""
    here = fake.repositories[repository]
    return json.loads(here.manifests[here.tags[tag]][1])
