"""Lamina: a deduplicating content store for container images.

`lamina.open(path)` gives an `ImageStore`; everything else hangs off that.
"""

__version__ = "0.1.0"
