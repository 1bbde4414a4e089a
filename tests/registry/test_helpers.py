"""Docker's credential helpers, kind and unkind."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lamina.errors import LaminaError
from lamina.registry.helpers import MAX_OUTPUT, Helper, HelperFailed
from registry.helperkit import calls, helper, keeper

SECRET = "s3cr3t-of-the-helper"


def test_store_get_erase(tmp_path: Path) -> None:
    one = Helper("keeper", keeper(tmp_path))
    assert one.get("reg.example") is None
    one.store("reg.example", "me", "a\"b\\c é\n")
    assert one.get("reg.example") == ("me", "a\"b\\c é\n")
    assert one.get("other.example") is None
    assert one.erase("reg.example")
    assert not one.erase("reg.example")
    assert one.get("reg.example") is None
    assert calls(tmp_path)[0] == "get reg.example"


@pytest.mark.parametrize("answer", ['{"Username": "me", "Secret": ""}', "{}"])
def test_an_empty_secret_is_none(tmp_path: Path, answer: str) -> None:
    assert Helper("x", helper(tmp_path, "x", f"echo '{answer}'")).get("h") is None


@pytest.mark.parametrize("name", ["", "../x", "/bin/x", "a/b", "a\0b", ".", "-x", "x y", "x\n", "ä", "x" * 65])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(HelperFailed, match="name makes no sense"):
        Helper(name, {})


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HelperFailed, match="docker-credential-x is not there"):
        Helper("x", {"PATH": str(tmp_path)}).get("h")


def test_one_that_cannot_be_run(tmp_path: Path) -> None:
    env = helper(tmp_path, "x", "")
    (tmp_path / "docker-credential-x").write_text("#!/nowhere/sh\n")
    with pytest.raises(HelperFailed, match="docker-credential-x cannot be run"):
        Helper("x", env).get("h")


UNKIND = [
    (f"echo {SECRET} >&2; echo {SECRET}; exit 1", "failed with exit status 1"),
    (f"echo {SECRET} >&2; kill -9 $$", "failed with exit status -9"),
    (f"echo '{SECRET}'", "makes no sense"),
    (f"""echo '{{"Secret": "{SECRET}", "Secret": "{SECRET}"}}'""", "makes no sense"),
    (f"""echo '{{"Secret": ["{SECRET}"]}}'""", "makes no sense"),
    (f"echo '[\"{SECRET}\"]'", "makes no sense"),
    ("printf '{\"Secret\": \"\\377\"}'", "makes no sense"),
    ("true", "makes no sense"),
    ("exec cat /dev/zero", f"wrote more than {MAX_OUTPUT >> 10} KiB"),
    (f"echo {SECRET}; exec sleep 1000", "did not end within 0.3 seconds"),
    ("exec sleep 1000 >&-", "did not end within 0.3 seconds"),
    ("sleep 1000 & exit 0", "did not end within 0.3 seconds"),
]


@pytest.mark.parametrize(("script", "words"), UNKIND)
def test_unkind_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], script: str,
                     words: str) -> None:
    caplog.set_level(logging.DEBUG)
    # Time enough for those that do end, which `sleep` does not.
    one = Helper("x", helper(tmp_path, "x", script), patience=0.3 if "sleep" in script else 60)
    with pytest.raises(LaminaError, match=words) as caught:
        one.get("reg.example")
    shown = "".join((str(caught.value), repr(caught.value), repr(caught.value.__cause__), caplog.text, *capfd.readouterr()))
    assert SECRET not in shown
    assert caught.value.__context__ is None or caught.value.__suppress_context__ or SECRET not in repr(caught.value.__context__)


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    env = helper(tmp_path, "x", f"echo $$ > {tmp_path}/pid; sleep 1000; true")
    with pytest.raises(HelperFailed, match="did not end"):
        Helper("x", env, patience=1.0).get("h")
    group = int((tmp_path / "pid").read_text())
    alive = [path for path in Path("/proc").glob("[0-9]*/stat") if _group(path) == group]
    assert alive == []


def _group(stat: Path) -> int:
    """The process group of a process that is not a zombie; 0 for one that has gone."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[2])


def test_what_it_does_not_read_does_not_block(tmp_path: Path) -> None:
    Helper("x", helper(tmp_path, "x", "exit 0")).store("h", "me", "x" * (1 << 20))


def test_a_failed_store_and_erase(tmp_path: Path) -> None:
    one = Helper("x", helper(tmp_path, "x", f"echo {SECRET}; exit 3"))
    for call in (lambda: one.store("h", "me", SECRET), lambda: one.erase("h")):
        with pytest.raises(HelperFailed, match="exit status 3") as caught:
            call()
        assert SECRET not in str(caught.value)


def test_nothing_stays_open(tmp_path: Path) -> None:
    one = Helper("keeper", keeper(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        one.get("h")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
