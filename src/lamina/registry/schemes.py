"""https or http: hosts that may be plain are tried with TLS first, and what was found out holds for the process."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

from lamina.errors import LaminaError, RegistryUnavailable
from lamina.registry.hosts import is_loopback, split_port
from lamina.registry.problems import NotTls

if TYPE_CHECKING:
    from lamina.registry.http import Http

# What servers of TLS answer to plain HTTP.
_BAD_REQUEST = 400


class Schemes:
    """What is known of the hosts that may be plain."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._found: dict[str, str] = {}
        self._lock = threading.Lock()

    def base(self, base: str) -> str:
        """`base` as the host speaks it: https wherever it does; `RegistryUnavailable` where it speaks neither."""
        scheme, _, host = base.partition("://")
        if scheme == "http" or not self._http.registries.plain(host):
            return base
        with self._lock:
            if base not in self._found:
                self._found[base] = self._ask(base, f"http://{host}")
            return self._found[base]

    def _ask(self, secure: str, plain: str) -> str:
        """By the protocol's ping; a certificate that does not do is an error, not a reason to go without."""
        host = secure.partition("://")[2]
        near = is_loopback(split_port(host)[0]) and self._http.registries.proxy(secure) is None
        if near and answers_plainly(host, self._http.timings.connect) and self._ping(plain) != _BAD_REQUEST:
            return plain
        try:
            self._ping(secure)
        except RegistryUnavailable as error:
            try:
                status = self._ping(plain)
            except LaminaError as other:
                raise (other if isinstance(error, NotTls) else error) from None
            if status == _BAD_REQUEST:
                raise
            return plain
        return secure

    def _ping(self, base: str) -> int:
        with self._http.send("GET", f"{base}/v2/") as response:
            response.discard()
            return response.status


def answers_plainly(host: str, timeout: float) -> bool:
    """Whether `host[:port]` answers a handshake in the clear.  Anything else than that is left to find out by asking.

    Nobody's certificate is looked at and nothing is sent, so that the system's CAs need not be read (50 ms) to speak with a
    registry that has no TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    name, port = split_port(host)
    try:
        with socket.create_connection((name, int(port or 443)), timeout) as sock, context.wrap_socket(sock):
            return False
    except ssl.SSLError as error:
        return error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}
    except (OSError, ValueError):
        return False
