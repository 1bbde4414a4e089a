"""`ArchiveSource`: an image archive of any format as a source of content."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from lamina.archive.docker import DockerArchive
from lamina.archive.members import Members
from lamina.archive.oci_layout import OciLayoutArchive
from lamina.content import Intake, Reader, Taken
from lamina.errors import ArchiveError, InvalidReference, NotFound
from lamina.oci import Descriptor
from lamina.reference import Reference

FetchTaken = Callable[[Taken], Reader]


class Format(Protocol):
    """One format of image archive, read through its members."""

    name: str
    warnings: list[str]

    def references(self) -> list[tuple[str, Descriptor]]: ...
    def fetch(self, descriptor: Descriptor) -> Reader: ...
    def complete(self, intake: Intake | None) -> None: ...


# The first that recognises the members reads them: an archive that is both keeps its digests.
FORMATS: tuple[type[OciLayoutArchive] | type[DockerArchive], ...] = (OciLayoutArchive, DockerArchive)


class ArchiveSource:
    """The images of one archive; a `Source`, and a context manager that closes the file.

    `references` and `fetch` are there once `complete` was called.  Readers must not be used after `close`.
    """

    def __init__(self, members: Members, fetch_taken: FetchTaken, held: _Held) -> None:
        self._held = held
        self._format = _read(members, fetch_taken)
        self._where = members.where

    @property
    def format(self) -> str:
        """'oci' or 'docker-archive'."""
        return self._format.name

    @property
    def warnings(self) -> list[str]:
        """What the user should hear about: one line each."""
        return self._format.warnings

    def references(self) -> list[tuple[str, Descriptor]]:
        """(name in full, root) in order; '' for a root without a name."""
        return self._format.references()

    def resolve(self, reference: str) -> Descriptor:
        """By name, by tag alone where the archive has such, or by the digest of a root; `NotFound`."""
        wanted = {reference, reference.rpartition("@")[2], _in_full(reference)}
        for name, root in self.references():
            if name in wanted or root.digest in wanted:
                return root
        if isinstance(self._format, OciLayoutArchive):
            return self._format.resolve(reference)
        raise NotFound("no such reference in the archive", reference)

    def fetch(self, descriptor: Descriptor) -> Reader:
        return self._format.fetch(descriptor)

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """What of the archive has that digest as its subject; a docker-archive has none."""
        return self._format.referrers(descriptor) if isinstance(self._format, OciLayoutArchive) else ()

    def complete(self, intake: Intake | None = None) -> None:
        """Make the manifests that the archive lacks.

        Layers whose plain size only reading tells go to `intake`, but for those that it knows; without an
        intake they are read for their size alone.
        """
        self._format.complete(intake)
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """`ArchiveError` if the file became longer or shorter since it was opened."""
        self._held.check_unchanged()

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_full(reference: str) -> str:
    """The name in full; a text that is no name stays what it is."""
    try:
        return str(Reference.parse(reference))
    except InvalidReference:
        return reference


class _Held(Protocol):
    """What an open archive holds."""

    def check_unchanged(self) -> None: ...
    def close(self) -> None: ...


def _read(members: Members, fetch_taken: FetchTaken) -> Format:
    for one in FORMATS:
        if one.recognises(members):
            return one(members, fetch_taken)
    if members.has("repositories"):
        hint = "it is of Docker before 1.10: load and save it with a later docker"
        raise ArchiveError("the archive has 'repositories' but no manifest.json", members.where, hint)
    hint = "a root file system is read by 'lamina import'"
    raise ArchiveError("no image archive: neither manifest.json nor oci-layout and index.json", members.where, hint)
