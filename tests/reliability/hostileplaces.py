"""Special files and directories: to load from, and to save to; and words that are no names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from archive.builders import Image, Member, layer, oci, podman, tar, write_directory
from reliability.hostilecase import GOOD, REFUSED, TAKEN, Case
from reliability.hostiledocker import ESCAPE, IMAGE
from reliability.hostiletars import EVIL, PLAIN

NEVER = "missing|no regular file|cannot|not there|loop|no OCI layout|no image archive"


def file(name: str, path: str, says: str, verdict: str = REFUSED) -> Case:
    return Case(f"load from {name}", verdict, lambda _: ["load", "-q", "-i", path], says)


def directory(name: str, verdict: str, change: Callable[[Path], object], says: str = NEVER) -> Case:
    """A layout in a directory, changed."""

    def make(place: Path) -> list[str]:
        change(write_directory(place / "layout", oci(IMAGE)))
        return ["load", "-q", "-i", str(place / "layout")]

    return Case(f"layout directory: {name}", verdict, make, says)


def blob(layout: Path) -> Path:
    """The file of the image's config."""
    return layout / "blobs" / "sha256" / IMAGE.id.hex


def instead(what: Callable[[Path], object], which: Callable[[Path], Path]) -> Callable[[Path], object]:
    """Put something in the place of a file of the layout."""

    def change(layout: Path) -> None:
        path = which(layout)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        what(path)

    return change


STRANGERS: dict[str, Callable[[Path], object]] = {
    "a fifo": os.mkfifo,
    "a directory": Path.mkdir,
    "a loop": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a directory": lambda path: path.symlink_to("/"),
    "an empty file": Path.touch,
    "a terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "256 MiB of nothing": lambda path: (path.touch(), os.truncate(path, 256 << 20)),
}


def loads() -> Iterator[Case]:
    """What is no file, in the place of one."""
    yield file("/dev/zero", "/dev/zero", "without an end|no image archive")
    yield file("/dev/full", "/dev/full", "without an end|no image archive")
    yield file("/dev/null", "/dev/null", "empty")
    yield file("/dev/urandom", "/dev/urandom", "no image archive")
    yield file("/proc/self/mem", "/proc/self/mem", "cannot read|no image archive|empty")
    yield file("a file that is not there", "/nowhere/" + ESCAPE, "no such file")
    yield file("a name of 600 characters", "n" * 600, "cannot open")
    yield file("a name with newlines", "/nowhere/a\nlamina: error: b", "no such file")
    yield Case(
        "load from standard input by its file",
        TAKEN,
        lambda place: ((place / "in").write_bytes(tar(podman(Image((PLAIN,), (EVIL,))))), ["load", "-q", "-i", "/dev/stdin"])[
            1
        ],
        stdin="in",
    )
    yield Case("load from a sparse file of 1 TiB of zeros", REFUSED, _sparse(b"", 1 << 40), "no image archive")
    yield Case("load from a file with a member of 1 TiB that nobody names", TAKEN, _huge_member)
    yield Case("load from a directory in a loop", REFUSED, _loop, NEVER)
    yield Case(
        "load from an empty directory",
        REFUSED,
        lambda place: ((place / "d").mkdir(), ["load", "-i", str(place / "d")])[1],
        NEVER,
    )
    yield Case("load from a directory of strangers and an archive", TAKEN, _crowd)
    for name, what in STRANGERS.items():
        for place in ("index.json", "oci-layout"):
            yield directory(
                f"{place} is {name}",
                REFUSED,
                instead(what, lambda layout, place=place: layout / place),
                NEVER + "|is not|too large|not JSON",
            )
        yield directory(f"a blob is {name}", REFUSED, instead(what, blob), NEVER + "|bytes")
        yield directory(f"blobs is {name}", REFUSED, instead(what, lambda layout: layout / "blobs"), NEVER)
    yield directory(
        "a blob is a link to what it is",
        TAKEN,
        lambda layout: (blob(layout).rename(layout / "elsewhere"), blob(layout).symlink_to(layout / "elsewhere")),
    )
    yield directory(
        "blobs are elsewhere",
        TAKEN,
        lambda layout: ((layout / "blobs").rename(layout.parent / "b"), (layout / "blobs").symlink_to(layout.parent / "b")),
    )
    yield directory("the directory holds itself", TAKEN, lambda layout: (layout / "blobs" / "again").symlink_to(layout))
    yield directory("strange names beside", TAKEN, lambda layout: (layout / "blobs" / "sha256" / ESCAPE).touch())


