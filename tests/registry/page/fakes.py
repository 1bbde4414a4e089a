"""A library in memory, as friendly or hostile as a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lamina.errors import NotFound
from lamina.registry.server.page.library import (
    File,
    Files,
    Hit,
    Image,
    Index,
    Layer,
    Member,
    Other,
    Point,
    Repository,
    Sharing,
    Step,
    Store,
    Tag,
    Traffic,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NOW = 1_700_000_000.0
# Each of these tries to get out of the text that it stands in.
HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)", "&lt;b&gt;",
    "\x1b[31m\x9b2J\x85", "\u202egnp.exe", "\u2066\u200f\u2028", "\ud800\udfff", "a" * 900_000,
    "-->]]></title></textarea><svg/onload=alert(1)>", "\0\x7f")


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(number: int = 1, count: int = 3, **changes: object) -> Image:
    listed = tuple(Layer(digest(1000 * number + place), LAYER, 10 ** (place % 4 + 4), True, 12)
                   for place in range(count))
    steps = tuple(Step("2024-01-02T03:04:05Z", f"RUN step {place}", "", place) for place in range(count))
    values: dict[str, object] = {
        "digest": digest(number), "media_type": MANIFEST, "config_digest": digest(number + 500),
        "platform": "linux/amd64",
        "artifact": "", "created": "2024-01-02T03:04:05Z", "author": "", "layers": listed,
        "size": sum(one.size for one in listed),
        "history": (*steps, Step("", "ENV A=b", "", None)), "names": ("latest",),
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh", "-c", "run"], "Labels": {"maintainer": "me"},
                   "ExposedPorts": {"80/tcp": {}}}}
    return Image(**{**values, **changes})  # type: ignore[arg-type]


def index(number: int, *members: Image) -> Index:
    listed = [Member(one.digest, MANIFEST, one.platform, "image", one.size, True) for one in members]
    listed.append(Member(digest(99), MANIFEST, "", "attestation", 500, True))
    listed.append(Member(digest(98), MANIFEST, "linux/s390x", "image", 500, False))
    return Index(digest(number), INDEX, tuple(listed), {}, ("multi",))


@dataclass
class FakeLibrary:
    """`items`: (repository, tag or digest) -> what it leads to."""

    items: dict[tuple[str, str], Image | Index] = field(default_factory=dict)
    shared: Sharing | None = None
    members: Sequence[File] = ()
    points: Sequence[Point] = ()
    hits: Sequence[Hit] = ()
    counts: Traffic = field(default_factory=Traffic)
    wrong: list[str] = field(default_factory=list)
    fails: Exception | None = None
    chunks: int | None = 2_000_000

    def put(self, repository: str, tag: str, one: Image | Index) -> None:
        self.items[repository, tag] = self.items[repository, one.digest] = one

    def repositories(self) -> Sequence[Repository]:
        if self.fails:
            raise self.fails
        found = []
        for name in sorted({name for name, _ in self.items}):
            tags = tuple(Tag(tag, one.digest, one.media_type, 1_500_000, ("linux/amd64", "linux/arm64"), NOW, NOW)
                         for (own, tag), one in self.items.items() if own == name and ":" not in tag)
            found.append(Repository(name, tags, len(tags), 3_000_000, NOW))
        return found

    def repository(self, name: str) -> Repository | None:
        return next((one for one in self.repositories() if one.name == name), None)

    def item(self, repository: str, reference: str) -> Image | Index | None:
        if self.fails:
            raise self.fails
        return self.items.get((repository, reference))

    def sharing(self, digest: str, may: Callable[[str], bool]) -> Sharing | None:
        return self.shared

    def files(self, layer: str, prefix: bytes, start: int, limit: int) -> Files:
        if not self.members:
            raise NotFound("no such layer", layer)
        found = [(place, one) for place, one in enumerate(self.members) if place >= start and one.path.startswith(prefix)]
        return Files(tuple(one for _, one in found[:limit]), found[limit][0] if len(found) > limit else None, len(self.members))

    def find(self, prefix: str, limit: int) -> Sequence[Hit]:
        return [hit for hit in self.hits if hit.digest.partition(":")[2].startswith(prefix.rpartition(":")[2])][:limit]

    def store(self) -> Store:
        return Store(2, 3, 4, 7_000_000, 3_000_000, 1_000_000, self.chunks, NOW, 10**11)

    def series(self) -> Sequence[Point]:
        return self.points

    def traffic(self) -> Traffic:
        return self.counts

    def problems(self) -> list[str]:
        return self.wrong


def friendly() -> FakeLibrary:
    """Some repositories with an image, an index and an artifact."""
    one, two = image(1), image(2, platform="linux/arm64")
    library = FakeLibrary(counts=Traffic(5_000_000, 7_000_000, 42, 1))
    library.put("team/app", "latest", one)
    library.put("team/app", "multi", index(3, one, two))
    library.put("alpine", "3.20", image(4, 1))
    library.put("charts/web", "1.0", image(5, 1, platform="", artifact="application/vnd.cncf.helm.config.v1+json", config={},
                                           history=(), names=("1.0",)))
    library.items["team/app", two.digest] = two
    library.items["team/app", digest(99)] = image(99, 1, platform="", artifact="application/vnd.in-toto+json")
    split = {layer.digest: (layer.size // 3, layer.size // 2) for layer in one.layers}
    library.shared = Sharing(3_000_000, 6_000_000, split, (Other("alpine", "alpine:3.20", digest(4), 4_000_000),
                                                          Other("team/app", "team/app:multi", digest(2), 90_000)), 3, NOW)
    library.points = [Point(NOW + 3600 * hour, 1_000_000 * hour, 500_000 * hour, 400_000 * hour, 200_000 * hour + 9)
                      for hour in range(500)]
    library.members = [
        File("5", b"usr/", b"", 0, 0o755, 0, 0, 1_700_000_000),
        File("0", b"usr/bin", b"", 1_234_567, 0o4755, 0, 0, 1_700_000_000),
        File("2", b"usr/sh", b"bash", 0, 0o777, 0, 0, -5), File("1", b"usr/hard", b"usr/bin", 0, 0o644, 1000, 1000, 1 << 62),
        File("0", b"\xff\xfe<b>\n\xe2\x80\xae", b"", 1, 0o644, 0, 0, 0)]
    library.hits = [Hit("manifest", digest(1), "team/app", digest(1)), Hit("layer", digest(1000), "team/app", digest(1))]
    return library


def hostile() -> FakeLibrary:
    """Everything that a client may choose is out to break the page; names of repositories and tags cannot be, but are here."""
    library = FakeLibrary()
    words = dict(enumerate(HOSTILE))
    for number, text in words.items():
        layers = (Layer(digest(number + 50), text, 1 << 70, True, 5), Layer(digest(number + 80), text, 0, False, None))
        one = image(number + 1, platform=text, author=text, created=text, media_type=text, layers=layers,
                    annotations={text: text}, names=(text,),
                    history=tuple(Step(text, text, text, place) for place in (0, 1, 2, 99)),
                    config={"Env": [text, 7, None], "Cmd": text, "Entrypoint": [text], "Labels": {text: text}, "User": [text],
                            "Volumes": {text: {}}, "ExposedPorts": [text], "WorkingDir": text})
        library.put(f"evil{number}{text[:250]}", text[:128] or "x", one)
    library.shared = Sharing(1, 0, {}, tuple(Other(text, text, digest(1), 5) for text in HOSTILE), 0, 1e300)
    raw = [text.encode("utf-8", "surrogatepass") for text in HOSTILE]
    library.members = [File("0", text, text, 1 << 62, 0xFFFFFFFF, -(1 << 62), 1 << 62, -(1 << 62)) for text in raw] + [
        File("\x9b", b"", b"", -1, 0, 0, 0, 0)]
    return library
