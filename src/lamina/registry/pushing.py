"""One blob into a repository: piece by piece, and on where an earlier process was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from lamina.content import Reader
from lamina.content.verify import verifying
from lamina.digest import Digest
from lamina.errors import InvalidContent, LaminaError, LimitExceeded, NotFound, RegistryError, RegistryUnavailable, Unauthorized
from lamina.oci import Descriptor
from lamina.registry.uploading import MAX_PIECE, PIECE, LostError, Session, StuckError, UploadJournal, Uploads, fill

# Buffers that are kept for the next blob: fresh memory costs more than to read into it.
_KEPT = 4


class Pushing:
    """Pushes blobs to one repository, from several threads; a piece of memory each."""

    def __init__(self, uploads: Uploads, journal: UploadJournal | None, place: str) -> None:
        self._uploads, self._journal, self._place = uploads, journal, place
        self._lock = Lock()
        self._buffers: list[bytearray] = []

    def blob(self, descriptor: Descriptor, reader: Reader, begun: Session | None = None) -> None:
        """A blob of known digest, verified before it is there; `begun` is an upload that the registry has ready."""
        with self._claimed(f"{self._place}@{descriptor.digest}" if descriptor.size > PIECE else "") as key:
            session = self._journalled(key, descriptor.size) if key else None
            if session is not None and begun is not None:
                self._uploads.cancel(begun)
            self._run(verifying(reader, descriptor), lambda: descriptor.digest, session, begun, key)

    def stream(self, reader: Reader, mark: str = "") -> tuple[Digest, int]:
        """A blob whose digest (sha256) and size its end tells.

        `mark` names the bytes beforehand: one that was begun under the same mark is gone on with.  Were they others after all,
        the registry would refuse the whole, and the next try begin anew.
        """
        tally = _Tally(reader)
        with self._claimed(f"{self._place}#{mark}" if mark else "") as key:
            self._run(tally, tally.digest, self._journalled(key) if key else None, None, key)
        return tally.digest(), tally.count

    def _run(self, reader: Reader, digest: Callable[[], Digest], session: Session | None, begun: Session | None,
             key: str) -> None:
        buffer = self._take()
        try:
            view = memoryview(buffer)
            try:
                if session is not None:
                    skip(reader, view, session.offset)
                count = fill(reader, view)
            except Exception as error:
                self._end(session or begun, key, error)
                raise
            if session is None and count < len(view):
                self._uploads.whole(digest(), view[:count], begun)
            else:
                self._pieces(session or begun or self._uploads.begin(), reader, view, count, digest, key)
        finally:
            self._give(buffer)

    def _pieces(self, session: Session, reader: Reader, view: memoryview, count: int, digest: Callable[[], Digest],
                key: str) -> None:
        """All pieces, of which `count` bytes in `view` are the first; only when the reader has ended well is it a blob."""
        try:
            view, count = _enlarged(session, reader, view, count)
            while count:
                self._uploads.send(session, view[:count])
                self._note(key, session)
                count = fill(reader, view)
            self._uploads.complete(session, digest())
        except Exception as error:
            self._end(session, key, error)
            raise
        if key and self._journal is not None:
            self._journal.drop(key)

    def _end(self, session: Session | None, key: str, error: Exception) -> None:
        """What becomes of an upload that failed: another try may go on with it, if the journal knows it."""
        if session is None or (key and _again(error)):
            return
        if key and self._journal is not None:
            self._journal.drop(key)
        # A registry that does not answer is not asked for one thing more.
        if isinstance(error, LostError | StuckError) or not isinstance(error, RegistryUnavailable):
            self._uploads.cancel(session)

    # -- the journal

    @contextmanager
    def _claimed(self, key: str) -> Iterator[str]:
        """The key of an upload's entry while nobody else uses it; '' where there is none, or somebody does."""
        if not key or self._journal is None or not self._journal.claim(key):
            yield ""
            return
        try:
            yield key
        finally:
            self._journal.release(key)

    def _journalled(self, key: str, size: int | None = None) -> Session | None:
        assert self._journal is not None
        entry = self._journal.get(key)
        if entry is None:
            return None
        location, minimum = entry.get("location"), entry.get("minimum", 0)
        if isinstance(location, str) and isinstance(minimum, int):
            session = Session(location, 0, minimum)
            try:
                if self._uploads.status(session):
                    if size is None or session.offset <= size:
                        return session
                    self._uploads.cancel(session)
            except (RegistryError, NotFound) as error:
                if isinstance(error, Unauthorized):
                    raise
                if isinstance(error, RegistryUnavailable):
                    return None  # Of that origin alone, perhaps; if not, the entry is good for the next try.
        self._journal.drop(key)
        return None

    def _note(self, key: str, session: Session) -> None:
        if key and self._journal is not None:
            self._journal.put(key, {"location": session.location, "offset": session.offset, "minimum": session.minimum})

    # -- buffers

    def _take(self) -> bytearray:
        with self._lock:
            if self._buffers:
                return self._buffers.pop()
        return bytearray(PIECE)

    def _give(self, buffer: bytearray) -> None:
        with self._lock:
            if len(self._buffers) < _KEPT:
                self._buffers.append(buffer)


class _Tally:
    """Counts and hashes what passes."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._hasher = reader, Digest.of(b"").hasher()
        self.count = 0

    @property
    def size(self) -> int | None:
        return self._reader.size

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._hasher.update(buffer[:count])
        self.count += count
        return count

    def close(self) -> None:
        self._reader.close()

    def digest(self) -> Digest:
        return Digest.done("sha256", self._hasher)


def skip(reader: Reader, view: memoryview, count: int) -> None:
    """Read what the registry has already: it counts for the digest."""
    while count:
        step = fill(reader, view[: min(count, len(view))])
        if not step:
            return
        count -= step


def _enlarged(session: Session, reader: Reader, view: memoryview, count: int) -> tuple[memoryview, int]:
    """A buffer as large as the registry wants its pieces, with the first bytes in it."""
    size = min(session.minimum, MAX_PIECE)
    if size <= len(view):
        return view, count
    larger = memoryview(bytearray(size))
    larger[:count] = view[:count]
    return larger, count + fill(reader, larger[count:])


def _again(error: Exception) -> bool:
    """Whether another try may come to a better end with the same upload."""
    if isinstance(error, LostError | InvalidContent | LimitExceeded):
        return False
    if isinstance(error, RegistryError):
        return isinstance(error, RegistryUnavailable | Unauthorized)
    return not isinstance(error, NotFound) if isinstance(error, LaminaError) else True
