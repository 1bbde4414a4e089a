"""OCI layouts whose manifests, indexes, descriptors and blobs lie."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

from archive.builders import Layout, Member, docker_25, index_json, named, oci, tar
from reliability.hostilecase import REFUSED, TAKEN, Case
from reliability.hostiledocker import DEEP, ESCAPE, IMAGE, NOWHERE, REFUSALS, STRANGE, archive, config_for, dumped, item
from reliability.hostiletars import EVIL, PLAIN

from lamina.digest import Digest
from lamina.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)


class Make(Layout):
    """A layout whose documents may say anything."""

    def manifest(
        self, *, media_type: str = OCI_MANIFEST, config: Any = None, layers: Any = None, drop: Sequence[str] = (), **more: Any
    ) -> Descriptor:
        """The image's manifest, with other fields."""
        blobs = [self.put(data, OCI_LAYER).to_json() for data in IMAGE.layers]
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config or self.put(IMAGE.config, OCI_CONFIG).to_json(),
            "layers": blobs if layers is None else layers,
        } | more
        return self.put(dumped({key: value for key, value in document.items() if key not in drop}), media_type)

    def layer(self, data: bytes = PLAIN, media_type: str = OCI_LAYER, **more: Any) -> dict[str, Any]:
        return self.put(data, media_type).to_json() | more

    def pack(self, *roots: Any, layout: bytes = b'{"imageLayoutVersion":"1.0.0"}', index: bytes | None = None) -> bytes:
        entries = [one if isinstance(one, dict) else one.to_json() for one in roots]
        document = dumped({"schemaVersion": 2, "manifests": entries}) if index is None else index
        blobs = [Member(f"blobs/{digest.algorithm}/{digest.hex}", data) for digest, data in self.blobs.items()]
        return tar([*blobs, Member("index.json", document), Member("oci-layout", layout)])


def one_layer(**changes: Any) -> bytes:
    """The image's manifest, the second layer's descriptor changed."""
    made = Make()
    layers = [made.layer(data) for data in IMAGE.layers]
    layers[1] |= changes
    return made.pack(made.manifest(layers=layers))


def rooted(**changes: Any) -> bytes:
    """The image, its root's descriptor in index.json changed."""
    made = Make()
    return made.pack(made.manifest().to_json() | changes)


def manifested(**fields: Any) -> bytes:
    made = Make()
    return made.pack(made.manifest(**fields))


def called(data: bytes, media_type: str) -> bytes:
    """Bytes as a root of that type."""
    made = Make()
    made.manifest()
    return made.pack(made.put(data, media_type))


