"""Engines of our own: dockerd and containerd, each with everything below one directory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from interop.programs import output, program, run


@contextlib.contextmanager
def daemon(words: list[str], log: Path, ready: list[str], env: dict[str, str] | None = None) -> Iterator[None]:
    """Run a daemon; the body begins when `ready` succeeds.  It is ended, and waited for, whatever happens."""
    with log.open("wb") as out:
        process = subprocess.Popen([program(words[0]), *words[1:]], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _wait(process, [program(ready[0]), *ready[1:]], log, {**os.environ, **(env or {})})
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], ready: list[str], log: Path, env: dict[str, str]) -> None:
    """Ask every 0.1 s, for a minute at most, whether a daemon answers."""
    deadline = time.monotonic() + 60
    while subprocess.run(ready, env=env, capture_output=True, check=False, timeout=60).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{process.args} does not answer:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)


class Docker:
    """The docker command against one engine."""

    def __init__(self, socket: Path) -> None:
        # Builds by the engine itself: they leave intermediate images, as docker 20.10 does without settings.
        self.env = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "0", "DOCKER_CONTEXT": "",
                    "DOCKER_CONFIG": str(socket.parent / "config")}

    def __call__(self, *words: str | os.PathLike[str], stdin: bytes | None = None, status: int = 0,
                 env: dict[str, str] | None = None) -> str:
        """Standard output of a command that exits with `status`."""
        return run("docker", *words, stdin=stdin, status=status, env={**self.env, **(env or {})}).stdout.decode()

    def load(self, path: Path) -> str:
        return self("load", "-q", "-i", path)

    def save(self, path: Path, *names: str) -> Path:
        self("save", "-o", path, *names)
        return path

    def ids(self) -> list[str]:
        """All image ids, each once."""
        return sorted(set(self("images", "-aq", "--no-trunc").split()))

    def id(self, name: str) -> str:
        return self("image", "inspect", "-f", "{{.Id}}", name).strip()

    def clear(self) -> None:
        """Take all images away, and with them their layers."""
        while ids := self.ids():
            # A parent goes only after its children: what is refused now goes in the next round.
            done = subprocess.run([program("docker"), "rmi", "-f", *ids], env={**os.environ, **self.env},
                                  capture_output=True, check=False, timeout=300)
            assert b"Deleted:" in done.stdout, done.stderr.decode()


@contextlib.contextmanager
def docker_engine(directory: Path) -> Iterator[Docker]:
    """A dockerd without network, and the command for it."""
    docker = Docker(directory / "docker.sock")
    words = ["dockerd", "--data-root", str(directory / "data"), "--exec-root", str(directory / "exec"),
             "-H", docker.env["DOCKER_HOST"], "-p", str(directory / "pid"), "--iptables=false", "--bridge=none"]
    with daemon(words, directory / "dockerd.log", ["docker", "version"], docker.env):
        yield docker


class Ctr:
    """The ctr command against one containerd."""

    def __init__(self, socket: Path) -> None:
        self._words = ["ctr", "--address", str(socket), "--namespace", "lamina"]

    def __call__(self, *words: str | os.PathLike[str]) -> str:
        return output(*self._words, *words)

    def images(self) -> dict[str, str]:
        """Name -> digest of what it leads to."""
        rows = [line.split() for line in self("images", "ls").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def config_digests(self) -> dict[str, str]:
        """Name -> image id, of images for one platform."""
        return {name: json.loads(self("content", "get", digest))["config"]["digest"] for name, digest in self.images().items()}

    def clear(self) -> None:
        if names := list(self.images()):
            self("images", "rm", "--sync", *names)


@contextlib.contextmanager
def containerd_engine(directory: Path) -> Iterator[Ctr]:
    """A containerd without Kubernetes' part, and the command for it."""
    config, socket = directory / "config.toml", directory / "containerd.sock"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    words = ["containerd", "--config", str(config), "--root", str(directory / "root"),
             "--state", str(directory / "state"), "--address", str(socket)]
    with daemon(words, directory / "containerd.log", ["ctr", "--address", str(socket), "version"]):
        yield Ctr(socket)


class Podman:
    """podman with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self.storage = ["--root", str(directory / "root"), "--runroot", str(directory / "run")]

    def __call__(self, *words: str | os.PathLike[str]) -> str:
        return output("podman", *self.storage, *words)

    def id(self, name: str) -> str:
        return "sha256:" + self("image", "inspect", "-f", "{{.Id}}", name).strip()

    def load(self, path: Path) -> str:
        return self("load", "-q", "-i", path)

    def clear(self) -> None:
        self("rmi", "-a", "-f")


def unmount_below(directory: Path) -> None:
    """Unmount what ended engines left: dockerd its network namespace, podman its overlay."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{directory}/"):
            run("umount", point)
