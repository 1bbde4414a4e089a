"""The page's library over the store.

What is dear is kept by threads: the catalog as repositories (`shelf.py`; each process its own), and which chunks images share
(`counting.py`; one process of a store counts).  Make it after the fork, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lamina.errors import LaminaError, StorageError
from lamina.images.showcase.counting import Counting
from lamina.images.showcase.files import LayerFiles
from lamina.images.showcase.items import read_item
from lamina.images.showcase.kept import Kept
from lamina.images.showcase.sharing import Counted, sharing_of
from lamina.images.showcase.shelf import Named, Shelf
from lamina.reference import Reference
from lamina.registry.server.page.library import (
    Busy,
    Files,
    Hit,
    Image,
    Index,
    Point,
    Repository,
    Sharing,
    Store,
    Traffic,
)
from lamina.store.room import FLOOR
from lamina.store.schema import LIVE

if TYPE_CHECKING:
    from lamina.store import BlobStore

FRESH: Final = 2.0  # seconds that the picture of the catalog may lag behind
PATIENCE: Final = 1.5  # seconds that a request waits for a newer one


def familiar(reference: Reference) -> str | None:
    """As docker shows it: without docker.io and `library/`."""
    return reference.familiar_name


class Showcase:
    """A `lamina.registry.server.page.Library`.

    `named`: under which name the server has a reference of the catalog, None if it has not; `traffic`: what the server counts.
    """

    def __init__(self, store: BlobStore, *, named: Named = familiar, traffic: Callable[[], Traffic] = Traffic,
                 fresh: float = FRESH) -> None:
        self._store, self._traffic = store, traffic
        self._files = LayerFiles(store)
        self.counting = Counting(store, lambda: Shelf(store.catalog, named))
        # A commit may draw its number some time before it is there to be seen, so a picture that is a minute old is made anew.
        self._shelves = Kept(lambda: Shelf(store.catalog, named), store.catalog.sequence, age=fresh, patience=PATIENCE,
                             oldest=60)
        self._counts = Kept(self.counting.read, self.counting.key, age=fresh, patience=PATIENCE)

    def start(self) -> None:
        """Begin to count now and then."""
        self.counting.start()

    def close(self) -> None:
        """Wait for the threads; before the store is closed."""
        self.counting.close()
        self._shelves.close()
        self._counts.close()

    def repositories(self) -> Sequence[Repository]:
        """All, by name; `Busy` while the catalog is being read for the first time."""
        return tuple(self._shelf().repositories.values())

    def repository(self, name: str) -> Repository | None:
        """None if nothing has that name."""
        return self._shelf().repositories.get(name)

    def item(self, repository: str, reference: str) -> Image | Index | None:
        """What a tag or digest leads to."""
        shelf = self._shelf()
        tags = shelf.repositories[repository].tags if repository in shelf.repositories else ()
        digest = next((tag.digest for tag in tags if tag.name == reference), reference)
        return read_item(self._store, shelf, repository, digest)

    def sharing(self, digest: str, may: Callable[[str], bool]) -> Sharing | None:
        """What an image has in common with others."""
        counted = self._counts.get()
        return None if counted is None else sharing_of(counted, self._shelf(), digest, may)

    def files(self, layer: str, prefix: bytes, start: int, limit: int) -> Files:
        """Members of a layer."""
        return self._files.read(layer, prefix, start, limit)

    def find(self, prefix: str, limit: int) -> Sequence[Hit]:
        """What has a digest that begins so."""
        return self._shelf().find(prefix, limit)

    def store(self) -> Store:
        """All in all."""
        shelf, counted = self._shelf(), self._counts.get() or Counted(0, 0, partial=True)
        repositories = shelf.repositories.values()
        stored = sum(pack.bytes for pack in self._store.catalog.packs(LIVE))
        return Store(len(repositories), sum(1 for one in repositories for tag in one.tags if tag.name), len(shelf.images),
                     shelf.pushed, shelf.layers, stored, None if counted.partial else counted.chunks, counted.time,
                     self._store.backend.free_space())

    def series(self) -> Sequence[Point]:
        """The past; nothing where it cannot be read."""
        with suppress(StorageError):
            return self.counting.series.points()
        return ()

    def traffic(self) -> Traffic:
        """What goes on."""
        return self._traffic()

    def problems(self) -> list[str]:
        """Whether the catalog answers, and the disk has room for an upload."""
        found = []
        try:
            self._store.catalog.sequence()
        except LaminaError:
            found.append("the catalog cannot be read")
        try:
            if self._store.backend.free_space() < FLOOR:
                found.append("the disk is full")
        except (LaminaError, OSError):
            found.append("the disk does not answer")
        return found

    def _shelf(self) -> Shelf:
        shelf = self._shelves.get()
        if shelf is None:
            raise Busy("the catalog is being read", hint="try again in a moment")
        return shelf
