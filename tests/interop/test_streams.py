"""Archives through pipes, compressed as a whole, of several images, and by other programs than docker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interop.contents import Packed, docker_images
from interop.daemons import Docker, Podman
from interop.programs import Lamina, piped, run
from interop.samples import APP, COMMITTED, GONE, SAME

pytestmark = pytest.mark.interop


def by_config(images: list[Packed]) -> dict[str, Packed]:
    return {image.config: image for image in images}


@pytest.mark.parametrize("compressor", [[], ["gzip", "-1"], ["zstd", "-q"], ["xz", "-0"], ["bzip2", "-1"]],
                         ids=lambda words: words[0] if words else "plain")
def test_docker_save_into_load(engine: Docker, saved: Callable[..., Path], lamina: Lamina, tmp_path: Path,
                               compressor: list[str]) -> None:
    commands = [["docker", "save", APP], compressor, [*lamina.words, "load", "-q"]]
    assert piped(*filter(None, commands), env=engine.env) == f"Loaded image: {APP}\n"
    assert docker_images(lamina.save(tmp_path / "again.tar", APP)) == docker_images(saved(APP))


def test_save_into_docker_load(saved: Callable[..., Path], lamina: Lamina, fresh_engine: Docker) -> None:
    lamina.load(saved(APP))
    fresh_engine.clear()
    piped([*lamina.words, "save", APP], ["docker", "load", "-q"], env=fresh_engine.env)
    assert fresh_engine.id(APP) == docker_images(saved(APP))[0].config


def test_several_images_of_docker(saved: Callable[..., Path], lamina: Lamina, fresh_engine: Docker, tmp_path: Path) -> None:
    names = [APP, GONE, SAME, COMMITTED]
    original = saved(*names)
    assert sorted(lamina.load(original).splitlines()) == sorted(f"Loaded image: {name}" for name in names)
    again = lamina.save(tmp_path / "again.tar", *names)
    assert by_config(docker_images(again)) == by_config(docker_images(original))  # docker's order is a hash table's
    fresh_engine.clear()
    fresh_engine.load(again)
    assert sorted(map(fresh_engine.id, names)) == sorted(by_config(docker_images(original)))


def written_by_skopeo(archive: Path, podman: Podman, out: Path) -> None:
    run("skopeo", "copy", f"docker-archive:{archive}", f"docker-archive:{out}:{APP}")


def written_by_podman(archive: Path, podman: Podman, out: Path) -> None:
    podman.load(archive)
    podman("save", "-q", "-o", out, APP)


def written_by_buildah(archive: Path, podman: Podman, out: Path) -> None:
    podman.load(archive)
    run("buildah", *podman.storage, "push", "-q", APP, f"docker-archive:{out}:{APP}")


@pytest.mark.parametrize("write", [written_by_skopeo, written_by_podman, written_by_buildah], ids=lambda one: one.__name__)
def test_docker_archives_of_others(saved: Callable[..., Path], lamina: Lamina, podman: Podman, fresh_engine: Docker,
                                   tmp_path: Path, write: Callable[[Path, Podman, Path], None]) -> None:
    original = tmp_path / "original.tar"
    try:
        write(saved(APP), podman, original)
    finally:
        podman.clear()
    [image] = docker_images(original)
    assert lamina.load(original) == f"Loaded image: {APP}\n"
    again = lamina.save(tmp_path / "again.tar", APP)
    assert docker_images(again) == [image]
    fresh_engine.clear()
    fresh_engine.load(again)
    assert fresh_engine.id(APP) == image.config


def test_several_images_of_podman(saved: Callable[..., Path], lamina: Lamina, podman: Podman, tmp_path: Path) -> None:
    original = tmp_path / "original.tar"
    for name in (APP, GONE):
        podman.load(saved(name))
    podman("save", "-q", "-m", "-o", original, APP, GONE)
    podman.clear()
    lamina.load(original)
    again = lamina.save(tmp_path / "again.tar", APP, GONE)
    assert by_config(docker_images(again)) == by_config(docker_images(original))
    podman.load(again)
    try:
        assert sorted([podman.id(APP), podman.id(GONE)]) == sorted(by_config(docker_images(original)))
    finally:
        podman.clear()
