"""What the page shows: the one interface between it and whatever holds the content.

Every method may be called from several threads at once, and answers within some seconds whatever the store holds: figures that
are dear are kept by a thread of the library, and are None until they have been counted.  Sizes are bytes, moments are seconds
since 1970 (0: unknown).  Texts come as they are stored: nothing is escaped here, and nothing is cut short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lamina.errors import LaminaError


class Busy(LaminaError):
    """Too many ask for what is dear; the next one may be luckier."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A name in a repository; `name` is '' for what is there by its digest alone.

    `size`: of all that it leads to, each blob once; `platforms`: of its images; `pushed`: when it was given.
    """

    name: str
    digest: str
    media_type: str
    size: int
    platforms: tuple[str, ...]
    created: float
    pushed: float


@dataclass(frozen=True, slots=True)
class Repository:
    """`size`: of its blobs, each once; `pushed`: when the last of its tags was given; `images`: for one platform each."""

    name: str
    tags: tuple[Tag, ...]
    images: int
    size: int
    pushed: float


@dataclass(frozen=True, slots=True)
class Layer:
    """`here`: whether the store has it; `entries`: members of its tar, None if it is none."""

    digest: str
    media_type: str
    size: int
    here: bool
    entries: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history; `layer`: the number of the layer that it made, from 0; None for one that made none."""

    created: str
    created_by: str
    comment: str
    layer: int | None


@dataclass(frozen=True, slots=True)
class Image:
    """What a manifest says: of an image for one platform, or of an artifact (`artifact` is its type, and it has no platform).

    `config`: the runtime part of the config, as it stands; `size`: of config and layers; `names`: tags of the repository that
    lead to it.
    """

    digest: str
    media_type: str
    config_digest: str
    platform: str
    artifact: str
    created: str
    author: str
    size: int
    layers: tuple[Layer, ...]
    history: tuple[Step, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A manifest that an index names; `kind`: `image`, `index`, `attestation` or an artifact's type."""

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    here: bool


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests under one name."""

    digest: str
    media_type: str
    members: tuple[Member, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """Another image, and the plain bytes of the chunks that it has in common with the one in question."""

    repository: str
    name: str
    digest: str
    shared: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """What an image has in common with those that the visitor may see, in plain bytes of distinct chunks.

    `layers`: by digest, (bytes that no other image has, bytes that others have); `others`: the most first; `more`: how many are
    left out; `counted`: when; `partial`: it was too much to count all.
    """

    own: int
    shared: int
    layers: Mapping[str, tuple[int, int]]
    others: tuple[Other, ...]
    more: int
    counted: float
    partial: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A member of a layer: `kind` is its type flag in the tar, `path` and `link` as raw bytes."""

    kind: str
    path: bytes
    link: bytes
    size: int
    mode: int
    uid: int
    gid: int
    modified: int


@dataclass(frozen=True, slots=True)
class Files:
    """A part of a layer's members: those from number `start` on that begin with the prefix.

    `next`: from which number the rest is to be asked for, None at the end; before it there may be fewer than asked for, if the
    search took long.  `total`: members of the layer.
    """

    files: tuple[File, ...]
    next: int | None
    total: int


@dataclass(frozen=True, slots=True)
class Hit:
    """Something whose digest begins as was asked for; `kind`: `manifest`, `index`, `config`, `layer` or `blob`.

    `manifest`: by which manifest of the repository it is reached.
    """

    kind: str
    digest: str
    repository: str
    manifest: str


@dataclass(frozen=True, slots=True)
class Point:
    """The store at a moment: what was pushed (each tag with all of its content), distinct layers, distinct chunks, on disk."""

    time: float
    pushed: int
    layers: int
    chunks: int
    stored: int


@dataclass(frozen=True, slots=True)
class Store:
    """The store as a whole, now; `chunks` as it was `counted` last, None before that."""

    repositories: int
    tags: int
    images: int
    pushed: int
    layers: int
    stored: int
    chunks: int | None
    counted: float
    free: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Totals since the server started, over all of its processes; `uploads` are those in progress."""

    received: int = 0
    sent: int = 0
    requests: int = 0
    uploads: int = 0


class Library(Protocol):
    """Repositories, what is in them, and the store below."""

    def repositories(self) -> Sequence[Repository]:
        """All, by name."""

    def repository(self, name: str) -> Repository | None:
        """None if nothing has that name."""

    def item(self, repository: str, reference: str) -> Image | Index | None:
        """What a tag or digest of a repository leads to; None if it has it not.  `LaminaError` if it cannot be read."""

    def sharing(self, digest: str, may: Callable[[str], bool]) -> Sharing | None:
        """Of an image's manifest, beside those in repositories that one `may` see; None before it has been counted."""

    def files(self, layer: str, prefix: bytes, start: int, limit: int) -> Files:
        """Members of a layer; `NotFound`, `Busy`."""

    def find(self, prefix: str, limit: int) -> Sequence[Hit]:
        """What has a digest that begins so, with or without its algorithm; a hit for each repository."""

    def store(self) -> Store:
        """All in all."""

    def series(self) -> Sequence[Point]:
        """The past, the oldest first: at most a point an hour for a year."""

    def traffic(self) -> Traffic:
        """What goes on."""

    def problems(self) -> list[str]:
        """Why it cannot serve now: some words each, without names of places; none if it can."""
