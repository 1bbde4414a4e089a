"""Debian's docker-registry (the `distribution` of docker itself, 2.8), on a free port, with its data in a directory."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_START, _END = 30.0, 10.0


@dataclass
class DockerRegistry:
    """One that runs: `host` (host:port), `base` its origin, `data` where it keeps what it has, `log` what it says."""

    host: str
    base: str
    data: Path
    log: list[str] = field(default_factory=list)

    def asked(self, method: str) -> list[str]:
        """The requests of that method that it has logged."""
        return [line for line in self.log if f'] "{method} ' in line]


@contextmanager
def docker_registry(directory: Path, http: dict[str, object] | None = None, **more: object) -> Iterator[DockerRegistry]:
    """Run it below `directory`; `http` and `more` are further settings of its configuration (TLS, `auth`)."""
    binary = shutil.which("docker-registry")
    if binary is None:
        pytest.fail("the program docker-registry is missing: apt-get install docker-registry", pytrace=False)
    directory.mkdir(parents=True, exist_ok=True)
    configuration = {
        "version": 0.1, "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0", "secret": "of the tests", **(http or {})}, **more,
    }
    path = directory / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    process = subprocess.Popen([binary, "serve", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", env={"PATH": "/usr/bin:/bin"})
    found = DockerRegistry("", "", directory / "data")
    listening = threading.Event()
    reader = threading.Thread(target=_follow, args=(process, found, listening), daemon=True)
    reader.start()
    try:
        listening.wait(_START)
        if not found.host:
            pytest.fail("docker-registry does not start:\n" + "".join(found.log[-20:]), pytrace=False)
        found.base = f"{'https' if 'tls' in (http or {}) else 'http'}://{found.host}"
        yield found
    finally:
        process.kill()  # It waits for idle connections otherwise, and has nothing to lose.
        process.wait(_END)
        reader.join(_END)
        assert process.stdout is not None
        process.stdout.close()


def _follow(process: subprocess.Popen[str], found: DockerRegistry, listening: threading.Event) -> None:
    """Keep what it says, and see where it listens."""
    assert process.stdout is not None
    for line in process.stdout:
        found.log.append(line)
        where = _LISTENING.search(line)
        if where and not found.host:
            found.host = where[1]
            listening.set()
    listening.set()
