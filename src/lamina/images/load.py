"""`load`: the images of an archive or layout into the store, under the names that they have there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import ArchiveSource, open_source
from lamina.archive.opening import Readable
from lamina.content.copy import CopyResult, copy_graph
from lamina.images.names import short_id
from lamina.images.records import root_image_id
from lamina.images.tagging import Tagger
from lamina.images.view import Root
from lamina.oci import Descriptor, Platform, is_attestation, is_index, is_manifest
from lamina.reference import Reference
from lamina.store import BlobStore

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store.session import Session
    from lamina.store.stats import SessionStats

_MADE_IN = "docker-archive"


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
class _Load:
    store: BlobStore
    session: Session
    archive: ArchiveSource
    platform: Platform | None
    tagger: Tagger
    copies: dict[str, CopyResult] = field(default_factory=dict)
    moved: dict[str, Root] = field(default_factory=dict)

    def take(self, name: str, root: Descriptor) -> None:
        """Copy one root, and give it its name."""
        if root.digest not in self.copies:
            copy = copy_graph(self.archive, self.session, root, platform=self.platform)
            self.copies[root.digest] = copy
            if self.archive.format == _MADE_IN:
                for manifest in copy.manifests:
                    self.session.mark_made(manifest)
        if not name:
            self.tagger.keep(root)
            return
        # Of a tag with a digest the tag is what docker keeps.
        before = self.tagger.name(root, replace(Reference.parse(name), digest=None))
        if before is not None:
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


def load(
    store: BlobStore,
    source: Path | Readable,
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
    wanted = Platform.parse(platform) if platform else None
    with store.session(compression=compression, progress=progress, verify=verify) as session:
        with open_source(source, intake=session) as archive:
            archive.complete(session)
            references = archive.references()
            work = _Load(store, session, archive, wanted, Tagger(store, session))
            for name, root in references:
                work.take(name, root)
            archive.check_unchanged()
            warnings = list(archive.warnings)
        warnings += [_renamed(store, name, before) for name, before in work.moved.items()]
        work.tagger.finish()
        session.commit()
        names: dict[str, str] = {}
        for name, root in references:
            names.setdefault(root.digest, _familiar(name) or root.digest)
        return LoadResult(
            [Loaded(_familiar(name), root_image_id(store, root.digest, wanted), root.digest)
             for name, root in references],
            warnings, work.incomplete(names), session.stats)


def _is_document(descriptor: Descriptor) -> bool:
    return is_manifest(descriptor.media_type) or is_index(descriptor.media_type)


def _familiar(name: str) -> str:
    return replace(Reference.parse(name), digest=None).familiar() if name else ""


def _renamed(store: BlobStore, name: str, before: Root) -> str:
    old = root_image_id(store, before.digest)
    return (f"The image {_familiar(name)} already exists, "
            f"renaming the old one with ID {short_id(old)} to empty string")
