"""What every target must do.  An implementation plugs in with a subclass and its `target` fixture:

    class TestMemoryTarget(TargetContract):
        @pytest.fixture
        def target(self):
            return MemoryTarget()
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from contracts.samples import (
    DrippingReader,
    EndlessReader,
    FailingReader,
    config_bytes,
    describe,
    index_bytes,
    manifest_bytes,
    put,
    put_artifact,
    put_image,
)

from lamina.content import Reader, Target
from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.referrers import referrers_of
from lamina.content.verify import BytesReader, VerifyingReader, read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, LaminaError, NotFound, SizeMismatch
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor

DATA = random.Random(1).randbytes(300_007)


def content(target: Target, descriptor: Descriptor) -> bytes:
    """What the target gives back, verified."""
    with VerifyingReader(target.fetch(descriptor), descriptor) as reader:
        return read_all(reader, descriptor.size)


def assert_absent(target: Target, descriptor: Descriptor) -> None:
    """The target knows nothing of it."""
    assert not target.exists(descriptor)
    with pytest.raises(NotFound):
        target.fetch(descriptor)


class TargetContract:
    """Subclasses give the fixture `target`: a fresh, empty target."""

    # Two names that the target takes for tags.
    names = ("docker.io/library/one:1", "docker.io/library/two:latest")
    # Whether a manifest may be pushed before what it names; where not, it is refused with a LaminaError.
    manifest_before_blobs = True

    @pytest.fixture
    def target(self) -> Target:
        raise AssertionError("the subclass gives the target")

    # -- blobs

    @pytest.mark.parametrize("size", [0, 1, 511, 65_536, 300_007])
    def test_gives_back_what_was_pushed(self, target: Target, size: int) -> None:
        blob = put(target, DATA[:size])
        assert target.exists(blob)
        assert content(target, blob) == DATA[:size]

    @pytest.mark.parametrize("reader", [DrippingReader, lambda data: DrippingReader(data, 1)])
    def test_takes_short_reads(self, target: Target, reader: Callable[[bytes], Reader]) -> None:
        blob = describe(DATA[:5000])
        target.push(blob, reader(DATA[:5000]))
        assert content(target, blob) == DATA[:5000]

    @pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
    def test_other_digest_algorithms(self, target: Target, algorithm: str) -> None:
        blob = describe(DATA, algorithm=algorithm)
        target.push(blob, BytesReader(DATA))
        assert target.exists(blob)
        assert content(target, blob) == DATA

    def test_other_algorithm_is_verified_too(self, target: Target) -> None:
        blob = describe(DATA, algorithm="sha512")
        with pytest.raises(DigestMismatch):
            target.push(blob, BytesReader(DATA[::-1]))
        assert_absent(target, blob)

    def test_what_was_not_pushed_is_not_there(self, target: Target) -> None:
        put(target, DATA)
        assert_absent(target, describe(b"something else"))

    def test_size_is_part_of_the_question(self, target: Target) -> None:
        blob = put(target, DATA)
        assert not target.exists(Descriptor(blob.media_type, blob.digest, blob.size + 1))

    def test_pushing_again_changes_nothing(self, target: Target) -> None:
        blob = put(target, DATA)
        assert put(target, DATA) == blob
        assert content(target, blob) == DATA

    def test_several_readers_of_one_blob(self, target: Target) -> None:
        blob = put(target, DATA)
        first, second = target.fetch(blob), target.fetch(blob)
        buffer = memoryview(bytearray(1000))
        count = first.readinto(buffer)
        assert bytes(buffer[:count]) == DATA[:count]
        assert read_all(second, len(DATA)) == DATA
        assert bytes(buffer[:count]) + read_all(first, len(DATA)) == DATA
        for reader in (first, second, first):
            reader.close()

    def test_a_reader_may_be_closed_early(self, target: Target) -> None:
        blob = put(target, DATA)
        reader = target.fetch(blob)
        assert reader.readinto(memoryview(bytearray(10))) > 0
        reader.close()
        reader.close()
        assert content(target, blob) == DATA

    # -- what does not verify

    @pytest.mark.parametrize("reader", [BytesReader, DrippingReader])
    @pytest.mark.parametrize("given", [DATA[:-1], DATA + b"\0", b"", DATA * 2], ids=["-1", "+1", "0", "x2"])
    def test_wrong_size(self, target: Target, reader: Callable[[bytes], Reader], given: bytes) -> None:
        blob = describe(DATA)
        with pytest.raises(SizeMismatch):
            target.push(blob, reader(given))
        assert_absent(target, blob)

    @pytest.mark.parametrize("reader", [BytesReader, DrippingReader])
    def test_wrong_digest(self, target: Target, reader: Callable[[bytes], Reader]) -> None:
        blob = describe(DATA)
        with pytest.raises(DigestMismatch):
            target.push(blob, reader(DATA[:-1] + bytes([DATA[-1] ^ 1])))
        assert_absent(target, blob)

    def test_wrong_bytes_for_an_empty_blob(self, target: Target) -> None:
        with pytest.raises(DigestMismatch):
            target.push(Descriptor("text/plain", Digest.of(b"x"), 0), BytesReader(b""))
        assert_absent(target, Descriptor("text/plain", Digest.of(b"x"), 0))

    def test_a_stream_without_end_is_left(self, target: Target) -> None:
        reader = EndlessReader()
        with pytest.raises(SizeMismatch):
            target.push(describe(DATA), reader)
        assert reader.given < 64 << 20

    def test_a_reader_that_raises_leaves_nothing(self, target: Target) -> None:
        blob = describe(DATA)
        with pytest.raises(OSError, match="the cable was pulled"):
            target.push(blob, FailingReader(DATA))
        assert_absent(target, blob)
        target.push(blob, BytesReader(DATA))
        assert content(target, blob) == DATA

    def test_a_failed_push_does_not_harm_what_is_there(self, target: Target) -> None:
        blob = put(target, DATA)
        for reader in (BytesReader(DATA[::-1]), FailingReader(DATA)):
            try:
                target.push(blob, reader)
            except (DigestMismatch, OSError):
                assert target.exists(blob)
        assert content(target, blob) == DATA

    # -- several threads

    def test_concurrent_pushes_of_one_blob(self, target: Target) -> None:
        with ThreadPoolExecutor(4) as pool:
            blobs = list(pool.map(lambda _: put(target, DATA), range(8)))
        assert set(blobs) == {describe(DATA)}
        assert content(target, blobs[0]) == DATA

    def test_concurrent_pushes_of_many_blobs(self, target: Target) -> None:
        every = [DATA[number:] for number in range(12)]
        with ThreadPoolExecutor(4) as pool:
            blobs = list(pool.map(lambda data: put(target, data), every))
        assert [content(target, blob) for blob in blobs] == every

    # -- manifests and names

    def test_manifest_before_its_blobs(self, target: Target) -> None:
        config = describe(config_bytes([]), OCI_CONFIG)
        data = manifest_bytes(config, [describe(DATA)])
        manifest = describe(data, OCI_MANIFEST)
        if self.manifest_before_blobs:
            put(target, data, OCI_MANIFEST)
            assert content(target, manifest) == data
        else:
            with pytest.raises(LaminaError):
                put(target, data, OCI_MANIFEST)
            assert_absent(target, manifest)

    def test_index_may_name_what_is_not_there(self, target: Target) -> None:
        here, elsewhere = put_image(target, b"here"), describe(b"elsewhere", OCI_MANIFEST)
        data = index_bytes([here, elsewhere])
        index = put(target, data, OCI_INDEX)
        assert content(target, index) == data
        target.tag(index, self.names[0])
        assert target.resolve(self.names[0]).digest == index.digest

    def test_no_names_at_first(self, target: Target) -> None:
        assert list(target.references()) == []
        with pytest.raises(NotFound):
            target.resolve(self.names[0])

    def test_a_tag_leads_to_its_manifest(self, target: Target) -> None:
        manifest = put_image(target, b"layer")
        target.tag(manifest, self.names[0])
        found = target.resolve(self.names[0])
        assert (found.media_type, found.digest, found.size) == (OCI_MANIFEST, manifest.digest, manifest.size)
        with pytest.raises(NotFound):
            target.resolve(self.names[1])

    def test_a_digest_leads_to_its_manifest(self, target: Target) -> None:
        manifest = put_image(target, b"layer")
        target.tag(manifest, self.names[0])
        assert target.resolve(manifest.digest).digest == manifest.digest
        with pytest.raises(NotFound):
            target.resolve(Digest.of(b"nothing"))

    def test_a_tag_can_be_moved(self, target: Target) -> None:
        one, two = put_image(target, b"one"), put_image(target, b"two")
        for manifest in (one, two):
            target.tag(manifest, self.names[0])
            target.tag(manifest, self.names[0])
            assert target.resolve(self.names[0]).digest == manifest.digest
        assert [(name, found.digest) for name, found in target.references()] == [(self.names[0], two.digest)]

    def test_several_tags(self, target: Target) -> None:
        one, two = put_image(target, b"one"), put_image(target, b"two")
        target.tag(one, self.names[0])
        target.tag(two, self.names[1])
        assert {name: found.digest for name, found in target.references()} == {
            self.names[0]: one.digest, self.names[1]: two.digest}

    def test_what_is_not_there_cannot_be_tagged(self, target: Target) -> None:
        with pytest.raises(NotFound):
            target.tag(describe(b"{}", OCI_MANIFEST), self.names[0])
        assert list(target.references()) == []

    def test_a_graph_goes_in_and_out(self, target: Target) -> None:
        source, copy = MemoryTarget(), MemoryTarget()
        images = [put_image(source, b"base", number.to_bytes(2, "big")) for number in range(3)]
        root = put(source, index_bytes(images), OCI_INDEX)
        copy_graph(source, target, root, tag=self.names[0])
        result = copy_graph(target, copy, target.resolve(self.names[0]))
        assert [one.digest for one in result.manifests] == [one.digest for one in images]
        assert content(copy, root) == content(source, root)
        # The base, and of each image a layer, a config and a manifest; the index.
        assert result.pushed == 1 + 3 * 3 + 1

    # -- referrers

    def test_nothing_refers_to_what_stands_alone(self, target: Target) -> None:
        image = put_image(target, b"layer")
        assert list(referrers_of(target, image)) == []
        assert list(referrers_of(target, describe(b"{}", OCI_MANIFEST))) == []

    def test_referrers_are_found_by_their_subject(self, target: Target) -> None:
        image, other = put_image(target, b"layer"), put_image(target, b"other")
        one, two = (put_artifact(target, image, text, artifactType="text/x") for text in (b"one", b"two"))
        put_artifact(target, other, b"three")
        found = list(referrers_of(target, image))
        assert {each.digest for each in found} == {one.digest, two.digest}
        assert {(each.media_type, each.artifact_type) for each in found} == {(OCI_MANIFEST, "text/x")}
        assert {each.size for each in found} == {one.size, two.size}
        assert list(referrers_of(target, one)) == []

    def test_a_referrer_may_come_before_its_subject(self, target: Target) -> None:
        source = MemoryTarget()
        image = put_image(source, b"layer")
        artifact = put_artifact(target, image, b"signature")
        copy_graph(source, target, image)
        assert [each.digest for each in referrers_of(target, image)] == [artifact.digest]

    def test_an_index_may_refer_and_be_referred_to(self, target: Target) -> None:
        image = put_image(target, b"layer")
        index = put(target, index_bytes([image]), OCI_INDEX)
        artifact = put_artifact(target, index, b"signature")
        more = put(target, index_bytes([artifact], subject=image.to_json()), OCI_INDEX)
        assert [each.digest for each in referrers_of(target, index)] == [artifact.digest]
        assert [(each.digest, each.media_type) for each in referrers_of(target, image)] == [(more.digest, OCI_INDEX)]

    def test_referrers_go_along(self, target: Target) -> None:
        source, copy = MemoryTarget(), MemoryTarget()
        image = put_image(source, b"layer")
        artifact = put_artifact(source, image, b"statement")
        above = put_artifact(source, artifact, b"signature of the statement")
        result = copy_graph(source, target, image, tag=self.names[0], referrers=True)
        assert [each.digest for each in result.referrers] == [artifact.digest, above.digest]
        again = copy_graph(target, copy, target.resolve(self.names[0]), referrers=True)
        assert [each.digest for each in again.referrers] == [artifact.digest, above.digest]
        assert content(copy, artifact) == content(source, artifact)
        assert content(copy, above) == content(source, above)
