"""Bytes that are several things at once: what a hostile image calls them must not spoil another image."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from archive.builders import Image, Layout, Member, layer, tar

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from test_bad_input.kit import Home, Said, assert_refused, loading

Way = Callable[[bytes], Callable[[Home], Said]]

VICTIM = Image((layer(61), layer(62)))


def config_for(*layers: bytes) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux",
                       "rootfs": {"type": "layers", "diff_ids": [Digest.of(data) for data in layers]}}).encode()


def packed(config: bytes, layers: tuple[bytes, ...]) -> tuple[Layout, Descriptor]:
    """An image of exactly these bytes."""
    layout = Layout()
    named = [layout.put(data, OCI_LAYER).to_json() for data in layers]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layout.put(config, OCI_CONFIG).to_json(),
                "layers": named}
    return layout, layout.put(json.dumps(document).encode(), OCI_MANIFEST)


def victim() -> tuple[Layout, Descriptor]:
    return packed(VICTIM.config, VICTIM.layers)


def as_layer(data: bytes) -> bytes:
    """An archive with an image that has these bytes for its layer."""
    layout, root = packed(config_for(data), (data,))
    return tar(layout.members([root]))


def as_config(data: bytes) -> bytes:
    """An archive with an image that has these bytes for its config, if they can be one."""
    layout, root = packed(data, ())
    return tar(layout.members([root]))


def as_child(data: bytes) -> bytes:
    """An archive with an index that calls these bytes a config."""
    layout, root = packed(VICTIM.config + b" ", VICTIM.layers)
    index = layout.index([root, Descriptor(OCI_CONFIG, Digest.of(data), len(data))])
    layout.put(data, OCI_CONFIG)
    return tar(layout.members([index]))


def parts() -> dict[str, bytes]:
    layout, root = victim()
    return {"manifest": layout.blobs[root.digest], "config": VICTIM.config, "layer": VICTIM.layers[0]}


@pytest.mark.parametrize("disguise", [as_layer, as_config, as_child])
@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_an_image_whose_parts_came_before_as_something_else(
    home: Home, way: Way, disguise: Callable[[bytes], bytes], part: str
) -> None:
    """Whether the other archive was taken or not, the image is loaded, listed, kept by `gc` and given back."""
    way(disguise(parts()[part]))(home)
    layout, root = victim()
    said = way(tar(layout.members([root])))(home)
    assert said.code == 0, said
    home.before = None
    assert home.settle().problems == ()
    with home.open() as store:
        assert VICTIM.id in {row.image_id for row in store.images(all=True)}
        assert [step["RootFS"]["Layers"] for step in store.inspect([VICTIM.id])] == [list(VICTIM.diff_ids)]
        out = io.BytesIO()
        store.save([VICTIM.id], out, format="oci-archive")
        for content in (VICTIM.config, *VICTIM.layers, layout.blobs[root.digest]):
            assert content in out.getvalue()
        store.tree()
        store.df()
    # And again from the packs alone.
    (home.path / "state" / "catalog.sqlite").unlink()
    assert home.settle().problems == ()
    with home.open() as store:
        assert VICTIM.id in {row.image_id for row in store.images(all=True)}


@pytest.mark.parametrize("blanks", [9, 10, 11, 5_000])
def test_documents_that_begin_with_blanks(home: Home, way: Way, blanks: int) -> None:
    """In a stream they do not look like documents."""
    layout, root = packed(b" " * blanks + VICTIM.config, VICTIM.layers)
    manifest = layout.put(b"\n" * blanks + layout.blobs.pop(root.digest), OCI_MANIFEST)
    assert way(tar(layout.members([manifest])))(home).code == 0
    home.before = None
    assert home.settle().problems == ()
    with home.open() as store:
        assert len(store.images(all=True)) == 2


def test_a_manifest_that_is_called_an_index(home: Home, way: Way) -> None:
    layout, root = victim()
    index = Descriptor(OCI_INDEX, root.digest, root.size)
    assert_refused(home, way(tar(layout.members([index]))), "index|manifest")
    both = {"schemaVersion": 2, "manifests": [], **json.loads(layout.blobs[root.digest])}
    for media_type in (OCI_INDEX, OCI_MANIFEST):
        other = Layout(dict(layout.blobs))
        data = other.put(json.dumps(both).encode(), media_type)
        assert_refused(home, way(tar(other.members([data]))), "index|manifest")


def test_one_digest_of_two_sizes(home: Home) -> None:
    layout, root = victim()
    for size in (1, root.size + 1):
        wrong = Descriptor(OCI_MANIFEST, root.digest, size)
        assert_refused(home, loading(tar(layout.members([wrong]))), "bytes")
    assert_refused(home, loading(tar([*layout.members([root]), Member("index.json", b"{}")])), "names no image")
