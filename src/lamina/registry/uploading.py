"""Blobs on their way into a registry (distribution specification 1.1, "Pushing blobs").

A blob of one piece goes by POST and PUT.  A larger one goes in pieces, each from the one buffer, which is kept until
the registry has said how far it is: what a broken line took away of a piece is sent again from there.  A reader cannot
go back further; what the registry has lost of earlier pieces ends the upload, and the next try begins anew.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from lamina.content import Reader
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound, RegistryError, RegistryUnavailable
from lamina.registry.documents import Headers, same
from lamina.registry.repository import Repository

# docker-registry closes and syncs its file after each: 256 MB take it 2.8 s by 4 MiB, 2.2 s by 16, 1.9 s in one.  A piece is
# a buffer of each lane, and what is sent again at most to a registry that keeps nothing of a broken one.
PIECE = 16 << 20
# A registry may ask for larger pieces (OCI-Chunk-Min-Length; S3's own least is 5 MiB); each costs its size in memory.
MAX_PIECE = 64 << 20

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
# Progress that counts: a registry that takes a byte with each request would be asked four million times.
_PARTS = 64
_BLOB = "application/octet-stream"


class UploadJournal(Protocol):
    """What outlives the process: where an upload is, by a key that names registry, repository and digest.

    `put` returns when the entry is durable.  Keys are text; values hold text and integers.  A key is used by who has claimed
    it, from then until it is released: two pushes of one blob must not write to one upload.
    """

    def claim(self, key: str) -> bool: ...
    def release(self, key: str) -> None: ...
    def get(self, key: str) -> Mapping[str, Any] | None: ...
    def put(self, key: str, value: Mapping[str, Any]) -> None: ...
    def drop(self, key: str) -> None: ...


@dataclass(slots=True)
class Session:
    """An upload that a registry has begun: where it goes on, the bytes that it has, the least size of a piece."""

    location: str
    offset: int = 0
    minimum: int = 0


class LostError(RegistryUnavailable):
    """The registry has not kept what was sent; only a new upload, with a new reader, can help."""


class StuckError(RegistryUnavailable):
    """The registry answers, but what is sent does not arrive."""


class _ElsewhereError(RegistryUnavailable):
    """The registry is at another place of the upload (416)."""


def fill(reader: Reader, view: memoryview) -> int:
    """Read until `view` is full or the reader at its end; how many bytes that were."""
    count = 0
    while count < len(view):
        step = reader.readinto(view[count:])
        if not step:
            break
        count += step
    return count


class Uploads:
    """The verbs of uploading to one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._send = repository.write

    # -- the protocol, verb by verb

    def begin(self) -> Session:
        """POST: a new upload."""
        with self._send("POST", "blobs/uploads/", body=b"", expect=(202,), idempotent=True) as answer:
            return self._begun(answer.url, answer.headers)

    def mount(self, digest: Digest, source: str) -> Session | None:
        """POST with `mount`: None where the blob is in the repository now, else the upload that the registry began."""
        with self._send("POST", "blobs/uploads/?" + urlencode({"mount": digest, "from": source}), body=b"",
                        expect=(201, 202), idempotent=True, also=(source,)) as answer:
            if answer.status == 202:
                return self._begun(answer.url, answer.headers)
            same(digest, answer.headers, self._repository.name)
            return None

    def status(self, session: Session) -> bool:
        """GET: ask how far the upload is and note it; False if the registry does not know it (any more)."""
        with self._send("GET", session.location, expect=(204, 200, 404, 400, 416)) as answer:
            if answer.status not in (200, 204):
                return False
            reached = self._reached(answer.headers)
            if reached is None:
                return False
            session.offset = reached
            self._move(session, answer.url, answer.headers)
            return True

    def cancel(self, session: Session) -> None:
        """DELETE, without regard to what comes of it: the registry forgets it some day by itself."""
        with contextlib.suppress(LaminaError):
            self._send("DELETE", session.location, expect=(200, 202, 204, 404), idempotent=False).close()

    def finish(self, session: Session, digest: Digest, body: memoryview | bytes = b"") -> None:
        """PUT: the upload is the blob `digest`, `body` its last bytes."""
        mark = "&" if "?" in session.location else "?"
        with self._send("PUT", f"{session.location}{mark}digest={digest}", headers={"Content-Type": _BLOB}, body=body,
                        expect=(201, 204, 200), idempotent=False) as answer:
            same(digest, answer.headers, self._repository.name)

    def patch(self, session: Session, data: memoryview) -> bool:
        """PATCH: the next bytes, from `session.offset` on; it is as far as the registry says afterwards.

        False: the registry is at another place than that (416).
        """
        start, end = session.offset, session.offset + len(data)
        with self._send("PATCH", session.location, expect=(202, 204, 201, 416), idempotent=False, body=data, headers={
                "Content-Type": _BLOB, "Content-Range": f"{start}-{end - 1}"}) as answer:
            if answer.status == 416:
                return False
            reached = self._reached(answer.headers)
            self._move(session, answer.url, answer.headers)
        session.offset = end if reached is None else reached
        return True

    # -- a piece, in spite of what breaks

    def send(self, session: Session, piece: memoryview) -> None:
        """Send a piece to its end, with questions and pauses between; `LostError`, `RegistryUnavailable`."""
        first, last, failures = session.offset, session.offset + len(piece), 0
        while session.offset < last:
            before = session.offset
            error = self._try(session, piece[before - first :])
            if error is not None and not self.status(session):
                raise LostError("the registry has lost an upload", self._repository.name, "push again") from error
            if isinstance(error, _ElsewhereError) and session.offset == before == 0:
                session.offset = 1  # See `_reached`.
            if session.offset > last:
                raise RegistryError("the registry has more of an upload than was sent", self._repository.name)
            if session.offset < first:
                raise LostError("the registry has lost a part of an upload", self._repository.name, "push again")
            if session.offset - before >= min(last - before, max(1, len(piece) // _PARTS)):
                failures = 0
                continue
            failures += 1
            if failures >= self._repository.attempts:
                raise StuckError("an upload does not get on", self._repository.name, "push again") from error
            if failures > 1:
                self._repository.pause(failures - 1)

    def complete(self, session: Session, digest: Digest) -> None:
        """`finish`; where it remained open whether it arrived, the registry is asked for the blob."""
        failures = 0
        while True:
            try:
                self.finish(session, digest)
                return
            except (RegistryUnavailable, NotFound):
                failures += 1
                if self._repository.head_blob(digest) is not None:
                    return
                if failures >= self._repository.attempts:
                    raise
                self._repository.pause(failures)

    def whole(self, digest: Digest, body: memoryview, session: Session | None = None) -> None:
        """A blob of one piece, from the beginning again where that breaks; in an upload that is begun already, or not."""
        failures = 0
        while True:
            session = session or self.begin()
            try:
                self.finish(session, digest, body)
                return
            except (RegistryUnavailable, NotFound):
                failures += 1
                if self._repository.head_blob(digest) is not None:
                    return
                if failures >= self._repository.attempts:
                    raise
                self._repository.pause(failures)
            except LaminaError:
                self.cancel(session)
                raise
            session = None

    def _try(self, session: Session, data: memoryview) -> LaminaError | None:
        """One PATCH; an error after which the registry may be asked how far it is."""
        try:
            if self.patch(session, data):
                return None
        except (RegistryUnavailable, NotFound) as error:
            return error
        return _ElsewhereError("the registry is at another place of an upload", self._repository.name)

    def _begun(self, url: str, headers: Headers) -> Session:
        minimum = headers.get("OCI-Chunk-Min-Length", "").strip()
        session = Session(self._repository.located(url, headers.get("Location", "")))
        if minimum.isascii() and minimum.isdigit() and len(minimum) < 20:
            session.minimum = int(minimum)
        return session

    def _move(self, session: Session, url: str, headers: Headers) -> None:
        location = headers.get("Location", "")
        if location:
            session.location = self._repository.located(url, location)

    @staticmethod
    def _reached(headers: Headers) -> int | None:
        """Bytes that the registry has, by `Range: 0-LAST`; None where that is not said.

        "0-0" is said of one byte and, as by docker's registry, of none; it is taken for none, until that is refused.
        """
        found = _RANGE.fullmatch(headers.get("Range", "").strip())
        if found is None:
            return None
        last = int(found[1])
        return last + 1 if last else 0
