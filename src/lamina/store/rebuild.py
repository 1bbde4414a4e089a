"""The catalog again, from packs alone: what every pack's keys, heads, documents and journals say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lamina import oci
from lamina.digest import Digest
from lamina.errors import LaminaError, StoreDamaged, StoreTooNew
from lamina.jsonlimits import utf8
from lamina.oci import Descriptor
from lamina.storage import Backend
from lamina.store import documents, layout, quarantine
from lamina.store.catalog import Catalog
from lamina.store.names import last_checkpoint, names_of, parse_journal
from lamina.store.packs import Packs, read_footer
from lamina.store.recipe import Head
from lamina.store.schema import BlobRow, RefRow
from lamina.store.transaction import Transaction


def rebuild(backend: Backend, path: Path, timeout: float, *, wrong: bool = False) -> Catalog:
    """Put a catalog made from the packs in place of one that is missing or damaged (or `wrong`: see `Catalog.rebuild`).

    A pack that cannot be read is left out; names whose content is gone with it are written down in the quarantine.  `repair`
    reads what there is of it.
    """
    return Catalog.rebuild(path, lambda catalog: _keep(backend, fill(backend, catalog)), timeout, wrong=wrong)


def _keep(backend: Backend, lost: list[RefRow]) -> None:
    if lost:
        with suppress(LaminaError):  # the store opens all the same
            quarantine.keep_names(backend, lost, "rebuild")


def fill(backend: Backend, catalog: Catalog) -> list[RefRow]:
    """Put into an empty catalog what the packs say; the names whose content is not there."""
    names: dict[int, str] = {}
    complete = True
    packs = Packs(backend, names.__getitem__)
    journals: list[dict[str, Any]] = []
    try:
        for name, size in sorted(backend.list("packs/")):
            try:
                with backend.open(name) as handle:
                    footer = read_footer(handle)
            except StoreTooNew:
                if is_newer(backend, name):
                    raise
                complete = False
                continue
            except LaminaError:
                complete = False
                continue
            with catalog.transaction() as tx:
                number = tx.new_pack_number()
                names[number] = name.rpartition("/")[2]
                tx.add_pack(number, names[number], size, len(footer.ids))
                for row, journal in rows_of(packs, number, footer):
                    if row is not None:
                        tx.add_blob(row)
                    else:
                        journals.append(journal)
        _documents(packs, catalog)
        lost = _names(catalog, journals)
        with catalog.transaction() as tx:
            tx.remove_blobs(tx.unreachable())  # removed before: a collection may have taken some of their chunks
            if not complete:
                tx.note_incomplete()
        return lost
    finally:
        packs.close()


def is_newer(backend: Backend, name: str) -> bool:
    """Whether header and tail of a pack both have a version that is not known here; if only one has, it is damaged."""
    with backend.open(name) as handle:
        if handle.size < layout.HEADER.size + layout.TAIL.size:
            return False
        head, tail = bytearray(layout.HEADER.size), bytearray(layout.TAIL.size)
        handle.pread_into(memoryview(head), 0)
        handle.pread_into(memoryview(tail), handle.size - len(tail))
    versions = int(layout.HEADER.unpack(head)[1]), int(layout.TAIL.unpack(tail)[1])
    return min(versions) > layout.VERSION


def rows_of(packs: Packs, number: int, footer: layout.Footer) -> Iterator[tuple[BlobRow | None, dict[str, Any]]]:
    """Blob rows and journals of one pack; a record that is damaged is left out."""
    for record, key in footer.key_rows():
        try:
            plain = bytes(packs.record(number, record))
            kind = int(footer.records[record]["type"])
            if kind == layout.HEAD:
                head = Head.decode(plain, key["digest"])
                plain_size = head.plain_size if head.diff_id else None
                yield BlobRow(head.digest, head.sha256, utf8(key["kind"]), head.media_type, head.size, number, record,
                              head.diff_id or None, plain_size, head.entries, head.file_bytes), {}
            elif kind == layout.DOCUMENT:
                yield BlobRow(Digest(key["digest"]), Digest.of(plain), "document", utf8(key["media_type"]), len(plain), number,
                              record, made=bool(key.get("made")), text=_text(plain)), {}
            elif kind == layout.JOURNAL:
                yield None, parse_journal(plain, footer.where)
        except (LaminaError, KeyError, TypeError, ValueError, RecursionError):
            continue


def _text(plain: bytes) -> str | None:
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return None


def _documents(packs: Packs, catalog: Catalog) -> None:
    """Edges and images, from the manifests that are there."""

    def text(digest: str) -> bytes:
        row = catalog.blob(digest)
        if row is None:
            raise StoreDamaged("a document is missing", digest)
        return row.text.encode() if row.text is not None else bytes(packs.record(row.pack, row.record))

    for row in list(catalog.blobs("document")):
        with suppress(LaminaError):  # else the record is damaged
            data = text(row.digest)
            with catalog.transaction() as tx:
                note_document(catalog, tx, row, data, text)


def note_document(catalog: Catalog, tx: Transaction, row: BlobRow, data: bytes, text: documents.Text) -> None:
    """Edges of a manifest or index, and the image that it is; again is harmless.  `InvalidContent`."""
    if not (oci.is_manifest(row.media_type) or oci.is_index(row.media_type)):
        return
    descriptor = Descriptor(row.media_type, Digest(row.digest), row.size)
    children = documents.children(descriptor, data)
    subjects = documents.subject_edges(descriptor, data)
    tx.add_edges(row.digest, children)
    for subject, referrer in subjects:
        tx.add_edges(subject, [referrer])
    if oci.is_manifest(row.media_type):
        with suppress(LaminaError):  # what it names has been lost: no image, but what is left stays for repair
            image = documents.check_manifest(descriptor, data, catalog.blob, text)
            if image is not None:
                tx.add_image(image)


def _names(catalog: Catalog, journals: list[dict[str, Any]]) -> list[RefRow]:
    """Names as the journals leave them, those whose content is there; the others."""
    lost: list[RefRow] = []
    with catalog.transaction() as tx:
        for row in names_of(journals).values():
            if catalog.blob(row.digest) is not None:
                tx.set_ref(row)
            else:
                lost.append(row)
        tx.raise_seq(max((int(journal["seq"]) for journal in journals), default=0))
        tx.set_checkpoint(last_checkpoint(journals))
    return lost
