"""Figures, held against a computation with sets of chunk ids and no cleverness."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import index_bytes, put, put_image
from storekit import full, layer, load, names, noise, push, remove, tar_of, words

from lamina.oci import OCI_INDEX
from lamina.store import BlobStore, layout
from lamina.store.recipe import Block, Head
from lamina.store.schema import LIVE, ImageRow

RECORD_HEADER = 32


class Brute:
    """Everything in a store, by chunk ids."""

    def __init__(self, store: BlobStore) -> None:
        self.lengths: dict[bytes, int] = {}
        self.frames: dict[tuple[int, int], set[bytes]] = {}
        self.sizes: dict[tuple[int, int], int] = {}
        self.records: set[tuple[int, int]] = set()  # but for journals
        self.packs = sum(pack.bytes for pack in store.catalog.packs(LIVE))
        plain: dict[bytes, bytes] = {}
        for pack in store.catalog.packs(LIVE):
            footer = store.packs.footer(pack.number)
            for record, row in enumerate(footer.records):
                self.sizes[pack.number, record] = int(row["stored"]) + RECORD_HEADER
                if row["type"] != layout.JOURNAL:
                    self.records.add((pack.number, record))
                if row["type"] in layout.FRAMES:
                    self.frames[pack.number, record] = set()
            for chunk_id, place in zip(footer.ids, footer.places, strict=True):
                key = (pack.number, int(place["record"]))
                self.lengths[bytes(chunk_id)] = int(place["length"])
                self.frames[key].add(bytes(chunk_id))
                if footer.records[place["record"]]["type"] == layout.META:
                    data = bytes(store.packs.record(*key))
                    plain[bytes(chunk_id)] = data[place["offset"] : place["offset"] + place["length"]]
        self.chunks: dict[str, set[bytes]] = {}
        self.places: dict[str, tuple[int, int]] = {}
        for row in store.catalog.blobs():
            self.places[row.digest] = (row.pack, row.record)
            self.chunks[row.digest] = set()
            if row.kind != "document":
                head = Head.decode(store.packs.record(row.pack, row.record), "")
                ids = {block_id for block_id, *_ in head.recipe} | set(head.entry_blocks)
                for block_id, *_ in head.recipe:
                    block = Block.decode(plain[block_id], "")
                    ids |= {bytes(chunk_id) for chunk_id in (*block.content, *block.segment)}
                self.chunks[row.digest] = ids

    def bytes_of(self, ids: set[bytes]) -> int:
        return sum(self.lengths[chunk_id] for chunk_id in ids)

    def union(self, digests: set[str]) -> set[bytes]:
        return set().union(*(self.chunks[digest] for digest in digests))

    def live(self, digests: set[str]) -> set[tuple[int, int]]:
        """Records that are in use if these blobs are."""
        ids = self.union(digests)
        return {key for key, held in self.frames.items() if held & ids} | {self.places[digest] for digest in digests}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    """Images that share layers, files in different layers, files within a layer; one twice in an image; dead content."""
    shared = {"shared": noise(1, 700_000)}
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "a", tar_of(shared), layer(1))
        load(store, "b", tar_of(shared | {"b": words(2, 300_000)}), layer(1), layer(2))
        load(store, "c", tar_of({"x": noise(1, 700_000), "y": noise(1, 700_000)}), tar_of({"x": b"1"}))
        load(store, "twice", layer(3), layer(3))
        load(store, "dead", tar_of({"dead": noise(9, 900_000)}))
        with store.session() as session:
            images = [put_image(session, layer(1), layer(number)) for number in (4, 5)]
            session.tag(put(session, index_bytes(images), OCI_INDEX), full("index"))
            session.root(images[0])
            push(session, "mixed", layer(6), tar_of({"w": words(3, 200_000)}))
            push(session, "dead2", tar_of({"dead": noise(10, 100_000)}))
            session.commit()
        remove(store, "dead", "dead2")
        store.collect(max_unused=1)  # blobs go, packs stay
        yield store


def layers_of(store: BlobStore, manifest: str) -> list[str]:
    return [layer["digest"] for layer in json.loads(store.document(manifest))["layers"]]


def test_usage(store: BlobStore) -> None:
    brute, usage = Brute(store), store.usage()
    rows = {row.digest: row for row in store.catalog.blobs()}
    images = {image.manifest: layers_of(store, image.manifest) for image in store.catalog.images()}
    assert len(images) == 7
    assert usage.layers == sum(row.size for row in rows.values() if row.kind != "document")
    assert usage.logical == sum(rows[layer].size for layers in images.values() for layer in layers) > usage.layers
    documents = sum(row.size for row in rows.values() if row.kind == "document")
    assert usage.chunks == brute.bytes_of(brute.union(set(rows))) + documents
    assert usage.stored == brute.packs == sum(size for _, size in store.backend.list("packs/"))
    live = brute.live(set(rows))
    assert usage.dead == sum(brute.sizes[key] for key in brute.records - live) > 900_000
    for manifest, layers in images.items():
        mine = brute.union(set(layers))
        others = brute.union({layer for other, held in images.items() if other != manifest for layer in held})
        assert usage.image_usage[manifest] == (brute.bytes_of(mine & others), brute.bytes_of(mine - others)), manifest


def test_new_bytes(store: BlobStore) -> None:
    brute = Brute(store)
    a, b, c = (set(layers_of(store, store.resolve(full(name)).digest)) for name in "abc")
    for mine, beside in ((a, b), (b, a), (c, a), (a, a), (a | b, set()), (set(), a)):
        assert store.new_bytes(sorted(mine), beside=sorted(beside)) == brute.bytes_of(brute.union(mine) - brute.union(beside))


@pytest.mark.parametrize("gone", [["a"], ["b"], ["c"], ["a", "b", "c"], ["twice"], ["index"], ["mixed"], [], ["unknown"],
                                  ["a", "b", "c", "twice", "index", "mixed"]])
def test_reclaimable(store: BlobStore, gone: list[str]) -> None:
    brute = Brute(store)
    before = {row.digest for row in store.catalog.blobs()}
    foretold = store.reclaimable([full(name) for name in gone])
    remove(store, *(name for name in gone if full(name) in names(store)))
    after = before - store.catalog.unreachable()
    live_before, live_after = brute.live(before), brute.live(after)
    assert foretold.frame_bytes == sum(brute.sizes[key] for key in live_before - live_after)
    lost = brute.union(before) - brute.union(after)
    staying = set().union(*(held for key, held in brute.frames.items() if key in live_after))
    assert foretold.dead_bytes == brute.bytes_of(lost & staying)
    if gone == ["a"]:
        assert foretold.frame_bytes > 0
    # And the collection frees that, with what was dead before.
    dead = sum(brute.sizes[key] for key in brute.records - live_before)
    assert store.usage().dead == dead + foretold.frame_bytes
    assert store.collect(max_unused=0).unused_freed == dead + foretold.frame_bytes


def test_an_image_that_is_removed_meanwhile_does_not_count(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row has been read, its manifest not yet: R2 met that beside a collector."""
    gone, kept = load(store, "gone", layer(1)), load(store, "kept", layer(2))
    images = store.catalog.images

    def late() -> list[ImageRow]:
        found = images()
        if gone.digest in {image.manifest for image in found}:
            remove(store, "gone")
            store.collect(max_unused=0)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(store.catalog, "images", late)
        found = store.usage()
    assert gone.digest not in found.image_usage
    assert kept.digest in found.image_usage
    assert (found.logical, found.layers, found.damaged) == ((after := store.usage()).logical, after.layers, ())
