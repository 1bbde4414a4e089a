"""`load`: the images of an archive or layout into the store, under the names that they have there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import ArchiveSource, open_source
from lamina.archive.opening import Readable, archives_in, plain_size
from lamina.content.ahead import layers_of
from lamina.content.copy import CopyResult, copy_graph
from lamina.content.referrers import hanging
from lamina.errors import LaminaError, NotFound, StoreError, UsageError
from lamina.images.names import short_id
from lamina.images.records import root_image_id
from lamina.images.tagging import Tagger
from lamina.images.view import Root
from lamina.oci import Descriptor, Platform, is_attestation, is_index, is_layer, is_manifest
from lamina.reference import Reference
from lamina.store import BlobStore
from lamina.store.session import Job, Session
from lamina.store.stats import SessionStats

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store.tuning import Tuning

Place = Path | Readable

_MADE_IN = "docker-archive"
# What is loaded together: an interrupt loses no more than this, and that many files are open.
BATCH_BYTES, BATCH_FILES = 8 << 30, 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """One name (familiar; '' for none) and what it leads to now; `digest` is that of the manifest or index."""

    reference: str
    image_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A manifest of an index that was left out, because the archive lacks `missing` (digests)."""

    reference: str
    digest: str
    platform: str
    missing: tuple[str, ...]


@dataclass(slots=True)
class LoadResult:
    """What one archive brought, in its order."""

    loaded: list[Loaded]
    warnings: list[str]
    incomplete: list[Incomplete]
    stats: SessionStats


@dataclass(slots=True)
class Batch:
    """What some archives that were loaded together brought: each one's result or error, in their order."""

    outcomes: list[tuple[Place, LoadResult | LaminaError | OSError]]
    stats: SessionStats


@dataclass(slots=True)
class _Load:
    """One archive on its way in.  Its roots get their names when all of it is there."""

    session: Session
    archive: ArchiveSource
    platform: Platform | None
    references: list[tuple[str, Descriptor]]
    copies: dict[str, CopyResult] = field(default_factory=dict)
    moved: dict[str, Root] = field(default_factory=dict)

    def jobs(self) -> Iterator[Job]:
        """The layers that have to be read.  What cannot be told here is found out by the walk."""
        for root in {root.digest: root for _, root in self.references}.values():
            with suppress(LaminaError):
                for layer in layers_of(self.archive, self.session, root, self.platform):
                    with suppress(NotFound):
                        if is_layer(layer.media_type) and self.session.known(layer.digest) is None:
                            self.archive.fetch(layer).close()
                            yield Job(layer, partial(self.archive.fetch, layer))

    def walk(self) -> None:
        """Copy each root, with what refers to it; a referrer that came so is none."""
        aside = hanging(self.archive, self.references)
        came: set[str] = set()
        for _, root in sorted(self.references, key=lambda pair: pair[1].digest in aside):
            # One that refers to nothing here stands for itself, but not to one platform.
            if root.digest not in self.copies and root.digest not in came and not (self.platform and root.digest in aside):
                copy = copy_graph(self.archive, self.session, root, platform=self.platform, referrers=bool(aside))
                came.update(one.digest for one in copy.referrers)
                self.copies[root.digest] = copy
                if self.archive.format == _MADE_IN:
                    for manifest in copy.manifests:
                        self.session.mark_made(manifest)
        self.references = [(name, root) for name, root in self.references if root.digest in self.copies]
        self.archive.check_unchanged()

    def name(self, tagger: Tagger) -> None:
        """Give each root its name."""
        # Of a tag with a digest the tag is what docker keeps.
        parsed = [(name, replace(Reference.parse(name), digest=None) if name else None, root) for name, root in self.references]
        for name, reference, root in parsed:
            if reference is None:
                tagger.keep(root)
            elif (before := tagger.name(root, reference)) is not None:
                self.moved[name] = before

    def incomplete(self, names: dict[str, str]) -> list[Incomplete]:
        """The manifests that are not whole, each once, with what they lack."""
        found: dict[str, tuple[str, Descriptor, list[str]]] = {}
        for digest, copy in self.copies.items():
            for lost, parent in copy.missing:
                # A manifest that is missing itself is reported under its own digest.
                manifest = parent if parent.digest != digest and not _is_document(lost) else lost
                if is_attestation(manifest):
                    continue
                _, _, missing = found.setdefault(manifest.digest, (names[digest], manifest, []))
                missing.append(lost.digest)
        return [Incomplete(name, manifest.digest, str(manifest.platform or ""), tuple(missing))
                for name, manifest, missing in found.values()]

    def result(self, store: BlobStore, stats: SessionStats) -> LoadResult:
        """What it came to, once the session has committed."""
        names: dict[str, str] = {}
        for name, root in self.references:
            names.setdefault(root.digest, _familiar(name) or root.digest)
        return LoadResult(
            [Loaded(_familiar(name), root_image_id(store, root.digest, self.platform), root.digest)
             for name, root in self.references],
            list(self.archive.warnings) + [_renamed(store, name, before) for name, before in self.moved.items()],
            self.incomplete(names), stats)


