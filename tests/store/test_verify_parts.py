"""A part of a store: what an interrupted run has left, a sample, what is younger than a moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storekit import flip, layer, load, noise, push, tar_of

from lamina.digest import Digest
from lamina.errors import Conflict, NotFound
from lamina.store import BlobStore, layout, storedcheck, verify
from lamina.store.packs import Packs, pack_path
from lamina.store.schema import LIVE
from lamina.store.verifylog import NAME, Scope, VerifyLog, last_ended, read_lines

LAYERS = [tar_of({f"noise{number}": noise(number, 1_500_000 + 1000 * number)}) for number in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        for number, data in enumerate(LAYERS):
            load(store, f"image{number}", data)
        yield store


@pytest.fixture
def reads(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> list[Packs]:
    """The packs that each run reads by, and how many bytes of them."""
    made: list[Packs] = []
    real = store.fresh_packs
    monkeypatch.setattr(store, "fresh_packs", lambda: made.append(real()) or made[-1])
    return made


def file_of(store: BlobStore, data: bytes) -> Path:
    """The pack of a layer."""
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    pack = store.catalog.pack(row.pack)
    assert pack is not None
    return store.path / pack_path(pack.name)


def spoil(store: BlobStore, data: bytes) -> None:
    """Flip a bit of a layer's contents."""
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    record = next(each for each in store.packs.footer(row.pack).records if each["type"] == layout.CONTENT)
    flip(file_of(store, data), int(record["offset"]) + 5)


def interrupt(store: BlobStore, monkeypatch: pytest.MonkeyPatch, after: int, *, noted: bool = True) -> None:
    """A run that is ended by an interrupt when so many blobs have ended; what it had not noted is lost unless `noted`."""
    real = verify._Run._note
    calls = 0

    def note(run: verify._Run, now: bool = False) -> None:
        nonlocal calls
        if len(run._new.blobs) + calls >= after and not now:
            raise KeyboardInterrupt
        if noted or not now:
            real(run, now)

    with monkeypatch.context() as patch:
        patch.setattr(verify._Run, "_note", note)
        with pytest.raises(KeyboardInterrupt):
            store.verify()


