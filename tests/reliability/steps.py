"""Commands that are disturbed, the stores that they begin from, and what is to be seen of a store afterwards.

All of this runs in children of `faults.Forks`: arguments and results are JSON.  `{in}`, `{out}` and `{registry}` in the
words of a command stand for the directory with archives, an output directory, and the host of a registry.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import pkgutil
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.archives import Built, described, docker_archive, sha256
from store.storekit import leftovers, live_packs, noise, pack_files, problems, tar_of, words

import lamina
import lamina.cli.commands
from lamina.cli.run import run
from lamina.errors import LaminaError
from lamina.reference import Reference
from lamina.store.catalog import Catalog
from lamina.store.peek import CATALOG
from lamina.store.schema import LIVE

for _found in pkgutil.iter_modules(lamina.cli.commands.__path__, "lamina.cli.commands."):
    importlib.import_module(_found.name)
for _name in ("images.load", "images.import_", "images.tagging", "images.pull", "images.copy", "images.save", "store.session",
              "store.collect", "store.optimize", "store.verify", "store.rebuild", "store.assemble", "archive.layout_dir"):
    importlib.import_module(f"lamina.{_name}")

SHARED = tar_of({"shared": noise(1, 120_000), "words": words(1, 90_000)})


@dataclass(frozen=True, slots=True)
class Step:
    """One command.  `base`: the store that it begins from; `root`: what the calls are counted below, store or out."""

    name: str
    words: tuple[str, ...]
    base: str = "base"
    root: str = "store"
    out: str = ""  # what the output directory begins with
    again: int = 0  # exit code of the command done once more after it was through


STEPS = (
    Step("load into a new store", ("load", "-q", "{in}/new.tar"), base="none"),
    Step("load", ("load", "-q", "{in}/new.tar")),
    Step("load of compressed layers", ("load", "-q", "{in}/gzip.tar")),
    Step("load of several archives", ("load", "-q", "{in}/new.tar", "{in}/gzip.tar", "{in}/more.tar")),
    Step("load over a name", ("load", "-q", "{in}/over.tar")),
    Step("import", ("import", "-c", "CMD /bin/sh", "{in}/root.tar", "imported:1")),
    Step("copy of a layout", ("copy", "-q", "oci:{in}/layout", "copied:1")),
    Step("pull", ("pull", "-q", "{registry}/pulled:1")),
    Step("tag", ("tag", "app:1", "other:1")),
    Step("tag over a name", ("tag", "app:1", "app:2")),
    Step("rmi of one name of two", ("rmi", "app:stable"), again=1),
    Step("rmi", ("rmi", "app:2"), again=1),
    Step("image prune", ("image", "prune", "-f")),
    Step("image prune -a", ("image", "prune", "-a", "-f")),
    Step("gc", ("gc",)),
    Step("gc of all", ("collect",)),
    Step("optimize", ("optimize", "-q")),
    Step("save of an archive", ("save", "-q", "-o", "{out}/saved", "app:1", "app:2"), root="out"),
    Step("save over an archive", ("save", "-q", "--format", "oci-archive", "-o", "{out}/saved", "app:1"), root="out",
         out="archive"),
    Step("save of a layout", ("save", "-q", "--format", "oci-dir", "-o", "{out}/saved", "app:1"), root="out"),
    Step("save into a layout", ("save", "-q", "--format", "oci-dir", "-o", "{out}/saved", "app:2"), root="out", out="layout"),
    Step("save, the store watched", ("save", "-q", "-o", "{out}/saved", "app:1"), root="store"),
)


def image(seed: int, size: int = 150_000) -> Built:
    """An image with a layer that all have and one of its own."""
    return Built(SHARED, tar_of({f"own{seed}": noise(seed, size), "text": words(seed, 60_000)}))


def oci_gzip(seed: int, name: str, size: int = 400_000) -> dict[str, bytes]:
    """The files of a layout with an image of compressed layers."""
    built = image(seed, size)
    layers = [gzip.compress(data, 6, mtime=0) for data in built.layers]
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": described("application/vnd.oci.image.config.v1+json", built.config),
                           "layers": [described(kind, data) for data in layers]}).encode()
    root = described("application/vnd.oci.image.manifest.v1+json", manifest,
                     annotations={"io.containerd.image.name": name})
    files = {f"blobs/sha256/{sha256(blob)[7:]}": blob for blob in (manifest, built.config, *layers)}
    return files | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
                    "index.json": json.dumps({"schemaVersion": 2, "manifests": [root]}).encode()}


def make(folder: str) -> None:
    """Archives in `folder/in`, stores `folder/base` and (none) `folder/none`, outputs to begin with."""
    place = Path(folder)
    archives = place / "in"
    archives.mkdir()
    made = {"a": (11, "app:1"), "b": (12, "app:2"), "c": (13, "gone:1"), "d": (14, "app:old"), "e": (15, "app:old"),
            "new": (16, "new:1"), "more": (17, "more:1"), "over": (18, "app:1")}
    for file, (seed, name) in made.items():
        (archives / f"{file}.tar").write_bytes(docker_archive((image(seed), [name])).getvalue())
    (archives / "gzip.tar").write_bytes(tar_of(oci_gzip(20, "docker.io/library/zipped:1")))
    (archives / "root.tar").write_bytes(image(21).layers[1])
    for name, data in oci_gzip(22, "docker.io/library/layout:1").items():
        (archives / "layout" / name).parent.mkdir(parents=True, exist_ok=True)
        (archives / "layout" / name).write_bytes(data)
    base = str(place / "base")
    for line in ("load -q {in}/a.tar {in}/c.tar", "load -q {in}/b.tar", "load -q {in}/d.tar", "load -q {in}/e.tar",
                 "tag app:1 app:stable", "rmi gone:1"):
        assert run(["--store", base, *(word.replace("{in}", str(archives)) for word in line.split())]) == 0
    for kind in ("archive", "layout"):
        form = {"archive": "oci-archive", "layout": "oci-dir"}[kind]
        (place / kind).mkdir()
        assert run(["--store", base, "save", "-q", "--format", form, "-o", str(place / kind / "saved"), "app:old"]) == 0


def command(words: list[str], store: str) -> int:
    """One command as the program runs it; its exit code."""
    if words[0] != "collect":
        return run(["--store", store, *words])
    try:
        with lamina.open(store) as opened:
            opened.blobs.collect(max_unused=0)
    except LaminaError as error:
        print(f"lamina: error: {error}", file=sys.stderr)
        return 1
    return 0


def command_then_power_cut(words: list[str], store: str, copy: str) -> int:
    """A command beside another process that has the catalog open; what is on disk then, in a copy.

    SQLite's log is still there, so it is read from its beginning when the copy is opened.
    """
    with Catalog.open(Path(store) / CATALOG):
        code = command(words, store)
        shutil.copytree(store, copy, ignore=shutil.ignore_patterns("*-shm"))
    return code


# -- what is to be seen


def look(store: str) -> dict[str, Any]:
    """Names and what they lead to, the digest of an archive of them all with every blob as it came, what `verify` finds."""
    with lamina.open(store) as opened:
        names = {name: str(descriptor.digest) for name, descriptor in opened.blobs.references()}
        out = io.BytesIO()
        if words := [name[1:] if name.startswith("@") else Reference.parse(name).familiar() for name in sorted(names)]:
            opened.save(words, out, format="oci-archive")
        return {"names": names, "saved": hashlib.sha256(out.getvalue()).hexdigest(), "problems": problems(opened.blobs)}


def settle(store: str) -> dict[str, Any]:
    """After a collection of all that is dead: chunks and blobs that the packs hold, and what should not be there."""
    with lamina.open(store) as opened:
        opened.blobs.collect(max_unused=0)
        live = []  # which of them lie in one frame depends on threads; that each is there once does not
        for pack in opened.blobs.catalog.packs(LIVE):
            footer = opened.blobs.packs.footer(pack.number)
            live += [bytes(each).hex() for each in footer.ids]
            live += [key["digest"] for _, key in footer.key_rows() if "digest" in key]
        kept = opened.blobs.partials.named()  # of a download that was interrupted: to go on from, for a week
        strange = [each for each in leftovers(opened.blobs) if Path(each).suffix[1:] not in kept]
        strange += sorted(pack_files(opened.blobs) ^ live_packs(opened.blobs))
        return {"live": sorted(live), "strange": strange}


def dead(store: str) -> int:
    """Bytes of frames that nothing refers to."""
    with lamina.open(store) as opened:
        return opened.blobs.usage().dead


def look_at_output(out: str) -> dict[str, Any]:
    """What stands under the final name: the digest of a file; of a layout its names, and blobs that are not what they claim."""
    place = Path(out) / "saved"
    if place.is_file():
        return {"file": hashlib.sha256(place.read_bytes()).hexdigest()}
    if not place.exists():
        return {}
    bad = [blob.name for blob in place.glob("blobs/sha256/*") if hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name]
    names = {}
    for entry in json.loads((place / "index.json").read_bytes())["manifests"]:
        names[entry["annotations"]["io.containerd.image.name"]] = entry["digest"]
        manifest = json.loads((place / "blobs/sha256" / entry["digest"][7:]).read_bytes())
        bad += [one["digest"] for one in (manifest["config"], *manifest["layers"])
                if not (place / "blobs/sha256" / one["digest"][7:]).is_file()]
    return {"names": names, "bad": bad}


def whole_look(store: str, out: str) -> dict[str, Any]:
    """`look` and `look_at_output`."""
    return look(store) | {"output": look_at_output(out)}
