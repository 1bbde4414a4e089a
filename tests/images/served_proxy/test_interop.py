"""Before Debian's docker-registry, and before a server of ours; and as a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.debian import docker_registry
from registry.kit import target_of
from registry.served.kit import Server
from registry.served.memory import Memory

from images.served_proxy.kit import front, small
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from lamina.reference import Reference
from lamina.registry.server.contents import Document


def test_before_a_server_of_ours(tmp_path: Path) -> None:
    one, memory = small(), Memory()
    for data in (one.config, *one.layers):
        memory.add("team/app", data)
    memory.put_manifest("team/app", Document(one.digest, OCI_MANIFEST, one.manifest), ["1"])
    with Server(memory) as upstream, front(tmp_path / "store", ("hub.test", f"http://127.0.0.1:{upstream.port}")) as served:
        assert served.get("hub.test/team/app/manifests/1").body == one.manifest
        for data in (one.config, *one.layers):
            assert served.get(f"hub.test/team/app/blobs/{Digest.of(data)}").body == data
            served.settle("hub.test/team/app", Digest.of(data))
        asked = len(upstream.seen)
        upstream.stop()
        for data in one.layers:
            assert served.get(f"hub.test/team/app/blobs/{Digest.of(data)}").body == data
        assert served.get("hub.test/team/app/manifests/1").body == one.manifest and len(upstream.seen) == asked


@pytest.mark.interop
def test_before_docker_registry(tmp_path: Path) -> None:
    one, name = small(), Reference("registry.test", "team/app")
    with docker_registry(tmp_path / "registry") as registry:
        with target_of(registry, name=name) as target:
            for media_type, data in ((OCI_LAYER, one.layers[0]), (OCI_LAYER, one.layers[1]), (OCI_CONFIG, one.config),
                                     (OCI_MANIFEST, one.manifest)):
                target.push(Descriptor(media_type, Digest.of(data), len(data)), BytesReader(data))
            target.tag(Descriptor(OCI_MANIFEST, one.digest, len(one.manifest)), "1")
        with front(tmp_path / "store", ("hub.test", registry.base)) as served:
            assert served.get("hub.test/team/app/manifests/1").body == one.manifest
            for data in (one.config, *one.layers):
                assert served.get(f"hub.test/team/app/blobs/{Digest.of(data)}").body == data
                served.settle("hub.test/team/app", Digest.of(data))
            assert served.get("hub.test/team/app/tags/list").json["tags"] == ["1"]
            assert served.get("hub.test/team/app/manifests/2").status == 404
            assert served.get("hub.test/none/tags/list").status == 404
            before = len(registry.asked("GET")) + len(registry.asked("HEAD"))
            assert served.get("hub.test/team/app/manifests/1").body == one.manifest
            assert served.get(f"hub.test/team/app/blobs/{Digest.of(one.layers[0])}").body == one.layers[0]
            assert len(registry.asked("GET")) + len(registry.asked("HEAD")) == before
