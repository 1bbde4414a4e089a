"""What goes wrong with a connection, in plain words.  No URL's query and no proxy's password gets into them."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator

from urllib3.exceptions import ConnectTimeoutError, InvalidHeader, NewConnectionError, ProxyError, ReadTimeoutError

from lamina.errors import RegistryError, RegistryUnavailable
from lamina.registry.timings import Timings
from lamina.registry.wire import CutHeadError, ForbiddenAddressError, TooMuchError, TooSlowError

# X509_V_ERR_*: what OpenSSL says of a certificate, where it is not about who signed it.
_OTHER_NAME = {62, 64}  # host name, IP address
_DATES = {9: "is not valid yet", 10: "has expired"}
_NOT_TLS = {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE",
            "PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE", "UNEXPECTED_EOF_WHILE_READING"}
_RESET = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
_WANTS_CERTIFICATE = re.compile("CERTIFICATE_REQUIRED|ALERT_(BAD|UNKNOWN)_?C|HANDSHAKE_FAILURE")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


class NotReached(RegistryUnavailable):
    """No connection came about, so that nothing was sent: any request may be tried again."""


class NotTls(NotReached):
    """There is something, and it does not speak TLS."""


def cannot_connect(host: str, error: BaseException, timings: Timings) -> RegistryError:
    """The error for an exchange that brought no answer."""
    causes = list(_causes(error))
    place = f"{host} through the proxy" if any(isinstance(cause, ProxyError) for cause in causes) else host
    reset = any(isinstance(cause, OSError) and cause.errno in _RESET for cause in causes)
    failures = (_certificate(host, cause) for cause in causes if isinstance(cause, ssl.SSLError) and not reset)
    found = next(filter(None, failures), None) or _known(host, place, causes, timings)
    if found is not None:
        return found
    connecting = any(isinstance(cause, NewConnectionError) for cause in causes)
    if reset:
        return RegistryUnavailable(f"{host} broke off: connection reset")
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            kind = NotReached if connecting else RegistryUnavailable
            return kind(f"cannot connect to {place}: {os.strerror(cause.errno).lower()}")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return RegistryError(f"cannot connect to {place}: TLS failed")
    if any(isinstance(cause, (http.client.HTTPException, InvalidHeader)) for cause in causes):
        return RegistryError(f"{host} does not speak HTTP")
    return RegistryUnavailable(f"cannot connect to {place}")


def broken_off(host: str, error: BaseException | None) -> RegistryUnavailable:
    """The error for a body that ended before its time; without `error` it just ended."""
    for cause in _causes(error):
        if isinstance(cause, TooSlowError):
            return RegistryUnavailable(f"{host} is too slow: {cause}")
        if isinstance(cause, TooMuchError):
            return RegistryUnavailable(f"{host} sends {cause}")
        if isinstance(cause, TimeoutError):
            return RegistryUnavailable(f"{host} stopped sending")
    return RegistryUnavailable(f"{host} broke off in the middle of an answer")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, innermost last; urllib3 keeps it in arguments too."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < 32:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [*(arg for arg in current.args if isinstance(arg, BaseException)), current.__cause__, current.__context__]


def _known(host: str, place: str, causes: list[BaseException], timings: Timings) -> RegistryError | None:
    """What the causes mean, by the first of this table that is among them."""
    no_answer = f"cannot connect to {place}: no answer within {timings.connect:g} s"
    meanings: list[tuple[type[BaseException], type[RegistryError], str]] = [
        (ForbiddenAddressError, RegistryError, f"a registry leads to {host}, which is a link-local address: not followed"),
        (socket.gaierror, NotReached, f"cannot connect to {place}: the name is not known"),
        (ConnectTimeoutError, NotReached, no_answer),
        (TooSlowError, RegistryUnavailable, f"{host} is too slow: "),
        (TooMuchError, RegistryError, f"{host} sends "),
        (CutHeadError, RegistryUnavailable, f"{host} broke off in the middle of an answer"),
        (ReadTimeoutError, RegistryUnavailable, f"{host} does not answer"),
        (http.client.RemoteDisconnected, RegistryUnavailable, f"{host} broke off without an answer"),
    ]
    for kind, means, what in meanings:
        for cause in causes:
            # In the tree of urllib3 a connection that is refused is a time-out too.
            if isinstance(cause, kind) and not isinstance(cause, NewConnectionError):
                return means(f"{what}{cause}" if what.endswith(" ") else what)
    refused = next(filter(None, (_TUNNEL.search(str(cause)) for cause in causes if isinstance(cause, OSError))), None)
    return NotReached(f"cannot connect to {host}: the proxy refuses with {refused[1]}") if refused else None


def _certificate(host: str, cause: ssl.SSLError) -> RegistryError | None:
    """What a failure of TLS means."""
    ca = f"put the CA's certificate into certs.d/{host}/ca.crt"
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OTHER_NAME:
            return RegistryError(f"the certificate of {host} is for another name", hint="ask for it by the name it is for")
        if cause.verify_code in _DATES:
            return RegistryError(f"the certificate of {host} {_DATES[cause.verify_code]}")
        return RegistryError(f"the certificate of {host} is not trusted", hint=f"if you trust its CA, {ca}")
    reason = cause.reason or ""
    if reason in _NOT_TLS or isinstance(cause, ssl.SSLEOFError):
        return NotTls(f"cannot connect to {host}: it does not speak TLS")
    if _WANTS_CERTIFICATE.search(reason):
        return RegistryError(f"{host} does not accept us without a client certificate that it knows",
                             hint=f"put client.cert and client.key into certs.d/{host}")
    return None
