"""Outputs that cannot be written: absent afterwards, and what was there before is as it was."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from archive.builders import Image, Member, docker_20, tar

from test_bad_input.kit import (
    NEW,
    Home,
    Limits,
    Pipe,
    assert_refused,
    assert_told,
    assert_untouched,
    call,
    command,
    environment,
    words,
)

LARGE = Image((tar([Member("large", random.Random(5).randbytes(3 << 20))]),), ("docker.io/library/large:1",))
FORMATS = ["docker-archive", "oci-archive", "oci-dir"]


def test_a_full_disk(home: Home) -> None:
    for form in FORMATS[:2]:
        assert_refused(home, command("save", "-q", "--format", form, "-o", "/dev/full", "known:1"),
                       "cannot write: No space left on device, /dev/full")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words(home, "save", "known:1"), stdout=full, stderr=subprocess.PIPE,
                              env=environment(), check=False)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "no space left on device" in line.lower()
    assert_untouched(home)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_may_not_grow(home: Home, tmp_path: Path, form: str, there: bool) -> None:
    # Longer than what the catalog may need.
    home.load(Pipe(tar(docker_20(LARGE))))
    folder = tmp_path / "out"
    folder.mkdir()
    place = folder / "image"
    if there and form != "oci-dir":
        place.write_bytes(b"before")
    elif there:
        place.mkdir()
    assert_refused(home, command("save", "-q", "--format", form, "-o", place, "large:1", limits=Limits(file_size=1 << 20)),
                   f"File too large, (the archive|{folder}/)")
    left = sorted(path.name for path in folder.rglob("*") if "part" in path.name)
    assert left == []
    if form != "oci-dir":
        assert [path.name for path in folder.iterdir()] == (["image"] if there else [])
        assert not there or place.read_bytes() == b"before"
    else:
        assert not (place / "index.json").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_places_that_are_none(home: Home, tmp_path: Path, form: str) -> None:
    missing = tmp_path / "none" / "image"
    (tmp_path / "file").write_bytes(b"before")
    save = ("save", "-q", "--format", form, "-o")
    if form == "oci-dir":
        assert_refused(home, command(*save, tmp_path / "file", "known:1"), "file|directory")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "letter.txt").write_text("dear")
        assert_refused(home, command(*save, tmp_path / "other", "known:1"), "no OCI layout|not empty|layout")
        assert [path.name for path in (tmp_path / "other").iterdir()] == ["letter.txt"]
    else:
        assert_refused(home, command(*save, missing, "known:1"), f"no such directory, {missing}")
        assert not missing.parent.exists()
        assert_refused(home, command(*save, tmp_path, "known:1"), f"a directory is in the way, {tmp_path}, name a file in it")
    assert_refused(home, command(*save, tmp_path / "file" / "image", "known:1"), "ot a directory|in the way")
    assert (tmp_path / "file").read_bytes() == b"before"


def test_no_permission(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o500)
    for form in FORMATS:
        assert_refused(home, command("save", "-q", "--format", form, "-o", folder / "image", "known:1",
                                     limits=Limits(modes=True)),
                       f"ermission denied, {folder}/")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_that_is_not_there(home: Home, tmp_path: Path, form: str) -> None:
    place = tmp_path / "image"
    for names in (["none:1"], ["known:1", "none:1"], ["known:1", "sha256:" + "0" * 64]):
        assert_refused(home, call(lambda store, names=names: store.save(names, place, format=form)), "none:1|sha256:000")
    assert list(tmp_path.glob("*image*")) == []


def test_names_that_are_none(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "image"
    for name in ("UPPER", "a b", "x:y:z:", ""):
        assert_refused(home, call(lambda store, name=name: store.save([name], place)), "reference|name|invalid")
    assert_told(command("save", "-q", "-o", place, "UPPER")(home), "lowercase|reference")
    assert list(tmp_path.glob("*image*")) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_store_whose_pack_is_damaged(home: Home, tmp_path: Path, form: str) -> None:
    """What leaves is checked: an archive of wrong bytes does not appear."""
    (tmp_path / "new.tar").write_bytes(tar(docker_20(NEW)))
    home.load(tmp_path / "new.tar")
    for pack in (home.path / "packs").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[2_000:2_200] = bytes(byte ^ 255 for byte in data[2_000:2_200])
            pack.write_bytes(data)
    place = tmp_path / "out" / "image"
    place.parent.mkdir()
    said = command("save", "-q", "--format", form, "-o", place, "known:1", "new:1")(home)
    assert_told(said, "damaged|verify|digest|checksum")
    assert not place.exists() or (form == "oci-dir" and not (place / "index.json").exists())
    assert home.leftovers() == []
    with home.open() as store:
        assert store.verify().problems
