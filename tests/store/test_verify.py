"""One bit flipped in each part of a pack: found, and the blobs that it touches are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from contracts.samples import put
from storekit import flip, full, layer, load, noise, push, read, tar_of, words

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG
from lamina.store import BlobStore, layout
from lamina.store.packs import pack_path

ONE = tar_of({"noise": noise(1, 400_000), "words": words(1, 400_000)})
TWO = tar_of({"noise": noise(2, 400_000)})


@pytest.fixture(params=["unproved", "proved"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    """Damage is named alike, whether blobs are read back or only their chunks."""
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "one", ONE)
        load(store, "two", TWO)
        if request.param == "proved":
            store.verify()
        yield store


@pytest.fixture
def pack(store: BlobStore) -> tuple[Path, layout.Footer]:
    """The pack of ONE, file and footer."""
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    name = next(pack.name for pack in store.catalog.packs() if pack.number == row.pack)
    return store.path / pack_path(name), store.packs.footer(row.pack)


def found(store: BlobStore, file: Path) -> set[str]:
    """What verify names; something must be found at that file, by a store that is opened anew."""
    store.close()
    with BlobStore.open(store.path) as again:
        problems = again.verify().problems
    assert any(file.name in problem.where for problem in problems), problems
    return {digest for problem in problems for digest in problem.digests}


def test_nothing_is_wrong(store: BlobStore) -> None:
    verified = store.verify()
    assert verified.problems == []
    assert verified.blobs == len(list(store.catalog.blobs())) == 6
    assert verified.bytes_read == sum(row.size for row in store.catalog.blobs())


@pytest.mark.parametrize("at", [0, 8, 12, 16, 31, 32, 63])
def test_header(store: BlobStore, pack: tuple[Path, layout.Footer], at: int) -> None:
    flip(pack[0], at)
    assert found(store, pack[0]) == set()  # no blob needs it


KINDS = {"content": layout.CONTENT, "segment": layout.SEGMENT, "head": layout.HEAD}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_records_of_a_layer(store: BlobStore, pack: tuple[Path, layout.Footer], kind: str, where: str) -> None:
    row = next(row for row in pack[1].records if row["type"] == KINDS[kind])
    stored = int(row["stored"])
    flip(pack[0], int(row["offset"]) + {"first": 0, "middle": stored // 2, "last": stored - 1}[where], 128)
    assert found(store, pack[0]) == {Digest.of(ONE)}


@pytest.mark.parametrize("block", ["recipe", "entries"])
def test_blocks_of_a_layer(store: BlobStore, pack: tuple[Path, layout.Footer], block: str) -> None:
    """Without its recipe a layer is lost; without its table of entries its bytes are all there."""
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    head = store.head_of_row(row)
    wanted = head.recipe[0][0] if block == "recipe" else head.entry_blocks[0]
    ordinal = next(i for i, chunk_id in enumerate(pack[1].ids) if bytes(chunk_id) == wanted)
    flip(pack[0], int(pack[1].records[pack[1].places[ordinal]["record"]]["offset"]) + 2)
    assert found(store, pack[0]) == ({Digest.of(ONE)} if block == "recipe" else set())
    with BlobStore.open(store.path) as again:
        (problem,) = again.verify().problems
        assert (f"table of entries of {Digest.of(ONE)}" in problem.what) == (block == "entries")
        if block == "entries":
            assert read(again, Digest.of(ONE)) == ONE


@pytest.mark.parametrize("kind", [layout.DOCUMENT, layout.JOURNAL])
def test_records_of_the_catalog(store: BlobStore, pack: tuple[Path, layout.Footer], kind: int) -> None:
    """The catalog has their text, so that nothing is lost yet: readers take that."""
    row = next(row for row in pack[1].records if row["type"] == kind)
    flip(pack[0], int(row["offset"]))
    assert found(store, pack[0]) == set()
    with BlobStore.open(store.path) as again, again.reading() as reading:
        for blob in list(again.catalog.blobs("document")):
            reading.fetch(again.resolve(blob.digest)).close()


@pytest.mark.parametrize("field", [0, 4, 5, 6, 8, 12, 16, 20, 24, 31])
def test_record_headers(store: BlobStore, pack: tuple[Path, layout.Footer], field: int) -> None:
    """They serve only when a footer is lost; no blob is touched."""
    for row in pack[1].records[:: max(1, len(pack[1].records) - 1)]:
        at = int(row["offset"]) - layout.RECORD_HEADER.size + field
        flip(pack[0], at)
    assert found(store, pack[0]) == set()


def test_the_gap_before_the_footer(store: BlobStore, pack: tuple[Path, layout.Footer]) -> None:
    last = int((pack[1].records["offset"] + pack[1].records["stored"]).max())
    if last == pack[1].tail.at:
        last = pack[1].tail.at - 1  # no gap here: the last record's last byte
    flip(pack[0], last)
    found(store, pack[0])


@pytest.mark.parametrize("part", ["records", "ids", "places", "keys", "tail", "end"])
def test_footer(store: BlobStore, pack: tuple[Path, layout.Footer], part: str) -> None:
    tail = pack[1].tail
    starts = np.cumsum([tail.at, *tail.columns])
    size = pack[0].stat().st_size
    at = {"records": starts[0], "ids": starts[1], "places": starts[2], "keys": starts[3], "tail": starts[4], "end": size - 1}
    flip(pack[0], int(at[part]) + (3 if part in {"ids", "places"} else 0))
    assert Digest.of(ONE) in found(store, pack[0])


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "gone"])
def test_files(store: BlobStore, pack: tuple[Path, layout.Footer], change: str) -> None:
    data = pack[0].read_bytes()
    if change == "gone":
        pack[0].unlink()
    else:
        pack[0].write_bytes({"cut": data[:-1000], "longer": data + b"\0", "empty": b""}[change])
    named = found(store, pack[0])
    assert Digest.of(ONE) in named and Digest.of(TWO) not in named


def test_a_chunk_that_two_layers_have(store: BlobStore) -> None:
    both = tar_of({"before": b"x" * 600, "noise": noise(1, 400_000)})
    load(store, "both", both)
    row = next(row for row in store.packs.footer(1).records if row["type"] == layout.CONTENT)
    name = next(pack.name for pack in store.catalog.packs() if pack.number == 1)
    file = store.path / pack_path(name)
    flip(file, int(row["offset"]))
    named = found(store, file)
    assert Digest.of(both) in named and Digest.of(ONE) in named and Digest.of(TWO) not in named


def test_only_these_blobs(store: BlobStore, pack: tuple[Path, layout.Footer]) -> None:
    row = next(row for row in pack[1].records if row["type"] == layout.CONTENT)
    flip(pack[0], int(row["offset"]))
    store.close()
    with BlobStore.open(store.path) as again:
        assert again.verify([Digest.of(TWO)]).problems == []
        (problem,) = again.verify([Digest.of(ONE), Digest.of(TWO)]).problems
        assert problem.digests == (Digest.of(ONE),)


def test_a_right_checksum_over_wrong_chunks(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that mixed up its chunks: the ids tell."""
    from lamina.store import ingest

    real = ingest.hash_many

    def wrong(*args: object) -> np.ndarray:
        ids = real(*args)  # type: ignore[arg-type]
        ids[0, 31] ^= 1
        return ids

    monkeypatch.setattr(ingest, "hash_many", wrong)
    load(store, "wrong", layer(5))
    monkeypatch.undo()
    problems = store.verify().problems
    assert problems and any("other chunks" in problem.what for problem in problems)


