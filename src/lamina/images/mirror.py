"""`mirror`: repositories kept in step with others, in the store or in registries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.errors import LaminaError, NotFound, RegistryUnavailable, StoreError, Unauthorized, UsageError
from lamina.images.mirrorends import End, IntoRegistry, IntoStore
from lamina.images.mirrorfile import Entry
from lamina.images.platforms import NoPlatform
from lamina.images.pull import Options
from lamina.images.remotes import Network, image_tags

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store import BlobStore


@dataclass(slots=True)
class Mirrored:
    """What became of one entry: tags that were copied (or would be), are in step, are not for its platforms, were taken away;
    what failed by tag, and what ended the whole entry."""

    source: str
    destination: str
    copied: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, LaminaError] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: LaminaError | None = None

    @property
    def ok(self) -> bool:
        """Whether all of it is in step now."""
        return self.error is None and not self.failed


Listener = Callable[[Entry | Mirrored], None]


def mirror(
    store: BlobStore,
    network: Network,
    entries: Sequence[Entry],
    *,
    dry_run: bool = False,
    compression: str = "zstd:1",
    progress: Progress | None = None,
    listener: Listener | None = None,
) -> list[Mirrored]:
    """Bring each entry's destination in step with its source, one after the other; what fails does not keep the others.

    A tag that leads to the same digest at both ends costs a HEAD at each, and is not looked at further (with `referrers` it
    is).  With `dry_run` nothing is changed.  `UsageError`, `StoreError`: the next entry would fare no better.
    """
    results = []
    for entry in entries:
        if listener is not None:
            listener(entry)
        result = Mirrored(entry.source.familiar_name, entry.place)
        options = Options(entry.platforms or None, compression, entry.referrers, progress)
        end = IntoStore(store, network, entry, options) if entry.to_store else IntoRegistry(store, network, entry, options)
        _keep_in_step(entry, end, result, dry_run)
        results.append(result)
        if listener is not None:
            listener(result)
    return results


def _keep_in_step(entry: Entry, end: End, result: Mirrored, dry_run: bool) -> None:
    """The tags of one entry."""
    try:
        every = image_tags(end.source)
        tags = [tag for tag in every if entry.wants(tag)]
        if not tags:
            raise NotFound("no such repository, or it has no tags" if not every else "no tag matches", result.source)
        for tag in tags:
            _one(end, result, tag, dry_run)
        if entry.prune and result.ok:
            _prune(entry, end, result, set(every), dry_run)
    except (UsageError, StoreError):
        raise
    except LaminaError as error:
        result.error = error


def _one(end: End, result: Mirrored, tag: str, dry_run: bool) -> None:
    try:
        if end.is_current(tag):
            result.current.append(tag)
        elif dry_run:
            result.copied.append(tag)
        else:
            newer, warnings = end.bring(tag)
            (result.copied if newer else result.current).append(tag)
            result.warnings += warnings
    except NoPlatform as error:
        result.skipped.append(tag)
        result.warnings.append(str(error))
    except (UsageError, StoreError, RegistryUnavailable, Unauthorized):
        raise
    except LaminaError as error:
        result.failed[tag] = error


def _prune(entry: Entry, end: End, result: Mirrored, every: set[str], dry_run: bool) -> None:
    """Take tags away that are this entry's and gone at the source; not where anything went wrong, or the source has none."""
    gone = [tag for tag in end.tags() if entry.wants(tag) and tag not in every]
    for tag in gone:
        if dry_run or end.remove(tag):
            result.removed.append(tag)
        else:
            result.warnings.append(f"{result.destination} does not delete by tag, so these stay: {', '.join(gone)}")
            return
