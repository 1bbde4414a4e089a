"""`push`: images of the store into registries, in docker's way and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.content.ahead import layers_of
from lamina.content.compress import Crew, Packing
from lamina.content.memory import MemoryTarget
from lamina.content.progress import Progress, Silent
from lamina.errors import LaminaError, NotFound, StoreDamaged, StoreError, UsageError
from lamina.images.destination import Destination
from lamina.images.packed import PackedPush
from lamina.images.platforms import chosen_manifest
from lamina.images.records import descriptor_of, ref_of
from lamina.images.remotes import Network
from lamina.images.transfer import Reporter, transfer
from lamina.images.uses import used
from lamina.oci import Descriptor, Platform, is_index, parse_index
from lamina.reference import DEFAULT_TAG, Reference
from lamina.store.remembered import PushRow

if TYPE_CHECKING:
    from lamina.content import Source
    from lamina.content.copy import CopyResult
    from lamina.store import BlobStore

_NAMED = 3  # platforms that are told of when they are missing


@dataclass(frozen=True, slots=True)
class Pushing:
    """One repository begins, its name in full; `by_default`: the tag that was not named."""

    repository: str
    by_default: str = ""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one name.

    `name`: in full; `reference`: as docker shows it.  `digest`, `media_type`, `size`: of the manifest or index in the registry.
    `current`: the tag led there already, and nothing was sent; `sent`: bytes of blobs that went over.  `error`: why not.
    """

    name: str
    reference: str
    tag: str
    digest: str = ""
    media_type: str = ""
    size: int = 0
    current: bool = False
    sent: int = 0
    referrers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: LaminaError | None = None


