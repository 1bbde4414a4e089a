"""TLS contexts: the system's CAs and those of certs.d, and our own certificate where a host wants one."""

from __future__ import annotations

import ssl

from lamina.errors import InvalidContent
from lamina.registry.certificates import Tls


class _Locked(Exception):
    """A key with a password; nobody is asked for one here."""


def context(needs: Tls) -> ssl.SSLContext:
    """A context for hosts with these needs (TLS 1.2 or later); `InvalidContent` for a file that is not what it is named."""
    made = ssl.create_default_context()  # Honours SSL_CERT_FILE and SSL_CERT_DIR.
    if not needs.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for path in needs.cas:
        try:
            made.load_verify_locations(path)
        except (ssl.SSLError, OSError) as error:
            raise InvalidContent("cannot read the certificate of a CA", path, "it has to be PEM") from error
    for certificate, key in needs.clients:
        try:
            made.load_cert_chain(certificate, key, _no_password)
        except _Locked:
            raise InvalidContent("the key of a client certificate is locked by a password", key) from None
        except (ssl.SSLError, OSError) as error:
            raise InvalidContent("cannot use a client certificate with its key", certificate,
                                 "both have to be PEM, and belong together") from error
    return made


def _no_password() -> str:
    raise _Locked
