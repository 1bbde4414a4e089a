"""Bearer tokens by the docker token specification (a JWT of RFC 7519 with an `access` claim), checked against our keys.

Of a token's header only `alg` and `kid` count, and both only choose among those keys: `jwk`, `jku`, `x5u` and `x5c`, by which
a token would bring its own key, are not looked at.  Whatever is not exactly as it should be refuses the token.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from lamina import jsonlimits
from lamina.errors import LaminaError
from lamina.registry.server.access.identity import MAX_USER, Claims, Identity, NotKnown
from lamina.registry.server.access.keys import Key, candidates
from lamina.registry.server.configured import Token

MAX_TOKEN = 16 << 10
MAX_ENTRIES, MAX_ACTIONS = 1000, 32
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
# `repository(plugin)`: classes are deprecated, and the same as without.
_KIND = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?", re.ASCII)
_TYPES = frozenset({"jwt", "at+jwt"})


class Bearer:
    """The gate of a token server; `keys` gives the present ones, `clock` the seconds since 1970."""

    def __init__(self, keys: Callable[[], Sequence[Key]], settings: Token, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._settings, self._clock = keys, settings, clock

    def identify(self, authorization: str) -> Identity:
        """As of `Gate`."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise NotKnown("no Bearer token")
        try:
            claims = jsonlimits.loads(verified(token.strip(" "), self._keys()), "the token", MAX_TOKEN, 8)
            self._check(claims)
            return Identity(_subject(claims), _access(claims))
        except LaminaError as error:
            raise _bad(error.what) from None

    def quick(self, authorization: str) -> bool:
        """As of `Gate`: a signature takes some 0.1 ms."""
        return True

    def challenge(self, scope: str, error: str) -> str:
        """As of `Gate`; "Token Authentication Specification", and RFC 6750, 3."""
        parts = [("realm", self._settings.realm), ("service", self._settings.service), ("scope", scope), ("error", error)]
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parts if value)

    def _check(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        if claims.get("iss") != self._settings.issuer:
            raise _bad("the token is of another issuer")
        if self._settings.service not in (audience if isinstance(audience, list) else [audience]):
            raise _bad("the token is for another service")
        now, leeway = self._clock(), self._settings.leeway
        if now >= _moment(claims, "exp", None) + leeway:
            raise _bad("the token has expired")
        if max(_moment(claims, "nbf", -math.inf), _moment(claims, "iat", -math.inf)) > now + leeway:
            raise _bad("the token is not valid yet")


def verified(token: str, keys: Sequence[Key]) -> bytes:
    """The claims of a token, as JSON, once its signature is known to be right; `NotKnown`, `LaminaError`."""
    parts = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN else None
    if parts is None:
        raise _bad("no token")
    header = jsonlimits.loads(_decoded(parts[1]), "the token's header", MAX_TOKEN, 8)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise _bad("the token's header makes no sense")
    if "crit" in header or "b64" in header or "zip" in header or str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise _bad("the token's header asks for what is not understood")
    signature = _decoded(parts[3])
    for key in candidates(keys, kid, algorithm):
        if _signed(key, algorithm, f"{parts[1]}.{parts[2]}".encode(), signature):
            return _decoded(parts[2])
    raise _bad("the token is not signed by a key that is trusted")


def _signed(key: Key, algorithm: str, message: bytes, signature: bytes) -> bool:
    public: Any = key.public
    return bool(_algorithms()[algorithm].verify(message, public, signature))


@cache
def _algorithms() -> dict[str, Any]:
    from jwt.algorithms import get_default_algorithms

    return dict(get_default_algorithms())


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise _bad("no token") from None


def _moment(claims: dict[str, Any], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"the token's {name} is no number")
    return float(value)


def _subject(claims: dict[str, Any]) -> str:
    """'' is whom the issuer does not know, either."""
    value = claims.get("sub", "")
    if not isinstance(value, str) or len(value) > MAX_USER or not value.isprintable() or value == "*":
        raise _bad("the token's subject makes no sense")
    return value


def _access(claims: dict[str, Any]) -> Claims:
    entries = jsonlimits.Fields(claims, "the token")
    found: dict[tuple[str, str], frozenset[str]] = {}
    for entry in entries.children("access", MAX_ENTRIES):
        kind = _KIND.fullmatch(entry.text("type", required=True))
        if kind is None:
            raise _bad("the token's access is to something unknown")
        place = (kind[1], entry.text("name", required=True))
        found[place] = found.get(place, frozenset()).union(entry.texts("actions", MAX_ACTIONS))
    return Claims(found)


def _bad(why: str) -> NotKnown:
    return NotKnown(why, "invalid_token")
