"""The OCI layout in a directory."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contracts.samples import FailingReader, describe, put, put_image
from contracts.target import TargetContract

from lamina.archive import OciLayout, open_source
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import ArchiveError, InvalidContent, NotFound
from lamina.oci import OCI_INDEX, Descriptor


class TestOciLayout(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> OciLayout:
        return OciLayout(tmp_path / "layout", create=True)


class TestOciLayoutByTagAlone(TestOciLayout):
    names = ("v1", "latest")


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path, create=True)


def test_it_stays(layout: OciLayout, tmp_path: Path) -> None:
    image = put_image(layout, b"layer")
    layout.tag(image, "docker.io/library/one:1")
    layout.tag(image, "v1")
    for again in (OciLayout(tmp_path), OciLayout(tmp_path, create=True)):
        assert again.references() == [("docker.io/library/one:1", image), ("v1", image)]
    with open_source(tmp_path) as source:
        assert source.references() == [("docker.io/library/one:1", image)]
        assert source.resolve("v1") == image


def test_what_lies_there(layout: OciLayout, tmp_path: Path) -> None:
    image = put_image(layout, b"layer")
    layout.tag(image, "docker.io/library/one:1")
    assert json.loads((tmp_path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((tmp_path / "index.json").read_bytes()) == {
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{
            "mediaType": image.media_type, "digest": image.digest, "size": image.size,
            "annotations": {"io.containerd.image.name": "docker.io/library/one:1",
                            "org.opencontainers.image.ref.name": "1"},
            "platform": {"architecture": "amd64", "os": "linux"}}]}
    blobs = tmp_path / "blobs" / "sha256"
    assert (blobs / Digest.of(b"layer").hex).read_bytes() == b"layer"
    assert len(list(blobs.iterdir())) == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_failed_push_leaves_no_file(layout: OciLayout, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="the cable"):
        layout.push(describe(b"data" * 999), FailingReader(b"data" * 999))
    with pytest.raises(InvalidContent):
        layout.push(describe(b"data"), BytesReader(b"mor"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_digest_leads_to_what_was_pushed(layout: OciLayout) -> None:
    image, blob = put_image(layout, b"layer"), put(layout, b"\x00 no manifest")
    assert layout.resolve(image.digest) == Descriptor(image.media_type, image.digest, image.size)
    assert layout.resolve(f"one@{image.digest}").digest == image.digest
    for digest in (blob.digest, Digest.of(b"nothing")):
        with pytest.raises(NotFound):
            layout.resolve(digest)


def test_tags_at_once(tmp_path: Path) -> None:
    layouts = [OciLayout(tmp_path, create=True), OciLayout(tmp_path)]
    image = put_image(layouts[0], b"layer")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: layouts[number % 2].tag(image, f"v{number}"), range(40)))
    assert sorted(name for name, _ in layouts[0].references()) == sorted(f"v{number}" for number in range(40))


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_a_blob_that_is_no_file(kind: str, layout: OciLayout, tmp_path: Path) -> None:
    blob = put(layout, b"layer")
    place = tmp_path / "blobs" / "sha256" / blob.digest.hex
    place.unlink()
    (os.mkfifo if kind == "fifo" else Path.mkdir)(place)
    assert not layout.exists(blob)
    with pytest.raises(ArchiveError, match="no regular file"):
        layout.fetch(blob)


def test_what_is_no_layout(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises((ArchiveError, NotFound)):
            OciLayout(path)
    OciLayout(tmp_path / "layout", create=True)
    (tmp_path / "layout" / "oci-layout").write_bytes(b'{"imageLayoutVersion":"9.0.0"}')
    for create in (False, True):
        with pytest.raises(ArchiveError, match="version"):
            OciLayout(tmp_path / "layout", create=create)


def test_a_damaged_index(layout: OciLayout, tmp_path: Path) -> None:
    image = put_image(layout, b"layer")
    (tmp_path / "index.json").write_bytes(b"{")
    for call in (layout.references, lambda: layout.tag(image, "v1"), lambda: layout.resolve("v1")):
        with pytest.raises(InvalidContent):
            call()
    assert (tmp_path / "index.json").read_bytes() == b"{"


def test_descriptors_of_others_stay(layout: OciLayout, tmp_path: Path) -> None:
    image = put_image(layout, b"layer")
    theirs = {"mediaType": "text/x", "digest": Digest.of(b"x"), "size": 1, "annotations": {"a": "b"}, "more": [1]}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [theirs]}))
    layout.tag(image, "v1")
    assert json.loads((tmp_path / "index.json").read_bytes())["manifests"][0] == theirs
