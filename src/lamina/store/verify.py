"""Reading everything back: catalog and index against the packs, blobs as they leave, and every stored byte once.

    packcheck.py     what is wrong with one pack
    framecheck.py    chunks against their ids, where frames are decompressed for blobs
    storedcheck.py   only stored bytes against their checksums
    blobcheck.py     blobs side by side
    proofs.py        blobs that need no reading back: chunks that have their ids make the same blob as the last time
    catalogcheck.py  the catalog against heads, documents and journals
    indexcheck.py    index files against the packs
    verifylog.py     how far it has come, for `resume`

Memory: 64 MiB of frames, 18 MiB of buffers, beyond them at most three windows of large frames (20 MiB each), a byte a chunk of
the largest index file, two a record of the packs; and the rows of the catalog.
"""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from lamina.content.progress import Progress, Silent
from lamina.errors import LaminaError
from lamina.store import layout
from lamina.store.blobcheck import Blobs
from lamina.store.catalogcheck import check_catalog, missing
from lamina.store.framecheck import Looked
from lamina.store.indexcheck import check_index
from lamina.store.lacking import put_aside
from lamina.store.marks import chunk_rows
from lamina.store.packcheck import Damage, check_frame
from lamina.store.proofs import proof_of, read_proofs, write_proofs
from lamina.store.sample import choose
from lamina.store.schema import LIVE, BlobRow, PackRow
from lamina.store.touched import Failed, Problem, problems_of
from lamina.store.verifylog import Done, Scope, VerifyLog, last_ended, unfinished

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading

NOTED: Final = 3.0  # seconds after which is noted what was done
PACKS, BLOBS = "packs", "blobs"  # keys of progress


@dataclass(slots=True)
class Verified:
    """`bytes_read`: plain bytes of blobs that were read back or proved by their chunks, `blobs` of them whole.

    `stored`: bytes of the packs' records that were looked at; `seed`: of a sample; `notes`: what else there is to say.
    """

    bytes_read: int = 0
    blobs: int = 0
    stored: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed: int | None = None


def verify(store: BlobStore, digests: Iterable[str] | None, progress: Progress | None, scope: Scope | None = None,
           resume: bool = False) -> Verified:
    """Check all that the scope says (all there is), or only these blobs.  `resume`: go on with what was interrupted.

    `NotFound` if nothing was interrupted, `Conflict` if another one is running.
    """
    result = Verified()
    run = _Run(store, result, progress or Silent())
    if digests is not None:
        run.only(set(digests))
        return result
    log = _open_log(store, result, must=resume)
    try:
        if resume and log is not None:
            scope = log.resume()
        run.everything(scope or Scope(), log, resume)
    finally:
        if log is not None:
            log.close()
    return result


def scope_of(store: BlobStore, sample: float | None, seed: int | None, since: float | Literal["last"] | None,
             stored: bool = False, rehash: bool = False) -> Scope:
    """What is to be looked at.  `last`: from where the last run got that came to its end, or all if there was none."""
    if since == "last":
        since = last_ended(store.state_dir).caught_up or None
    return Scope(sample, since, random.SystemRandom().randrange(1 << 32) if seed is None else seed, stored, rehash)


def _open_log(store: BlobStore, result: Verified, must: bool) -> VerifyLog | None:
    try:
        return VerifyLog.open(store.state_dir)
    except LaminaError as error:
        if must:
            raise
        result.notes.append(f"{error.what}: if this run is interrupted, it cannot be resumed")
        return None


