"""The image that lies, as a docker-archive: what manifest.json, member names and configs say; and archives that are cut off."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from archive.builders import BASE, GZIP, Image, Member, docker_20, docker_25, layer, oci, podman, tar
from reliability.hostilecase import REFUSED, TAKEN, Case
from reliability.hostiletars import EVIL, PLAIN

from lamina.digest import Digest

IMAGE = Image((PLAIN, layer(72, 700)), (EVIL,))
ESCAPE = "\x1b]0;evil\x07\x1b[31mred\x1b[2J\u202e\x9b31m"
NOWHERE = str(Digest.of(b"nowhere"))


def dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def config_for(diff_ids: Sequence[str], **more: Any) -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    } | more


def archive(name: str, verdict: str, data: Callable[[], bytes] | bytes, says: str = "", *, stdin: bool = False) -> Case:
    """An archive that is loaded."""

    def make(place: Path) -> list[str]:
        (place / "evil.tar").write_bytes(data if isinstance(data, bytes) else data())
        return ["load", "-q", "-i", "-" if stdin else str(place / "evil.tar")]

    return Case(name, verdict, make, says, stdin="evil.tar" if stdin else "")


# -- docker-archives


def item(**fields: Any) -> bytes:
    """What manifest.json says of the image."""
    hexes = [f"{Digest.of(data).hex}.tar" for data in IMAGE.layers]
    return dumped([{"Config": f"{IMAGE.id.hex}.json", "RepoTags": [EVIL], "Layers": hexes} | fields])


def with_manifest(data: bytes, *more: Member) -> bytes:
    """The image's parts and another manifest.json."""
    return tar([*(one for one in podman(IMAGE) if one.name != "manifest.json"), *more, Member("manifest.json", data)])


def with_config(config: Any) -> bytes:
    """The image under another config."""
    return with_manifest(item(Config="config"), Member("config", config if isinstance(config, bytes) else dumped(config)))


def linked(*members: Member, **fields: Any) -> bytes:
    return with_manifest(item(**fields), *members)


