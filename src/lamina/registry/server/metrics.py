"""What a server counts, for Prometheus and for the page: over all of its processes (`counters.py`).

Labels have few values, all known before: no client can make the server keep more numbers.  There is no label for repositories.

    lamina_requests_total{method,route,status}      lamina_request_seconds{route}       a histogram
    lamina_received_bytes_total                     lamina_sent_bytes_total             of bodies
    lamina_upload_seconds, lamina_download_seconds  histograms, of whole transfers      lamina_uploads_in_progress
    lamina_errors_total{code}                       codes of the specification, and INTERNAL
    lamina_collections_total                        lamina_collected_bytes_total        lamina_collection_seconds_total
    lamina_store_bytes{what="disk|layers|chunks|pushed"}   lamina_store_free_bytes      lamina_repositories, _tags, _images
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Final

from lamina.registry.server.counters import Counters
from lamina.registry.server.page.library import Store, Traffic
from lamina.registry.server.refusal import CODES

OTHER: Final = "other"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
ROUTES: Final = ("base", "blob", "upload", "manifest", "tags", "catalog", "referrers", "token", "page", "metrics", "health",
                 OTHER)
STATUSES: Final = ("200", "201", "202", "204", "206", "301", "302", "304", "307", "400", "401", "403", "404", "405", "408",
                   "409", "411", "412", "413", "414", "416", "429", "431", "499", "500", "502", "503", "504", "507", OTHER)
ERRORS: Final = (*CODES, "INTERNAL")
BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
_PLAIN: Final = {
    "received_bytes": "Bytes of request bodies.", "sent_bytes": "Bytes of response bodies.",
    "collections": "Collections that came to their end.", "collected_bytes": "Bytes that collections have freed.",
    "collection_seconds": "Seconds that collections took."}
_TIMES: Final = {"upload_seconds": "Seconds of uploads, from the first byte to the answer.",
                 "download_seconds": "Seconds of downloads of blobs."}


def _slots() -> Iterator[Key]:
    for method, route, status in product(METHODS, ROUTES, STATUSES):
        yield "requests", (("method", method), ("route", route), ("status", status))
    yield from (("errors", (("code", code),)) for code in ERRORS)
    yield from ((name, ()) for name in (*_PLAIN, "uploads_in_progress"))
    for name, label in (*((one, ()) for one in _TIMES), *(("request_seconds", (("route", route),)) for route in ROUTES)):
        yield from ((name, (*label, ("le", _edge(edge)))) for edge in (*BUCKETS, float("inf")))
        yield f"{name}_sum", label


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else f"{edge:g}"


_SLOTS: Final = tuple(_slots())
_PLACE: Final = {key: place for place, key in enumerate(_SLOTS)}
_REQUESTS: Final = len(METHODS) * len(ROUTES) * len(STATUSES)  # slots, the first ones
_FIRST: Final = ("le", _edge(BUCKETS[0]))
_ROUTE_LABELS: Final[dict[str, Labels]] = {route: (("route", route),) for route in ROUTES}
_LIVE: Final = frozenset((_PLACE["uploads_in_progress", ()],))


class Metrics:
    """Of one process; to be made after the fork.  Usable from several threads."""

    def __init__(self, folder: Path) -> None:
        """`folder`: of this server alone, the same for all of its processes; see `counters.clear`.  OSError."""
        self._counters = Counters.begin(folder, len(_SLOTS), _LIVE)

    def close(self) -> None:
        """Count no more."""
        self._counters.close()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One that was answered; what is none of `METHODS`, `ROUTES`, `STATUSES` counts as other."""
        self._counters.add(_request_place(method, route, status), 1)
        self._time("request_seconds", seconds, _ROUTE_LABELS.get(route, _ROUTE_LABELS[OTHER]))

    def received(self, count: int) -> None:
        """Bytes of a request's body, as they come."""
        self._add("received_bytes", count)

    def sent(self, count: int) -> None:
        """Bytes of a response's body, as they go."""
        self._add("sent_bytes", count)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """While one goes on; its seconds count if it does not fail."""
        began = time.monotonic()
        self._add("uploads_in_progress", 1)
        try:
            yield
            self._time("upload_seconds", time.monotonic() - began)
        finally:
            self._add("uploads_in_progress", -1)

    def downloaded(self, seconds: float) -> None:
        """A blob, or a part of one, went out whole."""
        self._time("download_seconds", seconds)

    def error(self, code: str) -> None:
        """A code of the specification; all else is INTERNAL."""
        self._add("errors", 1, (("code", code if code in CODES else "INTERNAL"),))

    def collected(self, freed: int, seconds: float) -> None:
        """A collection came to its end."""
        self._add("collections", 1)
        self._add("collected_bytes", freed)
        self._add("collection_seconds", seconds)

    def traffic(self) -> Traffic:
        """For the page."""
        sums = self._counters.sums()
        requests = sum(sums[:_REQUESTS])
        names = "received_bytes", "sent_bytes", "uploads_in_progress"
        received, sent, uploads = (int(sums[_PLACE[name, ()]]) for name in names)
        return Traffic(received, sent, int(requests), max(uploads, 0))

    def text(self, store: Store | None = None) -> bytes:
        """All of it, in Prometheus's words; with the store's figures, if they are to be had."""
        lines = [*_told(self._counters.sums()), *(_of_store(store) if store else ())]
        return ("\n".join(lines) + "\n").encode()

    def _add(self, name: str, count: float, labels: Labels = ()) -> None:
        self._counters.add(_PLACE[name, labels], count)

    def _time(self, name: str, seconds: float, labels: Labels = ()) -> None:
        first = _PLACE[name, (*labels, _FIRST)]  # its buckets lie side by side, and their sum behind them
        self._counters.add(first + bisect_left(BUCKETS, seconds), 1)
        self._counters.add(first + len(BUCKETS) + 1, seconds)


