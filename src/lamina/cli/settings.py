"""Which store a command works on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from lamina.cli.say import warning

if TYPE_CHECKING:
    from lamina.images import ImageStore

P = ParamSpec("P")
R = TypeVar("R")


def open_store(path: Path | None) -> ImageStore:
    """The store at `path`, at LAMINA_STORE, or in the user's data directory; made if it is not there."""
    import lamina

    store = lamina.open(path)
    for text in store.blobs.notes:
        warning(text)
    return store


class Settings:
    """What the options before the command say; `opener` and `network` (None: the user's own) are others for tests."""

    def __init__(self, opener: Callable[[Path | None], Any] = open_store, network: Any = None) -> None:
        self.path: Path | None = None
        self.network = network
        self._opener = opener

    @contextmanager
    def store(self) -> Iterator[ImageStore]:
        """The store, closed at the end."""
        store = self._opener(self.path)
        try:
            yield store
        finally:
            store.close()


def network() -> Any:
    """What to reach registries by; None for the user's own."""
    return click.get_current_context().ensure_object(Settings).network


def with_store(command: Callable[Concatenate[ImageStore, P], R]) -> Callable[P, R]:
    """Hand a command the open store as its first argument."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        settings = click.get_current_context().ensure_object(Settings)
        with settings.store() as store:
            return command(store, *args, **kwargs)

    return wrapper
