"""Throw-away certificates, made once: a CA, and what it has signed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Pki:
    """`directory` holds ca.crt, and NAME.crt, NAME.key for `server` (127.0.0.1, localhost), `other`, `expired` and `client`."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    def context(self, name: str = "server", *, ask: bool = False) -> ssl.SSLContext:
        """For a server that shows this certificate; with `ask` it wants one of the client, signed by the same CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if ask:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = tmp_path_factory.mktemp("pki")
    _openssl(made, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=throw-away CA")
    for name, names, days in (("server", "IP:127.0.0.1,DNS:localhost", "2"), ("other", "DNS:other.example", "2"),
                              ("expired", "IP:127.0.0.1", "-1"), ("client", "DNS:client", "2")):
        (made / "names").write_text(f"subjectAltName={names}")
        _openssl(made, "req", "-new", *_KEY, "-keyout", f"{name}.key", "-out", "request", "-subj", f"/CN={name}")
        _openssl(made, "x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
                 "-extfile", "names", "-out", f"{name}.crt")
    return Pki(made)
