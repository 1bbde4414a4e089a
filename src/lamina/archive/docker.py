"""docker-archive: `manifest.json` says which members are an image's config and layers.

The shape that `docker save` wrote before version 25, and that podman, skopeo, kaniko and bazel write (moby's
image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format"): no OCI manifest, so one is made, of
plain layers named by the config's diff ids.  Layers may be compressed in the archive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lamina.archive.members import Members, read_document
from lamina.archive.names import Names
from lamina.archive.walk import show
from lamina.content import Intake, Reader, Taken
from lamina.content.inflate import InflatingReader, peek, sniff
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import ArchiveError, DigestMismatch, LimitExceeded, NotFound, UsageError
from lamina.jsonlimits import Fields, loads
from lamina.oci import (
    MAX_LAYERS,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    make_manifest,
    parse_config,
)

MANIFEST = "manifest.json"

MAX_IMAGES = 4096
_MAX_TAGS = 4096
# All configs stay in memory: 64 MiB is 16 KiB each for as many images as there may be.
_MAX_CONFIGS = 64 << 20
# A config's name says its digest: `<hex>.json` (docker, podman), `sha256:<hex>` (kaniko), `blobs/sha256/<hex>`.
_CONFIG_NAME = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?")
_MEASURE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One image of `manifest.json`."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def read_items(members: Members) -> list[Item]:
    """What `manifest.json` says; `InvalidContent`, `LimitExceeded`."""
    data = read_document(members, MANIFEST, "manifest")
    # The limits are checked on objects.  A list that closes the object and opens another would bring a second
    # key, or the first one twice, and is refused.
    document = loads(b'{"images":' + data + b"}", MANIFEST, len(data) + 16, where=members.where)
    fields = Fields(document, MANIFEST, where=members.where)
    if len(document) != 1:
        fields.refuse("", "is not a list")
    return [
        Item(
            config=image.text("Config", required=True),
            tags=image.texts("RepoTags", _MAX_TAGS),
            layers=image.texts("Layers", MAX_LAYERS),
        )
        for image in fields.children("images", MAX_IMAGES)
    ]


@dataclass(frozen=True, slots=True)
class _Image:
    tags: tuple[str, ...]
    config: bytes
    diff_ids: tuple[Digest, ...]
    platform: Platform | None


class DockerArchive:
    """The images of a docker-archive.  `complete` must have been called before anything else is asked."""

    name = "docker-archive"

    def __init__(self, members: Members, fetch_taken: Callable[[Taken], Reader]) -> None:
        self.warnings: list[str] = []
        self._members, self._fetch_taken = members, fetch_taken
        self._blobs: dict[Digest, Callable[[], Reader]] = {}
        self._layers: dict[Digest, str] = {}
        self._references: list[tuple[str, Descriptor]] | None = None
        self._config_bytes = 0
        self._images = [self._read(item) for item in read_items(members)]
        if not self._images:
            raise ArchiveError(f"{MANIFEST} names no image", members.where)

    @staticmethod
    def recognises(members: Members) -> bool:
        return members.has(MANIFEST)

    def references(self) -> list[tuple[str, Descriptor]]:
        if self._references is None:
            raise UsageError("the archive has no manifests yet", self._members.where, "call complete() first")
        return self._references

    def fetch(self, descriptor: Descriptor) -> Reader:
        opener = self._blobs.get(descriptor.digest)
        if opener is None:
            raise NotFound("no such blob in the archive", descriptor.digest)
        return opener()

    def complete(self, intake: Intake | None) -> None:
        """Make the manifests.  Layers that are compressed in the archive, and that the intake does not know,
        are read for it: taken in, or without an intake only measured."""
        sizes = {diff_id: self._plain_size(diff_id, path, intake) for diff_id, path in self._layers.items()}
        names = Names(self._members.where)
        for image in self._images:
            layers = [Descriptor(OCI_LAYER, diff_id, sizes[diff_id]) for diff_id in image.diff_ids]
            names.add(image.tags, self._make_manifest(image, layers))
        self._references = names.pairs()
        self.warnings += names.warnings

    def _read(self, item: Item) -> _Image:
        config = read_document(self._members, item.config, "image config")
        self._config_bytes += len(config)
        if self._config_bytes > _MAX_CONFIGS:
            hint = f"at most {_MAX_CONFIGS} bytes are read"
            raise LimitExceeded("the configs of all images are too large", self._members.where, hint)
        digest = Digest.of(config)
        named = _CONFIG_NAME.fullmatch(item.config)
        if named and named[1] != digest.hex:
            raise DigestMismatch(f"config {show(item.config)} has digest {digest}", self._members.where)
        parsed = parse_config(config, f"{show(item.config)} in {self._members.where}")
        if len(parsed.diff_ids) != len(item.layers):
            what = f"config {show(item.config)} has {len(parsed.diff_ids)} layers, {MANIFEST} {len(item.layers)}"
            raise ArchiveError(what, self._members.where)
        self._blobs[digest] = lambda: BytesReader(config)
        for diff_id, path in zip(parsed.diff_ids, item.layers, strict=True):
            self._layers.setdefault(diff_id, self._members.key(path))
        platform = parsed.platform if parsed.os and parsed.architecture else None
        return _Image(item.tags, config, parsed.diff_ids, platform)

    def _make_manifest(self, image: _Image, layers: Iterable[Descriptor]) -> Descriptor:
        data = make_manifest(image.config, list(layers))
        descriptor = Descriptor(OCI_MANIFEST, Digest.of(data), len(data), platform=image.platform)
        self._blobs[descriptor.digest] = lambda: BytesReader(data)
        return descriptor

    def _plain_size(self, diff_id: Digest, path: str, intake: Intake | None) -> int:
        """The size of a plain layer; from then on it can be fetched."""
        taken = self._members.taken(path)
        if taken is not None and taken.digest == diff_id:
            self._blobs[diff_id] = lambda: self._fetch_taken(taken)
            return taken.size
        self._blobs[diff_id] = lambda: self._open_plain(path)
        # The layer of another diff id: a stream's layers are all known by now, in whatever order they are named.
        swapped = taken is not None and taken.digest in self._layers
        known = intake.known(diff_id) if intake and not swapped else None
        if known is not None:
            return known.size
        if taken is not None and not path.startswith("blobs/"):
            raise self._mismatch(diff_id, path, taken)
        reader = self._members.open(path)
        try:
            head, reader = peek(reader)
            kind = sniff(head)
            if not kind and taken is not None:
                raise self._mismatch(diff_id, path, taken)
            if not kind and reader.size is not None:
                return reader.size
            if intake is not None:
                return intake.intake(reader, plain=True, expect=diff_id).size
            return measure(InflatingReader(reader, kind, self._place(path)))
        finally:
            reader.close()

    def _open_plain(self, path: str) -> Reader:
        head, reader = peek(self._members.open(path))
        kind = sniff(head)
        return InflatingReader(reader, kind, self._place(path)) if kind else reader

    def _mismatch(self, diff_id: Digest, path: str, taken: Taken) -> DigestMismatch:
        what = f"layer {show(path)} has digest {taken.digest}, its config says {diff_id}"
        return DigestMismatch(what, self._members.where, "get the archive again")

    def _place(self, path: str) -> str:
        return f"{show(path)} in {self._members.where}"


def measure(reader: Reader) -> int:
    """How many bytes come until the end."""
    buffer = memoryview(bytearray(_MEASURE))
    total = 0
    while count := reader.readinto(buffer):
        total += count
    return total
