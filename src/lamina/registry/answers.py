"""What a registry says when it does not do what was asked, as an error (distribution-spec, "Error Codes").

Its words are shown, and they are a stranger's: little is read of them, and shown printable and short.
"""

from __future__ import annotations

import re
from typing import Any

from lamina.errors import InvalidContent, LimitExceeded, NotFound, RegistryError, RegistryUnavailable, Unauthorized
from lamina.jsonlimits import loads
from lamina.registry.backoff import passes
from lamina.registry.http import Response
from lamina.registry.origins import shown

_MAX_READ = 64 << 10
_MAX_SHOWN = 200
_SPACE = re.compile(r"\s+")


def problem(response: Response, method: str, *, login: str = "", secret: str = "") -> RegistryError | NotFound:
    """The error for an answer that was not asked for; closes it.

    404 is `NotFound`, 401 and 403 are `Unauthorized`, what may pass is `RegistryUnavailable`.  `login`: the registry's name
    for the hint.  `secret`: what was sent as Authorization; a registry that repeats it is not quoted on that.
    """
    with response:
        said, page = _words(response, secret)
    where = f"{method} {shown(response.url)}"
    status = response.status
    if page:
        kind = RegistryUnavailable if passes(status) else RegistryError
        return kind(f"not a registry: {response.host} answers {status} with a web page", where,
                    "is the name right, or a proxy in between?")
    if status == 404:
        return NotFound(f"{response.host} does not have it{said}", where)
    if status in {401, 403}:
        what = "does not know us" if status == 401 else "does not allow it"
        return Unauthorized(f"{response.host} {what}{said}", where, f"try: lamina login {login}" if login else "")
    if status == 429:
        return RegistryUnavailable(f"{response.host} has had too many requests{said}", where)
    if passes(status):
        return RegistryUnavailable(f"{response.host} answers {status}{said}", where)
    return RegistryError(f"{response.host} answers {status}{said}", where)


def is_page(response: Response) -> bool:
    """Whether the answer is a web page and not a registry's (which says so in one header or another)."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in {"text/html", "application/xhtml+xml"} and not any(
        name.lower().startswith("docker-") for name in response.headers
    )


def printable(text: str) -> str:
    """A stranger's text on one line, without what moves a terminal's cursor, cut to a length that can be read."""
    text = "".join(character if character.isprintable() else " " for character in text[: 8 * _MAX_SHOWN])
    text = _SPACE.sub(" ", text).strip()
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _words(response: Response, secret: str) -> tuple[str, bool]:
    """`: CODE: message` or '', and whether the body is a web page."""
    try:
        body = _start(response)
    except RegistryError:
        return "", is_page(response)
    head = body[:256].lstrip().lower()
    if is_page(response) or head.startswith((b"<!doctype html", b"<html")):
        return "", True
    try:
        said = _first_error(loads(body, "an error", _MAX_READ))
    except (InvalidContent, LimitExceeded):
        return "", False
    token = secret.partition(" ")[2]
    for hidden in filter(None, (secret, token)):
        said = said.replace(hidden, "***")
    said = printable(said)
    return (f": {said}" if said else ""), False


def _start(response: Response) -> bytes:
    """The first 64 KiB of a body of any length."""
    parts, left = [], _MAX_READ
    piece = memoryview(bytearray(_MAX_READ))
    while left and (count := response.readinto(piece[:left])):
        parts.append(bytes(piece[:count]))
        left -= count
    return b"".join(parts)


def _first_error(document: dict[str, Any]) -> str:
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else document
    if not isinstance(first, dict):
        return ""
    texts = [first.get("code"), first.get("message") or first.get("details")]
    return ": ".join(text for text in texts if isinstance(text, str) and text)
