"""One exchange with one host: no redirects, no credentials, no second try (`client` has those).

Several threads may use one `Http`.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from lamina.errors import RegistryError, RegistryUnavailable
from lamina.registry import certificates, tls
from lamina.registry.origins import Origin, origin_of, parse, shown
from lamina.registry.problems import cannot_connect
from lamina.registry.response import Response
from lamina.registry.schemes import Schemes
from lamina.registry.timings import Timings
from lamina.registry.wire import WireResponse, patience_for, pool_classes

if TYPE_CHECKING:
    from lamina.registry.configuration import Registries

__all__ = ["Http", "Response", "Timings", "agent"]

# Hosts whose connections are kept, and connections to one of them: as many as there are ever threads.
_HOSTS, _CONNECTIONS = 32, 16
_DECIMAL = re.compile(r"[0-9]{1,18}", re.ASCII)


@cache
def agent() -> str:
    """What we call ourselves: `lamina/VERSION`."""
    return f"lamina/{metadata.version('lamina')}"


class _Way(NamedTuple):
    """What a pool of connections depends on beside the host."""

    proxy: str | None
    tls: certificates.Tls | None
    guarded: bool


class Http:
    """The connections of a process."""

    def __init__(self, registries: Registries, timings: Timings | None = None) -> None:
        self.registries, self.timings = registries, timings or Timings()
        self.schemes = Schemes(self)
        self._ways: dict[_Way, urllib3.PoolManager] = {}
        self._needs: dict[Origin, certificates.Tls | None] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
        foreign: bool = False,
    ) -> Response:
        """One request to an absolute URL, its body sent whole; the answer whatever its status.

        `foreign`: the URL is a registry's word, not the user's (a redirect, a realm): link-local addresses are not spoken
        to then, and plain HTTP is the caller's to judge.  Without it plain HTTP goes only to loopback and to hosts that
        the configuration calls insecure.

        `RegistryUnavailable`: not reached (`problems.NotReached`), too slow, cut off.  `RegistryError`: a certificate that
        does not do, plain HTTP refused, no HTTP at all.
        """
        origin = origin_of(url)
        if origin.scheme == "http" and not foreign and not self.registries.plain(str(origin)):
            raise RegistryError("plain HTTP is not allowed", str(origin),
                                f'to allow it write ["{origin}"] and insecure = true into registries.toml')
        manager = self._manager(origin, foreign)
        timeout = urllib3.Timeout(connect=self.timings.connect, read=patience_for(method, self.timings))
        try:
            raw = manager.urlopen(
                method, parse(url)._replace(fragment=None).url, body=body, timeout=timeout, retries=False, redirect=False,
                preload_content=False, decode_content=False,
                headers={"User-Agent": agent(), "Accept-Encoding": "identity", **(headers or {})},
            )
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise cannot_connect(str(origin), error, self.timings) from error
        return self._response(raw, url, str(origin))

    def close(self) -> None:
        """End the connections that are kept."""
        with self._lock:
            for manager in self._ways.values():
                for key in manager.pools.keys():  # noqa: SIM118 - no iterator, so that threads may be at work
                    if (pool := manager.pools.get(key)) is not None:
                        pool.close()
                manager.clear()
            self._ways.clear()

    def _response(self, raw: urllib3.BaseHTTPResponse, url: str, host: str) -> Response:
        wire = getattr(raw.connection, "wire", None)
        assert isinstance(wire, WireResponse)  # Every connection is of `wire`.
        response = Response(raw, wire, url, host, self.timings)
        length = raw.headers.get("Content-Length")
        if length is not None and not wire.chunked and _DECIMAL.fullmatch(length.strip()) is None:
            response.close()
            raise RegistryError(f"{host} sends a Content-Length that makes no sense")
        return response

    def _manager(self, origin: Origin, guarded: bool) -> urllib3.PoolManager:
        """The pools for an origin, made when first asked for; certs.d is looked at once."""
        with self._lock:
            if origin not in self._needs:
                over_tls = origin.scheme == "https"
                self._needs[origin] = self.registries.tls(str(origin)) if over_tls else None
            way = _Way(self.registries.proxy(f"{origin.scheme}://{origin}"), self._needs[origin], guarded)
            if way not in self._ways:
                self._ways[way] = self._new_manager(way)
            return self._ways[way]

    def _new_manager(self, way: _Way) -> urllib3.PoolManager:
        context = tls.context(way.tls) if way.tls is not None else None
        if way.tls is not None and not way.tls.verify:
            # The configuration says so; that is said once, by who wrote it.
            urllib3.disable_warnings(InsecureRequestWarning)
        manager: urllib3.PoolManager
        if way.proxy is None:
            manager = urllib3.PoolManager(_HOSTS, maxsize=_CONNECTIONS, block=False, ssl_context=context)
        else:
            bare, secret = _proxy(way.proxy)
            manager = urllib3.ProxyManager(bare, _HOSTS, maxsize=_CONNECTIONS, block=False, proxy_headers=secret,
                                           ssl_context=context)
        manager.pool_classes_by_scheme = pool_classes(self.timings, guarded=way.guarded)
        return manager


def _proxy(url: str) -> tuple[str, dict[str, str] | None]:
    """A proxy's URL without the user's name and password, and the header that carries them."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    user, found, host = authority.rpartition("@")
    try:
        parts = parse(f"{scheme}://{host}")
    except RegistryError as error:
        raise RegistryUnavailable("the proxy of the environment is not a URL of a host", shown(url)) from error
    return parts.url, urllib3.make_headers(proxy_basic_auth=unquote(user)) if found else None
