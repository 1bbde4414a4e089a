"""An archive that comes as a stream: each member is taken in as it arrives, before anything says what it is.

Small documents stay in memory, for the one that says so may come last; all else goes to the intake.
"""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

from lamina.archive.members import Place, TarMembers, normal
from lamina.archive.source import FetchTaken
from lamina.archive.walk import FILE, Content, Entry, StreamInput, walk
from lamina.content import Intake, Reader, Taken
from lamina.content.inflate import SNIFF_SIZE, PrefixReader, read_up_to
from lamina.content.verify import BytesReader
from lamina.digest import ALGORITHMS, Digest
from lamina.errors import LimitExceeded, NotFound
from lamina.oci import MAX_BYTES, Descriptor

# Documents that are kept, in all.  The 100 images of one archive have about 2 MiB of them.
_MAX_KEPT = 64 << 20
# What may follow the end of an archive.  tar pads to 10 KiB; /dev/zero is an empty archive and has no end.
_MAX_BEHIND = 1 << 30

_BLOB = re.compile(r"blobs/([a-z0-9]+)/([0-9a-f]+)")
_DOCUMENT = re.compile(r"manifest\.json|index\.json|oci-layout|repositories|[0-9a-f]{64}/VERSION")


def take_members(reader: Reader, where: object, intake: Intake) -> TarMembers:
    """The members of a plain tar, read to the end of the stream; `LimitExceeded`."""
    fetch_taken = fetch_from(intake)

    def opener(place: Place, size: int) -> Reader:
        if isinstance(place, Taken):
            return fetch_taken(place)
        if isinstance(place, bytes):
            return BytesReader(place)
        raise TypeError("members of a stream do not lie in it")

    members = TarMembers(where, opener)
    keeper = _Keeper(intake)
    source = StreamInput(reader)
    for entry, content in walk(source, where):
        members.add(entry, keeper.take(entry, content))
    # To the very end: a compressed stream is known to be whole only there, and its writer sees no broken pipe.
    if source.skip(_MAX_BEHIND + 1) > _MAX_BEHIND:
        hint = f"at most {_MAX_BEHIND} bytes are read"
        raise LimitExceeded("the archive has ended and more follows without an end", where, hint)
    return members


@runtime_checkable
class _Fetcher(Protocol):
    """An intake that is a source, too: it gives back what it took."""

    def fetch(self, descriptor: Descriptor) -> Reader: ...


def fetch_from(intake: Intake | None) -> FetchTaken:
    """Gives back what an intake took, if it does that; `NotFound`."""

    def fetch(taken: Taken) -> Reader:
        if not isinstance(intake, _Fetcher):
            raise NotFound("the blob was taken in as it came and is not here any more", taken.digest)
        return intake.fetch(Descriptor("application/octet-stream", taken.digest, taken.size))

    return fetch


class _Keeper:
    """Decides for each member what becomes of its content."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._left = _MAX_KEPT

    def take(self, entry: Entry, content: Content) -> Place:
        name = normal(entry.name)
        if entry.kind != FILE or entry.sparse or not entry.size or not name:
            return b""
        if entry.size <= min(MAX_BYTES, self._left):
            head = read_up_to(content, min(entry.size, SNIFF_SIZE))
            if _DOCUMENT.fullmatch(name) or head.lstrip()[:1] in (b"{", b"["):
                self._left -= entry.size
                return head + read_up_to(content, content.left)
            return self._intake_blob(name, PrefixReader(head, content))
        return self._intake_blob(name, content)

    def _intake_blob(self, name: str, reader: Reader) -> Taken:
        digest = _blob_digest(name)
        if digest is None:
            return self._intake.intake(reader, plain=True)
        known = self._intake.known(digest)
        if known is not None:
            return known
        # What has another digest than its name says matters only to those who ask for that name.  A digest
        # that the intake would not compute by itself it must be told, though.
        expect = None if digest.algorithm == "sha256" else digest
        return self._intake.intake(reader, plain=False, expect=expect)


def _blob_digest(name: str) -> Digest | None:
    found = _BLOB.fullmatch(name)
    if found is None or ALGORITHMS.get(found[1]) != len(found[2]):
        return None
    return Digest(f"{found[1]}:{found[2]}")
