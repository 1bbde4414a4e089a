"""What a disk may hold after a power cut: a log of file operations (shim.c records it) replayed into a model of a file system.

POSIX promises that a file's bytes last when the file has been synced, and a name when its directory has been; of all else
any part may have come to the disk.  The model keeps what lasts and what is pending, and makes *states* of it:

- pending names: none, all, all up to one moment (as journals of metadata write them), up to another moment in each
  directory, or any choice that keeps the order of the operations on each name (btrfs writes the names of a synced file before
  older ones of others);
- pending bytes: none, all, the size alone (zeros where nothing was), or any choice of pieces of 512 or 4096 bytes, later
  ones without earlier ones.

A file's fsync makes no name last; a directory's makes no bytes last, nor the name of the directory itself.  A rename takes
nothing away before what it puts there is there: within one directory it is done or not, between two the file may be in both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from reliability.powerlog import File, Op

FALLOC_KEEP_SIZE = 1
NAMES = ("none", "all", "moment", "each", "any")
# A directory is None.  Paths are relative to the root, parents before what is in them.
Tree = dict[str, bytes | None]


@dataclass(eq=False, slots=True)
class Entries:
    """A directory: names that last, names as they are, and the operations since its last fsync, in order."""

    durable: dict[str, File | Entries] = field(default_factory=dict)
    now: dict[str, File | Entries] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Change:
    """In one directory: `gone` goes, `name` leads to `node` ("" each for none).  `first`: the half of a rename that must not be
    missing where this one is done; `when`: its place in the log."""

    when: int
    name: str = ""
    node: File | Entries | None = None
    gone: str = ""
    first: tuple[Entries, Change] | None = None

    def apply(self, names: dict[str, File | Entries]) -> None:
        if self.gone:
            names.pop(self.gone, None)
        if self.name:
            assert self.node is not None
            names[self.name] = self.node


class Disk:
    """The file system below a root directory that is there and empty.  `play` takes the log's operations one by one."""

    def __init__(self) -> None:
        self.root = Entries()
        self._files: dict[int, File] = {}
        self._when = 0

    def play(self, op: Op) -> None:
        """ValueError for an operation that it does not know, or on a file that it has not seen made."""
        self._when += 1
        act = getattr(self, f"_{op.op}", None)
        if act is None:
            raise ValueError(f"no such operation: {op}")
        act(op)

    def _mark(self, op: Op) -> None:
        """No operation."""

    _sync_file_range = _mark  # it makes nothing last

    def _create(self, op: Op) -> None:
        self._files[op.ino] = file = File()
        self._put(op.path, file)

    def _mkdir(self, op: Op) -> None:
        self._put(op.path, Entries())

    def _write(self, op: Op) -> None:
        self._file(op).write(op.offset, op.data)

    def _ftruncate(self, op: Op) -> None:
        self._file(op).resize("exactly", op.size)

    def _fallocate(self, op: Op) -> None:
        if not op.mode & FALLOC_KEEP_SIZE:
            self._file(op).resize("least", op.offset + op.size)

    def _fsync(self, op: Op) -> None:
        if not op.dir:
            self._file(op).sync()
            return
        entries = self._directory(PurePosixPath(op.path))
        while entries.pending:
            self._settle(entries, entries.pending[0])

    def _settle(self, entries: Entries, change: Change) -> None:
        """It lasts, and so does what was done to its names before, which must not come later, and what the other half of a
        rename puts where this half takes away."""
        if change not in entries.pending:
            return
        names, before, rest = set[str](), [], list(entries.pending)
        for each in reversed(entries.pending[: entries.pending.index(change) + 1]):
            mine = {each.name, each.gone} - {""}
            if each is change or mine & names:
                names |= mine
                before.append(each)
                rest.remove(each)
        entries.pending = rest
        for each in reversed(before):
            if each.first is not None:
                self._settle(*each.first)
            each.apply(entries.durable)

    def _unlink(self, op: Op) -> None:
        path = PurePosixPath(op.path)
        self._change(self._directory(path.parent), Change(self._when, gone=path.name))

    _rmdir = _unlink

    def _link(self, op: Op) -> None:
        self._put(op.to, self._node(PurePosixPath(op.path)))

    def _rename(self, op: Op) -> None:
        path, to = PurePosixPath(op.path), PurePosixPath(op.to)
        node, source, target = self._node(path), self._directory(path.parent), self._directory(to.parent)
        if source is target:
            self._change(source, Change(self._when, to.name, node, path.name))
            return
        put = Change(self._when, to.name, node)
        self._change(target, put)
        self._change(source, Change(self._when, gone=path.name, first=(target, put)))

    def _put(self, path: str, node: File | Entries) -> None:
        place = PurePosixPath(path)
        self._change(self._directory(place.parent), Change(self._when, place.name, node))

    def _change(self, entries: Entries, change: Change) -> None:
        entries.pending.append(change)
        change.apply(entries.now)

    def _file(self, op: Op) -> File:
        if op.ino not in self._files:
            raise ValueError(f"a file that nobody has made: {op.op} {op.path}")
        return self._files[op.ino]

    def _node(self, path: PurePosixPath) -> File | Entries:
        node: File | Entries = self.root
        for part in path.parts:
            if not isinstance(node, Entries) or part not in node.now:
                raise ValueError(f"not there: {path}")
            node = node.now[part]
        return node

    def _directory(self, path: PurePosixPath) -> Entries:
        node = self._node(path)
        if not isinstance(node, Entries):
            raise ValueError(f"no directory: {path}")
        return node

    # -- states

    def after_cut(self, names: str, data: str, seed: int) -> Tree:
        """What is on the disk when the power comes back, by one of NAMES and one of BYTES."""
        rng = random.Random(seed)
        choose = _Choice(names, rng, self._when)
        tree: Tree = {}
        for path, node in _walk("", self.root, choose):
            tree[path] = None if isinstance(node, Entries) else node.after_cut(data, rng)
        return tree


