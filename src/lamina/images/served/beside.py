"""What a server answers beside the registry's own paths: the page, metrics, health."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from aiohttp.web import Response, StreamResponse

from lamina.errors import LaminaError
from lamina.registry.server.access.basic import user_of
from lamina.registry.server.accesslog import AccessLog, Request
from lamina.registry.server.admission import CATALOG, PULL, Access
from lamina.registry.server.answers import refusal
from lamina.registry.server.metrics import CONTENT_TYPE, Metrics
from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.health import alive, ready
from lamina.registry.server.page.respond import respond
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import BLOB, UPLOAD, UPLOADS

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from lamina.images.showcase.showcase import Showcase
    from lamina.registry.server.app import Seen
    from lamina.registry.server.page.library import Store
    from lamina.registry.server.threads import Threads

_QUERY: Final = 16  # parameters
_ROUTES: Final = {UPLOADS: UPLOAD}


class Beside:
    """Of one process.  `shown`: whether there is a page now."""

    def __init__(self, showcase: Showcase, metrics: Metrics, access: Access, log: AccessLog | None,
                 shown: Callable[[], bool]) -> None:
        self._showcase, self._metrics, self._access, self._log, self._shown = showcase, metrics, access, log, shown
        self.threads: Threads | None = None  # the service's, which is made of this

    async def answer(self, request: BaseRequest) -> StreamResponse | None:
        """None for a path that nothing here knows."""
        if request.method not in ("GET", "HEAD") or self.threads is None:
            return None
        path, _, query = request.raw_path.partition("?")
        page = await self.threads.quick(self._page, path, query, request.headers)
        return None if page is None else Response(status=page.status, body=page.body, headers=page.headers)

    def _page(self, path: str, query: str, headers: Mapping[str, str]) -> Page | None:
        if path == "/healthz":
            return alive()
        if path == "/readyz":
            return ready(self._showcase)
        try:
            if path == "/metrics":
                self._access.admit(headers, None, CATALOG)
                return Page(200, {"Content-Type": CONTENT_TYPE}, self._metrics.text(self._store()))
            if not self._shown():
                return None
            grant = self._access.admit(headers, None, PULL)
        except Refusal as error:
            told = refusal(error)
            return Page(told.status, dict(told.headers), told.body)
        words = dict(parse_qsl(query, max_num_fields=_QUERY, errors="surrogateescape")) if query.count("&") < _QUERY else {}
        return respond(self._showcase, unquote(path, errors="surrogateescape"), words, lambda name: grant.may(name, PULL))

    def _store(self) -> Store | None:
        """None while the catalog is read for the first time, or cannot be: what was counted is told all the same."""
        with suppress(LaminaError):
            return self._showcase.store()
        return None

    @contextmanager
    def uploading(self, request: BaseRequest) -> Iterator[None]:
        """While a body comes in: count it if it is a blob's."""
        with self._metrics.upload() if "/blobs/uploads/" in request.path else nullcontext():
            yield

    def observe(self, seen: Seen) -> None:
        """Count it, and write it down."""
        request, metrics = seen.request, self._metrics
        route = _ROUTES.get(seen.kind, seen.kind) or _beside(request.path)
        metrics.request(request.method, route, seen.status, seen.seconds)
        metrics.received(seen.received)
        metrics.sent(seen.sent)
        if seen.code:
            metrics.error(seen.code)
        if seen.kind == BLOB and request.method == "GET" and seen.whole and seen.status in (200, 206):
            metrics.downloaded(seen.seconds)
        if self._log is not None:
            user = user_of(request.headers) if seen.status != 401 and seen.kind else ""
            self._log.write(Request(time.time() - seen.seconds, request.remote or "", user, request.method,
                                    request.raw_path.partition("?")[0], seen.status, seen.received, seen.sent, seen.seconds,
                                    request.headers.get("User-Agent", "")))


def _beside(path: str) -> str:
    return {"/metrics": "metrics", "/healthz": "health", "/readyz": "health"}.get(path, "page")
