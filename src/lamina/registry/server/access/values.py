"""Values as operators write them: sizes, times, addresses.  Each function gives None for a text that is no such value."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lamina.registry.hosts import split_port
from lamina.registry.server.configured import Listen

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?(?:([kmgtp])(i?)b?|b)?", re.ASCII | re.IGNORECASE)
_POWERS = "kmgtp"
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+|", re.ASCII)
_REGISTRY = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*", re.ASCII)
# What may stand between the quotes of a header field, and of a URL, without being escaped.
_PLAIN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e](?:[\x20\x21\x23-\x5b\x5d-\x7e]{0,1022}[\x21\x23-\x5b\x5d-\x7e])?", re.ASCII)


def size(text: str) -> int | None:
    """Bytes: `200GB`, `1.5 g` in powers of 1000, `512MiB` of 1024, or a mere number."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    unit = (1024 if match[3] else 1000) ** (_POWERS.index(match[2].lower()) + 1) if match[2] else 1
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def seconds(text: str) -> float | None:
    """`90s`, `15m`, `6h`, `7d`."""
    match = _TIME.fullmatch(text.strip())
    return float(match[1]) * _SECONDS[match[2]] if match else None


def listen(text: str) -> Listen | None:
    """`HOST:PORT`, `[::1]:5000`, `:5000`; port 0 is one that is free."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        return None
    if not _HOST.fullmatch(host) or (":" in host and not host.startswith("[")):
        return None
    return Listen(host.strip("[]"), int(port))


def plain(text: str) -> str | None:
    """A text that can be quoted in a header field as it is."""
    return text if _PLAIN.fullmatch(text) else None


def url(text: str) -> str | None:
    """An address by http or https, without a password, query or fragment."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    wrong = (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc
             or port == 0 or " " in text or plain(text) is None)
    return None if wrong else text


def proxy(name: str, target: str) -> tuple[str, str] | None:
    """One registry that is passed through: the name that its repositories begin with, and its origin (no slash at the end).

    An empty name: repositories without a domain.
    """
    target = target.rstrip("/")
    if (name and not _REGISTRY.fullmatch(name)) or len(name) > 200 or url(target) is None or urlsplit(target).path:
        return None
    return (name, target) if split_port(urlsplit(target).netloc)[0] else None
