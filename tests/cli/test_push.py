"""`lamina push`: docker's words around what the image store does, and events for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from images.archives import Built, docker_archive, layer
from images.pushkit import network
from registry.fake import Fake

import lamina
from lamina.cli.run import run
from lamina.cli.settings import Settings
from lamina.errors import NotFound
from lamina.images.push import Pushing, PushResult

from .stub import DIGEST, invoke

DONE = PushResult("docker.io/library/app:latest", "app:latest", "latest", DIGEST, "media", 528, sent=100,
                  referrers=("sha256:r",))
FAILED = PushResult("docker.io/library/no:1", "no:1", "1", error=NotFound("tag does not exist: no:1"))


def pushing(*results: PushResult) -> Any:
    def push(words: Sequence[str], *, listener: Any, **_: object) -> list[PushResult]:
        listener(Pushing("docker.io/library/app", "latest"))
        listener.relay.start("sha256:layer", "layer", 10)
        listener.relay.done("sha256:layer", "pushed")
        for result in results:
            listener(result)
        return list(results)
    return push


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, results: Sequence[PushResult] = (DONE,)) -> Any:
    return invoke(capsys, "push", *arguments, push=pushing(*results))


def test_docker_words(capsys: pytest.CaptureFixture[str]) -> None:
    told = ran(capsys, "app")
    assert told.code == 0
    assert told.out.splitlines() == [
        "Using default tag: latest", "The push refers to repository [docker.io/library/app]", "Referrer: sha256:r",
        f"latest: digest: {DIGEST} size: 528"]
    assert "Pushed" in told.err


def test_quiet_says_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    told = ran(capsys, "-q", "app")
    assert (told.out, told.err) == ("docker.io/library/app:latest\n", "")


def test_events(capsys: pytest.CaptureFixture[str]) -> None:
    told = ran(capsys, "--format", "json", "app", "no:1", results=(DONE, FAILED))
    events = [json.loads(line) for line in told.out.splitlines()]
    assert told.code == 1
    assert [event["event"] for event in events] == ["start", "done", "result", "error"]
    assert events[2] == {"event": "result", "id": DONE.name, "status": "pushed", "digest": DIGEST, "media_type": "media",
                         "size": 528, "sent": 100, "referrers": ["sha256:r"]}
    assert events[3]["what"] == "tag does not exist: no:1" and events[3]["id"] == FAILED.name


def test_one_that_fails_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    told = ran(capsys, "no:1", "app", results=(FAILED, DONE))
    assert told.code == 1 and "lamina: error: tag does not exist: no:1\n" in told.err
    assert f"latest: digest: {DIGEST} size: 528" in told.out


def test_options_are_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    told = ran(capsys, "-a", "--compression", "zstd:3", "--platform", "linux/arm64", "-r", "-f", "app", "other")
    (_, (words,), options), = told.store.calls
    options.pop("listener")
    assert words == ("app", "other") and options == {
        "all_tags": True, "compression": "zstd:3", "platform": "linux/arm64", "referrers": True, "force": True, "network": None}


def test_from_a_store_to_a_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = Built(layer(a="a" * 5000))
    with Fake() as fake, network() as net:
        name = f"{fake.server.host}/app"
        with lamina.open(tmp_path) as store:
            store.load(docker_archive((image, [f"{name}:latest"])))
        settings = Settings(lambda _: lamina.open(tmp_path), net)
        assert run(["push", name], settings) == 0
        digest, size = fake.repositories["app"].tags["latest"], len(next(iter(fake.repositories["app"].manifests.values()))[1])
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f"latest: digest: {digest} size: {size}"
        assert "Pushed" in err
        assert run(["push", name], settings) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f"latest: digest: {digest} size: {size}" and "Layer already exists" in err
        assert run(["push", name, f"{name}@{digest}"], settings) == 125
        assert capsys.readouterr().err.startswith("lamina: error: cannot push a digest reference, ")
        assert run(["push", "--compression", "brotli", name], settings) == 125
        assert "unknown compression 'brotli'" in capsys.readouterr().err
        assert run(["push", f"{fake.server.host}/none"], settings) == 1
        assert "An image does not exist locally with the tag" in capsys.readouterr().err
