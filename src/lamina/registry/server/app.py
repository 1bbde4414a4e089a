"""The application: from a request to its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from aiohttp import HttpVersion10
from aiohttp.web import BaseRequest, Response, StreamResponse
from multidict import CIMultiDict

from lamina.errors import LaminaError
from lamina.registry.server import blobs, listing, manifests, routes
from lamina.registry.server.admission import PULL, Access, AllowAll
from lamina.registry.server.answers import COMMON, Answer, document, refusal, warning_lines
from lamina.registry.server.bodies import Body, GoneError, leaves_rest
from lamina.registry.server.buffers import Allowance, Buffers
from lamina.registry.server.contents import Contents
from lamina.registry.server.downloads import Download
from lamina.registry.server.filedownloads import FileDownload, by_kernel
from lamina.registry.server.pace import TooSlowError
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import BASE, BLOB, CATALOG, MANIFEST, REFERRERS, TAGS, UPLOAD, UPLOADS, Call
from lamina.registry.server.settings import Settings
from lamina.registry.server.threads import Threads
from lamina.registry.server.uploads import Uploads

log = logging.getLogger(__name__)

# A manifest of 4 MiB can be 50 MB of objects while it is looked at.
_SMALL, _LARGE, _LARGE_AT_ONCE = 64 << 10, 256 << 10, 2


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that is over: for logs and counters.  `kind` is that of `routes`, or '' for a path that is none of the API's.

    `sent` counts the body's bytes; `whole` is False where the connection was cut in the middle; `code`: of the error that was
    answered, one of the specification's or INTERNAL, '' for none.
    """

    request: BaseRequest
    kind: str
    repository: str
    status: int
    received: int
    sent: int
    seconds: float
    whole: bool
    code: str = ""


# What answers beside the API (a page, health, metrics); None where it does not know the path either.
Beside = Callable[[BaseRequest], Awaitable[StreamResponse | None]]
Quick = Callable[[Call], Answer | blobs.Stream]
Slow = Callable[[Call, Body], Awaitable[Answer]]


class _Exchange:
    """What becomes of one request."""

    def __init__(self, request: BaseRequest) -> None:
        self.request, self.start = request, time.perf_counter()
        self.call: Call | None = None
        self.body: Body | None = None
        self.sent, self.whole, self.code = 0, True, ""


