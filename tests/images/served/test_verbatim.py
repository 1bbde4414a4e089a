"""Blobs that lie in packs as they came: found right once, then given out from their places; never what is not known so."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from store.storekit import noise, tar_of, words

from lamina.content import FileRuns, Reader, Run
from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.images.served.contents import StoreContents
from lamina.images.served.verbatim import KEPT, TRUST, Proving, Verbatim
from lamina.oci import OCI_LAYER, Descriptor
from lamina.store import BlobStore
from lamina.store.asitis import AsItIs, Places, _Runs, cut
from lamina.store.assemble import Place

LAYER = gzip.compress(tar_of({f"{i}": noise(i, 90_000 + i) for i in range(40)}), 1, mtime=0)
PLAIN = tar_of({f"{i}": words(i, 50_000) for i in range(40)})


def rows_of(places: Sequence[Place]) -> Places:
    return np.array(places, np.int64).reshape(-1, 3)


def push(contents: StoreContents, data: bytes, repository: str = "one") -> Digest:
    upload_id = contents.begin_upload(repository)
    with contents.upload(repository, upload_id) as upload:
        upload.write(memoryview(data))
        return upload.finish(Digest.of(data)).digest


def get(contents: StoreContents, data: bytes, start: int = 0, stop: int | None = None) -> tuple[bytes, bool]:
    """These bytes, and whether they came from their places."""
    reader = contents.open_blob("one", Digest.of(data), start, len(data) if stop is None else stop)
    try:
        by_kernel = isinstance(reader, FileRuns)
        found = read_all(reader, len(data))
        if isinstance(reader, FileRuns):
            assert found == b"".join(os.pread(fd, length, offset) for fd, offset, length in reader.runs())
        return found, by_kernel
    finally:
        reader.close()


def test_the_second_time_it_comes_from_its_places(served: StoreContents) -> None:
    push(served, LAYER)
    assert get(served, LAYER, 5, 500_000) == (LAYER[5:500_000], False)
    assert get(served, LAYER, 5, 500_000) == (LAYER[5:500_000], False)  # a part proves nothing of the whole
    assert get(served, LAYER) == (LAYER, False)
    assert get(served, LAYER) == (LAYER, True)
    for start, stop in ((0, 1), (5, 1_500_001), (len(LAYER) - 1, len(LAYER))):
        assert get(served, LAYER, start, stop) == (LAYER[start:stop], True)


def test_what_is_compressed_is_always_made_anew(served: StoreContents) -> None:
    push(served, PLAIN)
    assert [get(served, PLAIN) for _ in range(3)] == [(PLAIN, False)] * 3


def test_it_is_read_whole_again_after_a_while(served: StoreContents, store: BlobStore) -> None:
    now = [100.0]
    served._verbatim = Verbatim(store, lambda: now[0])
    push(served, LAYER)
    assert [get(served, LAYER)[1], get(served, LAYER)[1]] == [False, True]
    now[0] += TRUST + 1
    assert [get(served, LAYER)[1], get(served, LAYER)[1]] == [False, True]


def test_what_is_damaged_is_never_trusted(served: StoreContents, store: BlobStore) -> None:
    push(served, LAYER)
    with store.reading() as reading:
        place = (reading.places(Digest.of(LAYER), 100) or [])[0]
    pack = store.path / "packs" / store.pack_names[place.number][:2] / store.pack_names[place.number]
    with pack.open("r+b") as file:
        file.seek(place.offset + place.length // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    for _ in range(2):
        with pytest.raises(LaminaError):
            get(served, LAYER)
    assert served._verbatim.get(Digest.of(LAYER)) is None


def test_a_collection_may_move_it(served: StoreContents, store: BlobStore) -> None:
    push(served, LAYER)
    assert [get(served, LAYER)[1], get(served, LAYER)[1]] == [False, True]
    known = served._verbatim.get(Digest.of(LAYER))
    assert known is not None
    number = max(pack.number for pack in store.catalog.packs()) + 1
    served._verbatim.proved(Digest.of(LAYER), [Place(number, *row[1:]) for row in known.tolist()])  # as if it had been there
    assert [get(served, LAYER)[1], get(served, LAYER)[1]] == [False, True]


def test_another_repository_gets_nothing(served: StoreContents) -> None:
    push(served, LAYER, "two")
    with pytest.raises(LaminaError):
        get(served, LAYER)


class Spoilt(BytesReader):
    """Right until the end."""

    def readinto(self, buffer: memoryview, /) -> int:
        count = super().readinto(buffer)
        if not count:
            raise ValueError("not its digest")
        return count


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_the_last_bytes_come_when_all_is_known_to_be_right(piece: int) -> None:
    told: list[int] = []

    def drain(reader: Reader) -> bytes:
        found, buffer = b"", memoryview(bytearray(piece))
        while len(found) < 20:
            found += buffer[: reader.readinto(buffer)]
        return found

    assert drain(Proving(BytesReader(b"x" * 20), 20, lambda: told.append(1))) == b"x" * 20 and told == [1]
    with pytest.raises(ValueError, match="not its digest"):
        drain(Proving(Spoilt(b"x" * 20), 20, lambda: told.append(2)))
    assert told == [1]


def test_memory_is_bounded(store: BlobStore) -> None:
    verbatim = Verbatim(store)
    for number in range(50):
        verbatim.proved(str(number), [Place(1, 0, 1)] * (KEPT // 32))
    assert [number for number in range(50) if verbatim.get(str(number)) is not None] == list(range(50 - 32, 50))


def test_cut() -> None:
    places = [Place(1, 100, 10), Place(2, 50, 1), Place(1, 7, 20)]
    rows = rows_of(places)

    def bytes_of(found: Places) -> list[tuple[int, int]]:
        return [(number, offset + i) for number, offset, length in found.tolist() for i in range(length)]

    whole = bytes_of(rows)
    for start in range(32):
        for stop in range(start, 32):
            found = cut(rows, start, stop)
            assert bytes_of(found) == whole[start:stop] and all(found[:, 2] > 0)
    assert cut(rows, 0, 31) is not rows and np.shares_memory(cut(rows, 0, 31), rows)
    assert rows.tolist() == [list(each) for each in places]  # they are others', too


def test_runs_are_a_sequence() -> None:
    rows = rows_of([Place(7, 10 * at, 10) for at in range(1000)])
    runs = _Runs(rows, {7: 3})
    whole = [Run(3, 10 * at, 10) for at in range(1000)]
    assert len(runs) == 1000 and list(runs) == whole and list(reversed(runs)) == whole[::-1]
    assert [runs[at] for at in (999, 0, -1, 256, 255, -1000)] == [whole[at] for at in (999, 0, -1, 256, 255, -1000)]
    assert list(runs[300:700]) == whole[300:700] and list(runs[:0]) == []
    with pytest.raises(IndexError):
        runs[1000]


@pytest.mark.parametrize("level", ["none", "zstd:1"])
def test_places_are_where_it_lies(tmp_path: Path, level: str) -> None:
    """Two layers that come at the same time lie in turns."""
    others = [noise(70 + i, 3_000_000) for i in range(2)]
    with BlobStore.open(tmp_path / "other") as store:
        with store.session(compression=level) as session:
            for data in (LAYER, PLAIN, *others):
                blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
                session.push(blob, BytesReader(data))
                session.root(blob)
            session.commit()
        with store.reading() as reading:
            for data in (LAYER, *others):
                places = reading.places(Digest.of(data), 100)
                assert places is not None and read_all(AsItIs(store.packs, rows_of(places)), len(data)) == data
                assert reading.places(Digest.of(data), len(places) - 1) is None
            assert (reading.places(Digest.of(PLAIN), 100) is None) == (level != "none")


def test_runs_are_good_until_it_is_closed(served: StoreContents, store: BlobStore) -> None:
    push(served, LAYER)
    get(served, LAYER)
    reader = served.open_blob("one", Digest.of(LAYER), 0, 10)
    assert isinstance(reader, FileRuns)
    store.packs.close()  # as the cache of open packs does
    (run,) = reader.runs()
    assert isinstance(run, Run) and os.pread(run.fd, 10, run.offset) == LAYER[:10]
    reader.close()
