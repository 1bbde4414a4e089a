"""Where `copy` copies from and to: registries, layouts, archives, the store; written as skopeo writes them.

    docker://REF            a registry
    oci:DIR[:TAG]           an OCI layout in a directory
    oci-archive:FILE[:TAG]  ... in a tar
    docker-archive:FILE[:REF]
    store:NAME, NAME        the store

The first colon behind a prefix ends the path.  An image of the store whose name looks like one of the others (`oci:1`) is
written `store:oci:1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import OciLayout, open_source
from lamina.archive.names import is_bare_tag
from lamina.content import Intake, Source
from lamina.content.referrers import hanging
from lamina.errors import ArchiveError, NotFound, UsageError
from lamina.images.names import find
from lamina.images.records import descriptor_of, manifest_descriptor, read_view
from lamina.images.remotes import Network, asked
from lamina.oci import Descriptor
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.store import BlobStore

STORE, DOCKER, OCI, OCI_ARCHIVE, DOCKER_ARCHIVE = "store", "docker", "oci", "oci-archive", "docker-archive"
_FILES = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE)
SYNTAX = "docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], store:NAME"


@dataclass(frozen=True, slots=True)
class Place:
    """`path` of files; `name`: what stands behind it, '' for nothing; `reference`: of a registry or docker-archive."""

    kind: str
    path: Path = Path()
    name: str = ""
    reference: Reference | None = None

    def __str__(self) -> str:
        """As it is written."""
        if self.kind in _FILES:
            return ":".join(part for part in (self.kind, str(self.path), self.name) if part)
        return f"docker://{self.name}" if self.kind == DOCKER else f"store:{self.name}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open, the manifest or index that is meant in it, and its name, where it has one.

    `made`: the manifest is Lamina's own, for the archive has none.
    """

    source: Source
    root: Descriptor
    name: Reference | None = None
    made: bool = False


def parse_place(text: str) -> Place:
    """The place that is written so; `UsageError`, `InvalidReference`."""
    if text.startswith("docker://"):
        name = text.removeprefix("docker://")
        return Place(DOCKER, name=name, reference=Reference.parse(name))
    kind, colon, rest = text.partition(":")
    if colon and kind in _FILES:
        path, _, name = rest.partition(":")
        if not path:
            raise UsageError(f"{kind}: needs a path", text[:160], f"places are {SYNTAX}")
        return Place(kind, Path(path), name, Reference.parse(name) if name and kind == DOCKER_ARCHIVE else None)
    if "://" in text:
        raise UsageError("unknown kind of place", text[:160], f"places are {SYNTAX}")
    name = rest if colon and kind == STORE else text
    if not name:
        raise UsageError("a place needs a name", text[:160], f"places are {SYNTAX}")
    return Place(STORE, name=name)


@contextmanager
def opened(place: Place, store: BlobStore, network: Network, intake: Intake | None = None) -> Iterator[Opened]:
    """The place as a source; `NotFound`, and all that opening it may raise.

    A compressed archive needs an intake; `UsageError` without.
    """
    if place.kind == DOCKER:
        assert place.reference is not None
        remote = network.target(place.reference)
        yield Opened(remote, _bare(remote.resolve(asked(place.reference))), place.reference)
    elif place.kind == STORE:
        with store.reading() as reading:
            root, name = _stored(store, place.name)
            reading.keep(root.digest)
            yield Opened(reading, root, name)
    elif place.kind == OCI:
        layout = OciLayout(place.path)
        yield _chosen(layout, place, layout.references())
    else:
        with open_source(place.path, intake=intake) as archive:
            archive.complete(intake)
            if place.kind == OCI_ARCHIVE and archive.format != "oci":
                raise ArchiveError("a docker-archive, no OCI layout", place.path, f"write docker-archive:{place.path}")
            yield _chosen(archive, place, archive.references(), made=archive.format != "oci")


def in_full(name: str) -> str:
    """The name of an archive's image: a tag alone stays what it is."""
    return name if is_bare_tag(name) else str(Reference.parse(name))


def _stored(store: BlobStore, word: str) -> tuple[Descriptor, Reference | None]:
    """A name or an index's digest stands for all its platforms, an id for one image."""
    found = find(read_view(store), word)
    root = found.root if found.root and (found.named or found.root.digest == word) else None
    if root is None:
        return manifest_descriptor(store, found.image), None
    return descriptor_of(root), root.reference if found.named else None


def _chosen(source: Source, place: Place, references: list[tuple[str, Descriptor]], *, made: bool = False) -> Opened:
    """The image of that name, or the only one that there is."""
    if place.name:
        wanted = (place.name, in_full(place.name))
        found = [(name, root) for name, root in references if name in wanted]
        roots = [root for _, root in found] or [source.resolve(place.name)]
    else:
        aside = hanging(source, references)
        found = [(name, root) for name, root in references if root.digest not in aside] or references
        roots = list({root.digest: root for _, root in found}.values())
    if not roots:
        raise NotFound("no image", place)
    if len(roots) > 1:
        names = ", ".join(name or root.digest for name, root in found[:10])
        raise UsageError("several images, one has to be named", place, f"there are {names}")
    name = next((name for name, _ in found if name and not is_bare_tag(name)), "")
    return Opened(source, _bare(roots[0]), Reference.parse(name) if name else None, made)


def _bare(root: Descriptor) -> Descriptor:
    return Descriptor(root.media_type, root.digest, root.size)