def manifests() -> Iterator[Case]:
    """What manifests and the descriptors in them say."""
    say = lambda name, verdict, data, says="": archive(f"manifest: {name}", verdict, data, says)  # noqa: E731
    for name, data in STRANGE.items():
        yield say(name, REFUSED, called(data, OCI_MANIFEST), REFUSALS + "|neither|bytes")
    sizes = {
        "a size below zero": -1,
        "size 2^63": 2**63,
        "size 2^63 - 1": 2**63 - 1,
        "size 1.5": 1.5,
        "a size that is text": "7",
        "size 0": 0,
        "a size that is true": True,
        "no size": None,
        "one byte less": len(IMAGE.layers[1]) - 1,
    }
    for name, size in sizes.items():
        yield say(f"a layer with {name}", REFUSED, one_layer(size=size), "bytes|integer|range|refused|beyond|missing")
        yield say(
            f"a root with {name}",
            REFUSED,
            rooted(size=size if size != sizes["one byte less"] else 5),
            "bytes|integer|range|refused|beyond|missing|too large",
        )
    digests = {
        "md5": "md5:" + "0" * 32,
        "no algorithm": "0" * 64,
        "capitals": NOWHERE.upper(),
        "short": NOWHERE[:-1],
        "a path": "sha256:../../../../etc/passwd",
        "NUL": "sha256:\0" + "0" * 63,
        "10,000 characters": "sha256:" + "0" * 10_000,
        "nothing": "",
        "a number": 5,
        "escapes": f"sha256:{ESCAPE}",
        "blanks": " " + NOWHERE,
        "%2e": "sha256:%2e%2e/" + "0" * 57,
    }
    for name, digest in digests.items():
        yield say(f"a layer's digest: {name}", REFUSED, one_layer(digest=digest), "digest|string|missing")
        yield say(f"a root's digest: {name}", REFUSED, rooted(digest=digest), "digest|string|missing")
    for algorithm in ("sha384", "sha512"):
        made = Make()
        blob = Digest.of(IMAGE.layers[1], algorithm)
        made.blobs[blob] = IMAGE.layers[1]
        layers = [made.layer(IMAGE.layers[0]), {"mediaType": OCI_LAYER, "digest": blob, "size": len(IMAGE.layers[1])}]
        yield say(f"a layer by {algorithm}", TAKEN, made.pack(made.manifest(layers=layers)))
        made.blobs[blob] = b"x" * len(IMAGE.layers[1])
        yield say(f"a layer by {algorithm} that lies", REFUSED, made.pack(made.manifest(layers=layers)), "digest")
    types = {
        "gzip that is none": (f"{OCI_LAYER}+gzip", TAKEN),
        "zstd that is none": (f"{OCI_LAYER}+zstd", TAKEN),
        "unknown": ("application/x-evil", TAKEN),
        "a manifest": (OCI_MANIFEST, REFUSED),
        "an index": (OCI_INDEX, REFUSED),
        "a config": (OCI_CONFIG, REFUSED),
        "empty": ("", REFUSED),
        "a number": (1, REFUSED),
        "escapes": (ESCAPE, TAKEN),
        "10,000 characters": ("a/" + "b" * 10_000, TAKEN),
        "encrypted": (f"{OCI_LAYER}+encrypted", TAKEN),
        "foreign": (f"{OCI_LAYER.replace('layer.', 'layer.nondistributable.')}", TAKEN),
    }
    for name, (kind, verdict) in types.items():
        yield say(f"a layer's type: {name}", verdict, one_layer(mediaType=kind), "" if verdict == TAKEN else ".")
    foreign = OCI_LAYER.replace("layer.", "layer.nondistributable.")
    absent = {"mediaType": foreign, "digest": NOWHERE, "size": 5}
    for name, urls in {
        "no address": [],
        "an address": ["http://127.0.0.1:1/x"],
        "a file's address": ["file:///etc/passwd"],
        "escapes": [ESCAPE],
        "5,000 addresses": ["x"] * 5000,
        "a number": [1],
        "text": "x",
    }.items():
        fine = name in ("an address", "a file's address", "escapes")
        yield say(
            f"a foreign layer that is not there, {name}",
            TAKEN if fine else REFUSED,
            one_layer(**absent, urls=urls),
            "" if fine else "missing|elements|string|array|not there",
        )
    yield say(
        "schema 1", REFUSED, called(dumped({"schemaVersion": 1, "fsLayers": [], "history": []}), OCI_MANIFEST), "schema 1"
    )
    yield say(
        "schema 1 by its type",
        REFUSED,
        rooted(mediaType="application/vnd.docker.distribution.manifest.v1+prettyjws"),
        "schema 1|names no image",
    )
    for version in (0, 3, -1, "2", 2.0, None, 10**18):
        yield say(f"schemaVersion {version!r}", REFUSED, manifested(schemaVersion=version), "schemaVersion")
    yield say("its own type says index", REFUSED, manifested(mediaType=OCI_INDEX), "mediaType|manifests")
    yield say(
        "its own type says Docker",
        REFUSED,
        called(dumped({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": {}, "layers": []}), OCI_MANIFEST),
        "mediaType|config",
    )
    yield say("manifests in it", REFUSED, manifested(manifests=[]), "manifests")
    yield say("no config", REFUSED, manifested(drop=["config"]), "config")
    yield say("no layers", REFUSED, manifested(drop=["layers"]), "layers")
    yield say(
        "10,000 layers",
        REFUSED,
        manifested(layers=[{"mediaType": OCI_LAYER, "digest": NOWHERE, "size": 1}] * 10_000),
        "elements|too large",
    )
    yield say("10^6 layers", REFUSED, manifested(layers=[0] * 1_000_000), "too many|elements|too large")
    yield say("the same bytes as config and layer", REFUSED, _same(OCI_LAYER), "digest|layers|decompress")
    yield say("a layer that is the manifest of another", TAKEN, _manifest_as_layer())
    yield say("its config is its layer", REFUSED, _layer_as_config(), "JSON|object|UTF-8|config")
    yield say("its config is a manifest", REFUSED, _manifest_as_config(), "layers|config")
    yield say(
        "a subject that is not there", TAKEN, manifested(subject={"mediaType": OCI_MANIFEST, "digest": NOWHERE, "size": 5})
    )
    yield say("a subject that is none", REFUSED, manifested(subject={"digest": "x"}), "subject|digest")
    yield say("annotations with escapes", TAKEN, manifested(annotations={ESCAPE: ESCAPE}))
    yield say("annotations that are numbers", REFUSED, manifested(annotations={"a": 1}), "string")
    yield say("data that are another's", REFUSED, one_layer(data=base64.b64encode(b"other").decode()), "data")
    yield say("data that are no base64", REFUSED, one_layer(data="!"), "data")
    yield say("config data that lie", REFUSED, rooted(data=base64.b64encode(b"{}").decode()), "data")
    yield say("artifact of the empty config", TAKEN, _artifact())


def _same(media_type: str) -> bytes:
    made = Make()
    config = made.put(dumped(config_for([NOWHERE])), OCI_CONFIG)
    return made.pack(made.manifest(config=config.to_json(), layers=[config.to_json() | {"mediaType": media_type}]))


def _manifest_as_layer() -> bytes:
    made = Make()
    inner = made.manifest()
    data = made.blobs[inner.digest]
    config = made.put(dumped(config_for([str(inner.digest)])), OCI_CONFIG)
    return made.pack(made.manifest(config=config.to_json(), layers=[made.layer(data)]), inner)


def _layer_as_config() -> bytes:
    made = Make()
    return made.pack(made.manifest(config=made.layer(IMAGE.layers[0], OCI_CONFIG), layers=[made.layer(IMAGE.layers[0])]))


def _manifest_as_config() -> bytes:
    made = Make()
    inner = made.manifest()
    return made.pack(made.manifest(config=inner.to_json() | {"mediaType": OCI_CONFIG}))


def _artifact() -> bytes:
    made = Make()
    empty = made.put(b"{}", OCI_EMPTY)
    return made.pack(made.manifest(config=empty.to_json(), layers=[empty.to_json()], artifactType=ESCAPE))


def indexed(*children: Any, made: Make | None = None, **more: Any) -> bytes:
    """An index of these."""
    made = made or Make()
    entries = [one if isinstance(one, dict) else one.to_json() for one in children]
    return made.pack(made.put(dumped({"schemaVersion": 2, "manifests": entries} | more), OCI_INDEX))


def indexes() -> Iterator[Case]:
    """What indexes, index.json and oci-layout say."""
    say = lambda name, verdict, data, says="": archive(f"index: {name}", verdict, data, says)  # noqa: E731
    made = Make()
    good = made.manifest()
    for name, data in STRANGE.items():
        yield say(f"index.json: {name}", REFUSED, made.pack(index=data), REFUSALS)
        yield say(f"oci-layout: {name}", REFUSED, made.pack(good, layout=data), REFUSALS)
        yield say(f"below index.json: {name}", REFUSED, called(data, OCI_INDEX), REFUSALS + "|bytes")
    for version in ("", "0.9", "2.0.0", "x", 1, None, ["1.0.0"], "1" * 10_000, "1.0.0\0", ESCAPE):
        taken = version == "1.0.0\0"
        yield say(
            f"layout version {str(version)[:12]!r}",
            TAKEN if taken else REFUSED,
            made.pack(good, layout=dumped({"imageLayoutVersion": version})),
            "" if taken else "version|missing|string",
        )
    for depth in (3, 5, 70):
        layout = Make()
        root: Descriptor = layout.manifest()
        for _ in range(depth):
            root = layout.put(dumped({"schemaVersion": 2, "manifests": [root.to_json()]}), OCI_INDEX)
        yield say(f"{depth} deep", TAKEN if depth < 4 else REFUSED, layout.pack(root), "" if depth < 4 else "deep")
    yield say("a lattice", TAKEN, _lattice(3, 40))
    yield say("a deep lattice", REFUSED, _lattice(12, 12), "deep")
    yield say("itself, by a digest that lies", REFUSED, _cycle(), "digest|bytes|missing")
    yield say("one manifest 4,096 times", TAKEN, indexed(*[good] * 4096, made=made))
    yield say("one manifest 5,000 times", REFUSED, indexed(*[good] * 5000, made=made), "elements|too large")
    yield say(
        "one manifest of two types",
        REFUSED,
        indexed(good, good.to_json() | {"mediaType": DOCKER_MANIFEST}, made=made),
        "mediaType",
    )
    # The bytes count, and the index comes back with its lie as it came.
    yield say("one manifest of two sizes", TAKEN, indexed(good, good.to_json() | {"size": good.size + 1}, made=made))
    yield say(
        "one manifest of two sizes, the wrong one first",
        REFUSED,
        indexed(good.to_json() | {"size": good.size + 1}, good, made=made),
        "bytes",
    )
    yield say("a manifest that is called an index", REFUSED, rooted(mediaType=OCI_INDEX), "index|manifest")
    yield say("an index that is called a manifest", REFUSED, called(index_json([good]), OCI_MANIFEST), "manifest")
    yield say("an index that is called a list", REFUSED, called(index_json([good]), DOCKER_LIST), "mediaType")
    both = {"schemaVersion": 2, "manifests": [good.to_json()], **json.loads(made.blobs[good.digest])}
    for kind in (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST):
        both["mediaType"] = kind
        yield say(f"a manifest and an index at once, {kind[-24:]}", REFUSED, called(dumped(both), kind), "stands in")
        both.pop("mediaType")
        yield say(f"both at once without a type, {kind[-24:]}", REFUSED, called(dumped(both), kind), "stands in")
    yield say(
        "the same bytes as index and manifest",
        REFUSED,
        indexed(good, good.to_json() | {"mediaType": OCI_INDEX}, made=made),
        "index|manifest|mediaType",
    )
    config = made.put(IMAGE.config, OCI_CONFIG)
    yield say(
        "a config as a manifest", REFUSED, made.pack(config.to_json() | {"mediaType": OCI_MANIFEST}), "config|manifest|object"
    )
    yield say("a layer as a manifest", REFUSED, made.pack(made.layer(PLAIN, OCI_MANIFEST)), "UTF-8|JSON")
    yield say("a config among its manifests", TAKEN, indexed(good, config, made=made))
    yield say("only a config", REFUSED, made.pack(config), "names no image")
    yield say("only a layer", REFUSED, made.pack(made.layer()), "names no image")
    yield say("an index of nothing", TAKEN, indexed())
    yield say("nothing that is there", REFUSED, indexed({"mediaType": OCI_MANIFEST, "digest": NOWHERE, "size": 5}), "missing")
    platforms = [
        good.to_json() | {"platform": {"os": ESCAPE, "architecture": "a" * 10_000, "variant": "\0"}},
        {"mediaType": OCI_MANIFEST, "digest": NOWHERE, "size": 5, "platform": {"os": ESCAPE, "architecture": "b" * 10_000}},
    ]
    yield say("platforms with escapes", TAKEN, indexed(*platforms, made=made))
    yield say("a platform that is a list", REFUSED, indexed(good.to_json() | {"platform": []}, made=made), "object")
    lost = [{"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"%d" % n)), "size": 5} for n in range(4000)]
    yield say("4,000 manifests that are not there, and one that is", TAKEN, indexed(good, *lost, made=made))
    for name in (ESCAPE, "n" * 10_000, "../../x", "a\0b", "evil:1\nevil:2", "%2e%2e/x:1", "\u202eevil", "known", "x" * 200):
        key = "io.containerd.image.name"
        yield say(f"a name {json.dumps(name)[:24]}", TAKEN, rooted(annotations={key: name, ESCAPE: ESCAPE}))
        yield say(f"a tag {json.dumps(name)[:24]}", TAKEN, rooted(annotations={"org.opencontainers.image.ref.name": name}))
    yield say("annotations that are a list", REFUSED, rooted(annotations=[]), "object")
    yield say(
        "two roots of one name",
        TAKEN,
        made.pack(named(good, name=EVIL), named(made.manifest(annotations={"a": "b"}), name=EVIL)),
    )
    yield say("a blob under another's name", REFUSED, _swapped(), "digest|bytes")
    yield say(
        "a blob twice, the last one wrong",
        REFUSED,
        tar([*oci(IMAGE), Member(f"blobs/sha256/{IMAGE.id.hex}", IMAGE.config + b" ")]),
        "bytes|digest",
    )
    yield say("a blob that is a link to another", TAKEN, _linked_blob("inside"))
    yield say("a blob that is a link out of it", REFUSED, _linked_blob("../../../etc/passwd"), "leads out|missing")
    yield say(
        "manifest.json beside it that lies",
        TAKEN,
        tar(
            [one for one in docker_25(IMAGE) if one.name != "manifest.json"]
            + [Member("manifest.json", item(Config=f"blobs/sha256/{IMAGE.id.hex}", RepoTags=["evil:9"], Layers=["no such"]))]
        ),
    )
    yield say(
        "manifest.json beside it that is none",
        REFUSED,
        tar([one for one in docker_25(IMAGE) if one.name != "manifest.json"] + [Member("manifest.json", DEEP)]),
        "deep",
    )


def _lattice(levels: int, width: int) -> bytes:
    """Indexes each of which names every one of the level below."""
    made = Make()
    below = [made.manifest()]
    for level in range(levels):
        below = [
            made.put(
                dumped(
                    {
                        "schemaVersion": 2,
                        "manifests": [one.to_json() for one in below],
                        "annotations": {"n": f"{level}.{number}"},
                    }
                ),
                OCI_INDEX,
            )
            for number in range(width)
        ]
    return made.pack(
        made.put(dumped({"schemaVersion": 2, "manifests": [one.to_json() for one in below]}), OCI_INDEX)
        if levels > 3
        else below[0]
    )


def _cycle() -> bytes:
    made = Make()
    data = dumped({"schemaVersion": 2, "manifests": [{"mediaType": OCI_INDEX, "digest": NOWHERE, "size": 200}]}).ljust(200)
    made.blobs[Digest(NOWHERE)] = data
    return made.pack({"mediaType": OCI_INDEX, "digest": NOWHERE, "size": 200})


def _swapped() -> bytes:
    made = Make()
    root = made.manifest()
    one, other = IMAGE.diff_ids
    made.blobs[one], made.blobs[other] = made.blobs[other], made.blobs[one]
    return made.pack(root)


def _linked_blob(target: str) -> bytes:
    members = [one for one in oci(IMAGE) if not one.name.endswith(IMAGE.id.hex)]
    return tar(
        [
            *members,
            Member("inside", IMAGE.config),
            Member(f"blobs/sha256/{IMAGE.id.hex}", link=("../../inside" if target == "inside" else target)),
        ]
    )


def layouts() -> Iterator[Case]:
    """All layouts that lie."""
    yield from manifests()
    yield from indexes()
