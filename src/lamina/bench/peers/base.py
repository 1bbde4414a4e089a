"""What every peer can do; one small class each."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from lamina.bench.process import Timing, run
from lamina.bench.sources import Source
from lamina.bench.workplace import empty, taken

# What would lead a program to the user's own engine, storage, repository or settings.
_FOREIGN = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER")


class Peer(ABC):
    """A program with a folder of its own; a context manager that readies what it needs and takes it away.

    `what_in`, `what_out`: what is timed, in its own words.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    what_in: ClassVar[str]
    what_out: ClassVar[str]

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        self.folder, self.sources = folder / self.name, list(sources)
        self.store = self.folder / "store"
        self.output = self.folder / "out"

    @classmethod
    def find(cls, program: str) -> str | None:
        """Its path."""
        return shutil.which(program)

    @classmethod
    def impossible(cls) -> str:
        """Why it cannot be measured here, though it is installed; '' if it can."""
        return ""

    def version(self) -> str:
        """As it says itself, one word."""
        return version_in(self.call(self.programs[0], "--version")[1])

    @abstractmethod
    def load(self) -> Timing:
        """Take in all sources."""

    @abstractmethod
    def save(self) -> Timing:
        """Give all of them back, into `output`."""

    def size(self) -> int:
        """Bytes that it takes for what it has been given."""
        return taken(self.store)

    def clear(self) -> None:
        """As before the run."""
        empty(self.store)
        empty(self.output)

    def environment(self) -> dict[str, str]:
        """Where its settings and its place are; all below the folder."""
        return {}

    def call(self, *words: str | os.PathLike[str], cwd: Path | None = None) -> tuple[Timing, str]:
        """Run a command of it; its time, and what it printed.  `ProgramFailed`."""
        env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        ran = run(words, {**env, "TMPDIR": str(self.folder), **self.environment()}, cwd=cwd)
        return ran.timing, ran.out

    def link(self, source: Source, number: int) -> Path:
        """The source under a name without signs that programs take for something else."""
        path = self.folder / f"source{number}"
        if not path.is_symlink():
            path.symlink_to(source.path.absolute())
        return path

    def __enter__(self) -> Self:
        self.folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


def version_in(text: str) -> str:
    """The first word that begins with a digit: `Docker version 20.10.24, build …`, `restic 0.14.0 compiled with …`."""
    words = (word.strip(",v") for word in text.split())
    return next((word for word in words if word[:1].isdigit()), "unknown")[:40]
