"""Who may do what: the interface between the server and whatever knows its users.

Actions are `pull`, `push`, `delete`, and `catalog` (which has no repository).  Methods block, and are called from threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

PULL: Final = "pull"
PUSH: Final = "push"
DELETE: Final = "delete"
CATALOG: Final = "catalog"


class Grant(Protocol):
    """What the one who sent a request may do beside what the request is for."""

    def may(self, repository: str, action: str, /) -> bool:
        """Whether it may be done to that repository."""


class Access(Protocol):
    """Knows users by the headers of their requests."""

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str, /,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        """Let the request through, or raise a `Refusal`: `UNAUTHORIZED` with `WWW-Authenticate`, `DENIED`, `TOOMANYREQUESTS`.

        `also`: (repository, action) that a token should be asked for as well, if one is; not having that refuses nothing.

        `repository` None with `pull` is the question whether one is known at all (`GET /v2/`), with `catalog` the list of all.
        """


class AllowAll:
    """Everybody may do everything."""

    def may(self, repository: str, action: str, /) -> bool:
        return True

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str, /,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        return self