class Service:
    """Answers the requests of one event loop, in which it is made.  `close` when no more come.

    `before` sees every request first and may raise a `Refusal`; what `holding` gives is held while a body comes in; `beside`
    answers other paths; `observe` hears of what is over.  All but `beside` are called in the loop, and must be quick.
    """

    def __init__(
        self,
        contents: Contents,
        access: Access | None = None,
        settings: Settings | None = None,
        *,
        beside: Beside | None = None,
        before: Callable[[BaseRequest], None] | None = None,
        holding: Callable[[BaseRequest], AbstractContextManager[None]] | None = None,
        observe: Callable[[Seen], None] | None = None,
        warnings: Callable[[Call], Sequence[str]] | None = None,
    ) -> None:
        self.contents, self.access, self.settings = contents, access or AllowAll(), settings or Settings()
        self.limits = self.settings.limits
        self.threads, self.buffers = Threads(self.limits), Buffers(self.limits)
        self._arriving, self._large = Allowance(self.limits.manifests), asyncio.Semaphore(_LARGE_AT_ONCE)
        self.active: set[asyncio.Task[object]] = set()
        self.stopping = False  # connections end with the request that they are at
        self._uploads = Uploads(contents, self.access, self.threads, self.buffers, self.limits)
        self._before, self._holding = before, holding
        self._beside, self._observe, self._warnings = beside, observe, warnings
        self._quick, self._slow = self._table()

    def change(self, settings: Settings) -> None:
        """Other settings for the requests to come; of limits those on sizes count, and the rest stays as it was."""
        self.settings = settings
        self.limits = replace(self.limits, manifest=settings.limits.manifest, blob=settings.limits.blob)
        self._uploads = Uploads(self.contents, self.access, self.threads, self.buffers, self.limits)
        self._quick, self._slow = self._table()

    def close(self) -> None:
        """End the threads, when their work is done."""
        self.threads.close()

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """The answer, sent already if it is a stream."""
        exchange = _Exchange(request)
        task = asyncio.current_task()
        assert task is not None
        self.active.add(task)
        try:
            response = await self._respond(exchange)
        except GoneError:
            exchange.whole = False
            response = Response(status=499)
            _cut(request)
        finally:
            self.active.discard(task)
        if self._observe is not None:
            call, body = exchange.call, exchange.body
            self._observe(Seen(request, call.kind if call else "", call.repository if call else "", response.status,
                               body.size if body else 0, exchange.sent, time.perf_counter() - exchange.start, exchange.whole,
                               exchange.code))
        return response

    async def _respond(self, exchange: _Exchange) -> StreamResponse:
        request = exchange.request
        try:
            if request.version < HttpVersion10:
                raise Refusal("UNSUPPORTED", "HTTP/1.1 is spoken here", status=505, headers={"Connection": "close"})
            if self._before is not None:
                self._before(request)
            target = request.raw_path if request.raw_path.startswith("/") else str(request.rel_url)
            if not routes.is_ours(target.partition("?")[0]):
                if self._beside is not None and (response := await self._beside(request)) is not None:
                    return response
                raise Refusal("UNSUPPORTED", "no such path", status=404)
            if request.headers.get("Expect", "100-continue").lower() != "100-continue":
                raise Refusal("UNSUPPORTED", "unknown expectation", status=417)
            exchange.call = call = routes.call(request.method, target, request.headers)
            self._check_allowed(call)
            answer = await self._answer(call, exchange)
            if isinstance(answer, blobs.Stream):
                return await self._stream(exchange, answer)
        except (LaminaError, OSError, MemoryError) as error:
            exchange.code = error.code if isinstance(error, Refusal) else "INTERNAL"
            answer = refusal(error)
        exchange.sent = len(answer.body)
        return self._response(exchange, answer)

    def _check_allowed(self, call: Call) -> None:
        if call.method in ("POST", "PUT", "PATCH") and not self.settings.writes:
            raise Refusal("UNSUPPORTED", "the registry is read-only", headers={"Allow": "GET, HEAD"})
        if call.method == "DELETE" and call.kind != UPLOAD:
            what = "tag" if call.kind == MANIFEST and ":" not in call.reference else call.kind
            if what not in self.settings.deletes or not self.settings.writes:
                raise Refusal("UNSUPPORTED", f"deletion of {what}s is switched off", headers={"Allow": "GET, HEAD"})

    def _table(self) -> tuple[dict[tuple[str, str], Quick], dict[tuple[str, str], Slow]]:
        """What answers by kind and method: one call in a thread, or, where there is a body, a coroutine."""
        contents, access, limits, uploads = self.contents, self.access, self.limits, self._uploads

        def base(call: Call) -> Answer:
            access.admit(call.headers, None, PULL)
            return document({})

        return {
            (BASE, "GET"): base,
            (CATALOG, "GET"): lambda call: listing.catalog(contents, access, call, limits),
            (TAGS, "GET"): lambda call: listing.tags(contents, access, call, limits),
            (REFERRERS, "GET"): lambda call: listing.referrers(contents, access, call, limits),
            (MANIFEST, "GET"): lambda call: manifests.get(contents, access, call),
            (MANIFEST, "DELETE"): lambda call: manifests.delete(contents, access, call),
            (BLOB, "GET"): lambda call: blobs.get(contents, access, call),
            (BLOB, "HEAD"): lambda call: blobs.head(contents, access, call),
            (BLOB, "DELETE"): lambda call: blobs.delete(contents, access, call),
            (UPLOAD, "GET"): uploads.status,
            (UPLOAD, "DELETE"): uploads.cancel,
        }, {
            (MANIFEST, "PUT"): self._put_manifest,
            (UPLOADS, "POST"): uploads.post,
            (UPLOAD, "PATCH"): uploads.patch,
            (UPLOAD, "PUT"): uploads.put,
        }

    async def _answer(self, call: Call, exchange: _Exchange) -> Answer | blobs.Stream:
        exchange.body = body = Body(exchange.request, self.limits)
        slow = self._slow.get((call.kind, call.method))
        if slow is not None:
            with self._holding(exchange.request) if self._holding is not None else nullcontext():
                return await slow(call, body)
        quick = self._quick.get((call.kind, call.method)) or self._quick[call.kind, "GET"]  # HEAD as GET
        return await self.threads.quick(quick, call)

    async def _put_manifest(self, call: Call, body: Body) -> Answer:
        await self.threads.quick(manifests.admit_put, self.access, call, self.limits, body.length)
        size = self.limits.manifest if body.length is None else body.length
        if size <= _SMALL:
            size = 0  # So that large ones which dawdle keep out none of the usual ones.
        if not self._arriving.take(size):
            raise Refusal("TOOMANYREQUESTS", "too many manifests at once")
        try:
            data = await body.whole(self.limits.manifest)
            async with self._large if len(data) > _LARGE else nullcontext():
                return await self.threads.quick(manifests.put, self.contents, call, self.limits, data)
        finally:
            self._arriving.give(size)

    async def _stream(self, exchange: _Exchange, stream: blobs.Stream) -> StreamResponse:
        """Send a blob; an error in its middle cuts the connection, so that nobody takes what came for the whole."""
        request = exchange.request
        by = by_kernel(stream.reader, request)
        download = (FileDownload(self.threads, self.limits, *by) if by is not None else
                    Download(self.threads, self.buffers, self.limits, stream.reader, stream.size))
        try:
            await download.first()
            response = StreamResponse(status=stream.answer.status, headers=self._headers(exchange, stream.answer))
            response.content_length = stream.size
            await response.prepare(request)
            try:
                await download.send(request, response)
            except (LaminaError, TooSlowError, OSError) as error:
                exchange.whole = False
                if not isinstance(error, ConnectionError | TooSlowError):
                    log.error("a blob was cut off in the middle: %s", error, exc_info=error)
                _cut(request)
            return response
        finally:
            exchange.sent = download.bytes
            await download.close()

    def _headers(self, exchange: _Exchange, answer: Answer) -> CIMultiDict[str]:
        headers = CIMultiDict(COMMON)
        headers.update(answer.headers)
        lines = answer.lines
        if self._warnings is not None and exchange.call is not None:
            lines = lines + warning_lines(self._warnings(exchange.call))
        for name, value in lines:
            headers.add(name, value)
        return headers

    def _response(self, exchange: _Exchange, answer: Answer) -> StreamResponse:
        request = exchange.request
        headers = self._headers(exchange, answer)
        if answer.length is not None:
            headers["Content-Length"] = str(answer.length)
        response = Response(status=answer.status, body=answer.body or None, headers=headers)
        if answer.status == 408 or leaves_rest(request) or self.stopping:
            response.force_close()
        return response


def _cut(request: BaseRequest) -> None:
    """End the connection without a proper end."""
    if request.transport is not None:
        request.transport.abort()
