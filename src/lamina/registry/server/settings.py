"""How much a client may ask for, how long it may take, and what the server does at all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, seconds and counts; the defaults suit one worker process of a public server."""

    line: int = 16 << 10  # of the request line
    field: int = 32 << 10  # of one header: tokens can be long
    headers: int = 100
    heads: int = 64 << 10  # of all headers of a request together, and of requests that come before their turn
    manifest: int = 4 << 20
    blob: int = 1 << 40
    manifests: int = 64 << 20  # bytes of manifests that are arriving at once
    page: int = 10_000  # entries of a list, whatever `n` asks for
    referrers: int = 4 << 20  # bytes of one index of referrers
    tags: int = 64  # `?tag=` of one push
    connections: int = 512
    head: float = 60.0  # to send a request's head, and to stay idle between requests
    patience: float = 30.0  # of waiting for a body, or for a client to take one, beyond what the rate allows
    rate: int = 1024  # bytes/s below which a body eats up that patience
    linger: float = 5.0  # to read what a refused request still sends
    # Memory of bodies on their way in and out; shared out evenly, a buffer never less than `least` nor more than `piece`.
    buffers: int = 32 << 20
    least: int = 64 << 10
    piece: int = 1 << 20
    read_ahead: int = 128 << 10  # bytes of a body that are taken in before reading pauses
    quick: int = 8  # threads for requests without a stream
    bulk: int = 24  # threads for those with one


@dataclass(frozen=True, slots=True)
class Settings:
    """What is switched on."""

    limits: Limits = Limits()
    writes: bool = True  # pushes; without them 405
    deletes: frozenset[str] = frozenset(("blob", "manifest", "tag"))  # what may be deleted at all; else 405
