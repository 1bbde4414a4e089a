"""The two kinds of destination of a mirror: the store, and another registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from lamina.content import Reader
from lamina.content.progress import Silent
from lamina.content.verify import BytesReader, read_blob
from lamina.errors import NotFound, RegistryError, RegistryUnavailable, Unauthorized
from lamina.images.copy import let_mount
from lamina.images.mirrorfile import Entry
from lamina.images.platforms import ALL, NoPlatform, chosen_manifest
from lamina.images.pull import Options, is_whole, pull_one
from lamina.images.records import ref_of
from lamina.images.remotes import Network, Remote, image_tags
from lamina.images.transfer import Reporter, transfer
from lamina.oci import Descriptor

if TYPE_CHECKING:
    from lamina.store import BlobStore


class End(Protocol):
    """A destination, and the source that it follows."""

    source: Remote

    def is_current(self, tag: str) -> bool:
        """Whether a tag leads to the same at both ends, by asking as little as can be."""

    def bring(self, tag: str) -> tuple[bool, list[str]]:
        """Copy a tag: whether anything went over, and warnings.  `NoPlatform` where none of it is wanted."""

    def tags(self) -> Sequence[str]:
        """The tags of the destination."""

    def remove(self, tag: str) -> bool:
        """Take a tag away; False where that cannot be done."""


class IntoStore:
    """Into the store, as `pull` does."""

    def __init__(self, store: BlobStore, network: Network, entry: Entry, options: Options) -> None:
        self.source = network.target(entry.source)
        self._store, self._entry, self._options = store, entry, options

    def is_current(self, tag: str) -> bool:
        """Referrers may have come to what has not changed."""
        found, before = self.source.head(tag), ref_of(self._store, self._name(tag))
        if found is None or before is None or before.digest != found.digest or self._options.referrers:
            return False
        documents = _Stored(self._store)
        try:
            return all(is_whole(self._store, documents, found, platform) for platform in self._entry.platforms or (None,))
        except NotFound:
            return False  # a platform that it lacks, or an index within it that is not here: the source will tell

    def bring(self, tag: str) -> tuple[bool, list[str]]:
        options = self._options if self._options.platform else replace(self._options, platform=ALL)
        result = pull_one(self._store, self.source, self._entry.source.with_tag(tag), options,
                          self._entry.destination.with_tag(tag))
        return result.newer, list(result.warnings)

    def tags(self) -> list[str]:
        prefix = f"{self._entry.destination.name}:"
        return [row.name.removeprefix(prefix) for row in self._store.catalog.refs(prefix) if "@" not in row.name]

    def remove(self, tag: str) -> bool:
        from lamina.images.store import ImageStore

        for error in ImageStore(self._store).remove([self._name(tag)]).errors:
            raise error
        return True

    def _name(self, tag: str) -> str:
        return str(self._entry.destination.with_tag(tag))


class IntoRegistry:
    """Into another repository.

    One platform goes by itself, as `copy --platform` has it.  Of several the index goes too, as it is; a registry that wants
    all that an index names refuses it.
    """

    def __init__(self, store: BlobStore, network: Network, entry: Entry, options: Options) -> None:
        self.source = network.target(entry.source)
        self._target = network.target(entry.destination, uploads=store.uploads)
        self._entry, self._options = entry, options
        let_mount(self._target, entry.destination, entry.source)

    def is_current(self, tag: str) -> bool:
        """Referrers may have come to what has not changed."""
        if self._options.referrers:
            return False
        there = self._target.own_head(tag)
        if there is None:
            return False
        if len(self._entry.platforms) == 1:
            return self._root(tag).digest == there.digest
        found = self.source.head(tag)
        return found is not None and found.digest == there.digest

    def bring(self, tag: str) -> tuple[bool, list[str]]:
        root = self._root(tag)
        reporter = Reporter(self._options.progress or Silent(), "uploading", "pushed")
        there = self._target.own_head(tag)
        if len(self._entry.platforms) > 1:
            pushed = self._several(root, tag, reporter)
            return pushed or there is None or there.digest != root.digest, []
        copy = transfer(self.source, self._target, root, referrers=self._options.referrers, observer=reporter, tag=tag)
        warnings = [f"{tag}: {lost.digest}, named by {parent.digest}, is not at the source" for lost, parent in copy.missing]
        return bool(copy.pushed) or there is None or there.digest != root.digest, warnings

    def tags(self) -> list[str]:
        return image_tags(self._target)

    def remove(self, tag: str) -> bool:
        return self._target.untag(tag)

    def _root(self, tag: str) -> Descriptor:
        """What the tag is to lead to."""
        found = self.source.resolve(tag)
        if len(self._entry.platforms) != 1:
            return found
        return chosen_manifest(self.source, found, self._entry.platforms[0], self._entry.source.with_tag(tag).familiar())

    def _several(self, root: Descriptor, tag: str, reporter: Reporter) -> bool:
        """Some platforms of an index, each whole, and then the index."""
        name, missing, pushed = self._entry.source.with_tag(tag).familiar(), [], 0
        for platform in self._entry.platforms:
            try:
                manifest = chosen_manifest(self.source, root, platform, name)
            except NoPlatform as error:
                missing.append(error)
                continue
            copy = transfer(self.source, self._target, manifest, referrers=self._options.referrers, observer=reporter)
            pushed += copy.pushed
        if len(missing) == len(self._entry.platforms):
            raise missing[0]
        try:
            if not self._target.exists(root):
                self._target.push(root, BytesReader(read_blob(self.source, root)))
                pushed += 1
            self._target.tag(root, tag)
        except (RegistryUnavailable, Unauthorized):
            raise
        except RegistryError as error:
            raise RegistryError(error.what, error.where, "it may want all platforms of an index: name one, or none") from error
        return bool(pushed)


class _Stored:
    """Documents of the store as a `Source`, without a session: what is up to date is to cost little."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self.resolve: Callable[[str], Descriptor] = store.resolve
        self.references = store.references

    def fetch(self, descriptor: Descriptor) -> Reader:
        return BytesReader(self._store.document(descriptor.digest))
