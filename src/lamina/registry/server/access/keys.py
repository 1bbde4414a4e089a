"""The keys that tokens may be signed by: a JWK set (RFC 7517), or PEM certificates and public keys one after the other.

A key is bound to its own algorithms, whatever a token says: an RSA key is never a secret for HS256.  Its ids are the `kid` of
the set, or, for PEM, those by which token servers name a key: the JWK thumbprint (RFC 7638) and libtrust's fingerprint.
A certificate is a wrapping of its key here: no chain, no dates (the operator replaces the file; it is read again).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina import jsonlimits
from lamina.errors import InvalidContent, LimitExceeded, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MAX_KEYS = 32
_MIN_RSA, _MAX_RSA = 2048, 8192
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]*-----END \1-----")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key, its ids and the algorithms it is for."""

    ids: frozenset[str]
    algorithms: tuple[str, ...]
    public: PublicKey


def load(data: bytes, file: Path) -> tuple[Key, ...]:
    """The keys of a file, at least one; `InvalidContent`, `LimitExceeded`, `UsageError` without the libraries."""
    try:
        import cryptography  # noqa: F401
        import jwt  # noqa: F401
    except ImportError:
        raise UsageError("tokens need the libraries PyJWT and cryptography", hint="install lamina[serve]") from None
    found = _jwks(data, file) if data.lstrip().startswith(b"{") else _bundle(data, file)
    if not found:
        raise InvalidContent("no key in the file of keys for tokens", file, "it has to be a JWK set, or PEM")
    if len(found) > MAX_KEYS:
        raise LimitExceeded("too many keys for tokens", file, f"at most {MAX_KEYS} are read")
    ids = [one for key in found for one in key.ids]
    if len(ids) != len(set(ids)):
        raise InvalidContent("two keys for tokens have the same id, or are the same", file)
    return found


def _jwks(data: bytes, file: Path) -> tuple[Key, ...]:
    what = "the set of keys for tokens"
    content = jsonlimits.loads(data, what, 1 << 20, 8, where=file)
    keys = content.get("keys", [content])
    if not isinstance(keys, list):
        raise InvalidContent(f"{what} has no list of keys", file)
    return tuple(_jwk(one, f"key {number} for tokens", file) for number, one in enumerate(keys[:MAX_KEYS + 1], 1)
                 if not (isinstance(one, dict) and one.get("use", "sig") != "sig"))


def _jwk(content: Any, what: str, file: Path) -> Key:
    if not isinstance(content, dict) or content.get("kty") not in ("RSA", "EC", "OKP"):
        raise InvalidContent(f"{what} is neither RSA, EC nor OKP", file, "a secret that is shared is no key to check by")
    if _PRIVATE & content.keys():
        raise InvalidContent(f"{what} is a private key", file, "leave it with the token server, and give the public one")
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    kinds: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    try:
        public = kinds[content["kty"]].from_jwk(content)
    except Exception as error:  # Whatever the libraries make of a key that is none.
        raise InvalidContent(f"{what} makes no sense", file) from error
    algorithms = _algorithms(public, what, file)
    only, kid = content.get("alg"), content.get("kid")
    if only is not None and only not in algorithms:
        raise InvalidContent(f"{what} is for another algorithm than its kind", file, f"it can be {', '.join(algorithms)}")
    if kid is not None and not (isinstance(kid, str) and kid):
        raise InvalidContent(f"{what} has a kid that is no text", file)
    return Key(frozenset({kid} if kid else names(public)), (only,) if only else algorithms, public)


def _bundle(data: bytes, file: Path) -> tuple[Key, ...]:
    found: dict[bytes, Key] = {}
    for number, match in enumerate(_PEM.finditer(data), 1):
        what = f"part {number} of the keys for tokens"
        if b"PRIVATE" in match[1]:
            raise InvalidContent(f"{what} is a private key", file, "leave it with the token server, and give the public one")
        public = _pem(match[0], match[1] == b"CERTIFICATE", what, file)
        algorithms = _algorithms(public, what, file)
        # The same key in two certificates is one.
        found[_der(public)] = Key(names(public), algorithms, public)
        if len(found) > MAX_KEYS:
            break
    return tuple(found.values())


def _pem(block: bytes, certificate: bool, what: str, file: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(block).public_key() if certificate else load_pem_public_key(block)
    except Exception as error:  # Whatever the library makes of what is none.
        raise InvalidContent(f"{what} is neither a certificate nor a public key", file) from error


def _algorithms(public: Any, what: str, file: Path) -> tuple[str, ...]:
    """What a key of this kind can sign by."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        if _MIN_RSA <= public.key_size <= _MAX_RSA:
            return "RS256", "RS384", "RS512"
        raise InvalidContent(f"{what} is RSA of {public.key_size} bits", file, f"{_MIN_RSA} to {_MAX_RSA} are taken")
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return (_CURVES[public.curve.name],)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return ("EdDSA",)
    raise InvalidContent(f"{what} is of a kind that is not taken", file, "RSA, P-256, P-384, P-521 and Ed25519 are")


def names(public: PublicKey) -> frozenset[str]:
    """The thumbprint and the fingerprint of a key, either of which a token may give as its `kid`."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    kind: Any = OKPAlgorithm
    if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        kind = RSAAlgorithm if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm
    jwk = kind.to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    fingerprint = base64.b32encode(hashlib.sha256(_der(public)).digest()[:30]).decode()
    return frozenset({thumbprint, ":".join(re.findall("....", fingerprint))})


def _der(public: PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def candidates(keys: Sequence[Key], kid: str | None, algorithm: str) -> list[Key]:
    """Which keys a token may be signed by: the one it names, any where it names none; never one for another algorithm."""
    return [key for key in keys if algorithm in key.algorithms and (kid is None or kid in key.ids)]
