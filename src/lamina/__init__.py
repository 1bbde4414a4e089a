"""Lamina: a deduplicating content store for container images.

`lamina.open(path)` gives an `ImageStore`; everything else hangs off that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.images import ImageStore

__version__ = "0.1.0"


def open(path: str | os.PathLike[str] | None = None, *, create: bool = True, timeout: float = 30) -> ImageStore:
    """The image store at `path`, at LAMINA_STORE, or in the user's data directory; made if it is not there.

    `timeout`: seconds to wait for a catalog that another process has locked.  `StoreError`, `StorageError`.
    """
    # Imported late, so that `import lamina` costs nothing.
    from lamina.images import ImageStore

    return ImageStore.open(path, create=create, timeout=timeout)