@lru_cache(maxsize=4096)
def _request_place(method: str, route: str, status: int) -> int:
    known = _one_of(METHODS, method), _one_of(ROUTES, route), _one_of(STATUSES, str(status))
    return _PLACE["requests", tuple(zip(("method", "route", "status"), known, strict=True))]


def _one_of(known: Sequence[str], word: str) -> str:
    return word if word in known else OTHER


def _told(sums: Sequence[float]) -> Iterator[str]:
    counted = dict(zip(_SLOTS, sums, strict=True))
    for name, words in {"requests": "Requests that were answered.", "errors": "Errors that were answered.", **_PLAIN}.items():
        yield from _head(f"{name}_total", words, "counter")
        yield from (_sample(f"{name}_total", labels, count) for (own, labels), count in counted.items()
                    if own == name and (count or not labels))
    yield from _head("uploads_in_progress", "Uploads that go on now.", "gauge")
    yield _sample("uploads_in_progress", (), max(counted["uploads_in_progress", ()], 0))
    for name, words in {**_TIMES, "request_seconds": "Seconds of requests."}.items():
        yield from _head(name, words, "histogram")
        for labels in ((("route", route),) for route in ROUTES) if name == "request_seconds" else ((),):
            yield from _histogram(name, labels, counted)


def _histogram(name: str, labels: Labels, counted: dict[Key, float]) -> Iterator[str]:
    total = 0.0
    lines = []
    for edge in (*BUCKETS, float("inf")):
        mark = (*labels, ("le", _edge(edge)))
        total += counted[name, mark]
        lines.append(_sample(f"{name}_bucket", mark, total))
    if total or not labels:
        yield from lines
        yield _sample(f"{name}_sum", labels, counted[f"{name}_sum", labels])
        yield _sample(f"{name}_count", labels, total)


def _of_store(store: Store) -> Iterator[str]:
    yield from _head("store_bytes", "Bytes of packs on disk, of distinct layers and chunks, and of all tags.", "gauge")
    sizes: Iterable[tuple[str, int | None]] = (
        ("disk", store.stored), ("layers", store.layers), ("chunks", store.chunks), ("pushed", store.pushed))
    yield from (_sample("store_bytes", (("what", what),), count) for what, count in sizes if count is not None)
    for name, words, count in (("store_free_bytes", "Bytes that can still be written.", store.free),
                               ("repositories", "Repositories.", store.repositories), ("tags", "Tags.", store.tags),
                               ("images", "Images, for one platform each.", store.images)):
        yield from _head(name, words, "gauge")
        yield _sample(name, (), count)


def _head(name: str, words: str, kind: str) -> Iterator[str]:
    yield f"# HELP lamina_{name} {words}"
    yield f"# TYPE lamina_{name} {kind}"


def _sample(name: str, labels: Labels, value: float) -> str:
    told = ",".join(f'{label}="{word}"' for label, word in labels)
    number = str(int(value)) if value == int(value) else repr(float(value))
    return f"lamina_{name}{{{told}}} {number}" if told else f"lamina_{name} {number}"
