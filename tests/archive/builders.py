"""Builds archives of every shape that tools are known to write, and takes them apart again."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from lamina.content import Reader, Taken
from lamina.content.inflate import InflatingReader, peek, sniff
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, NotFound
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor

GZIP: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0)  # noqa: E731
ZSTD: Callable[[bytes], bytes] = zstandard.ZstdCompressor().compress
COMPRESSIONS = {"": bytes, "gzip": GZIP, "zstd": ZSTD}


@dataclass(frozen=True)
class Member:
    """A member of an archive; with a link it is a symbolic one."""

    name: str
    data: bytes = b""
    link: str = ""
    type: bytes = b""
    size: int = -1
    pax: dict[str, str] = field(default_factory=dict)


def tar(members: Iterable[Member], end: bool = True) -> bytes:
    """The bytes of an archive."""
    out = bytearray()
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.size = len(member.data) if member.size < 0 else member.size
        info.type = member.type or (tarfile.SYMTYPE if member.link else tarfile.REGTYPE)
        info.linkname = member.link
        info.pax_headers = member.pax
        out += info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape") + member.data
        out += bytes(-len(member.data) % 512)
    return bytes(out) + bytes(1024 if end else 0)


def untar(data: bytes) -> dict[str, bytes]:
    """Names and contents of an archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}


@dataclass(frozen=True)
class Image:
    """One image, its layers plain."""

    layers: tuple[bytes, ...]
    tags: tuple[str, ...] = ()
    architecture: str = "amd64"

    @property
    def diff_ids(self) -> list[Digest]:
        return [Digest.of(layer) for layer in self.layers]

    @property
    def config(self) -> bytes:
        return json.dumps({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        }, indent=1).encode()

    @property
    def id(self) -> Digest:
        return Digest.of(self.config)


def layer(seed: int, size: int = 5000) -> bytes:
    """A layer of one file."""
    return tar([Member(f"file{seed}", random.Random(seed).randbytes(size))])


BASE = layer(1, 40_000)
ONE = Image((BASE, layer(2)), ("docker.io/library/one:1",))
TWO = Image((BASE, layer(3), layer(2)), ("example.com/a/two:latest", "example.com/a/two:2"))
ARM = Image((layer(4),), (), "arm64")


def _manifest_json(items: Sequence[tuple[str, Image, Sequence[str]]]) -> Member:
    return Member("manifest.json", json.dumps([
        {"Config": config, "RepoTags": list(image.tags) or None, "Layers": list(layers)}
        for config, image, layers in items
    ]).encode())


def docker_20(*images: Image) -> list[Member]:
    """`docker save` before version 25: a directory for each layer, a link where another image has it already."""
    members: dict[str, Member] = {}
    items = []
    owners: dict[bytes, str] = {}
    for image in images:
        paths = []
        for number, data in enumerate(image.layers):
            directory = Digest.of(image.id.encode() + bytes([number])).hex
            paths.append(f"{directory}/layer.tar")
            if paths[-1] in members:
                continue
            for name, text in (("VERSION", b"1.0"), ("json", b'{"id":"x"}')):
                members[f"{directory}/{name}"] = Member(f"{directory}/{name}", text)
            link = f"../{owners[data]}/layer.tar" if data in owners else ""
            owners.setdefault(data, directory)
            members[paths[-1]] = Member(paths[-1], b"" if link else data, link)
        name = f"{image.id.hex}.json"
        members[name] = Member(name, image.config)
        items.append((name, image, paths))
    return [*members.values(), _manifest_json(items), Member("repositories", b'{"one":{"1":"abc"}}')]


def podman(*images: Image) -> list[Member]:
    """`podman save`, `skopeo copy docker-archive:`: `<hex>.tar`, and legacy directories whose layers are links."""
    members: dict[str, Member] = {}
    items = []
    for image in images:
        paths = []
        for data in image.layers:
            paths.append(f"{Digest.of(data).hex}.tar")
            members[paths[-1]] = Member(paths[-1], data)
            legacy = Digest.of(image.id.encode() + data).hex
            members[legacy] = Member(f"{legacy}/layer.tar", link=f"../{paths[-1]}")
        name = f"{image.id.hex}.json"
        members[name] = Member(name, image.config)
        items.append((name, image, paths))
    return [*members.values(), Member("repositories", b"{}"), _manifest_json(items)]


def kaniko(*images: Image, compress: Callable[[bytes], bytes] = GZIP) -> list[Member]:
    """kaniko and crane: the config named by its digest, layers compressed and named by the digest of that."""
    members: dict[str, Member] = {}
    items = []
    for image in images:
        packed = [compress(data) for data in image.layers]
        paths = [f"{Digest.of(data).hex}.tar.gz" for data in packed]
        name = str(image.id)
        members[name] = Member(name, image.config)
        members |= {path: Member(path, data) for path, data in zip(paths, packed, strict=True)}
        items.append((name, image, paths))
    return [*members.values(), _manifest_json(items)]


