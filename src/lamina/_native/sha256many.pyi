"""SHA-256 of several streams side by side."""

from collections.abc import Sequence

from typing_extensions import Buffer

class Sha256:
    """The state of one stream (144 bytes with what waits for a full block), with the face of a `hashlib` object.

    Distinct states may be used from distinct threads at once, one state may not.
    """

    name: str
    digest_size: int
    block_size: int

    def __init__(self) -> None: ...
    def update(self, data: Buffer) -> None:
        """Append `data`, any contiguous buffer of bytes. The GIL is released."""

    def digest(self) -> bytes:
        """The 32 bytes for what came so far; more may follow."""

    def hexdigest(self) -> str:
        """The digest as 64 hexadecimal digits."""

    def copy(self) -> Sha256:
        """Another stream that begins with all that this one has."""

def update_many(states: Sequence[Sha256], pieces: Sequence[Buffer]) -> None:
    """states[i].update(pieces[i]) for every i, side by side. The GIL is released throughout.

    Pieces may have any lengths, 0 too: the longest take turns, so that as many bytes as possible go interleaved. Any
    number of streams; those beyond 64 wait for the first 64. Pieces of 8 KiB or more make it fast.
    ValueError: a state given twice, or unequal numbers. TypeError: not a state, or not a buffer; BufferError or
    ValueError (as its owner says): not contiguous. No state is changed then.
    """