def test_a_catalog_that_says_something_else(store: BlobStore) -> None:
    """A name that was moved or lost in the catalog, and a text that was changed there."""
    ref = store.catalog.ref(full("one"))
    assert ref is not None
    with store.catalog.transaction() as tx:
        tx.set_ref(ref._replace(digest=store.resolve(full("two")).digest, seq=tx.next_seq()))
    (problem,) = store.verify().problems
    assert full("one") in problem.what and ref.digest in problem.what
    with store.catalog.transaction() as tx:
        tx.remove_ref(full("one"), tx.next_seq())
    (problem,) = store.verify().problems
    assert "leads to nothing" in problem.what


def test_a_name_that_leads_nowhere(store: BlobStore) -> None:
    ref = store.catalog.ref(full("one"))
    assert ref is not None
    with store.catalog.transaction() as tx:
        tx.remove_blobs([ref.digest])
    assert any("missing" in problem.what and ref.digest in problem.digests for problem in store.verify().problems)


def test_a_text_that_was_changed_in_the_catalog_is_taken_from_the_pack(store: BlobStore) -> None:
    digest = store.resolve(full("one")).digest
    row = store.catalog.blob(digest)
    assert row is not None and row.text is not None
    with store.catalog.transaction() as tx:
        tx.remove_blobs([digest])
        tx.add_blob(row._replace(text=row.text.replace("{", "[", 1)))
    assert store.document(digest) == row.text.encode()


def test_documents_in_packs_only(store: BlobStore) -> None:
    """What is no UTF-8 has no text in the catalog: a flipped bit costs it."""
    with store.session() as session:
        config = put(session, b'{"architecture":"amd64","os":"linux","x":"\xff"}', OCI_CONFIG)
        session.root(config)
        push(session, "three", layer(3))
        session.commit()
    row = store.catalog.blob(config.digest)
    assert row is not None
    pack = store.catalog.pack(row.pack)
    assert pack is not None
    file = store.path / pack_path(pack.name)
    flip(file, int(store.packs.footer(row.pack).records[row.record]["offset"]))
    assert config.digest in found(store, file)
