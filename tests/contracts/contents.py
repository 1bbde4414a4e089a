"""What everything that a registry serves must do.  An implementation plugs in with a subclass and its fixtures:

    class TestMemory(ContentsContract):
        @pytest.fixture
        def contents(self):
            return Memory()

The suite calls it as the server does: names, digests and tags are checked before, ranges are neither empty nor too long.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Sequence

import pytest

from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from lamina.registry.server.contents import Contents, Document, Stored
from lamina.registry.server.refusal import Refusal

RNG = random.Random(11)
SMALL, MIDDLE, LARGE = RNG.randbytes(300), RNG.randbytes(70_001), RNG.randbytes(6_000_007)
ALGORITHMS = ("sha256", "sha512")


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    return Digest.of(data, algorithm)


def upload(contents: Contents, repository: str, data: bytes, algorithm: str = "sha256", piece: int = 1 << 20) -> Digest:
    """Push a blob in pieces, over one request."""
    digest = digest_of(data, algorithm)
    with contents.upload(repository, contents.begin_upload(repository)) as one:
        for at in range(0, len(data), piece):
            one.write(memoryview(data)[at : at + piece])
        assert one.finish(digest) == Stored(digest, len(data))
    return digest


def read(contents: Contents, repository: str, digest: Digest, start: int = 0, stop: int | None = None) -> bytes:
    """A blob, or a part of it."""
    stop = contents.blob(repository, digest).size if stop is None else stop
    reader = contents.open_blob(repository, digest, start, stop)
    try:
        return bytes(read_all(reader, stop - start))
    finally:
        reader.close()


def described(data: bytes, media_type: str, algorithm: str = "sha256", **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest_of(data, algorithm)), "size": len(data), **more}


def manifest(config: bytes, layers: Sequence[bytes], algorithm: str = "sha256", *, named: str = "sha256",
             config_type: str = OCI_CONFIG, **more: object) -> Document:
    """A manifest of blobs that it names by `named`, itself named by `algorithm`."""
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(config, config_type, named),
                       "layers": [described(layer, OCI_LAYER, named) for layer in layers], **more}).encode()
    return Document(digest_of(data, algorithm), OCI_MANIFEST, data)


def index(manifests: Sequence[Document], algorithm: str = "sha256", **more: object) -> Document:
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": one.media_type, "digest": str(one.digest), "size": len(one.data)} for one in manifests], **more}).encode()
    return Document(digest_of(data, algorithm), OCI_INDEX, data)


def config_of(seed: int, *layers: bytes) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "author": str(seed),
                       "rootfs": {"type": "layers", "diff_ids": [str(digest_of(layer)) for layer in layers]}}).encode()


def image(contents: Contents, repository: str, seed: int, *tags: str) -> Document:
    """Push an image of one layer of its own."""
    layer = random.Random(seed).randbytes(2000)
    config = config_of(seed, layer)
    upload(contents, repository, layer)
    upload(contents, repository, config)
    document = manifest(config, [layer])
    contents.put_manifest(repository, document, tags)
    return document


class refused:
    """The block ends with this code."""

    def __init__(self, *codes: str) -> None:
        self._codes = codes

    def __enter__(self) -> None:
        self._raises = pytest.raises(Refusal)
        self._found = self._raises.__enter__()

    def __exit__(self, *error: object) -> bool:
        caught = bool(self._raises.__exit__(*error))  # type: ignore[arg-type]
        if not caught:
            return False
        assert self._found.value.code in self._codes, self._found.value.code
        return True


UNKNOWN = ("BLOB_UNKNOWN", "NAME_UNKNOWN")
NO_MANIFEST = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN")


def everything(_: str) -> bool:
    return True


class ContentsContract:
    """Subclasses give `contents`, empty, and `again`: how another process, or the next, sees the same."""

    sparse = True  # whether a manifest may name layers that are not there

    @pytest.fixture
    def contents(self) -> Contents:
        raise AssertionError("the subclass gives the contents")

    @pytest.fixture
    def again(self, contents: Contents) -> Callable[[], Contents]:
        return lambda: contents

    # -- uploads

    @pytest.mark.parametrize("algorithm", [*ALGORITHMS, "sha384"])
    @pytest.mark.parametrize("data", [b"", b"x", SMALL, MIDDLE], ids=len)
    def test_a_blob_comes_back_by_the_digest_that_it_was_given(self, contents: Contents, data: bytes, algorithm: str) -> None:
        digest = upload(contents, "one/app", data, algorithm)
        assert contents.blob("one/app", digest) == Stored(digest, len(data))
        if data:
            assert read(contents, "one/app", digest) == data

    @pytest.mark.parametrize("piece", [1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1])
    def test_writes_of_any_size(self, contents: Contents, piece: int) -> None:
        data = LARGE[: min(len(LARGE), piece * 3000)]
        assert read(contents, "app", upload(contents, "app", data, piece=piece)) == data

    def test_a_buffer_is_the_callers_again(self, contents: Contents) -> None:
        buffer, digest = bytearray(1 << 20), Digest.of(bytes(6 << 20))
        with contents.upload("app", contents.begin_upload("app")) as one:
            for _ in range(6):
                one.write(memoryview(buffer))
                buffer[:] = b"\xff" * len(buffer)
                buffer[:] = bytes(len(buffer))
            one.finish(digest)
        assert read(contents, "app", digest) == bytes(6 << 20)

    def test_request_after_request(self, contents: Contents, again: Callable[[], Contents]) -> None:
        """Whoever goes on, and wherever it was broken off: also between requests of two processes in turns."""
        both = contents, again()
        upload_id = contents.begin_upload("app")
        assert upload_id.isalnum() and set(upload_id) <= set(string.ascii_letters + string.digits)
        at = 0
        for turn, size in enumerate([0, 1, 4094, 1, 5000, 1 << 20, 4 << 20, 3, 0]):
            with both[turn % 2].upload("app", upload_id) as one:
                assert one.offset == at
                if size:
                    one.write(memoryview(LARGE)[at : at + size])
                at += size
                assert one.offset == at
        with both[1].upload("app", upload_id) as one:
            one.write(memoryview(LARGE)[at:])
            one.finish(digest_of(LARGE))
        for each in both:
            assert read(each, "app", digest_of(LARGE)) == LARGE
            with refused("BLOB_UPLOAD_UNKNOWN"), each.upload("app", upload_id):
                pass

    @pytest.mark.parametrize("size", [0, 5, 5_000_000])
    def test_what_has_arrived_stays_when_a_request_fails(self, contents: Contents, size: int) -> None:
        upload_id = contents.begin_upload("app")
        with pytest.raises(KeyError), contents.upload("app", upload_id) as one:
            if size:
                one.write(memoryview(LARGE)[:size])
            raise KeyError
        with contents.upload("app", upload_id) as one:
            assert one.offset == size
            one.write(memoryview(LARGE)[size:])
            assert one.finish(digest_of(LARGE)).size == len(LARGE)

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=len)
    def test_a_wrong_digest_ends_it(self, contents: Contents, data: bytes) -> None:
        upload_id = contents.begin_upload("app")
        with contents.upload("app", upload_id) as one:
            one.write(memoryview(data))
            with refused("DIGEST_INVALID"):
                one.finish(digest_of(b"something else"))
        with refused("BLOB_UPLOAD_UNKNOWN"), contents.upload("app", upload_id):
            pass
        for digest in (digest_of(data), digest_of(b"something else")):
            with refused(*UNKNOWN):
                contents.blob("app", digest)

    @pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=len)
    def test_cancel(self, contents: Contents, data: bytes) -> None:
        upload_id = contents.begin_upload("app")
        with contents.upload("app", upload_id) as one:
            if data:
                one.write(memoryview(data))
            one.cancel()
        with refused("BLOB_UPLOAD_UNKNOWN"), contents.upload("app", upload_id):
            pass
        with refused(*UNKNOWN):
            contents.blob("app", digest_of(data))

    def test_one_request_at_a_time(self, contents: Contents, again: Callable[[], Contents]) -> None:
        upload_id = contents.begin_upload("app")
        with contents.upload("app", upload_id):
            for each in (contents, again()):
                with refused("TOOMANYREQUESTS"), each.upload("app", upload_id):
                    pass
        with contents.upload("app", upload_id):
            pass

    @pytest.mark.parametrize("upload_id", ["0" * 32, "x", "A-_", "0" * 128, "f" * 31])
    def test_unknown_uploads(self, contents: Contents, upload_id: str) -> None:
        contents.begin_upload("app")
        with refused("BLOB_UPLOAD_UNKNOWN"), contents.upload("app", upload_id):
            pass

    def test_an_upload_is_its_repositorys(self, contents: Contents) -> None:
        upload_id = contents.begin_upload("app")
        with refused("BLOB_UPLOAD_UNKNOWN"), contents.upload("other", upload_id):
            pass

    def test_ids_do_not_repeat(self, contents: Contents) -> None:
        assert len({contents.begin_upload("app") for _ in range(20)}) == 20

    def test_one_blob_twice_and_at_once(self, contents: Contents) -> None:
        ids = [contents.begin_upload("app") for _ in range(2)]
        with contents.upload("app", ids[0]) as first, contents.upload("app", ids[1]) as second:
            for at in range(0, len(LARGE), 1 << 20):
                for one in (first, second):
                    one.write(memoryview(LARGE)[at : at + (1 << 20)])
            assert first.finish(digest_of(LARGE)) == second.finish(digest_of(LARGE))
        upload(contents, "app", LARGE)
        assert read(contents, "app", digest_of(LARGE)) == LARGE

    # -- blobs

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize("data", [b"z", MIDDLE, LARGE], ids=len)
    def test_ranges(self, contents: Contents, data: bytes, algorithm: str) -> None:
        digest, size, rng = upload(contents, "app", data, algorithm), len(data), random.Random(len(data))
        ranges = {(0, 1), (size - 1, size), (0, size), (size // 2, size), (0, size - size // 2)}
        ranges |= {tuple(sorted(rng.sample(range(size + 1), 2))) for _ in range(8) if size > 1}  # type: ignore[misc]
        for start, stop in sorted(ranges):
            assert read(contents, "app", digest, start, stop) == data[start:stop], (start, stop)

    def test_what_nobody_pushed_is_not_there(self, contents: Contents) -> None:
        digest = upload(contents, "app", SMALL)
        other = digest_of(b"other")
        for repository, what in (("app", other), ("other", digest), ("app", digest_of(SMALL, "sha384"))):
            for call in (contents.blob, contents.delete_blob, lambda r, d: contents.open_blob(r, d, 0, 1)):
                with refused(*UNKNOWN):
                    call(repository, what)

    def test_delete_blob(self, contents: Contents) -> None:
        digest = upload(contents, "app", SMALL)
        upload(contents, "other", SMALL)
        contents.delete_blob("app", digest)
        with refused(*UNKNOWN):
            contents.blob("app", digest)
        with refused(*UNKNOWN):
            contents.delete_blob("app", digest)
        assert read(contents, "other", digest) == SMALL
        upload(contents, "app", SMALL)
        assert read(contents, "app", digest) == SMALL

    def test_reading_goes_on_when_the_blob_is_deleted(self, contents: Contents) -> None:
        digest = upload(contents, "app", LARGE)
        reader = contents.open_blob("app", digest, 0, len(LARGE))
        contents.delete_blob("app", digest)
        assert bytes(read_all(reader, len(LARGE))) == LARGE
        reader.close()

    # -- mounts

    def test_mount(self, contents: Contents) -> None:
        digest = upload(contents, "from", SMALL)
        assert contents.mount("to", digest, "from", everything) == Stored(digest, len(SMALL))
        assert read(contents, "to", digest) == SMALL
        contents.delete_blob("from", digest)
        assert read(contents, "to", digest) == SMALL

    def test_mount_without_source(self, contents: Contents) -> None:
        digest = upload(contents, "from", SMALL)
        upload(contents, "secret", SMALL)
        asked = []
        assert contents.mount("to", digest, None, lambda name: asked.append(name) or name == "from") is not None  # type: ignore[func-returns-value]
        assert set(asked) <= {"from", "secret", "to"}
        assert read(contents, "to", digest) == SMALL

    def test_mount_without_right(self, contents: Contents) -> None:
        """The right to a source that is named is the caller's to check."""
        digest = upload(contents, "from", SMALL)
        assert contents.mount("to", digest, None, lambda name: name != "from") is None
        with refused(*UNKNOWN):
            contents.blob("to", digest)

    @pytest.mark.parametrize("source", ["other", "never", None])
    def test_nothing_to_mount(self, contents: Contents, source: str | None) -> None:
        upload(contents, "other", MIDDLE)
        assert contents.mount("to", digest_of(SMALL), source, everything) is None
        with refused(*UNKNOWN):
            contents.blob("to", digest_of(SMALL))

    def test_mount_from_one_that_has_it_not(self, contents: Contents) -> None:
        digest = upload(contents, "from", SMALL)
        upload(contents, "other", MIDDLE)
        assert contents.mount("to", digest, "other", everything) is None

    # -- manifests

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_manifest_by_tag_and_digest(self, contents: Contents, algorithm: str) -> None:
        config = config_of(1, SMALL)
        for blob in (SMALL, config):
            upload(contents, "app", blob, algorithm)
        document = manifest(config, [SMALL], algorithm, named=algorithm)
        contents.put_manifest("app", document, ["a", "b"])
        for reference in ("a", "b", document.digest):
            assert contents.manifest("app", reference) == document
        assert contents.blob("app", digest_of(config, algorithm)) == Stored(digest_of(config, algorithm), len(config))
        assert read(contents, "app", digest_of(config, algorithm)) == config
        assert read(contents, "app", digest_of(SMALL, algorithm)) == SMALL

    def test_two_digests_of_one_manifest(self, contents: Contents) -> None:
        upload(contents, "app", b"{}")
        one, two = (manifest(b"{}", [], algorithm, config_type=OCI_EMPTY) for algorithm in ALGORITHMS)
        contents.put_manifest("app", one, ["one"])
        contents.put_manifest("app", two, ["two"])
        for reference, document in (("one", one), ("two", two), (one.digest, one), (two.digest, two)):
            assert contents.manifest("app", reference) == document

    def test_a_tag_moves(self, contents: Contents) -> None:
        first, second = image(contents, "app", 1, "it"), image(contents, "app", 2, "it", "new")
        assert contents.manifest("app", "it") == second
        assert contents.manifest("app", first.digest) == first
        assert contents.tags("app", "", 10) == ["it", "new"]

    def test_putting_again_changes_nothing(self, contents: Contents) -> None:
        document = image(contents, "app", 1, "it")
        contents.put_manifest("app", document, ["it"])
        contents.put_manifest("app", document, [])
        assert contents.manifest("app", "it") == document
        assert contents.tags("app", "", 10) == ["it"]

    def test_unknown_manifests(self, contents: Contents) -> None:
        document = image(contents, "app", 1, "it")
        blob = upload(contents, "app", MIDDLE)
        for repository, reference in (("app", "other"), ("app", digest_of(b"x")), ("app", blob), ("other", document.digest),
                                      ("other", "it")):
            with refused(*NO_MANIFEST):
                contents.manifest(repository, reference)

    @pytest.mark.parametrize("media_type", ["application/vnd.example.thing+json", "application/json"])
    @pytest.mark.parametrize("pushed_before", [False, True])
    def test_unknown_media_types_are_kept(self, contents: Contents, media_type: str, pushed_before: bool) -> None:
        data = b'{"some": "thing"}'
        if pushed_before:  # the same bytes, as a blob
            upload(contents, "app", data)
        document = Document(digest_of(data), media_type, data)
        contents.put_manifest("app", document, ["it"])
        for reference in ("it", document.digest):
            assert contents.manifest("app", reference) == document

    def test_a_media_type_is_its_repositorys(self, contents: Contents) -> None:
        data = b'{"some": "thing"}'
        first, second = (Document(digest_of(data), f"application/x.{kind}+json", data) for kind in "ab")
        contents.put_manifest("one", first, ["it"])
        contents.put_manifest("two", second, ["it"])
        assert (contents.manifest("one", "it"), contents.manifest("two", "it")) == (first, second)
        assert (contents.manifest("one", first.digest), contents.manifest("two", first.digest)) == (first, second)

    @pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST])
    def test_config_must_be_there(self, contents: Contents, media_type: str) -> None:
        upload(contents, "app", SMALL)
        data = json.dumps({"schemaVersion": 2, "config": described(b"{}", OCI_EMPTY),
                           "layers": [described(SMALL, OCI_LAYER)]}).encode()
        with refused("MANIFEST_BLOB_UNKNOWN"):
            contents.put_manifest("app", Document(digest_of(data), media_type, data), ["it"])
        with refused(*NO_MANIFEST):
            contents.manifest("app", "it")

    def test_sparse_images(self, contents: Contents) -> None:
        config = config_of(1, SMALL, MIDDLE)
        for blob in (config, SMALL):
            upload(contents, "app", blob)
        document = manifest(config, [SMALL, MIDDLE])
        if not self.sparse:
            with refused("MANIFEST_BLOB_UNKNOWN"):
                contents.put_manifest("app", document, ["it"])
            return
        contents.put_manifest("app", document, ["it"])
        assert contents.manifest("app", "it") == document
        with refused(*UNKNOWN):
            contents.blob("app", digest_of(MIDDLE))
        upload(contents, "app", MIDDLE)
        assert read(contents, "app", digest_of(MIDDLE)) == MIDDLE

    def test_layers_that_lie_elsewhere(self, contents: Contents) -> None:
        upload(contents, "app", b"{}")
        far = described(MIDDLE, "application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["https://elsewhere.example/x"])
        data = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(b"{}", OCI_EMPTY),
                           "layers": [far]}).encode()
        document = Document(digest_of(data), OCI_MANIFEST, data)
        contents.put_manifest("app", document, ["it"])
        assert contents.manifest("app", "it") == document

    @pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
    def test_indexes_whole_nested_and_sparse(self, contents: Contents, media_type: str) -> None:
        one = image(contents, "app", 1)
        missing = manifest(b"{}", [])
        inner = index([one])
        contents.put_manifest("app", inner, [])
        outer = index([inner, missing])
        data = outer.data.replace(OCI_INDEX.encode(), media_type.encode(), 1)
        outer = Document(digest_of(data), media_type, data)
        contents.put_manifest("app", outer, ["all"])
        assert contents.manifest("app", "all") == outer
        assert contents.manifest("app", one.digest) == one
        with refused(*NO_MANIFEST):
            contents.manifest("app", missing.digest)

    def test_delete_manifest_takes_its_tags(self, contents: Contents) -> None:
        one, two = image(contents, "app", 1, "a", "b"), image(contents, "app", 2, "c")
        contents.delete_manifest("app", one.digest)
        assert contents.tags("app", "", 10) == ["c"]
        for reference in ("a", "b", one.digest):
            with refused(*NO_MANIFEST):
                contents.manifest("app", reference)
        with refused(*NO_MANIFEST):
            contents.delete_manifest("app", one.digest)
        assert contents.manifest("app", "c") == two
        contents.put_manifest("app", one, ["a"])
        assert contents.manifest("app", one.digest) == one

    def test_delete_of_a_manifest_in_an_index(self, contents: Contents) -> None:
        """It is gone, as far as anybody can ask for it; the index stays."""
        one = image(contents, "app", 1, "one")
        every = index([one])
        contents.put_manifest("app", every, ["all"])
        contents.delete_manifest("app", one.digest)
        with refused(*NO_MANIFEST):
            contents.manifest("app", one.digest)
        assert contents.manifest("app", "all") == every
        with refused(*NO_MANIFEST):
            contents.delete_manifest("app", one.digest)
        contents.put_manifest("app", one, [])
        assert contents.manifest("app", one.digest) == one

    def test_delete_tag(self, contents: Contents) -> None:
        document = image(contents, "app", 1, "a", "b")
        contents.delete_tag("app", "a")
        assert contents.tags("app", "", 10) == ["b"]
        assert contents.manifest("app", document.digest) == document
        contents.delete_tag("app", "b")
        assert contents.tags("app", "", 10) == []
        assert contents.manifest("app", document.digest) == document
        for repository, tag in (("app", "a"), ("other", "b")):
            with refused(*NO_MANIFEST):
                contents.delete_tag(repository, tag)

    def test_deletion_is_of_one_repository(self, contents: Contents) -> None:
        document = image(contents, "app", 1, "it")
        image(contents, "app/it", 1, "it")
        image(contents, "apple", 1, "it")
        contents.delete_manifest("app", document.digest)
        for name in ("app/it", "apple"):
            assert contents.manifest(name, "it") == document
            assert contents.tags(name, "", 10) == ["it"]

    # -- lists

    def test_tags_in_pages(self, contents: Contents) -> None:
        document = image(contents, "app", 1)
        tags = ["0", "Z", "_x", "a", "a-1", "a.1", "b", "latest"]
        contents.put_manifest("app", document, tags)
        assert contents.tags("app", "", 100) == tags
        for count in range(4):
            assert contents.tags("app", "", count) == tags[:count]
        assert contents.tags("app", "a", 2) == ["a-1", "a.1"]
        assert contents.tags("app", "aa", 1) == ["b"]
        assert contents.tags("app", "latest", 5) == []
        with refused("NAME_UNKNOWN"):
            contents.tags("other", "", 5)

    def test_a_repository_of_blobs_alone_has_no_tags(self, contents: Contents) -> None:
        upload(contents, "app", SMALL)
        assert contents.tags("app", "", 5) == []
        assert contents.repositories("", 5) == []

    def test_repositories_in_pages(self, contents: Contents) -> None:
        names = ["a", "a-b", "a/b", "b.c/d", "quay.io/x"]
        for name in names:
            image(contents, name, 1, "it")
        assert contents.repositories("", 100) == names
        for count in range(4):
            assert contents.repositories("", count) == names[:count]
        assert contents.repositories("a", 2) == ["a-b", "a/b"]
        assert contents.repositories("a/", 1) == ["a/b"]
        assert contents.repositories("zzz", 5) == []
        contents.delete_manifest("a-b", contents.manifest("a-b", "it").digest)
        assert contents.repositories("", 100) == [name for name in names if name != "a-b"]

    # -- referrers

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    @pytest.mark.parametrize("subject_there", [False, True])
    def test_referrers(self, contents: Contents, subject_there: bool, algorithm: str) -> None:
        upload(contents, "app", b"{}")
        subject = manifest(b"{}", [], algorithm, config_type=OCI_EMPTY, annotations={"is": "the subject"})
        if subject_there:
            contents.put_manifest("app", subject, ["it"])
        names = {"mediaType": OCI_MANIFEST, "digest": str(subject.digest), "size": len(subject.data)}
        one = manifest(b"{}", [], config_type=OCI_EMPTY, artifactType="application/x.a", subject=names, annotations={"k": "v"})
        two = manifest(b"{}", [], config_type="application/x.config", subject=names)
        three = index([], artifactType="application/x.b", subject=names)
        for document in (one, two, three):
            contents.put_manifest("app", document, [])
        found = {each.digest: each for each in contents.referrers("app", subject.digest)}
        assert {each: found[each].artifact_type for each in found} == {
            one.digest: "application/x.a", two.digest: "application/x.config", three.digest: "application/x.b"}
        assert found[one.digest].annotations == {"k": "v"}
        assert {(each.media_type, each.size) for each in found.values()} == {
            (each.media_type, len(each.data)) for each in (one, two, three)}
        contents.delete_manifest("app", one.digest)
        assert {each.digest for each in contents.referrers("app", subject.digest)} == {two.digest, three.digest}
        assert list(contents.referrers("app", two.digest)) == []

    def test_referrers_are_their_repositorys(self, contents: Contents) -> None:
        upload(contents, "app", b"{}")
        upload(contents, "other", b"{}")
        subject = manifest(b"{}", [], config_type=OCI_EMPTY)
        contents.put_manifest("app", subject, ["it"])
        names = {"mediaType": OCI_MANIFEST, "digest": str(subject.digest), "size": len(subject.data)}
        contents.put_manifest("other", manifest(b"{}", [], config_type=OCI_EMPTY, subject=names), [])
        assert list(contents.referrers("app", subject.digest)) == []
        assert len(list(contents.referrers("other", subject.digest))) == 1
