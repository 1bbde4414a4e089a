"""From the operating system's errors to ours."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.errors import StorageError

_FREE = "free some space and try again"

# errno -> (what, hint)
_KNOWN = {
    errno.ENOSPC: ("no space left on the device", _FREE),
    errno.EDQUOT: ("no space left in the disk quota", _FREE),
    errno.EFBIG: ("file too large for a limit of this process or file system", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose a store that can be written to"),
    errno.EXDEV: ("the parts of the store are on several file systems", "keep all of it on one"),
    errno.EACCES: ("no permission", "check the owner and mode of the store's directory"),
    errno.EPERM: ("operation not permitted", "check the owner, mode and attributes of the store's directory"),
    errno.EIO: ("input/output error of the disk", "check the disk and the kernel's log"),
    errno.ENOTDIR: ("a part of the path is not a directory", "choose another path for the store"),
    errno.ENOENT: ("no such file or directory", ""),
    errno.EISDIR: ("a directory is in the way", "choose another path for the store"),
    errno.ELOOP: ("symbolic links in a loop", "choose another path for the store"),
    errno.ENAMETOOLONG: ("path too long", "choose a shorter path for the store"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many open files on this machine", "raise fs.file-max"),
    errno.ENOMEM: ("out of memory", ""),
    errno.ESTALE: ("stale file handle", "mount the file system again"),
}


def storage_error(error: OSError, doing: str, where: object) -> StorageError:
    """What to tell the user: `doing` ("write a pack") failed at `where`."""
    what, hint = _KNOWN.get(error.errno or 0, (os.strerror(error.errno) if error.errno else str(error), ""))
    return StorageError(f"cannot {doing}: {what}", where, hint)


@contextmanager
def storage_errors(doing: str, where: object) -> Iterator[None]:
    """Let every OSError of the block come out as a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing, where) from error
