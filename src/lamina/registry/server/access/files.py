"""The files that a configuration names, read whole and bounded."""

from __future__ import annotations

from pathlib import Path

from lamina.errors import LimitExceeded, NotFound, StorageError

MAX_FILE = 4 << 20


def read(path: Path, what: str, limit: int = MAX_FILE) -> bytes:
    """A file's bytes; `NotFound`, `StorageError`, `LimitExceeded`, which name it and say `what` it is."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{what} is not there", path) from None
    except OSError as error:
        raise StorageError(f"cannot read {what}: {error.strerror}", path) from error
    if len(data) > limit:
        raise LimitExceeded(f"{what} is too large", path, f"at most {limit} bytes are read")
    return data
