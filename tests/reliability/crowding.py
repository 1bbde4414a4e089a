"""What the tests of many processes share: images that have much in common, and what they must come back as."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from functools import lru_cache

from images.archives import Built, docker_archive
from store.storekit import noise, tar_of, words

import lamina


@lru_cache(64)
def image(seed: int, size: int = 2_000_000) -> Built:
    """An image of about `size` bytes: a layer that many share, one whose files others have too, and one of its own."""
    rng = random.Random(seed)
    base = tar_of({"base": noise(seed % 3, size // 4)})
    mixed = tar_of({f"f{each}": words(each, size // 13) for each in rng.sample(range(12), 4)})
    return Built(base, mixed, tar_of({"own": noise(seed, size // 3), "more": words(seed, size // 10)}))


def archive(*images: tuple[Built, str]) -> io.BytesIO:
    """A docker-archive of images, each with one name."""
    return io.BytesIO(docker_archive(*((built, [name]) for built, name in images)).getvalue())


def saved(store: lamina.ImageStore, name: str) -> bytes:
    """The archive that `save` gives."""
    out = io.BytesIO()
    store.save([name], out)
    return out.getvalue()


def wrong(data: bytes, built: Built) -> str:
    """What an archive of one image lacks; nothing if its config and all layers are there, byte for byte."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        have = {hashlib.sha256(file.read()).hexdigest() for info in tar if (file := tar.extractfile(info)) is not None}
    lost = {built.id.removeprefix("sha256:"), *(hashlib.sha256(data).hexdigest() for data in built.layers)} - have
    return f"{sorted(lost)} of {built.id} did not come back" if lost else ""
