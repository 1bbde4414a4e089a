"""Which origins serve a registry, and how each may be reached.

registries.toml ($LAMINA_REGISTRIES, else $XDG_CONFIG_HOME/lamina/, else /etc/lamina/; the first that is there, whole):

    ["registry.example:5000"]
    insecure = true                         # plain HTTP, and certificates that nobody vouches for

    ["docker.io"]
    mirrors = ["https://mirror.example"]    # asked first, to pull; https unless it says otherwise
    connections = 3                         # for one large layer, where one alone does not fill the line; 1 to 3

Certificates: see `certificates`.  Proxies: see `proxies`.  No I/O but for these files; nothing is connected to.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lamina.errors import InvalidContent, LimitExceeded, NotFound, StorageError
from lamina.registry.certificates import Tls, directories, find
from lamina.registry.hosts import is_loopback, split_port
from lamina.registry.proxies import proxy_for
from lamina.registry.ranges import MAX_CONNECTIONS

_SYSTEM = Path("/etc/lamina/registries.toml")
_MAX_BYTES = 1 << 20
# docker.io is a name, not a host: its web site.
_SERVED_BY = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One origin that serves the repositories of a registry.

    `base`: `https://host[:port]`, no slash at the end.  `domain`: the registry as references name it.  `host`: that of
    `base`, with its port.  Credentials are looked up by `domain` for the registry itself, by `host` for a `mirror`
    (which is for pulls only).
    """

    base: str
    domain: str
    host: str
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class _Settings:
    """One table of the file."""

    insecure: bool = False
    mirrors: tuple[str, ...] = ()
    connections: int = 1


@dataclass(frozen=True, slots=True)
class Registries:
    """What is configured; without any file, the defaults."""

    settings: Mapping[str, _Settings] = field(default_factory=dict)
    certificates: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # A proxy's URL may hold a password.

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ) -> Registries:
        """As the environment and the files say.

        `NotFound`: $LAMINA_REGISTRIES is not there.  `InvalidContent`: a file that does not say what it should.
        """
        config = _config_home(env)
        settings: dict[str, _Settings] = {}
        path = _file(env, config)
        if path is not None:
            settings = _settings(_toml(path), path)
        return cls(settings, tuple(directories(env, config)), env)

    def allowing(self, hosts: Iterable[str]) -> Registries:
        """The same, but that plain HTTP is allowed for these `host[:port]`, too: somebody has written `http://`."""
        more = {host.lower(): replace(self._of(host), insecure=True) for host in hosts}
        return replace(self, settings={**self.settings, **more})

    def candidates(self, domain: str) -> list[Endpoint]:
        """Who is asked for the registry's repositories: mirrors in the order of the file, then the registry itself."""
        host = _SERVED_BY.get(domain, domain)
        mirrors = [Endpoint(base, domain, base.partition("://")[2], mirror=True) for base in self._of(domain).mirrors]
        return [*mirrors, Endpoint(f"https://{host}", domain, host)]

    def tls(self, host: str) -> Tls:
        """Certificates for `host[:port]`."""
        return find(host, self.certificates, verify=not self.insecure(host))

    def insecure(self, host: str) -> bool:
        """Whether the file allows plain HTTP and unknown certificates for `host[:port]`."""
        return self._of(host).insecure

    def connections(self, domain: str) -> int:
        """By how many connections one large blob of a registry is read (`ranges`)."""
        return self._of(domain).connections

    def plain(self, host: str) -> bool:
        """Whether `host[:port]` may be spoken to by plain HTTP: it is insecure by the file, or on loopback."""
        return self.insecure(host) or is_loopback(split_port(host)[0])

    def proxy(self, url: str) -> str | None:
        """The proxy's URL for this one, or None.  It may hold a password: not to be shown."""
        scheme, _, rest = url.partition("://")
        return proxy_for(scheme.lower(), rest.partition("/")[0].partition("?")[0], self.env)

    def _of(self, host: str) -> _Settings:
        return self.settings.get(host.lower()) or _Settings()


def _config_home(env: Mapping[str, str]) -> Path | None:
    if env.get("XDG_CONFIG_HOME"):
        return Path(env["XDG_CONFIG_HOME"])
    return Path(env["HOME"]) / ".config" if env.get("HOME") else None


def _file(env: Mapping[str, str], config: Path | None) -> Path | None:
    if env.get("LAMINA_REGISTRIES"):
        return Path(env["LAMINA_REGISTRIES"])  # Asked for by name: its absence is an error.
    own = [config / "lamina" / "registries.toml"] if config else []
    return next((path for path in [*own, _SYSTEM] if path.exists()), None)


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound("the file that $LAMINA_REGISTRIES names is not there", path) from None
    except OSError as error:
        raise StorageError(f"cannot read the configuration of registries: {error.strerror}", path) from error
    if len(data) > _MAX_BYTES:
        raise LimitExceeded("the configuration of registries is too large", path, f"at most {_MAX_BYTES} bytes are read")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # Also what is not UTF-8.
        reason = " ".join(str(error).split())[:160]
        raise InvalidContent(f"the configuration of registries is not TOML: {reason}", path) from error


def _settings(tables: dict[str, Any], path: Path) -> dict[str, _Settings]:
    return {host.lower(): _one(host, table, path) for host, table in tables.items()}


def _one(host: str, table: Any, path: Path) -> _Settings:
    """One table, every key known and of its type: a setting that is asked for counts, or is an error."""
    if not isinstance(table, dict):
        raise InvalidContent(f"{host!r} in the configuration of registries is no table", path,
                             'write ["host:port"], and its settings below')
    unknown = sorted(table.keys() - {"insecure", "mirrors", "connections"})
    if unknown:
        raise InvalidContent(f"unknown setting {unknown[0]!r} of registry {host!r}", path,
                             "insecure, mirrors and connections are known; a host's name with dots stands in quotes")
    insecure, mirrors = table.get("insecure", False), table.get("mirrors", [])
    if not isinstance(insecure, bool):
        raise InvalidContent(f"insecure of registry {host!r} is neither true nor false", path)
    if not isinstance(mirrors, list) or not all(isinstance(mirror, str) for mirror in mirrors):
        raise InvalidContent(f"mirrors of registry {host!r} is not a list of URLs", path)
    connections = table.get("connections", 1)
    if type(connections) is not int or not 1 <= connections <= MAX_CONNECTIONS:
        raise InvalidContent(f"connections of registry {host!r} is no number from 1 to {MAX_CONNECTIONS}", path)
    return _Settings(insecure, tuple(_base(mirror, host, path) for mirror in mirrors), connections)


def _base(mirror: str, host: str, path: Path) -> str:
    """A mirror's origin, as `Endpoint.base` has it."""
    scheme, found, rest = mirror.partition("://")
    scheme, rest = (scheme.lower(), rest) if found else ("https", mirror)
    rest = rest.rstrip("/").lower()
    if scheme not in {"http", "https"} or not rest or any(c in "/?#@\\" or c <= " " for c in rest):
        raise InvalidContent(f"a mirror of registry {host!r} is not a URL of a host", path, "write https://host or https://host:port")
    return f"{scheme}://{rest}"