def docker_archives() -> Iterator[Case]:
    """What manifest.json, member names and links say."""
    say = lambda name, verdict, data, says="": archive(f"docker-archive: {name}", verdict, data, says)  # noqa: E731
    layers = [f"{Digest.of(data).hex}.tar" for data in IMAGE.layers]
    good = podman(IMAGE)
    other = Image((layer(73),), ("docker.io/library/evil:2",))
    yield say("two manifest.json, the last one bad", REFUSED, tar([*good, Member("manifest.json", b"[]")]), "names no image")
    yield say("two manifest.json, the first one bad", TAKEN, tar([Member("manifest.json", b"[]"), *good]))
    yield say("two manifest.json of two images", TAKEN, tar([*podman(other), *good]))
    yield say("one layer twice, the last one wrong", REFUSED, tar([*good, Member(layers[0], b"wrong")]), "digest")
    yield say("one layer twice, the first one wrong", TAKEN, tar([Member(layers[0], b"wrong"), *good]))
    yield say(
        "a config twice, the last one another", REFUSED, tar([*good, Member(f"{IMAGE.id.hex}.json", other.config)]), "digest"
    )
    yield say("one layer as two members", TAKEN, with_manifest(item(), Member("copy.tar", IMAGE.layers[0])))
    yield say("documents before layers", TAKEN, tar(sorted(good, key=lambda one: not one.name.endswith("json"))))
    yield say(
        "manifest.json is a link",
        TAKEN,
        tar(
            [
                Member("real", item()),
                Member("manifest.json", link="real"),
                *(one for one in good if one.name != "manifest.json"),
            ]
        ),
    )
    yield say(
        "a hard link to manifest.json as config",
        REFUSED,
        linked(Member("hard", link="manifest.json", type=tarfile.LNKTYPE), Config="hard"),
        "not a JSON object|layers|object",
    )
    yield say(
        "a hard link to manifest.json as layer",
        REFUSED,
        linked(Member("hard", link="manifest.json", type=tarfile.LNKTYPE), Layers=[layers[0], "hard"]),
        "digest",
    )
    yield say("manifest.json as a layer", REFUSED, linked(Layers=[layers[0], "manifest.json"]), "digest")
    yield say("manifest.json as the config", REFUSED, linked(Config="manifest.json"), "object|layers")
    yield say("a layer as the config", REFUSED, linked(Config=layers[0]), "digest|UTF-8|JSON|object")
    yield say("the config as a layer", REFUSED, linked(Layers=[layers[0], f"{IMAGE.id.hex}.json"]), "digest")
    yield say("layer.tar is a link to itself", REFUSED, linked(Member("l", link="l"), Layers=[layers[0], "l"]), "loop")
    circle = [Member(f"c{n}", link=f"c{(n + 1) % 50}") for n in range(50)]
    yield say("layer.tar is in a circle of fifty", REFUSED, linked(*circle, Layers=[layers[0], "c7"]), "loop")
    grow = [Member(f"g{n}", link=f"g{n + 1}/g{n + 1}") for n in range(40)]
    yield say("links that double", REFUSED, linked(*grow, Layers=[layers[0], "g0"]), "loop|not there")
    yield say(
        "layer.tar is a link through directories",
        TAKEN,
        linked(Member("d/e", link="../real"), Member("real", link="./."), Layers=[layers[0], f"d/e/{layers[1]}"]),
    )
    for link in ("/etc/passwd", "../../etc/passwd", "/proc/self/mem", "/dev/zero"):
        yield say(
            f"layer.tar leads to {link}", REFUSED, linked(Member("out", link=link), Layers=[layers[0], "out"]), "leads out"
        )
        yield say(f"the config leads to {link}", REFUSED, linked(Member("out", link=link), Config="out"), "leads out")
    for name, kind in (("device", tarfile.CHRTYPE), ("fifo", tarfile.FIFOTYPE), ("directory", tarfile.DIRTYPE)):
        yield say(
            f"layer.tar is a {name}", REFUSED, linked(Member("odd", type=kind), Layers=[layers[0], "odd"]), "no regular file"
        )
    for name in ("", ".", "..", "/", "a\0b", "%2e%2e/x", "n" * 10_000, "\ud800", ESCAPE, "a//b", "\\..\\x"):
        text = json.dumps(name)
        yield say(
            f"a layer called {text[:24]}",
            REFUSED,
            with_manifest(item(Layers=[layers[0], name])),
            "not there|no regular file|leads out|UTF-8|not text|refused",
        )
        yield say(
            f"a config called {text[:24]}",
            REFUSED,
            with_manifest(item(Config=name)),
            "not there|no regular file|leads out|missing|UTF-8|refused",
        )
    for name, data in MANIFESTS.items():
        yield say(f"manifest.json: {name}", REFUSED, with_manifest(data), REFUSALS)
    yield say("no layers", REFUSED, with_manifest(item(Layers=[])), "layers")
    yield say("4,096 times one layer", REFUSED, with_manifest(item(Layers=[layers[0]] * 4096)), "layers")
    yield say("10^6 layers", REFUSED, with_manifest(item(Layers=["a"] * 1_000_000)), "too many|too large|elements")
    yield say("10,000 layers", REFUSED, with_manifest(item(Layers=["a"] * 10_000)), "elements")
    yield say("10,000 tags", REFUSED, with_manifest(item(RepoTags=["a"] * 10_000)), "elements")
    yield say("4,096 tags that are none", TAKEN, with_manifest(item(RepoTags=[f"A{n}" for n in range(4096)])))
    for tag in (
        ESCAPE,
        "n" * 10_000,
        "../../x:1",
        "a:b/c",
        "a\0b",
        "%2e%2e:1",
        "evil:1\nLoaded image: good:1",
        "known:1@sha256:0",
    ):
        yield say(f"a tag {json.dumps(tag)[:24]}", TAKEN, with_manifest(item(RepoTags=[tag])))
    yield say("a tag with a lone surrogate", REFUSED, with_manifest(item(RepoTags=["\ud800"])), "UTF-8")
    yield say(
        "of Docker 1.0",
        REFUSED,
        tar([Member("repositories", b"{}"), Member("a/json", b"{}"), Member("a/layer.tar", PLAIN)]),
        "Docker before 1.10",
    )


