"""`state/proofs`: blobs whose recipe is known to give their digest, because they were read back once and did.

A head names the blocks of its recipe by BLAKE3, and those name their chunks: as long as head and chunks are what they were, so
is the blob, and SHA-256 need not say so again (half of the work of a verification).  FORMAT.md has the bytes.  The file is
derived: one that is lost or wrong proves nothing, and blobs are read back again.  Memory: 32 bytes a blob, and a set of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from blake3 import blake3

NAME: Final = "proofs"
MAGIC: Final = b"LAMPRV1\n"
SIZE: Final = 32


def proof_of(digest: str, head: bytes | memoryview) -> bytes:
    """What is noted of a blob that was read back from this head."""
    return blake3(digest.encode() + b"\n" + bytes(head)).digest()


def read_proofs(state_dir: Path) -> set[bytes]:
    """All that are known."""
    data = b""
    with suppress(OSError), os.fdopen(os.open(state_dir / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a fifo is not waited for
            data = file.read()
    body = data[len(MAGIC) : -SIZE]
    if data[: len(MAGIC)] != MAGIC or len(body) % SIZE or data[-SIZE:] != blake3(data[:-SIZE]).digest():
        return set()
    return {body[at : at + SIZE] for at in range(0, len(body), SIZE)}


def write_proofs(state_dir: Path, proofs: Iterable[bytes]) -> None:
    """These, in place of those before; without a sync, as a torn file proves nothing.  Where there is no room it is left."""
    fresh = state_dir / (NAME + ".new")
    data = MAGIC + b"".join(sorted(proofs))
    with suppress(OSError):
        fresh.unlink(missing_ok=True)  # what a killed run has left
        try:
            with fresh.open("xb") as file:
                file.write(data + blake3(data).digest())
            fresh.replace(state_dir / NAME)
        except OSError:
            fresh.unlink(missing_ok=True)
