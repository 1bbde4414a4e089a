"""What somebody may do here: the token's claims and the registry's rules, both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lamina.registry.server.access.identity import Identity
from lamina.registry.server.access.rules import Rules

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """Somebody's rights.

    Without `rules`: a token's claims decide, or whoever has logged in may do all, and, where nobody can log in (`open`),
    anybody.  With them they decide, and of a token's claims only what they allow as well is left.
    """

    identity: Identity
    rules: Rules | None = None
    open: bool = False
    read_only: bool = False

    @property
    def user(self) -> str:
        """Who has logged in; '' for nobody."""
        return self.identity.user

    def may(self, repository: str, action: str) -> bool:
        """Whether "pull", "push" or "delete" is granted and possible in a repository."""
        return not (self.read_only and action in {"push", "delete"}) and self.right(repository, action)

    def right(self, repository: str, action: str) -> bool:
        """As `may`, whether or not the registry is read-only."""
        return self.claimed(repository, action) and self._ruled(repository, action)

    def claimed(self, repository: str, action: str) -> bool:
        """Whether a token does not stand against it."""
        return self.identity.claims is None or self.identity.claims.allow(repository, action)

    def may_catalog(self) -> bool:
        """Whether the list of repositories may be asked for; what it then shows are those of `visible`."""
        if self.identity.claims is not None and not self.identity.claims.allow_catalog():
            return False
        return self.rules.allow_catalog(self.user) if self.rules else self._without_rules()

    def visible(self, names: Iterable[str]) -> list[str]:
        """Those of the names that may be pulled.  A token for the catalog shows what the rules let its user see: it cannot
        name every repository."""
        claims = self.identity.claims
        whole = claims is not None and claims.allow_catalog()
        return [name for name in names if (self._ruled(name, "pull") if whole else self.right(name, "pull"))]

    def page(self, repositories: Callable[[str, int], list[str]], after: str, limit: int) -> tuple[list[str], bool]:
        """At most `limit` visible names above `after`, and whether there are more.

        `repositories`: as `Contents.repositories`.  A name that may not be pulled is not shown, and neither is its place:
        a page is full unless it is the last one, whatever was left out.
        """
        found: list[str] = []
        batch = limit + 1
        while len(found) <= limit:
            batch = min(batch, _BATCH)
            names = repositories(after, batch)
            found += self.visible(names)
            if len(names) < batch:
                break
            after, batch = names[-1], batch * 2
        return found[:limit], len(found) > limit

    def _ruled(self, repository: str, action: str) -> bool:
        return self.rules.allow(self.user, repository, action) if self.rules else self._without_rules()

    def _without_rules(self) -> bool:
        return self.open or self.identity.claims is not None or bool(self.user)
