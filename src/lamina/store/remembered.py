"""What pushes and pulls remember (FORMAT.md, "Catalog"): derived from what went over the line, and from nothing in the packs.

Losing it costs a compression or an upload, nothing else; what it says is asked of the registry before it is relied on.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.store.database import Database

# Rows of each kind that are kept, the newest.  A manifest is some 2 KB; a place is some 200 bytes.
MOST_PUSHES = 4096
MOST_PLACES = 65_536
MOST_SOURCES = 16  # places of one blob that are told

TABLES = {
    "encodings": """CREATE TABLE IF NOT EXISTS encodings (
        plain TEXT NOT NULL, settings TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size BIGINT NOT NULL,
        PRIMARY KEY (plain, settings))""",
    "pushes": """CREATE TABLE IF NOT EXISTS pushes (
        repository TEXT NOT NULL, manifest TEXT NOT NULL, settings TEXT NOT NULL, digest TEXT NOT NULL,
        media_type TEXT NOT NULL, document TEXT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (repository, manifest, settings))""",
    "blob_places": """CREATE TABLE IF NOT EXISTS blob_places (
        domain TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, seq BIGINT NOT NULL,
        PRIMARY KEY (domain, digest, repository))""",
}
INDEXES = (
    "CREATE INDEX IF NOT EXISTS pushes_manifest ON pushes (manifest)",
    "CREATE INDEX IF NOT EXISTS pushes_seq ON pushes (seq)",
    "CREATE INDEX IF NOT EXISTS blob_places_seq ON blob_places (seq)",
)

_SET_ENCODING = """INSERT INTO encodings (plain, settings, digest, media_type, size) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (plain, settings) DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,
    size = excluded.size"""
_SET_PUSH = """INSERT INTO pushes (repository, manifest, settings, digest, media_type, document, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (repository, manifest, settings) DO UPDATE SET digest = excluded.digest,
    media_type = excluded.media_type, document = excluded.document, seq = excluded.seq"""
_SET_PLACE = """INSERT INTO blob_places (domain, repository, digest, seq) VALUES (?, ?, ?, ?)
    ON CONFLICT (domain, digest, repository) DO UPDATE SET seq = excluded.seq"""


class EncodingRow(NamedTuple):
    """What a plain layer came to when it was compressed with some settings ("gzip:2")."""

    plain: str
    settings: str
    digest: str
    media_type: str
    size: int


class PushRow(NamedTuple):
    """The manifest that was made of a local one (`manifest`) for a repository (in full: `docker.io/library/app`)."""

    repository: str
    manifest: str
    settings: str
    digest: str
    media_type: str
    document: str

    @property
    def size(self) -> int:
        """Bytes of the manifest."""
        return len(self.document.encode())


def forget(database: Database, digests: Iterable[tuple[str]]) -> None:
    """Blobs are gone: what was made of them is of no use.  Within a transaction."""
    keys = list(digests)
    database.write_many("DELETE FROM encodings WHERE plain = ?", keys)
    database.write_many("DELETE FROM pushes WHERE manifest = ?", keys)


class Remembered:
    """The memory of pushes of one catalog; each call is a read or a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- encodings

    def encoding(self, plain: str, settings: str) -> EncodingRow | None:
        """What the layer came to, if that is known."""
        rows = self._db.read("SELECT plain, settings, digest, media_type, size FROM encodings WHERE plain = ? AND settings = ?",
                             (plain, settings))
        return EncodingRow(*rows[0]) if rows else None

    def add_encoding(self, row: EncodingRow) -> None:
        """Remember it, in place of what was known before; not of a layer that is gone."""
        with self._db.transaction():
            if self._db.read("SELECT 1 FROM blobs WHERE digest = ?", (row.plain,)):
                self._db.write(_SET_ENCODING, row)

    # -- manifests

    def push(self, repository: str, manifest: str, settings: str) -> PushRow | None:
        """The manifest that was made for a repository, if it was."""
        rows = self._db.read(
            "SELECT repository, manifest, settings, digest, media_type, document FROM pushes "
            "WHERE repository = ? AND manifest = ? AND settings = ?", (repository, manifest, settings))
        return PushRow(*rows[0]) if rows else None

    def add_push(self, row: PushRow) -> None:
        """Remember it; not of a manifest that is gone."""
        with self._numbered("pushes", MOST_PUSHES) as seq:
            if self._db.read("SELECT 1 FROM blobs WHERE digest = ?", (row.manifest,)):
                self._db.write(_SET_PUSH, (*row, seq))

    def digests(self) -> dict[tuple[str, str], str]:
        """(repository, local manifest) -> digest of what was pushed there last."""
        rows = self._db.read("SELECT repository, manifest, digest FROM pushes ORDER BY seq")
        return {(repository, manifest): digest for repository, manifest, digest in rows}

    # -- places

    def places(self, domain: str, digest: str) -> list[str]:
        """Repositories of a registry in which a blob has been seen, the latest first."""
        rows = self._db.read("SELECT repository FROM blob_places WHERE domain = ? AND digest = ? ORDER BY seq DESC "
                             f"LIMIT {MOST_SOURCES}", (domain, digest))
        return [row[0] for row in rows]

    def add_places(self, domain: str, repository: str, digests: Iterable[str]) -> None:
        """These blobs are in the repository (its path, without the registry)."""
        with self._numbered("blob_places", MOST_PLACES) as seq:
            self._db.write_many(_SET_PLACE, [(domain, repository, digest, seq + n)
                                             for n, digest in enumerate(dict.fromkeys(digests))])

    def drop_place(self, domain: str, repository: str, digest: str) -> None:
        """A blob is not there any more."""
        with self._db.transaction():
            self._db.write("DELETE FROM blob_places WHERE domain = ? AND repository = ? AND digest = ?",
                           (domain, repository, digest))

    @contextmanager
    def _numbered(self, table: str, most: int) -> Iterator[int]:
        """A transaction, and the number of its first row; rows beyond `most` newer ones go."""
        with self._db.transaction():
            last = f"SELECT COALESCE(MAX(seq), 0) FROM {table}"
            yield self._db.read(last)[0][0] + 1
            self._db.write(f"DELETE FROM {table} WHERE seq <= ?", (self._db.read(last)[0][0] - most,))
