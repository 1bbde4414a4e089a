"""A session as a target and an intake: what it takes, what it gives back, what it leaves."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from contracts.samples import (
    DrippingReader,
    EndlessReader,
    FailingReader,
    config_bytes,
    describe,
    index_bytes,
    manifest_bytes,
    put,
    put_image,
)
from contracts.target import TargetContract
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storekit import (
    assert_whole,
    full,
    layer,
    leftovers,
    live_packs,
    load,
    names,
    noise,
    pack_files,
    problems,
    push,
    read,
    tar_of,
    words,
)

from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, InvalidContent, LaminaError, LeaseLost, NotFound, SizeMismatch, UsageError
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from lamina.store import BlobStore, layout
from lamina.store import session as module
from lamina.store.session import Session
from lamina.store.stream import BODY, BufferPool


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def session(store: BlobStore) -> Iterator[Session]:
    with store.session() as session:
        yield session


class TestSessionTarget(TargetContract):
    """What is pushed can be had in the session itself, before it commits."""

    manifest_before_blobs = False

    @pytest.fixture
    def target(self, session: Session) -> Session:
        return session


def again(store: BlobStore, data: bytes, step: int = 0) -> bytes:
    """A blob through a session, committed, and out again."""
    with store.session() as session:
        reader = DrippingReader(data, step) if step else BytesReader(data)
        blob = describe(data, "application/octet-stream")
        session.push(blob, reader)
        session.root(blob)
        session.commit()
    return read(store, blob.digest)


# -- any bytes


@pytest.mark.parametrize("size", [0, 1, 511, 512, BODY - 1, BODY, BODY + 1, 2 * BODY])
def test_sizes_at_the_edges(store: BlobStore, size: int) -> None:
    for data in (noise(1, size), bytes(size)):
        assert again(store, data) == data
    assert problems(store) == []


pieces = st.lists(
    st.binary(max_size=2000)
    | st.builds(noise, st.integers(0, 5), st.integers(0, 300_000))
    | st.builds(words, st.integers(0, 5), st.integers(0, 100_000))
    | st.builds(bytes, st.integers(0, 5000))
    | st.builds(lambda n: tar_of({f"f{i}": noise(i, 700 * i * n) for i in range(n)}), st.integers(0, 6)),
    max_size=5,
)


@given(pieces=pieces, step=st.sampled_from([0, 1000, 65_537]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_any_splits_come_back(store: BlobStore, pieces: list[bytes], step: int) -> None:
    data = b"".join(pieces)
    assert again(store, data, step) == data


def test_several_recipe_and_entry_blocks(store: BlobStore) -> None:
    """More entries, chunks and spans than a block takes."""
    data = tar_of({f"d/{number:05}": b"%05d" % number * (103 + number % 3) for number in range(12_000)})
    (blob,) = load_layers(store, data)
    assert read(store, blob) == data
    blocks = [len(columns.kind) for columns in store.entries(blob)]
    assert len(blocks) > 1 and max(blocks) <= 16_384 and sum(blocks) == 12_000
    row = store.catalog.blob(blob)
    assert row is not None and (row.entries, row.file_bytes) == (12_000, sum(5 * (103 + n % 3) for n in range(12_000)))
    assert len(store.head_of_row(row).recipe) > 1
    paths = [columns.path.data[columns.path.starts[-2] :] for columns in store.entries(blob)]
    assert paths[-1] == b"d/11999"


MANY = {f"usr/share/doc/package{number:04}/copyright": b"%05d" % number for number in range(4000)}


def test_kin_share_parts_of_their_tables(store: BlobStore) -> None:
    """The same names and sizes, but built at another time."""
    first, second = tar_of(MANY), tar_of(MANY, mtime=7)
    blobs = load_layers(store, first, second)
    rows = [store.catalog.blob(blob) for blob in blobs]
    heads = [set(store.head_of_row(row).entry_blocks) for row in rows if row is not None]
    assert len(heads[0]) == len(heads[1]) > 2
    assert len(heads[0] & heads[1]) * 3 == len(heads[0]) * 2
    for blob, mtime in zip(blobs, (0, 7), strict=True):
        assert {int(each) for columns in store.entries(blob) for each in columns.mtime} == {mtime}
        assert sum(len(columns.kind) for columns in store.entries(blob)) == len(MANY)


def test_a_store_of_version_1_keeps_tables_whole(tmp_path: Path) -> None:
    """Whoever wrote it may read what is added."""
    with BlobStore.open(tmp_path / "store"):
        pass
    place = tmp_path / "store" / "format"
    place.write_text(place.read_text().replace("version 2", "version 1"))
    with BlobStore.open(tmp_path / "store") as store:
        (blob,) = load_layers(store, tar_of(MANY))
        row = store.catalog.blob(blob)
        assert row is not None
        assert len(store.head_of_row(row).entry_blocks) == len(list(store.entries(blob)))
        assert store.info()["format"] == 1


def load_layers(store: BlobStore, *layers: bytes) -> list[str]:
    load(store, "it", *layers)
    return [Digest.of(data) for data in layers]


# -- compressed layers


def compressed(kind: str, data: bytes) -> bytes:
    match kind:
        case "gzip":
            return gzip.compress(data, 1, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(write_checksum=True).compress(data)
        case "xz":
            return lzma.compress(data, preset=0)
    return bz2.compress(data, 1)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
def test_a_compressed_tar_is_kept_as_it_came_with_its_diff_id(store: BlobStore, kind: str) -> None:
    plain = tar_of({"a": words(1, 300_000), "b": noise(1, 3_000_000), "c": b""})
    data = compressed(kind, plain)
    assert again(store, data) == data
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    assert (row.diff_id, row.plain_size, row.entries, row.file_bytes) == (Digest.of(plain), len(plain), 3, 3_300_000)
    (entries,) = store.entries(row.digest)
    assert entries.path.data == b"abc"
    assert entries.size.tolist() == [300_000, 3_000_000, 0]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("damage", ["cut", "flip", "behind"])
def test_what_does_not_inflate_is_kept_without_a_diff_id(store: BlobStore, kind: str, damage: str) -> None:
    data = bytearray(compressed(kind, tar_of({"a": words(1, 300_000)})))
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[len(data) // 2] ^= 255
    else:
        data += b"something that is neither padding nor a member"
    assert again(store, bytes(data)) == data
    row = store.catalog.blob(Digest.of(data))
    assert row is not None and row.diff_id is None and row.plain_size is None
    config = describe(config_bytes([describe(b"x")]), OCI_CONFIG)
    with store.session() as session, pytest.raises(InvalidContent, match="decompress"):
        put(session, config_bytes([describe(b"x")]), OCI_CONFIG)
        put(session, manifest_bytes(config, [describe(bytes(data), f"{OCI_LAYER}+gzip")]), OCI_MANIFEST)


def test_intake_sees_through_compression(store: BlobStore, session: Session) -> None:
    plain = layer(1)
    for kind in ("gzip", "zstd", "xz", "bzip2"):
        taken = session.intake(BytesReader(compressed(kind, plain)), plain=True, expect=Digest.of(plain))
        assert (taken.digest, taken.size) == (Digest.of(plain), len(plain))
    packed = compressed("gzip", plain)
    assert session.intake(BytesReader(packed), plain=False).digest == Digest.of(packed)
    assert session.known(Digest.of(plain)) is not None and session.known(Digest.of(b"")) is None
    with pytest.raises(DigestMismatch):
        session.intake(BytesReader(packed), plain=True, expect=Digest.of(packed))


# -- what is visible when


def test_nothing_is_visible_before_the_commit(store: BlobStore) -> None:
    with store.session() as session:
        manifest = push(session, "it", layer(1), layer(2))
        assert session.resolve(full("it")).digest == manifest.digest
        assert list(store.catalog.blobs()) == list(store.catalog.images()) == list(store.references()) == []
        with pytest.raises(NotFound):
            store.resolve(full("it"))
        with store.reading() as reading, pytest.raises(NotFound):
            reading.fetch(manifest)
        session.commit()
    assert names(store) == {full("it"): manifest.digest}
    assert store.document(manifest.digest) and len(list(store.catalog.images())) == 1
    assert_whole(store, layer(1), layer(2))


def test_abort_leaves_nothing(store: BlobStore) -> None:
    before = load(store, "before", layer(9))
    packs = pack_files(store)
    with pytest.raises(ZeroDivisionError), store.session() as session:
        push(session, "it", layer(1), layer(9))
        session.sink.seal()
        push(session, "before", layer(2))
        raise ZeroDivisionError
    assert names(store) == {full("before"): before.digest}
    assert pack_files(store) == packs
    assert_whole(store, layer(9))


def test_a_session_that_does_nothing(store: BlobStore) -> None:
    with store.session():
        assert leftovers(store) != []
    with store.session() as session:
        session.commit()
    assert pack_files(store) == set() and leftovers(store) == []


@pytest.mark.parametrize("fails", ["size", "digest", "reader"])
def test_a_blob_that_fails_leaves_nothing(store: BlobStore, fails: str) -> None:
    data = layer(1, 5_000_000)
    reader = {"size": BytesReader(data + b"x"), "digest": BytesReader(data[::-1]), "reader": FailingReader(data)}[fails]
    with pytest.raises((SizeMismatch, DigestMismatch, OSError)), store.session() as session:
        session.push(describe(data), reader)
    assert pack_files(store) == set() and leftovers(store) == []
    assert list(store.catalog.blobs()) == []


def test_a_blob_that_failed_is_no_dead_weight_of_what_follows(store: BlobStore) -> None:
    with store.session() as session:
        with pytest.raises(DigestMismatch):
            session.push(describe(noise(1, 2_000_000)), BytesReader(noise(2, 2_000_000)))
        push(session, "it", layer(1))
        session.commit()
    assert store.usage().dead == 0
    assert_whole(store, layer(1))


def test_a_commit_that_is_interrupted_when_it_is_through(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come between the transaction and the next line: then the packs are published, and must stay."""
    publish = module.publish

    def interrupted(*args: object) -> None:
        publish(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "publish", interrupted)
    with pytest.raises(KeyboardInterrupt), store.session() as session:
        push(session, "it", layer(1))
        session.commit()
    assert_whole(store, layer(1))


