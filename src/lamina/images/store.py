"""`ImageStore`: images by name over one store.  Each method is what one command does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from lamina.digest import ALGORITHMS
from lamina.errors import LaminaError, UsageError
from lamina.images import listing
from lamina.images.filters import PRUNING, parse_filters
from lamina.images.history import HistoryRow, history_rows
from lamina.images.inspect import inspect_image
from lamina.images.layers import layer_sizes
from lamina.images.names import find
from lamina.images.place import default_path, stored_names
from lamina.images.records import descriptor_of, manifest_descriptor, read_view
from lamina.images.remove import Removal, RemoveResult
from lamina.images.steady import steadily
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.archive.opening import Readable
    from lamina.content.progress import Progress
    from lamina.images.budget import Shrunk
    from lamina.images.copy import Copied
    from lamina.images.load import Batch, LoadResult
    from lamina.images.mirror import Listener as MirrorListener
    from lamina.images.mirror import Mirrored
    from lamina.images.pull import Listener, PullResult
    from lamina.images.push import Listener as PushListener
    from lamina.images.push import PushResult
    from lamina.images.remotes import Network
    from lamina.images.repair import RepairResult
    from lamina.images.save import SaveResult
    from lamina.images.tree import TreeNode
    from lamina.images.usage import DiskUsage, VerifyResult
    from lamina.store import BlobStore
    from lamina.store.backup import BackedUp
    from lamina.store.collect import Collected
    from lamina.store.optimize import Optimized

# Commands that only look import neither numpy nor the compressors (0.12 s): what needs them is imported where it is
# called.

_Open = TypeVar("_Open")


class ImageStore:
    """The images of one store; a context manager.  `blobs` is the floor below."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None, *, create: bool = True,
             timeout: float = 30) -> Self:
        """Open the store at `path`, at LAMINA_STORE, or in the user's data directory; made if it is not there.

        `StoreError` of all kinds, `StorageError`.
        """
        from lamina.store import BlobStore

        return cls(BlobStore.open(Path(path) if path is not None else default_path(), create=create,
                                  timeout=timeout))

    def close(self) -> None:
        """Let go of the store; again is harmless."""
        self.blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, source: str | Path | Readable, *, platform: str | None = None, verify: bool = False,
             compression: str = "zstd:1", progress: Progress | None = None) -> LoadResult:
        """Take in the images of an archive or layout; see `lamina.images.load`."""
        from lamina.images.load import load

        return load(self.blobs, _path(source), platform=platform, verify=verify, compression=compression,
                    progress=progress)

    def load_all(self, sources: Sequence[str | Path | Readable], *, platform: str | None = None, verify: bool = False,
                 compression: str = "zstd:1", progress: Progress | None = None) -> Iterator[Batch]:
        """Take in many archives and directories of archives, layers side by side; see `lamina.images.load.load_all`."""
        from lamina.images.load import load_all

        return load_all(self.blobs, [_path(source) for source in sources], platform=platform, verify=verify,
                        compression=compression, progress=progress)

    def save(self, names: Sequence[str], output: str | Path | BinaryIO, *, format: str = "docker-archive",
             platform: str | None = None, progress: Progress | None = None) -> SaveResult:
        """Write images as an archive or layout; see `lamina.images.save`."""
        from lamina.images.save import save

        return save(self.blobs, names, _path(output), format=format, platform=platform, progress=progress)

    def pull(self, words: Sequence[str], *, all_tags: bool = False, platform: str | None = None, compression: str = "zstd:1",
             referrers: bool = False, progress: Progress | None = None, listener: Listener | None = None,
             network: Network | None = None) -> list[PullResult]:
        """Bring images of registries; see `lamina.images.pull`."""
        from lamina.images.pull import pull
        from lamina.images.remotes import connected

        with connected(network) as net:
            return pull(self.blobs, net, words, all_tags=all_tags, platform=platform, compression=compression,
                        referrers=referrers, progress=progress, listener=listener)

    def push(self, words: Sequence[str], *, all_tags: bool = False, platform: str | None = None, compression: str = "gzip",
             referrers: bool = False, force: bool = False, progress: Progress | None = None,
             listener: PushListener | None = None, network: Network | None = None) -> list[PushResult]:
        """Push images to registries; see `lamina.images.push`."""
        from lamina.images.push import push
        from lamina.images.remotes import connected

        with connected(network) as net:
            return push(self.blobs, net, words, all_tags=all_tags, platform=platform, compression=compression,
                        referrers=referrers, force=force, progress=progress, listener=listener)

    def copy(self, source: str, destination: str, *, platform: str | None = None, referrers: bool = False,
             compression: str = "zstd:1", progress: Progress | None = None, network: Network | None = None) -> Copied:
        """Copy an image between registries, layouts, archives and this store; see `lamina.images.copy`."""
        from lamina.images.copy import copy
        from lamina.images.remotes import connected

        with connected(network) as net:
            return copy(self.blobs, net, source, destination, platform=platform, referrers=referrers,
                        compression=compression, progress=progress)

    def mirror(self, file: str | Path, *, dry_run: bool = False, compression: str = "zstd:1", progress: Progress | None = None,
               listener: MirrorListener | None = None, network: Network | None = None) -> list[Mirrored]:
        """Keep the repositories that a file lists in step; see `lamina.images.mirror` and `.mirrorfile`."""
        from lamina.images.mirror import mirror
        from lamina.images.mirrorfile import read_mirror
        from lamina.images.remotes import connected

        entries = read_mirror(Path(file))
        with connected(network) as net:
            return mirror(self.blobs, net, entries, dry_run=dry_run, compression=compression, progress=progress,
                          listener=listener)

    def import_image(self, source: str | Path | Readable, reference: str = "", *, changes: Sequence[str] = (),
                     message: str = "", platform: str | None = None, compression: str = "zstd:1",
                     progress: Progress | None = None) -> str:
        """Make an image of a root file system's tar; its id.  See `lamina.images.import_`."""
        from lamina.images.import_ import import_image

        return import_image(self.blobs, _path(source), reference, changes=changes, message=message,
                            platform=platform, compression=compression, progress=progress)

    def images(self, *, all: bool = False, name: str = "",
               filters: Sequence[str] = ()) -> list[listing.ImageSummary]:
        """The rows of `docker images`, the newest first; see `lamina.images.listing` and `.filters`."""
        return steadily(self.blobs, lambda: listing.list_images(read_view(self.blobs), every=all, name=name, filters=filters))

    def inspect(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """What docker's API says of each; `NotFound` for the first that is not there."""

        def look() -> list[dict[str, Any]]:
            view = read_view(self.blobs)
            return [inspect_image(view, find(view, name).image) for name in names]

        return steadily(self.blobs, look)

    def history(self, name: str) -> list[HistoryRow]:
        """The steps of an image, the newest first."""

        def look() -> list[HistoryRow]:
            view = read_view(self.blobs)
            image = find(view, name).image
            return history_rows(view, image, layer_sizes(self.blobs, image))

        return steadily(self.blobs, look)

    def tag(self, source: str, target: str) -> None:
        """Let the name `target` lead to what `source` means; an index stays whole."""
        from lamina.images.tagging import Tagger

        reference = Reference.parse(target)
        if reference.digest is not None:
            raise UsageError("refusing to create a tag with a digest reference", target)
        if reference.familiar_name in ALGORITHMS:
            raise UsageError("refusing to create an ambiguous tag using digest algorithm as name", target)
        found = find(read_view(self.blobs), source)
        descriptor = descriptor_of(found.root) if found.root else manifest_descriptor(self.blobs, found.image)
        with self.blobs.session() as session:
            tagger = Tagger(self.blobs, session)
            tagger.name(descriptor, reference)
            tagger.finish()
            session.commit()

    def remove(self, names: Sequence[str], *, force: bool = False, prune: bool = True,
               dry_run: bool = False) -> RemoveResult:
        """Take away names, and images that have none left; goes on after a name that cannot be removed.

        `prune`: untagged parents go too.  `dry_run`: nothing is done, and the bytes are figured out.
        """
        removal = Removal(read_view(self.blobs))
        errors: list[LaminaError] = []
        for name in names:
            try:
                removal.remove(name, force=force, prune=prune)
            except LaminaError as error:
                errors.append(error)
        result = RemoveResult(removal.events, errors=errors)
        if dry_run:
            self._figure(removal, result)
        else:
            self._apply(removal)
        return result

    def prune(self, *, all: bool = False, filters: Sequence[str] = (), dry_run: bool = False) -> RemoveResult:
        """Take away dangling images, or with `all` every image without a child; and figure out their bytes.

        Images with a pinned name stay.  `dry_run`: nothing is done.
        """
        wanted = parse_filters(filters, PRUNING)

        def plan() -> Removal:
            view = read_view(self.blobs)
            removal = Removal(view)
            for entry in sorted(view.entries.values(), key=lambda entry: (entry.image.age, entry.image.id)):
                if wanted.meets_age(entry.image.age) and (
                        not wanted.needs_labels or wanted.meets_labels(view.labels(entry.image))):
                    removal.prune(entry.image.id, every=all or wanted.dangling is False)
            return removal

        removal = steadily(self.blobs, plan)
        result = RemoveResult(removal.events)
        self._figure(removal, result)
        if not dry_run:
            self._apply(removal, by_rule=True)
        return result

    def pin(self, names: Sequence[str], *, pinned: bool = True) -> list[str]:
        """Let no rule take these names away, or (not `pinned`) let go of them; see `lamina.images.pins`."""
        from lamina.images.pins import pin

        return pin(self.blobs, names, pinned)

    def pinned(self) -> list[listing.ImageSummary]:
        """The pinned names."""
        from lamina.images.pins import pinned_images

        return steadily(self.blobs, lambda: pinned_images(self.blobs))

    def tree(self) -> list[TreeNode]:
        """Images under their parents, with what each adds."""
        from lamina.images.tree import grow_from

        return steadily(self.blobs, lambda: grow_from(self.blobs))

    def df(self) -> DiskUsage:
        """How much room things take, exactly."""
        from lamina.images.usage import disk_usage

        return disk_usage(self.blobs)

    def gc(self, *, max_unused: float = 0.05, max_unused_bytes: int | None = None, dry_run: bool = False,
           progress: Progress | None = None) -> Collected:
        """Free what nothing refers to; see `BlobStore.collect`."""
        return self.blobs.collect(max_unused=max_unused, max_unused_bytes=max_unused_bytes, dry_run=dry_run, progress=progress)

    def shrink(self, max_size: int, *, dry_run: bool = False, progress: Progress | None = None) -> Shrunk:
        """Let go of the images that were used the longest ago, until the packs have `max_size` bytes at most, and collect.

        See `lamina.images.budget`.
        """
        from lamina.images.budget import shrink

        return shrink(self.blobs, max_size, None if dry_run else lambda removal: self._apply(removal, by_rule=True), progress)

    def optimize(self, *, level: int = 9, budget: float | None = None, memory: int = 300,
                 progress: Progress | None = None) -> Optimized:
        """Store what is in use anew, smaller; `budget` in seconds, `memory` in MiB.  See `lamina.store.optimize`."""
        return self.blobs.optimize(level=level, budget=budget, memory=memory << 20, progress=progress)

    def backup(self, path: str | Path, progress: Progress | None = None) -> BackedUp:
        """Copy what is new since the last backup into a directory, which is a store, too; see `lamina.store.backup`."""
        return self.blobs.backup(Path(path), progress)

    def verify(self, names: Sequence[str] = (), progress: Progress | None = None, *, sample: float | None = None,
               since: str = "", seed: int | None = None, resume: bool = False, stored: bool = False,
               rehash: bool = False) -> VerifyResult:
        """Read back and check everything, or a part of it, or what some images need; see `lamina.images.usage`."""
        from lamina.images.usage import verify

        return verify(self.blobs, names, progress, sample=sample, since=since, seed=seed, resume=resume,
                      stored=stored, rehash=rehash)

    def serve(self, *, listen: str | None = None, certificate: str | None = None, key: str | None = None,
              config: str | None = None, workers: int | None = None, read_only: bool = False,
              proxies: Sequence[tuple[str, str]] = (), compression: str = "zstd:1",
              grace: float = 30.0, told: Callable[[str], None] = lambda _: None,
              say: Callable[[str], None] = lambda _: None) -> None:
        """Serve the store as a registry until SIGTERM or SIGINT; see `lamina.images.served.serving`."""
        from lamina.images.served.serving import Served, serve
        from lamina.store.codec import Compression

        Compression.parse(compression)
        serve(Served(os.fspath(self.blobs.path.absolute()), config=config, listen=listen, certificate=certificate, key=key,
                     workers=workers, read_only=read_only, proxies=tuple(proxies), compression=compression, grace=grace),
              told, say)

    def repair(self, sources: Sequence[str] = (), *, dry_run: bool = False, forget: bool = False, compression: str = "zstd:1",
               progress: Progress | None = None, network: Network | None = None) -> RepairResult:
        """Repair what can be, with the help of `sources`; see `lamina.images.repair`."""
        from lamina.images.remotes import connected
        from lamina.images.repair import repair

        with connected(network) as net:
            return repair(self.blobs, net, sources, dry_run=dry_run, forget=forget, compression=compression, progress=progress)

    def drop_quarantine(self) -> tuple[int, int]:
        """Delete what repairs have put aside: how many files, and their bytes."""
        from lamina.store.quarantine import drop

        return drop(self.blobs.backend)

    def info(self) -> dict[str, Any]:
        """Where the store is, its format, versions, the processor's features in use."""
        from lamina.images.about import describe

        return describe(self.blobs)

    def names(self) -> list[str]:
        """All familiar names, in order; quick, for completion."""
        return stored_names(self.blobs.path)

    def _figure(self, removal: Removal, result: RemoveResult) -> None:
        if names := removal.leaving():
            figures = self.blobs.reclaimable(names)
            result.frame_bytes, result.dead_bytes = figures.frame_bytes, figures.dead_bytes

    def _apply(self, removal: Removal, *, by_rule: bool = False) -> None:
        """`by_rule`: `Conflict`, and nothing goes, if one of the names has been given anew or pinned meanwhile."""
        if not removal.gone:
            return
        kept = {root.digest for root in removal.kept}
        with self.blobs.session() as session:
            for root in removal.kept:
                session.root(descriptor_of(root))
            for root in removal.gone:
                if root.reference is not None or root.digest not in kept:
                    session.untag(root.name, (root.digest, int(root.time)) if by_rule else None)
            session.commit()


def _path(place: str | Path | _Open) -> Path | _Open:
    """A path in words is a path; what is open already stays as it is."""
    return Path(place) if isinstance(place, str) else place
