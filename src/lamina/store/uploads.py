"""Where uploads to registries are, so that a push that was killed goes on in the middle of a layer.

One small JSON file an upload in `state/uploads`, for its owner alone: a location may hold what lets its bearer write.  It is a
memory: an entry that is lost or damaged costs the bytes that were sent, and none of it is ever a reason for a push to fail.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_ENTRIES = 256
OLDEST = 7 * 86_400  # seconds; registries forget an upload sooner
_MOST_BYTES = 64 << 10
# Each piece has its entry, but only one a second is waited for until it lies on the disk: that is against a power cut, whose
# price is a second's pieces; against a kill the rename is enough.
_SYNC_EVERY = 1.0


class UploadJournal:
    """Entries by key (any text), each a mapping of texts and integers.  For several threads and processes."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._clock = directory, clock
        self._lock = threading.Lock()
        self._synced: dict[str, float] = {}
        self._swept = False
        self._claims: dict[str, int] = {}

    def claim(self, key: str) -> bool:
        """Take the key for oneself, until `release` or the end of the process; False while somebody else has it."""
        path = self._path(key).with_suffix(".lock")
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), path.stat()):  # else its last holder has just taken it away
                    self._claims[key] = fd
                    return True
            os.close(fd)
        return False

    def release(self, key: str) -> None:
        """Let others have it."""
        fd = self._claims.pop(key)
        with suppress(OSError):
            self._path(key).with_suffix(".lock").unlink(missing_ok=True)
        os.close(fd)

    def get(self, key: str) -> dict[str, Any] | None:
        """The entry; None where there is none that can be used."""
        with suppress(OSError, ValueError, RecursionError):
            with self._path(key).open("rb") as file:
                found = json.loads(file.read(_MOST_BYTES))
            if isinstance(found, dict) and found.get("key") == key and isinstance(found.get("value"), dict):
                value: dict[str, Any] = found["value"]
                return value if self._clock() - self._path(key).stat().st_mtime < OLDEST else None
        return None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep the entry, in place of the one before."""
        data = json.dumps({"key": key, "value": dict(value)}).encode()
        if len(data) > _MOST_BYTES:
            self.drop(key)
            return
        with self._lock, suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if not self._swept:
                self._swept = True
                self._sweep()
            path = self._path(key)
            now = self._clock()
            sync = now - self._synced.get(key, 0.0) >= _SYNC_EVERY
            _replace(path, data, sync)
            if sync:
                self._synced[key] = now

    def drop(self, key: str) -> None:
        """The upload has ended; an entry that is not there is fine."""
        with self._lock, suppress(OSError):
            self._synced.pop(key, None)
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _sweep(self) -> None:
        """Remove what is old, and the oldest of too many."""
        found = []
        for entry in os.scandir(self._directory):
            with suppress(OSError):  # another process may be at it
                found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
        found.sort()
        limit = self._clock() - OLDEST
        for number, (changed, path) in enumerate(found):
            if changed < limit or number < len(found) - (MOST_ENTRIES - 1):
                with suppress(OSError):
                    Path(path).unlink()


def _replace(path: Path, data: bytes, sync: bool) -> None:
    """The file whole, or as it was."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