def test_a_lost_lease_ends_the_work(store: BlobStore) -> None:
    with pytest.raises(LeaseLost), store.session() as session:
        push(session, "it", layer(1))
        with store.catalog.transaction() as tx:
            tx.remove_lease(session.lease.id)
        session.commit()
    assert pack_files(store) == set() and leftovers(store) == [] and names(store) == {}


# -- what is refused


def test_wrong_diff_ids(store: BlobStore) -> None:
    one, two = layer(1), layer(2)
    with pytest.raises(DigestMismatch, match="plain tar"), store.session() as session:
        for data in (one, two):
            put(session, data)
        config = put(session, config_bytes([describe(two), describe(one)]), OCI_CONFIG)
        put(session, manifest_bytes(config, [describe(one), describe(two)]), OCI_MANIFEST)
    assert pack_files(store) == set()


def test_a_config_of_fewer_layers(session: Session) -> None:
    blob = put(session, layer(1))
    config = put(session, config_bytes([]), OCI_CONFIG)
    with pytest.raises(InvalidContent, match="layers"):
        put(session, manifest_bytes(config, [blob]), OCI_MANIFEST)


def test_a_manifest_that_lies_about_sizes(session: Session) -> None:
    blob = put(session, layer(1))
    config = put(session, config_bytes([blob]), OCI_CONFIG)
    wrong = Descriptor(blob.media_type, blob.digest, blob.size + 1)
    with pytest.raises(InvalidContent, match="bytes of a blob"):
        put(session, manifest_bytes(config, [wrong]), OCI_MANIFEST)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schemaVersion": "x"}'])
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
def test_documents_that_are_none(session: Session, data: bytes, media_type: str) -> None:
    with pytest.raises(LaminaError):
        put(session, data, media_type)


