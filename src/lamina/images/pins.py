"""Names that no rule takes away: `gc --max-size` and `image prune` leave the images alone that have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.errors import UsageError
from lamina.images.listing import ImageSummary, list_images
from lamina.images.names import by_name, find
from lamina.images.records import read_view

if TYPE_CHECKING:
    from lamina.store import BlobStore


def pinned_images(store: BlobStore) -> list[ImageSummary]:
    """The pinned names, as `images` lists them."""
    return list_images(read_view(store), filters=["pinned=true"])


def pin(store: BlobStore, words: Sequence[str], pinned: bool) -> list[str]:
    """Pin names, or let go of them, all or none; the familiar names of those that were not so before.

    `NotFound`; `UsageError` for what is no name: the name is what is kept, whatever it leads to later.
    """
    view = read_view(store)
    changed = {}
    for word in words:
        root = by_name(view, word)
        if root is None or root.reference is None:
            find(view, word)
            raise UsageError("an image is pinned by a name", word, "give it one with lamina tag")
        if root.pinned is not pinned:
            changed[root.name] = root.reference.familiar()
    if changed:
        with store.session() as session:
            for name in changed:
                session.pin(name, pinned)
            session.commit()
    return list(changed.values())
