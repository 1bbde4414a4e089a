"""Logging in to a registry and out of it: a credential is tried before it is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category

from lamina.errors import LaminaError, Unauthorized, UsageError

if TYPE_CHECKING:
    from lamina.registry.credentials import Credential, Credentials, Kept
    from lamina.registry.network import Network

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`host` as files of credentials name it; `kept` says where; `hidden_by` another place that is looked at before."""

    host: str
    kept: Kept
    asked: bool
    hidden_by: str = ""


def login(network: Network, host: str, username: str, password: str) -> LoggedIn:
    """Try the credential at the registry (GET /v2/, basic or bearer) and keep it where docker would.

    `host` may have a scheme or path, as docker takes it; '' is Docker Hub.  `Unauthorized`: the registry does not take it,
    and nothing is kept.
    """
    from lamina.registry.credentials import Credential

    host = registry_host(host)
    if not username or not password:
        raise UsageError(f"{'username' if not username else 'password'} is empty")
    if ":" in username or any(category(one) in {"Cc", "Cs"} for one in username + password):  # RFC 7617, 2
        raise UsageError("a username has no colon, and neither username nor password has control characters")
    credential = Credential(username, password)
    asked = _try(network, host, credential)
    kept = network.credentials.store(host, credential)
    first = network.credentials.where(host)
    return LoggedIn(host, kept, asked, first if first != kept.place else "")


def opened() -> Network:
    """What a login needs, as the environment says; a context manager."""
    from lamina.registry.network import Network

    return Network.load()


def logout(host: str, credentials: Credentials | None = None) -> tuple[str, bool, str]:
    """Forget the credential of a registry in docker's file or helper.

    Its name, whether there was one, and where else one is still known ('' for nowhere).
    """
    from lamina.registry.credentials import Credentials

    host = registry_host(host)
    known = credentials or Credentials.load()
    return host, known.erase(host), known.where(host)


def known_user(credentials: Credentials, host: str) -> str:
    """The user name that is stored for a registry; '' for none, or where nothing can be read."""
    try:
        known = credentials.get(registry_host(host))
    except LaminaError:
        return ""
    return known.username if known else ""


def registry_host(text: str) -> str:
    """The registry that was meant: `host[:port]`; '' and all names of Docker Hub are docker.io.  `UsageError`."""
    from lamina.registry.authfile import HUB, name_of

    host = name_of(text.strip()).partition("/")[0] if text.strip() else HUB
    if not _HOST.fullmatch(host):
        raise UsageError("that is no registry's name", text[:160], "as in `registry.example:5000`")
    return host


class _Tried:
    """The credential that is being tried, for whoever asks."""

    def __init__(self, credential: Credential) -> None:
        self._credential, self.asked = credential, False

    def get(self, host: str, repository: str = "") -> Credential:
        self.asked = True
        return self._credential


def _try(network: Network, host: str, credential: Credential) -> bool:
    """Whether the registry asked for the credential at all; `Unauthorized` where it does not take it."""
    from lamina.registry.auth import Authorizer, Scope
    from lamina.registry.client import Client

    endpoint = network.registries.candidates(host)[-1]  # Mirrors come before the registry itself.
    tried = _Tried(credential)
    authorizer = Authorizer(network.http, tried, host, endpoint.base, network.timings)
    client = Client(network.http, endpoint, authorizer, network.timings)
    try:
        client.send("GET", "/v2/", scope=Scope()).close()
    except Unauthorized as error:
        raise Unauthorized(error.what, error.where) from error  # Its hint is to log in.
    return tried.asked
