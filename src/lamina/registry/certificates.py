"""certs.d, as docker and podman have it: `HOST[:PORT]/*.crt` are further CAs, `*.cert` with `*.key` are ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lamina.errors import InvalidContent, StorageError


@dataclass(frozen=True, slots=True)
class Tls:
    """What a host's TLS needs beside the system's CAs.

    `cas`: files of CA certificates.  `clients`: (certificate, key) files, for a host that asks who we are.
    `verify`: False only for a host that the configuration calls insecure.
    """

    cas: tuple[Path, ...] = ()
    clients: tuple[tuple[Path, Path], ...] = ()
    verify: bool = True


def directories(env: Mapping[str, str], config: Path | None) -> list[Path]:
    """Where certs.d is looked for, first to last; `config` is the user's directory of configuration."""
    own = env.get("LAMINA_CERTS_D")
    return [
        *([Path(own)] if own else []),
        *([config / "lamina" / "certs.d", config / "containers" / "certs.d"] if config else []),
        Path("/etc/containers/certs.d"),
        Path("/etc/docker/certs.d"),
    ]


def find(host: str, roots: Iterable[Path], *, verify: bool) -> Tls:
    """The files for `host[:port]`, of the first root that has a directory of that name (the port as it is written)."""
    names = [host] if ":" in host else [host, f"{host}:443"]
    for root in roots:
        for directory in (root / name for name in names):
            if _is_directory(directory):
                return _read(directory, verify)
    return Tls(verify=verify)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # Another user's: as if it were not there, as for /etc/docker of a machine without root.
        return False


def _read(directory: Path, verify: bool) -> Tls:
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in {".crt", ".cert", ".key"})
    except OSError as error:
        raise StorageError(f"cannot read certificates: {error.strerror}", directory) from error
    certificates = {path.stem: path for path in files if path.suffix == ".cert"}
    keys = {path.stem: path for path in files if path.suffix == ".key"}
    for stem in sorted(certificates.keys() ^ keys.keys()):
        have, lack = (".cert", ".key") if stem in certificates else (".key", ".cert")
        raise InvalidContent(f"a client certificate is not whole: there is {stem}{have}, but no {stem}{lack}", directory,
                             "a CA's file ends with .crt")
    cas = tuple(path for path in files if path.suffix == ".crt")
    return Tls(cas, tuple((certificates[stem], keys[stem]) for stem in sorted(certificates)), verify)
