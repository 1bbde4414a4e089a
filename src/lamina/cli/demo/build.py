"""Three related images as docker-archives, in the shape that `docker save` has: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.cli.demo.files import File, library, packages

CHANGE_EVERY, REMOVE_EVERY, ADD_EVERY = 25, 40, 60
_CREATED = "2024-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's tar: where it lies, its digest and size in bytes, and what it holds in a few words."""

    path: Path
    digest: str
    size: int
    what: str


@dataclass(frozen=True, slots=True)
class DemoImage:
    """An image's name, its layers and the bytes of its config."""

    name: str
    layers: tuple[Layer, ...]
    config: bytes

    @property
    def config_digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.config).hexdigest()


def build(folder: Path) -> list[DemoImage]:
    """The base and its two children; their layers' tars are written into the folder."""
    base = _layer(folder, "library", "the standard library", library())
    tools = _layer(folder, "packages", "installed packages", packages())
    changes = _layer(folder, "changes", "library: some changed, added, removed", _changed(library()))
    upgrade = _layer(folder, "upgrade", "packages: one file in 25 changed", _upgraded(packages()))
    return [
        _image("demo/base:1", base),
        _image("demo/app:1", base, tools),
        _image("demo/app:2", base, changes, upgrade),
    ]


def write_archive(image: DemoImage, path: Path) -> None:
    """`<digest>/layer.tar` for each layer, the config, and manifest.json last, as docker has it."""
    names = [f"{layer.digest.partition(':')[2]}/layer.tar" for layer in image.layers]
    config_name = image.config_digest.partition(":")[2] + ".json"
    manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": names}]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for layer, name in zip(image.layers, names, strict=True):
            with layer.path.open("rb") as data:
                archive.addfile(_member(name, layer.size), data)
        for name, text in ((config_name, image.config), ("manifest.json", json.dumps(manifest).encode())):
            archive.addfile(_member(name, len(text)), io.BytesIO(text))


def _layer(folder: Path, name: str, what: str, files: Iterable[File]) -> Layer:
    path = folder / f"{name}.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for file in files:
            member = _member(file.path, len(file.data))
            member.mode, member.mtime = file.mode, file.mtime
            archive.addfile(member, io.BytesIO(file.data))
    with path.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    return Layer(path, f"sha256:{digest}", path.stat().st_size, what)


def _changed(files: Iterable[File]) -> Iterator[File]:
    """What a child does to files below it: every so many are changed, removed (by a whiteout) or copied."""
    for number, file in enumerate(files, 1):
        folder, _, name = file.path.rpartition("/")
        if number % CHANGE_EVERY == 0:
            yield _edited(file)
        if number % REMOVE_EVERY == 0:
            yield File(f"{folder}/.wh.{name}", b"", 0o644, file.mtime)
        if number % ADD_EVERY == 0:
            yield replace(file, path=f"{folder}/added-{name}")


def _upgraded(files: Iterable[File]) -> Iterator[File]:
    for number, file in enumerate(files, 1):
        yield _edited(file) if number % CHANGE_EVERY == 0 else file


def _edited(file: File) -> File:
    """The same file with a line put into its middle: what lies before and behind stays as it was."""
    middle = len(file.data) // 2
    return replace(file, data=file.data[:middle] + b"\n# changed by the demo\n" + file.data[middle:], mtime=file.mtime + 60)


def _image(name: str, *layers: Layer) -> DemoImage:
    config = {
        "architecture": "amd64", "os": "linux", "created": _CREATED, "config": {"Cmd": ["python3"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created": _CREATED, "created_by": f"lamina demo: {layer.what}"} for layer in layers],
    }
    return DemoImage(name, layers, json.dumps(config, separators=(",", ":")).encode())


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
