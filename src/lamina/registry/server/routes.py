"""What a request asks for: its path and query, taken apart and checked (distribution specification, "Endpoints")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from lamina.registry.server import names
from lamina.registry.server.refusal import Refusal

BASE, CATALOG, TAGS, MANIFEST, BLOB, UPLOADS, UPLOAD, REFERRERS = (
    "base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers")

# HEAD goes wherever GET does.
METHODS: Final[dict[str, tuple[str, ...]]] = {
    BASE: ("GET",),
    CATALOG: ("GET",),
    TAGS: ("GET",),
    REFERRERS: ("GET",),
    MANIFEST: ("GET", "PUT", "DELETE"),
    BLOB: ("GET", "DELETE"),
    UPLOADS: ("POST",),
    UPLOAD: ("GET", "PATCH", "PUT", "DELETE"),
}
_BY_NAME: Final = {"manifests": MANIFEST, "blobs": BLOB, "referrers": REFERRERS}
MAX_PARAMETERS = 128

Query = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what it wants (`kind`), of which repository, and `reference`, the last part of the path as it came."""

    method: str
    kind: str
    repository: str = ""
    reference: str = ""
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """A parameter that may be given once; `UNSUPPORTED` (400) for twice, which two readers would read in two ways."""
        values = self.query.get(name, [])
        if len(values) > 1:
            raise Refusal("UNSUPPORTED", f"parameter {name} is given {len(values)} times", status=400)
        return values[0] if values else None

    def path(self, *parts: str) -> str:
        """A path of the same repository: of Location and Link, which name no host."""
        return "/".join(("/v2", self.repository, *parts))


def call(method: str, target: str, headers: Mapping[str, str]) -> Call:
    """The request to `target`, the path and query of the request line below /v2.

    `NAME_INVALID`; `UNSUPPORTED` with 404 for a path that leads nowhere, with 405 for what cannot be done to it.
    """
    path, _, query = target.partition("?")
    kind, repository, reference = _route(path)
    allowed = METHODS[kind]
    if ("GET" if method == "HEAD" else method) not in allowed:
        shown = ", ".join(("GET, HEAD" if one == "GET" else one) for one in allowed)
        raise Refusal("UNSUPPORTED", f"method {names.shown(method)}", status=405, headers={"Allow": shown})
    if kind not in (BASE, CATALOG):
        names.repository(repository)
    return Call(method, kind, repository, reference.replace("%3A", ":").replace("%3a", ":"), _query(query), headers)


def is_ours(path: str) -> bool:
    """Whether the path is of the API."""
    return path == "/v2" or path.startswith(("/v2/", "/v2?"))


def _route(path: str) -> tuple[str, str, str]:
    """Kind, repository, reference; by the last parts, as a repository may be called `a/blobs`."""
    parts = path.removeprefix("/v2").removeprefix("/").split("/")
    if parts in ([""], ["_catalog"]):
        return (CATALOG if parts[0] else BASE), "", ""
    name, last = "/".join(parts[:-2]), parts[-1]
    if name and (parts[-2] in _BY_NAME or parts[-2:] == ["tags", "list"]):
        return ((UPLOADS, name, "") if parts[-2:] == ["blobs", "uploads"] else (_BY_NAME.get(parts[-2], TAGS), name, last))
    if len(parts) > 3 and parts[-3:-1] == ["blobs", "uploads"]:
        return UPLOAD if last else UPLOADS, "/".join(parts[:-3]), last
    raise Refusal("UNSUPPORTED", "no such endpoint", status=404)


def _query(text: str) -> Query:
    """The parameters; `UNSUPPORTED` (400 or 414) for what is no UTF-8, has control characters, or is too many."""
    found: dict[str, list[str]] = {}
    pairs = text.split("&") if text else []
    if len(pairs) > MAX_PARAMETERS:
        raise Refusal("UNSUPPORTED", f"more than {MAX_PARAMETERS} parameters", status=414)
    for pair in pairs:
        name, _, value = pair.partition("=")
        found.setdefault(_decoded(name), []).append(_decoded(value))
    return found


def _decoded(text: str) -> str:
    try:
        value = unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError:
        raise Refusal("UNSUPPORTED", "a parameter is not UTF-8", status=400) from None
    if not value.isprintable() and value:
        raise Refusal("UNSUPPORTED", "a parameter has control characters", status=400)
    return value
