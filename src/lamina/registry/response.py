"""An answer and its body while it arrives: bytes as on the wire, an end that is one, and limits."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping

import urllib3

from lamina.errors import LaminaError, LimitExceeded, RegistryError
from lamina.registry.origins import shown
from lamina.registry.problems import broken_off
from lamina.registry.timings import Timings
from lamina.registry.wire import WireResponse

# Read at a time: a slow body shows its progress, and a fast one costs few calls.
_SLICE = 128 << 10
# When to give the caller what there is, though there is room for more; seconds.
_SOON = 0.1
# Between the bytes of a chunked body may stand 5 bytes for each (a chunk of one), and extensions and a trailer.
_FRAMING = 8
_TRAILER = 256 << 10
# A body that is cheaper to read than a new connection to make.
_SMALL = 16 << 10


class Response:
    """An answer: its head, and its body while it arrives.  A context manager; not thread-safe.

    `headers`: a mapping whatever the case.  `url`: where it came from, query and all (not to be shown).  `size`: the bytes
    that the body has by its head, None where only its end will tell.
    """

    def __init__(self, raw: urllib3.BaseHTTPResponse, wire: WireResponse, url: str, host: str, timings: Timings) -> None:
        self._raw, self._wire, self._timings = raw, wire, timings
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url, self.host = url, host
        self.size: int | None = wire.length
        self._pending: RegistryError | None = None
        self._ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Bytes of the body, straight into the buffer; 0 only at its end.  `RegistryUnavailable` when it is cut off."""
        if self._pending is not None:
            raise self._pending
        total, began = 0, self._timings.clock()
        while total < len(buffer) and not self._ended:
            try:
                count = self._some(buffer[total:total + _SLICE])
            except RegistryError as error:
                self.close()
                if not total:
                    raise
                self._pending = error  # What came before it counts.
                break
            if not count:
                break
            total += count
            if self._timings.clock() - began > _SOON:
                break
        return total

    def body(self, limit: int) -> bytes:
        """What is left of the body, and no more than `limit` bytes: `LimitExceeded`."""
        if self.size is not None and self.size > limit:
            self.close()
            raise LimitExceeded(f"an answer of {self.size} bytes is too large", shown(self.url), f"at most {limit} are read")
        parts, total, piece = [], 0, memoryview(bytearray(min(limit + 1, _SLICE)))
        while count := self.readinto(piece):
            total += count
            if total > limit:
                self.close()
                raise LimitExceeded("an answer is too large", shown(self.url), f"at most {limit} bytes are read")
            parts.append(bytes(piece[:count]))
        return b"".join(parts)

    def discard(self) -> None:
        """Let go, after a look at a body that is small, so that the connection can be used again."""
        if self.size is not None and self.size <= _SMALL:
            with contextlib.suppress(LaminaError):
                self.body(_SMALL)
        self.close()

    def close(self) -> None:
        """Let go; what was not read is not waited for, the connection ends with it.  Again is harmless."""
        if not self._ended:
            self._ended = True
            if self._wire.length == 0:  # Nothing is to come: the answer to a HEAD, say.
                self._wire.close()
            if not self._wire.isclosed():
                self._raw.close()
            self._raw.release_conn()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _some(self, view: memoryview) -> int:
        """One read; at the end the connection goes back to the pool."""
        try:
            self._wire.paced.body(_FRAMING * len(view) + _TRAILER)
            count = self._wire.readinto(view)
            left = self._wire.length
        except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: a chunk's size that is no number.
            raise broken_off(self.host, error) from error
        if not count and view and left:
            raise broken_off(self.host, None)
        if self._wire.isclosed():
            self.close()
        return count
