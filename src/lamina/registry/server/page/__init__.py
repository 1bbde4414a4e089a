"""The page of a registry: what is in it, for people.  `respond` is all of it; it knows nothing of HTTP servers and stores."""

from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.library import Library
from lamina.registry.server.page.respond import respond

__all__ = ["Library", "Page", "respond"]
