"""Several files in one command: a bad one does not keep the others out."""

from __future__ import annotations

from pathlib import Path

from archive.builders import docker_20, tar

from test_bad_input.kit import NEW, OTHER, Home, assert_refused, command


def test_one_bad_file_among_good_ones(home: Home, tmp_path: Path) -> None:
    files = {"new.tar": tar(docker_20(NEW)), "bad.tar": tar(docker_20(NEW))[:3_000], "other.tar": tar(docker_20(OTHER)),
             "empty.tar": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in files]
    said = command("load", "-q", "-i", *paths, tmp_path / "none.tar")(home)
    assert said.code == 1
    assert said.out == b"Loaded image: new:1\nLoaded image: other:1\n"
    bad = [str(tmp_path / name) for name in ("bad.tar", "empty.tar", "none.tar")]
    assert [line.split(", ")[1] for line in said.lines[:3]] == bad
    assert said.lines[3] == f"lamina: error: 3 of 5 could not be loaded: {', '.join(bad)}"
    assert len(said.lines) == 4
    assert home.leftovers() == []
    home.before = None
    state = home.settle()
    assert state.problems == ()
    assert {row[0] for row in state.images} == {"known", "new", "other"}


def test_all_of_them_bad(home: Home, tmp_path: Path) -> None:
    paths = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for path in paths:
        path.write_bytes(b"nothing of use")
    said = command("load", "-q", *paths)(home)
    assert said.code == 1
    assert len(said.lines) == 3
    assert home.settle() == home.before


def test_a_store_that_cannot_be_used_ends_it_at_once(home: Home, tmp_path: Path) -> None:
    """The other files would fare no better: one line, not one for each."""
    place = home.path / "format"
    text = place.read_text()
    place.write_text(text.replace("version 2", "version 9"))
    said = command("load", "-q", tmp_path / "a.tar", tmp_path / "b.tar")(home)
    assert said.code == 1
    assert len(said.lines) == 1
    assert "newer" in said.lines[0]
    place.write_text(text)
    wrong = command("load", "-q", "--compression", "lzma", tmp_path / "a.tar", tmp_path / "b.tar")
    assert_refused(home, wrong, "lzma", code=125)
