"""Standard streams and paths as commands take them."""

from __future__ import annotations

import sys
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from lamina.errors import LaminaError


def source(name: str) -> Path | RawIOBase:
    """The file of that name, or standard input for `-`; a terminal is refused in docker's words. `LaminaError`."""
    if name != "-":
        return Path(name)
    if sys.stdin is None or sys.stdin.isatty():
        raise LaminaError("requested load from stdin, but stdin is empty", hint="name a file or redirect one")
    # Unbuffered: a thread that waits for a pipe when an interrupt ends the process must not hold the buffer's lock.
    return cast("RawIOBase", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))


def target(name: str) -> Path | BinaryIO:
    """The file of that name, or standard output for none; a terminal is refused in docker's words. `LaminaError`."""
    if name and name != "-":
        return Path(name)
    if sys.stdout is None or sys.stdout.isatty():
        raise LaminaError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    return sys.stdout.buffer
