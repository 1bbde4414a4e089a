"""Logins, tokens and files for the tests of access."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lamina.registry.server.access import keys
from lamina.registry.server.access.hashing import Hasher
from lamina.registry.server.access.tokens import Bearer
from lamina.registry.server.configured import Token

NOW = 1_800_000_000
SETTINGS = Token("https://auth.example/token", "registry.example", "issuer.example", Path("/keys"))
PASSWORD = b"correct horse"


@cache
def hashed(password: bytes = PASSWORD, cost: int = 4) -> bytes:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost))


class Counting:
    """A bcrypt that counts: one entry of `costs` for each call."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    def __call__(self, password: bytes, like: bytes) -> bytes:
        self.costs.append(int(like[4:6]))
        return bcrypt.hashpw(password, like)

    @property
    def work(self) -> int:
        return sum(1 << cost for cost in self.costs)

    def hasher(self, **options: Any) -> Hasher:
        return Hasher(self, **options)


def basic(user: str, password: bytes = PASSWORD) -> str:
    return "Basic " + base64.b64encode(user.encode() + b":" + password).decode()


class Clock:
    def __init__(self, now: float = 0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(private: Any) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(private: Any, **more: Any) -> dict[str, Any]:
    kind = {"RSA": jwt.algorithms.RSAAlgorithm, "ECP": jwt.algorithms.ECAlgorithm}.get(
        type(private).__name__[:3], jwt.algorithms.OKPAlgorithm)
    return {**kind.to_jwk(private.public_key(), as_dict=True), **more}


def jwks(*members: dict[str, Any]) -> bytes:
    return json.dumps({"keys": members}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; a change to None takes one away."""
    good = {"iss": SETTINGS.issuer, "sub": "ann", "aud": SETTINGS.service, "exp": NOW + 300, "nbf": NOW - 5, "iat": NOW - 5,
            "jti": "1", "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}]}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(content: dict[str, Any] | bytes | None = None, key: Any = None, algorithm: str = "RS256", **header: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content or claims()).encode()
    return jwt.PyJWS().encode(data, key or rsa_key(), algorithm, headers=header)


def raw(header: dict[str, Any] | bytes, content: dict[str, Any], signature: bytes = b"x") -> str:
    """A token put together by hand, which no library would make."""
    parts = (header if isinstance(header, bytes) else json.dumps(header).encode(), json.dumps(content).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_by_hand(header: dict[str, Any], content: dict[str, Any], key: Any = None) -> str:
    unsigned = raw(header, content).rpartition(".")[0]
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(unsigned.encode(), key or rsa_key())
    return unsigned + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def bearer(data: bytes | None = None, now: float = NOW, settings: Token = SETTINGS) -> Bearer:
    found: Sequence[keys.Key] = keys.load(data or jwks(jwk(rsa_key(), kid="one")), settings.keys)
    return Bearer(lambda: found, settings, lambda: now)


Make = Callable[..., Path]
