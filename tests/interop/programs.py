"""The real programs: finding, calling, and saying which Debian package lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

# Program -> Debian package.
PACKAGES = {
    "dockerd": "docker.io", "docker": "docker.io", "containerd": "containerd", "ctr": "containerd", "podman": "podman",
    "skopeo": "skopeo", "umoci": "umoci", "buildah": "buildah", "busybox": "busybox-static", "tar": "tar",
    "gzip": "gzip", "umount": "mount", "zstd": "zstd", "xz": "xz-utils", "bzip2": "bzip2",
    "chromium": "chromium", "docker-registry": "docker-registry", "htpasswd": "apache2-utils", "openssl": "openssl",
    "curl": "curl", "bash": "bash",
}


def program(name: str) -> str:
    """The path of a program; the test fails if it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"the program {name} is missing: apt-get install {PACKAGES[name]}", pytrace=False)
    return found


def run(*words: str | os.PathLike[str], env: Mapping[str, str] | None = None, stdin: bytes | None = None,
        cwd: Path | None = None, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; fails with what it said if it did not exit with `status`."""
    command = [program(os.fspath(words[0])), *map(os.fspath, words[1:])]
    done = subprocess.run(command, env={**os.environ, **(env or {})}, cwd=cwd, capture_output=True, check=False,
                          timeout=300, **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}))
    if done.returncode != status:
        pytest.fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout.decode(errors='replace')[-2000:]}\n"
                    f"{done.stderr.decode(errors='replace')[-4000:]}", pytrace=True)
    return done


def output(*words: str | os.PathLike[str], env: Mapping[str, str] | None = None, stdin: bytes | None = None,
           cwd: Path | None = None) -> str:
    """What a program prints."""
    return run(*words, env=env, stdin=stdin, cwd=cwd).stdout.decode()


def piped(*commands: list[str], env: Mapping[str, str] | None = None) -> str:
    """What the last of some programs prints, each reading what the one before it writes; all must succeed."""
    running: list[subprocess.Popen[bytes]] = []
    for words in commands:
        running.append(subprocess.Popen(
            [program(words[0]), *words[1:]] if words[0] in PACKAGES else words,
            stdin=running[-1].stdout if running else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=None, env={**os.environ, **(env or {})}))
        if len(running) > 1:
            before = running[-2].stdout
            assert before is not None
            before.close()  # ours: the reader alone holds the pipe, so that its end is seen
    said = running[-1].communicate(timeout=300)[0]
    statuses = [process.wait(timeout=60) for process in running]
    assert not any(statuses), f"{[words[0] for words in commands]}: exit {statuses}"
    return said.decode()


LAMINA = [sys.executable, "-m", "lamina"]


class Lamina:
    """The command on a store of its own."""

    def __init__(self, store: Path) -> None:
        self.words = [*LAMINA, "--store", os.fspath(store)]

    def __call__(self, *words: str | os.PathLike[str], stdin: bytes | None = None, status: int = 0,
                 env: Mapping[str, str] | None = None) -> str:
        """Standard output of a command that exits with `status`."""
        return run(*self.words, *words, stdin=stdin, status=status, env=env).stdout.decode()

    def load(self, path: Path, *words: str) -> str:
        return self("load", "-q", "-i", path, *words)

    def save(self, path: Path, *words: str) -> Path:
        """Save the images to `path`."""
        self("save", "-q", "-o", path, *words)
        return path
