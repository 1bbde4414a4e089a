"""Descriptors, manifests and indexes, good and hostile."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.digest import Digest
from lamina.errors import InvalidContent, LimitExceeded, UsageError
from lamina.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_LAYERS,
    MAX_MANIFESTS,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    children,
    is_attestation,
    is_image,
    make_manifest,
    media_type_of,
    parse_index,
    parse_manifest,
    select_platform,
)

BLOB = Digest.of(b"blob")
CONFIG = {"mediaType": OCI_CONFIG, "digest": BLOB, "size": 4}
LAYER = {"mediaType": OCI_LAYER, "digest": Digest.of(b"layer"), "size": 5}
CHILD = {"mediaType": OCI_MANIFEST, "digest": Digest.of(b"child"), "size": 5}
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def manifest(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]} | fields).encode()


def index(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": [CHILD]} | fields).encode()


# -- descriptors


def test_descriptor_there_and_back() -> None:
    value = {
        "mediaType": "text/plain", "digest": BLOB, "size": 4, "urls": ["https://example.com"],
        "annotations": {"a": "1", "b": "2"}, "data": base64.b64encode(b"blob").decode(),
        "platform": {"architecture": "arm64", "os": "linux"}, "artifactType": "x/y", "unknown": [1],
    }
    found = Descriptor.from_json(value)
    assert found == Descriptor("text/plain", BLOB, 4, Platform("linux", "arm64"), "x/y", {}, (
        "https://example.com",), b"blob")
    assert (found.annotations, found.extra) == ({"a": "1", "b": "2"}, {"unknown": [1]})
    assert found.to_json() == value
    assert list(found.to_json()) == list(value)


def test_empty_fields_are_not_written() -> None:
    value = {"mediaType": "text/plain", "digest": BLOB, "size": 0}
    more = dict.fromkeys(("urls", "annotations", "data", "platform", "artifactType"))
    assert Descriptor.from_json(value | more).to_json() == value


def test_annotations_are_written_in_order() -> None:
    found = Descriptor("a/b", BLOB, 1, annotations={"z": "1", "a": "2"})
    assert list(found.to_json()["annotations"]) == ["a", "z"]


@pytest.mark.parametrize(("change", "field"), [
    ({"mediaType": 1}, "mediaType is not a string"), ({"mediaType": ""}, "mediaType is missing"),
    ({"digest": None}, "digest is missing"), ({"digest": 5}, "digest is not a string"),
    ({"digest": "sha256:1"}, "digest is not a sha256 digest"), ({"digest": "md5:" + "0" * 32}, "digest is unknown"),
    ({"digest": "sha256:../../../x"}, "digest is not a digest"),
    ({"size": None}, "size is missing"), ({"size": "4"}, "size is not an integer"), ({"size": -1}, "size is out of"),
    ({"size": 4.0}, "size is not an integer"), ({"size": True}, "size is not an integer"),
    ({"urls": "x"}, "urls is not an array"), ({"urls": [1]}, "urls"),
    ({"annotations": []}, "annotations is not"), ({"annotations": {"a": 1}}, "annotations"),
    ({"platform": "linux"}, "platform is not an object"), ({"platform": {"os": 1}}, "platform.os is not a string"),
    ({"data": "!"}, "data is not base64"), ({"data": "é"}, "data is not base64"), ({"data": 1}, "data is not"),
    ({"data": base64.b64encode(b"blo").decode()}, "data is not what"),
    ({"data": base64.b64encode(b"blub").decode()}, "data is not what"),
])
def test_descriptor_of_wrong_types(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidContent, match=f"descriptor: {field}"):
        Descriptor.from_json({"mediaType": "text/plain", "digest": BLOB, "size": 4} | change)
    with pytest.raises(InvalidContent, match=rf"manifest: layers\[1\].{field}"):
        parse_manifest(manifest(layers=[LAYER, {"mediaType": "text/plain", "digest": BLOB, "size": 4} | change]))


def test_size_beyond_64_bits() -> None:
    with pytest.raises(InvalidContent, match="size is out of range"):
        Descriptor.from_json({"mediaType": "text/plain", "digest": BLOB, "size": 2**63})


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_no_descriptor(value: object) -> None:
    with pytest.raises(InvalidContent, match="descriptor: is not an object"):
        Descriptor.from_json(value)


# -- manifests and indexes


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_manifest(media_type: str) -> None:
    data = manifest(mediaType=media_type, subject=CHILD, artifactType="x/y", annotations={"a": "b"})
    found = parse_manifest(data, media_type)
    assert (found.media_type, found.config.digest, found.layers[0].digest) == (media_type, BLOB, LAYER["digest"])
    assert found.subject == Descriptor.from_json(CHILD)
    assert (found.artifact_type, found.annotations) == ("x/y", {"a": "b"})
    assert children(media_type, data) == (found.config, *found.layers)


def test_manifest_without_media_type_is_what_its_descriptor_says() -> None:
    assert parse_manifest(manifest(), DOCKER_MANIFEST).media_type == DOCKER_MANIFEST
    assert parse_manifest(manifest()).media_type == OCI_MANIFEST
    assert parse_manifest(manifest(layers=None)).layers == ()


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_index(media_type: str) -> None:
    data = index(mediaType=media_type, annotations={"a": "b"})
    found = parse_index(data, media_type)
    assert (found.media_type, found.manifests) == (media_type, (Descriptor.from_json(CHILD),))
    assert children(media_type, data) == found.manifests
    assert parse_index(index(manifests=None)).manifests == ()


def test_other_content_has_no_children() -> None:
    assert children(OCI_CONFIG, b"whatever") == children(OCI_LAYER, b"") == ()


@pytest.mark.parametrize(("change", "problem"), [
    ({"config": None}, "config is missing"), ({"config": []}, "config is not an object"),
    ({"layers": {}}, "layers is not an array"), ({"layers": [1]}, r"layers\[0\] is not an object"),
    ({"layers": [LAYER, None]}, r"layers\[1\] is not an object"), ({"subject": 1}, "subject is not an object"),
    ({"annotations": {"a": []}}, "annotations"), ({"artifactType": 1}, "artifactType"),
    ({"mediaType": 1}, "mediaType is not a string"), ({"mediaType": OCI_INDEX}, "mediaType is"),
    ({"mediaType": DOCKER_MANIFEST}, "mediaType is .* its descriptor says"),
    ({"manifests": []}, "manifests stands in a manifest"), ({"schemaVersion": 3}, "schemaVersion is not 2"),
    ({"schemaVersion": "2"}, "schemaVersion is not 2"), ({"schemaVersion": None}, "schemaVersion is not 2"),
])
def test_manifest_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidContent, match=f"manifest: {problem}") as caught:
        parse_manifest(manifest(**change), OCI_MANIFEST, "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize(("change", "problem"), [
    ({"manifests": {}}, "manifests is not an array"), ({"manifests": ["x"]}, r"manifests\[0\] is not an object"),
    ({"layers": []}, "layers stands in an index"), ({"config": CONFIG}, "config stands in an index"),
    ({"mediaType": OCI_MANIFEST}, "mediaType is"), ({"mediaType": DOCKER_LIST}, "mediaType is"),
])
def test_index_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidContent, match=f"index: {problem}"):
        parse_index(index(**change), OCI_INDEX)


@pytest.mark.parametrize("data", [
    b'{"schemaVersion":1,"fsLayers":[]}', b'{"schemaVersion":2,"fsLayers":[]}', b'{"schemaVersion":1}',
    manifest(mediaType=SCHEMA1),
])
def test_schema_1_is_refused_by_name(data: bytes) -> None:
    for parse in (parse_manifest, parse_index, media_type_of):
        with pytest.raises(InvalidContent, match=r"schema 1.*obsolete"):
            parse(data)
    with pytest.raises(InvalidContent, match="schema 1"):
        parse_manifest(manifest(), SCHEMA1)


def test_counts_are_limited() -> None:
    assert len(parse_manifest(manifest(layers=[LAYER] * MAX_LAYERS)).layers) == MAX_LAYERS
    with pytest.raises(LimitExceeded):
        parse_manifest(manifest(layers=[LAYER] * (MAX_LAYERS + 1)))
    assert len(parse_index(index(manifests=[CHILD] * MAX_MANIFESTS)).manifests) == MAX_MANIFESTS
    with pytest.raises(LimitExceeded):
        parse_index(index(manifests=[CHILD] * (MAX_MANIFESTS + 1)))


@pytest.mark.parametrize(("data", "hint", "media_type"), [
    (manifest(), "", OCI_MANIFEST), (index(), "", OCI_INDEX), (manifest(), DOCKER_MANIFEST, DOCKER_MANIFEST),
    (index(), DOCKER_LIST, DOCKER_LIST), (manifest(mediaType=DOCKER_MANIFEST), OCI_MANIFEST, DOCKER_MANIFEST),
    (manifest(), "application/json", OCI_MANIFEST), (manifest(config=None), "", OCI_MANIFEST),
])
def test_media_type_of(data: bytes, hint: str, media_type: str) -> None:
    assert media_type_of(data, hint) == media_type


@pytest.mark.parametrize("data", [b"{}", manifest(manifests=[]), b"[]", b"", b'{"mediaType":5}'])
def test_media_type_of_what_is_neither(data: bytes) -> None:
    with pytest.raises(InvalidContent):
        media_type_of(data)


@settings(max_examples=150, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", BLOB, OCI_LAYER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "mediaType", "digest", "size", "platform", "urls", "data",
                         "annotations", "subject", "schemaVersion"]), inner, max_size=5),
    max_leaves=12,
))
def test_any_document_is_read_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for parse in (parse_manifest, parse_index, media_type_of):
        try:
            parse(data)
        except InvalidContent as error:
            assert str(error)


# -- kinds of manifests


@pytest.mark.parametrize(("media_type", "image"), [
    (OCI_CONFIG, True), (DOCKER_CONFIG, True), (OCI_EMPTY, False), ("application/vnd.cncf.helm.config.v1+json", False),
])
def test_is_image(media_type: str, image: bool) -> None:
    assert is_image(parse_manifest(manifest(config=CONFIG | {"mediaType": media_type}))) is image


def test_is_attestation() -> None:
    base = Descriptor(OCI_MANIFEST, BLOB, 4)
    assert not is_attestation(base)
    for change in ({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
                   {"platform": {"os": "unknown", "architecture": "unknown"}}):
        assert is_attestation(Descriptor.from_json(base.to_json() | change))
    for change in ({"annotations": {"vnd.docker.reference.type": "other"}}, {"platform": {"os": "linux"}},
                   {"platform": {"os": "unknown"}}):
        assert not is_attestation(Descriptor.from_json(base.to_json() | change))


def named(*texts: str) -> list[Descriptor]:
    return [Descriptor(OCI_MANIFEST, Digest.of(text.encode() + bytes([number])), 1, Platform(*text.split("/")))
            for number, text in enumerate(texts)]


@pytest.mark.parametrize(("texts", "wanted", "strict", "number"), [
    (["linux/arm64", "linux/amd64"], "linux/amd64", False, 1),
    (["linux/amd64", "linux/amd64"], "linux/amd64", True, 0),
    (["linux/386", "linux/amd64"], "linux/amd64", False, 1),
    (["linux/386"], "linux/amd64", False, 0), (["linux/386"], "linux/amd64", True, None),
    (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", False, 1), (["linux/arm/v8"], "linux/arm/v7", False, None),
    (["linux/arm/v7", "linux/arm64/v8"], "linux/arm64", False, 1), (["linux/arm"], "linux/arm64", False, 0),
    (["linux/arm"], "linux/arm64", True, None), (["linux/amd64/v2", "linux/amd64"], "linux/amd64/v3", False, 0),
    (["linux/amd64/v3", "linux/amd64/v1"], "linux/amd64", False, 1), (["windows/amd64"], "linux/amd64", False, None),
    ([], "linux/amd64", False, None),
])
def test_select_platform(texts: list[str], wanted: str, strict: bool, number: int | None) -> None:
    candidates = named(*texts)
    nameless = Descriptor(OCI_MANIFEST, BLOB, 4)
    found = select_platform([nameless, *candidates], Platform.parse(wanted), strict=strict)
    assert found == (None if number is None else candidates[number])


# -- the manifest that Lamina makes


def test_made_manifest_is_pinned() -> None:
    layers = [Descriptor(DOCKER_LAYER, Digest.of(b"1"), 1, annotations={"a": "b"}, urls=("x",)),
              Descriptor(OCI_LAYER, Digest.of(b"2"), 1), Descriptor(DOCKER_LAYER + ".gzip", Digest.of(b"3"), 1)]
    data = make_manifest(b"{}", layers)
    assert Digest.of(data) == "sha256:ad3782d722516146902ce1946bc55077ce2a4ebc6ad0f2e48e1afe09547072d9"
    found = parse_manifest(data, OCI_MANIFEST)
    assert (found.config.media_type, found.config.digest, found.config.size) == (OCI_CONFIG, Digest.of(b"{}"), 2)
    assert [layer.media_type for layer in found.layers] == [OCI_LAYER, OCI_LAYER, OCI_LAYER + "+gzip"]
    assert [layer.digest for layer in found.layers] == [layer.digest for layer in layers]
    assert all(not layer.annotations and not layer.urls for layer in found.layers)
    assert make_manifest(b"{}", layers) == data


def test_made_manifest_text() -> None:
    assert make_manifest(b"{}", []) == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        b'"application/vnd.oci.image.config.v1+json","digest":'
        b'"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}')


def test_made_manifest_has_layers_only() -> None:
    with pytest.raises(UsageError):
        make_manifest(b"{}", [Descriptor(OCI_LAYER + "+encrypted", BLOB, 1)])
