"""Images by name: the floor that commands call.  `ImageStore` is the face; each concern has a module."""

from lamina.images.history import HistoryRow
from lamina.images.listing import ImageSummary
from lamina.images.remove import RemoveResult
from lamina.images.store import ImageStore

__all__ = ["HistoryRow", "ImageStore", "ImageSummary", "RemoveResult"]
