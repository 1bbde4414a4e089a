"""`pull`: images and artifacts of registries into the store, in docker's way and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lamina.content.progress import Silent
from lamina.content.referrers import is_document
from lamina.errors import DigestMismatch, LaminaError, NotFound, StoreError, UsageError
from lamina.images.destination import note_places
from lamina.images.platforms import NoPlatform, choose, needed, parse_wanted
from lamina.images.records import ref_of, root_image_id
from lamina.images.remotes import Network, Remote, asked, image_tags
from lamina.images.tagging import Tagger
from lamina.images.transfer import LANES, Reporter, transfer
from lamina.images.uses import used
from lamina.images.watched import Watched
from lamina.oci import Descriptor, Platform
from lamina.reference import DEFAULT_TAG, Reference
from lamina.store import BlobStore
from lamina.store.tuning import Tuning

if TYPE_CHECKING:
    from lamina.content import Source
    from lamina.content.copy import CopyResult
    from lamina.content.progress import Progress


@dataclass(frozen=True, slots=True)
class Pulling:
    """One begins: its tag (`by_default` where the word has none) or digest, and the repository's path in its registry."""

    word: str
    repository: str
    by_default: bool = False


@dataclass(frozen=True, slots=True)
class PullResult:
    """What became of one name.

    `name`: in full; `reference`: as docker shows it.  `newer`: it leads to something else than before, or more of it is here.
    `error`: why it is as before.
    """

    name: str
    reference: str
    digest: str = ""
    image_id: str = ""
    newer: bool = False
    referrers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: LaminaError | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How it is pulled."""

    platform: Platform | str | tuple[Platform, ...] | None = None
    compression: str = "zstd:1"
    referrers: bool = False
    progress: Progress | None = None


Listener = Callable[[Pulling | PullResult], None]


def pull(
    store: BlobStore,
    network: Network,
    words: Sequence[str],
    *,
    all_tags: bool = False,
    platform: str | None = None,
    compression: str = "zstd:1",
    referrers: bool = False,
    progress: Progress | None = None,
    listener: Listener | None = None,
) -> list[PullResult]:
    """Bring what each word means (`latest` where it names no tag; with `all_tags` each tag of a repository), one by one.

    Of an index that comes which serves this machine, and the index; with `platform` that of another, or all (`all`).  A name
    leads to what came when all of it is there; what it led to before stays without one.  A name that fails is reported in its
    result, and the next one is pulled.  `listener` hears of each as it begins and ends.

    `InvalidReference`, `UsageError` before anything is asked; `StoreError`: the next one would fare no better.
    """
    options = Options(parse_wanted(platform), compression, referrers, progress)
    references = [_parsed(word, all_tags) for word in words]
    results = []
    for reference in references:
        for result in _pull_repository(store, network, reference, all_tags, options, listener or _deaf):
            (listener or _deaf)(result)
            results.append(result)
    used(store, (result.digest for result in results if result.digest and result.error is None))
    return results


def _deaf(_: Pulling | PullResult) -> None:
    """The listener that does not care."""


def _parsed(word: str, all_tags: bool) -> Reference:
    """As it is written; of a tag with a digest the digest counts, and the tag is not set, as in docker."""
    reference = Reference.parse(word, default_tag="")
    if all_tags and (reference.tag or reference.digest):
        raise UsageError("tag can't be used with --all-tags/-a", word)
    return replace(reference, tag="") if reference.digest is not None else reference


def _with_default(reference: Reference) -> Reference:
    return reference if reference.tag or reference.digest else reference.with_tag(DEFAULT_TAG)


def _pull_repository(store: BlobStore, network: Network, reference: Reference, all_tags: bool, options: Options,
                     listener: Listener) -> Iterator[PullResult]:
    try:
        remote = network.target(reference)
        references = [reference.with_tag(tag) for tag in image_tags(remote)] if all_tags else [_with_default(reference)]
        if not references:
            raise NotFound("the repository has no tags", reference.familiar_name)
    except (UsageError, StoreError):
        raise
    except LaminaError as error:
        yield PullResult(str(reference), reference.familiar(), error=error)
        return
    for one in references:
        listener(Pulling(asked(one), one.path, not all_tags and one != reference))
        try:
            yield pull_one(store, remote, one, options)
        except (UsageError, StoreError):
            raise
        except LaminaError as error:
            yield PullResult(str(one), one.familiar(), error=error)


def pull_one(
    store: BlobStore, remote: Remote, reference: Reference, options: Options, name: Reference | None = None
) -> PullResult:
    """Bring one tag or digest, under its own name or another; errors as of `transfer`, and nothing has changed then."""
    one = _Pull(store, remote, reference, options, name or reference)
    return one.unchanged() if one.is_current() else one.bring()


@dataclass(slots=True)
class _Pull:
    """One manifest or index on its way in."""

    store: BlobStore
    remote: Remote
    reference: Reference
    options: Options
    name: Reference
    source: Watched = field(init=False)
    root: Descriptor = field(init=False)
    platforms: tuple[Platform | None, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = self.remote.resolve(asked(self.reference))
        if self.reference.digest is not None and found.digest != self.reference.digest:
            raise DigestMismatch(f"the registry gives {found.digest}", self.reference.familiar())
        self.root = Descriptor(found.media_type, found.digest, found.size)
        self.source = Watched(self.remote, local=self._stored)
        self.platforms = tuple(self._choose())

    def is_current(self) -> bool:
        """Whether the name leads there, and all of it is here."""
        before = ref_of(self.store, str(self.name))
        if before is None or before.digest != self.root.digest or self.options.referrers:
            return False
        return all(is_whole(self.store, self.source, self.root, platform) for platform in self.platforms)

    def unchanged(self) -> PullResult:
        """What is said of a name that is up to date."""
        return PullResult(str(self.name), self.name.familiar(), str(self.root.digest), self._image_id())

    def bring(self) -> PullResult:
        """Copy, and name when all is there."""
        before = ref_of(self.store, str(self.name))
        with self.store.session(compression=self.options.compression, progress=self.options.progress,
                                tuning=Tuning(lanes=LANES)) as session:
            reporter = Reporter(self.options.progress or Silent(), "downloading")
            copies = [transfer(self.source, session, self.root, platform=platform, referrers=self.options.referrers,
                               observer=reporter) for platform in self.platforms]
            newer = any(copy.pushed for copy in copies) or before is None or before.digest != self.root.digest
            if newer:
                tagger = Tagger(self.store, session)
                tagger.name(self.root, self.name)
                tagger.finish()
                session.commit()
        note_places(self.store, self.reference, [one for copy in copies for one in copy.manifests])
        return PullResult(str(self.name), self.name.familiar(), str(self.root.digest), self._image_id(), newer,
                          tuple(dict.fromkeys(str(one.digest) for copy in copies for one in copy.referrers)),
                          tuple(text for copy in copies for text in _missing(self.name, copy)))

    def _image_id(self) -> str:
        return root_image_id(self.store, self.root.digest, self.platforms[0])

    def _choose(self) -> Iterator[Platform | None]:
        """Of several platforms those that there are; `NoPlatform` where there is none."""
        wanted, name = self.options.platform, self.reference.familiar()
        if not isinstance(wanted, tuple):
            yield choose(self.source, self.root, wanted, name)
            return
        missing: list[NoPlatform] = []
        for platform in wanted:
            try:
                yield choose(self.source, self.root, platform, name)
            except NoPlatform as error:
                missing.append(error)
        if len(missing) == len(wanted):
            raise missing[0]

    def _stored(self, descriptor: Descriptor) -> bytes | None:
        try:
            return self.store.document(descriptor.digest)
        except LaminaError:  # not here, or damaged: the registry has it
            return None


def is_whole(store: BlobStore, source: Source, root: Descriptor, platform: Platform | None) -> bool:
    """Whether the store has the manifests to have of `root`: they are kept with what they name."""
    rows = [store.catalog.blob(one.digest) for one in needed(source, root, platform)]
    return all(row is not None and is_document(row.media_type) for row in rows)


def _missing(name: Reference, copy: CopyResult) -> Iterator[str]:
    """What is said of the parts that the registry lacks."""
    for lost, parent in copy.missing:
        yield f"{name.familiar()}: {lost.digest}, named by {parent.digest}, is not in the registry"
    for lost, parent in copy.foreign:
        yield f"{name.familiar()}: the layer {lost.digest} of {parent.digest} lies elsewhere and was left there"
