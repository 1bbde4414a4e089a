"""What stands before the tests' registry: nobody, basic authentication, or bearer tokens with scopes."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.parse
from collections.abc import Iterable

from registry.server import Exchange

Right = tuple[str, str]  # repository, action


def basic(user: str, password: str) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Guard:
    """`kind` is '' (all are let in), 'basic' or 'token'.

    With `token`, the realm is `base/token`; anonymous callers get tokens to pull, those who give `user` and `password`
    tokens to push as well (or nobody gets any but them, with `private`).  `denied` repositories are in no token.
    """

    def __init__(self, kind: str = "", user: str = "user", password: str = "secret", *, private: bool = False) -> None:
        self.kind, self.private = kind, private
        self.known = basic(user, password)
        self.denied: set[str] = set()
        self.tokens: dict[str, set[Right]] = {}

    def admits(self, exchange: Exchange, base: str, needs: Iterable[Right]) -> bool:
        """Whether to go on; what is not let in has been answered by a challenge."""
        given = exchange.headers.get("Authorization", "")
        if not self.kind or (self.kind == "basic" and given == self.known):
            return True
        wanted = set(needs)
        if self.kind == "token" and wanted <= self.tokens.get(given.removeprefix("Bearer "), set()) and given:
            return True
        exchange.read()
        challenge = 'Basic realm="fake"'
        if self.kind == "token":
            scopes = " ".join(f"repository:{name}:{action}" for name, action in sorted(wanted))
            challenge = f'Bearer realm="{base}/token",service="fake"' + (f',scope="{scopes}"' if scopes else "")
        exchange.reply(401, {"WWW-Authenticate": challenge, "Content-Type": "application/json"},
                       b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        return False

    def hand_out(self, exchange: Exchange) -> None:
        """GET /token."""
        trusted = exchange.headers.get("Authorization") == self.known
        if self.private and not trusted:
            exchange.reply(401, {"WWW-Authenticate": 'Basic realm="fake"'}, b'{"details":"who are you"}')
            return
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(exchange.path).query)
        rights = {(name, action) for scopes in query.get("scope", ()) for scope in scopes.split()
                  for kind, name, actions in [scope.split(":")] if kind == "repository" and name not in self.denied
                  for action in actions.split(",") if action == "pull" or trusted}
        token = secrets.token_hex(8)
        self.tokens[token] = rights
        exchange.reply(200, {"Content-Type": "application/json"}, json.dumps({"token": token, "expires_in": 300}).encode())
