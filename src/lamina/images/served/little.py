"""Little blobs (configs, attestations, charts): those that come at the same time are brought in by one session.

A session and its commit take 13 ms of CPU time and five syncs, however little there is.  While one is at it, others gather, and
the first of them is the next to see to all; one that comes alone waits for nobody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.store import BlobStore

LITTLE: Final = 64 << 10  # bytes of a blob: one chunk or two, which nothing else has
TOGETHER: Final = 64  # blobs of one session: 4 MiB
KEPT: Final = 4 << 20  # bytes of configs that a manifest is going to ask for


class _Item:
    """A blob that waits.  `turn` is set when it is done, or `leads`: then its thread sees to all that wait."""

    def __init__(self, repository: str, digest: Digest, data: bytes) -> None:
        self.repository, self.digest, self.data = repository, digest, data
        self.turn = threading.Event()
        self.leads = False
        self.error: BaseException | None = None


class Little:
    """Of one open store.  Usable from several threads."""

    def __init__(self, store: BlobStore, compression: str) -> None:
        self._store, self._compression = store, compression
        self._lock = threading.Lock()
        self._waiting: list[_Item] = []
        self._busy = False
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0

    def put(self, repository: str, digest: Digest, data: bytes) -> None:
        """The repository (a full name) has it, durably; `DIGEST_INVALID`."""
        if (found := Digest.of(data, digest.algorithm)) != digest:
            raise Refusal("DIGEST_INVALID", f"the content has the digest {found}")
        if not self._store.link(repository, digest):
            self._bring(_Item(repository, digest, data))
        self._remember(digest, data)

    def recent(self, digest: str) -> bytes | None:
        """A blob that came in of late, if it may be a config."""
        with self._lock:
            return self._recent.get(digest)

    def _bring(self, item: _Item) -> None:
        with self._lock:
            self._waiting.append(item)
            item.leads, self._busy = not self._busy, True
        if not item.leads:
            item.turn.wait()
        if item.leads:
            self._lead()
        if item.error is not None:
            raise item.error

    def _lead(self) -> None:
        """See to all that wait, and hand on to the first of those that have come meanwhile."""
        with self._lock:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        try:
            self._together(batch)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            for each in batch:
                each.turn.set()
            if following is not None:
                following.leads = True
                following.turn.set()

    def _together(self, batch: list[_Item]) -> None:
        try:
            self._commit(batch)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for each in batch:  # what one of them met with is not the others' fault
                self._together([each])

    def _commit(self, batch: list[_Item]) -> None:
        with self._store.session(compression=self._compression, apart=True) as session:
            for each in batch:
                taken = session.intake(BytesReader(each.data), plain=False, expect=each.digest)
                session.link(each.repository, taken.digest)
            session.commit()

    def _remember(self, digest: Digest, data: bytes) -> None:
        """Its manifest comes next, mostly: to read it back took longer than to look at it."""
        if not data.lstrip().startswith(b"{"):
            return
        with self._lock:
            self._held += len(data) - len(self._recent.pop(digest, b""))
            self._recent[digest] = data
            while self._held > KEPT:
                self._held -= len(self._recent.popitem(last=False)[1])
