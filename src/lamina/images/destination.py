"""The repository that is pushed to: where else its registry may have a blob, and what is remembered of it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina.content.progress import Progress
from lamina.content.referrers import is_document
from lamina.digest import Digest
from lamina.errors import InvalidContent, NotFound, StorageError, StoreError
from lamina.images.remotes import Remote
from lamina.oci import Descriptor, children
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.remembered import EncodingRow, PushRow


class Destination:
    """One repository.  For several threads."""

    def __init__(self, store: BlobStore, remote: Remote, reference: Reference, progress: Progress) -> None:
        self.store, self.remote, self.reference, self.progress = store, remote, reference, progress
        self.memory = store.catalog.remembered
        self._offered: dict[str, list[str]] = {}
        self._seen: dict[str, None] = {}
        self._brought: set[str] = set()
        remote.mount_from = self._offer

    def _offer(self, digest: Digest) -> Iterator[str]:
        """Repositories of the same registry that have been seen to have a blob; the last one that was asked for was it."""
        for repository in self.memory.places(self.reference.domain, digest):
            if repository != self.reference.path:
                self._offered.setdefault(digest, []).append(repository)
                yield repository

    def found(self, descriptor: Descriptor) -> str:
        """The registry has it; in what words that is told."""
        self._see(descriptor)
        sources = self._offered.get(descriptor.digest)
        return f"mounted from {sources[-1]}" if sources and descriptor.digest not in self._brought else "exists"

    def brought(self, descriptor: Descriptor) -> int:
        """It went over; its bytes, if it is a blob."""
        self._see(descriptor)
        self._brought.add(descriptor.digest)
        for repository in self._offered.pop(descriptor.digest, ()):
            with suppress(StoreError, StorageError):  # it is not there any more, or not for us
                self.memory.drop_place(self.reference.domain, repository, descriptor.digest)
        return 0 if is_document(descriptor.media_type) else descriptor.size

    def _see(self, descriptor: Descriptor) -> None:
        if not is_document(descriptor.media_type):
            self._seen[descriptor.digest] = None

    # -- memory: what was pushed is pushed, whether that can be noted or not

    def note(self) -> None:
        """These blobs are in the repository."""
        with suppress(StoreError, StorageError):
            self.memory.add_places(self.reference.domain, self.reference.path, self._seen)
        self._seen = {}

    def remember(self, row: PushRow) -> None:
        """What the manifest became for this repository."""
        with suppress(StoreError, StorageError):
            self.memory.add_push(row)

    def remember_encoding(self, row: EncodingRow) -> None:
        """What a layer came to."""
        with suppress(StoreError, StorageError):
            self.memory.add_encoding(row)


def note_places(store: BlobStore, reference: Reference, manifests: Iterable[Descriptor]) -> None:
    """What these manifests name has been seen in the repository: another one of its registry may mount it from there."""
    with suppress(StoreError, StorageError, NotFound, InvalidContent):
        named = [child for one in manifests for child in children(one.media_type, store.document(one.digest), one.digest)]
        store.catalog.remembered.add_places(reference.domain, reference.path, [
            one.digest for one in named if not is_document(one.media_type)])
