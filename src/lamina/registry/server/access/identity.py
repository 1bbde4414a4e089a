"""Who asks, as far as the request has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

MAX_USER = 255


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token grants: (type, name) -> actions, '*' for all of them."""

    access: Mapping[tuple[str, str], frozenset[str]]

    def allow(self, repository: str, action: str) -> bool:
        """Whether it grants an action in a repository."""
        return self._has("repository", repository, action)

    def allow_catalog(self) -> bool:
        """Whether it grants the list of repositories."""
        return self._has("registry", "catalog", "*")

    def _has(self, kind: str, name: str, action: str) -> bool:
        actions = self.access.get((kind, name), frozenset())
        return action in actions or "*" in actions


@dataclass(frozen=True, slots=True)
class Identity:
    """`user`: '' for whoever has not logged in.  `claims`: what their token grants; None where there are no tokens."""

    user: str = ""
    claims: Claims | None = None


class NotKnown(Exception):
    """Credentials that do not do.  `why` says no more than whoever sent them may know; `error`: by RFC 6750, 3.1."""

    def __init__(self, why: str, error: str = "") -> None:
        super().__init__(why)
        self.error = error


class Gate(Protocol):
    """One way to log in."""

    def identify(self, authorization: str) -> Identity:
        """Who the value of an Authorization field speaks for; `NotKnown`, `Refusal` (too many at once)."""

    def quick(self, authorization: str) -> bool:
        """Whether `identify` answers without a wait worth a thread."""

    def challenge(self, scope: str, error: str) -> str:
        """The value of WWW-Authenticate."""


def is_user(text: str) -> bool:
    """Whether a text may name a user: short, printable, not what means everybody; a colon ends it in Basic credentials."""
    return 0 < len(text) <= MAX_USER and text.isprintable() and ":" not in text and text != "*"
