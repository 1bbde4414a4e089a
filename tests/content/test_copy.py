"""copy_graph: what goes over, in which order, and what is said of the rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from contracts.samples import (
    AMD64,
    ARM64,
    config_bytes,
    describe,
    index_bytes,
    manifest_bytes,
    put,
    put_artifact,
    put_image,
)

from lamina.content import Reader
from lamina.content import graph as graph_module
from lamina.content.copy import CopyResult, copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader
from lamina.errors import DigestMismatch, InvalidContent, LimitExceeded, NotFound
from lamina.oci import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    parse_manifest,
)

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


class Source(MemoryTarget):
    """A source that can lose blobs, and counts what is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()
        self.opened: list[str] = []

    def fetch(self, descriptor: Descriptor) -> Reader:
        if descriptor.digest in self.lost:
            raise NotFound("no such blob", descriptor.digest)
        self.opened.append(descriptor.digest)
        return super().fetch(descriptor)


class Log:
    """An observer that remembers, and the order of pushes."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, descriptor: Descriptor) -> None:
        self.events.append(("started", descriptor.digest))

    def skipped(self, descriptor: Descriptor) -> None:
        self.events.append(("skipped", descriptor.digest))

    def done(self, descriptor: Descriptor) -> None:
        self.events.append(("done", descriptor.digest))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def target() -> MemoryTarget:
    return MemoryTarget()


def parts(source: Source, manifest: Descriptor) -> tuple[Descriptor, ...]:
    with_reader = source.fetch(manifest)
    buffer = memoryview(bytearray(manifest.size))
    assert with_reader.readinto(buffer) == manifest.size
    parsed = parse_manifest(bytes(buffer))
    return (parsed.config, *parsed.layers)


def platforms(source: Source) -> tuple[Descriptor, Descriptor, Descriptor]:
    """amd64, arm64, and their index."""
    amd = put_image(source, b"base", b"amd")
    arm = put_image(source, b"base", b"arm", platform=ARM64)
    return amd, arm, put(source, index_bytes([amd, arm]), OCI_INDEX)


def test_leaves_come_first(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    log = Log()
    result = copy_graph(source, target, root, observer=log, tag="name")
    order = [digest for event, digest in log.events if event == "done"]
    for manifest in (amd, arm):
        for blob in parts(source, manifest):
            assert order.index(blob.digest) < order.index(manifest.digest)
    assert order[-1] == root.digest
    assert target.resolve("name") == root
    assert result.manifests == [amd, arm]
    assert (result.pushed, result.skipped) == (8, 0)
    assert [log.events[number:number + 2] for number in range(0, 16, 2)] == [
        [("started", digest), ("done", digest)] for digest in order]


def test_what_the_target_has_is_not_read(source: Source, target: MemoryTarget) -> None:
    amd, _, root = platforms(source)
    copy_graph(source, target, amd)
    blobs = [blob.digest for blob in parts(source, amd)]
    source.opened.clear()
    log = Log()
    result = copy_graph(source, target, root, observer=log)
    assert not set(blobs) & set(source.opened)
    assert result.skipped == 4
    assert {digest for event, digest in log.events if event == "skipped"} == {*blobs, amd.digest}
    assert copy_graph(source, target, root).pushed == 0


def test_a_blob_that_only_the_target_has(source: Source, target: MemoryTarget) -> None:
    amd = put_image(source, b"layer")
    put(target, b"layer")
    source.lost.add(describe(b"layer").digest)
    assert copy_graph(source, target, amd).manifests == [amd]


def test_a_manifest_that_only_the_target_has(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    copy_graph(source, target, amd)
    source.lost.add(amd.digest)
    result = copy_graph(source, target, root)
    assert result.manifests == [amd, arm]
    assert not result.missing


def test_an_incomplete_copy_is_completed_later(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    source.lost.add(arm.digest)
    assert copy_graph(source, target, root).missing == [(arm, root)]
    source.lost.clear()
    assert copy_graph(source, target, root).manifests == [amd, arm]
    assert target.exists(arm)


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_below_an_index_what_is_missing_is_left_out(source: Source, target: MemoryTarget, which: str) -> None:
    amd, arm, root = platforms(source)
    config, _, layer = parts(source, arm)
    lost, parent = {"manifest": (arm, root), "config": (config, arm), "layer": (layer, arm)}[which]
    source.lost.add(lost.digest)
    result = copy_graph(source, target, root, tag="name")
    assert result.missing == [(lost, parent)]
    assert result.manifests == [amd]
    assert not any(target.exists(one) for one in (arm, config, layer))
    assert target.resolve("name") == root


def test_no_platform_whole(source: Source, target: MemoryTarget) -> None:
    amd, _, root = platforms(source)
    base = parts(source, amd)[1]
    source.lost.add(base.digest)
    with pytest.raises(NotFound) as caught:
        copy_graph(source, target, root, tag="name")
    assert base.digest in caught.value.what
    assert amd.digest in caught.value.where
    assert not target.exists(root)
    assert list(target.references()) == []


def test_an_attestation_is_no_platform(source: Source, target: MemoryTarget) -> None:
    amd = put_image(source, b"layer")
    statement = put_image(source, b"statement", platform=Platform("unknown", "unknown"))
    root = put(source, index_bytes([amd, statement]), OCI_INDEX)
    assert copy_graph(source, target, root).manifests == [amd, statement]
    source.lost.add(amd.digest)
    with pytest.raises(NotFound, match="is missing"):
        copy_graph(source, MemoryTarget(), root)


@pytest.mark.parametrize("number", [0, 1])
def test_a_root_manifest_must_be_whole(source: Source, target: MemoryTarget, number: int) -> None:
    amd = put_image(source, b"layer")
    blob = parts(source, amd)[number]
    source.lost.add(blob.digest)
    with pytest.raises(NotFound, match=f"blob {blob.digest} is missing, named by {amd.digest}"):
        copy_graph(source, target, amd)
    assert not any(target.exists(one) for one in (amd, *parts(source, amd)))


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX, "text/plain"])
def test_a_root_that_is_missing(source: Source, target: MemoryTarget, media_type: str) -> None:
    root = describe(b"{}", media_type)
    with pytest.raises(NotFound) as caught:
        copy_graph(source, target, root, tag="name")
    assert root.digest in str(caught.value)


def test_an_empty_index_is_whole(source: Source, target: MemoryTarget) -> None:
    root = put(source, index_bytes([]), OCI_INDEX)
    assert copy_graph(source, target, root).pushed == 1


# -- platforms


def test_one_platform(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    source.lost |= {amd.digest, parts(source, amd)[2].digest}
    result = copy_graph(source, target, root, platform=ARM64, tag="name")
    assert result.manifests == [arm]
    assert not result.missing
    assert target.exists(root)
    assert not target.exists(amd)
    assert target.resolve("name") == root


@pytest.mark.parametrize("number", [None, 0, 1, 2])
def test_the_platform_that_was_asked_for_must_be_whole(
    source: Source, target: MemoryTarget, number: int | None
) -> None:
    _, arm, root = platforms(source)
    lost = arm if number is None else parts(source, arm)[number]
    source.lost.add(lost.digest)
    with pytest.raises(NotFound) as caught:
        copy_graph(source, target, root, platform=ARM64)
    assert lost.digest in caught.value.what
    assert not target.exists(root)


def test_a_platform_that_is_not_there(source: Source, target: MemoryTarget) -> None:
    root = platforms(source)[2]
    with pytest.raises(NotFound, match="no manifest for platform linux/s390x"):
        copy_graph(source, target, root, platform=Platform("linux", "s390x"))


def test_a_wanted_platform_is_a_demand(source: Source, target: MemoryTarget) -> None:
    i386 = put_image(source, b"old", platform=Platform("linux", "386"))
    root = put(source, index_bytes([i386]), OCI_INDEX)
    with pytest.raises(NotFound):
        copy_graph(source, target, root, platform=AMD64)


def test_platform_of_a_nested_index(source: Source, target: MemoryTarget) -> None:
    amd, arm, inner = platforms(source)
    root = put(source, index_bytes([inner]), OCI_INDEX)
    assert copy_graph(source, target, root, platform=ARM64).manifests == [arm]
    assert all(target.exists(one) for one in (arm, inner, root))
    assert not target.exists(amd)


def test_platform_by_config(source: Source, target: MemoryTarget) -> None:
    amd, arm, _ = platforms(source)
    silent = [Descriptor(one.media_type, one.digest, one.size) for one in (amd, arm)]
    root = put(source, index_bytes(silent), OCI_INDEX)
    assert copy_graph(source, target, root, platform=ARM64).manifests == [silent[1]]
    assert copy_graph(source, MemoryTarget(), silent[0], platform=AMD64).manifests == [silent[0]]
    with pytest.raises(NotFound, match="no manifest for platform linux/arm64"):
        copy_graph(source, MemoryTarget(), silent[0], platform=ARM64)


def test_platform_by_config_passes_over_what_is_missing(source: Source, target: MemoryTarget) -> None:
    lost, arm = describe(b"lost", OCI_MANIFEST), put_image(source, b"arm", platform=ARM64)
    silent = Descriptor(arm.media_type, arm.digest, arm.size)
    root = put(source, index_bytes([lost, silent]), OCI_INDEX)
    assert copy_graph(source, target, root, platform=ARM64).manifests == [silent]


def test_an_attestation_is_not_taken_for_its_platform(source: Source, target: MemoryTarget) -> None:
    amd, statement = put_image(source, b"layer"), put_image(source, b"statement")
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    statement = Descriptor(statement.media_type, statement.digest, statement.size, AMD64, annotations=note)
    root = put(source, index_bytes([statement, amd]), OCI_INDEX)
    assert copy_graph(source, target, root, platform=AMD64).manifests == [amd]


def test_an_artifact_has_no_platform(source: Source, target: MemoryTarget) -> None:
    config = put(source, b"{}", OCI_EMPTY)
    artifact = put(source, manifest_bytes(config, [put(source, b"chart", "text/plain")]), OCI_MANIFEST)
    assert copy_graph(source, target, artifact).manifests == [artifact]
    with pytest.raises(NotFound, match="no manifest for platform"):
        copy_graph(source, target, artifact, platform=AMD64)


# -- other shapes


def test_nested_indexes(source: Source, target: MemoryTarget) -> None:
    amd, arm, inner = platforms(source)
    root = put(source, index_bytes([inner, amd]), OCI_INDEX)
    assert copy_graph(source, target, root).manifests == [amd, arm]
    assert target.exists(inner)


def test_a_nested_index_that_is_missing(source: Source, target: MemoryTarget) -> None:
    amd = put_image(source, b"layer")
    inner = describe(index_bytes([]), OCI_INDEX)
    root = put(source, index_bytes([inner, amd]), OCI_INDEX)
    assert copy_graph(source, target, root).missing == [(inner, root)]


def test_other_blobs_of_an_index(source: Source, target: MemoryTarget) -> None:
    note, lost = put(source, b"note", "text/plain"), describe(b"lost", "text/plain")
    root = put(source, index_bytes([put_image(source, b"layer"), note, lost]), OCI_INDEX)
    assert copy_graph(source, target, root).missing == [(lost, root)]
    assert target.exists(note)


@pytest.mark.parametrize("urls", [(), ("https://example.com/layer",)])
def test_foreign_layers(source: Source, target: MemoryTarget, urls: tuple[str, ...]) -> None:
    base = describe(b"windows", FOREIGN)
    foreign = Descriptor(base.media_type, base.digest, base.size, urls=urls)
    own = put(source, b"own")
    config = put(source, config_bytes([foreign, own]), OCI_CONFIG)
    root = put(source, manifest_bytes(config, [foreign, own]), OCI_MANIFEST)
    if not urls:
        with pytest.raises(NotFound):
            copy_graph(source, target, root)
        return
    result = copy_graph(source, target, root)
    assert result.foreign == [(foreign, root)]
    assert result.manifests == [root]
    put(source, b"windows", FOREIGN)
    assert copy_graph(source, target, root).foreign == []
    assert target.exists(foreign)


def test_a_layer_that_is_there_twice(source: Source, target: MemoryTarget) -> None:
    root = put_image(source, b"same", b"same")
    assert copy_graph(source, target, root).pushed == 3


def test_embedded_data_serves(source: Source, target: MemoryTarget) -> None:
    config = Descriptor(OCI_EMPTY, describe(b"{}").digest, 2, data=b"{}")
    root = put(source, manifest_bytes(config, []), OCI_MANIFEST)
    assert copy_graph(source, target, root).manifests == [root]
    assert target.exists(config)


def test_subjects_are_not_followed(source: Source, target: MemoryTarget) -> None:
    config = put(source, config_bytes([]), OCI_CONFIG)
    subject = describe(b"subject", OCI_MANIFEST)
    root = put(source, manifest_bytes(config, [], subject=subject.to_json()), OCI_MANIFEST)
    assert copy_graph(source, target, root).missing == []


# -- hostile input


class Liar(Source):
    """Gives other bytes for some blobs."""

    def __init__(self) -> None:
        super().__init__()
        self.lies: dict[str, bytes] = {}

    def fetch(self, descriptor: Descriptor) -> Reader:
        lie = self.lies.get(descriptor.digest)
        return super().fetch(descriptor) if lie is None else BytesReader(lie)


@pytest.mark.parametrize("part", ["root", "config", "layer"])
def test_other_bytes_are_refused(target: MemoryTarget, part: str) -> None:
    source = Liar()
    root = put_image(source, b"layer")
    config, layer = parts(source, root)
    wrong = {"root": root, "config": config, "layer": layer}[part]
    source.lies[wrong.digest] = b"\0" * wrong.size
    with pytest.raises(DigestMismatch):
        copy_graph(source, target, root)
    assert not target.exists(root)


def nest(source: Source, root: Descriptor, levels: int, times: int = 1) -> Descriptor:
    for level in range(levels):
        extra = put_image(source, b"level", level.to_bytes(2, "big"))
        root = put(source, index_bytes([*[root] * times, extra]), OCI_INDEX)
    return root


@pytest.mark.parametrize("platform", [None, AMD64])
def test_depth_of_indexes(source: Source, target: MemoryTarget, platform: Platform | None) -> None:
    amd = put_image(source, b"layer")
    deepest = nest(source, amd, graph_module.MAX_NESTING)
    assert amd in copy_graph(source, target, deepest, platform=platform).manifests
    with pytest.raises(LimitExceeded, match="nested too deep"):
        copy_graph(source, MemoryTarget(), nest(source, deepest, 1), platform=platform)


@pytest.mark.parametrize("platform", [None, Platform("linux", "s390x")])
def test_indexes_that_multiply_are_walked_once(
    source: Source, target: MemoryTarget, platform: Platform | None
) -> None:
    root = nest(source, put_image(source, b"layer"), graph_module.MAX_NESTING, times=1000)
    if platform is None:
        copy_graph(source, target, root)
    else:
        with pytest.raises(NotFound):
            copy_graph(source, target, root, platform=platform)
    assert len(source.opened) < 100


def test_number_of_nodes(source: Source, target: MemoryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    root = platforms(source)[2]
    monkeypatch.setattr(graph_module, "MAX_NODES", 8)
    copy_graph(source, target, root)
    monkeypatch.setattr(graph_module, "MAX_NODES", 7)
    with pytest.raises(LimitExceeded, match="too many parts"):
        copy_graph(source, MemoryTarget(), root)


def test_a_manifest_that_is_huge(source: Source, target: MemoryTarget) -> None:
    root = put(source, b"{" + b" " * (4 << 20) + b"}", OCI_MANIFEST)
    with pytest.raises(LimitExceeded, match="too large"):
        copy_graph(source, target, root)


def test_an_index_that_is_called_a_manifest(source: Source, target: MemoryTarget) -> None:
    data = index_bytes([put_image(source, b"layer")])
    with pytest.raises(InvalidContent, match="manifests stands in a manifest"):
        copy_graph(source, target, put(source, data, OCI_MANIFEST))


def test_schema_1(source: Source, target: MemoryTarget) -> None:
    old = put(source, b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    for root in (old, put(source, index_bytes([old]), OCI_INDEX)):
        with pytest.raises(InvalidContent, match="schema 1"):
            copy_graph(source, target, root)


# -- referrers


def said(result: CopyResult) -> list[str]:
    return [one.digest for one in result.referrers]


def test_referrers_are_left_where_nobody_asks(source: Source, target: MemoryTarget) -> None:
    amd = put_image(source, b"layer")
    artifact = put_artifact(source, amd, b"signature")
    assert said(copy_graph(source, target, amd)) == []
    assert not target.exists(artifact)


def test_referrers_of_an_index_and_of_what_is_in_it(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    of_root, of_arm = put_artifact(source, root, b"root"), put_artifact(source, arm, b"arm")
    above = put_artifact(source, of_arm, b"above")
    log = Log()
    result = copy_graph(source, target, root, referrers=True, observer=log)
    assert said(result) == [of_root.digest, of_arm.digest, above.digest]
    assert result.manifests == [amd, arm]
    assert all(target.exists(one) for one in (of_root, of_arm, above))
    order = [digest for event, digest in log.events if event == "done"]
    assert order.index(root.digest) < order.index(of_root.digest)
    again = copy_graph(source, target, root, referrers=True)
    assert (said(again), again.pushed) == (said(result), 0)


def test_referrers_of_other_platforms_stay(source: Source, target: MemoryTarget) -> None:
    amd, arm, root = platforms(source)
    of_amd, of_arm = put_artifact(source, amd, b"amd"), put_artifact(source, arm, b"arm")
    assert said(copy_graph(source, target, root, platform=ARM64, referrers=True)) == [of_arm.digest]
    assert not target.exists(of_amd)


def test_an_index_that_refers_comes_whole(source: Source, target: MemoryTarget) -> None:
    amd, other = put_image(source, b"layer"), put_image(source, b"other")
    index = put(source, index_bytes([other], subject=amd.to_json()), OCI_INDEX)
    result = copy_graph(source, target, amd, referrers=True)
    assert (said(result), result.manifests) == ([index.digest], [amd])
    assert target.exists(other)


def test_referrers_are_followed_so_far(source: Source, target: MemoryTarget) -> None:
    subject = put_image(source, b"layer")
    root, chain = subject, []
    for number in range(6):
        subject = put_artifact(source, subject, b"%d" % number)
        chain.append(subject.digest)
    assert said(copy_graph(source, target, root, referrers=True)) == chain[:4]


def test_a_referrer_that_is_not_whole_is_left_out(source: Source, target: MemoryTarget) -> None:
    amd = put_image(source, b"layer")
    artifact, whole = put_artifact(source, amd, b"lost"), put_artifact(source, amd, b"there")
    source.lost.add(describe(b"lost").digest)
    result = copy_graph(source, target, amd, referrers=True)
    assert said(result) == [whole.digest]
    assert [(lost.digest, parent.digest) for lost, parent in result.missing] == [(describe(b"lost").digest, artifact.digest)]
    assert not target.exists(artifact)


class Lying(Source):
    """A source that lists what it likes."""

    def __init__(self, *listed: Descriptor) -> None:
        super().__init__()
        self.listed: Iterable[Descriptor] = listed

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        return self.listed


def test_what_does_not_name_its_subject_is_no_referrer(target: MemoryTarget) -> None:
    source = Lying()
    amd, other = put_image(source, b"layer"), put_image(source, b"other")
    artifact = put_artifact(source, other, b"of another")
    blob = put(source, b"no manifest")
    source.listed = (artifact, other, amd, blob)
    assert said(copy_graph(source, target, amd, referrers=True)) == []
    assert not target.exists(artifact)


def test_a_list_without_end_is_left(target: MemoryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Lying()
    amd = put_image(source, b"layer")
    source.listed = (describe(b"%d" % number, OCI_MANIFEST) for number in itertools.count())
    monkeypatch.setattr(graph_module, "MAX_NODES", 50)
    with pytest.raises(LimitExceeded):
        copy_graph(source, target, amd, referrers=True, tag="name")
    with pytest.raises(NotFound):
        target.resolve("name")