@pytest.mark.parametrize("reader", [BytesReader, DrippingReader])
@pytest.mark.parametrize("given", [b"{}x", b"{", b"[]"])
def test_documents_are_verified(session: Session, reader: type[BytesReader], given: bytes) -> None:
    with pytest.raises((SizeMismatch, DigestMismatch)):
        session.push(describe(b"{}", OCI_CONFIG), reader(given))
    assert not session.exists(describe(b"{}", OCI_CONFIG))


def test_compression_that_is_none(store: BlobStore) -> None:
    with pytest.raises(UsageError):
        store.session(compression="lz4")
    assert leftovers(store) == []


# -- names and documents


def test_documents_that_are_no_text(store: BlobStore) -> None:
    data = b'{"architecture":"amd64","os":"linux","x":"\xff"}'
    with store.session() as session:
        config = put(session, data, OCI_CONFIG)
        session.root(config)
        session.commit()
    assert store.document(config.digest) == data == read(store, config.digest)
    with pytest.raises(NotFound):
        store.document(Digest.of(b"nothing"))


def test_names_come_and_go(store: BlobStore) -> None:
    manifest = load(store, "one", layer(1))
    with store.session() as session:
        session.tag(manifest, full("two"))
        session.untag(full("one"))
        session.root(manifest)
        with pytest.raises(NotFound):
            session.resolve(full("one"))
        assert {name for name, _ in session.references()} == {full("two"), f"@{manifest.digest}"}
        session.commit()
    assert names(store) == {full("two"): manifest.digest, f"@{manifest.digest}": manifest.digest}
    with store.session() as session:
        session.drop_root(manifest.digest)
        session.commit()
    assert names(store) == {full("two"): manifest.digest}
    assert problems(store) == []


