"""Registries of the tests' own, in memory: what the images' floor sees of the client, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from contracts.samples import AMD64, ARM64, index_bytes, put, put_artifact, put_image

from lamina.content import Reader
from lamina.content.memory import MemoryTarget
from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound, RegistryUnavailable
from lamina.oci import OCI_INDEX, Descriptor
from lamina.reference import Reference
from lamina.registry.uploading import UploadJournal

from .archives import layer

__all__ = ["AMD64", "ARM64", "FakeNetwork", "FakeRemote", "put_artifact"]


class FakeRemote(MemoryTarget):
    """A repository: tags and content; `asked` has each question."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.asked: list[str] = []
        self.deletes = True
        self.down: LaminaError | None = None
        self.cut: set[str] = set()
        self.mount_from: Callable[[Digest], Iterable[str]] = lambda digest: ()
        self.mounted: list[str] = []
        self.mounts: dict[str, MemoryTarget] = {}

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.down is not None:
            raise self.down

    def resolve(self, reference: str) -> Descriptor:
        self._ask(f"GET {reference}")
        return super().resolve(reference)

    def head(self, reference: str) -> Descriptor | None:
        self._ask(f"HEAD {reference}")
        try:
            return super().resolve(reference)
        except NotFound:
            return None

    def own_head(self, reference: str) -> Descriptor | None:
        return FakeRemote.head(self, reference)

    def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        found = self.resolve(reference)
        return found, read_all(super().fetch(found), found.size)

    def tags(self) -> Iterator[str]:
        self._ask("tags")
        return iter([name for name, _ in super().references()])

    def fetch(self, descriptor: Descriptor) -> Reader:
        self._ask(f"fetch {descriptor.digest}")
        if descriptor.digest in self.cut:
            raise RegistryUnavailable("the line is cut", self.name)
        return super().fetch(descriptor)

    def exists(self, descriptor: Descriptor) -> bool:
        if super().exists(descriptor):
            return True
        for repository in self.mount_from(descriptor.digest):
            other = self.mounts.get(repository)
            if other is not None and MemoryTarget.exists(other, descriptor):
                super().push(descriptor, MemoryTarget.fetch(other, descriptor))
                self.mounted.append(descriptor.digest)
                return True
        return False

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        self._ask(f"push {descriptor.digest}")
        super().push(descriptor, reader)

    def untag(self, tag: str, /) -> bool:
        self._ask(f"DELETE {tag}")
        if self.deletes:
            self._references.pop(tag, None)
        return self.deletes

    def image(self, *tags: str, text: str = "x", platform: object = AMD64) -> Descriptor:
        """Put an image of two layers there, under these tags."""
        image = put_image(self, layer(base="base" * 300), layer(a=text * 500), platform=platform)  # type: ignore[arg-type]
        return self._tagged(image, tags)

    def index(self, *tags: str, text: str = "x", **more: object) -> tuple[Descriptor, Descriptor, Descriptor]:
        """An index of an amd64 and an arm64 image: (index, amd64, arm64)."""
        amd, arm = self.image(text=text + "amd"), self.image(text=text + "arm", platform=ARM64)
        return self._tagged(put(self, index_bytes([amd, arm], **more), OCI_INDEX), tags), amd, arm

    def _tagged(self, descriptor: Descriptor, tags: tuple[str, ...]) -> Descriptor:
        for tag in tags:
            self.tag(descriptor, tag)
        self.asked.clear()
        return descriptor


class FakeNetwork:
    """All registries there are: a repository is there from the first time that it is asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, FakeRemote] = {}
        self.closed = False
        self.journalled: list[str] = []

    def target(self, reference: Reference, /, *, uploads: UploadJournal | None = None) -> FakeRemote:
        if uploads is not None:
            self.journalled.append(reference.name)
        remote = self.repositories.setdefault(reference.name, FakeRemote(reference.name))
        remote.mounts = {one.partition("/")[2]: other for one, other in self.repositories.items()
                         if one.partition("/")[0] == reference.domain and other is not remote}
        return remote

    def __getitem__(self, name: str) -> FakeRemote:
        return self.target(Reference.parse(name, default_tag=""))

    def close(self) -> None:
        self.closed = True
