"""One exchange with one host: no redirects, no credentials, no second try (`client` has those).

Bytes are as on the wire; a body that ends before its time is an error and never an end.  Several threads may use one `Http`.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import threading
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from lamina.errors import LaminaError, LimitExceeded, RegistryError, RegistryUnavailable
from lamina.registry import certificates, tls
from lamina.registry.origins import origin_of, parse, shown
from lamina.registry.problems import broken_off, cannot_connect
from lamina.registry.schemes import Schemes
from lamina.registry.timings import Timings
from lamina.registry.wire import WireResponse, patience_for, pool_classes

if TYPE_CHECKING:
    from lamina.registry.configuration import Registries

__all__ = ["Http", "Response", "Timings", "agent"]

# Hosts whose connections are kept, and connections to one of them: as many as there are ever threads.
_HOSTS, _CONNECTIONS = 32, 16
# Read at a time: a slow body shows its progress, and a fast one costs few calls.
_SLICE = 128 << 10
# When to give the caller what there is, though there is room for more; seconds.
_SOON = 0.1
# Between the bytes of a chunked body may stand 5 bytes for each (a chunk of one), and extensions and a trailer.
_FRAMING = 8
_TRAILER = 256 << 10
# A body that is cheaper to read than a new connection to make.
_SMALL = 16 << 10
_DECIMAL = re.compile(r"[0-9]{1,18}", re.ASCII)


@cache
def agent() -> str:
    """What we call ourselves: `lamina/VERSION`."""
    return f"lamina/{metadata.version('lamina')}"


class Response:
    """An answer: its head, and its body while it arrives.  A context manager; not thread-safe.

    `headers`: a mapping whatever the case.  `url`: where it came from, query and all (not to be shown).  `size`: the bytes
    that the body has by its head, None where only its end will tell.
    """

    def __init__(self, raw: urllib3.BaseHTTPResponse, wire: WireResponse, url: str, host: str, timings: Timings) -> None:
        self._raw, self._wire, self._timings = raw, wire, timings
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url, self.host = url, host
        self.size: int | None = wire.length
        self._pending: RegistryError | None = None
        self._ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Bytes of the body, straight into the buffer; 0 only at its end.  `RegistryUnavailable` when it is cut off."""
        if self._pending is not None:
            raise self._pending
        total, began = 0, self._timings.clock()
        while total < len(buffer) and not self._ended:
            try:
                count = self._some(buffer[total:total + _SLICE])
            except RegistryError as error:
                self.close()
                if not total:
                    raise
                self._pending = error  # What came before it counts.
                break
            if not count:
                break
            total += count
            if self._timings.clock() - began > _SOON:
                break
        return total

    def body(self, limit: int) -> bytes:
        """What is left of the body, and no more than `limit` bytes: `LimitExceeded`."""
        if self.size is not None and self.size > limit:
            self.close()
            raise LimitExceeded(f"an answer of {self.size} bytes is too large", shown(self.url), f"at most {limit} are read")
        parts, total, piece = [], 0, memoryview(bytearray(min(limit + 1, _SLICE)))
        while count := self.readinto(piece):
            total += count
            if total > limit:
                self.close()
                raise LimitExceeded("an answer is too large", shown(self.url), f"at most {limit} bytes are read")
            parts.append(bytes(piece[:count]))
        return b"".join(parts)

    def discard(self) -> None:
        """Let go, after a look at a body that is small, so that the connection can be used again."""
        if self.size is not None and self.size <= _SMALL:
            with contextlib.suppress(LaminaError):
                self.body(_SMALL)
        self.close()

    def close(self) -> None:
        """Let go; what was not read is not waited for, the connection ends with it.  Again is harmless."""
        if not self._ended:
            self._ended = True
            if self._wire.length == 0:  # Nothing is to come: the answer to a HEAD, say.
                self._wire.close()
            if not self._wire.isclosed():
                self._raw.close()
            self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _some(self, view: memoryview) -> int:
        """One read; at the end the connection goes back to the pool."""
        try:
            self._wire.paced.body(_FRAMING * len(view) + _TRAILER)
            count = self._wire.readinto(view)
            left = self._wire.length
        except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: a chunk's size that is no number.
            raise broken_off(self.host, error) from error
        if not count and view and left:
            raise broken_off(self.host, None)
        if self._wire.isclosed():
            self.close()
        return count


class _Way(NamedTuple):
    """What a pool of connections depends on beside the host."""

    proxy: str | None
    tls: certificates.Tls
    guarded: bool


class Http:
    """The connections of a process."""

    def __init__(self, registries: Registries, timings: Timings | None = None) -> None:
        self.registries, self.timings = registries, timings or Timings()
        self.schemes = Schemes(self)
        self._ways: dict[_Way, urllib3.PoolManager] = {}
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
        manager = self._manager(url, foreign)
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

    def _manager(self, url: str, guarded: bool) -> urllib3.PoolManager:
        """The pools for a URL, made when first asked for."""
        origin = origin_of(url)
        needs = self.registries.tls(str(origin)) if origin.scheme == "https" else certificates.Tls()
        way = _Way(self.registries.proxy(f"{origin.scheme}://{origin}"), needs, guarded)
        with self._lock:
            if way not in self._ways:
                self._ways[way] = self._new_manager(way, origin.scheme == "https")
            return self._ways[way]

    def _new_manager(self, way: _Way, over_tls: bool) -> urllib3.PoolManager:
        context: ssl.SSLContext | None = tls.context(way.tls) if over_tls else None
        if over_tls and not way.tls.verify:
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
