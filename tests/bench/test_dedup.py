"""The matrix, held against sets of files that are each a chunk or more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from images.archives import Built, docker_archive, tar_of
from store.storekit import noise

import lamina
from lamina.bench.dedup import look
from lamina.images import ImageStore

ONE, TWO = noise(1, 40_000), noise(2, 60_000)
BASE = tar_of({"one": ONE})
BOTH = tar_of({"one": ONE, "two": TWO})
OTHER = tar_of({"three": noise(3, 50_000)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with lamina.open(tmp_path / "store") as store:
        store.load(docker_archive((Built(BASE), ["base:1"]), (Built(BASE, BOTH), ["both:1"]), (Built(OTHER), ["other:1"])))
        yield store


def test_each_layer_against_each_image(store: ImageStore) -> None:
    found = look(store, ["base:1", "both:1", "other:1"], 40)
    assert [image.name for image in found.images] == ["base:1", "both:1", "other:1"]
    assert [len(image.layers) for image in found.images] == [1, 2, 1]
    assert found.images[1].layers == found.layers[:2]
    shares = [[count / whole for count in row] for row, whole in zip(found.cells, found.whole, strict=True)]
    assert shares[0][0] == 0                    # its only layer is itself
    assert 0.7 < shares[0][1] < 0.9             # the file is in the layer above, the segment of headers is another
    assert 0.3 < shares[1][0] < 0.4             # the first file of the two
    assert shares[1][1] == shares[1][0]         # by way of the base layer
    assert shares[0][2] == shares[1][2] == 0    # noise of another seed
    assert shares[2][:2] == [0, 0] and shares[2][2] == 0
    assert found.whole[1] >= 100_000


def test_only_the_largest_layers_in_the_order_of_the_images(store: ImageStore) -> None:
    whole = look(store, ["base:1", "both:1", "other:1"], 40)
    found = look(store, ["base:1", "both:1", "other:1"], 2)
    assert found.layers == whole.layers[1:]
    assert found.cells == whole.cells[1:]
