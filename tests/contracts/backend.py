"""What every storage backend must do.  A test module subclasses `BackendContract` and gives the fixture `backend`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import Conflict, NotFound
from lamina.storage import Backend

SIZES = [0, 1, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 777]


def pattern(size: int) -> bytes:
    block = bytes(range(251))
    return (block * (size // 251 + 1))[:size]


def put(backend: Backend, name: str, data: bytes, owner: str = "owner") -> None:
    with backend.create(name, owner) as writer:
        writer.write(data)
        writer.seal()


def get(backend: Backend, name: str) -> bytes:
    with backend.open(name) as handle:
        buffer = bytearray(handle.size + 10)
        count = handle.pread_into(memoryview(buffer), 0)
        assert count == handle.size
        return bytes(buffer[:count])


class BackendContract:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("reserve", [0, 1 << 20, 8 << 20])
    def test_what_is_put_is_got(self, backend: Backend, size: int, reserve: int) -> None:
        data = pattern(size)
        with backend.create("packs/ab/one", "owner", reserve=reserve) as writer:
            writer.write(data)
            assert writer.tell() == size
            writer.seal()
        assert get(backend, "packs/ab/one") == data

    def test_pieces_of_any_size_and_type(self, backend: Backend) -> None:
        data = pattern(2_500_000)
        at = 0
        with backend.create("packs/ab/one", "owner") as writer:
            for size in [1, 7, 4096, 100_000, 0, 1 << 20, 3, 2_500_000]:
                piece = data[at:at + size]
                writer.write([piece, bytearray(piece), memoryview(piece)][at % 3])
                at += len(piece)
                assert writer.tell() == at
            writer.seal()
        assert get(backend, "packs/ab/one") == data

    def test_writers_side_by_side(self, backend: Backend) -> None:
        writers = [backend.create(f"packs/ab/{i}", f"owner{i}") for i in range(8)]
        for step in range(3):
            for i, writer in enumerate(writers):
                writer.write(bytes([i, step]) * 300_000)
        for writer in writers:
            writer.seal()
        for i in range(8):
            assert get(backend, f"packs/ab/{i}") == b"".join(bytes([i, step]) * 300_000 for step in range(3))

    def test_nothing_is_there_before_the_seal(self, backend: Backend) -> None:
        writer = backend.create("packs/ab/one", "me")
        writer.write(b"x" * 5000)
        assert list(backend.list()) == []
        with pytest.raises(NotFound):
            backend.open("packs/ab/one")
        assert [(each.owner, each.name) for each in backend.temporaries()] == [("me", "one")]
        writer.seal()
        assert list(backend.list()) == [("packs/ab/one", 5000)]
        assert list(backend.temporaries()) == []

    def test_abort_leaves_nothing(self, backend: Backend) -> None:
        writer = backend.create("packs/ab/one", "me")
        writer.write(b"x" * 2_000_000)
        writer.abort()
        writer.abort()
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"x")
        with pytest.raises(ValueError, match="closed"):
            writer.seal()
        assert list(backend.list()) == []
        assert list(backend.temporaries()) == []

    def test_leaving_the_block_unsealed_aborts(self, backend: Backend) -> None:
        with pytest.raises(KeyError), backend.create("packs/ab/one", "me") as writer:
            writer.write(b"x")
            raise KeyError
        assert list(backend.temporaries()) == []

    def test_a_name_is_put_once(self, backend: Backend) -> None:
        put(backend, "packs/ab/one", b"first")
        with pytest.raises(Conflict):
            backend.create("packs/ab/one", "me")
        late = [backend.create("packs/ab/two", owner) for owner in ("a", "b")]
        late[0].write(b"a")
        late[0].seal()
        with pytest.raises(Conflict):
            late[1].seal()
        assert get(backend, "packs/ab/one") == b"first"
        assert get(backend, "packs/ab/two") == b"a"
        assert list(backend.temporaries()) == []

    def test_list_by_prefix(self, backend: Backend) -> None:
        names = {"packs/ab/abc", "packs/ab/abd", "packs/cd/cde", "packs/c"}
        for name in names:
            put(backend, name, name.encode())
        for prefix in ["", "packs", "packs/", "packs/ab", "packs/ab/", "packs/ab/abd", "packs/c", "packs/zz/", "packs/ab/abdd"]:
            expected = {(name, len(name)) for name in names if name.startswith(prefix)}
            assert set(backend.list(prefix)) == expected, prefix

    def test_delete(self, backend: Backend) -> None:
        put(backend, "packs/ab/one", b"1")
        with backend.open("packs/ab/one") as handle:
            backend.delete("packs/ab/one")
            backend.delete("packs/ab/one")
            backend.delete("packs/zz/never")
            buffer = bytearray(1)
            assert handle.pread_into(memoryview(buffer), 0) == 1  # open files stay readable
        assert list(backend.list()) == []
        with pytest.raises(NotFound):
            backend.open("packs/ab/one")

    def test_ranges(self, backend: Backend) -> None:
        data = pattern(100_000)
        put(backend, "packs/ab/one", data)
        with backend.open("packs/ab/one") as handle:
            assert handle.size == 100_000
            for offset, length in [(0, 10), (4090, 20), (99_990, 10), (99_990, 20), (100_000, 5), (200_000, 5), (5, 0)]:
                buffer = bytearray(length)
                count = handle.pread_into(memoryview(buffer), offset)
                assert bytes(buffer[:count]) == data[offset:offset + length]

    def test_maps_outlive_the_handle(self, backend: Backend) -> None:
        data = pattern(100_000)
        put(backend, "packs/ab/one", data)
        handle = backend.open("packs/ab/one")
        ranges = [(0, 100_000), (4095, 2), (8192, 4096), (99_999, 1), (50, 0), (100_000, 0)]
        views = [handle.map(*each) for each in ranges]
        for bad in [(0, 100_001), (-1, 5), (99_999, 2), (5, -1)]:
            with pytest.raises(ValueError, match="not all in"):
                handle.map(*bad)
        handle.close()
        handle.close()
        backend.delete("packs/ab/one")
        for (offset, length), view in zip(ranges, views, strict=True):
            assert view.readonly
            assert bytes(view) == data[offset:offset + length]
        with pytest.raises(ValueError, match="closed"):
            handle.map(0, 1)
        with pytest.raises(ValueError, match="closed"):
            handle.pread_into(memoryview(bytearray(1)), 0)

    def test_sweeping_is_by_owner(self, backend: Backend) -> None:
        kept = backend.create("packs/ab/kept", "alive")
        kept.write(b"x")
        for i in range(3):
            backend.create(f"packs/ab/lost{i}", "dead").write(b"y")
        assert backend.sweep_temporaries("dead") == 3
        assert backend.sweep_temporaries("dead") == 0
        assert [each.owner for each in backend.temporaries()] == ["alive"]
        kept.seal()
        assert get(backend, "packs/ab/kept") == b"x"

    def test_sweeping_spares_names(self, backend: Backend) -> None:
        for name in ("one", "two"):
            backend.create(f"packs/ab/{name}", "dead").leave()
        assert backend.sweep_temporaries("dead", {"one"}) == 1
        assert [each.name for each in backend.temporaries()] == ["one"]

    @pytest.mark.parametrize("settle", [False, True])
    @pytest.mark.parametrize("size", [0, 1, 100_000, (1 << 20) + 5, 3 << 20])
    def test_what_is_left_unsealed(self, backend: Backend, size: int, settle: bool) -> None:
        """As far as it reaches; no reach is asked for beyond what was written."""
        data = pattern(size)
        writer = backend.create("packs/ab/one", "me", reserve=8 << 20)
        writer.write(data)
        reach = writer.reach(settle=settle)
        assert reach.bytes == size if settle else size - (1 << 20) < reach.bytes <= size
        reach.sync()
        writer.leave()
        writer.leave()
        reach.close()
        reach.close()
        with backend.open_temporary("me", "one") as handle:
            assert handle.size == reach.bytes
            buffer = bytearray(reach.bytes)
            assert handle.pread_into(memoryview(buffer), 0) == reach.bytes
        assert bytes(buffer) == data[: reach.bytes]
        assert list(backend.list()) == []
        with pytest.raises(NotFound):
            backend.open_temporary("me", "two")

    def test_settling_changes_nothing_of_what_follows(self, backend: Backend) -> None:
        data = pattern(5 << 20)
        with backend.create("packs/ab/one", "me") as writer:
            at = 0
            for step in (1, 5000, 4096, 1 << 20, 300_000, 123, 2 << 20):
                writer.write(data[at : at + step])
                at += step
                reach = writer.reach(settle=True)
                assert reach.bytes == at
                reach.close()
            writer.write(data[at:])
            last = writer.reach()
            writer.seal()
            last.sync()  # whoever asked before may come later
            last.close()
        assert get(backend, "packs/ab/one") == data

    def test_withdrawn(self, backend: Backend) -> None:
        put(backend, "packs/ab/one", b"x")
        backend.withdraw("packs/ab/one", "me")
        backend.withdraw("packs/ab/one", "me")
        assert list(backend.list()) == []
        assert [(each.owner, each.name) for each in backend.temporaries()] == [("me", "one")]

    @pytest.mark.parametrize("name", [
        "", "/etc/passwd", "../x", "packs/../x", "packs/./x", "packs//x", "packs/x/", ".hidden", "packs/.x", "packs/a\nb",
        "packs/a\0b", "tmp/x", "state/catalog.sqlite", "format", "packs/ü", "a" * 300,
    ])
    def test_names_are_checked(self, backend: Backend, name: str) -> None:
        for act in (backend.open, backend.delete, lambda name: backend.create(name, "me")):
            with pytest.raises(ValueError, match="not a name"):
                act(name)

    @pytest.mark.parametrize("owner", ["", "a.b", "../a", "a/b", "x" * 60])
    def test_owners_are_checked(self, backend: Backend, owner: str) -> None:
        with pytest.raises(ValueError, match="not an owner"):
            backend.create("packs/ab/one", owner)
        assert backend.sweep_temporaries(owner) == 0

    def test_format(self, backend: Backend) -> None:
        first = backend.read_format()
        assert first.version == 2
        assert len(bytes.fromhex(first.id)) == 16
        assert backend.initialise() == first

    def test_state_dir_and_space(self, backend: Backend) -> None:
        (backend.state_dir() / "file").write_text("x")
        assert list(backend.list()) == []
        assert backend.free_space() > 0

    def test_descriptors_are_given_back(self, backend: Backend) -> None:
        data = pattern(10_000)
        put(backend, "packs/ab/warm", data)
        before = len(list(Path("/proc/self/fd").iterdir()))
        views = []
        for i in range(20):
            put(backend, f"packs/ab/{i}", data)
            with backend.open(f"packs/ab/{i}") as handle:
                views.append(handle.map(5000, 5000))
            backend.create(f"packs/ab/aborted{i}", "me").abort()
        assert len(list(backend.list())) == 21
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert all(bytes(view) == data[5000:] for view in views)