def _sparse(head: bytes, size: int) -> Callable[[Path], list[str]]:
    def make(place: Path) -> list[str]:
        (place / "sparse.tar").write_bytes(head)
        os.truncate(place / "sparse.tar", size)
        return ["load", "-q", "-i", str(place / "sparse.tar")]

    return make


def _huge_member(place: Path) -> list[str]:
    path = place / "huge.tar"
    with path.open("wb") as out:
        out.write(tar([Member("huge", size=1 << 40)], end=False))
        out.seek(1 << 40, os.SEEK_CUR)
        out.write(tar(podman(Image((PLAIN,), (EVIL,)))))
    return ["load", "-q", "-i", str(path)]


def _loop(place: Path) -> list[str]:
    (place / "d").symlink_to(place / "d")
    return ["load", "-q", "-i", str(place / "d")]


def _crowd(place: Path) -> list[str]:
    folder = place / "d"
    folder.mkdir()
    os.mkfifo(folder / "fifo.tar")
    (folder / "loop.tar").symlink_to(folder / "loop.tar")
    (folder / "zero.tar").symlink_to("/dev/zero")
    (folder / "again").symlink_to(folder)
    (folder / "text.tar").write_text("no archive")
    (folder / "image.tar").write_bytes(tar(podman(Image((PLAIN,), (EVIL,)))))
    return ["load", "-q", "-i", str(folder)]


# -- to save to


def saving(name: str, output: Callable[[Path], str], says: str, form: str = "docker-archive", verdict: str = REFUSED) -> Case:
    return Case(f"save to {name}", verdict, lambda place: ["save", "-q", "--format", form, "-o", output(place), GOOD], says)


def saves() -> Iterator[Case]:
    """What cannot be written to."""
    bad = "cannot write|too large|in the way|no such|no regular|loop|directory|layout|JSON|missing"
    for form in ("docker-archive", "oci-archive"):
        yield saving(f"/dev/full, {form}", lambda _: "/dev/full", "cannot write", form)
        yield saving(f"a directory, {form}", lambda place: str(place), bad, form)
        yield saving(f"below a file, {form}", lambda place: str(place / "store" / "format" / "x"), bad, form)
        yield saving(f"a loop, {form}", _save_loop, bad, form)
        yield saving(f"nowhere, {form}", lambda place: str(place / "no" / "x"), bad, form)
        yield saving(f"a link to /dev/full, {form}", _save_full, bad, form)
    yield saving("a name of 300 characters", lambda place: str(place / ("n" * 300)), bad)
    yield saving("/dev/null", lambda _: "/dev/null", "", verdict=TAKEN)
    for name, what in STRANGERS.items():
        yield saving(f"a layout whose index.json is {name}", _save_layout(what, "index.json"), bad + "|is not", "oci-dir")
    yield saving("a layout whose blobs is a file", _save_layout(Path.touch, "blobs"), bad, "oci-dir")
    yield saving("a layout whose blobs is a loop", _save_layout(STRANGERS["a loop"], "blobs"), bad, "oci-dir")
    yield Case("save to a pipe that is closed", REFUSED, lambda _: ["save", GOOD], lines=0, read=10)
    yield Case("save to a fifo that is closed", REFUSED, lambda _: ["save", "-q", "-o", "/dev/stdout", GOOD], lines=0, read=10)
    for word in (
        ESCAPE,
        "n" * 10_000,
        "../..",
        "",
        "a\nb",
        "sha256:" + "0" * 64,
        "known:1@sha256:" + "0" * 64,
        "%2e%2e",
        "-",
        "/",
    ):
        for command in ("save", "inspect", "history", "rmi", "verify"):
            yield Case(f"{command} of {word[:20]!r}", REFUSED, lambda _, word=word, command=command: [command, "--", word], ".")
        yield Case(
            f"tag as {word[:20]!r}",
            REFUSED,
            lambda _, word=word: ["tag", "--", GOOD, word],
            ".",
            125 if "sha256:" in word else 1,
        )


def _save_loop(place: Path) -> str:
    (place / "loop").symlink_to(place / "loop")
    return str(place / "loop")


def _save_full(place: Path) -> str:
    (place / "link").symlink_to("/dev/full")
    return str(place / "link")


def _save_layout(what: Callable[[Path], object], name: str) -> Callable[[Path], str]:
    def make(place: Path) -> str:
        layout = write_directory(place / "layout", oci(Image((layer(74),))))
        instead(what, lambda layout: layout / name)(layout)
        return str(layout)

    return make


def places() -> Iterator[Case]:
    """All that is no plain file."""
    yield from loads()
    yield from saves()