def test_what_is_left_of_an_interrupted_run(store: BlobStore, reads: list[Packs], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(store, monkeypatch, after=3)
    done = VerifyLog(store.state_dir)
    assert len(done.done.blobs) == 3 and done.scope is not None
    done.close()
    result = store.verify(resume=True)
    assert result.problems == [] and result.blobs == 18
    assert result.bytes_read == sum(row.size for row in store.catalog.blobs())
    whole = sum(pack.bytes for pack in store.catalog.packs())
    assert reads[1].bytes_read < whole - 2 * len(LAYERS[0])  # the others are not read again
    assert list(read_lines(store.state_dir / NAME)) == [
        {"version": 1, "complete": last_ended(store.state_dir).complete, "caught_up": last_ended(store.state_dir).caught_up}]


def test_damage_that_was_found_before_the_interrupt(
        store: BlobStore, reads: list[Packs], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported again, though its bytes are not read again."""
    largest = LAYERS[-1]  # the first to be read
    spoil(store, largest)
    with monkeypatch.context() as patch:
        looked = []
        real = verify.Looked.look

        def look(self: verify.Looked, number: int) -> None:
            real(self, number)
            looked.append(number)
            if len(looked) == 6:
                raise KeyboardInterrupt

        patch.setattr(verify.Looked, "look", look)
        with pytest.raises(KeyboardInterrupt):
            store.verify()
    lines = list(read_lines(store.state_dir / NAME))
    assert [each["what"] for line in lines[1:] for each in line["damage"]]
    (problem,) = store.verify(resume=True).problems
    assert problem.digests == (Digest.of(largest),) and file_of(store, largest).name in problem.where
    assert problem.what.startswith("record ")
    assert reads[1].bytes_read < len(largest) // 2
    assert len(store.verify().problems) == 1  # a run from the beginning finds it by itself


def test_a_killed_run_is_gone_on_with(store: BlobStore) -> None:
    """By SIGKILL, at a moment when something is noted; and what is torn at the end of the file does not count."""
    program = ("import os, signal, sys\nfrom pathlib import Path\nfrom lamina.store import BlobStore, verify, verifylog\n"
               "each = verify._Run._note\nverify._Run._note = lambda self, now=False: each(self, True)\n"
               "real = verifylog.VerifyLog.note\n"
               "def note(self, done):\n    real(self, done)\n"
               "    if len(self.done.blobs) > 4: os.kill(os.getpid(), signal.SIGKILL)\n"
               "verifylog.VerifyLog.note = note\nBlobStore.open(Path(sys.argv[1])).verify()\n")
    ended = subprocess.run([sys.executable, "-c", program, str(store.path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    before = sum(len(line.get("blobs", ())) for line in read_lines(store.state_dir / NAME))
    assert before > 4
    with (store.state_dir / NAME).open("ab") as file:
        file.write(b'0123456789abcdef {"blobs": ["sha256:')
    log = VerifyLog(store.state_dir)
    assert len(log.done.blobs) == before
    log.close()
    assert store.verify(resume=True).problems == []


def test_a_line_that_was_altered_does_not_count(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(store, monkeypatch, after=3)
    path = store.state_dir / NAME
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"blobs":["', b'"blobs":["x', 2))
    log = VerifyLog(store.state_dir)
    assert (log.done.blobs, log.scope) == (set(), Scope(seed=log.scope.seed if log.scope else 0))
    log.close()
    assert store.verify(resume=True).problems == []


def test_there_is_nothing_to_go_on_with(store: BlobStore) -> None:
    with pytest.raises(NotFound, match="no verification was interrupted"):
        store.verify(resume=True)
    store.verify()
    with pytest.raises(NotFound):
        store.verify(resume=True)


def test_two_at_once(store: BlobStore) -> None:
    """The second cannot be resumed, and does not disturb the first."""
    first = VerifyLog(store.state_dir)
    first.begin(Scope(), 5.0)
    result = store.verify()
    assert result.problems == [] and "cannot be resumed" in result.notes[0]
    with pytest.raises(Conflict):
        store.verify(resume=True)
    first.close()
    assert VerifyLog(store.state_dir).started == 5.0


def test_packs_that_have_come_meanwhile_are_looked_at(
        store: BlobStore, reads: list[Packs], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(store, monkeypatch, after=3)
    load(store, "new", layer(9))
    spoil(store, layer(9))
    (problem,) = store.verify(resume=True).problems
    assert problem.digests == (Digest.of(layer(9)),)


def test_the_file_is_written_anew_when_it_is_long(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.store.verifylog.LONGEST", 200)
    interrupt(store, monkeypatch, after=12)
    assert len(list(read_lines(store.state_dir / NAME))) == 2
    assert store.verify(resume=True).problems == []


def test_a_sample(store: BlobStore, reads: list[Packs]) -> None:
    """The same seed reads the same; all heads, recipes and names are looked at; contents in proportion."""
    chosen = []
    for seed in (1, 1, 2):
        wanted = {}
        real = verify.Looked.want

        def want(self: verify.Looked, pack: object, records: np.ndarray) -> None:
            wanted[pack.number] = records.copy()  # type: ignore[attr-defined]  # noqa: B023
            real(self, pack, records)  # type: ignore[arg-type]  # noqa: B023

        verify.Looked.want, before = want, verify.Looked.want  # type: ignore[method-assign]
        try:
            result = store.verify(scope=Scope(0.2, None, seed))
        finally:
            verify.Looked.want = before  # type: ignore[method-assign]
        assert (result.problems, result.seed) == ([], seed)
        chosen.append({number: bits.tolist() for number, bits in wanted.items()})
    assert chosen[0] == chosen[1] != chosen[2]
    stored = picked = 0
    for number, bits in chosen[0].items():
        records = store.packs.footer(number).records
        frames = np.isin(records["type"], (layout.CONTENT, layout.SEGMENT))
        assert np.array(bits)[~frames].all()
        stored += int(records["stored"][frames].sum())
        picked += int(records["stored"][frames & np.array(bits)].sum())
    assert 0.2 * stored <= picked <= 0.2 * stored + (1 << 20)
    assert reads[0].bytes_read < 0.5 * stored


def test_a_sample_looks_at_heads_and_recipes(store: BlobStore) -> None:
    for data, kind in ((LAYERS[0], layout.HEAD), (LAYERS[1], layout.META)):
        row = store.catalog.blob(Digest.of(data))
        assert row is not None
        block = store.head_of_row(row).recipe[0][0]
        footer = store.packs.footer(row.pack)
        at = next(i for i, chunk_id in enumerate(footer.ids) if bytes(chunk_id) == block)
        number = row.record if kind == layout.HEAD else int(footer.places["record"][at])
        flip(file_of(store, data), int(footer.records["offset"][number]) + 2)
    problems = store.verify(scope=Scope(1e-9, None, 1)).problems
    assert {digest for problem in problems for digest in problem.digests} == {Digest.of(data) for data in LAYERS[:2]}


def test_a_sample_misses_chunks(store: BlobStore) -> None:
    """Those of a layer that lie in a pack which is gone, without reading any."""
    with store.session() as session:
        push(session, "more", tar_of({"noise0": noise(0, 1_500_000), "more": noise(50, 10_000)}))
        session.commit()
    more = next(row for row in store.catalog.blobs("layer") if row.pack == max(pack.number for pack in store.catalog.packs()))
    file_of(store, LAYERS[0]).unlink()
    problems = store.verify(scope=Scope(1e-9, None, 1)).problems
    assert {Digest.of(LAYERS[0]), more.digest} <= {digest for problem in problems for digest in problem.digests}


def test_a_sample_of_all_finds_what_all_finds(store: BlobStore) -> None:
    spoil(store, LAYERS[2])
    (problem,) = store.verify(scope=Scope(1.0, None, 3)).problems
    assert problem.digests == (Digest.of(LAYERS[2]),)


def test_stored_bytes(store: BlobStore, reads: list[Packs], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte of the packs' records once, flips in all kinds of them, and no frame is decompressed."""
    size = sum(int(store.packs.footer(pack.number).records["stored"].sum()) for pack in store.catalog.packs(LIVE))
    assert store.verify(scope=Scope(stored=True)).stored == size <= reads[0].bytes_read < size + (1 << 18)
    monkeypatch.setattr(storedcheck, "SLICE", 1 << 12)  # each frame is larger
    assert store.verify(scope=Scope(stored=True)).problems == []
    flipped = set()
    for data, kind in zip(LAYERS, (layout.CONTENT, layout.SEGMENT, layout.META, layout.HEAD, layout.CONTENT), strict=False):
        row = store.catalog.blob(Digest.of(data))
        assert row is not None
        record = [each for each in store.packs.footer(row.pack).records if each["type"] == kind][-1]
        flip(file_of(store, data), int(record["offset"]) + int(record["stored"]) - 1)
        flipped.add(Digest.of(data))
    problems = store.verify(scope=Scope(stored=True)).problems
    assert flipped <= {digest for problem in problems for digest in problem.digests}
    assert Digest.of(LAYERS[5]) not in {digest for problem in problems for digest in problem.digests}
    assert last_ended(store.state_dir).complete == 0.0  # it is no whole run


def test_stored_bytes_of_a_pack_that_ends_early(store: BlobStore) -> None:
    """A record beyond the end of its file, under a footer that is good."""
    row = store.catalog.blob(Digest.of(LAYERS[1]))
    assert row is not None
    packs = store.fresh_packs()
    records = packs.footer(row.pack).records.copy()
    records["offset"][0] = file_of(store, LAYERS[1]).stat().st_size - 1
    object.__setattr__(packs.footer(row.pack), "records", records)
    wrong = dict(storedcheck.mismatched(packs, row.pack, np.ones(len(records), np.bool_)))
    assert wrong == {0: True} | dict.fromkeys(range(1, len(records)), False)
    packs.close()


def test_since(store: BlobStore, reads: list[Packs]) -> None:
    """Packs by their files' time, and the blobs that lie in them."""
    files = [file_of(store, data) for data in LAYERS]
    for at, file in enumerate(files):
        os.utime(file, (1000 + at, 1000 + at))
    spoil(store, LAYERS[1])
    spoil(store, LAYERS[4])
    for at in (1, 4):
        os.utime(files[at], (1000 + at, 1000 + at))
    (problem,) = store.verify(scope=Scope(None, 1002.0)).problems
    assert problem.digests == (Digest.of(LAYERS[4]),)
    assert reads[0].bytes_read < 5 * len(LAYERS[0])


def test_since_the_last_run(store: BlobStore, reads: list[Packs]) -> None:
    assert verify.scope_of(store, None, None, "last").whole  # there was none
    store.verify()
    ended = last_ended(store.state_dir)
    assert ended.complete == ended.caught_up > 0
    for pack in store.catalog.packs(LIVE):
        os.utime(store.path / pack_path(pack.name), (ended.caught_up - 9, ended.caught_up - 9))
    load(store, "new", layer(8))
    scope = verify.scope_of(store, None, None, "last")
    assert scope.since == ended.caught_up
    result = store.verify(scope=scope)
    assert result.blobs == 3 and reads[1].bytes_read < len(LAYERS[0]) // 2
    later = last_ended(store.state_dir)
    assert later.complete == ended.complete and later.caught_up > ended.caught_up
    store.verify(scope=Scope(None, later.caught_up + 100))  # leaves a gap
    store.verify(scope=Scope(0.5, None, 1))
    assert last_ended(store.state_dir) == later


def test_what_is_published_later_is_not_passed_over(store: BlobStore) -> None:
    """A pack that was sealed before a run began, and published behind it, is younger than that run for the next one."""
    sealed = store.path / pack_path("ab" * 16)
    sealed.parent.mkdir(exist_ok=True)
    sealed.write_bytes(b"sealed")
    os.utime(sealed, (5000, 5000))
    store.verify()
    assert last_ended(store.state_dir).caught_up == 5000 < last_ended(store.state_dir).complete


def test_the_time_of_the_last_run_is_told(store: BlobStore) -> None:
    assert "last_verified" not in store.info()
    store.verify(scope=Scope(0.5, None, 1))
    assert "last_verified" not in store.info()
    store.verify()
    assert store.info()["last_verified"].endswith("Z")
    json.dumps(store.info())