def test_made_manifests_are_marked(store: BlobStore) -> None:
    with store.session() as session:
        manifest = push(session, "it", layer(1))
        session.mark_made(manifest)
        session.commit()
    row = store.catalog.blob(manifest.digest)
    assert row is not None and row.made


def test_an_index_of_two(store: BlobStore) -> None:
    with store.session() as session:
        images = [put_image(session, layer(number)) for number in range(2)]
        index = put(session, index_bytes(images), OCI_INDEX)
        session.tag(index, full("it"))
        session.commit()
    store.collect(max_unused=0)
    assert_whole(store, layer(0), layer(1))
    assert store.catalog.children(index.digest) == [image.digest for image in images] or set(
        store.catalog.children(index.digest)) == {image.digest for image in images}


def test_sha512_names(store: BlobStore) -> None:
    data = layer(1)
    blob = describe(data, algorithm="sha512")
    with store.session() as session:
        session.push(blob, BytesReader(data))
        session.root(blob)
        session.commit()
    row = store.catalog.blob(blob.digest)
    assert row is not None and (row.sha256, row.diff_id) == (Digest.of(data), Digest.of(data))
    assert read(store, blob.digest) == data
    assert store.catalog.blob(Digest.of(data)) == row
    store.collect(max_unused=0)
    assert read(store, blob.digest) == data


# -- what streams bring


def intake(session: Session, data: bytes) -> Descriptor:
    taken = session.intake(BytesReader(data), plain=True)
    return Descriptor(OCI_LAYER, taken.digest, taken.size)


def test_what_nobody_claims_is_dropped(store: BlobStore) -> None:
    """Unclaimed blobs share a pack, and some of their chunks, with what is claimed."""
    shared = noise(5, 300_000)
    claimed, unclaimed = tar_of({"s": shared, "a": noise(1, 900_000)}), tar_of({"s": shared, "b": noise(2, 2_000_000)})
    with store.session() as session:
        intake(session, unclaimed)
        blob = intake(session, claimed)
        session.sink.seal()
        intake(session, layer(3))
        config = put(session, config_bytes([blob]), OCI_CONFIG)
        manifest = put(session, manifest_bytes(config, [blob]), OCI_MANIFEST)
        session.tag(manifest, full("it"))
        session.commit()
    assert store.catalog.blob(Digest.of(unclaimed)) is None and store.catalog.blob(Digest.of(layer(3))) is None
    assert store.usage().stored < len(claimed) + 2 * layout.FRAME_BYTES  # a frame or two that both have chunks in
    assert_whole(store, claimed)


def test_what_is_claimed_once_stays_however_often_it_comes(store: BlobStore) -> None:
    data = layer(1)
    with store.session() as session:
        intake(session, data)
        push(session, "it", data)
        intake(session, data)
        session.commit()
    assert_whole(store, data)


def test_all_unclaimed(store: BlobStore) -> None:
    with store.session() as session:
        intake(session, layer(1))
        session.commit()
    assert pack_files(store) == live_packs(store) == set()


# -- known content


def test_known_layers_are_not_read(store: BlobStore) -> None:
    load(store, "one", layer(1))
    with store.session() as session:
        assert session.exists(describe(layer(1)))
        assert session.stats.known == len(layer(1))
        assert [each.status for each in session.stats.layers] == ["exists"]
    with store.session(verify=True) as session:
        assert not session.exists(describe(layer(1)))
        assert session.known(Digest.of(layer(1))) is None


