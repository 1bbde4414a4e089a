"""The catalog's tables and rows.  The SQL keeps to what SQLite and PostgreSQL both take (with collation "C" there)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lamina.errors import StoreDamaged
from lamina.mediatypes import is_index, is_manifest
from lamina.store import links, remembered, uses

VERSION = 1

LIVE = "live"
CONDEMNED = "condemned"

LEVEL = "level of pack "  # and a number, keys of `meta`: what the optimizer wrote it at; if it is lost, it is done again
PINNED = "pinned"  # key of `meta`: the highest sequence number that pinned a name or let go of one
INCOMPLETE = "checkpoint of an incomplete rebuild"  # a key of `meta`: not all packs could be read, which `repair` mends
# Counters and numbers of the catalog itself.  `checkpoint` is the number of the last journal that names every name.
META = {"version": VERSION, "sequence": 0, "checkpoint": 0, "pack_number": 0}

TABLES = (
    """CREATE TABLE IF NOT EXISTS meta (
        key TEXT PRIMARY KEY, value BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS packs (
        number BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, bytes BIGINT NOT NULL, chunks BIGINT NOT NULL,
        state TEXT NOT NULL, changed BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS blobs (
        digest TEXT PRIMARY KEY, sha256 TEXT NOT NULL, kind TEXT NOT NULL, media_type TEXT NOT NULL,
        size BIGINT NOT NULL, pack BIGINT NOT NULL, record BIGINT NOT NULL, diff_id TEXT, plain_size BIGINT,
        entries BIGINT, file_bytes BIGINT, made BIGINT NOT NULL, text TEXT)""",
    "CREATE INDEX IF NOT EXISTS blobs_sha256 ON blobs (sha256)",
    "CREATE INDEX IF NOT EXISTS blobs_diff_id ON blobs (diff_id)",
    """CREATE TABLE IF NOT EXISTS edges (
        parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child))""",
    "CREATE INDEX IF NOT EXISTS edges_child ON edges (child)",
    # A removed name stays as a row with removed = 1 until the next checkpoint: a commit that drew a lower
    # number and comes later must lose against the removal, as it does when journals are applied in order.
    """CREATE TABLE IF NOT EXISTS refs (
        name TEXT PRIMARY KEY, digest TEXT NOT NULL, media_type TEXT NOT NULL, size BIGINT NOT NULL,
        seq BIGINT NOT NULL, time BIGINT NOT NULL, removed BIGINT NOT NULL, pinned BIGINT NOT NULL DEFAULT 0)""",
    "CREATE INDEX IF NOT EXISTS refs_digest ON refs (digest)",
    """CREATE TABLE IF NOT EXISTS images (
        manifest TEXT PRIMARY KEY, config TEXT NOT NULL, created TEXT NOT NULL, os TEXT NOT NULL,
        architecture TEXT NOT NULL, variant TEXT NOT NULL, diff_ids TEXT NOT NULL, size BIGINT NOT NULL,
        whole BIGINT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS images_config ON images (config)",
    """CREATE TABLE IF NOT EXISTS leases (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, start BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS holds (
        lease TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (lease, digest))""",
    *remembered.TABLES.values(),
    *uses.TABLES.values(),
    *links.TABLES.values(),
    *remembered.INDEXES,
    *links.INDEXES,
)
# Tables, and columns of tables, that a catalog of before has not: it gets them when it is opened.
LATER = frozenset((*remembered.TABLES, *uses.TABLES, *links.TABLES))
LATER_COLUMNS = {("refs", "pinned"): "ALTER TABLE refs ADD COLUMN pinned BIGINT NOT NULL DEFAULT 0"}


def rank(kind: str, media_type: str) -> int:
    """What bytes were taken for: a manifest or index counts more than a config, and that more than a layer or blob.

    Bytes may be several at once (anyone can make an image whose layer is somebody's manifest).  What they were taken for
    first must not hide what a manifest names from the collector: they are kept as the one that counts most.
    """
    if kind != "document":
        return 0
    return 2 if is_manifest(media_type) or is_index(media_type) else 1


# What each column of a row may hold: SQLite keeps anything in any column, a flipped bit or a stranger may put it there.
_TYPES: dict[str, tuple[tuple[type, ...], ...]] = {
    "packs": ((int,), (str,), (int,), (int,), (str,), (int,)),
    "blobs": (*((str,),) * 4, *((int,),) * 3, (str, type(None)), *((int, type(None)),) * 3, (int,), (str, type(None))),
    "refs": ((str,), (str,), (str,), *((int,),) * 4),
    "images": (*((str,),) * 7, (int,), (int,)),
    "leases": ((str,), (str,), (int,)),
}
_SOUND: set[tuple[str, tuple[type, ...]]] = set()  # those that have been found right
_PACK_NAME = re.compile(r"[0-9a-f]{32}")


def check_row(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row; `StoreDamaged` for one that holds what its columns do not.  0.4 us: listings read ten thousand."""
    types = tuple(map(type, row))
    if (table, types) not in _SOUND:
        if not all(kind in allowed for kind, allowed in zip(types, _TYPES[table], strict=True)):
            raise _strange(table)
        _SOUND.add((table, types))
    return row


def _strange(table: str) -> StoreDamaged:
    return StoreDamaged(f"the catalog is damaged: a row of {table} makes no sense", "state/catalog.sqlite", "run lamina repair")


def pack_row(row: tuple[Any, ...]) -> PackRow:
    """Of the columns PACK; `StoreDamaged`."""
    found = PackRow._make(check_row("packs", row))
    if not _PACK_NAME.fullmatch(found.name):
        raise _strange("packs")
    return found


class PackRow(NamedTuple):
    """A sealed pack; `name` in hex, `state` LIVE or CONDEMNED, `changed` a sequence number."""

    number: int
    name: str
    bytes: int
    chunks: int
    state: str
    changed: int


class BlobRow(NamedTuple):
    """A blob and where its head or document lies: record `record` of pack `pack`.

    `sha256` is a whole digest too (`sha256:...`), equal to `digest` for most.  `kind` is "layer", "blob" or "document";
    `made`: a manifest that Lamina made itself; `text`: a document's, where it is UTF-8.
    """

    digest: str
    sha256: str
    kind: str
    media_type: str
    size: int
    pack: int
    record: int
    diff_id: str | None = None
    plain_size: int | None = None
    entries: int | None = None
    file_bytes: int | None = None
    made: bool = False
    text: str | None = None


class RefRow(NamedTuple):
    """A name and the descriptor that it leads to; `time` in seconds since 1970; `pinned`: no rule takes it away."""

    name: str
    digest: str
    media_type: str
    size: int
    seq: int
    time: int
    pinned: bool = False


def ref_row(row: tuple[Any, ...]) -> RefRow:
    """Of the columns REF; `StoreDamaged`."""
    check_row("refs", row)
    return RefRow._make((*row[:6], bool(row[6])))


class ImageRow(NamedTuple):
    """An image manifest; `config` is the image id, `created` as the config has it, `size` the sum of file sizes,
    `whole` whether all that it names is there."""

    manifest: str
    config: str
    created: str
    os: str
    architecture: str
    variant: str
    diff_ids: tuple[str, ...]
    size: int
    whole: bool


class LeaseRow(NamedTuple):
    """Who is at work, since which sequence number."""

    id: str
    kind: str
    start: int


PACK = "number, name, bytes, chunks, state, changed"
BLOB = "digest, sha256, kind, media_type, size, pack, record, diff_id, plain_size, entries, file_bytes, made"
REF = "name, digest, media_type, size, seq, time, pinned"
IMAGE = "manifest, config, created, os, architecture, variant, diff_ids, size, whole"
