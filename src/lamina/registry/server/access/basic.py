"""Basic credentials (RFC 7617), checked against an htpasswd file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

from lamina.registry.server.access.htpasswd import Users, possible
from lamina.registry.server.access.identity import Identity, NotKnown, is_user

# 255 characters of a name in UTF-8, a colon and 72 bytes are 1,460 in base64.
_MAX_FIELD = 2048


class Basic:
    """The gate of an htpasswd file; `users` gives its present state."""

    def __init__(self, users: Callable[[], Users], realm: str) -> None:
        self._users, self._realm = users, realm

    def identify(self, authorization: str) -> Identity:
        """As of `Gate`.  A name and a password that are both empty are none: some clients send them without a login."""
        user, password = _parse(authorization)
        if not user and not password:
            return Identity()
        if not is_user(user) or not self._users().check(user, password):
            raise NotKnown("wrong user or password")
        return Identity(user)

    def quick(self, authorization: str) -> bool:
        """As of `Gate`: whether no bcrypt is needed."""
        try:
            user, password = _parse(authorization)
        except NotKnown:
            return True
        return not is_user(user) or not possible(password) or self._users().verified(user, password)

    def challenge(self, scope: str, error: str) -> str:
        """As of `Gate`."""
        return f'Basic realm="{self._realm}", charset="UTF-8"'


def _parse(authorization: str) -> tuple[str, bytes]:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic" or len(text) > _MAX_FIELD:
        raise NotKnown("no Basic credentials")
    try:
        name, colon, password = base64.b64decode(text.strip(" "), validate=True).partition(b":")
        user = name.decode()
    except (binascii.Error, ValueError):
        raise NotKnown("malformed Basic credentials") from None
    if not colon:
        raise NotKnown("malformed Basic credentials")
    return user, password


def user_of(headers: Mapping[str, str]) -> str:
    """The name that a request gives, true or not; '' if it gives none, or none that can be one."""
    try:
        user, _ = _parse(headers.get("Authorization", ""))
    except NotKnown:
        return ""
    return user if is_user(user) else ""
