"""Everything that changes the catalog; a `Transaction` exists only within `Catalog.transaction()`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from functools import cached_property

from lamina.errors import LeaseLost, NotFound
from lamina.mediatypes import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from lamina.store import graph, links, remembered, uses
from lamina.store.database import Database
from lamina.store.schema import (
    BLOB,
    CONDEMNED,
    IMAGE,
    INCOMPLETE,
    LEVEL,
    LIVE,
    PACK,
    PINNED,
    REF,
    BlobRow,
    ImageRow,
    LeaseRow,
    RefRow,
    rank,
    ref_row,
)


def _places(columns: str) -> str:
    return ", ".join("?" * len(columns.split(",")))


_ADD_PACK = f"INSERT INTO packs ({PACK}) VALUES ({_places(PACK)})"
_ADD_BLOB = f"INSERT INTO blobs ({BLOB}, text) VALUES ({_places(BLOB)}, ?) ON CONFLICT (digest) DO NOTHING"
_DROP_BLOB = "DELETE FROM blobs WHERE digest = ?"
_SHARE_EDGES = """INSERT INTO edges (parent, child) SELECT ?, child FROM edges WHERE parent = ?
    ON CONFLICT (parent, child) DO NOTHING"""
# An edge from a subject comes from its referrer's document: it goes with that, though the subject may never have been there ...
_DROP_EDGES_TO = """DELETE FROM edges WHERE child = ?
    AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = edges.parent)
    AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.sha256 = edges.parent)"""
# ... and stays when the subject goes, which may come back.  (So does one from an index that is
# gone to a manifest in it that is not, which says nothing wrong.)
_DROP_EDGES = """DELETE FROM edges WHERE parent = ? AND NOT EXISTS (
    SELECT 1 FROM blobs WHERE blobs.digest = edges.child AND blobs.kind = 'document' AND blobs.media_type IN (?, ?, ?, ?))"""
_MANIFESTS = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
_ADD_IMAGE = f"""INSERT INTO images ({IMAGE}) VALUES ({_places(IMAGE)}) ON CONFLICT (manifest) DO UPDATE SET
    config = excluded.config, created = excluded.created, os = excluded.os, architecture = excluded.architecture,
    variant = excluded.variant, diff_ids = excluded.diff_ids, size = excluded.size, whole = excluded.whole"""
_SET_REF = f"""INSERT INTO refs ({REF}, removed) VALUES ({_places(REF)}, ?) ON CONFLICT (name) DO UPDATE SET
    digest = excluded.digest, media_type = excluded.media_type, size = excluded.size, seq = excluded.seq,
    time = excluded.time, removed = excluded.removed,
    pinned = CASE WHEN excluded.removed = 1 THEN 0 WHEN excluded.pinned = 1 THEN 1 ELSE refs.pinned END
    WHERE excluded.seq >= refs.seq"""


class Transaction:
    """The writes of one transaction.  Reads of the catalog by the same thread see them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- numbers ---------------------------------------------------------------------------------------------

    def _count(self, key: str) -> int:
        self._db.write("UPDATE meta SET value = value + 1 WHERE key = ?", (key,))
        value: int = self._db.read("SELECT value FROM meta WHERE key = ?", (key,))[0][0]
        return value

    def next_seq(self) -> int:
        """A sequence number, higher than any before."""
        return self._count("sequence")

    @cached_property
    def seq(self) -> int:
        """This transaction's own sequence number: its place among all transactions, which a number that was drawn
        before it began does not tell.  Drawn at the first use."""
        return self.next_seq()

    def new_pack_number(self) -> int:
        """A number for a pack, never given before."""
        return self._count("pack_number")

    def raise_seq(self, seq: int) -> None:
        """See that later sequence numbers are higher than this one (a rebuild, from journals)."""
        self._db.write("UPDATE meta SET value = ? WHERE key = 'sequence' AND value < ?", (seq, seq))

    def set_checkpoint(self, seq: int) -> None:
        """A journal that names every name has this number; lower ones cannot be committed any more."""
        self._db.write("UPDATE meta SET value = ? WHERE key = 'checkpoint' AND value < ?", (seq, seq))
        self._db.write("DELETE FROM refs WHERE removed = 1 AND seq <= ?", (seq,))

    def note_incomplete(self) -> None:
        """Not all packs could be read when the catalog was rebuilt: what their journals say is missing."""
        self._db.write("INSERT INTO meta (key, value) SELECT ?, value FROM meta WHERE key = 'checkpoint'", (INCOMPLETE,))

    def note_complete(self) -> None:
        """They have been read meanwhile, as far as they can be."""
        self._db.write("DELETE FROM meta WHERE key = ?", (INCOMPLETE,))

    # -- leases ----------------------------------------------------------------------------------------------

    def check_lease(self, lease: str) -> None:
        """`LeaseLost` unless the lease still stands."""
        if not self._db.read("SELECT 1 FROM leases WHERE id = ?", (lease,)):
            raise LeaseLost("the lease of this session is gone", lease, "run the command again")

    def add_lease(self, lease: str, kind: str) -> LeaseRow:
        """A new lease that starts now, at this transaction's number."""
        self._db.write("INSERT INTO leases (id, kind, start) VALUES (?, ?, ?)", (lease, kind, self.seq))
        return LeaseRow(lease, kind, self.seq)

    def remove_lease(self, lease: str) -> None:
        """End a lease and its holds; one that is gone is fine."""
        self._db.write("DELETE FROM holds WHERE lease = ?", (lease,))
        self._db.write("DELETE FROM leases WHERE id = ?", (lease,))

    def hold(self, lease: str, *digests: str) -> None:
        """Keep blobs, and all that they lead to, for as long as the lease stands."""
        self._db.write_many("INSERT INTO holds (lease, digest) VALUES (?, ?) ON CONFLICT (lease, digest) DO NOTHING",
                            [(lease, digest) for digest in digests])

    # -- packs -----------------------------------------------------------------------------------------------

    def add_pack(self, number: int, name: str, size: int, chunks: int) -> None:
        """A sealed pack of `size` bytes, live."""
        self._db.write(_ADD_PACK, (number, name, size, chunks, LIVE, self.seq))

    def packs_state(self, numbers: Iterable[int]) -> dict[int, str]:
        """Their states; a pack that is gone is left out."""
        found = {}
        for number in set(numbers):
            rows = self._db.read("SELECT state FROM packs WHERE number = ?", (number,))
            if rows:
                found[number] = rows[0][0]
        return found

    def touch_packs(self, numbers: Iterable[int]) -> None:
        """This commit relies on these packs (those of them that are live)."""
        self._db.write_many("UPDATE packs SET changed = ? WHERE number = ? AND state = ?",
                            [(self.seq, number, LIVE) for number in set(numbers)])

    def condemn_packs(self, numbers: Iterable[int]) -> int:
        """Nothing may rely on these packs from now on; the number of now, which leases must have begun after
        before the files may go."""
        self._db.write_many("UPDATE packs SET changed = ?, state = ? WHERE number = ? AND state = ?",
                            [(self.seq, CONDEMNED, number, LIVE) for number in set(numbers)])
        return self.seq

    def remove_packs(self, numbers: Iterable[int]) -> None:
        """Forget packs."""
        gone = set(numbers)
        self._db.write_many("DELETE FROM packs WHERE number = ?", [(number,) for number in gone])
        self._db.write_many("DELETE FROM meta WHERE key = ?", [(f"{LEVEL}{number}",) for number in gone])

    def note_level(self, number: int, level: int) -> None:
        """The optimizer wrote this pack, at this level."""
        self._db.write("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                       (f"{LEVEL}{number}", level))

    # -- blobs -----------------------------------------------------------------------------------------------

    def add_blob(self, row: BlobRow) -> bool:
        """Whether it was put: a row that is there stays as it is, but for one that was taken for less (see `rank`)."""
        there = self._db.read("SELECT kind, media_type FROM blobs WHERE digest = ?", (row.digest,))
        if there and rank(*there[0]) < rank(row.kind, row.media_type):
            self._db.write(_DROP_BLOB, (row.digest,))
        if row.sha256 != row.digest:  # referrers that came before it may know it by either name
            for mine, other in ((row.digest, row.sha256), (row.sha256, row.digest)):
                self._db.write(_SHARE_EDGES, (mine, other))
        return self._db.write(_ADD_BLOB, (*row[:11], int(row.made), row.text)) > 0

    def move_blobs(self, places: Iterable[tuple[str, int, int]]) -> None:
        """(digest, pack, record): where heads and documents lie after a collection."""
        self._db.write_many("UPDATE blobs SET pack = ?, record = ? WHERE digest = ?",
                            [(pack, record, digest) for digest, pack, record in places])

    def follow_blobs(self, places: Iterable[tuple[str, int, int]], packs: Container[int]) -> None:
        """As `move_blobs`, for those that still lie in these packs: a commit may have put one elsewhere, as another kind."""
        self.move_blobs([place for place in places if self._pack_of(place[0]) in packs])

    def _pack_of(self, digest: str) -> int | None:
        rows = self._db.read("SELECT pack FROM blobs WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def remove_blobs(self, digests: Iterable[str]) -> None:
        """Forget blobs, what they name, the images that they are, and what was made of them for registries."""
        keys = [(digest,) for digest in digests]
        self._db.write_many("DELETE FROM blobs WHERE digest = ?", keys)
        self._db.write_many(_DROP_EDGES_TO, keys)
        self._db.write_many(_DROP_EDGES, [(digest, *_MANIFESTS) for (digest,) in keys])
        self._db.write_many("DELETE FROM images WHERE manifest = ?", keys)
        remembered.forget(self._db, keys)
        uses.forget(self._db, keys)

    def add_edges(self, parent: str, children: Iterable[str]) -> None:
        """What a manifest names, or what names it as its subject.  Rows come first: edges are noted under its sha256 too."""
        names = {parent}
        for row in self._db.read("SELECT digest, sha256 FROM blobs WHERE digest = ? OR sha256 = ?", (parent, parent)):
            names.update(row)
        self._db.write_many("INSERT INTO edges (parent, child) VALUES (?, ?) ON CONFLICT (parent, child) DO NOTHING",
                            [(name, child) for child in children for name in sorted(names)])

    def add_image(self, row: ImageRow) -> None:
        """An image manifest; a row that is there is replaced (it may have become whole)."""
        self._db.write(_ADD_IMAGE, (*row[:6], " ".join(row.diff_ids), row.size, int(row.whole)))

    # -- names -----------------------------------------------------------------------------------------------

    def set_ref(self, row: RefRow) -> RefRow | None:
        """Let a name lead to a descriptor, unless a higher number has set or removed it; what it led to before.

        One that is pinned stays so.
        """
        before = self._before(row.name, row.seq)
        self._db.write(_SET_REF, (*row[:6], int(row.pinned), 0))
        return before

    def remove_ref(self, name: str, seq: int) -> RefRow | None:
        """Remove a name, unless a higher number has set it; what it led to before."""
        before = self._before(name, seq)
        self._db.write(_SET_REF, (name, "", "", 0, seq, 0, 0, 1))
        return before

    def pin(self, pins: Mapping[str, bool], seq: int) -> bool:
        """Pin names, or let go of them.  `NotFound` if one is not there.

        False, and nothing is done, if a number that is not lower has set one, or has pinned anything: draw a new one, so that
        the journals, in order of their numbers, say the same.
        """
        last = self._db.read("SELECT value FROM meta WHERE key = ?", (PINNED,))
        if last and last[0][0] >= seq:
            return False
        for name in pins:
            rows = self._db.read("SELECT seq FROM refs WHERE name = ? AND removed = 0", (name,))
            if not rows:
                raise NotFound("no such tag", name)
            if rows[0][0] >= seq:
                return False
        self._db.write_many("UPDATE refs SET pinned = ? WHERE name = ?", [(int(pins[name]), name) for name in pins])
        self._db.write("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                       (PINNED, seq))
        return True

    def _before(self, name: str, seq: int) -> RefRow | None:
        checkpoint = self._db.read("SELECT value FROM meta WHERE key = 'checkpoint'")[0][0]
        if seq < checkpoint:
            raise ValueError(f"sequence number {seq} is below the checkpoint {checkpoint}")
        rows = self._db.read(f"SELECT {REF} FROM refs WHERE name = ? AND removed = 0", (name,))
        return ref_row(rows[0]) if rows else None

    # -- repositories of a registry ---------------------------------------------------------------------------

    def link(self, pairs: Iterable[tuple[str, str]], now: int) -> None:
        """(repository, digest): it has the blob, and that stays, from `now` (seconds since 1970) for `links.KEPT`."""
        links.link(self._db, pairs, now)

    def unlink(self, repository: str, digest: str) -> bool:
        """Whether there was a link, which there is no more."""
        return links.unlink(self._db, repository, digest)

    def open_gaps(self, gaps: Iterable[links.Gap]) -> None:
        """Repositories have not what manifests or indexes of theirs name, though others may have it."""
        links.open_gaps(self._db, gaps)

    def fill_gaps(self, repository: str, digests: Iterable[str]) -> None:
        """It has these, whatever they are."""
        links.fill(self._db, repository, digests, links.AS_MANIFEST, links.AS_BLOB)

    def expire_links(self, now: int) -> None:
        """Forget links that are over, and gaps that nothing names."""
        links.expire(self._db, now)

    # -- reach -----------------------------------------------------------------------------------------------

    def unreachable(self) -> set[str]:
        """Digests of the blobs that no name, no hold and no link leads to."""
        return graph.unreachable(self._db)

    def reachable_from(self, digests: Iterable[str]) -> set[str]:
        """The digests themselves and all that they lead to, there or not."""
        return graph.reachable_from(self._db, digests)