def _walk(prefix: str, entries: Entries, choose: _Choice) -> Iterator[tuple[str, File | Entries]]:
    for name, node in sorted(choose(entries).items(), key=lambda item: item[0]):
        yield prefix + name, node
        if isinstance(node, Entries):
            yield from _walk(f"{prefix}{name}/", node, choose)


class _Choice:
    """Which pending names came to the disk."""

    def __init__(self, manner: str, rng: random.Random, last: int) -> None:
        self._manner, self._rng = manner, rng
        self._until = rng.randrange(last + 1)
        self._done: dict[int, set[int]] = {}

    def __call__(self, entries: Entries) -> dict[str, File | Entries]:
        names = dict(entries.durable)
        chosen = self._chosen(entries)
        for change in entries.pending:
            if id(change) in chosen:
                change.apply(names)
        return names

    def _chosen(self, entries: Entries) -> set[int]:
        found = self._done.get(id(entries))
        if found is None:
            found = self._done[id(entries)] = {id(change) for change in self._pick(entries.pending)}
            for change in entries.pending:  # what a rename takes away here must have come where it went
                if id(change) in found and change.first is not None and not self._has(*change.first):
                    found.discard(id(change))
        return found

    def _has(self, entries: Entries, change: Change) -> bool:
        return change not in entries.pending or id(change) in self._chosen(entries)

    def _pick(self, pending: list[Change]) -> list[Change]:
        if self._manner == "none":
            return []
        if self._manner == "all":
            return pending
        if self._manner == "moment":
            return [change for change in pending if change.when <= self._until]
        if self._manner == "each":
            return pending[: self._rng.randrange(len(pending) + 1)]
        share, picked, lost = self._rng.choice((0.2, 0.5, 0.8)), [], set[str]()
        for change in pending:
            mine = {change.name, change.gone} - {""}
            if mine & lost or self._rng.random() >= share:
                lost |= mine
            else:
                picked.append(change)
        return picked


def materialise(tree: Tree, root: Path) -> None:
    """Make the files.  What is only ever mapped and never synced (SQLite's shared memory) does not come back."""
    for path, data in tree.items():
        if data is None:
            (root / path).mkdir()
        elif not path.endswith("-shm"):
            (root / path).write_bytes(data)
