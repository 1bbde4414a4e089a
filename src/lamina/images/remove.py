"""`rmi` and `prune`: what goes and what is said of it, by docker 20.10's rules.

A `Removal` works on a copy of the names in memory and never touches the store; its outcome is the names to take
away and the roots to keep.  So a dry run is the same thing, not applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from lamina.digest import Digest
from lamina.errors import Conflict, LaminaError
from lamina.images.names import find, not_found, short_id
from lamina.images.view import Entry, Image, Root, View
from lamina.oci import chain_ids

Event = tuple[str, str]
UNTAGGED, DELETED = "Untagged", "Deleted"


@dataclass(slots=True)
class RemoveResult:
    """What was done, in order: ("Untagged" | "Deleted", text).

    `frame_bytes`: stored bytes of frames that nothing refers to any more; `dead_bytes`: bytes without use in frames
    that stay.  Both are figured out for a dry run and for `prune` only, and are the collector's to free.
    """

    events: list[Event] = field(default_factory=list)
    frame_bytes: int = 0
    dead_bytes: int = 0
    errors: list[LaminaError] = field(default_factory=list)


class Removal:
    """The names and images of a view, going one by one.

    `gone`: the names taken away.  `kept`: roots that must be kept without a name, because an image outlives its
    last name as the parent of another.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.events: list[Event] = []
        self.gone: list[Root] = []
        self.kept: list[Root] = []
        self._entries = {key: Entry(entry.image, list(entry.names), list(entry.nameless))
                         for key, entry in view.entries.items()}
        self._children = {parent: set(children) for parent, children in view.children.items()}
        self._chains = Counter(chain for image in self._images(self._entries.values())
                               for chain in _chains(image))

    def remove(self, word: str, *, force: bool = False, prune: bool = True) -> None:
        """Take away what a word means; `NotFound`, `Conflict`.  After an error nothing of this word is done."""
        found = find(self.view, word)
        entry = self._entries.get(found.image.id)
        if entry is None:
            raise self._no_entry(found.image, word)
        if found.named and found.root is not None:
            if found.root not in entry.names:
                raise not_found(word)
            self._remove_name(entry, found.root, force=force, prune=prune)
            return
        if _is_single(entry.names):
            self._refuse_parent(entry)
            self._untag_all(entry)
        self._delete(entry, force=force, prune=prune, quiet=False)

    def prune(self, image_id: str, *, every: bool) -> None:
        """Take away one image if nothing speaks against it: a dangling one, or with `every` all its names.

        One with a pinned name stays, with all its names.
        """
        entry = self._entries.get(image_id)
        if entry is None or any(root.pinned for root in entry.roots):
            return
        if entry.names and (every or not entry.tags):
            for root in list(entry.names):
                if image_id in self._entries:
                    self._remove_name(entry, root, force=False, prune=True)
        elif not entry.names and not self._children.get(image_id):
            self._delete(entry, force=False, prune=True, quiet=True)

    def leaving(self) -> list[str]:
        """The names, of those taken away, to whose manifests nothing leads any more."""
        staying = {root.digest for entry in self._entries.values() for root in entry.roots}
        return [root.name for root in self.gone if root.digest not in staying]

    def _remove_name(self, entry: Entry, root: Root, *, force: bool, prune: bool) -> None:
        self._untag(entry, root)
        reference = root.reference
        if reference is not None and reference.tag:
            self._say_digest(entry, root)
            rest = [other for other in entry.names if other.reference and other.reference.name == reference.name]
            if not any(other.reference and other.reference.tag for other in rest):
                # Names by digest alone go with the last tag of their repository.
                for other in rest:
                    self._untag(entry, other)
        if not entry.names:
            self._delete(entry, force=force, prune=prune, quiet=True)

    def _untag(self, entry: Entry, root: Root) -> None:
        entry.names.remove(root)
        self.gone.append(root)
        self.events.append((UNTAGGED, root.reference.familiar() if root.reference else root.name))

    def _say_digest(self, entry: Entry, root: Root) -> None:
        """Docker keeps a reference by digest beside the tags of a repository, and names it when the last tag goes."""
        digest = self.view.digest_of(root)
        if root.reference is None or not digest:
            return
        name = root.reference.name
        if not any(other.reference and other.reference.name == name and other.digest == root.digest
                   for other in entry.names):
            self.events.append((UNTAGGED, f"{root.reference.familiar_name}@{digest}"))

    def _untag_all(self, entry: Entry) -> None:
        for root in list(entry.names):
            self._untag(entry, root)
            if root.reference and root.reference.tag:
                self._say_digest(entry, root)

    def _delete(self, entry: Entry, *, force: bool, prune: bool, quiet: bool) -> None:
        image = entry.image
        try:
            self._refuse_parent(entry)
            if entry.names and not force:
                raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
        except Conflict:
            if not quiet:
                raise
            self._keep(entry)
            return
        self._untag_all(entry)
        self.gone += [root for root in entry.nameless if root not in self.kept]
        self.kept = [root for root in self.kept if root not in entry.nameless]
        del self._entries[image.id]
        for one in self._left(entry):
            self.events.append((DELETED, one.id))
            self._release(one)
        parent = self.view.parents.get(image.id)
        if parent is None:
            return
        self._children[parent].discard(image.id)
        above = self._entries.get(parent)
        if prune and above is not None and not above.names and not self._children[parent]:
            self._delete(above, force=False, prune=True, quiet=True)

    def _left(self, entry: Entry) -> list[Image]:
        """The images that go with an entry: its own, and those of other platforms under the same names."""
        roots = self.view.entries[entry.image.id].roots
        under = self._images([Entry(entry.image, roots)])
        stay = {image.id for image in self._images(self._entries.values())}
        first = [image for image in under if image.id == entry.image.id]
        return [image for image in dict.fromkeys([*(first or [entry.image]), *under]) if image.id not in stay]

    def _images(self, entries: Iterable[Entry]) -> list[Image]:
        """All images that the entries' roots lead to, each id once."""
        images: dict[str, Image] = {}
        for entry in entries:
            for root in entry.roots:
                for image in self.view.reached(root.digest) or (entry.image,):
                    images.setdefault(image.id, image)
        return list(images.values())

    def _release(self, image: Image) -> None:
        """Say which layers go with an image, from the top down to the first that another image has."""
        for chain in reversed(_chains(image)):
            self._chains[chain] -= 1
            if not self._chains[chain]:
                self.events.append((DELETED, chain))

    def _keep(self, entry: Entry) -> None:
        """Let an image without names live on as a root of its own."""
        if not entry.names and not entry.nameless:
            root = self.gone[-1]
            self.kept.append(root)
            entry.nameless.append(root)

    def _refuse_parent(self, entry: Entry) -> None:
        if self._children.get(entry.image.id):
            raise _conflict(entry.image, "cannot be forced", "image has dependent child images")

    def _no_entry(self, image: Image, word: str) -> LaminaError:
        """Why an image that is there cannot be removed by itself, or (gone before) is not there."""
        if image.id in self.view.entries:
            return not_found(word)
        return _conflict(image, "cannot be forced", "image is one platform of an index, remove that by its name")


def _chains(image: Image) -> tuple[Digest, ...]:
    return chain_ids(cast(tuple[Digest, ...], image.diff_ids))


def _is_single(names: list[Root]) -> bool:
    """At most one tag, and all names in one repository; not for no names at all."""
    references = [root.reference for root in names if root.reference]
    tags = [reference for reference in references if reference.tag]
    return bool(references) and len(tags) <= 1 and len({reference.name for reference in references}) == 1


def _conflict(image: Image, force: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short_id(image.id)} ({force}) - {why}")
