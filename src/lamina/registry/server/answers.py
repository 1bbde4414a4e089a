"""What is sent back: status, headers and a small body; and how a refusal looks (distribution specification, "Error Codes")."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lamina.digest import Digest
from lamina.registry.server.refusal import Refusal

log = logging.getLogger(__name__)

Headers = dict[str, str]

# In every answer.  `nosniff`: what a manifest or blob is, no browser shall guess.
COMMON: Final = {
    "Server": "lamina",
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}
JSON: Final = "application/json"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_RETRY_AFTER = {429: "1", 503: "5"}  # seconds
# All of a registry's warnings together (specification, "Warnings").
_MOST_WARNING = 4096


@dataclass(slots=True)
class Answer:
    """An answer whose body is in memory.  `length`: what Content-Length says where there is no body, to HEAD.

    `lines` are headers that come more than once.
    """

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    lines: list[tuple[str, str]] = field(default_factory=list)


def document(value: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON) -> Answer:
    """A JSON document."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": media_type, **(headers or {})}, body)


def named(digest: Digest) -> Headers:
    """Headers of content that has a digest: it is its own entity tag, as it never changes."""
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def unchanged(headers: Mapping[str, str], digest: Digest) -> bool:
    """Whether the client has what it asks for: If-None-Match (RFC 9110, section 13.1.2), compared weakly."""
    given = headers.get("If-None-Match")
    if given is None:
        return False
    tags = (one.strip().removeprefix("W/") for one in given.split(","))
    return any(one in ("*", f'"{digest}"') for one in tags)


def refusal(error: Exception) -> Answer:
    """The envelope of an error.  What is our own failure is logged in full, and told to the client in general terms."""
    if not isinstance(error, Refusal):
        error = _failure(error)
    # With a detail even where there is none to tell: docker takes a known code and message without one for something that
    # will pass, and tries a denied push again for 50 s.
    entry = {"code": error.code, "message": error.message, "detail": error.detail}
    answer = document({"errors": [entry]}, error.status, error.headers)
    if error.status in _RETRY_AFTER:
        answer.headers.setdefault("Retry-After", _RETRY_AFTER[error.status])
    return answer


def warning_lines(texts: Iterable[str]) -> list[tuple[str, str]]:
    """`Warning` headers, of as many of the texts as the specification lets through."""
    lines, left = [], _MOST_WARNING
    for text in texts:
        clean = "".join(one if " " <= one <= "~" else "?" for one in text).replace("\\", "\\\\").replace('"', '\\"')
        value = f'299 - "{clean}"'
        left -= len(value)
        if left < 0:
            break
        lines.append(("Warning", value))
    return lines


def _failure(error: Exception) -> Refusal:
    log.error("request failed: %s", error, exc_info=error)
    if is_full(error):
        return Refusal("UNKNOWN", "no space left", status=507)
    return Refusal("UNKNOWN")


def is_full(error: BaseException) -> bool:
    """Whether the disk being full is at the bottom of it."""
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None:
            return False
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
