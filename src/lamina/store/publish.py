"""Publishing a session: documents and journal are sealed in packs, then one transaction makes all of it visible."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lamina._native.chunkindex import NONE
from lamina.errors import Conflict, StoreError
from lamina.store import layout
from lamina.store.gathered import Gathered, Name
from lamina.store.links import repository_in
from lamina.store.recipe import blocks
from lamina.store.schema import LIVE, BlobRow, RefRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.session import Session
    from lamina.store.transaction import Transaction

ATTEMPTS = 16  # a collector would have to condemn what the session relies on this often in a row


def journal(seq: int, names: Iterable[Name], pins: Mapping[str, bool] | None = None) -> bytes:
    """The journal record of these changes (FORMAT.md, "Journal")."""
    value: dict[str, Any] = {"seq": seq, "set": [], "remove": []}
    if pins:
        value["pin"] = dict(pins)
    for name in names:
        if name.descriptor is None:
            value["remove"].append(name.name)
        else:
            descriptor = name.descriptor
            value["set"].append({"name": name.name, "digest": descriptor.digest, "media_type": descriptor.media_type,
                                 "size": descriptor.size, "time": name.time})
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def publish(store: BlobStore, session: Session, given: Gathered, relied: set[int]) -> None:
    """Make a session's work visible, all at once; `LeaseLost`, `StoreLocked`, `StorageError` and then nothing is."""
    rows = _store_documents(session, given)
    names = list({name.name: name for name in given.names}.values())
    for _ in range(ATTEMPTS):
        seq = store.catalog.next_seq() if names or given.pins else 0
        if seq:
            session.sink.record(layout.JOURNAL, journal(seq, names, given.pins), {"seq": seq})
        session.sink.seal()
        for pack in session.packs():
            store.packs.footer(pack.number)  # nothing is reported as stored in a pack that cannot be read
        gone = _try(store, session, given, rows, names, seq, relied)
        if gone is None:
            return
        if gone:
            relied = _resolve_again(store, session, relied, gone)
    raise StoreError("the store is being collected over and over", store.path, "try again later")


def _store_documents(session: Session, given: Gathered) -> dict[str, BlobRow]:
    rows = dict(given.blobs)
    for digest, data in given.texts.items():
        row = rows[digest]
        key: dict[str, Any] = {"digest": digest, "media_type": row.media_type, "size": row.size}
        made = digest in given.made
        if made:
            key["made"] = True
        pack, record = session.sink.record(layout.DOCUMENT, data, key)
        rows[digest] = row._replace(pack=pack, record=record, made=made)
    return rows


def _try(
    store: BlobStore,
    session: Session,
    given: Gathered,
    rows: dict[str, BlobRow],
    names: list[Name],
    seq: int,
    relied: set[int],
) -> set[int] | None:
    """One attempt: None if it is done, else the packs relied on that are live no more (maybe none: take a new number)."""
    catalog = store.catalog
    with catalog.transaction() as tx:
        tx.check_lease(session.lease.id)
        states = tx.packs_state(relied)
        gone = {number for number in relied if states.get(number) != LIVE}
        if gone or (seq and seq <= catalog.checkpoint()):
            return gone
        _check_expected(store, names)
        if given.pins and not tx.pin(given.pins, seq):
            return gone
        for pack in session.packs():
            tx.add_pack(pack.number, pack.name, pack.bytes, pack.chunks)
        tx.touch_packs(relied)
        for row in rows.values():
            if not tx.add_blob(row) and session.reads_all:
                tx.move_blobs([(row.digest, row.pack, row.record)])  # what was read again lies whole in the new place
        for parent, child in given.edges:
            tx.add_edges(parent, [child])
        for image in given.images:
            tx.add_image(image)
        for _, digest in given.links:
            if catalog.blob(digest) is None:
                raise StoreError("what a link should lead to is not there", digest, "push it first")
        tx.link(given.links, int(time.time()))
        for name in names:
            if name.descriptor is None:
                tx.remove_ref(name.name, seq)
                continue
            descriptor = name.descriptor
            if catalog.blob(descriptor.digest) is None:
                raise StoreError("what a name should lead to is not there", descriptor.digest, "push it first")
            tx.set_ref(RefRow(name.name, descriptor.digest, descriptor.media_type, descriptor.size, seq, name.time))
            _fill_gaps(store, tx, name.name, descriptor.digest, all_of_it=not given.served)
        tx.open_gaps(given.gaps)
    return None


