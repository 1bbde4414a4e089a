"""When images were last used (FORMAT.md, "Catalog"): by the digest that a name leads to, or that was named.

A memory: a name that is set says when, so losing this costs no more than that images count as used when they were named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.store.database import Database

MOST = 65_536  # rows that are kept, the latest: some 100 bytes each

TABLES = {"uses": "CREATE TABLE IF NOT EXISTS uses (digest TEXT PRIMARY KEY, time BIGINT NOT NULL)"}

_SET = """INSERT INTO uses (digest, time) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET time = excluded.time
    WHERE excluded.time > uses.time"""
_TRIM = "DELETE FROM uses WHERE time < (SELECT time FROM uses ORDER BY time DESC LIMIT 1 OFFSET ?)"


def forget(database: Database, digests: Iterable[tuple[str]]) -> None:
    """Blobs are gone.  Within a transaction."""
    database.write_many("DELETE FROM uses WHERE digest = ?", digests)


class Uses:
    """The uses that one catalog remembers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def note(self, digests: Iterable[str], time: int) -> None:
        """These were used at `time`, in seconds since 1970; one transaction."""
        with self._db.transaction():
            self._db.write_many(_SET, [(digest, time) for digest in dict.fromkeys(digests)])
            self._db.write(_TRIM, (MOST - 1,))

    def times(self) -> dict[str, int]:
        """Digest -> when it was used last; of those that are known."""
        return dict(self._db.read("SELECT digest, time FROM uses"))
