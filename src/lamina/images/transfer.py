"""`transfer`: a graph from anywhere to anywhere, its layers side by side, then the walk that proves it whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from lamina.content import Reader, Source, Target
from lamina.content.ahead import layers_of
from lamina.content.copy import CopyResult, Observer, copy_graph
from lamina.content.progress import Progress
from lamina.content.referrers import is_document
from lamina.digest import Digest
from lamina.errors import LaminaError, RegistryError
from lamina.images.watched import Watched
from lamina.oci import Descriptor, Platform, is_config
from lamina.store.lanes import run_lanes
from lamina.store.session import Job, Session

# Layers on their way at once, as docker has it: more connections gain little, and each costs a registry something.
LANES = 3


class Reporter:
    """An `Observer` that tells a progress display of all blobs but configs.

    `doing` and `ended`: what is said of one that is on its way, and of one that went over.
    """

    def __init__(self, progress: Progress, doing: str = "copying", ended: str = "done") -> None:
        self._progress, self._doing, self._ended = progress, doing, ended
        self._over: set[str] = set()

    def waiting(self, descriptor: Descriptor) -> None:
        """It will go over, when it is its turn."""
        self._progress.state(descriptor.digest, "waiting")

    def turn(self, descriptor: Descriptor) -> None:
        """It is its turn."""
        self._progress.state(descriptor.digest, self._doing)

    def started(self, descriptor: Descriptor) -> None:
        if _is_large(descriptor):
            self._progress.start(descriptor.digest, descriptor.media_type, descriptor.size)
            self.turn(descriptor)

    def advanced(self, digest: Digest, count: int) -> None:
        """So many bytes more."""
        self._progress.advance(digest, count)

    def skipped(self, descriptor: Descriptor) -> None:
        self._end(descriptor, "exists")

    def done(self, descriptor: Descriptor) -> None:
        self._end(descriptor, self._ended)

    def _end(self, descriptor: Descriptor, status: str) -> None:
        """Once each: the walk finds everything that the lanes brought."""
        if _is_large(descriptor) and descriptor.digest not in self._over:
            self._over.add(descriptor.digest)
            self._progress.done(descriptor.digest, status)


def transfer(
    source: Source,
    target: Target,
    root: Descriptor,
    *,
    platform: Platform | None = None,
    referrers: bool = False,
    observer: Reporter | None = None,
    tag: str = "",
    lanes: int = 0,
) -> CopyResult:
    """`copy_graph`, its layers first, the largest first, `lanes` at once (0: `LANES`); parameters and errors are its own.

    A store's session runs as many lanes as it was told, and tells of starts, bytes and ends by itself.  The first failure of
    a registry ends the other lanes, and is raised; what a lane meets else is met again by the walk, which raises it.
    """
    if isinstance(target, Session):
        watched = source if isinstance(source, Watched) else Watched(source)
        layers = _distinct(layers_of(watched, target, root, platform))
        target.bring(list(_jobs(watched, target, layers, observer)))
        return copy_graph(watched, target, root, platform=platform, tag=tag, referrers=referrers)
    watched = Watched(source, observer.advanced if observer else None)
    layers = _distinct(layers_of(watched, target, root, platform))
    lane = Lane(watched, target, observer)
    run_lanes(layers, lane.bring, lane.stop, lanes or LANES)
    watched.check()
    result = copy_graph(watched, lane, root, platform=platform, observer=observer, tag=tag, referrers=referrers)
    result.pushed += len(lane.brought)
    result.skipped -= len(lane.brought)
    return result


def _is_large(descriptor: Descriptor) -> bool:
    """Whether it is no document, which the walk reads and brings."""
    return not (is_document(descriptor.media_type) or is_config(descriptor.media_type))


def _distinct(layers: Iterable[Descriptor]) -> list[Descriptor]:
    """Each digest once, the largest first: the longest stream bounds the whole."""
    distinct = {layer.digest: layer for layer in layers if _is_large(layer)}
    return sorted(distinct.values(), key=lambda layer: -layer.size)


def _jobs(source: Watched, session: Session, layers: Iterable[Descriptor], observer: Reporter | None) -> Iterator[Job]:
    for layer in layers:
        if session.known(layer.digest) is None:
            if observer is not None:
                observer.waiting(layer)
            yield Job(layer, partial(_open, source, layer, observer))


def _open(source: Watched, layer: Descriptor, observer: Reporter | None) -> Reader:
    reader = source.fetch(layer)
    if observer is not None:
        observer.turn(layer)
    return reader


class Lane:
    """What a lane does; and the target as the walk sees it, which is not asked again for what a lane has found or brought."""

    def __init__(self, source: Watched, target: Target, observer: Observer | None) -> None:
        self._source, self._target, self._observer = source, target, observer
        self._there: set[tuple[str, int]] = set()
        self.brought: set[str] = set()
        self.resolve, self.fetch, self.references, self.tag = target.resolve, target.fetch, target.references, target.tag

    def bring(self, layer: Descriptor) -> None:
        """Push one layer, if the target has it not."""
        self._source.check()
        try:
            if self.exists(layer):
                return
            reader = self._source.fetch(layer)
            try:
                if self._observer is not None:
                    self._observer.started(layer)
                self.push(layer, reader)
            finally:
                reader.close()
        except RegistryError as error:
            self._source.fail(error)
            raise
        self.brought.add(layer.digest)
        if self._observer is not None:
            self._observer.done(layer)

    def stop(self) -> None:
        """Let the other lanes end."""
        self._source.fail(LaminaError("interrupted"))

    def has(self, descriptor: Descriptor) -> None:
        """The target is known to have it."""
        self._there.add((descriptor.digest, descriptor.size))

    def exists(self, descriptor: Descriptor) -> bool:
        key = descriptor.digest, descriptor.size
        if key not in self._there and self._target.exists(descriptor):
            self._there.add(key)
        return key in self._there

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        self._target.push(descriptor, reader)
        self.has(descriptor)
