"""Collections on a schedule, and what goes on beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from contracts.contents import digest_of, upload
from store.storekit import noise

from lamina.errors import StorageError
from lamina.images.served import upkeep
from lamina.images.served.contents import StoreContents
from lamina.images.served.upkeep import Upkeep
from lamina.registry.server.configured import Settings
from lamina.store import BlobStore

DATA = noise(3, 300_000)


class Live:
    """Of a configuration that a test changes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def refresh(self) -> None:
        pass


class Metrics:
    def __init__(self) -> None:
        self.freed: list[int] = []

    def collected(self, freed: int, _seconds: float) -> None:
        self.freed.append(freed)


class Kept:
    """An upkeep, and what it has said."""

    def __init__(self, contents: StoreContents, settings: Settings, *, keeper: bool = True) -> None:
        self.live, self.metrics, self.said, self.changes = Live(settings), Metrics(), list[str](), list[Settings]()
        self.upkeep = Upkeep(contents, self.live, self.metrics, self.said.append,  # type: ignore[arg-type]
                             lambda: self.changes.append(self.live.settings), keeper=keeper)

    def until(self, done: Callable[[], bool]) -> None:
        async def run() -> None:
            task = asyncio.create_task(self.upkeep.run())
            async with asyncio.timeout(60):
                while not done():
                    await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(run())


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "TENDING", 0.001)


def test_it_collects(served: StoreContents, store: BlobStore) -> None:
    """In a process of its own, and the looks go on meanwhile."""
    upload(served, "app", DATA)
    with store.catalog.transaction() as tx:
        tx.link([("docker.io/library/app", str(digest_of(DATA)))], 1000)  # pushed long ago, and named by nothing
    kept = Kept(served, Settings(gc_every=1e-6))
    looks: list[int] = []
    served.tend = lambda _: looks.append(len(kept.metrics.freed))  # type: ignore[method-assign]
    kept.until(lambda: bool(kept.metrics.freed))
    assert kept.metrics.freed[0] >= len(DATA) and kept.said == []
    assert looks.count(0) > 10
    assert store.catalog.blob(str(digest_of(DATA))) is None


def test_who_is_not_the_keeper_does_not(served: StoreContents) -> None:
    looks: list[int] = []
    kept = Kept(served, Settings(gc_every=1e-6), keeper=False)
    served.tend = lambda _: looks.append(1)  # type: ignore[method-assign]
    kept.until(lambda: len(looks) > 20)
    assert kept.metrics.freed == [] and kept.upkeep._collecting is None


def test_a_collection_that_fails_is_told(served: StoreContents) -> None:
    """A budget that cannot be met is one."""
    document_of = upload(served, "app", DATA)
    kept = Kept(served, Settings(gc_every=1e-6, max_size=1))
    kept.until(lambda: bool(kept.said))
    assert "the collection failed: lamina: error:" in kept.said[0] and served.blob("app", document_of).size == len(DATA)


def test_what_fails_is_told_and_it_goes_on(served: StoreContents) -> None:
    calls: list[int] = []

    def fails(_: float) -> None:
        calls.append(1)
        raise StorageError("no space left on the device")

    served.tend = fails  # type: ignore[method-assign]
    kept = Kept(served, Settings())
    kept.until(lambda: len(calls) > 3)
    assert set(kept.said) == {"no space left on the device"}


def test_a_changed_configuration_is_handed_on(served: StoreContents) -> None:
    kept = Kept(served, Settings())
    changed = replace(kept.live.settings, page=False)
    kept.live.settings = changed
    kept.until(lambda: bool(kept.changes))
    assert kept.changes[0] is changed
