"""The body of a request: taken in no faster than it is used, and not from clients that dawdle."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import ClientError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, RequestPayloadError

from lamina.registry.server.pace import Pace, TooSlowError
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.settings import Limits

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BROKEN = (ClientError, HttpProcessingError, RequestPayloadError, ConnectionError)

# A client that compresses sends 32 KiB every few milliseconds; to be woken for each took 40 % of an upload's processor time.
# So it is left alone for a moment, and then all is taken that has come.  The moment becomes longer while little comes and
# shorter while much does: a client that is fast is not to wait for us.
_LITTLE: Final = 64 << 10  # bytes at once
_MUCH: Final = 192 << 10
_LARGE: Final = 256 << 10  # bytes of a body before any of this: a small one is over when it has come
_LEAST, _MOST = 0.002, 0.032  # seconds


class GoneError(Exception):
    """The client went away in the middle of its body."""


class Body:
    """Bytes of a request's body, in order.  `length` is what the head announced, None where it comes in HTTP chunks."""

    def __init__(self, request: BaseRequest, limits: Limits) -> None:
        self._request, self._pace = request, Pace(limits)
        text = request.headers.get("Content-Length")
        chunked = "Transfer-Encoding" in request.headers
        self.length = None if chunked else int(text) if text is not None else 0
        self._asked = request.headers.get("Expect", "").lower() == "100-continue"
        self._left: memoryview | None = None
        self._moment = 0.0
        self.filled = 0  # of the buffer of the last `readinto`

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._pace.bytes

    async def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the body goes; less than its length only at the end.

        `GoneError`; a `Refusal` for a body that is too slow (408) or no HTTP (400).  What had come until then is in the
        buffer: `filled` says how much.
        """
        self.filled = 0
        while self.filled < len(buffer):
            data = self._left or memoryview(await self._some())
            if not data:
                break
            size = min(len(data), len(buffer) - self.filled)
            buffer[self.filled : self.filled + size] = data[:size]
            self.filled += size
            self._left = data[size:] or None
        return self.filled

    async def whole(self, limit: int) -> bytes:
        """All of it; `MANIFEST_INVALID` with 413 where it is more than `limit`."""
        found: list[bytes] = []
        while self.size <= limit and (data := await self._some()):
            found.append(data)
        if self.size > limit:
            raise Refusal("MANIFEST_INVALID", f"at most {limit} bytes are taken", status=413)
        return b"".join(found)

    async def _some(self) -> bytes:
        if self.length == 0:
            return b""
        if self._asked:
            self._asked = False
            await self._request.writer.write(_CONTINUE)
            self._request.writer.output_size = 0  # It is no part of the answer.
        try:
            # What has come already needs no clock.
            content = self._request.content
            data = content.read_nowait() or await self._pace.wait(content.readany())
            if self.size > _LARGE and not content.is_eof():
                await self._let_come(len(data))
        except TooSlowError:
            raise Refusal("UNSUPPORTED", "the body came too slowly", status=408) from None
        except _BROKEN:
            if self._request.transport is None:
                raise GoneError from None
            raise Refusal("SIZE_INVALID", "the body is malformed") from None
        self._pace.passed(len(data))
        return data

    async def _let_come(self, size: int) -> None:
        """After so many bytes: let more come, as far as the kernel has room for it."""
        if size < _LITTLE:
            self._moment = min(max(self._moment * 2, _LEAST), _MOST)
        elif size >= _MUCH:
            self._moment = self._moment / 4 if self._moment > 4 * _LEAST else 0.0
        if not self._moment:
            return
        protocol = self._request.protocol
        protocol.pause_reading()
        try:
            await asyncio.sleep(self._moment)
        finally:
            protocol.resume_reading()


def leaves_rest(request: BaseRequest, least: int = 256 << 10) -> bool:
    """Whether so much of the body was not read, or will never be sent, that the connection is better ended.

    Who was not told to continue may leave the body out, and its next request would be read as that body.
    """
    if request.content.is_eof():
        return False
    length = request.content_length
    return length is None or length > least or "Expect" in request.headers
