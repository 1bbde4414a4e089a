"""Repair, second part: what is lacking is taken in again from a source that has it, by digest or chunk by chunk.

Damaged packs are condemned by then, so that a session does not know the chunks that only they had, and writes them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina import oci
from lamina._native.blake3many import hash_many
from lamina._native.chunkindex import NONE
from lamina.content import Source
from lamina.content.inflate import InflatingReader, peek, sniff
from lamina.content.verify import read_blob
from lamina.errors import LaminaError
from lamina.oci import Descriptor
from lamina.store import layout
from lamina.store.lacking import Lack
from lamina.store.recipe import blocks
from lamina.store.session import Job, Session

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading

U8 = npt.NDArray[np.uint8]


def take_blobs(session: Session, source: Source, lacks: Mapping[str, Lack]) -> list[str]:
    """Take in those of these blobs that the source has under their digests; the digests of those that came.

    A blob is kept as what it was taken for before: a layer of a stream without a media type stays one.
    """
    jobs: list[Job] = []
    typeless: list[Descriptor] = []
    for lack in lacks.values():
        descriptor = lack.descriptor
        try:
            source.fetch(descriptor).close()
        except LaminaError:
            continue
        if oci.is_manifest(descriptor.media_type) or oci.is_index(descriptor.media_type):
            continue  # with all that they name: see `images.repair`
        if not descriptor.media_type:
            typeless.append(descriptor)
        else:
            jobs.append(Job(descriptor, partial(source.fetch, descriptor)))
    session.bring(sorted(jobs, key=lambda job: -job.descriptor.size))
    for descriptor in typeless:
        with suppress(LaminaError):
            reader = source.fetch(descriptor)
            try:
                session.intake(reader, plain=False, expect=descriptor.digest)
            finally:
                reader.close()
    came = [lack.descriptor.digest for lack in lacks.values() if session.brought(lack.descriptor.digest)]
    session.claim(came)
    return [str(digest) for digest in came]


def take_chunks(store: BlobStore, session: Session, source: Reading, lacks: Iterable[Lack], *, recipes: bool) -> int:
    """Take single chunks from another store: of the blobs' recipes and entry tables, or (then) of their streams; how many."""
    count = 0
    chunks = store.chunks(session.index)
    for lack in lacks:
        if lack.row is None or lack.row.kind == "document":
            continue
        with suppress(LaminaError):  # its head or recipe is lost
            head = store.head_of_row(lack.row)
            if recipes:
                meta = b"".join([row[0] for row in head.recipe] + head.entry_blocks)
                count += _take(session, source, np.frombuffer(meta, np.uint8).reshape(-1, 32))
                continue
            for block in blocks(head, lambda block_id: chunks.chunk(block_id, "")):
                count += _take(session, source, block.content) + _take(session, source, block.segment)
    return count


def _take(session: Session, source: Reading, ids: U8) -> int:
    """Those of these chunks that are missing here and whole there.  A loop in Python over missing chunks."""
    if not len(ids):
        return 0
    missing = np.unique(ids[session.index.find(ids)[0] == NONE], axis=0)
    if not len(missing):
        return 0
    packs, ordinals = source.index.find(missing)
    count = 0
    for row in np.flatnonzero(packs != NONE):
        with suppress(LaminaError):  # damaged there, too
            count += _copy(session, source, int(packs[row]), int(ordinals[row]), missing[row : row + 1])
    return count


def _copy(session: Session, source: Reading, number: int, ordinal: int, chunk_id: U8) -> int:
    packs = source.store.packs
    footer = packs.footer(number)
    place = footer.places[ordinal]
    kind = int(footer.records[place["record"]]["type"])
    frame = np.frombuffer(packs.record(number, int(place["record"])), np.uint8)
    one = np.zeros(1, np.int64)
    offset, length = one + int(place["offset"]), one + int(place["length"])
    if not np.array_equal(hash_many(frame, offset, length), chunk_id):
        return 0
    if kind == layout.META:
        session.sink.meta(frame[int(offset[0]) : int(offset[0] + length[0])].tobytes(), chunk_id[0])
    else:
        session.sink.place(kind, frame, offset, length, one, chunk_id)
    return 1


def take_layers(session: Session, source: Source, roots: Iterable[Descriptor], lacks: Mapping[str, Lack]) -> list[str]:
    """Plain layers of which the source has a compressed form, as the configs of these images say."""
    came: list[str] = []
    for root in roots:
        for manifest in _manifests(source, root):
            with suppress(LaminaError):
                parsed = oci.parse_manifest(read_blob(source, manifest), manifest.media_type, manifest.digest)
                config = oci.parse_config(read_blob(source, parsed.config), parsed.config.digest)
                for layer, diff_id in zip(parsed.layers, config.diff_ids, strict=False):
                    if diff_id in lacks and diff_id != layer.digest and diff_id not in came:
                        came += _inflate(session, source, layer, lacks[diff_id].descriptor)
    session.claim(came)
    return came


def _inflate(session: Session, source: Source, layer: Descriptor, wanted: Descriptor) -> list[str]:
    with suppress(LaminaError):
        first, reader = peek(source.fetch(layer))
        try:
            kind = sniff(first)
            plain = InflatingReader(reader, kind, layer.digest) if kind else reader
            if wanted.media_type:
                session.push(wanted, plain)
            else:
                session.intake(plain, plain=False, expect=wanted.digest)
        finally:
            reader.close()
        return [str(wanted.digest)]
    return []


def _manifests(source: Source, root: Descriptor) -> list[Descriptor]:
    """The manifests of a root, also of an index in an index."""
    found, pending = [], [root]
    while pending:
        node = pending.pop()
        if oci.is_manifest(node.media_type):
            found.append(node)
        elif oci.is_index(node.media_type):
            with suppress(LaminaError):
                pending += oci.parse_index(read_blob(source, node), node.media_type, node.digest).manifests[:oci.MAX_MANIFESTS]
    return found

