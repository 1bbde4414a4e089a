"""The push of an image whose manifest Lamina made: plain layers, compressed once while they go up, and a manifest of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.content.compress import Crew, Packing
from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import DigestMismatch, LaminaError, SizeMismatch
from lamina.images.destination import Destination
from lamina.images.transfer import LANES, Lane
from lamina.images.watched import Watched
from lamina.oci import OCI_MANIFEST, Descriptor, layer_compression, make_manifest, parse_manifest
from lamina.store.lanes import run_lanes
from lamina.store.remembered import EncodingRow, PushRow

if TYPE_CHECKING:
    from lamina.content import Reader, Source


class PackedPush:
    """One image under one tag."""

    def __init__(self, there: Destination, source: Source, tag: str, root: Descriptor, packing: Packing, crew: Crew) -> None:
        self._there, self._tag, self._root, self._packing, self._crew = there, tag, root, packing, crew
        self._remote, self._progress, self._settings = there.remote, there.progress, str(packing)
        self._source = Watched(source, there.progress.advance)
        self._packed: dict[str, Descriptor] = {}
        self._sent: list[int] = []

    @property
    def sent(self) -> int:
        """Bytes of blobs that went over."""
        return sum(self._sent)

    def push(self, *, force: bool) -> tuple[Descriptor, bool]:
        """What the tag leads to in the registry now, and whether it did before."""
        there = self._there
        layers = list(parse_manifest(there.store.document(self._root.digest), self._root.media_type, self._root.digest).layers)
        known = None if force else there.memory.push(there.reference.name, self._root.digest, self._settings)
        if known is not None and (end := self._is_there(known)) is not None:
            descriptor, current = end
            there.remember(known)
            for layer in dict.fromkeys(layers):
                self._progress.done(layer.digest, "exists")
            return descriptor, current
        self._bring(layers)
        return self._finish(layers), False

    def _is_there(self, known: PushRow) -> tuple[Descriptor, bool] | None:
        """The manifest of an earlier push, if the registry has it (then it has all of it); tagged, if it was not."""
        descriptor = Descriptor(known.media_type, Digest(known.digest), known.size)
        found = self._remote.own_head(self._tag)
        if found is not None and found.digest == descriptor.digest:
            return descriptor, True
        if not self._remote.exists(descriptor):
            return None
        self._remote.tag(descriptor, self._tag)
        return descriptor, False

    def _bring(self, layers: list[Descriptor]) -> None:
        """Each distinct layer, several at once; the first failure ends all."""
        distinct = list(dict.fromkeys(layers))
        for layer in distinct:
            self._progress.state(layer.digest, "waiting")
        # The largest first: the longest stream bounds the whole.
        run_lanes(sorted(distinct, key=lambda layer: -layer.size), self._lane, self._stop, LANES)
        self._source.check()

    def _lane(self, layer: Descriptor) -> None:
        self._source.check()
        try:
            self._packed[layer.digest] = self._bring_one(layer)
        except LaminaError as error:
            self._source.fail(error)
            raise

    def _stop(self) -> None:
        self._source.fail(LaminaError("interrupted"))

    def _bring_one(self, layer: Descriptor) -> Descriptor:
        """See that the layer is there, compressed; what it is then."""
        if layer_compression(layer.media_type) != "":
            known: Descriptor | None = layer
        else:
            row = self._there.memory.encoding(layer.digest, self._settings)
            known = None if row is None else Descriptor(row.media_type, Digest(row.digest), row.size)
        if known is not None and self._remote.exists(known):
            self._progress.done(layer.digest, self._there.found(known))
            return known
        end = (self._push_known(layer, known) if known is not None else None) or self._push_stream(layer)
        self._sent.append(self._there.brought(end))
        self._progress.done(layer.digest, "pushed")
        return end

    def _push_known(self, layer: Descriptor, known: Descriptor) -> Descriptor | None:
        """As it was pushed before; None if it comes out as something else now (another version of a library)."""
        reader = self._open(layer)
        packed = reader if known is layer else self._packing.reader(reader, self._crew)
        try:
            self._remote.push(known, packed)
        except (DigestMismatch, SizeMismatch):
            if known is layer:
                raise
            return None  # if it is the layer that does not check out, the second reading says so
        finally:
            packed.close()
        return known

    def _push_stream(self, layer: Descriptor) -> Descriptor:
        packed = self._packing.reader(self._open(layer), self._crew)
        try:
            mark = f"{layer.digest} {self._settings} {self._packing.version}"
            end = self._remote.push_stream(self._packing.media_type, packed, mark)
        finally:
            packed.close()
        self._there.remember_encoding(EncodingRow(layer.digest, self._settings, end.digest, end.media_type, end.size))
        return end

    def _open(self, layer: Descriptor) -> Reader:
        reader = self._source.fetch(layer)
        self._progress.start(layer.digest, layer.media_type, layer.size)
        self._progress.state(layer.digest, "uploading")
        return reader

    def _finish(self, layers: list[Descriptor]) -> Descriptor:
        """Config, manifest, tag; the same manifest for the same image, each time."""
        there = self._there
        parsed = parse_manifest(there.store.document(self._root.digest), self._root.media_type, self._root.digest)
        config = there.store.document(parsed.config.digest)
        data = make_manifest(config, [self._packed[layer.digest] for layer in layers])
        descriptor = Descriptor(OCI_MANIFEST, Digest.of(data), len(data))
        documents, lane = MemoryTarget(), Lane(self._source, self._remote, None)
        documents.push(parsed.config, BytesReader(config))
        documents.push(descriptor, BytesReader(data))
        for layer in self._packed.values():
            lane.has(layer)
        copy_graph(documents, lane, descriptor, observer=_Noting(there, self._sent), tag=self._tag)
        there.note()
        there.remember(PushRow(there.reference.name, self._root.digest, self._settings, descriptor.digest,
                               descriptor.media_type, data.decode()))
        return descriptor


class _Noting:
    """An observer of the walk: what is there now, and how much of it went over."""

    def __init__(self, there: Destination, sent: list[int]) -> None:
        self._there, self._sent = there, sent

    def started(self, descriptor: Descriptor) -> None:
        """Nothing."""

    def skipped(self, descriptor: Descriptor) -> None:
        self._there.found(descriptor)

    def done(self, descriptor: Descriptor) -> None:
        self._sent.append(self._there.brought(descriptor))