DEEP = b"[" * 100_000
REFUSALS = "is not|refused|too large|too deep|too many|nested|twice|missing|UTF-8|JSON|list|names no image|elements|beyond"
# What no document may be, whatever it is a document of.
STRANGE: dict[str, bytes] = {
    "empty": b"",
    "blanks": b" \n" * 50,
    "null": b"null",
    "a number": b"1",
    "deep": DEEP,
    "deep and closed": DEEP + b"]" * 100_000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "not closed": b'{"a":',
    "two documents": b"{}{}",
    "keys twice": b'{"a":1,"a":2}',
    "NaN": b'{"a":NaN}',
    "-Infinity": b'{"a":-Infinity}',
    "1e999": b'{"a":1e999}',
    "a number of 10^5 digits": b'{"a":' + b"9" * 100_000 + b"}",
    "2^64": b'{"a":18446744073709551616}',
    "a lone surrogate": b'{"a":"\\udc00"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "bytes": bytes(range(256)),
    "NULs": bytes(100),
    "5 MiB": b'{"a":"' + b"a" * (5 << 20) + b'"}',
    "300,000 values": b'{"a":[' + b"0," * 300_000 + b"0]}",
    "a comment": b'{/*x*/"a":1}',
    "single quotes": b"{'a':1}",
    "escapes": b'{"\x1b[31m":}',
    "a string without an end": b'{"a":"' + b"a" * 99_999,
}
MANIFESTS: dict[str, bytes] = STRANGE | {
    "an object": b"{}",
    "no image": b"[]",
    "null in it": b"[null]",
    "lists": b"[[]]",
    "a closed list and more": b'[],"x":[]',
    "5,000 images": dumped([{"Config": "c", "Layers": []}] * 5000),
    "layers as text": item(Layers="a"),
    "config as list": item(Config=[]),
    "layers of numbers": item(Layers=[1, 2]),
    "tags of objects": item(RepoTags=[{}]),
    "config twice": b'[{"Config":"a","Config":"b"}]',
    "NaN for layers": b'[{"Config":"c","Layers":NaN}]',
}


# -- configs


def configs() -> Iterator[Case]:
    """What the config of an image says."""
    say = lambda name, verdict, config, says="": archive(f"config: {name}", verdict, lambda: with_config(config), says)  # noqa: E731
    ids = [str(one) for one in IMAGE.diff_ids]
    for name, data in STRANGE.items():
        yield say(name, REFUSED, data, REFUSALS)
    yield say("one diff id too few", REFUSED, config_for(ids[:1]), "layers")
    yield say("one diff id too many", REFUSED, config_for([*ids, ids[0]]), "layers")
    yield say("diff ids in another order", REFUSED, config_for(ids[::-1]), "digest")
    yield say("diff ids that lie", REFUSED, config_for([ids[0], NOWHERE]), "digest")
    # What the config names is had once, from the first member that is said to be it.
    yield say("one diff id twice", TAKEN, config_for([ids[0], ids[0]]))
    yield say("a diff id in capitals", REFUSED, config_for([ids[0], ids[1].upper()]), "digest")
    yield say("a diff id by an unknown algorithm", REFUSED, config_for([ids[0], "md5:" + "0" * 32]), "unknown|digest")
    yield say("a diff id by sha512", TAKEN, config_for([ids[0], str(Digest.of(IMAGE.layers[1], "sha512"))]))
    yield say("a diff id by sha512 that lies", REFUSED, config_for([ids[0], str(Digest.of(b"", "sha512"))]), "digest")
    yield say("a diff id that is a path", REFUSED, config_for([ids[0], "sha256:../../../etc/passwd"]), "digest")
    yield say("a diff id of 10^6 characters", REFUSED, config_for([ids[0], "sha256:" + "0" * 1_000_000]), "digest")
    yield say("10,000 diff ids", REFUSED, config_for([ids[0]] * 10_000), "elements")
    yield say("rootfs of another type", REFUSED, config_for(ids) | {"rootfs": {"type": "evil", "diff_ids": ids}}, "layers")
    yield say("rootfs is a list", REFUSED, config_for(ids) | {"rootfs": ids}, "object")
    yield say("history is a number", REFUSED, config_for(ids, history=-1), "array")
    yield say("history of negative numbers", REFUSED, config_for(ids, history=[-1, -2]), "object")
    yield say("history of 20,000 steps", REFUSED, config_for(ids, history=[{}] * 20_000), "elements")
    yield say("history of more layers than there are", TAKEN, config_for(ids, history=[{"created_by": "x"}] * 500))
    yield say("history of empty steps alone", TAKEN, config_for(ids, history=[{"empty_layer": True}] * 5))
    yield say(
        "history with escapes",
        TAKEN,
        config_for(ids, history=[{"created_by": ESCAPE, "comment": ESCAPE, "author": ESCAPE, "created": ESCAPE}] * 2),
    )
    yield say("an empty step that is a word", REFUSED, config_for(ids, history=[{"empty_layer": "yes"}]), "boolean")
    for number, when in enumerate(
        (
            "",
            "never",
            "0000-00-00T00:00:00Z",
            "9999-12-31T23:59:59.999999999+23:59",
            "1" * 10_000,
            "-1",
            ESCAPE,
            "2024-01-01T00:00:00.000000000000000001Z",
            "2024-01-01T00:00:00+99:99",
        )
    ):
        yield say(f"created {number}: {when[:24]!r}", TAKEN, config_for(ids, created=when, history=[{"created": when}] * 2))
    for field in ("architecture", "os", "variant", "os.version", "author"):
        yield say(f"{field} with escapes", TAKEN, config_for(ids, **{field: ESCAPE}))
        yield say(f"{field} of 10,000 characters", TAKEN, config_for(ids, **{field: "a" * 10_000}))
    yield say("os is a number", REFUSED, config_for(ids, os=1), "string")
    escapes = {
        "Env": [ESCAPE],
        "Cmd": [ESCAPE],
        "Entrypoint": ESCAPE,
        "Labels": {ESCAPE: ESCAPE},
        "User": ESCAPE,
        "ExposedPorts": {ESCAPE: {}},
        "Volumes": {ESCAPE: ESCAPE},
        "WorkingDir": ESCAPE,
    }
    yield say("escapes wherever text may stand", TAKEN, config_for(ids, config=escapes))
    yield say("labels that are numbers", REFUSED, config_for(ids, config={"Labels": {"a": 1}}), "string")
    yield say("100,000 labels", TAKEN, config_for(ids, config={"Labels": {f"l{n}": "v" for n in range(100_000)}}))
    yield say("60 levels", TAKEN, config_for(ids, more=_nested(50)))
    yield say("70 levels", REFUSED, config_for(ids, more=_nested(70)), "nested")


