"""Stores that somebody else has made: opening and using one must not run, overwrite or remove what lies outside of it.

`place/outside` is a directory with files of the user, which is looked at after.  What such a store says of images is its own
affair.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from archive.builders import podman, tar
from reliability.hostilecase import EITHER, GOOD, REFUSED, TAKEN, Case
from reliability.hostiledocker import ESCAPE, IMAGE

VICTIMS = ("letter.txt", "0" * 32, "catalog.sqlite", "thesis")


def outside(place: Path) -> Path:
    """The user's files."""
    folder = place / "outside"
    if not folder.exists():
        folder.mkdir()
        for name in VICTIMS:
            (folder / name).write_text(f"the user's {name}")
    return folder


def store(
    name: str, command: Sequence[str], change: Callable[[Path], object], verdict: str = REFUSED, says: str = ".", code: int = 1
) -> Case:
    """A command on a store that was changed; `{archive}` in it is a good archive."""

    def make(place: Path) -> list[str]:
        outside(place)
        (place / "good.tar").write_bytes(tar(podman(IMAGE)))
        change(place)
        return [word.replace("{archive}", str(place / "good.tar")).replace("{out}", str(place / "out.tar")) for word in command]

    lines = None if command[0] in ("verify", "gc") else 1
    return Case(f"store: {name}, {command[0]}", verdict, make, says, code=code, foreign=True, lines=lines)


IMAGES, LOAD, GC, VERIFY, SAVE = (
    ["images"],
    ["load", "-q", "-i", "{archive}"],
    ["gc", "-q"],
    ["verify", "-q"],
    ["save", "-q", "-o", "{out}", GOOD],
)


def sql(*statements: str) -> Callable[[Path], object]:
    """Statements on the catalog."""

    def change(place: Path) -> None:
        with sqlite3.connect(place / "store" / "state" / "catalog.sqlite") as catalog:
            for statement in statements:
                catalog.execute(statement.replace("{place}", str(place)))
        catalog.close()

    return change


def link(name: str, to: str = "outside") -> Callable[[Path], object]:
    """A part of the store is a link out of it."""

    def change(place: Path) -> None:
        path = place / "store" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(place / to)

    return change


