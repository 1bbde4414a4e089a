"""podman: with a storage of its own below the folder."""

from __future__ import annotations

import os

from lamina.bench.peers.base import Peer
from lamina.bench.process import Timing
from lamina.bench.workplace import empty


class Podman(Peer):
    """Unpacks every layer into a tree of files."""

    name, package, programs = "podman", "podman", ("podman",)
    what_in, what_out = "load", "save"

    def load(self) -> Timing:
        total = Timing(0, 0)
        for number, source in enumerate(self.sources):
            total += self._podman("load", "-q", "-i", self.link(source, number))[0]
        return total

    def save(self) -> Timing:
        self.output.mkdir()
        total = Timing(0, 0)
        for number, image in enumerate(self._images()):
            total += self._podman("save", "-q", "-o", self.output / str(number), image)[0]
        return total

    def clear(self) -> None:
        empty(self.output)
        if self.store.exists():
            self._podman("rmi", "-a", "-f")

    def __exit__(self, *_: object) -> None:
        if self.store.exists() and os.geteuid():  # files of users that are root's guests only
            self.call("podman", "unshare", "rm", "-rf", self.store, self.folder / "run")

    def _images(self) -> list[str]:
        return sorted(set(self._podman("images", "-q", "--no-trunc")[1].split()))

    def _podman(self, *words: str | os.PathLike[str]) -> tuple[Timing, str]:
        return self.call("podman", "--root", self.store, "--runroot", self.folder / "run", *words)
