"""TLS of the server, whose certificate is replaced without a restart.

The context that is given to the HTTP server holds no certificate.  Each handshake takes that of the present inner context, in
the callback that OpenSSL calls after every ClientHello, with a server name or without.  Loading a new certificate into the
same context would not do: OpenSSL keeps one for each kind of key (after RSA, EC is served beside it, and clients choose), a
file that is found wrong half way would leave a certificate without its key, and another thread's handshake could fall between.
"""

from __future__ import annotations

import ssl

from lamina.errors import InvalidContent, NotFound
from lamina.registry.server.configured import TlsFiles

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _Locked(Exception):
    """A key with a password; nobody is asked for one here."""


class ServerTls:
    """`context` is the server's for as long as it runs; `renew` changes what new connections are shown."""

    def __init__(self, files: TlsFiles) -> None:
        self._inner = _load(files)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Protocol versions are those of this context: a change of `min_version` needs a restart.
        self.context.minimum_version = _VERSIONS[files.min_version]
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.sni_callback = self._choose

    def renew(self, files: TlsFiles) -> None:
        """Show this certificate from now on; errors as of making it, and the former one stays."""
        self._inner = _load(files)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._inner


def _load(files: TlsFiles) -> ssl.SSLContext:
    """`NotFound`; `InvalidContent` for what is not PEM, does not belong together, or is locked."""
    for path in (files.certificate, files.key):
        if not path.exists():
            raise NotFound("a file for TLS is not there", path)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        made.load_cert_chain(files.certificate, files.key, _no_password)
    except _Locked:
        raise InvalidContent("the server's key is locked by a password", files.key) from None
    except (ssl.SSLError, OSError) as error:
        raise InvalidContent("cannot use the server's certificate with its key", files.certificate,
                             "both have to be PEM, readable, and belong together") from error
    return made


def _no_password() -> str:
    raise _Locked