class _Run:
    """One verification."""

    def __init__(self, store: BlobStore, result: Verified, progress: Progress) -> None:
        self._store, self._result, self._progress = store, result, progress
        self._looked = Looked(store.fresh_packs(), progress, PACKS)
        self._log: VerifyLog | None = None
        self._new = Done()  # since it was noted
        self._outside: list[Damage] = []  # what is wrong with packs outside of their records; looked at in every run
        self._failed: list[Failed] = []
        self._due = time.monotonic() + NOTED
        self._proofs: set[bytes] = set()  # that are known
        self._used: set[bytes] = set()  # those of blobs that are there
        self._proved: list[BlobRow] = []  # the blobs that are whole if their chunks are

    # -- what there is to do

    def only(self, digests: set[str]) -> None:
        """Some blobs, and the frames that they lie in."""
        rows = [row for digest in sorted(digests) if (row := self._store.catalog.blob(digest)) is not None]
        for row in rows:
            with suppress(LaminaError):  # a manifest that cannot be read is named when it is read back
                data = self._store.document(row.digest) if row.kind == "document" else b""
                for child in missing(self._store.catalog, row, data) if data else ():
                    self._failed.append(Failed(child, "it is not in the catalog", str(self._store.path)))
        with self._store.reading() as reading:
            self._read_back(reading, {row.digest: row for row in rows}.values())
            self._result.problems += problems_of(reading, self._looked.packs, self._looked.damage, self._failed, [])
        self._looked.packs.close()

    def everything(self, scope: Scope, log: VerifyLog | None, resume: bool) -> None:
        """All that the scope says."""
        started, store, looked = time.time(), self._store, self._looked
        caught_up = min(started, self._oldest_unpublished())
        self._log = log
        if log is not None:
            if resume:
                started = log.started
                caught_up = min(caught_up, started)
                self._go_on(log.done)
            else:
                log.done = Done()
            log.begin(scope, started)
        if not scope.rehash:
            self._proofs = read_proofs(store.state_dir)
        self._result.seed = None if scope.sample is None else scope.seed
        index_problems, notes = check_index(store, looked.packs)
        self._result.problems += [Problem(*each) for each in index_problems]
        self._result.notes += notes
        with store.reading() as reading:
            lost = self._packs(scope)
            self._result.problems += check_catalog(store, looked.packs)
            self._result.problems += [Problem(*each) for each in put_aside(store)]
            try:
                self._look(reading, scope)
            except BaseException:
                self._note(now=True)
                raise
            self._result.problems += problems_of(reading, looked.packs, self._outside + looked.damage, self._failed, lost)
        looked.packs.close()
        spoiled = {digest for problem in self._result.problems for digest in problem.digests}
        whole = [row.size for row in self._proved if row.digest not in spoiled]
        self._result.blobs += len(whole)
        self._result.bytes_read += sum(whole)
        if log is not None:
            log.finish(caught_up)
            if scope.whole and not resume:  # of what there is no more
                self._proofs = self._used
            write_proofs(store.state_dir, self._proofs)

    def _go_on(self, done: Done) -> None:
        """What was found before, of what is still there."""
        live = {pack.name for pack in self._store.catalog.packs(LIVE)}
        done.damage = [each for each in done.damage if each.pack in live]
        done.failed = [each for each in done.failed if self._store.catalog.blob(each[0]) is not None]
        self._looked.damage += done.damage
        self._failed += [Failed(*each) for each in done.failed]
        self._result.bytes_read, self._result.blobs = done.bytes_read, len(done.blobs) - len(done.failed)

    def _look(self, reading: Reading, scope: Scope) -> None:
        """At blobs, and then at what none of them needed."""
        frames = self._looked.packs.frames
        frames.enter()  # the threads stay from one pack to the next
        try:
            self._read_back(reading, self._rows(scope))
            self._recipes(reading, scope)
            look = self._looked.look_stored if scope.stored else self._looked.look
            for number in list(self._looked.pending):
                look(number)
                self._note()
        finally:
            frames.leave()
        self._progress.done(PACKS, "verified")

    def _oldest_unpublished(self) -> float:
        """When the first file was written that the catalog does not know yet: a run may end before that is published."""
        known = {pack.name for pack in self._store.catalog.packs()}
        times = [time.time()]
        for name, _ in self._store.backend.list("packs/"):
            if name.rpartition("/")[2] not in known:
                with suppress(LaminaError), self._store.backend.open(name) as handle:
                    times.append(handle.modified)
        return min(times)

    def _packs(self, scope: Scope) -> list[PackRow]:
        """Look at what is in no record, and see which records are to be looked at; the packs that are lost."""
        looked, lost = self._looked, []
        chosen: dict[int, tuple[PackRow, layout.Footer]] = {}
        for pack in self._store.catalog.packs(LIVE):
            self._store.packs.forget(pack.number)  # what lies on disk now, not what was read before
            footer = check_frame(looked.packs, pack, self._outside)
            if footer is None:
                lost.append(pack)
            elif scope.since is None or looked.packs.handle(pack.number).modified >= scope.since:
                chosen[pack.number] = pack, footer
        sample = None if scope.sample is None else choose([footer for _, footer in chosen.values()], scope.sample, scope.seed)
        done = self._log.done.records if self._log is not None else {}
        total = 0
        for pack, footer in chosen.values():
            wanted = np.ones(len(footer.records), np.bool_) if sample is None else next(sample)
            wanted &= unfinished(done.get(pack.name), len(wanted))
            looked.want(pack, wanted)
            total += int(footer.records["stored"][wanted].sum(dtype=np.int64))
        self._progress.start(PACKS, PACKS, total)
        self._result.stored = total
        return lost

    def _rows(self, scope: Scope) -> list[BlobRow]:
        """The blobs to be read back: only documents if frames are not to be read for them, and of `since` younger packs'.

        Not those that are proved, if their chunks are looked at.
        """
        done = self._log.done.blobs if self._log is not None else set()
        return [row for row in self._store.catalog.blobs()
                if row.digest not in done and (row.kind == "document" or (scope.sample is None and not scope.stored))
                and (scope.since is None or row.pack in self._looked.pending)
                and not (scope.since is None and self._is_proved(row))]

    def _is_proved(self, row: BlobRow) -> bool:
        if row.kind == "document" or not self._proofs:
            return False
        with suppress(LaminaError):  # a head that cannot be read is named when its blob is read back
            proof = proof_of(row.digest, self._looked.packs.record(row.pack, row.record))
            if proof in self._proofs:
                self._used.add(proof)
                self._proved.append(row)
                return True
        return False

    # -- doing it

    def _read_back(self, reading: Reading, given: Iterable[BlobRow]) -> None:
        rows = list(given)
        self._progress.start(BLOBS, BLOBS, sum(row.size for row in rows))
        with Blobs(reading, self._looked.packs, rows, lambda count: self._progress.advance(BLOBS, count)) as blobs:
            while True:
                try:
                    outcome = blobs.ended.get(timeout=NOTED)
                except queue.Empty:
                    self._note()
                    continue
                if outcome is None:
                    break
                row, error, proof = outcome
                self._new.blobs.add(row.digest)
                if error is None and proof:
                    self._proofs.add(proof)
                    self._used.add(proof)
                if error is None:
                    self._result.blobs += 1
                    self._result.bytes_read += row.size
                    self._new.bytes_read += row.size
                elif self._store.catalog.blob(row.digest) is not None:  # else nothing led to it any more, and it was collected
                    self._failed.append(Failed(row.digest, error.what, str(error.where)))
                    self._new.failed.append((row.digest, error.what, str(error.where)))
                self._note()
        self._progress.done(BLOBS, "verified")

    def _recipes(self, reading: Reading, scope: Scope) -> None:
        """The recipes of blobs that are not read back (of a sample all), and that all of their chunks are there.

        Of those that are proved, as they were when this reading began: another run may move or cut them anew meanwhile.
        """
        partly = scope.sample is not None or scope.stored
        for row in self._store.catalog.blobs() if partly else self._proved:
            if row.kind == "document":
                continue
            try:
                for _ in chunk_rows(self._store, reading.index, row):
                    pass
            except LaminaError as error:
                if self._store.catalog.blob(row.digest) is not None:  # else it was collected, as in `_read_back`
                    self._failed.append(Failed(row.digest, error.what, str(error.where)))

    def _note(self, now: bool = False) -> None:
        """Note what was done, now and then."""
        if self._log is None or (time.monotonic() < self._due and not now):
            return
        looked, new = self._looked, self._new
        changed, looked.changed = looked.changed, set()
        known = {pack.number: pack.name for pack in self._store.catalog.packs()}
        new.records = {known[number]: looked.looked(number) for number in changed if number in known}
        seen = len(self._log.done.damage)
        new.damage = looked.damage[seen:]
        self._log.note(new)
        write_proofs(self._store.state_dir, self._proofs)
        self._new = Done()
        self._due = time.monotonic() + NOTED
