"""R8: parts of a store are lost, or cannot be written to.  What is whole comes back.

What is read-only is mounted so in a mount namespace of its own: `unshare` (util-linux) as root, or where user namespaces are
allowed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from reliability.losses import IMAGES, copy, fill, name, packs, saved, seen
from store.storekit import flip

import lamina
from lamina.errors import LaminaError

Tally = Callable[..., None]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A store, its archives, and all that is to be seen of it."""
    folder = tmp_path_factory.mktemp("r8")
    archives = fill(folder / "store", folder / "archives")
    with lamina.open(folder / "store") as store:
        return SimpleNamespace(path=folder / "store", archives=archives, whole=seen(store), folder=folder)


@pytest.fixture
def path(filled: SimpleNamespace, tmp_path: Path) -> Iterator[Path]:
    yield copy(filled.path, tmp_path / "store")


def drop_catalog(path: Path) -> None:
    for file in (path / "state").glob("catalog.sqlite*"):
        file.unlink()


def damage_catalog(path: Path) -> None:
    (path / "state" / "catalog.sqlite").write_bytes(b"no database at all" * 1000)


def drop_index(path: Path) -> None:
    shutil.rmtree(path / "state" / "index")


def damage_index(path: Path) -> None:
    for file in (path / "state" / "index").glob("*.idx"):
        flip(file, file.stat().st_size // 2)


def drop_state(path: Path) -> None:
    shutil.rmtree(path / "state")


def drop_tmp(path: Path) -> None:
    shutil.rmtree(path / "tmp")


def drop_format(path: Path) -> None:
    (path / "format").unlink()


def drop_all_but_packs(path: Path) -> None:
    drop_state(path)
    drop_tmp(path)
    drop_format(path)


DERIVED = [drop_catalog, damage_catalog, drop_index, damage_index, drop_state, drop_format, drop_all_but_packs]


@pytest.mark.parametrize("lose", DERIVED)
def test_all_comes_back_of_packs_alone(filled: SimpleNamespace, path: Path, lose: Callable[[Path], None], tally: Tally) -> None:
    lose(path)
    with lamina.open(path) as store:
        assert bool(store.blobs.notes) == (lose not in (drop_index, damage_index))
        assert seen(store) == filled.whole
        assert not store.verify().problems
        result = store.repair()
        assert not (result.packs or result.catalog or result.lost), result
    tally(f"R8 {lose.__name__.replace('_', ' ')}", images=IMAGES, lost=0)


@pytest.mark.parametrize("first", ["verify", "gc", "repair"])
def test_the_log_of_the_catalog(filled: SimpleNamespace, tmp_path: Path, first: str, tally: Tally) -> None:
    """Without SQLite's log the catalog is what it was some commits ago; the packs of those are not a dead writer's.

    Who comes first can tell: later its numbers catch up with those that were lost.
    """
    path = tmp_path / "store"
    with lamina.open(path) as store:
        store.load(filled.archives[0])
    before = (path / "state" / "catalog.sqlite").read_bytes()
    with lamina.open(path) as store:
        store.load(filled.archives[1])
    (path / "state" / "catalog.sqlite").write_bytes(before)
    with lamina.open(path) as store:
        assert len(store.images()) == 1
        if first == "verify":
            assert any("lost commits" in problem.what for problem in store.verify().problems)
        elif first == "gc":
            with pytest.raises(LaminaError, match="lamina repair"):
                store.gc(max_unused=0)
        else:
            assert store.repair(dry_run=True).catalog
            assert "lost commits" in store.repair().catalog
            assert len(store.images()) == 2
    assert len(packs(path)) >= 2
    tally(f"R8 the log of the catalog, {first}", images=2, lost=0)


@pytest.mark.parametrize("catalog", [True, False], ids=["catalog", "no-catalog"])
@pytest.mark.parametrize("how", ["gone", "cut", "footer", "torn"])
def test_a_pack(filled: SimpleNamespace, path: Path, how: str, catalog: bool, tally: Tally) -> None:
    """Each pack in turn: images that do not need it are given back at once, the others with a source."""
    damage = {
        "gone": lambda data: b"",
        "cut": lambda data: data[: len(data) * 2 // 3],
        "footer": lambda data: data[:-96],
        "torn": lambda data: data[: len(data) // 3] + data[len(data) // 3 + 5000 :],
    }[how]
    lost = back = 0
    for number, file in enumerate(packs(path)):
        store_path = copy(filled.path, path.parent / f"store{number}")
        broken = store_path / file.relative_to(path)
        data = broken.read_bytes()
        broken.unlink()
        if how != "gone":
            broken.write_bytes(damage(data))
        if not catalog:
            drop_catalog(store_path)
        with lamina.open(store_path) as store:
            result = store.repair()
            given = saved(store)
            failing = {each for each, one in given.items() if isinstance(one, str)}
            assert set(result.lost) <= failing
            if not (how == "gone" and not catalog):
                assert failing == set(result.lost)
            assert all(given[each] == filled.whole[2][each] for each in given if each not in failing)
            if how == "footer":
                assert not failing
            lost += len(failing)
            result = store.repair(filled.archives)
            if how == "gone" and not catalog:  # the names are lost with it: only a load knows them
                store.load(filled.archives[0])
                for archive in filled.archives[1:]:
                    store.load(archive)
            assert not result.lost, result
            assert saved(store) == filled.whole[2]
            assert not store.verify().problems
            back += len(failing)
        shutil.rmtree(store_path)
    tally(f"R8 pack {how}, {'catalog there' if catalog else 'catalog lost'}", packs=len(packs(path)),
          images_that_lacked_something=lost, restored=back)


# -- read-only

SCRIPT = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from lamina.cli.run import run
found = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words)
    found[words[2]] = code, out.getvalue(), err.getvalue()
print(json.dumps(found))
"""


def in_namespace(mounts: list[Path], commands: list[list[str]]) -> dict[str, tuple[int, str, str]]:
    """What commands come to where these directories are mounted read-only."""
    import json

    binds = "".join(f"mount --bind '{place}' '{place}' && mount -o remount,bind,ro '{place}' && " for place in mounts)
    program = f"{binds}exec '{sys.executable}' -c \"$0\" \"$1\""
    unshare = ["unshare", "-m" if os.geteuid() == 0 else "-rm"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare (util-linux) and the right to make mount namespaces: run as root, or allow user namespaces")
    ran = subprocess.run([*unshare, "sh", "-c", program, SCRIPT, json.dumps(commands)], check=False, capture_output=True,
                         text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ran.returncode == 0, ran.stderr
    found: dict[str, tuple[int, str, str]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("log", [False, True], ids=["settled", "log"])
@pytest.mark.parametrize("part", ["packs", "state", ""])
def test_read_only(filled: SimpleNamespace, path: Path, part: str, log: bool, tmp_path: Path, tally: Tally) -> None:
    """What reads works; what writes ends in one line that says so."""
    if log:  # the catalog as it is while another process has it open, or after that was killed
        with lamina.open(path) as store:
            store.tag(name(0), "another")  # only the log has it
            shutil.copytree(path, tmp_path / "open")
        path = tmp_path / "open"
        for file in (path / "state").glob("*-shm"):
            file.unlink()
    for number in range(256):  # a new pack may meet a folder, or miss one
        (path / "packs" / f"{number:02x}").mkdir(exist_ok=True)
    out = tmp_path / "out.tar"
    words = ["--store", str(path)]
    commands = [[*words, "images", "-q"], [*words, "inspect", "another" if log else name(0)],
                [*words, "save", "-o", str(out), name(0)],
                [*words, "history", name(0)], [*words, "verify"], [*words, "info"], [*words, "load", "-q", filled.archives[1]],
                [*words, "tag", name(0), "other"], [*words, "repair", "-q"]]
    found = in_namespace([path / part], commands)
    for command in ("images", "inspect", "save", "history", "verify", "info"):
        assert found[command][0] == 0, (command, found[command])
    assert out.read_bytes() == filled.whole[2][name(0)]
    writing = ["tag", "load"] if part != "packs" else ["tag"]
    for command in writing:
        code, _, err = found[command]
        assert code == 1 and err.startswith("lamina: error: ") and err.count("\n") == 1 and "read-only" in err.lower(), found
    with lamina.open(path) as store:
        assert not store.verify().problems
        assert store.blobs.catalog.ref("docker.io/library/other:latest") is None
    tally(f"R8 read-only {part or 'store'}{', with a log' if log else ''}", commands=len(commands), that_read_work=6)


def test_a_lost_catalog_of_a_read_only_store(path: Path) -> None:
    """It cannot be made anew: one clear line."""
    drop_catalog(path)
    code, _, err = in_namespace([path], [["--store", str(path), "images"]])["images"]
    assert code == 1 and err.count("\n") == 1 and "ead-only" in err


def test_nothing_is_given_up_that_cannot_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that the disk does not let us open is no damaged pack."""
    from lamina.errors import StorageError
    from lamina.storage.local import LocalBackend

    real, refused = LocalBackend.open, packs(path)[0].name

    def refuse(self: LocalBackend, pack: str) -> object:
        if pack.endswith(refused):
            raise StorageError("cannot open a file: no permission", pack)
        return real(self, pack)

    with lamina.open(path) as store:
        before = sorted(packs(path))
        monkeypatch.setattr(LocalBackend, "open", refuse)
        with pytest.raises(LaminaError, match="no permission"):
            store.repair()
        monkeypatch.undo()
        assert sorted(packs(path)) == before
        assert not store.verify().problems
