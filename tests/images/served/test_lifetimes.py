"""What stays and what goes: links, manifests, uploads, and what other commands do to the same store."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from contracts.contents import UNKNOWN, config_of, digest_of, image, manifest, read, refused, upload
from store.storekit import leftovers, live_packs, noise, pack_files, problems, tar_of, words

import lamina
from images.archives import Built, docker_archive
from lamina.errors import Conflict
from lamina.images.served.contents import StoreContents
from lamina.images.served.names import full_name
from lamina.store import BlobStore, links
from lamina.store.receiving import HEAD, Receiving

BLOB = noise(1, 200_000)


def age_links(store: BlobStore, seconds: int) -> None:
    with store.catalog.transaction():
        store.catalog._db.write("UPDATE links SET time = time - ?", (seconds,))


# -- links


def test_what_was_pushed_stays_for_its_time_and_then_goes(served: StoreContents, store: BlobStore) -> None:
    digest = upload(served, "app", BLOB)
    age_links(store, links.KEPT - 60)
    store.collect(max_unused=0)
    assert read(served, "app", digest) == BLOB
    age_links(store, 120)
    store.collect(max_unused=0)
    with refused(*UNKNOWN):
        served.blob("app", digest)
    assert store.catalog.blob(digest) is None
    assert store.usage().dead == 0
    assert problems(store) == []


def test_pushing_again_counts_from_then(served: StoreContents, store: BlobStore) -> None:
    digest = upload(served, "app", BLOB)
    age_links(store, links.KEPT - 60)
    upload(served, "app", BLOB)
    age_links(store, 120)
    store.collect(max_unused=0)
    assert read(served, "app", digest) == BLOB


def test_a_clock_that_was_set_back_keeps_nothing_for_ever(served: StoreContents, store: BlobStore) -> None:
    digest = upload(served, "app", BLOB)
    age_links(store, -3 * links.KEPT)
    store.collect(max_unused=0)
    with refused(*UNKNOWN):
        served.blob("app", digest)


def test_what_a_manifest_names_stays_without_links(served: StoreContents, store: BlobStore) -> None:
    document = image(served, "app", 1, "it")
    age_links(store, 2 * links.KEPT)
    store.collect(max_unused=0)
    assert served.manifest("app", "it") == document
    assert served.manifest("app", document.digest) == document
    assert not store.catalog.links.any(full_name("app"))
    for each in [row.digest for row in store.catalog.blobs()]:
        assert served.blob("app", each).size  # type: ignore[arg-type]
    served.delete_manifest("app", document.digest)
    store.collect(max_unused=0)
    assert list(store.catalog.blobs()) == []


def test_a_collection_amid_the_push_of_a_manifest(served: StoreContents, store: BlobStore,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """What it names stays from when it is looked for, whoever takes away what named it till then."""
    layer = noise(2, 2000)
    config = config_of(1, layer)
    for each in (layer, config):
        upload(served, "app", each)
    other = manifest(config, [layer], annotations={"which": "another"})
    served.put_manifest("app", other, ["other"])
    document, has = manifest(config, [layer]), StoreContents.has

    def late(self: StoreContents, name: str, digest: str) -> bool:
        found = has(self, name, digest)
        monkeypatch.setattr(StoreContents, "has", has)
        served.delete_manifest("app", other.digest)
        age_links(store, 2 * links.KEPT)
        store.collect(max_unused=0)
        return found

    monkeypatch.setattr(StoreContents, "has", late)
    served.put_manifest("app", document, ["it"])
    assert served.manifest("app", "it") == document
    assert read(served, "app", digest_of(config)) == config
    with refused(*UNKNOWN):  # it had gone before it was looked for
        served.blob("app", digest_of(layer))
    assert problems(store) == []


def test_a_manifest_whose_tags_are_gone_stays_until_it_is_deleted(served: StoreContents, store: BlobStore) -> None:
    document = image(served, "app", 1, "it")
    served.delete_tag("app", "it")
    age_links(store, 2 * links.KEPT)
    store.collect(max_unused=0)
    assert served.manifest("app", document.digest) == document


def test_a_catalog_that_was_made_anew_has_all_manifests(served: StoreContents, store: BlobStore) -> None:
    document = image(served, "app", 1, "it")
    store.rebuild_catalog()
    with BlobStore.open(store.path) as again:
        contents = StoreContents(again)
        assert contents.manifest("app", "it") == contents.manifest("app", document.digest) == document
        contents.close()


# -- beside other commands


def test_images_rmi_gc_and_load_beside_it(served: StoreContents, tmp_path: Path, store: BlobStore) -> None:
    document = image(served, "app", 1, "it", "that")
    built = Built(tar_of({"a": noise(5, 90_000)}))
    with lamina.open(store.path) as shop:
        assert {(each.repository, each.tag) for each in shop.images()} >= {("app", "it"), ("app", "that")}
        shop.load(io.BytesIO(docker_archive((built, ["loaded:1"])).getvalue()))
        assert served.repositories("", 10) == ["app", "loaded"]
        assert served.manifest("loaded", "1").digest == store.resolve(f"{full_name('loaded')}:1").digest
        assert read(served, "loaded", digest_of(built.layers[0])) == built.layers[0]
        shop.remove(["app:it"])
        assert served.tags("app", "", 10) == ["that"]
        shop.gc()
        assert served.manifest("app", document.digest) == document
        out = io.BytesIO()
        shop.save(["app:that"], out)
        assert out.getvalue()
    assert problems(store) == []


def test_a_plain_layer_shares_its_chunks_with_what_was_loaded(served: StoreContents, store: BlobStore) -> None:
    shared = {"large": noise(3, 3_000_000), "text": words(3, 500_000)}
    with lamina.open(store.path) as shop:
        shop.load(io.BytesIO(docker_archive((Built(tar_of(shared)), ["loaded:1"])).getvalue()))
    before = sum(pack.bytes for pack in store.catalog.packs())
    layer = tar_of({**shared, "own": b"1" * 700})
    assert read(served, "app", upload(served, "app", layer)) == layer
    assert sum(pack.bytes for pack in store.catalog.packs()) - before < 100_000
    assert store.catalog.blob(digest_of(layer)).entries == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_what_is_there_already_leaves_no_pack(served: StoreContents, store: BlobStore, size: int) -> None:
    data = noise(4, size)
    upload(served, "app", data)
    before = pack_files(store)
    for name in ("app", "other"):
        upload(served, name, data)
    assert pack_files(store) == live_packs(store) == before
    assert leftovers(store) == []


def test_a_wrong_digest_leaves_no_pack(served: StoreContents, store: BlobStore) -> None:
    for size in (1000, 5_000_000):
        with served.upload("app", served.begin_upload("app")) as one:
            one.write(memoryview(noise(5, size)))
            with refused("DIGEST_INVALID"):
                one.finish(digest_of(b""))
    assert pack_files(store) == live_packs(store) == set()
    assert leftovers(store) == []
    assert list(store.receiving.all()) == []


def test_a_manifest_that_came_before_its_layer_becomes_an_image(served: StoreContents, store: BlobStore) -> None:
    layer = tar_of({"a": b"1" * 900})
    config = config_of(1, layer)
    document = manifest(config, [layer])
    upload(served, "app", config)
    served.put_manifest("app", document, ["it"])
    upload(served, "app", layer)
    served.put_manifest("app", document, ["it"])
    image = store.catalog.image(document.digest)
    assert image is not None and image.whole
    assert problems(store) == []


def test_pushes_beside_collections(served: StoreContents, another: Callable[[], StoreContents], store: BlobStore) -> None:
    """Two servers and a collector at once: nothing that was acknowledged goes."""
    pushed: list[tuple[str, object]] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def push(contents: StoreContents, name: str) -> None:
        try:
            for seed in range(12):
                document = image(contents, name, seed, f"t{seed}")
                if seed % 3 == 2:
                    contents.delete_manifest(name, document.digest)
                else:
                    pushed.append((name, document))
        except BaseException as error:
            failed.append(error)

    def collect() -> None:
        while not over.is_set():
            try:
                with BlobStore.open(store.path) as other:
                    other.collect(max_unused=0)
            except Conflict:
                continue
            except BaseException as error:
                failed.append(error)
                return

    workers = [threading.Thread(target=push, args=(contents, name))
               for name, contents in (("one", served), ("two", another()), ("three", another()))]
    collector = threading.Thread(target=collect)
    for each in (collector, *workers):
        each.start()
    for each in workers:
        each.join()
    over.set()
    collector.join()
    assert failed == []
    for name, document in pushed:
        assert served.manifest(name, document.digest) == document  # type: ignore[attr-defined]
    age_links(store, 2 * links.KEPT)
    store.collect(max_unused=0)
    for name, document in pushed:
        assert served.manifest(name, document.digest) == document  # type: ignore[attr-defined]
    assert problems(store) == []


# -- uploads that nobody goes on with


def test_uploads_expire(served: StoreContents, store: BlobStore) -> None:
    old, new = served.begin_upload("app"), served.begin_upload("app")
    with served.upload("app", old) as one:
        one.write(memoryview(BLOB))
    assert store.receiving.size() == len(BLOB)
    os.utime(store.receiving.folder / old, (1, 1))
    served.tend(3600)
    with refused("BLOB_UPLOAD_UNKNOWN"), served.upload("app", old):
        pass
    with served.upload("app", new):
        pass


def test_an_upload_that_somebody_has_does_not_expire(served: StoreContents, store: BlobStore) -> None:
    upload_id = served.begin_upload("app")
    with served.upload("app", upload_id) as one:
        os.utime(store.receiving.folder / upload_id, (1, 1))
        served.tend(3600)
        one.write(memoryview(BLOB))
        one.finish(digest_of(BLOB))


def test_expiry_looks_again_when_it_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = Receiving(tmp_path)
    path = tmp_path / "receiving" / receiving.begin("app")
    os.utime(path, (1, 1))
    real = receiving._remove

    def touched(path: Path, seconds: float) -> bool:
        receiving.open("app", path.name).close()  # somebody goes on with it just then
        return real(path, seconds)

    monkeypatch.setattr(receiving, "_remove", touched)
    assert receiving.expire(3600) == 0
    assert path.exists()


def test_a_clock_that_was_set_back_expires_them_too(tmp_path: Path) -> None:
    receiving = Receiving(tmp_path)
    path = tmp_path / "receiving" / receiving.begin("app")
    later = time.time() + 10 * 3600
    os.utime(path, (later, later))
    assert receiving.expire(3600) == 1
    assert not path.exists()


def test_there_are_only_so_many(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.store.receiving.MOST", 3)
    for _ in range(3):
        served.begin_upload("app")
    with refused("TOOMANYREQUESTS"):
        served.begin_upload("app")


def test_what_is_no_upload_is_left_alone(served: StoreContents, store: BlobStore) -> None:
    served.begin_upload("app")
    strange = {"0" * 32: b"", "1" * 32: b"{}".ljust(HEAD), "2" * 32: b'{"version": 2, "repository": "x"}'.ljust(HEAD),
               "3" * 32: b"[" * HEAD, "4" * 32: b"7".ljust(HEAD)}
    for name, data in strange.items():
        (store.receiving.folder / name).write_bytes(data)
        with refused("BLOB_UPLOAD_UNKNOWN"), served.upload("app", name):
            pass
    (store.receiving.folder / "note").write_text("x")
    served.tend(3600)
    assert (store.receiving.folder / "note").exists()


def test_what_is_pulled_counts_as_used(served: StoreContents, store: BlobStore) -> None:
    """For `gc --max-size`: noted when there is time for it, by manifest, however it was asked for."""
    first, second = image(served, "app", 1, "it"), image(served, "app", 2, "other")
    store.catalog.uses.note([first.digest, second.digest], 1000)
    before = store.catalog.uses.times()
    served.manifest("app", "it")
    served.manifest("app", str(first.digest))
    assert store.catalog.uses.times() == before
    served.tend(3600)
    times = store.catalog.uses.times()
    assert times[first.digest] > 1000 and times[second.digest] == 1000


def test_what_never_came_is_no_damage(served: StoreContents, store: BlobStore) -> None:
    """A manifest that was kept without a layer: until the layer has come, and is lost."""
    config = config_of(1, BLOB)
    upload(served, "app", config)
    document = manifest(config, [BLOB])
    served.put_manifest("app", document, ["it"])
    with lamina.open(store.path) as images:
        assert images.verify().problems == [] and images.repair(dry_run=True).lost == {}
    upload(served, "app", BLOB)
    served.put_manifest("app", document, ["it"])
    store.collect(max_unused=0)
    with store.catalog.transaction() as tx:
        tx.remove_blobs([str(digest_of(BLOB))])
    with lamina.open(store.path) as images:
        assert any(str(digest_of(BLOB)) in problem.digests for problem in images.verify().problems)
