"""`system df`, `gc` and `verify`, told by image."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lamina.errors import UsageError
from lamina.images.filters import PRUNING, parse_filters
from lamina.images.listing import ImageSummary, summarize
from lamina.images.names import find, short_id
from lamina.images.records import NAMELESS, read_view
from lamina.images.steady import steadily
from lamina.images.view import Entry, View
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store import BlobStore
    from lamina.store.usage import Usage


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """Plain bytes of the distinct chunks of an image: those that others have too, and its own."""

    summary: ImageSummary
    shared: int
    unique: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The store as a whole (see `lamina.store.usage.Usage`), and each image, the newest first."""

    total: Usage
    images: list[ImageUsage]


@dataclass(frozen=True, slots=True)
class Damage:
    """What does not check out, where, the digests it spoils, and the images (names, or ids) that have them."""

    what: str
    where: str
    digests: tuple[str, ...]
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """`images`: names of all images touched by damage, in order; `notes`: what else there is to say; `seed`: of a sample,
    which has `stored` bytes of the packs."""

    bytes_read: int
    blobs: int
    problems: list[Damage]
    notes: tuple[str, ...] = ()
    seed: int | None = None
    stored: int = 0

    @property
    def images(self) -> list[str]:
        return sorted({name for problem in self.problems for name in problem.images})


def disk_usage(store: BlobStore) -> DiskUsage:
    """Exact figures, by streaming over all recipes."""
    total = store.usage()

    def rows() -> list[ImageUsage]:
        view = read_view(store)
        entries = sorted(view.entries.values(), key=lambda entry: (entry.image.age, entry.image.id), reverse=True)
        return [ImageUsage(summarize(view, entry.image), *total.image_usage.get(entry.image.manifest, (0, 0)))
                for entry in entries]

    return DiskUsage(total, steadily(store, rows))


def verify(store: BlobStore, words: Sequence[str] = (), progress: Progress | None = None, *, sample: float | None = None,
           since: str = "", seed: int | None = None, resume: bool = False, stored: bool = False,
           rehash: bool = False) -> VerifyResult:
    """Read back all that is stored, or what the images lead to, and check it.

    `sample`: a share of frames (0 to 1), chosen by `seed`; `since`: only what was written after a moment (a time, a duration
    such as 7d before now, or `last`: the last run that came to its end); `resume`: what an interrupted run has left; `stored`:
    the bytes on disk against their checksums, and no further; `rehash`: blobs by their digests, too, of which a former run has
    proved that they have them if their chunks have theirs.
    """
    from lamina.store.verify import scope_of

    if words and (resume or since or stored or rehash or sample is not None):
        raise UsageError("images cannot be named beside --sample, --since, --stored, --rehash and --resume")
    if rehash and (stored or sample is not None):
        raise UsageError("--rehash reads blobs, of which --sample and --stored read none", hint="leave one of them out")
    if resume and (since or stored or rehash or seed is not None or sample is not None):
        raise UsageError("--resume goes on with the options that the interrupted run had", hint="leave the others out")
    if seed is not None and sample is None:
        raise UsageError("--seed chooses a sample", hint="use it with --sample")
    scope = None if words or resume else scope_of(store, sample, seed, _moment(since) if since else None, stored, rehash)
    if faults := store.catalog.faults():  # then it does not even say which images there are
        return VerifyResult(0, 0, [Damage(f"the catalog is damaged: {fault}", str(store.path), (), ()) for fault in faults])
    view = read_view(store)
    digests = None
    if words:
        found = [find(view, word) for word in words]
        digests = store.catalog.reachable_from(
            one.root.digest if one.named and one.root else one.image.manifest for one in found)
    checked = store.verify(digests, progress, scope=scope, resume=resume)
    owners = _owners(store, view) if checked.problems else {}
    problems = [
        Damage(one.what, one.where, tuple(one.digests),
               tuple(sorted({name for digest in one.digests for name in owners.get(digest, ())})))
        for one in checked.problems]
    return VerifyResult(checked.bytes_read, checked.blobs, problems, tuple(checked.notes), checked.seed, checked.stored)


def _moment(text: str) -> float | Literal["last"]:
    """Seconds since 1970 of a time, or of a duration before now; `UsageError`."""
    if text == "last":
        return "last"
    if days := re.fullmatch(r"(\d{1,6})([dw])", text, re.ASCII):
        return time.time() - int(days[1]) * {"d": 86400, "w": 7 * 86400}[days[2]]
    try:
        until = parse_filters([f"until={text}"], PRUNING).until
    except UsageError:
        until = None
    if until is None:
        raise UsageError(f"{text[:160]!r} is no time to verify from",
                         hint="expected last, a duration (7d, 12h), a date or a time")
    return until[0] + until[1] / 1e9


def _owners(store: BlobStore, view: View) -> dict[str, set[str]]:
    """Digest -> the images that lead to it."""
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in view.entries.values():
        for digest in store.catalog.reachable_from(root.digest for root in entry.roots):
            owners[digest].update(_names(entry))
    for ref in store.catalog.refs():  # of one whose image the catalog has lost, too
        if not ref.name.startswith(NAMELESS):
            for digest in store.catalog.reachable_from([ref.digest]):
                owners[digest].add(Reference.parse(ref.name).familiar())
    return owners


def _names(entry: Entry) -> list[str]:
    return [root.reference.familiar() for root in entry.names if root.reference] or [short_id(entry.image.id)]