def test_counts(store: BlobStore) -> None:
    one, two = layer(1, 1_000_000), layer(2, 1_000_000)
    joined = tar_of({"one": noise(1, 1_000_000), "more": noise(7, 40_000)})
    with store.session() as session:
        for data in (one, two):
            put(session, data)
        assert session.stats.read == session.stats.new == len(one) + len(two)
        blob = put(session, joined)
        last = session.stats.layers[-1]
        assert (last.digest, last.size, last.entries, last.status) == (blob.digest, len(joined), 2, "loaded")
        assert 40_000 < last.new < 50_000
        session.root(blob)
        session.commit()
    assert session.stats.stored == sum(size for _, size in store.backend.list("packs/"))
    assert session.stats.seconds > 0


@pytest.mark.parametrize("compression", ["none", "zstd:3"])
def test_compressions_give_the_same_back(store: BlobStore, compression: str) -> None:
    data = tar_of({"w": words(1, 500_000)})
    with store.session(compression=compression) as session:
        push(session, "it", data)
        session.commit()
    assert_whole(store, data)
    assert (store.usage().stored > 500_000) == (compression == "none")


def test_two_sessions_at_once_with_the_same_content(tmp_path: Path, store: BlobStore) -> None:
    with BlobStore.open(tmp_path / "store") as other, store.session() as one, other.session() as two:
        push(one, "one", layer(1), layer(2))
        push(two, "two", layer(1), layer(3))
        one.commit()
        two.commit()
    assert set(names(store)) == {full("one"), full("two")}
    assert_whole(store, layer(1), layer(2), layer(3))


def test_a_reader_sees_what_is_committed_while_it_reads(store: BlobStore) -> None:
    load(store, "one", layer(1))
    with store.reading() as reading:
        blob = describe(layer(1))
        assert hashlib.sha256(read_all(reading.fetch(blob), 1 << 30)).hexdigest() == blob.digest.hex
        load(store, "two", layer(2))
        assert read_all(reading.fetch(describe(layer(2))), 1 << 30) == layer(2)


def test_a_session_reads_what_another_has_committed(store: BlobStore) -> None:
    with store.session() as session:
        push(session, "one", layer(1))
        load(store, "two", layer(2))
        assert read_all(session.fetch(describe(layer(2))), 1 << 30) == layer(2)
        session.commit()


def test_no_thread_and_no_descriptor_is_left(store: BlobStore) -> None:
    def counts() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    load(store, "warm", layer(0))
    remains = counts()
    for number in range(3):
        with store.session() as session:
            put(session, compressed("gzip", layer(number)))
            push(session, "it", layer(number))
    with pytest.raises(OSError, match="cable"), store.session() as session:
        session.push(describe(b"x" * 9_000_000), FailingReader(gzip.compress(noise(1, 9_000_000), 1)))
    assert counts()[0] == remains[0]
    assert counts()[1] <= remains[1] + 2


def test_a_blob_that_fails_lets_go_of_its_lane_at_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next blob gets the same buffers: nobody may be reading into them any more, however long the error is kept."""
    reading, read = [], BufferPool.read

    def kept_reading(*arguments: object) -> object:
        reading.append(read(*arguments))  # type: ignore[arg-type]
        return reading[-1]

    monkeypatch.setattr(BufferPool, "read", kept_reading)
    monkeypatch.setattr("lamina.store.ingest._Blob.feed", fail_to_feed)
    endless = Descriptor(OCI_LAYER, Digest.of(b""), 1 << 40)
    with pytest.raises(InvalidContent, match="no more") as kept:
        session.push(endless, EndlessReader())
    assert [each.gi_frame for each in reading] == [None]  # closed, though there is still one who holds it
    assert [thread.name for thread in threading.enumerate() if thread.name == "lamina-read"] == []
    assert kept.value.__traceback__ is not None
    monkeypatch.undo()
    data = layer(7)
    session.push(describe(data, OCI_LAYER), BytesReader(data))
    assert read_all(session.fetch(describe(data, OCI_LAYER)), 1 << 30) == data


def fail_to_feed(*_: object) -> None:
    raise InvalidContent("no more", "of this")
