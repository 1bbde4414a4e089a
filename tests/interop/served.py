"""`lamina serve` in processes of its own: the command, as anybody runs it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.programs import Lamina
from interop.registries import PASSWORD, Registry, make_certificate, make_users

ALICE, BOB = "alice", "bob"
# Alice pulls what bob pushes; both may list.
RULES = f"""
[auth.htpasswd]
file = "users"

[[rule]]
repositories = ["**"]
actions = ["pull", "catalog"]
users = ["{ALICE}"]

[[rule]]
repositories = ["**"]
actions = ["*"]
users = ["{BOB}"]
"""
_SERVING = re.compile(r"serving (https?://(127\.0\.0\.1:\d+))\n")
_START, _END = 60.0, 60.0  # seconds; it takes one or two


@dataclass(frozen=True, kw_only=True)
class ServedRegistry(Registry):
    """One of ours that runs; `lamina` is the command on the same store, `certificates` a certs.d that trusts the registry."""

    url: str
    lamina: Lamina
    certificates: Path

    @property
    def trusted(self) -> str:
        """The directory of its ca.crt, as podman, skopeo and buildah want it."""
        return str(self.certificates / self.host)


@contextlib.contextmanager
def served_registry(directory: Path, *words: str, store: Path | None = None, secure: bool = False) -> Iterator[ServedRegistry]:
    """Two workers on a fresh store (or `store`), on a free port; `secure`: TLS, and users and rights of `RULES`."""
    directory.mkdir(parents=True, exist_ok=True)
    if secure:
        make_certificate(directory)
        make_users(directory / "users", ALICE, BOB)
        (directory / "serve.toml").write_text(RULES)
        words = ("--tls-cert", f"{directory}/server.crt", "--tls-key", f"{directory}/server.key",
                 "--config", f"{directory}/serve.toml", *words)
    lamina = Lamina(store or directory / "store")
    with _running([*lamina.words, "serve", "--listen", "127.0.0.1:0", "--workers", "2", *words]) as (url, host):
        ca = directory / "ca.crt" if secure else None
        if ca is not None:
            (directory / "certs.d" / host).mkdir(parents=True)
            (directory / "certs.d" / host / "ca.crt").write_bytes(ca.read_bytes())
        yield ServedRegistry(host=host, ca=ca, login=f"{BOB}:{PASSWORD}" if secure else "", url=url, lamina=lamina,
                             certificates=directory / "certs.d")


@contextlib.contextmanager
def _running(words: list[str]) -> Iterator[tuple[str, str]]:
    """The command until the body ends, and then its graceful end; where it is, as URL and HOST:PORT."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    said: list[str] = []
    begun = threading.Event()
    reader = threading.Thread(target=_follow, args=(process, said, begun), daemon=True)
    reader.start()
    try:
        begun.wait(_START)
        where = _SERVING.search("".join(said))
        if where is None:
            pytest.fail(f"{' '.join(words)}: exit {process.poll()}\n{''.join(said[-20:])}", pytrace=False)
        yield where[1], where[2]
    finally:
        process.terminate()
        try:
            status = process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        reader.join(_END)
        assert process.stderr is not None
        process.stderr.close()
    assert (status, len(said)) == (0, 1), f"exit {status}\n{''.join(said[-40:])}"


def _follow(process: subprocess.Popen[str], said: list[str], begun: threading.Event) -> None:
    """Keep what it says."""
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if _SERVING.match(line):
            begun.set()
    begun.set()
