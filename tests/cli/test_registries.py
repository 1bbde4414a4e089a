"""pull, copy, mirror, tags, manifest: how they call what is below, what they print, their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from images.remotes import AMD64, FakeNetwork

from cli.stub import DIGEST, ID, Ran, StubStore, invoke
from lamina.cli.run import run
from lamina.cli.settings import Settings, open_store
from lamina.errors import NotFound, RegistryUnavailable
from lamina.images.mirror import Mirrored
from lamina.images.mirrorfile import parse_mirror
from lamina.images.pull import Pulling, PullResult
from lamina.oci import Platform

Capture = pytest.CaptureFixture[str]
APP = PullResult("docker.io/library/app:latest", "app:latest", DIGEST, ID, True)


def pulling(*events: Pulling | PullResult) -> Any:
    """The answer of `pull`: its listener hears these."""
    def pull(words: list[str], *, listener: Any, **_: object) -> list[PullResult]:
        for event in events:
            listener(event)
        return [event for event in events if isinstance(event, PullResult)]
    return pull


def called(ran: Ran) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    name, arguments, options = ran.store.calls[0]
    return name, arguments, {key: value for key, value in options.items() if key not in ("listener", "network")}


# -- pull


@pytest.mark.parametrize("words", [["pull"], ["image", "pull"]])
def test_pull(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, "app", "--platform", "linux/arm64", "-r", "--compression", "none",
                 pull=pulling(Pulling("latest", "library/app", True), APP))
    assert (ran.code, ran.out) == (0, "Using default tag: latest\nlatest: Pulling from library/app\n"
                                      f"Digest: {DIGEST}\nStatus: Downloaded newer image for app:latest\n"
                                      "docker.io/library/app:latest\n")
    assert called(ran) == ("pull", (("app",),), {"all_tags": False, "platform": "linux/arm64", "compression": "none",
                                                 "referrers": True})


def test_pull_of_what_is_up_to_date(capsys: Capture) -> None:
    result = PullResult("r.test/app:1", "r.test/app:1", DIGEST, ID, False, (ID,), ("something is missing",))
    ran = invoke(capsys, "pull", "r.test/app:1", pull=pulling(Pulling("1", "app"), result))
    assert ran.out == (f"1: Pulling from app\nDigest: {DIGEST}\nReferrer: {ID}\n"
                       "Status: Image is up to date for r.test/app:1\nr.test/app:1\n")
    assert ran.err == "lamina: warning: something is missing\n"


def test_pull_quietly(capsys: Capture) -> None:
    ran = invoke(capsys, "pull", "-q", "app", pull=pulling(Pulling("latest", "library/app", True), APP))
    assert (ran.out, ran.err) == ("docker.io/library/app:latest\n", "")


def test_pull_of_all_tags(capsys: Capture) -> None:
    results = [PullResult(f"docker.io/library/app:{tag}", f"app:{tag}", DIGEST, ID, tag == "2") for tag in ("1", "2")]
    events = [event for result in results for event in (Pulling(result.name[-1], "library/app"), result)]
    ran = invoke(capsys, "pull", "-a", "app", pull=pulling(*events))
    assert ran.out == (f"1: Pulling from library/app\nDigest: {DIGEST}\n2: Pulling from library/app\nDigest: {DIGEST}\n"
                       "Status: Downloaded newer image for app\ndocker.io/library/app\n")
    assert invoke(capsys, "pull", "-aq", "app", pull=pulling(*events)).out == "docker.io/library/app\n"


def test_pull_goes_on_and_fails_at_the_end(capsys: Capture) -> None:
    bad = PullResult("docker.io/library/bad:1", "bad:1", error=NotFound("manifest unknown", "bad:1"))
    ran = invoke(capsys, "pull", "bad:1", "app", pull=pulling(Pulling("1", "library/bad"), bad, APP))
    assert (ran.code, ran.err) == (1, "lamina: error: manifest unknown, bad:1\n")
    assert ran.out.endswith("docker.io/library/app:latest\n")


def test_pull_for_programs(capsys: Capture) -> None:
    bad = PullResult("docker.io/library/bad:1", "bad:1", error=NotFound("manifest unknown", "bad:1"))
    ran = invoke(capsys, "pull", "--format", "json", "bad:1", "app", pull=pulling(Pulling("1", "library/bad", True), bad, APP))
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"event": "error", "id": "docker.io/library/bad:1", "what": "manifest unknown", "where": "bad:1", "hint": ""},
        {"event": "result", "id": "docker.io/library/app:latest", "status": "pulled", "digest": DIGEST, "image_id": ID,
         "referrers": []}]


def test_pull_of_nothing(capsys: Capture) -> None:
    assert invoke(capsys, "pull").code == 125


# -- copy


def test_copy(capsys: Capture) -> None:
    copied = SimpleNamespace(source="store:app", destination="docker://r.test/app:1", digest=DIGEST, pushed=3, skipped=1,
                             referrers=(ID,), warnings=("something\nis missing",))
    ran = invoke(capsys, "copy", "app", "docker://r.test/app:1", "--platform", "linux/arm64", "-r", copy=copied)
    assert (ran.code, ran.out) == (0, f"{DIGEST}\n")
    assert ran.err == f"lamina: warning: something\\nis missing\nReferrer: {ID}\n"
    assert called(ran) == ("copy", ("app", "docker://r.test/app:1"),
                           {"platform": "linux/arm64", "referrers": True, "compression": "zstd:1"})
    ran = invoke(capsys, "copy", "--all", "-q", "app", "docker://r.test/app:1", copy=copied)
    assert (called(ran)[2]["platform"], ran.out) == (None, f"{DIGEST}\n")


def test_copy_of_all_and_one(capsys: Capture) -> None:
    ran = invoke(capsys, "copy", "--all", "--platform", "linux/arm64", "a", "b")
    assert (ran.code, ran.store.calls) == (125, [])


def test_copy_fails(capsys: Capture) -> None:
    ran = invoke(capsys, "copy", "a", "b", copy=RegistryUnavailable("no answer", "r.test", "try again"))
    assert (ran.code, ran.out, ran.err) == (1, "", "lamina: error: no answer, r.test, try again\n")


# -- mirror


def mirroring(*results: Mirrored) -> Any:
    def mirror(file: str, *, listener: Any, **_: object) -> list[Mirrored]:
        for entry, result in zip(parse_mirror("- from: app\n" * len(results), file), results, strict=True):
            listener(entry)
            listener(result)
        return list(results)
    return mirror


GOOD = Mirrored("app", "store:app", ["1", "2"], ["3"], removed=["4"])
BAD = Mirrored("app", "r.test/app", failed={"1": NotFound("a blob is missing", "x")}, warnings=["look"])


def test_mirror(capsys: Capture) -> None:
    none = Mirrored("b", "c", error=NotFound("no tag matches", "b"))
    ran = invoke(capsys, "mirror", "m.yaml", mirror=mirroring(GOOD, BAD, none))
    assert ran.code == 1
    assert [line.split() for line in ran.out.splitlines()] == [
        ["FROM", "TO", "COPIED", "UP", "TO", "DATE", "SKIPPED", "REMOVED", "FAILED", "STATUS"],
        ["app", "store:app", "2", "1", "0", "1", "0", "changed"],
        ["app", "r.test/app", "0", "0", "0", "0", "1", "failed"], ["b", "c", "0", "0", "0", "0", "0", "failed"]]
    assert ran.err == ("app to store:app\napp to store:app\nlamina: warning: look\nlamina: error: a blob is missing, x\n"
                       "app to store:app\nlamina: error: no tag matches, b\n")
    assert called(ran) == ("mirror", ("m.yaml",), {"dry_run": False, "compression": "zstd:1"})


def test_mirror_tells_what_it_would_do(capsys: Capture) -> None:
    ran = invoke(capsys, "mirror", "--dry-run", "m.yaml", mirror=mirroring(GOOD))
    assert ran.code == 0
    assert ran.out.splitlines()[2:] == ["would copy store:app:1", "would copy store:app:2", "would remove store:app:4"]
    assert ran.store.calls[0][2]["dry_run"] is True


def test_mirror_for_programs(capsys: Capture) -> None:
    ran = invoke(capsys, "mirror", "--format", "json", "-q", "m.yaml", mirror=mirroring(GOOD))
    assert json.loads(ran.out) == {"event": "result", "id": "store:app", "status": "changed", "source": "app",
                                   "copied": ["1", "2"], "current": ["3"], "skipped": [], "removed": ["4"], "failed": []}


# -- without a store


@pytest.fixture
def network() -> FakeNetwork:
    network = FakeNetwork()
    network["r.test/app"].index("1", "latest")
    network["r.test/app"].image("two")
    return network


def look(capsys: Capture, network: FakeNetwork, *arguments: str) -> Ran:
    def never(_: Path | None) -> None:
        raise AssertionError("a store was opened")

    code = run(arguments, Settings(never, network))
    return Ran(code, *capsys.readouterr(), StubStore(), None)


def test_tags(capsys: Capture, network: FakeNetwork) -> None:
    assert look(capsys, network, "tags", "r.test/app").out == "1\nlatest\ntwo\n"
    ran = look(capsys, network, "tags", "--format", "json", "r.test/app")
    assert json.loads(ran.out.splitlines()[0]) == {"Repository": "r.test/app", "Tag": "1"}
    assert look(capsys, network, "tags", "--format", "{{.Tag}}!", "r.test/app").out == "1!\nlatest!\ntwo!\n"


@pytest.mark.parametrize(("name", "code", "err"), [
    ("r.test/none", 1, "lamina: error: no such repository, or it has no tags, r.test/none\n"),
    ("r.test/app:1", 125, "lamina: error: a repository is named without tag or digest, r.test/app:1\n"),
    ("No/Good", 1, "lamina: error: invalid reference format: repository name must be lowercase, No/Good\n"),
])
def test_tags_of_what_is_none(capsys: Capture, network: FakeNetwork, name: str, code: int, err: str) -> None:
    ran = look(capsys, network, "tags", name)
    assert (ran.code, ran.out, ran.err) == (code, "", err)


def test_manifest_inspect(capsys: Capture, network: FakeNetwork) -> None:
    remote = network["r.test/app"]
    descriptor, data = remote.manifest("1")
    ran = look(capsys, network, "manifest", "inspect", "r.test/app:1")
    assert ran.out.startswith('{\n\t"schemaVersion": 2,\n')
    assert json.loads(ran.out) == json.loads(data)
    assert look(capsys, network, "manifest", "inspect", f"r.test/app@{descriptor.digest}").out == ran.out
    assert look(capsys, network, "manifest", "inspect", "r.test/app").out == ran.out


def test_manifest_inspect_raw(capfdbinary: pytest.CaptureFixture[bytes], network: FakeNetwork) -> None:
    _, data = network["r.test/app"].manifest("1")
    assert run(["manifest", "inspect", "--raw", "r.test/app:1"], Settings(open_store, network)) == 0
    assert capfdbinary.readouterr().out == data


def test_manifest_inspect_in_words(capsys: Capture, network: FakeNetwork) -> None:
    descriptor, data = network["r.test/app"].manifest("two")
    ran = look(capsys, network, "manifest", "inspect", "-v", "r.test/app:two")
    assert json.loads(ran.out) == {"Ref": "r.test/app:two", "Descriptor": descriptor.to_json(), "OCIManifest": json.loads(data)}
    several = json.loads(look(capsys, network, "manifest", "inspect", "-v", "r.test/app:1").out)
    assert [Platform.from_json(one["Descriptor"]["platform"]) for one in several] == [AMD64, Platform("linux", "arm64")]
    assert several[0]["Ref"] == f"r.test/app:1@{several[0]['Descriptor']['digest']}"


def test_manifest_inspect_of_what_is_not_there(capsys: Capture, network: FakeNetwork) -> None:
    ran = look(capsys, network, "manifest", "inspect", "r.test/app:9")
    assert (ran.code, ran.out) == (1, "")
    assert look(capsys, network, "manifest", "inspect", "--raw", "-v", "r.test/app:1").code == 125
