"""What a server does beside requests: let go of leases and uploads, note what was pulled, collect."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.serving import Say
    from lamina.registry.server.access.live import Live
    from lamina.registry.server.metrics import Metrics

TENDING: Final = 5.0  # seconds between two looks


class Upkeep:
    """Of one process; only the keeper collects.  `changed` is called in the loop when the configuration has."""

    def __init__(self, contents: StoreContents, live: Live, metrics: Metrics, say: Say, changed: Callable[[], None], *,
                 keeper: bool) -> None:
        self._contents, self._live, self._metrics, self._say, self._keeper = contents, live, metrics, say, keeper
        self._changed = changed
        self._settings = live.settings
        self._collected = time.monotonic()
        self._collecting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            await self._run()
        finally:
            if self._collecting is not None:
                self._collecting.cancel()
                with suppress(asyncio.CancelledError):
                    await self._collecting

    async def _run(self) -> None:
        while True:
            settings = self._live.settings
            if settings is not self._settings:
                self._settings = settings
                self._changed()
            try:
                await asyncio.to_thread(self._live.refresh)
                await asyncio.to_thread(self._contents.tend, settings.upload_expiry)
            except (LaminaError, OSError) as error:
                self._say(str(error))
            if self._keeper and settings.gc_every and time.monotonic() - self._collected > settings.gc_every:
                self._begin_collecting(settings.max_size)
            await asyncio.sleep(TENDING)

    def _begin_collecting(self, budget: int) -> None:
        """Beside the looks, which go on: a collection waits for leases that they end."""
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._collect(budget))

    async def _collect(self, budget: int) -> None:
        """In a process of its own: it is Python for some seconds, and what it needs of memory goes with it."""
        words = ["gc", "--format", "json", *(["--max-size", str(budget)] if budget else [])]
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lamina", "--store", os.fspath(self._contents.store.path), *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()  # it leaves nothing but what the next one frees
            await process.wait()
            raise
        self._collected = time.monotonic()
        if process.returncode:
            self._say(f"the collection failed: {err.decode(errors='replace').strip()[-500:]}")
            return
        freed = _freed(out)
        self._metrics.collected(freed, time.monotonic() - began)


def _freed(out: bytes) -> int:
    try:
        return int(json.loads(out.splitlines()[-1]).get("BytesFreed", 0))
    except (ValueError, IndexError, AttributeError, TypeError):
        return 0
