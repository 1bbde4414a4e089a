"""The model of power loss itself: what was synced is in every state, and nothing is in a state that was never there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from reliability.powerlog import BYTES, Op, encode, read_log
from reliability.powerloss import NAMES, Disk, materialise

FOLDERS = ("", "a/", "b/")
_name = st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(("x", "y", "z")))
_step = st.one_of(
    st.tuples(st.just("write"), _name, st.integers(0, 9000), st.integers(1, 9000)),
    st.tuples(st.just("truncate"), _name, st.integers(0, 9000)),
    st.tuples(st.just("rename"), _name, _name),
    st.tuples(st.just("link"), _name, _name),
    st.tuples(st.just("unlink"), _name),
    st.tuples(st.just("fsync"), _name),
    st.tuples(st.just("fsync directory"), st.sampled_from(FOLDERS)),
)
_STATES = [(names, data, seed) for names in NAMES for data in BYTES for seed in range(3)]


class Both:
    """A real directory and the model of it, side by side."""

    def __init__(self, root: Path) -> None:
        self.root, self.disk, self._count = root, Disk(), 0
        for folder in FOLDERS[1:]:
            (root / folder).mkdir()
            self.disk.play(Op("mkdir", folder.rstrip("/")))

    def do(self, what: str, path: str, *more: int | str) -> None:
        """One step, if it is possible."""
        place = self.root / path
        if what == "write":
            self._write(path, *more)  # type: ignore[arg-type]
        elif what == "fsync directory":
            self.disk.play(Op("fsync", path.rstrip("/"), dir=True))
        elif place.exists():
            ino = place.stat().st_ino
            if what == "truncate":
                os.truncate(place, int(more[0]))
                self.disk.play(Op("ftruncate", path, ino=ino, size=int(more[0])))
            elif what == "fsync":
                self.disk.play(Op("fsync", path, ino=ino))
            elif what == "unlink":
                place.unlink()
                self.disk.play(Op("unlink", path, ino=ino))
            else:
                self._second_name(what, path, str(more[0]), ino)

    def _second_name(self, what: str, path: str, to: str, ino: int) -> None:
        target = self.root / to
        if what == "rename" and not (target.exists() and target.samefile(self.root / path)):  # then nothing happens
            (self.root / path).rename(target)
            self.disk.play(Op("rename", path, to, ino))
        elif what == "link" and not target.exists():
            os.link(self.root / path, target)
            self.disk.play(Op("link", path, to, ino))

    def _write(self, path: str, offset: int, size: int) -> None:
        self._count += 1
        data = bytes([self._count % 255 + 1]) * size
        there = (self.root / path).exists()
        fd = os.open(self.root / path, os.O_WRONLY | os.O_CREAT)
        ino = os.fstat(fd).st_ino
        if not there:
            self.disk.play(Op("create", path, ino=ino))
        os.pwrite(fd, data, offset)
        os.close(fd)
        self.disk.play(Op("write", path, ino=ino, offset=offset, size=size, data=data))

    def sync(self) -> None:
        for folder in FOLDERS:
            for place in sorted((self.root / folder).iterdir()):
                if place.is_file():
                    self.do("fsync", folder + place.name)
            self.do("fsync directory", folder)

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@settings(deadline=None, max_examples=60)
@given(st.lists(_step, max_size=25), st.lists(_step, max_size=12))
@example([("write", "x", 0, 1), ("write", "b/z", 0, 1), ("rename", "x", "b/z")], [])  # the directory left is synced first
@example([("write", "x", 0, 1), ("write", "b/y", 0, 1), ("rename", "b/y", "b/z"), ("rename", "x", "b/z")], [])
def test_what_is_synced_is_in_every_state(before: list[tuple], after: list[tuple]) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        both = Both(Path(folder))
        for step in before:
            both.do(*step)
        assert _files(both, "all", "all", 0) == both.files()
        both.sync()
        synced = both.files()
        assert all(_files(both, *state) == synced for state in _STATES)
        inodes = {path: (both.root / path).stat().st_ino for path in synced}
        touched: set[int] = set()
        names: set[str] = set()
        for step in after:
            there = both.root / step[1]
            if there.is_file():
                touched.add(there.stat().st_ino)
            names |= {each for each in step[1:] if isinstance(each, str)}
            both.do(*step)
        assert _files(both, "all", "all", 0) == both.files()
        for state in _STATES:
            found = _files(both, *state)
            for path, data in synced.items():
                if path not in names and inodes[path] not in touched:
                    assert found[path] == data
            lost = {ino for path, ino in inodes.items() if path not in found} - touched
            assert not lost or all(path in names for path, ino in inodes.items() if ino in lost)


def _files(both: Both, names: str, data: str, seed: int) -> dict[str, bytes]:
    return {path: found for path, found in both.disk.after_cut(names, data, seed).items() if found is not None}


def _disk(*ops: Op) -> Disk:
    disk = Disk()
    for op in ops:
        disk.play(op)
    return disk


def test_a_synced_file_without_a_synced_name() -> None:
    disk = _disk(Op("create", "f", ino=1), Op("write", "f", ino=1, size=3, data=b"abc"), Op("fsync", "f", ino=1))
    assert disk.after_cut("none", "none", 0) == {}
    assert disk.after_cut("all", "none", 0) == {"f": b"abc"}


def test_a_renamed_file_that_was_not_synced() -> None:
    disk = _disk(Op("create", "new", ino=1), Op("write", "new", ino=1, size=5000, data=b"x" * 5000),
                 Op("rename", "new", "f"), Op("fsync", "", dir=True))
    assert disk.after_cut("none", "none", 0) == {"f": b""}
    assert disk.after_cut("none", "zeros", 0) == {"f": bytes(5000)}
    torn = {disk.after_cut("none", "torn", seed)["f"] for seed in range(50)}
    assert any(data and data[:512] == bytes(512) and data[-100:] == b"x" * 100 for data in torn)  # the later alone


def test_a_rename_loses_nothing_on_the_way() -> None:
    made = (Op("mkdir", "a"), Op("mkdir", "b"), Op("create", "a/f", ino=1), Op("fsync", "a", dir=True),
            Op("fsync", "", dir=True))
    disk = _disk(*made, Op("rename", "a/f", "b/f"))
    seen = {frozenset(disk.after_cut(names, "all", seed)) - {"a", "b"} for names in NAMES for seed in range(50)}
    assert seen == {frozenset({"a/f"}), frozenset({"b/f"}), frozenset({"a/f", "b/f"})}
    for synced in ("a", "b"):
        disk = _disk(*made, Op("rename", "a/f", "b/f"), Op("fsync", synced, dir=True))
        assert "b/f" in disk.after_cut("none", "all", 0)


def test_names_in_any_order_but_each_in_its_own() -> None:
    disk = _disk(Op("create", "a", ino=1), Op("create", "b", ino=2), Op("rename", "a", "c"), Op("unlink", "c"))
    seen = {frozenset(disk.after_cut("any", "none", seed)) for seed in range(300)}
    assert seen == {frozenset(each) for each in ((), ("a",), ("b",), ("a", "b"), ("c",), ("b", "c"))}


def test_a_log_comes_back(tmp_path: Path) -> None:
    header = {"op": "write", "n": 1, "pid": 2, "ino": 3, "path": "f", "to": "", "offset": 4, "size": 2, "mode": 0, "dir": False}
    (tmp_path / "log").write_bytes(encode(header, b"ab") + encode({"op": "mark", "path": "covered", "size": 9}))
    first, second = read_log(tmp_path / "log")
    assert (first.op, first.path, first.ino, first.offset, first.data) == ("write", "f", 3, 4, b"ab")
    assert (second.op, second.size, second.data) == ("mark", 9, b"")


def test_shared_memory_does_not_come_back(tmp_path: Path) -> None:
    materialise({"d": None, "d/f": b"x", "d/f-shm": b"y"}, tmp_path)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["f"]
