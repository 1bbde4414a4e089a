"""What `salvage` finds in damaged packs, on its way into new ones.

Memory: documents and journals of the damaged packs until the end; of packs without a footer, some 300 bytes a missing chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina import oci
from lamina._native.chunkindex import NONE
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.oci import Descriptor
from lamina.store import layout
from lamina.store.names import parse_journal
from lamina.store.packs import pack_path
from lamina.store.recipe import Head, blocks
from lamina.store.recut import Recutter
from lamina.store.salvage import Piece, salvage
from lamina.store.schema import BlobRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex
    from lamina.store.sink import PackSink


class Rescue:
    """`places`: where heads and documents (by digest) are in new packs; `rows`: of those of strays, which the catalog does not
    know; `texts`: documents' bytes; `journals`: of strays; `copied`: chunks.  `named`: heads and documents that do not hold.

    `index()` opens one that finds what is in whole packs and in those that have been sealed here.
    """

    def __init__(self, store: BlobStore, sink: PackSink, doomed: set[int], index: Callable[[], ChunkIndex]) -> None:
        self._store, self._sink, self._doomed, self._index = store, sink, doomed, index
        self.places: dict[str, tuple[int, int]] = {}
        self.rows: dict[str, BlobRow] = {}
        self.texts: dict[str, bytes] = {}
        self.journals: list[dict[str, Any]] = []
        self.strays: list[str] = []
        self.copied = 0
        self._heads: list[Head] = []
        self._keys: dict[str, dict[str, Any]] = {}  # of documents, from footers that are checked
        self._hints: dict[str, dict[str, Any]] = {}  # and from others
        self._lost: dict[str, dict[str, Any]] = {}  # of heads and documents that do not hold
        self._stray: set[str] = set()  # documents of strays
        self._uncut: list[str] = []  # packs that have frames which are not cut yet

    def pack(self, name: str, *, stray: bool) -> None:
        """All that holds of one pack, but for frames that have to be cut."""
        if stray:
            self.strays.append(name)
        with self._store.backend.open(pack_path(name)) as handle:
            for piece in salvage(handle):
                if not piece.cut:
                    if name not in self._uncut:
                        self._uncut.append(name)
                elif piece.record.kind in layout.FRAMES:
                    self._chunks(piece)
                elif piece.whole:
                    with suppress(LaminaError, KeyError, TypeError, ValueError, RecursionError):
                        self._record(piece, stray)
                elif "digest" in piece.key:
                    self._lost.setdefault(piece.key["digest"], piece.key)

    def finish(self) -> None:
        """What needs all the rest: frames to be cut by recipes, documents, and what the catalog has of those that are lost."""
        if self._uncut:
            self._sink.seal()
            cutter = self._recutter()
            for name in self._uncut:
                with self._store.backend.open(pack_path(name)) as handle:
                    for piece in salvage(handle):
                        if not piece.cut:
                            ids, places = cutter.cut(piece.plain)
                            self._chunks(Piece(piece.record, piece.stored, piece.plain, piece.whole, True, ids, places))
        for row in self._store.catalog.blobs("document"):
            if row.pack in self._doomed and row.digest not in self.texts:
                text = self._store.catalog.document(row.digest)
                if text is not None and Digest.of(text.encode(), Digest(row.digest).algorithm) == row.digest:
                    self.texts[row.digest] = text.encode()
        for digest, data in self.texts.items():
            self._document(digest, data)

    def has(self, digest: str) -> bool:
        """Whether a blob or document is there, or going to be."""
        return digest in self.places or self._store.catalog.blob(digest) is not None

    @property
    def named(self) -> dict[str, Descriptor]:
        """What footers name and nothing has."""
        return {digest: Descriptor(str(key.get("media_type", "")), Digest(digest), int(key["size"]))
                for digest, key in self._lost.items() if not self.has(digest)}

    # -- frames

    def _chunks(self, piece: Piece) -> None:
        record, count = piece.record, len(piece.ids)
        if not count:
            return
        self.copied += count
        if piece.whole:  # what no recipe names lies in it as before
            encoded = (record.codec, bytes(piece.stored))
            self._sink.verbatim(record.kind, encoded, record.plain, piece.ids, piece.places)
            return
        source = np.frombuffer(piece.plain, np.uint8)
        offsets, lengths = piece.places["offset"].astype(np.int64), piece.places["length"].astype(np.int64)
        if record.kind == layout.META:
            for row in range(count):
                at = int(offsets[row])
                self._sink.meta(bytes(piece.plain[at : at + int(lengths[row])]), piece.ids[row])
            return
        self._sink.place(record.kind, source, offsets, lengths, np.arange(count), piece.ids, raw=record.codec == layout.RAW)

    def _recutter(self) -> Recutter:
        """Chunks that recipes name and that are nowhere yet."""
        found = Recutter()
        index = self._index()
        try:
            chunks = self._store.chunks(index)
            for head in self._all_heads():
                with suppress(LaminaError):  # a block of its recipe is lost
                    for block in blocks(head, lambda block_id: chunks.chunk(block_id, "")):
                        for ids, lengths in ((block.content, block.content_lengths), (block.segment, block.segment_lengths)):
                            if len(ids):
                                missing = index.find(ids)[0] == NONE
                                found.add(ids[missing], lengths[missing])
        finally:
            index.close()
        return found

    def _all_heads(self) -> Iterable[Head]:
        """Those of damaged packs, of removed images too, and those of others."""
        yield from self._heads
        for row in self._store.catalog.blobs():
            if row.kind != "document" and row.pack not in self._doomed:
                with suppress(LaminaError):
                    yield self._store.head_of_row(row)

    # -- other records

    def _record(self, piece: Piece, stray: bool) -> None:
        plain = bytes(piece.plain)
        if piece.record.kind == layout.HEAD:
            self._head(piece, Head.decode(plain, "a blob head"), stray)
        elif piece.record.kind == layout.DOCUMENT:
            key = piece.key
            digest = str(Digest.of(plain))
            other = Digest(key["digest"]) if "digest" in key else None
            if other is not None and Digest.of(plain, other.algorithm) == other:
                digest = str(other)
                (self._keys if piece.sure else self._hints)[digest] = key
            else:
                row = self._store.catalog.blob(digest)
                digest = row.digest if row is not None else digest
            self.texts[digest] = plain
            if stray:
                self._stray.add(digest)
        elif piece.record.kind == layout.JOURNAL and stray:
            self.journals.append(parse_journal(plain, "a journal"))

    def _head(self, piece: Piece, head: Head, stray: bool) -> None:
        if head.digest in self.places:
            return
        kind = "layer" if not head.media_type or oci.is_layer(head.media_type) else "blob"
        key = {"digest": head.digest, "kind": kind, "size": head.size}
        encoded = (piece.record.codec, bytes(piece.stored))
        place = self._sink.verbatim_record(layout.HEAD, encoded, piece.record.plain, key)
        self.places[head.digest] = place
        self._heads.append(head)
        if stray:
            self.rows[head.digest] = BlobRow(
                head.digest, head.sha256, kind, head.media_type, head.size, *place, head.diff_id or None,
                head.plain_size if head.diff_id else None, head.entries, head.file_bytes)

    def _document(self, digest: str, data: bytes) -> None:
        row = self._store.catalog.blob(digest)
        if row is not None and row.kind == "document":
            media_type, made = row.media_type, row.made
        elif digest in self._keys:
            media_type, made = str(self._keys[digest]["media_type"]), bool(self._keys[digest].get("made"))
        else:
            media_type = self._media_type(digest, data)
            made = bool(self._hints.get(digest, {}).get("made")) or self._is_made(media_type, data)
        key: dict[str, Any] = {"digest": digest, "media_type": media_type, "size": len(data)}
        if made:
            key["made"] = True
        self.places[digest] = place = self._sink.record(layout.DOCUMENT, data, key)
        if digest in self._stray:
            try:
                text: str | None = data.decode()
            except UnicodeDecodeError:
                text = None
            self.rows[digest] = BlobRow(digest, Digest.of(data), "document", media_type, len(data), *place, made=made,
                                        text=text)

    def _media_type(self, digest: str, data: bytes) -> str:
        """By who names it; else by the footer's key, its own word, its fields; what is no manifest or index is a config."""
        for parent in self._store.catalog.parents(digest):
            row = self._store.catalog.blob(parent)
            if row is not None and row.kind == "document":
                with suppress(LaminaError):
                    for child in oci.children(row.media_type, self._store.document(parent), parent):
                        if child.digest == digest:
                            return child.media_type
        for other, text in self.texts.items():
            with suppress(LaminaError):
                for child in oci.children(oci.media_type_of(text, where=other), text, other):
                    if child.digest == digest:
                        return child.media_type
        for journal in self.journals:
            for name in journal.get("set", ()):
                if name["digest"] == digest:
                    return str(name["media_type"])
        if digest in self._hints:
            return str(self._hints[digest]["media_type"])
        with suppress(LaminaError):
            return oci.media_type_of(data, where=digest)
        return oci.OCI_CONFIG

    def _is_made(self, media_type: str, data: bytes) -> bool:
        """Whether it is, byte for byte, the manifest that Lamina makes for its config and layers."""
        with suppress(LaminaError, KeyError, TypeError, ValueError):
            if oci.is_manifest(media_type):
                manifest = oci.parse_manifest(data, media_type, "")
                config = self.texts.get(manifest.config.digest)
                if config is None:
                    config = self._store.document(manifest.config.digest)
                return oci.make_manifest(config, manifest.layers) == data
        return False
