"""What the page of a registry shows, out of the store: `Showcase` is the page's `Library`."""

from lamina.images.showcase.showcase import Showcase

__all__ = ["Showcase"]
