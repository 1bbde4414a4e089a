"""A small store and its archives, copies of it that share their packs, and what its images give back."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

from images.archives import Built, docker_archive, oci_archive, tar_of
from store.storekit import noise, words

import lamina
from lamina.errors import LaminaError
from lamina.images import ImageStore
from lamina.images.listing import ImageSummary

IMAGES = 5


def image(number: int) -> Built:
    """An image of a layer that all share, one that shares a file with it, and one of its own."""
    base = tar_of({"base": noise(1, 90_000), "words": words(1, 60_000), "tiny": b"1"})
    mixed = tar_of({"words": words(1, 60_000), f"more{number % 2}": words(2 + number % 2, 40_000)})
    return Built(base, mixed, tar_of({f"own{number}": noise(10 + number, 30_000), f"text{number}": words(number, 30_000)}))


def name(number: int) -> str:
    return f"image{number}:latest"


def fill(path: Path, archives: Path) -> list[str]:
    """The store, and the archives that it was filled from, docker's and OCI's; their paths.  One has raw frames."""
    archives.mkdir()
    found = []
    with lamina.open(path) as store:
        for number in range(IMAGES):
            built = image(number)
            data = oci_archive(built, name=f"docker.io/library/{name(number)}", index=number == 1) if number % 2 else \
                docker_archive((built, [name(number)]))
            file = archives / f"{number}.tar"
            file.write_bytes(data.getvalue())
            store.load(file, compression="none" if number == 2 else "zstd:1")
            found.append(str(file))
        store.load(archives / "0.tar")
        index = store.blobs.new_index()
        index.flush(force=True)
        index.close()
    return found


def copy(store: Path, target: Path) -> Path:
    """A copy whose packs are hard links."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(store, target, ignore=lambda folder, names: ["leases"] if folder.endswith("state") else [],
                    copy_function=_copied)
    return target


def _copied(source: str, target: str) -> None:
    if f"{os.sep}packs{os.sep}" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def own(file: Path) -> None:
    """Let a file that is linked be one of its own, so that it can be damaged."""
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)


def packs(path: Path) -> list[Path]:
    """Its pack files."""
    return sorted(file for file in (path / "packs").rglob("*") if file.is_file())


def saved(store: ImageStore) -> dict[str, bytes | str]:
    """Every image as `save` writes it, or the error."""
    found: dict[str, bytes | str] = {}
    for number in range(IMAGES):
        out = io.BytesIO()
        try:
            store.save([name(number)], out, format="oci-archive" if number % 2 else "docker-archive")
        except LaminaError as error:
            found[name(number)] = str(error)
        else:
            found[name(number)] = out.getvalue()
    return found


def touched(given: dict[str, bytes | str]) -> set[str]:
    """The images that were not given back.  (Who has lost a table of entries is given back all the same.)"""
    return {each for each, data in given.items() if isinstance(data, str)}


def seen(store: ImageStore) -> tuple[list[ImageSummary], list[object], dict[str, bytes | str]]:
    """All that a user can see of the images."""
    listed = store.images(all=True)
    return listed, list(store.inspect([name(number) for number in range(IMAGES)])), saved(store)
