"""What a registry server is told: frozen, checked by whoever made it (`access.configuration`), the same for every worker.

Times are in seconds, sizes in bytes, paths absolute.  A limit of 0 is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lamina.jsonlimits import MAX_BYTES
from lamina.registry.hosts import is_loopback

ACTIONS: Final = ("pull", "push", "delete", "catalog")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where connections are taken; `host` is an address or a name, '' every address of the machine."""

    host: str = "127.0.0.1"
    port: int = 5000


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM: the certificate with what leads to its CA, and its key.  `min_version`: '1.2' or '1.3'."""

    certificate: Path
    key: Path
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class Htpasswd:
    """Users by name and bcrypt hash.  `realm` is what clients show beside the question for a password."""

    file: Path
    realm: str = "Lamina"


@dataclass(frozen=True, slots=True)
class Token:
    """Bearer tokens of the issuer at `realm` (a URL), for `service`, signed by one of `keys` (JWKS or PEM)."""

    realm: str
    service: str
    issuer: str
    keys: Path
    leeway: int = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do what in the repositories that the patterns cover (`access.patterns`); '*' in `users`: who has logged in."""

    repositories: tuple[str, ...]
    actions: frozenset[str]
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a second of one address, of one user, how many of them at once (`burst`); largest blob and manifest; uploads at
    once of one user."""

    requests_per_address: float = 0
    requests_per_user: float = 0
    burst: int = 100
    max_blob: int = 0
    max_manifest: int = MAX_BYTES
    uploads_per_user: int = 1000


@dataclass(frozen=True, slots=True)
class Deletion:
    """What may be deleted at all, by those who have the right."""

    blobs: bool = True
    manifests: bool = True
    tags: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it.  `auth`: None is a registry without logins.  `access_log`: '' none, '-' standard output, else a file.
    `proxies`: the first part of a repository's name -> where it comes from.  `gc_every`, `max_size`: 0 is never, unbounded."""

    listen: Listen = Listen()
    workers: int = 1
    tls: TlsFiles | None = None
    auth: Htpasswd | Token | None = None
    anonymous_ping: bool = False
    groups: tuple[tuple[str, frozenset[str]], ...] = ()
    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    read_only: bool = False
    delete: Deletion = Deletion()
    proxies: tuple[tuple[str, str], ...] = ()
    gc_every: float = 0
    max_size: int = 0
    upload_expiry: float = 24 * 3600
    access_log: str = ""
    page: bool = True
    files: tuple[Path, ...] = field(default=(), compare=False)  # the configuration itself, if there is one

    def cautions(self) -> list[str]:
        """What is allowed, and seldom meant: for the log, at the start and after a change."""
        if is_loopback(self.listen.host):
            return []
        found = []
        if self.auth is None and not self.read_only and not self.rules:
            found.append("anybody who reaches this server may push and delete: set [auth], or read_only")
        if isinstance(self.auth, Htpasswd) and self.tls is None:
            found.append("passwords travel in the clear: set [tls], or let a proxy with TLS stand before this server")
        return found