def _fill_gaps(store: BlobStore, tx: Transaction, name: str, digest: str, *, all_of_it: bool) -> None:
    """What a name is given to, its repository has; `all_of_it`: and all below, for who works on the store may see all of it."""
    repository = repository_in(name)
    if repository and store.catalog.links.gaps(repository):
        tx.fill_gaps(repository, tx.reachable_from([digest]) if all_of_it else [digest])


def _check_expected(store: BlobStore, names: list[Name]) -> None:
    """`Conflict` if a name is not what a rule has decided about."""
    for name in names:
        if name.expected is not None:
            ref = store.catalog.ref(name.name)
            if ref is None or (ref.digest, ref.time) != name.expected or ref.pinned:
                raise Conflict("a name has changed meanwhile", name.name, "run the command again")


def _resolve_again(store: BlobStore, session: Session, relied: set[int], gone: set[int]) -> set[int]:
    """Packs that the session's recipes rely on have been condemned: find their chunks elsewhere, or write them anew.

    The condemned files are still there: the session's lease is older than their condemnation.
    """
    for number in gone:
        session.index.forget(number)
    store.refresh(session.index)
    now = relied - gone
    for head in session.heads():
        meta = [row[0] for row in head.recipe] + head.entry_blocks
        column = np.frombuffer(b"".join(meta), np.uint8).reshape(-1, 32)
        _rescue(store, session, column, gone, now)
        for block in blocks(head, lambda chunk_id: _chunk(store, session, chunk_id, gone)):
            for ids in (block.content, block.segment):
                _rescue(store, session, ids, gone, now)
    return now


def _chunk(store: BlobStore, session: Session, chunk_id: bytes, gone: set[int]) -> bytes | memoryview:
    """A recipe block, wherever it lies: sealed, still in a frame that is being written, or in a condemned pack."""
    ids = np.frombuffer(chunk_id, np.uint8).reshape(1, 32)
    packs, _ = session.index.lookup(ids)
    if packs[0] in session.unsealed():
        session.sink.seal()
    return store.chunks(session.index).chunk(chunk_id, "a recipe of this session")


def _rescue(
    store: BlobStore, session: Session, ids: npt.NDArray[np.uint8], gone: set[int], now: set[int]
) -> None:
    """Write the chunks of `ids` that only condemned packs have to a pack of the session.

    A loop in Python over the chunks of condemned packs: rare, and a few of them.
    """
    if not len(ids):
        return
    packs, _ = session.index.lookup(ids)
    now.update(int(number) for number in np.unique(packs) if number != NONE and not session.owns(int(number)))
    missing = {bytes(ids[row]) for row in np.flatnonzero(packs == NONE)}
    for number in sorted(gone):
        if not missing:
            return
        footer = store.packs.footer(number)
        for ordinal in range(len(footer.ids)):
            chunk_id = bytes(footer.ids[ordinal])
            if chunk_id not in missing:
                continue
            missing.discard(chunk_id)
            place = footer.places[ordinal]
            kind = int(footer.records[place["record"]]["type"])
            frame = np.frombuffer(store.packs.record(number, int(place["record"])), np.uint8)
            one = np.zeros(1, np.int64)
            if kind == layout.META:
                session.sink.meta(bytes(frame[place["offset"] : place["offset"] + place["length"]]), footer.ids[ordinal])
            else:
                session.sink.place(
                    kind, frame, one + int(place["offset"]), one + int(place["length"]), one, footer.ids[ordinal : ordinal + 1]
                )
    if missing:
        raise StoreError(f"{len(missing)} chunks have gone while they were relied on", store.path, "run the command again")
