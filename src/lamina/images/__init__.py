"""Images by name: the floor that commands call.  `ImageStore` is the face; each concern has a module.

What a name here stands for is imported when it is used: completion asks for names alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.images.history import HistoryRow
    from lamina.images.listing import ImageSummary
    from lamina.images.remove import RemoveResult
    from lamina.images.store import ImageStore

_HOMES = {"HistoryRow": "history", "ImageStore": "store", "ImageSummary": "listing", "RemoveResult": "remove"}

__all__ = ["HistoryRow", "ImageStore", "ImageSummary", "RemoveResult"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"lamina.images.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
