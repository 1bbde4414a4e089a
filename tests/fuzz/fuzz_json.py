"""Documents from strangers: manifests, indexes, configs, the lists of archives.  Only a `LaminaError` may come out.

What is accepted must be what Python's own parser reads, and descriptors must survive being written and read again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sized

from contracts.samples import config_bytes, describe, index_bytes, manifest_bytes
from fuzz.fuzzkit import accepted

from lamina import oci
from lamina.archive.docker import read_items
from lamina.archive.oci_layout import check_layout
from lamina.content import Reader
from lamina.content.referrers import listed, subject_of
from lamina.content.verify import BytesReader
from lamina.errors import InvalidReference
from lamina.jsonlimits import loads
from lamina.platforms import matches, serving
from lamina.reference import Reference
from lamina.registry.authfile import AuthFile
from lamina.store.documents import check_config

_NAMES = (
    "schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "annotations", "platform", "os", "data",
    "architecture", "variant", "os.version", "os.features", "subject", "artifactType", "urls", "rootfs", "diff_ids", "history",
    "created", "empty_layer", "Env", "Cmd", "Labels", "Volumes", "Config", "RepoTags", "Layers", "imageLayoutVersion",
    "auths", "auth", "credHelpers", "credsStore", "identitytoken", oci.OCI_MANIFEST, oci.OCI_INDEX, oci.DOCKER_LIST,
)  # fmt: skip
WORDS = (*(f'"{name}"'.encode() for name in _NAMES), b"\\ud800", b"1e999", b"NaN", b"-0", b"null", b"[[[[[[[[", b'{"":',
         b"sha256:", b"18446744073709551616")


INT64 = range(-1 << 63, 1 << 63)


class _One:
    """An archive all of whose members are this document."""

    where = "an archive"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def has(self, path: str) -> bool:
        return True

    def open(self, path: str) -> Reader:
        return BytesReader(self._data)


def _any(data: bytes) -> None:
    value = loads(data, "a document")
    assert value == json.loads(data)
    json.dumps(value, ensure_ascii=False).encode()
    waiting: list[object] = [value]
    while waiting:
        match waiting.pop():
            case dict() as fields:
                waiting += fields.values()
            case list() as values:
                waiting += values
            case float() as number:
                assert math.isfinite(number)
            case int() as number:
                assert number in INT64


def _manifest(data: bytes) -> None:
    manifest = oci.parse_manifest(data)
    _listed(data, "layers", manifest.layers)
    for one in (manifest.config, *manifest.layers, *filter(None, [manifest.subject])):
        _descriptor(one)
    assert oci.children(manifest.media_type, data) == (manifest.config, *manifest.layers)
    assert oci.media_type_of(data, manifest.media_type) == manifest.media_type
    assert subject_of(manifest.media_type, data) == manifest.subject
    _descriptor(listed(describe(data, manifest.media_type), data))


def _index(data: bytes) -> None:
    index = oci.parse_index(data)
    _listed(data, "manifests", index.manifests)
    for one in index.manifests:
        _descriptor(one)
        oci.is_attestation(one)
    for platform in [one.platform for one in index.manifests if one.platform][:4]:
        assert oci.select_platform(index.manifests, platform, strict=True) is not None
        assert oci.select_platform(index.manifests, platform) is not None


def _listed(data: bytes, name: str, found: Sized) -> None:
    """As many as a list in the document has."""
    said = json.loads(data).get(name)
    assert (said is None and not found) or (isinstance(said, list) and len(said) == len(found))


def _descriptor(one: oci.Descriptor) -> None:
    assert one.size in INT64 and one.size >= 0
    assert one.data is None or (len(one.data) == one.size and oci.Digest.of(one.data, one.digest.algorithm) == one.digest)
    again = oci.Descriptor.from_json(json.loads(json.dumps(one.to_json())))
    assert again.to_json() == one.to_json() and again.digest == one.digest
    if one.platform is not None:
        assert matches(one.platform, one.platform) and serving(one.platform)[0] == one.platform.normalized()
        assert one.platform.normalized().normalized() == one.platform.normalized()


def _config(data: bytes) -> None:
    config = oci.parse_config(data)
    _listed(json.dumps(config.raw.get("rootfs") or {}).encode(), "diff_ids", config.diff_ids)
    _listed(data, "history", config.history)
    check_config(describe(data), data)
    assert len(oci.chain_ids(config.diff_ids)) == len(config.diff_ids)
    assert all(isinstance(text, str) for pair in config.labels.items() for text in pair)
    str(config.platform.normalized())


def _items(data: bytes) -> None:
    for item in read_items(_One(data)):  # type: ignore[arg-type]
        for tag in item.tags:
            try:
                reference = Reference.parse(tag)
            except InvalidReference:
                continue
            assert Reference.parse(str(reference)) == reference == Reference.parse(reference.familiar())


def _layout(data: bytes) -> None:
    check_layout(_One(data))  # type: ignore[arg-type]


def _auth(data: bytes) -> None:
    file = AuthFile("a file", lambda: data)
    for host in ("docker.io", "example.com", "example.com/a", ""):
        accepted(file.lookup, host)
        accepted(lambda host=host: list(file.helpers(host)))


READERS: tuple[Callable[[bytes], object], ...] = (
    _any, _manifest, _index, _config, _items, _layout, _auth, oci.media_type_of,
    lambda data: oci.media_type_of(data, oci.DOCKER_MANIFEST),
    lambda data: oci.parse_manifest(data, oci.DOCKER_MANIFEST),
    lambda data: oci.parse_index(data, oci.DOCKER_LIST),
)


def run(data: bytes) -> None:
    if data:
        accepted(READERS[data[0] % len(READERS)], data[1:])


def seeds() -> Iterator[bytes]:
    layer = describe(b"layer")
    platform = oci.Platform("linux", "arm64", "v8", "1", ("a",))
    config = config_bytes([layer])
    inside = oci.Descriptor(oci.OCI_CONFIG, oci.Digest.of(b"{}"), 2, platform=platform, data=b"{}", urls=("http://a/",),
                            annotations={"a": "b"})
    manifest = manifest_bytes(inside, [layer], subject=layer.to_json(), artifactType="a/b", annotations={"a": None})
    index = index_bytes([oci.Descriptor(oci.OCI_MANIFEST, layer.digest, 5, platform=platform), inside])
    runtime = {"Env": ["A=b"], "Cmd": "x", "Labels": {"a": "b"}, "Volumes": {"/v": {}}, "User": None}
    full = json.loads(config) | {"config": runtime, "history": [{"created_by": "x", "empty_layer": True}], "os.version": "1"}
    items = [{"Config": "c.json", "RepoTags": ["a:1", "b.c:5/d@" + layer.digest], "Layers": ["l.tar"]}]
    auth = {"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}, "example.com/a": {"identitytoken": "t"}},
            "credHelpers": {"example.com": "x"}, "credsStore": "y"}
    documents: list[tuple[int, bytes]] = [
        (0, b'{"a":[1,-0.5,1e3,true,null,"\\ud83d\\ude00\\n"],"b":{"":{}}}'), (1, manifest), (2, index),
        (3, json.dumps(full).encode()), (4, json.dumps(items).encode()), (5, b'{"imageLayoutVersion":"1.0.0"}'),
        (6, json.dumps(auth).encode()), (7, manifest), (8, manifest), (9, manifest), (10, index),
        (7, b'{"schemaVersion":1,"fsLayers":[]}'), (0, b"[" * 70), (0, b'{"a":1,"a":2}'), (0, b'{"a":-9223372036854775809}'),
        (0, b'{"a":1e999}'), (0, b'{"a":NaN}'), (1, manifest.replace(b'"layers": [', b'"layers": {}, "x": [')),
        (2, index.replace(b'"data": "', b'"data": "e30x')), (0, b'{"a":"\\ud800"}'),
    ]  # fmt: skip
    for number, data in documents:
        yield bytes([number]) + data
