"""Bearer tokens, kept for their time: one fetch at a time for one scope, however many threads want it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from lamina.registry.tokenserver import TokenServer, Wanted

if TYPE_CHECKING:
    from lamina.registry.http import Http
    from lamina.registry.timings import Timings

LIFETIME = 60.0  # seconds, where none is told (token specification)
MIN_LIFETIME, MAX_LIFETIME = 10.0, 86_400.0  # a token that is refused sooner is renewed by that
MARGIN = 10.0  # seconds before the end at which a token is renewed: it must last for the way of a request
MAX_TOKENS = 1024


class _Slot:
    """The token of one `Wanted`; the lock is held while it is fetched."""

    __slots__ = ("lock", "token", "until")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token, self.until = "", 0.0


class Tokens:
    """The tokens of one registry; thread-safe."""

    def __init__(self, http: Http, domain: str, timings: Timings) -> None:
        self._server, self._timings = TokenServer(http, domain, timings), timings
        self._slots: dict[Wanted, _Slot] = {}
        self._lock = threading.Lock()

    def get(self, wanted: Wanted, base: str, refused: str = "") -> str:
        """A token in its time, another than the one that was `refused`.

        `base` is the registry's own origin.  Errors are those of `TokenServer.ask`.
        """
        with self._lock:
            if len(self._slots) >= MAX_TOKENS:
                self._slots.clear()  # Those being fetched are in the hands of who fetches.
            slot = self._slots.setdefault(wanted, _Slot())
        with slot.lock:
            if not slot.token or slot.token == refused or self._timings.clock() >= slot.until:
                slot.token = ""
                begin = self._timings.clock()
                slot.token, document, headers = self._server.ask(wanted, base)
                slot.until = begin + _lifetime(document, headers)
            return slot.token


def _lifetime(document: Mapping[str, object], headers: Mapping[str, str]) -> float:
    """Seconds from now for which the token may be used.

    `issued_at` is held against the answer's own Date: this machine's clock may be wrong, and that must not matter.
    """
    told = document.get("expires_in")
    lifetime = LIFETIME
    if isinstance(told, (int, float)) and not isinstance(told, bool) and told > 0:
        lifetime = min(float(told), MAX_LIFETIME)
    now, issued = _date(headers.get("date", "")), _moment(document.get("issued_at"))
    age = max(0.0, (now - issued).total_seconds()) if now and issued else 0.0
    return max(MIN_LIFETIME, lifetime - age - MARGIN)


def _date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text[:64]))
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(text: object) -> datetime | None:
    """An RFC 3339 time."""
    try:
        return _aware(datetime.fromisoformat(text[:64])) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
