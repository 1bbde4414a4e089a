"""Which rule decides: of all patterns that cover a repository the most specific one, and none else.

Not the first one: `**` for everybody at the top of a file would then shut every team out of its own repositories, and moving
a paragraph would change who may read.  Not the sum of all: nothing could be kept private below a `**` that is public.  So the
file's order says nothing, `secret/**` takes its repositories out of `**` whoever is asked about, and what no rule covers is
denied.  Rules with the same pattern (or equally specific ones) add up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lamina.registry.server.access.patterns import Pattern
from lamina.registry.server.configured import Rule

# Names come from clients; one is at most 255 letters long.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Right:
    """A rule with its groups resolved."""

    actions: frozenset[str]
    users: frozenset[str]
    members: bool
    anonymous: bool

    def gives(self, user: str, action: str) -> bool:
        """`user` '' is whoever has not logged in; what they may do, everybody may."""
        return action in self.actions and (self.anonymous or (bool(user) and (self.members or user in self.users)))


class Rules:
    """All rules of a registry.  Thread-safe."""

    def __init__(self, rules: Sequence[Rule], groups: Mapping[str, frozenset[str]],
                 naming: Callable[[str], str] = lambda name: name) -> None:
        """`naming`: the one name of a repository that has several spellings."""
        self._naming = naming
        self._rights: list[tuple[Pattern, _Right]] = []
        for rule in rules:
            right = _resolve(rule, groups)
            self._rights += [(Pattern(text), right) for text in rule.repositories]
        self._rights.sort(key=lambda one: one[0].rank, reverse=True)
        self._decided: OrderedDict[str, tuple[_Right, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def allow(self, user: str, repository: str, action: str) -> bool:
        """Whether a user ('' anonymous) may do that there."""
        return any(right.gives(user, action) for right in self._deciding(repository))

    def allow_catalog(self, user: str) -> bool:
        """Whether a user may ask for the list of repositories: any rule that says so, as it is no repository's."""
        return any(right.gives(user, "catalog") for _, right in self._rights)

    def _deciding(self, repository: str) -> tuple[_Right, ...]:
        repository = self._naming(repository)
        with self._lock:
            known = self._decided.get(repository)
            if known is not None:
                self._decided.move_to_end(repository)
                return known
        found = self._find(repository)
        with self._lock:
            self._decided[repository] = found
            if len(self._decided) > _REMEMBERED:
                self._decided.popitem(last=False)
        return found

    def _find(self, repository: str) -> tuple[_Right, ...]:
        found: list[_Right] = []
        rank = None
        for pattern, right in self._rights:
            if rank is not None and pattern.rank != rank:
                break
            if pattern.covers(repository):
                found.append(right)
                rank = pattern.rank
        return tuple(found)


def _resolve(rule: Rule, groups: Mapping[str, frozenset[str]]) -> _Right:
    users = rule.users.union(*(groups[name] for name in rule.groups))
    return _Right(rule.actions, users, "*" in rule.users, rule.anonymous)
