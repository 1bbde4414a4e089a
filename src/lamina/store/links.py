"""Which repositories of a registry have which blobs before a manifest names them (FORMAT.md, "Catalog").

A link keeps its blob from collection for `KEPT` seconds; from the manifest on, the manifest does.  A gap is the opposite: the
repository has not what a manifest of it names, whoever else has it, or brings it later; else who knows a digest could have the
content.  Both are a memory: a catalog that is made anew has none.  A client that is told that a blob is unknown sends it again.
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
    "gaps": """CREATE TABLE IF NOT EXISTS gaps (
        repository TEXT NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (repository, digest, kind))""",
}
AS_MANIFEST, AS_BLOB = "manifest", "blob"  # what has a gap is named as: by an index, or by a manifest
Gap = tuple[str, str, str]  # repository, digest, and one of those
INDEXES = ("CREATE INDEX IF NOT EXISTS links_digest ON links (digest)",)

_SET = """INSERT INTO links (repository, digest, time) VALUES (?, ?, ?)
    ON CONFLICT (repository, digest) DO UPDATE SET time = excluded.time"""

# A blob under all its names, from one of them.
_SAME = """SELECT digest FROM blobs WHERE sha256 = (SELECT sha256 FROM blobs WHERE digest = CAST(? AS TEXT))
    UNION SELECT sha256 FROM blobs WHERE digest = CAST(? AS TEXT)
    UNION SELECT digest FROM blobs WHERE sha256 = CAST(? AS TEXT)
    UNION SELECT CAST(? AS TEXT)"""

# Who names a digest, and who names that, as far as the repository has no gap there.  `deep` is 0 for the digest itself if it
# may be a blob; what is above it must be a manifest in an index, or under a name, as such: whoever has its bytes for a layer,
# or under a name as something else, has no right to what it names.  Nor does one that hangs on its subject, of which edges
# tell, too: the text of the upper one must name the lower.
_ABOVE = f"""
    WITH RECURSIVE above (digest, deep) AS (
        SELECT digest, CAST(? AS BIGINT) FROM ({_SAME}) AS same
        UNION SELECT edges.parent, 1 FROM above JOIN edges ON edges.child = above.digest
            WHERE EXISTS (SELECT 1 FROM blobs AS upper
                WHERE (upper.digest = edges.parent OR upper.sha256 = edges.parent) AND upper.kind = 'document'
                AND (upper.media_type IN ({{indexes}}) OR (above.deep = 0 AND upper.media_type IN ({{manifests}})))
                AND NOT EXISTS (SELECT 1 FROM gaps WHERE gaps.repository = ? AND gaps.digest = edges.child AND gaps.kind =
                    CASE WHEN upper.media_type IN ({{indexes}}) THEN '{AS_MANIFEST}' ELSE '{AS_BLOB}' END)
                AND (NOT EXISTS (SELECT 1 FROM blobs AS lower
                        WHERE (lower.digest = edges.child OR lower.sha256 = edges.child) AND lower.kind = 'document')
                    OR upper.text LIKE '%' || edges.child || '%')))
    """
_NAMED = """FROM above JOIN refs ON refs.digest = above.digest
    WHERE removed = 0 AND (above.deep = ? OR refs.media_type IN ({manifests}, {indexes}))"""


def repository_in(name: str) -> str:
    """The repository of a name, `repository:tag` or `repository@digest`; '' of a root without a name."""
    bare = name.partition("@")[0]
    head, colon, tail = bare.rpartition(":")
    return head if colon and "/" not in tail else bare


def link(database: Database, pairs: Iterable[tuple[str, str]], now: int) -> None:
    """(repository, digest): it has the blob from now on, and no gap there.  Within a transaction."""
    for repository, digest in pairs:
        database.write(_SET, (repository, digest, now))
        fill(database, repository, [digest], AS_BLOB)


def open_gaps(database: Database, gaps: Iterable[Gap]) -> None:
    """Repositories have not what manifests or indexes of theirs name.  Within a transaction."""
    database.write_many("INSERT INTO gaps (repository, digest, kind) VALUES (?, ?, ?) "
                        "ON CONFLICT (repository, digest, kind) DO NOTHING", gaps)


def fill(database: Database, repository: str, digests: Iterable[str], *kinds: str) -> None:
    """It has these from now on.  Within a transaction."""
    database.write_many(f"DELETE FROM gaps WHERE repository = ? AND kind = ? AND digest IN ({_SAME})",
                        [(repository, kind, *(digest,) * 4) for digest in digests for kind in kinds])


def unlink(database: Database, repository: str, digest: str) -> bool:
    """Whether there was a link, which there is no more.  Within a transaction."""
    return database.write(f"DELETE FROM links WHERE repository = ? AND digest IN ({_SAME})", (repository, *(digest,) * 4)) > 0


def expire(database: Database, now: int) -> None:
    """Links that are over; and those that are to come, by a clock that has been set back since.  Within a transaction.

    So are gaps that nothing names any more.
    """
    database.write("DELETE FROM links WHERE time < ? OR time > ?", (now - KEPT, now + KEPT))
    database.write("DELETE FROM gaps WHERE NOT EXISTS (SELECT 1 FROM edges WHERE edges.child = gaps.digest)")


class Links:
    """The links of one catalog, and what repositories have by the manifests that they name."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def has(self, repository: str, digest: str) -> bool:
        """Whether there is a link, by whatever name of the blob."""
        return bool(self._db.read(f"SELECT 1 FROM links WHERE repository = ? AND digest IN ({_SAME}) LIMIT 1",
                                  (repository, *(digest,) * 4)))

    def any(self, repository: str) -> bool:
        """Whether the repository has any."""
        return bool(self._db.read("SELECT 1 FROM links WHERE repository = ? LIMIT 1", (repository,)))

    def gaps(self, repository: str) -> bool:
        """Whether the repository has any gap."""
        return bool(self._db.read("SELECT 1 FROM gaps WHERE repository = ? LIMIT 1", (repository,)))

    def never_came(self, digest: str) -> bool:
        """Whether a manifest was kept without this blob: that it is not there is no loss."""
        return bool(self._db.read("SELECT 1 FROM gaps WHERE digest = ? AND kind = ? LIMIT 1", (digest, AS_BLOB)))

    def repositories(self, digest: str, most: int) -> list[str]:
        """Those that have a link to it."""
        return [name for (name,) in self._db.read("SELECT repository FROM links WHERE digest = ? LIMIT ?", (digest, most))]

    def names_above(self, digest: str, most: int) -> list[str]:
        """Names that lead to a digest, directly or by manifests and indexes, in order; gaps do not count."""
        rows = self._db.read(_with_types(_ABOVE + f"SELECT DISTINCT name {_NAMED} ORDER BY name LIMIT ?"),
                             (0, *(digest,) * 4, "", 0, most))
        return [name for (name,) in rows]

    def reaches(self, repository: str, digest: str, *, manifest: bool = False) -> bool:
        """Whether a name of the repository (`repository:tag`, `repository@digest`) leads to a digest; to the manifest or index
        of that digest, not only to a blob of these bytes, with `manifest`."""
        start = int(manifest)
        rows = self._db.read(
            _with_types(_ABOVE + f"SELECT 1 {_NAMED} AND ((name > ? AND name < ?) OR (name > ? AND name < ?)) LIMIT 1"),
            (start, *(digest,) * 4, repository, 0, f"{repository}:", f"{repository};", f"{repository}@", f"{repository}A"))
        return bool(rows)


def _with_types(sql: str) -> str:
    def quoted(*types: str) -> str:
        return ", ".join(f"'{each}'" for each in types)

    return sql.format(manifests=quoted(OCI_MANIFEST, DOCKER_MANIFEST), indexes=quoted(OCI_INDEX, DOCKER_LIST))
