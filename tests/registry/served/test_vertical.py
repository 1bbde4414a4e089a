"""From push to pull: the way that every client goes."""

from __future__ import annotations

import json

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from registry.served.kit import Server


def test_push_and_pull_an_image(server: Server) -> None:
    layer, config = b"layer" * 500_000, b"{}"
    for data in (layer, config):
        location = server.begin("library/one")
        reply = server.ask("PATCH", location, data)
        assert reply.status == 202 and reply["Range"] == f"0-{len(data) - 1}"
        reply = server.ask("PUT", f"{reply['Location']}?digest={Digest.of(data)}")
        assert reply.status == 201 and reply["Location"] == f"/v2/library/one/blobs/{Digest.of(data)}"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER, "digest": Digest.of(layer), "size": len(layer)}],
    }).encode()
    reply = server.ask("PUT", "/v2/library/one/manifests/latest", manifest, {"Content-Type": OCI_MANIFEST})
    assert reply.status == 201 and reply["Docker-Content-Digest"] == Digest.of(manifest)

    reply = server.ask("GET", "/v2/library/one/manifests/latest")
    assert (reply.status, reply.body, reply["Content-Type"]) == (200, manifest, OCI_MANIFEST)
    for one in (reply.json["config"], *reply.json["layers"]):
        got = server.ask("GET", f"/v2/library/one/blobs/{one['digest']}")
        assert got.status == 200 and Digest.of(got.body) == one["digest"] == got["Docker-Content-Digest"]
