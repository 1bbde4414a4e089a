"""docker: an engine of its own below the folder, since `load` under the archive's tags would take the user's own tags away."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lamina.bench.peers.base import Peer, version_in
from lamina.bench.process import ProgramFailed, Timing, stop
from lamina.bench.sources import Source
from lamina.bench.workplace import empty, taken

PATIENCE = 60.0  # seconds until the engine answers
_LONGEST = 100  # bytes of a socket's path: 107 is all that the system takes


class Docker(Peer):
    """Unpacks every layer into a tree of files.  Its processor time is the engine's, and not counted."""

    name, package, programs = "docker", "docker.io", ("docker", "dockerd")
    what_in, what_out = "load", "save"

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        super().__init__(folder, sources)
        self._socket = self.folder / "s"
        self._engine: subprocess.Popen[bytes] | None = None
        self._empty_size = 0

    @classmethod
    def find(cls, program: str) -> str | None:
        """The engine lies where only root looks."""
        return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")

    @classmethod
    def impossible(cls) -> str:
        return "an engine of its own needs root" if os.geteuid() else ""

    def version(self) -> str:
        """The engine's: the client may be another's."""
        return version_in(self.call(self.find("dockerd") or "dockerd", "--version")[1])

    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self._socket}", "DOCKER_CONFIG": str(self.folder / "config")}

    def load(self) -> Timing:
        total = Timing(0, 0)
        for number, source in enumerate(self.sources):
            total += self.call("docker", "load", "-q", "-i", self.link(source, number))[0]
        return Timing(total.wall, None)

    def save(self) -> Timing:
        self.output.mkdir()
        total = 0.0
        for number, image in enumerate(self._images()):
            total += self.call("docker", "save", "-o", self.output / str(number), image)[0].wall
        return Timing(total, None)

    def size(self) -> int:
        return taken(self.store) - self._empty_size

    def clear(self) -> None:
        """All images of this engine, which has only ours."""
        empty(self.output)
        if self._engine is not None and (images := self._images()):
            self.call("docker", "rmi", "-f", *images)

    def __enter__(self) -> Self:
        if len(os.fsencode(self._socket)) > _LONGEST:
            raise ProgramFailed("the engine's socket would have too long a path", self._socket, "choose a shorter --work")
        super().__enter__()
        dockerd = self.find("dockerd")
        assert dockerd is not None
        words = [dockerd, "--data-root", str(self.store), "--exec-root", str(self.folder / "exec"), "-H",
                 f"unix://{self._socket}", "-p", str(self.folder / "pid"), "--iptables=false", "--bridge=none"]
        with (self.folder / "log").open("wb") as log:
            # In a group of its own: an interrupt from the terminal must not reach it before its images are gone.
            self._engine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait()
            self._empty_size = taken(self.store)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        empty(self.output)

    def _images(self) -> list[str]:
        return sorted(set(self.call("docker", "images", "-q", "--no-trunc")[1].split()))

    def _wait(self) -> None:
        assert self._engine is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.call("docker", "version")
                return
            except ProgramFailed:
                if self._engine.poll() is not None or time.monotonic() > deadline:
                    raise ProgramFailed(f"an engine of its own does not start: {self._last_words()}") from None
                time.sleep(0.1)

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return lines[-1][-200:] if lines else "it says nothing"

    def _stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            stop(engine)
