"""Debian's docker-registry, each with everything below one directory: open, with a password, with TLS of a throw-away CA."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.debian import docker_registry

from interop.programs import run

USER, PASSWORD = "alice", "correct horse"
MANIFESTS = ("application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
             "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json")


@dataclass(frozen=True)
class Registry:
    """One that runs; `host` is what references begin with, `ca` the certificate to trust, `login` NAME:PASSWORD for curl."""

    host: str
    ca: Path | None = None
    login: str = ""

    @property
    def base(self) -> str:
        return f"{'https' if self.ca else 'http'}://{self.host}/v2/"

    def curl(self, path: str, *words: str) -> bytes:
        """What it answers, asked by a program that is not ours."""
        trust = ["--cacert", str(self.ca)] if self.ca else []
        login = ["-u", self.login] if self.login else []
        return run("curl", "-sSf", *trust, *login, *words, f"{self.base}{path}").stdout

    def digest(self, repository: str, reference: str) -> str:
        """The digest that it gives for a tag."""
        head = self.curl(f"{repository}/manifests/{reference}", "-I", "-H", f"Accept: {MANIFESTS}").decode()
        return next(line.split()[1] for line in head.splitlines() if line.lower().startswith("docker-content-digest:"))

    def manifest(self, repository: str, reference: str) -> bytes:
        """The bytes of a manifest or index."""
        return self.curl(f"{repository}/manifests/{reference}", "-H", f"Accept: {MANIFESTS}")

    def config(self, repository: str, reference: str) -> str:
        """The image id: the digest of the config."""
        return str(json.loads(self.manifest(repository, reference))["config"]["digest"])


@dataclass(frozen=True, kw_only=True)
class DebianRegistry(Registry):
    """With its files in `data`."""

    data: Path

    def uploads(self) -> dict[str, int]:
        """When each file that it keeps was written last, in nanoseconds."""
        return {str(path): path.stat().st_mtime_ns for path in self.data.rglob("*") if path.is_file()}


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def debian_registry(directory: Path, *, password: bool = False, tls: bool = False) -> Iterator[DebianRegistry]:
    """docker-registry on loopback; with `password` by htpasswd, with `tls` by a certificate of its own CA."""
    directory.mkdir(parents=True, exist_ok=True)
    http: dict[str, object] = {}
    more: dict[str, object] = {}
    if tls:
        make_certificate(directory)
        http["tls"] = {"certificate": str(directory / "server.crt"), "key": str(directory / "server.key")}
    if password:
        make_users(directory / "htpasswd", USER)
        more["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    with docker_registry(directory, http, **more) as running:
        yield DebianRegistry(host=running.host, ca=directory / "ca.crt" if tls else None, data=running.data)


def make_users(path: Path, *names: str) -> None:
    """A file of users, all with the same password."""
    path.write_bytes(b"".join(run("htpasswd", "-niB", "-C", "4", name, stdin=PASSWORD.encode()).stdout for name in names))


def make_certificate(directory: Path) -> None:
    """A CA and a certificate for 127.0.0.1 by it: ca.crt, server.crt, server.key."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=60)

    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=a test's CA")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.crt")
