from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from storekit import noise, words

from lamina._native.blake3many import hash_many
from lamina.errors import StorageError
from lamina.storage.local import LocalBackend
from lamina.store import layout, sink
from lamina.store.codec import Compression
from lamina.store.packs import Packs, pack_path
from lamina.store.sink import PackSink, SealedPack


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Bench:
    """A sink over a directory, and what it said."""

    def __init__(self, path: Path, level: int = 1) -> None:
        self.backend = LocalBackend(path)
        self.backend.initialise()
        self.names: dict[int, str] = {}
        self.placed: dict[bytes, tuple[int, int]] = {}
        self.sealed: list[SealedPack] = []
        self.sink = PackSink(self.backend, "a" * 32, Compression(level), self._number, self._placed, self.sealed.append)
        self.packs = Packs(self.backend, self.names.__getitem__)

    def _number(self, name: bytes) -> int:
        self.names[len(self.names) + 1] = name.hex()
        return len(self.names)

    def _placed(self, pack: int, ids: np.ndarray, first: int) -> None:
        for row, chunk_id in enumerate(ids):
            self.placed[bytes(chunk_id)] = (pack, first + row)

    def place(self, kind: int, data: bytes, lengths: list[int]) -> list[bytes]:
        """Put chunks of these lengths of `data`; their ids."""
        source = np.frombuffer(data, np.uint8)
        sizes = np.array(lengths, np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        ids = hash_many(source, offsets, sizes)
        self.sink.place(kind, source, offsets, sizes, np.arange(len(sizes), dtype=np.int64), ids)
        return [bytes(each) for each in ids]

    def chunk(self, chunk_id: bytes) -> bytes:
        number, ordinal = self.placed[chunk_id]
        place = self.packs.footer(number).places[ordinal]
        return bytes(self.packs.record(number, int(place["record"]))[place["offset"] : place["offset"] + place["length"]])

    @property
    def files(self) -> list[str]:
        return [name for name, _ in self.backend.list("packs/")] + [each.name for each in self.backend.temporaries()]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(level: int = 1) -> Bench:
        benches.append(Bench(tmp_path / f"store{len(benches)}", level))
        return benches[-1]

    yield make
    for bench in benches:
        bench.sink.close()
        bench.packs.close()


def test_chunks_lie_where_it_said(make: Callable[..., Bench]) -> None:
    bench = make()
    wanted: dict[bytes, bytes] = {}
    for turn in range(6):
        for kind in (layout.CONTENT, layout.SEGMENT):
            seed = 10 * turn + kind
            data = noise(seed, 400_000) if turn % 2 else words(seed, 400_000)
            lengths = [1000, 100_000, 262_144, 36_856]
            for chunk_id, start, size in zip(bench.place(kind, data, lengths), np.cumsum([0, *lengths]), lengths, strict=False):
                wanted[chunk_id] = data[start : start + size]
    bench.sink.meta(b"a meta chunk", np.frombuffer(blake3(b"a meta chunk").digest(), np.uint8))
    wanted[blake3(b"a meta chunk").digest()] = b"a meta chunk"
    head = bench.sink.record(layout.HEAD, b'{"head":1}', {"digest": "x"})
    bench.sink.seal()
    assert {chunk_id: bench.chunk(chunk_id) for chunk_id in wanted} == wanted
    assert bench.packs.record(*head) == b'{"head":1}'
    (sealed,) = bench.sealed
    footer = bench.packs.footer(sealed.number)
    assert footer.key_rows() == [(head[1], {"digest": "x"})]
    assert sealed.chunks == len(wanted)
    assert sealed.bytes == bench.sink.stored == dict(bench.backend.list("packs/"))[bench.files[0]]
    assert max(footer.records["plain"]) <= layout.FRAME_BYTES
    # Frames of one kind hold no chunks of another.
    kinds = footer.records["type"][footer.places["record"]]
    for chunk_id, data in wanted.items():
        kind = layout.META if data == b"a meta chunk" else kinds[bench.placed[chunk_id][1]]
        assert kinds[bench.placed[chunk_id][1]] == kind


def test_the_same_input_gives_the_same_records(make: Callable[..., Bench]) -> None:
    """Workers finish in any order; records are written in theirs."""
    columns = []
    for _ in range(2):
        bench = make()
        for seed in range(8):
            bench.place(layout.CONTENT, words(seed, 300_000), [100_000] * 3)
        bench.sink.seal()
        columns.append(bench.packs.footer(1).records.tolist())
    assert columns[0] == columns[1]


def test_packs_end_at_their_size(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PACK_BYTES", 500_000)
    bench = make(0)
    for seed in range(12):
        bench.place(layout.CONTENT, noise(seed, 262_144), [262_144])
        bench.sink.seal() if seed == 6 else None
    bench.sink.seal()
    assert len(bench.sealed) > 2
    assert [pack.number for pack in bench.sealed] == sorted(bench.names)
    for seed in range(12):
        data = noise(seed, 262_144)
        assert bench.chunk(blake3(data).digest()) == data


def test_packs_end_at_their_number_of_chunks(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PACK_CHUNKS", 100)
    bench = make()
    for seed in range(10):
        bench.place(layout.CONTENT, noise(seed, 250_000), [5000] * 50)
    bench.sink.seal()
    assert max(pack.chunks for pack in bench.sealed) <= 100 + layout.FRAME_BYTES // 5000  # looked at when a frame begins
    assert sum(pack.chunks for pack in bench.sealed) == 500


def test_verbatim_is_the_same_bytes(make: Callable[..., Bench]) -> None:
    one, two = make(), make()
    ids = one.place(layout.CONTENT, words(1, 200_000), [100_000] * 2)
    one.sink.record(layout.DOCUMENT, b"{}", {"digest": "d"})
    one.sink.seal()
    footer = one.packs.footer(1)
    for record in range(2):
        row, stored = one.packs.stored(1, record)
        encoded = (int(row["codec"]), stored)
        if record == 0:
            two.sink.verbatim(layout.CONTENT, encoded, int(row["plain"]), footer.ids, footer.places)
        else:
            assert two.sink.verbatim_record(layout.DOCUMENT, encoded, int(row["plain"]), {"digest": "d"}) == (1, 1)
    two.sink.seal()
    assert [one.packs.stored(1, record)[1] for record in range(2)] == [two.packs.stored(1, record)[1] for record in range(2)]
    assert [two.chunk(chunk_id) for chunk_id in ids] == [one.chunk(chunk_id) for chunk_id in ids]


def test_a_chunk_that_is_not_compressed_is_a_frame_of_its_own(make: Callable[..., Bench]) -> None:
    bench = make(0)
    lengths = [1000, sink.ALONE, 100_000, sink.ALONE - 1, 262_144, 5, 262_144, 262_144, 262_144]
    wanted: dict[bytes, bytes] = {}
    for turn, kind in enumerate((layout.CONTENT, layout.SEGMENT, layout.CONTENT)):
        data = noise(turn, sum(lengths))
        ids = bench.place(kind, data, lengths)
        for chunk_id, end, size in zip(ids, np.cumsum(lengths).tolist(), lengths, strict=True):
            wanted[chunk_id] = data[end - size : end]
    bench.sink.seal()
    assert {chunk_id: bench.chunk(chunk_id) for chunk_id in wanted} == wanted
    footer = bench.packs.footer(1)
    rows = footer.records[footer.places["record"]]
    for chunk_id, row in zip(footer.ids, rows, strict=True):
        size = len(wanted[bytes(chunk_id)])
        assert (row["rows"] == 1 and row["plain"] == size) == (size >= sink.ALONE)
    # A pack that has lost its footer is read from the front: each record has its header.
    with bench.backend.open(pack_path(bench.names[1])) as handle:
        data = bytearray(handle.size)
        handle.pread_into(memoryview(data), 0)
    for row in footer.records:
        at = int(row["offset"])
        header = layout.record_header(*(int(row[name]) for name in ("type", "codec", "stored", "plain", "rows", "checksum")))
        assert data[at - len(header) : at] == header
        assert layout.checksum(data[at : at + int(row["stored"])]) == int(row["checksum"])


@pytest.mark.parametrize("level", [0, 1])
def test_lanes_have_frames_of_their_own(make: Callable[..., Bench], level: int) -> None:
    """Neighbours in a stream stay neighbours, however many streams come at once."""
    bench = make(level)
    lanes: dict[bytes, int] = {}
    for turn in range(12):
        data = np.frombuffer(noise(turn, 9000), np.uint8)
        offsets, lengths = np.array([0, 4000], np.int64), np.array([4000, 5000], np.int64)
        ids = hash_many(data, offsets, lengths)
        bench.sink.place(layout.CONTENT, data, offsets, lengths, np.arange(2, dtype=np.int64), ids, lane=turn % 3)
        lanes.update((bytes(each), turn % 3) for each in ids)
    bench.sink.seal()
    footer = bench.packs.footer(1)
    of_record: dict[int, set[int]] = {}
    for chunk_id, place in zip(footer.ids, footer.places, strict=True):
        of_record.setdefault(int(place["record"]), set()).add(lanes[bytes(chunk_id)])
    assert sorted(map(sorted, of_record.values())) == [[0], [1], [2]]


def test_nothing_written_nothing_there(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.sink.seal()
    bench.sink.close()
    assert bench.files == bench.sealed == []


def test_closed_without_a_seal(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.place(layout.CONTENT, noise(1, 300_000), [100_000] * 3)
    assert bench.files != []
    bench.sink.close()
    bench.sink.close()
    assert bench.files == bench.sealed == []


@pytest.mark.parametrize("where", ["encode", "write", "seal"])
def test_a_failure_comes_out_and_leaves_nothing(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    bench = make()

    def fail(*_: object) -> None:
        raise StorageError("no space left", "here")

    if where == "encode":
        monkeypatch.setattr(Compression, "encode", fail)
    else:
        monkeypatch.setattr(f"lamina.storage.local.LocalWriter.{where}", fail)
    with pytest.raises(StorageError, match="no space left"):
        for seed in range(100):  # far more than there are frame buffers: nobody may wait for one for ever
            bench.place(layout.CONTENT, noise(seed, 262_144), [262_144])
        bench.sink.seal()
    with pytest.raises(StorageError, match="no space left"):
        bench.sink.record(layout.HEAD, b"{}", {})
    bench.sink.close()
    assert bench.files == bench.sealed == []


def test_what_waits_to_be_written_is_bounded(make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk holds up the caller, whichever way records come."""
    bench = make()
    go = threading.Event()
    monkeypatch.setattr("lamina.storage.local.LocalWriter.write", lambda *_: go.wait())
    done = 0

    def feed() -> None:
        nonlocal done
        ids = np.zeros((1, 32), np.uint8)
        for number in range(sink.FRAMES_IN_FLIGHT + 5):
            if number % 2:
                bench.sink.meta(b"meta", ids[0])
            else:
                bench.sink.verbatim(layout.CONTENT, (0, b"raw!"), 4, ids, np.array([(0, 0, 4)], layout.PLACE))
            done += 1

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join(0.3)
    try:
        assert thread.is_alive() and done == sink.FRAMES_IN_FLIGHT
    finally:
        go.set()
        thread.join()
