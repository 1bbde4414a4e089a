"""What `repair` takes from: a path (an archive, an OCI layout, another store's directory), or a place as `copy` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import open_source
from lamina.content import Source
from lamina.errors import LaminaError, UsageError
from lamina.images.places import DOCKER, STORE, parse_place
from lamina.images.remotes import Network, asked
from lamina.oci import Descriptor
from lamina.store import BlobStore

if TYPE_CHECKING:
    from lamina.store.blobstore import Reading
    from lamina.store.session import Session


def is_store(text: str) -> bool:
    """Whether it is the directory of a store."""
    path = Path(text)
    with suppress(OSError):
        return (path / "format").is_file() and (path / "packs").is_dir()
    return False


def check(text: str) -> None:
    """`UsageError` for what is no source."""
    if not Path(text).exists() and parse_place(text).kind == STORE:
        raise UsageError("no such source", text[:160], "an archive, a layout, another store's directory, or docker://REF")


@contextmanager
def opened(text: str, network: Network, session: Session) -> Iterator[tuple[Source, list[Descriptor]]]:
    """A source, and the images in it that can be listed."""
    if is_store(text):
        with BlobStore.open(Path(text), create=False) as other, other.reading() as reading:
            yield reading, _roots(reading)
        return
    place = None if Path(text).exists() else parse_place(text)
    if place is not None and place.kind == DOCKER:
        assert place.reference is not None
        remote = network.target(place.reference)
        roots: list[Descriptor] = []
        with suppress(LaminaError):
            roots = [remote.resolve(asked(place.reference))]
        yield remote, roots
        return
    with open_source(Path(text) if place is None else place.path, intake=session) as archive:
        archive.complete(session)
        yield archive, [root for _, root in archive.references()]


def _roots(reading: Reading) -> list[Descriptor]:
    return [Descriptor(one.media_type, one.digest, one.size) for _, one in reading.references()]