def bazel(*images: Image) -> list[Member]:
    """rules_oci: blobs by digest, compressed ones with a suffix, `manifest.json` first and no index."""
    members: dict[str, Member] = {}
    items = []
    for image in images:
        packed = [GZIP(data) for data in image.layers]
        paths = [f"blobs/sha256/{Digest.of(data).hex}.tar.gz" for data in packed]
        name = f"blobs/sha256/{image.id.hex}"
        members[name] = Member(name, image.config)
        members |= {path: Member(path, data) for path, data in zip(paths, packed, strict=True)}
        items.append((name, image, paths))
    return [_manifest_json(items), *members.values()]


@dataclass
class Layout:
    """The blobs of an OCI layout that is being made."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)

    def put(self, data: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(data)
        self.blobs[digest] = data
        return Descriptor(media_type, digest, len(data))

    def image(self, image: Image, compression: str = "") -> Descriptor:
        media_type = f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER
        layers = [self.put(COMPRESSIONS[compression](data), media_type) for data in image.layers]
        config = self.put(image.config, OCI_CONFIG)
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_json(),
                    "layers": [one.to_json() for one in layers]}
        return self.put(json.dumps(document, indent=2).encode(), OCI_MANIFEST)

    def index(self, manifests: Iterable[Descriptor]) -> Descriptor:
        return self.put(index_json(manifests), OCI_INDEX)

    def members(self, roots: Iterable[Descriptor]) -> list[Member]:
        blobs = [Member(f"blobs/sha256/{digest.hex}", data) for digest, data in self.blobs.items()]
        return [*blobs, Member("index.json", index_json(roots)),
                Member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')]


def index_json(manifests: Iterable[Descriptor]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX,
                       "manifests": [one.to_json() for one in manifests]}).encode()


def named(root: Descriptor, **annotations: str) -> Descriptor:
    """A descriptor with `name` and `ref` annotations, and a platform of that architecture."""
    keys = {"name": "io.containerd.image.name", "ref": "org.opencontainers.image.ref.name"}
    return Descriptor(root.media_type, root.digest, root.size,
                      annotations={keys[key]: value for key, value in annotations.items()})


def oci(*images: Image, compression: str = "gzip") -> list[Member]:
    """`skopeo copy oci-archive:`, `podman save --format oci-archive`: names in full in the one annotation."""
    layout = Layout()
    roots = []
    for image in images:
        root = layout.image(image, compression)
        roots += [named(root, ref=tag) for tag in image.tags] or [root]
    return layout.members(roots)


def docker_25(*images: Image) -> list[Member]:
    """`docker save` since version 25: an OCI layout of plain layers, and `manifest.json` beside it."""
    layout = Layout()
    roots, items = [], []
    for image in images:
        root = layout.image(image)
        roots += [named(root, name=tag, ref=tag.rpartition(":")[2]) for tag in image.tags] or [root]
        layers = [f"blobs/sha256/{digest.hex}" for digest in image.diff_ids]
        items.append((f"blobs/sha256/{image.id.hex}", image, layers))
    directories = [Member("blobs", type=tarfile.DIRTYPE), Member("blobs/sha256", type=tarfile.DIRTYPE)]
    return [*directories, *layout.members(roots), _manifest_json(items), Member("repositories", b"{}")]


DOCKER_SHAPES: dict[str, Callable[..., list[Member]]] = {
    "docker_20": docker_20,
    "podman": podman,
    "kaniko": kaniko,
    "kaniko_zstd": lambda *images: kaniko(*images, compress=ZSTD),
    "bazel": bazel,
}
OCI_SHAPES: dict[str, Callable[..., list[Member]]] = {
    "docker_25": docker_25,
    "oci_gzip": oci,
    "oci_zstd": lambda *images: oci(*images, compression="zstd"),
    "oci_plain": lambda *images: oci(*images, compression=""),
}
SHAPES = DOCKER_SHAPES | OCI_SHAPES


def write_directory(path: Path, members: Iterable[Member]) -> Path:
    """The members as files."""
    for member in members:
        if member.type == tarfile.DIRTYPE:
            continue
        (path / member.name).parent.mkdir(parents=True, exist_ok=True)
        (path / member.name).write_bytes(member.data)
    return path


class MemoryIntake(MemoryTarget):
    """An intake in memory that notes what it was asked to take."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Taken] = []

    def known(self, digest: Digest) -> Taken | None:
        try:
            return Taken(digest, self.resolve(digest).size)
        except NotFound:
            return None

    def intake(self, reader: Reader, *, plain: bool, expect: Digest | None = None) -> Taken:
        head, reader = peek(reader)
        kind = sniff(head) if plain else ""
        data = read_all(InflatingReader(reader, kind) if kind else reader, 1 << 40)
        digest = Digest.of(data, expect.algorithm if expect else "sha256")
        if expect is not None and digest != expect:
            raise DigestMismatch(f"blob has digest {digest}", expect)
        self.push(Descriptor("", digest, len(data)), BytesReader(data))
        self.taken.append(Taken(digest, len(data)))
        return self.taken[-1]
