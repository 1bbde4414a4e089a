"""`images`: one row for each name of an image, as docker 20.10 has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from lamina.errors import NotFound
from lamina.images import times
from lamina.images.filters import LISTING, Filters, parse_filters
from lamina.images.names import find
from lamina.images.view import Entry, Image, Root, View

NONE = "<none>"


@dataclass(frozen=True)
class ImageSummary:
    """One row.

    `repository`, `tag`: `<none>` where there is none.  `size`: bytes of the regular files of all layers, hardlinks
    once.  `platform`: `os/architecture[/variant]`.  `whole`: nothing of it is missing.  `names`: all familiar names
    of the image.
    """

    repository: str
    tag: str
    image_id: str
    created: datetime
    size: int
    platform: str
    whole: bool
    names: tuple[str, ...]
    _root: Root | None
    _view: View = field(repr=False, compare=False)

    # A plain listing of 1,000 names asks for none of these, and each would take as long as all the rest.
    @property
    def digest(self) -> str:
        """That of the manifest or index that the name leads to; of one that Lamina made what was pushed for it, or `<none>`."""
        return (self._view.digest_of(self._root) if self._root else "") or NONE

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels of its config; none once the image has been removed, as a list is of a moment ago."""
        entry = self._view.entries.get(self.image_id)
        try:
            return self._view.labels(entry.image) if entry else {}
        except NotFound:
            return {}

    @property
    def parent(self) -> str:
        """The id of its parent, or ''."""
        return self._view.parents.get(self.image_id, "")


def list_images(
    view: View, *, every: bool = False, name: str = "", filters: Sequence[str] = ()
) -> list[ImageSummary]:
    """The rows: newest image first, names in order within.

    `name` is `REPOSITORY[:TAG]`, a pattern as those of the filter `reference`.  Untagged images that are the
    parent of another one are shown with `every` only.
    """
    texts = [*filters, f"reference={name}"] if name else filters
    wanted = parse_filters(texts, LISTING, lambda word: find(view, word).image.age)
    kept = [entry for entry in view.entries.values()
            if wanted.meets_age(entry.image.age)
            and (not wanted.needs_labels or wanted.meets_labels(view.labels(entry.image)))]
    kept.sort(key=lambda entry: (entry.image.age, entry.image.id), reverse=True)
    return [row for entry in kept for row in _rows(view, entry, wanted, every)]


def summarize(view: View, image: Image) -> ImageSummary:
    """The row of an image by its first name."""
    entry = view.entries.get(image.id) or Entry(image)
    first = next(_named_rows(view, entry, Filters()), None)
    return first or _row(view, entry, NONE, NONE, None)


def _rows(view: View, entry: Entry, wanted: Filters, every: bool) -> Iterator[ImageSummary]:
    if entry.names:
        if wanted.dangling is not True or not entry.tags:
            yield from _named_rows(view, entry, wanted)
        return
    intermediate = entry.image.id in view.children
    hidden = ((intermediate and (wanted.dangling is True or not every))
              or wanted.dangling is False or wanted.references or wanted.pinned)
    if not hidden:
        yield _row(view, entry, NONE, NONE, None)


def _named_rows(view: View, entry: Entry, wanted: Filters) -> Iterator[ImageSummary]:
    named = [(root, root.reference) for root in entry.names if root.reference]
    tagged = {reference.name for _, reference in named if reference.tag}
    for root, reference in named:
        if not wanted.meets_reference(reference) or wanted.pinned not in (None, root.pinned):
            continue
        if reference.tag:
            yield _row(view, entry, reference.familiar_name, reference.tag, root)
        elif reference.name not in tagged:
            # A name with a digest only stands in a row of its own where its repository has no tag here.
            yield _row(view, entry, reference.familiar_name, NONE, root)


def _row(view: View, entry: Entry, repository: str, tag: str, root: Root | None) -> ImageSummary:
    image = entry.image
    return ImageSummary(
        repository=repository, tag=tag, image_id=image.id,
        created=times.parse(image.created), size=image.size,
        platform=str(image.platform), whole=image.whole,
        names=tuple(root.reference.familiar() for root in entry.names if root.reference),
        _root=root, _view=view,
    )
