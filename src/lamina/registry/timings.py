"""How long the client waits for what; seconds.  The clock and the sleep are given, so that tests wait for nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Patience with a registry.

    `connect`: until a connection, and TLS on it, stands.  `read`: without a byte, and for a whole answer's head.
    `commit`: the same for the answer to what writes; a registry may copy a layer of gigabytes before it says 201.
    `slow_bytes` in `slow_seconds`: a body slower than that, either way, is cut.
    `backoff`, doubled with each try up to `backoff_cap`: the wait between tries; `attempts`: how many tries in all.
    `retry_after_cap`: what a registry's Retry-After counts for at most.
    `clock` is monotonic, `now` the time of day (Unix, for dates), `jitter` gives 0 up to 1.
    """

    connect: float = 15.0
    read: float = 30.0
    commit: float = 300.0
    slow_bytes: int = 1024
    slow_seconds: float = 60.0
    backoff: float = 0.5
    backoff_cap: float = 20.0
    attempts: int = 5
    retry_after_cap: float = 60.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