def load(
    store: BlobStore,
    source: Place,
    *,
    platform: str | None = None,
    verify: bool = False,
    compression: str = "zstd:1",
    progress: Progress | None = None,
) -> LoadResult:
    """Take in all images of `source`, or of indexes the one for `platform`; all or nothing.

    Layers whose digest the store knows are not read, but with `verify`.  Errors as of `open_source` and
    `copy_graph`; then the store is as before.
    """
    options = _Options(Platform.parse(platform) if platform else None, verify, compression, progress)
    outcome = _load_batch(store, [source], options).outcomes[0][1]
    if isinstance(outcome, LaminaError | OSError):
        raise outcome
    return outcome


def load_all(
    store: BlobStore,
    sources: Sequence[Place],
    *,
    platform: str | None = None,
    verify: bool = False,
    compression: str = "zstd:1",
    progress: Progress | None = None,
    tuning: Tuning | None = None,
) -> Iterator[Batch]:
    """Take in many archives, some at a time: layers side by side, each distinct one read once, one commit a batch.

    A directory is an OCI layout if it holds `oci-layout`, else every archive in it.

    Each archive is taken whole or not at all, and one that cannot be taken does not keep the others.  `UsageError` and
    `StoreError`: the next one would fare no better.
    """
    options = _Options(Platform.parse(platform) if platform else None, verify, compression, progress, tuning)
    for batch in _batches([place for source in sources for place in _expanded(source)]):
        yield _load_batch(store, batch, options)


@dataclass(frozen=True, slots=True)
class _Options:
    platform: Platform | None
    verify: bool
    compression: str
    progress: Progress | None
    tuning: Tuning | None = None


def _expanded(source: Place) -> list[Place]:
    """Of a directory that is no OCI layout, the archives in it; one that has none is left to be refused."""
    return list(archives_in(source)) or [source] if isinstance(source, Path) else [source]


def _batches(sources: Sequence[Place]) -> Iterator[list[Place]]:
    """Plain tars and directories together, up to a number and a size; what comes as a stream is taken in as it is opened,
    so it is alone."""
    batch: list[Place] = []
    size = 0
    for source in sources:
        bytes_ = plain_size(source) if isinstance(source, Path) else None
        if batch and (bytes_ is None or len(batch) == BATCH_FILES or size + bytes_ > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(source)
        if bytes_ is None:
            yield batch
            batch = []
        else:
            size += bytes_
    if batch:
        yield batch


def _load_batch(store: BlobStore, sources: Sequence[Place], options: _Options) -> Batch:
    errors: dict[int, LaminaError | OSError] = {}
    loads: dict[int, _Load] = {}
    with ExitStack() as stack:
        session = stack.enter_context(
            store.session(compression=options.compression, progress=options.progress, verify=options.verify,
                          tuning=options.tuning))
        for number, source in enumerate(sources):
            with _collected(errors, number):
                archive = stack.enter_context(open_source(source, intake=session))
                archive.complete(session)
                loads[number] = _Load(session, archive, options.platform, archive.references())
        session.bring(_distinct(job for load in loads.values() for job in load.jobs()))
        tagger = Tagger(store, session)
        for number, load in loads.items():
            before = session.savepoint()
            with _collected(errors, number):
                load.walk()
                load.name(tagger)
            if number in errors:
                session.rollback(before)
        if len(errors) == len(sources):
            return Batch([(source, errors[number]) for number, source in enumerate(sources)], session.stats)
        tagger.finish()
        session.commit()
        return Batch([(source, errors[number] if number in errors else loads[number].result(store, session.stats))
                      for number, source in enumerate(sources)], session.stats)


@contextmanager
def _collected(errors: dict[int, LaminaError | OSError], number: int) -> Iterator[None]:
    """An error of one archive is kept; one of the call or of the store is raised."""
    try:
        yield
    except (UsageError, StoreError):
        raise
    except (LaminaError, OSError) as error:
        errors[number] = error


def _distinct(jobs: Iterable[Job]) -> list[Job]:
    """Each digest once, the largest first: the longest stream bounds the whole."""
    distinct = {job.descriptor.digest: job for job in jobs}
    return sorted(distinct.values(), key=lambda job: -job.descriptor.size)


def _is_document(descriptor: Descriptor) -> bool:
    return is_manifest(descriptor.media_type) or is_index(descriptor.media_type)


def _familiar(name: str) -> str:
    return replace(Reference.parse(name), digest=None).familiar() if name else ""


def _renamed(store: BlobStore, name: str, before: Root) -> str:
    old = root_image_id(store, before.digest)
    return (f"The image {_familiar(name)} already exists, "
            f"renaming the old one with ID {short_id(old)} to empty string")
