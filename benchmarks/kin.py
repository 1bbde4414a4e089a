"""Images that are kin: each of the same real files of this machine, a fifth of which are other ones in each image."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import sysconfig
import tarfile
from collections.abc import Sequence
from pathlib import Path

SIZE = 100_000_000  # bytes of an image's layer
KIND = "application/vnd.oci.image"


def files(size: int = SIZE) -> list[tuple[str, bytes]]:
    """Files of Python's own library and packages, as many as come to that size; the same each time."""
    found = []
    for root in dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")):
        found += [path for path in root.rglob("*") if path.suffix != ".pyc" and path.is_file() and not path.is_symlink()]
    found.sort()
    random.Random(1).shuffle(found)
    chosen, left = [], size
    for path in found:
        takes = path.stat().st_size + 1024
        if takes <= left:
            chosen.append(path)
            left -= takes
    return [(str(path).lstrip("/"), path.read_bytes()) for path in sorted(chosen)]


def changed(data: bytes, number: int) -> bytes:
    """A file that shares nothing with the first, and can be compressed as well: every byte value is another one."""
    values = list(range(256))
    random.Random(number).shuffle(values)
    return data.translate(bytes(values))


def layer(whole: Sequence[tuple[str, bytes]], number: int) -> bytes:
    """A plain tar of the files, a fifth of them changed."""
    choice = random.Random(1000 + number)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in whole:
            info = tarfile.TarInfo(name)
            if choice.random() < 0.2:
                data = changed(data, number)  # noqa: PLW2901
                info.mtime = 1_700_000_000 + number
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layouts(directory: Path, count: int, size: int = SIZE) -> list[Path]:
    """OCI layouts, one for each image, whose tag is `1`; layers are plain."""
    whole = files(size)
    found = [directory / str(number) for number in range(count)]
    for number, path in enumerate(found):
        layout(path, [layer(whole, number)])
    return found


def layout(directory: Path, layers: Sequence[bytes]) -> None:
    """An OCI layout of one image with these plain layers."""
    shutil.rmtree(directory, ignore_errors=True)
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    placed = [put(data, f"{KIND}.layer.v1.tar") for data in layers]
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in placed]}}).encode(),
                 f"{KIND}.config.v1+json")
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": f"{KIND}.manifest.v1+json", "config": config,
                               "layers": placed}).encode(), f"{KIND}.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
