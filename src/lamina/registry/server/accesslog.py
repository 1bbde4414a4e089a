"""The access log: a line of JSON for each request, whatever it asked for.

Lines have at most `LONGEST` bytes and go out in one write each, so that those of several processes do not mix (a pipe takes
4096 bytes whole).  All but printable ASCII is escaped: a log is read on terminals.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 4096
_PATH, _WORD, _AGENT, _METHOD = 1024, 200, 300, 16  # bytes of fields as they stand in the line


@dataclass(frozen=True, slots=True)
class Request:
    """One request that is over.

    `time`: when it came, seconds since 1970; `path`: without the query, which may hold secrets; `user`: '' if nobody logged in;
    `status`: 0 if the client went away before one was sent; `sent`, `received`: bytes of bodies.
    """

    time: float
    address: str
    user: str
    method: str
    path: str
    status: int
    received: int
    sent: int
    seconds: float
    agent: str = ""


def line(one: Request) -> bytes:
    """Its line, with the newline."""
    second, milli = divmod(int(one.time * 1000), 1000)
    value = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{milli:03d}Z",
        "address": _short(one.address, _WORD), "user": _short(one.user, _WORD), "method": _short(one.method, _METHOD),
        "path": _short(one.path, _PATH), "status": one.status,
        "received": one.received, "sent": one.sent, "seconds": round(one.seconds, 4),
        "agent": _short(one.agent, _AGENT)}
    return (json.dumps(value, separators=(",", ":")) + "\n").encode("ascii")


def _short(text: str, longest: int) -> str:
    """So much of it as has that many bytes when it is escaped."""
    text = text[: longest + 1]
    total = 0
    for place, one in enumerate(text):
        total += len(json.dumps(one)) - 2
        if total > longest:
            return text[:place] + "..."
    return text


class AccessLog:
    """Writes to a descriptor that its caller owns; usable from several threads.  `lost`: lines that could not be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.lost = 0

    def write(self, one: Request) -> None:
        """A log that is full or gone does not end the service."""
        data = line(one)
        with self._lock:
            written = 0
            with suppress(OSError, ValueError):
                written = os.write(self._descriptor, data)
            self.lost += written < len(data)