Listener = Callable[[Pushing | PushResult], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How it is pushed."""

    packing: Packing
    platform: Platform | None = None
    referrers: bool = False
    force: bool = False


def push(
    store: BlobStore,
    network: Network,
    words: Sequence[str],
    *,
    all_tags: bool = False,
    platform: str | None = None,
    compression: str = "gzip",
    referrers: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    listener: Listener | None = None,
) -> list[PushResult]:
    """Push what each name leads to (`latest` where it has no tag; with `all_tags` each tag of a repository), one by one.

    A manifest or index goes as it is, an index with all that it names, or with `platform` that one's manifest by itself; with
    `referrers` what refers to it, too.  An image whose manifest Lamina made has its plain layers compressed on the way (see
    `lamina.content.compress`; `none` pushes them plain), each once, and keeps its id.  With `force` nothing that is remembered
    is relied on.  A name that fails is reported in its result, and the next one is pushed.  `listener` hears of each repository
    as it begins, and of each name as it ends.

    `InvalidReference`, `UsageError` before anything is asked; `StoreError`, but for damage: the next would fare no better.
    """
    options = Options(Packing.parse(compression), Platform.parse(platform) if platform else None, referrers, force)
    references = [_parsed(word, all_tags) for word in words]
    hear = listener or _deaf
    results = []
    with options.packing.crew() as crew:
        for reference, by_default in references:
            hear(Pushing(reference.name, by_default))
            for result in _Repository(store, network, reference, options, crew, progress or Silent()).push(all_tags):
                hear(result)
                results.append(result)
    pushed = (ref_of(store, result.name) for result in results if result.error is None)
    used(store, (root.digest for root in pushed if root is not None))
    return results


def _deaf(_: Pushing | PushResult) -> None:
    """The listener that does not care."""


def _parsed(word: str, all_tags: bool) -> tuple[Reference, str]:
    """The name, and its tag if that was not given."""
    reference = Reference.parse(word, default_tag="")
    if reference.digest is not None:
        raise UsageError("cannot push a digest reference", word, "push a tag")
    if all_tags and reference.tag:
        raise UsageError("tag can't be used with --all-tags/-a", word)
    if all_tags or reference.tag:
        return reference, ""
    return reference.with_tag(DEFAULT_TAG), DEFAULT_TAG


class _Repository:
    """What is pushed to one repository, name by name."""

    def __init__(self, store: BlobStore, network: Network, reference: Reference, options: Options, crew: Crew,
                 progress: Progress) -> None:
        self._store, self._network, self._reference = store, network, reference
        self._options, self._crew, self._progress = options, crew, progress

    def push(self, all_tags: bool) -> Iterator[PushResult]:
        """A result for each name; one where there is no name at all."""
        name = self._reference.name
        stored = [Reference.parse(ref.name) for ref in self._store.catalog.refs(f"{name}:")]
        if not stored:
            yield self._failed(self._reference, NotFound(
                f"An image does not exist locally with the tag: {self._reference.familiar_name}"))
            return
        remote = self._network.target(self._reference, uploads=self._store.uploads)
        there = Destination(self._store, remote, self._reference, self._progress)
        for reference in stored if all_tags else [self._reference]:
            try:
                yield self._push_one(there, replace(reference, digest=None))
            except StoreDamaged as error:
                yield self._failed(reference, error)
            except (UsageError, StoreError):
                raise
            except LaminaError as error:
                yield self._failed(reference, error)

    @staticmethod
    def _failed(reference: Reference, error: LaminaError) -> PushResult:
        return PushResult(str(reference), reference.familiar(), reference.tag, error=error)

    def _push_one(self, there: Destination, reference: Reference) -> PushResult:
        found = ref_of(self._store, str(reference))
        if found is None:
            raise NotFound(f"tag does not exist: {reference.familiar()}")
        with self._store.reading() as reading:
            root = descriptor_of(found)
            reading.keep(root.digest)
            if self._options.platform is not None:
                root = chosen_manifest(reading, root, self._options.platform, reference.familiar())
            row = self._store.catalog.blob(root.digest)
            if row is not None and row.made and self._options.packing.name != "none":
                packed = PackedPush(there, reading, reference.tag, root, self._options.packing, self._crew)
                end, current = packed.push(force=self._options.force)
                return self._result(reference, end, current=current, sent=packed.sent)
            result = self._push_as_it_is(there, reading, reference, root)
            if row is not None and row.made and row.text is not None:
                there.remember(PushRow(reference.name, root.digest, "none", root.digest, root.media_type, row.text))
            return result

    def _push_as_it_is(self, there: Destination, source: Source, reference: Reference, root: Descriptor) -> PushResult:
        if not self._options.force and not self._options.referrers:
            found = there.remote.own_head(reference.tag)
            if found is not None and found.digest == root.digest:
                self._say_exists(source, root)
                return self._result(reference, root, current=True)
        _demand_all(self._store, root, reference)
        watching = _Watching(there)
        for layer in dict.fromkeys(layer.digest for layer in layers_of(source, MemoryTarget(), root)):
            self._progress.state(layer, "waiting")
        copy = transfer(source, there.remote, root, referrers=self._options.referrers, observer=watching, tag=reference.tag)
        there.note()
        return self._result(reference, root, sent=watching.sent, copy=copy)

    def _say_exists(self, source: Source, root: Descriptor) -> None:
        with suppress(LaminaError):  # nothing is pushed: what is damaged here does not matter
            for layer in dict.fromkeys(layer.digest for layer in layers_of(source, MemoryTarget(), root)):
                self._progress.done(layer, "exists")

    @staticmethod
    def _result(reference: Reference, end: Descriptor, *, current: bool = False, sent: int = 0,
                copy: CopyResult | None = None) -> PushResult:
        referrers = tuple(str(one.digest) for one in copy.referrers) if copy else ()
        warnings = tuple(_warnings(reference, copy)) if copy else ()
        return PushResult(str(reference), reference.familiar(), reference.tag, str(end.digest), end.media_type, end.size,
                          current, sent, referrers, warnings)


class _Watching(Reporter):
    """Tells how each layer goes; counts what went over, and notes what is there now."""

    def __init__(self, there: Destination) -> None:
        super().__init__(there.progress, "uploading", "pushed")
        self._there, self.sent = there, 0

    def skipped(self, descriptor: Descriptor) -> None:
        self._end(descriptor, self._there.found(descriptor))

    def done(self, descriptor: Descriptor) -> None:
        super().done(descriptor)
        self.sent += self._there.brought(descriptor)


def _demand_all(store: BlobStore, root: Descriptor, reference: Reference) -> None:
    """An index must be pushed with all that it names: what names something that is not there is refused by registries."""
    lost = list(_lacking(store, root, set()))
    if lost:
        names = [str(one.platform or one.digest) for one in lost[:_NAMED]]
        more = [f"{len(lost) - _NAMED} more"] if len(lost) > _NAMED else []
        raise NotFound(f"not all of the image is here: {', '.join(names + more)} missing", reference.familiar(),
                       "push one platform with --platform, or pull all with pull --platform all")


def _lacking(store: BlobStore, one: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    """Manifests and indexes that are not here.  Those that are, are here with all that they name."""
    if one.digest in seen:
        return
    seen.add(one.digest)
    row = store.catalog.blob(one.digest)
    if row is None:
        yield one
    elif is_index(one.media_type):
        for child in parse_index(store.document(one.digest), one.media_type, one.digest).manifests:
            yield from _lacking(store, child, seen)


def _warnings(reference: Reference, copy: CopyResult) -> Iterator[str]:
    for lost, parent in copy.missing:
        yield f"{reference.familiar()}: {lost.digest}, named by {parent.digest}, is not here and was left out"
    for lost, parent in copy.foreign:
        yield f"{reference.familiar()}: the layer {lost.digest} of {parent.digest} lies elsewhere and was left there"
