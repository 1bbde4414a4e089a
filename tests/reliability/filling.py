"""A tmpfs of 40 MB, filled by loads until there is no space left, emptied again, and so on: `python -m` FOLDER TIMES."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from images.archives import Built, docker_archive
from store.storekit import leftovers, live_packs, noise, pack_files, problems, tar_of

import lamina
from lamina.cli.run import run
from lamina.store import room

SIZE = "40m"
SIZES = (4_000_000, 1_000_000, 200_000, 20_000, 1000)  # bytes of images: smaller ones when larger ones do not fit any more


def built(number: int, size: int) -> Built:
    return Built(tar_of({f"file{number}": noise(number, size)}))


def command(store: Path, *words: str) -> tuple[int, str]:
    """Its exit code and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run(["--store", str(store), *words])
    return code, said.getvalue()


def fill(store: Path, archive: Path, number: int) -> dict[str, Built]:
    """Load images until not even the smallest fits."""
    loaded = {}
    for size in SIZES:
        while True:
            number += 1
            image = built(number, size)
            archive.write_bytes(docker_archive((image, [f"i{number}:1"])).getvalue())
            code, said = command(store, "load", "-q", "-i", str(archive))
            if code:
                assert code == 1 and "no space left on the device" in said and said.count("\n") == 1, said
                break
            loaded[f"i{number}:1"] = image
    return loaded


def check(store: Path, loaded: dict[str, Built]) -> None:
    """What was reported is there, byte for byte, though the disk is full."""
    with lamina.open(store) as opened:
        assert problems(opened.blobs) == []
        assert {f"{one.repository}:{one.tag}": one.image_id for one in opened.images()} == {
            name: image.id for name, image in loaded.items()}
        for name, image in loaded.items():
            out = io.BytesIO()
            opened.save([name], out)
            assert image.layers[0] in out.getvalue() and image.config in out.getvalue()


def empty(store: Path, loaded: dict[str, Built]) -> None:
    """Remove all and collect."""
    code, said = command(store, "rmi", *loaded)
    assert code == 0, said
    code, said = command(store, "gc")
    assert code == 0, said
    with lamina.open(store) as opened:
        opened.blobs.collect(max_unused=0)
        assert leftovers(opened.blobs) == [] and pack_files(opened.blobs) == live_packs(opened.blobs)
        used = sum(size for _, size in opened.blobs.backend.list("packs/"))
        assert used < 100_000, used


def main(folder: Path, times: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], check=True)
    archive = folder.parent / "archive.tar"  # on another disk
    room.FLOOR = 0  # type: ignore[misc] - else new layers are refused before it is full
    count = 0
    for _ in range(times):
        loaded = fill(folder / "store", archive, count)
        assert loaded
        check(folder / "store", loaded)
        empty(folder / "store", loaded)
        count += len(loaded) + len(SIZES)
    print(count - times * len(SIZES))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