def _nested(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


# -- cut off, as a file and through a pipe


def cuts() -> Iterator[Case]:
    """Archives that end too early, or go on."""
    shapes = {"docker-archive": tar(docker_20(IMAGE)), "layout": tar(oci(IMAGE)), "gzip": GZIP(tar(docker_25(IMAGE)))}
    for name, data in shapes.items():
        for share in (0.01, 0.2, 0.5, 0.8):
            for stdin in (False, True):
                yield archive(
                    f"cut: {name} at {share:.0%}{' of a pipe' if stdin else ''}",
                    REFUSED,
                    data[: int(len(data) * share)],
                    "cut short|too early|ends|no image archive|is missing|damaged",
                    stdin=stdin,
                )
    yield archive("cut: before the last block", TAKEN, shapes["docker-archive"][:-512])
    yield archive("cut: nothing", REFUSED, b"", "empty")
    yield archive("cut: nothing, of a pipe", REFUSED, b"", "empty", stdin=True)
    yield archive("cut: one byte", REFUSED, b"\0", "no image archive|ends")
    yield archive("cut: rubbish behind a plain archive", TAKEN, shapes["docker-archive"] + b"rubbish" * 999)
    yield archive("cut: two archives in a row", TAKEN, tar(podman(IMAGE)) + tar(podman(Image((BASE,), ("two:2",)))))
    for name, head in (
        ("zip", b"PK\x03\x04"),
        ("an ELF program", b"\x7fELF"),
        ("HTML", b"<html>"),
        ("JSON", b'{"a":1}'),
        ("lz4", b"\x04\x22\x4d\x18"),
        ("escapes", b"\x1b[31m\x1b]0;x\x07"),
        ("text", "日本語".encode() * 99),
    ):
        yield archive(f"cut: {name}", REFUSED, head + bytes(2000), "no image archive")
        yield archive(f"cut: {name} of a pipe", REFUSED, head + bytes(2000), "no image archive", stdin=True)


def dockers() -> Iterator[Case]:
    """All docker-archives that lie."""
    yield from docker_archives()
    yield from configs()
    yield from cuts()
