"""Which repositories of a registry have which blobs before a manifest names them (FORMAT.md, "Catalog").

A link keeps its blob from collection for `KEPT` seconds; from the manifest on, the manifest does.  A memory: a catalog that is
made anew has none, and a client that is told that a blob is unknown sends it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.mediatypes import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from lamina.store.database import Database

KEPT: Final = 24 * 3600

TABLES = {
    "links": """CREATE TABLE IF NOT EXISTS links (
        repository TEXT NOT NULL, digest TEXT NOT NULL, time BIGINT NOT NULL, PRIMARY KEY (repository, digest))""",
}
INDEXES = ("CREATE INDEX IF NOT EXISTS links_digest ON links (digest)",)

_SET = """INSERT INTO links (repository, digest, time) VALUES (?, ?, ?)
    ON CONFLICT (repository, digest) DO UPDATE SET time = excluded.time"""

# Who names a digest, and who names that.  A manifest in an index is named by it, which its text shows; one that hangs on its
# subject is a statement that anybody may have made elsewhere, and gives nobody a right to what it names.
_ABOVE = """
    WITH RECURSIVE above (digest) AS (
        SELECT CAST(? AS TEXT)
        UNION SELECT digest FROM blobs WHERE sha256 = ?
        UNION SELECT edges.parent FROM above JOIN edges ON edges.child = above.digest
            WHERE NOT EXISTS (SELECT 1 FROM blobs AS statement, blobs AS subject
                WHERE statement.digest = edges.child AND subject.digest = edges.parent
                AND statement.media_type IN ({documents})
                AND (subject.media_type NOT IN ({indexes}) OR subject.text NOT LIKE '%' || edges.child || '%')))
    """


def link(database: Database, pairs: Iterable[tuple[str, str]], now: int) -> None:
    """(repository, digest): it has the blob from now on.  Within a transaction."""
    database.write_many(_SET, [(*pair, now) for pair in pairs])


def unlink(database: Database, repository: str, digest: str) -> bool:
    """Whether there was a link, which there is no more.  Within a transaction."""
    return database.write("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest)) > 0


def expire(database: Database, now: int) -> None:
    """Links that are over; and those that are to come, by a clock that has been set back since.  Within a transaction."""
    database.write("DELETE FROM links WHERE time < ? OR time > ?", (now - KEPT, now + KEPT))


class Links:
    """The links of one catalog, and what repositories have by the manifests that they name."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def has(self, repository: str, digest: str) -> bool:
        """Whether there is a link."""
        return bool(self._db.read("SELECT 1 FROM links WHERE repository = ? AND digest = ?", (repository, digest)))

    def any(self, repository: str) -> bool:
        """Whether the repository has any."""
        return bool(self._db.read("SELECT 1 FROM links WHERE repository = ? LIMIT 1", (repository,)))

    def repositories(self, digest: str, most: int) -> list[str]:
        """Those that have a link to it."""
        return [name for (name,) in self._db.read("SELECT repository FROM links WHERE digest = ? LIMIT ?", (digest, most))]

    def names_above(self, digest: str, most: int) -> list[str]:
        """Names that lead to a digest, directly or by manifests and indexes, in order."""
        rows = self._db.read(_above() + "SELECT name FROM refs JOIN above ON refs.digest = above.digest WHERE removed = 0 "
                             "ORDER BY name LIMIT ?", (digest, digest, most))
        return [name for (name,) in rows]

    def reaches(self, repository: str, digest: str) -> bool:
        """Whether a name of the repository (`repository:tag`, `repository@digest`) leads to a digest."""
        rows = self._db.read(
            _above() + "SELECT 1 FROM refs JOIN above ON refs.digest = above.digest WHERE removed = 0 AND "
            "((name > ? AND name < ?) OR (name > ? AND name < ?)) LIMIT 1",
            (digest, digest, f"{repository}:", f"{repository};", f"{repository}@", f"{repository}A"))
        return bool(rows)


def _above() -> str:
    def quoted(*types: str) -> str:
        return ", ".join(f"'{each}'" for each in types)

    return _ABOVE.format(documents=quoted(OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST),
                         indexes=quoted(OCI_INDEX, DOCKER_LIST))
