"""`load` of layouts with referrers: they come with what they refer to, and are no images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import AMD64, ARM64, describe, index_bytes, put, put_artifact, put_image

import lamina
from lamina.archive import OciLayout
from lamina.images import ImageStore
from lamina.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform

from .archives import layer


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: AMD64))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "layout", create=True)


def has(store: ImageStore, descriptor: Descriptor) -> bool:
    store.gc()
    return store.blobs.catalog.blob(descriptor.digest) is not None


def test_they_come_along(store: ImageStore, layout: OciLayout, tmp_path: Path) -> None:
    amd, arm = put_image(layout, layer(a="amd")), put_image(layout, layer(a="arm"), platform=ARM64)
    statement = put_artifact(layout, arm, b"statement")
    above = put_artifact(layout, statement, b"signature")
    layout.tag(put(layout, index_bytes([amd, arm]), OCI_INDEX), "docker.io/library/app:1")
    assert [name for name, _ in layout.references()] == ["", "", "docker.io/library/app:1"]
    result = store.load(tmp_path / "layout")
    assert [one.reference for one in result.loaded] == ["app:1"]
    assert (result.warnings, result.incomplete) == ([], [])
    assert [row.tag for row in store.images(all=True)] == ["1"]
    assert has(store, statement) and has(store, above)
    store.remove(["app:1"])
    assert not has(store, statement) and not has(store, above)


def test_one_platform_brings_its_own(store: ImageStore, layout: OciLayout, tmp_path: Path) -> None:
    amd, arm = put_image(layout, layer(a="amd")), put_image(layout, layer(a="arm"), platform=ARM64)
    of_amd, of_arm = put_artifact(layout, amd, b"amd"), put_artifact(layout, arm, b"arm")
    layout.tag(put(layout, index_bytes([amd, arm]), OCI_INDEX), "docker.io/library/app:1")
    assert [one.reference for one in store.load(tmp_path / "layout", platform="linux/arm64").loaded] == ["app:1"]
    assert (has(store, of_amd), has(store, of_arm)) == (False, True)


def test_what_refers_to_nothing_here_stands_for_itself(store: ImageStore, layout: OciLayout, tmp_path: Path) -> None:
    artifact = put_artifact(layout, describe(b"elsewhere", OCI_MANIFEST), b"statement")
    result = store.load(tmp_path / "layout")
    assert [(one.reference, one.digest) for one in result.loaded] == [("", artifact.digest)]
    assert has(store, artifact)


def test_a_referrer_with_a_name_keeps_it(store: ImageStore, layout: OciLayout, tmp_path: Path) -> None:
    image = put_image(layout, layer(a="amd"))
    layout.tag(put_artifact(layout, image, b"statement"), "docker.io/library/sig:1")
    layout.tag(image, "docker.io/library/app:1")
    assert sorted(one.reference for one in store.load(tmp_path / "layout").loaded) == ["app:1", "sig:1"]
