"""What the commands ask of registries: the client's interface as this floor sees it, and looks without a store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lamina.content import Reader, Target
from lamina.digest import Digest
from lamina.errors import NotFound, UsageError
from lamina.oci import Descriptor, is_index, loads, parse_index
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.registry.uploading import UploadJournal

_REFERRERS = re.compile(r"sha(256|384|512)-[0-9a-f]{64,128}")


class Remote(Target, Protocol):
    """One repository of a registry; see `lamina.registry.target.RegistryTarget`."""

    mount_from: Callable[[Digest], Iterable[str]]

    def head(self, reference: str) -> Descriptor | None: ...
    def own_head(self, reference: str) -> Descriptor | None: ...
    def push_stream(self, media_type: str, reader: Reader, mark: str = "") -> Descriptor: ...
    def tags(self) -> Iterator[str]: ...
    def untag(self, tag: str, /) -> bool: ...
    def manifest(self, reference: str) -> tuple[Descriptor, bytes]: ...
    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> Iterator[Descriptor]: ...


class Network(Protocol):
    """The way to all registries; see `lamina.registry.network.Network`."""

    def target(self, reference: Reference, /, *, uploads: UploadJournal | None = None) -> Remote: ...
    def close(self) -> None: ...


@contextmanager
def connected(network: Network | None) -> Iterator[Network]:
    """The network that was given, which stays open, or one as the user has set it up."""
    if network is not None:
        yield network
        return
    from lamina.registry.network import Network as Real

    real: Network = Real.load()
    try:
        yield real
    finally:
        real.close()


@dataclass(frozen=True, slots=True)
class Inspected:
    """A manifest or index as a registry has it, under the name that it was asked for by."""

    reference: str
    descriptor: Descriptor
    data: bytes


def asked(reference: Reference) -> str:
    """The word for a manifest within its repository: the digest, where there is one, else the tag."""
    return str(reference.digest) if reference.digest is not None else reference.tag


def image_tags(remote: Remote) -> list[str]:
    """The tags of a repository but those that list referrers where there is no API for them (distribution 1.1, "Referrers Tag
    Schema"): they are kept by who pushes referrers."""
    return [tag for tag in remote.tags() if not _REFERRERS.fullmatch(tag)]


def tags(repository: str, *, network: Network | None = None) -> list[str]:
    """The tags of a repository, in the registry's order; `UsageError` for a name with a tag or digest."""
    reference = Reference.parse(repository, default_tag="")
    if reference.tag or reference.digest:
        raise UsageError("a repository is named without tag or digest", repository)
    with connected(network) as net:
        found = list(net.target(reference).tags())
    if not found:
        raise NotFound("no such repository, or it has no tags", reference.familiar_name)
    return found


def inspect_manifest(word: str, *, verbose: bool = False, network: Network | None = None) -> list[Inspected]:
    """The manifest or index of that name; with `verbose`, of an index each manifest in it (docker's `manifest inspect -v`)."""
    reference = Reference.parse(word)
    with connected(network) as net:
        remote = net.target(reference)
        descriptor, data = remote.manifest(asked(reference))
        if not verbose or not is_index(descriptor.media_type):
            return [Inspected(str(reference), descriptor, data)]
        found = []
        for one in parse_index(data, descriptor.media_type, descriptor.digest).manifests:
            _, document = remote.manifest(one.digest)
            found.append(Inspected(str(reference.with_digest(one.digest)), one, document))
        return found


def in_words(one: Inspected) -> dict[str, Any]:
    """What docker's `manifest inspect -v` says of one manifest."""
    kind = "OCIManifest" if one.descriptor.media_type.startswith("application/vnd.oci.") else "SchemaV2Manifest"
    document = loads(one.data, "manifest", where=one.reference)
    return {"Ref": one.reference, "Descriptor": one.descriptor.to_json(), kind: document}
