"""What a handler answers, and the headers that all answers have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_STATIC: Final = Path(__file__).with_name("static")
_TYPES: Final = {
    "style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
# Nothing from elsewhere, nothing inline, no frames, forms to this server alone.
POLICY: Final = ("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
                 "form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
_COMMON: Final = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY"}


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer; `headers` have Content-Type, but not Content-Length."""

    status: int
    headers: dict[str, str]
    body: bytes


def html_page(text: str, status: int = 200, **headers: str) -> Page:
    """Never kept by a cache: what one may see depends on who asks."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return _page(text.encode("utf-8", "replace"), "text/html; charset=utf-8", "private, no-store", status, more)


def json_page(value: object) -> Page:
    """Figures for the page's script."""
    return _page(json.dumps(value).encode(), "application/json", "no-store")


def text_page(text: str, status: int = 200) -> Page:
    """A few words for a machine."""
    return _page(text.encode(), "text/plain; charset=utf-8", "no-store", status)


def moved(place: str) -> Page:
    """To another path of this server."""
    return _page(b"", "text/plain; charset=utf-8", "no-store", 302, {"Location": place})


def asset(name: str) -> Page | None:
    """A file that belongs to the page; its address changes with its bytes, so it may be kept for long."""
    if name not in _TYPES:
        return None
    return _page(_bytes(name), _TYPES[name], "public, max-age=31536000, immutable", 200, {"ETag": f'"{_mark(name)}"'})


def asset_url(name: str) -> str:
    """Its address."""
    return f"/-/{name}?v={_mark(name)}"


def _page(body: bytes, kind: str, kept: str, status: int = 200, more: dict[str, str] | None = None) -> Page:
    return Page(status, {"Content-Type": kind, "Cache-Control": kept, **_COMMON, **(more or {})}, body)


@cache
def _bytes(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


@cache
def _mark(name: str) -> str:
    return hashlib.sha256(_bytes(name)).hexdigest()[:12]