def pack(place: Path) -> Path:
    """The one pack with the most bytes."""
    return max((one for one in (place / "store" / "packs").rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)


def put(what: Callable[[Path], object], which: Callable[[Path], Path]) -> Callable[[Path], object]:
    """Something else in the place of a file of the store."""

    def change(place: Path) -> None:
        path = which(place)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        what(path)

    return change


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"


def stores() -> Iterator[Case]:
    """All of somebody else's."""
    for name in ("packs", "tmp", "state", "state/leases", "state/index", "state/partials", "state/catalog.sqlite"):
        for command in (IMAGES, LOAD, GC):
            yield store(f"{name} is a link out of it", command, link(name), says="symbolic link")
    for name in ("state/catalog.sqlite.lock", "state/collect.lock"):
        yield store(f"{name} is a link out of it", GC, link(name, "outside/new"), says="symbolic link")
    for command in (IMAGES, LOAD, GC, VERIFY, SAVE):
        yield store(
            "a trigger that removes all",
            command,
            sql("CREATE TRIGGER t AFTER INSERT ON leases BEGIN DELETE FROM refs; DELETE FROM blobs; DELETE FROM packs; END"),
            TAKEN,
        )
        yield store(
            "a view without an end",
            command,
            sql(
                "ALTER TABLE refs RENAME TO old",
                f"CREATE VIEW refs AS {ENDLESS} "
                "SELECT 'x' || n AS name, 'd' AS digest, 'm' AS media_type, n AS size, n AS seq, n AS time, 0 AS removed, "
                "0 AS pinned FROM r",
            ),
            TAKEN,
        )
        yield store(
            "a view of the versions without an end",
            command,
            sql("ALTER TABLE meta RENAME TO old", f"CREATE VIEW meta AS {ENDLESS} SELECT 'a' AS key, n AS value FROM r"),
            TAKEN,
        )
        yield store(
            "a virtual table", command, sql("DROP TABLE holds", "CREATE VIRTUAL TABLE holds USING fts5(lease, digest)"), TAKEN
        )
    for lease in ("../../../outside/letter.txt", "{place}/outside/thesis", "..", "", ".", "a/b", "n" * 5000, ESCAPE):
        for command in (LOAD, GC):
            yield store(f"a lease {lease[:24]!r}", command, sql(f"INSERT INTO leases VALUES ('{lease}', 'write', 1)"), TAKEN)
    for name in ("../../outside/letter.txt", "/etc/passwd", "", "zz", "n" * 5000, ESCAPE, "../../../outside/" + "0" * 32):
        for command in (IMAGES, GC, VERIFY, SAVE, LOAD):
            yield store(
                f"a pack called {name[-24:]!r}", command, sql(f"UPDATE packs SET name = '{name}' WHERE number = 1"), EITHER
            )
    for name in (ESCAPE, "../../x", "@x", "", "a b", "n" * 100_000):
        for command in (IMAGES, GC, VERIFY):
            yield store(f"a tag {name[:24]!r}", command, sql(f"UPDATE refs SET name = '{name}'"), EITHER)
    for digest in ("../../../etc/passwd", "", "sha256:0", ESCAPE, "n" * 100_000):
        for command in (IMAGES, GC, VERIFY):
            yield store(f"a digest {digest[:24]!r}", command, sql(f"UPDATE refs SET digest = '{digest}'"), EITHER)
            yield store(
                f"a blob {digest[:24]!r}",
                command,
                sql(f"UPDATE blobs SET digest = '{digest}' WHERE rowid = 1", f"UPDATE images SET config = '{digest}'"),
                EITHER,
            )
    wrong = {"text for a number": "'x'", "2^63 - 1": str(2**63 - 1), "-1": "-1", "a blob": "x'00ff'", "a real": "1e300"}
    for what, value in wrong.items():
        for command in (IMAGES, GC, VERIFY, SAVE):
            yield store(f"sizes: {what}", command, sql(f"UPDATE blobs SET size = {value}, record = {value}"), EITHER)
            yield store(f"names of packs: {what}", command, sql(f"UPDATE blobs SET pack = {value}"), EITHER)
            yield store(
                f"images: {what}",
                command,
                sql(f"UPDATE images SET size = {value}, diff_ids = {value}, created = {value}"),
                EITHER,
            )
            yield store(
                f"times: {what}", command, sql(f"UPDATE refs SET time = {value}, seq = {value}, size = {value}"), EITHER
            )
    kinds: dict[str, Callable[[Path], object]] = {
        "a fifo": os.mkfifo,
        "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "a directory": Path.mkdir,
        "a loop": lambda path: path.symlink_to(path),
        "a link to the user's": lambda path: path.symlink_to("/etc/passwd"),
        "1 TiB of nothing": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
        "nothing": Path.touch,
    }
    for kind, make in kinds.items():
        for command in (IMAGES, VERIFY, SAVE, LOAD, GC):
            yield store(f"a pack is {kind}", command, put(make, pack), EITHER)
            yield store(f"the format is {kind}", command, put(make, lambda place: place / "store" / "format"), EITHER)
        for command in (IMAGES, LOAD):
            yield store(
                f"the catalog is {kind}", command, put(make, lambda place: place / "store" / "state" / "catalog.sqlite"), EITHER
            )
            yield store(
                f"a strange pack is {kind}",
                command,
                put(make, lambda place: place / "store" / "packs" / "00" / ("0" * 32)),
                TAKEN,
            )
            yield store(
                f"a lease is {kind}",
                command,
                put(make, lambda place: place / "store" / "state" / "leases" / ("0" * 32)),
                EITHER,
            )
            yield store(
                f"the lock is {kind}",
                command,
                put(make, lambda place: place / "store" / "state" / "catalog.sqlite.lock"),
                EITHER,
            )
