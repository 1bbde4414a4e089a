"""Which images go first when a store is to become smaller (`gc --max-size`), and how many of them.

Images without a name go first, then those with one, each by their last use, the oldest first; none with a pinned name, and
none before the images that were made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.errors import Conflict
from lamina.images.records import read_view
from lamina.images.remove import Event, Removal
from lamina.images.view import Entry, View

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store import BlobStore
    from lamina.store.budget import Shrinking
    from lamina.store.collect import Collected

ATTEMPTS = 3  # to find out which images go, when names change meanwhile

Key = tuple[bool, float, tuple[int, int], str]  # named or not, last use, moment of creation, id: the smallest goes first


@dataclass(slots=True)
class Shrunk:
    """What `gc --max-size` does: the images that go (as `rmi` tells them), what that frees to the byte, and what it came to.

    `size`: of the packs then (at most, in a dry run).  `collected` is None in a dry run.
    """

    events: list[Event] = field(default_factory=list)
    unused_freed: int = 0
    size: int = 0
    collected: Collected | None = None


def last_uses(view: View, noted: Mapping[str, int]) -> dict[str, float]:
    """Image id -> when it was used last: noted, or named."""
    found = {}
    for entry in view.entries.values():
        digests = {entry.image.manifest, *(root.digest for root in entry.roots)}
        found[entry.image.id] = max(*(root.time for root in entry.roots), *(noted.get(digest, 0) for digest in digests))
    return found


def order(view: View, noted: Mapping[str, int]) -> list[Entry]:
    """The images that may go, in their order."""
    uses = last_uses(view, noted)
    keys: dict[str, Key | None] = {}

    def key(image_id: str) -> Key | None:
        """An image stays as long as any made from it, so it counts as used when they were; None if it stays at all events."""
        pending = [image_id]
        while pending:
            one = pending[-1]
            waiting = [child for child in view.children.get(one, ()) if child not in keys]
            if waiting:
                pending += waiting
                continue
            pending.pop()
            entry = view.entries[one]
            children = [keys[child] for child in view.children.get(one, ())]
            own = (bool(entry.names), uses[one], entry.image.age, one)
            pinned = any(root.pinned for root in entry.roots) or None in children
            keys[one] = None if pinned else max([own, *(child for child in children if child is not None)])
        return keys[image_id]

    depths = _depths(view)
    going = [(found, -depths[image_id], image_id) for image_id in view.entries if (found := key(image_id)) is not None]
    return [view.entries[image_id] for *_, image_id in sorted(going)]


def _depths(view: View) -> dict[str, int]:
    """How many images each one stands on: a child is deeper than its parent, and goes before it."""
    depths: dict[str, int] = {}
    for image_id in view.entries:
        path = [image_id]
        while path[-1] not in depths and (parent := view.parents.get(path[-1])) is not None:
            path.append(parent)
        depth = depths.get(path[-1], 0)
        for above, one in enumerate(reversed(path)):
            depths[one] = depth + above
    return depths


def plan(store: BlobStore, budget: int) -> tuple[Removal, Shrinking]:
    """What is to be taken away so that a collection leaves `budget` bytes, and what that comes to."""
    view = read_view(store)
    entries = order(view, store.catalog.uses.times())
    whole = Removal(view)
    steps: list[list[str]] = []
    for entry in entries:
        before = len(whole.gone)
        whole.prune(entry.image.id, every=True)
        steps.append([root.name for root in whole.gone[before:]])
    found = store.shrink(steps, budget)
    removal = Removal(view)
    for entry in entries[: found.steps]:
        removal.prune(entry.image.id, every=True)
    return removal, found


def shrink(
    store: BlobStore, budget: int, apply: Callable[[Removal], None] | None, progress: Progress | None = None
) -> Shrunk:
    """Let images go by `apply` (without it, only say which) until a collection leaves `budget` bytes, and collect.

    `Conflict` if another collection is running, or if what may not go takes more than that; `StoreDamaged` if it cannot be told
    what images need.  Nothing has gone then.
    """
    result = Shrunk()

    def let_go() -> None:
        for attempt in range(ATTEMPTS):
            removal, found = plan(store, budget)
            if not found.fits:
                raise Conflict(f"what may not go takes {found.size / 1e6:.1f} MB, more than {budget / 1e6:.1f} MB", store.path,
                               "nothing was removed: allow for more, or unpin names (lamina pin lists them)")
            result.events, result.unused_freed, result.size = removal.events, found.unused_freed, found.size
            try:
                if apply is not None:
                    apply(removal)
                return
            except Conflict:  # a name has changed since it was looked at
                if attempt + 1 == ATTEMPTS:
                    raise

    if apply is None:
        let_go()
        return result
    result.collected = store.collect(max_unused=0, first=let_go, progress=progress)
    result.size = store.info()["stored_bytes"]
    return result
