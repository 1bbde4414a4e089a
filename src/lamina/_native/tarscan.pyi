"""Tar scanner: tells file content from the rest of a tar stream, and lists its members.

The stream is fed in buffers of any size. Every byte of it comes back in exactly one *span*, in order, whatever the
bytes are: headers, extensions, sparse maps, padding, trailers and contents shorter than `inline_limit` are *segment*,
larger contents are *content*, and so is everything from the point where the stream stops being tar.

Formats: v7, ustar, PAX, GNU, star; names by prefix, PAX record, GNU 'L' and 'K'; numbers in octal and base 256; sparse
files of old GNU and of PAX 0.0, 0.1 and 1.0; several archives in a row (two zero blocks, or more, between them). Where
tools disagree it does what Go's archive/tar does, which container engines read layers with; in particular:

- PAX global headers are checked, but neither listed nor applied; an 'x', 'L' or 'K' before one is lost;
- links, devices, fifos and directories have no data, whatever their size field says;
- a type that is not known has data like a regular file;
- something other than zeros after a lone zero block is not tar; after two, it is a further archive or not tar;
- extension data above 1 MiB, numbers beyond 64 bits, and sparse maps that do not fit the file are not tar.

Where it goes beyond Go: extended attributes may be empty, and LIBARCHIVE.xattr records count where a member has no
SCHILY.xattr.

What is not tar is content from the block (or, after bad PAX records, the byte) where that shows, whatever the buffers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

MAX_FEED: int
"""The largest buffer that one `feed` takes, in bytes (512 MiB)."""

class Column(NamedTuple):
    """n byte strings: the i-th is `data[starts[i]:starts[i + 1]]`."""

    starts: NDArray[np.uint32]
    """n + 1 places in `data`, ascending from 0 to its length."""
    data: bytes

class EntryColumns(NamedTuple):
    """n members in stream order, one array or column per attribute.

    Names are raw bytes. A regular file is sparse if its `sparse` is not empty or `size` is not `stored`; whether the
    lengths in the map add up to `stored` is not checked (Go does that as it reads the data).
    """

    kind: NDArray[np.uint8]
    """Typeflag: b'0' regular (also old '\\0', '7', 'S'), '1' hard link, '2' symlink, '3' character device, '4' block
    device, '5' directory (also '\\0' with a trailing slash), '6' fifo; others as they stand, with data."""
    mode: NDArray[np.uint32]
    """The mode field's low 32 bits; so for devmajor and devminor."""
    uid: NDArray[np.int64]
    gid: NDArray[np.int64]
    size: NDArray[np.int64]
    """The file's size with its holes; for a type without data, whatever the header says, but never below 0."""
    stored: NDArray[np.int64]
    """Content bytes in the stream, as announced: a truncated stream has fewer."""
    offset: NDArray[np.int64]
    """Stream offset of the stored content (where it would be, if there is none)."""
    header: NDArray[np.int64]
    """Stream offset of the member's first header block, that of an extension header if it has any."""
    mtime: NDArray[np.int64]
    """Seconds since 1970, floored."""
    mtime_ns: NDArray[np.uint32]
    """Nanoseconds after that, below 10**9."""
    devmajor: NDArray[np.uint32]
    devminor: NDArray[np.uint32]
    path: Column
    link: Column
    uname: Column
    gname: Column
    xattrs: Column
    """Repeated u32 LE key length, key, u32 LE value length, value, as in the archive: of equal keys the last counts."""
    sparse: Column
    """Repeated i64 LE offset, i64 LE length: the pieces of the file that are stored, ascending."""

class TarScanner:
    """A push parser over one tar stream; from Cython, `scan` and `end` of tarscan.pxd are its feed and finish.

    Memory: an extension of at most 1 MiB of each sort, a sparse map of at most 4 MiB, the spans of one call, and the
    entries that were not taken yet, which take up to four times the fed bytes in the worst case: call `take_entries`
    when `entries_due`.

    Errors: ValueError when it is used after `finish`, after a failure, or by two threads at once; OverflowError when
    entries are never taken. The bytes themselves never raise.
    """

    def __init__(self, inline_limit: int = 512, entries: bool = True) -> None:
        """Contents of fewer than `inline_limit` bytes are segment; without `entries` members are only counted."""

    def feed(self, data: Buffer) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Takes the next bytes (at most `MAX_FEED`), without the GIL; returns the kinds and lengths of spans, n each.

        The spans cover what was pending before and `data`, but for what is `pending` now. Bit 0 of a kind: content,
        else segment; bit 1: its content ends here. A content whose end is not there yet goes on in the first span of
        the next call. Segment bytes in a row are one span within a call.
        """

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Ends the stream: the spans of what was pending.

        A content that is open (its file is cut off, or it is not tar) ends with a span of kind 3, of no bytes if none
        are pending.
        """

    def skip(self, n: int) -> None:
        """The caller passed over the next n bytes of content, n <= content_left: they count, but no span covers them.

        If they are the last of their content, no span tells its end. ValueError otherwise.
        """

    def take_entries(self) -> EntryColumns | None:
        """The members whose headers are complete, since the last call; None if there are none."""

    @property
    def pending(self) -> int:
        """Bytes fed that no span covers yet: part of a header block, always fewer than 512."""

    @property
    def content_left(self) -> int:
        """Bytes left of the file content that comes next; 0 outside of content, -1 in what is not tar."""

    @property
    def position(self) -> int:
        """Stream offset behind the last span, bytes that were skipped counted."""

    @property
    def entries_ready(self) -> int:
        """Members that `take_entries` would return."""

    @property
    def entries_due(self) -> bool:
        """More than 8192 members or 8 MiB of their names wait to be taken."""

    @property
    def entry_count(self) -> int:
        """Members so far, taken or not."""

    @property
    def file_bytes(self) -> int:
        """Sum of the sizes of regular files, sparse ones with their holes, hard links not counted; at most 2**63 - 1."""

    @property
    def is_tar(self) -> bool:
        """The first header was valid, or the stream has whole blocks and all of them are zeros, so far."""

def front_code(starts: NDArray[np.uint32], data: Buffer) -> tuple[NDArray[np.uint8], bytes]:
    """Codes n names by what each shares with the one before: lengths of shared prefixes (at most 255), and the rest.

    ValueError if `starts` is not that of a `Column` over `data`.
    """

def front_decode(prefix: NDArray[np.uint8], lengths: NDArray[np.uint32], rest: Buffer) -> Column | None:
    """The names that `front_code` coded, `lengths` being those of the n pieces of `rest`.

    None if the arguments do not go together, or make names of 4 GiB.
    """
