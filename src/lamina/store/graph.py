"""What is reachable in the catalog, by recursive queries over the edges."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from lamina.store.database import Database

# A blob counts under its digest and under its sha256, since an edge may name either.
# 67 ms for 13,000 blobs (EXCEPT: 126 ms).
_UNREACHABLE = """
    WITH RECURSIVE reached (digest) AS (
        SELECT digest FROM refs WHERE removed = 0
        UNION SELECT digest FROM holds
        UNION SELECT digest FROM links
        UNION SELECT edges.child FROM reached JOIN edges ON edges.parent = reached.digest)
    SELECT digest FROM blobs
    WHERE digest NOT IN (SELECT digest FROM reached) AND sha256 NOT IN (SELECT digest FROM reached)"""

_REACHED = """
    WITH RECURSIVE reached (digest) AS (
        SELECT digest FROM (SELECT CAST(NULL AS TEXT) AS digest WHERE 1 = 0 {seeds}) AS seeds
        UNION SELECT edges.child FROM reached JOIN edges ON edges.parent = reached.digest)
    SELECT digest FROM reached"""

# Edges from subjects name what may come later, those of indexes what may have been left out: for the caller to tell.
_DANGLING = """
    SELECT edges.parent, edges.child FROM edges
    JOIN blobs AS parents ON parents.digest = edges.parent AND parents.kind = 'document'
    WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = edges.child)
    AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.sha256 = edges.child) ORDER BY edges.parent, edges.child"""

_BATCH = 200  # terms of a compound SELECT: SQLite takes 500


def unreachable(database: Database) -> set[str]:
    """Digests of the blobs that no name, no hold and no link leads to."""
    return {digest for (digest,) in database.read(_UNREACHABLE)}


def dangling(database: Database) -> list[tuple[str, str]]:
    """(document, what it names) of all that is named and not there."""
    return [(parent, child) for parent, child in database.read(_DANGLING)]


def reachable_from(database: Database, digests: Iterable[str]) -> set[str]:
    """The digests themselves and all that they lead to, there or not."""
    found: set[str] = set()
    rest = iter(digests)
    while seeds := tuple(islice(rest, _BATCH)):
        sql = _REACHED.format(seeds=" UNION ALL SELECT ?" * len(seeds))
        found.update(digest for (digest,) in database.read(sql, seeds))
    return found
