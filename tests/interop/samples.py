"""Images made without network by a real engine, out of one small tree that holds every kind of member."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

from archive.builders import layer, tar
from images.archives import Built, docker_archive

from interop.contents import sha256
from interop.daemons import Docker
from interop.programs import program, run

ODD = "lamina.test/odd:1"
APP = "lamina.test/app:1"
OTHER_NAMES = ("lamina.test/app:stable", "lamina.test:5000/team/app:2")
GONE = "lamina.test/gone:1"
SAME = "lamina.test/same:1"
COMMITTED = "lamina.test/committed:1"
EMPTY = "lamina.test/empty:1"
SAMPLES = (ODD, APP, GONE, SAME, COMMITTED, EMPTY)

# As large as the contents of each layer's links are not: sizes rounded to three digits agree whether or not the
# storage driver of the engine counts the length of a symbolic link (overlay2 does, vfs does not).
PAYLOAD = 3_000_000
LONG = "long/" + "n" * 120
LONGER = "long/" + "/".join(["d" * 90] * 3) + "/" + "f" * 60


def odd_tree(path: Path) -> Path:
    """A root file system with members of all kinds, in PAX format, and a sparse file that GNU tar adds."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tree:
        _directories(tree)
        busybox = Path(program("busybox")).read_bytes()
        _file(tree, "bin/busybox", busybox, mode=0o755)
        _link(tree, tarfile.SYMTYPE, "bin/sh", "busybox")
        _file(tree, "data/payload", random.Random(7).randbytes(PAYLOAD))
        _link(tree, tarfile.LNKTYPE, "data/hardlink", "data/payload")
        _link(tree, tarfile.SYMTYPE, "data/symlink", "../data/payload")
        _link(tree, tarfile.SYMTYPE, "data/long-symlink", "/" + "t" * 150)
        _link(tree, tarfile.SYMTYPE, "data/dangling", "nowhere")
        _file(tree, "bin/setuid", b"#!/bin/sh\n", mode=0o6755)
        _file(tree, "data/attributes", b"has them", pax={"SCHILY.xattr.user.colour": "blue"})
        _file(tree, "data/capable", b"may", pax={"mtime": "1700000000.123456789"})
        _file(tree, LONG, b"above 100 characters")
        _file(tree, LONGER, b"above 256 characters")
        _file(tree, "data/ünïcode-文字-🐚", "Straße".encode())
        _file(tree, "data/with\nnewline and space", b"")
        _file(tree, "data/owned", b"mine", uid=2_500_000, gid=3_000_000)
        _special(tree, "dev/null", tarfile.CHRTYPE, 1, 3)
        _special(tree, "dev/loop7", tarfile.BLKTYPE, 7, 7)
        _special(tree, "data/fifo", tarfile.FIFOTYPE, 0, 0)
    _add_sparse(path)
    return path


def _directories(tree: tarfile.TarFile) -> None:
    for name in ("bin", "data", "dev", "long", "tmp"):
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755, 1_600_000_000
        tree.addfile(member)


def _file(tree: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0,
          pax: dict[str, str] | None = None) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uid, member.gid, member.mtime = len(data), mode, uid, gid, 1_600_000_001
    member.pax_headers = pax or {}
    tree.addfile(member, io.BytesIO(data))


def _link(tree: tarfile.TarFile, kind: bytes, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mtime = kind, target, 1_600_000_002
    tree.addfile(member)


def _special(tree: tarfile.TarFile, name: str, kind: bytes, major: int, minor: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.devmajor, member.devminor, member.mode = kind, major, minor, 0o666
    tree.addfile(member)


def _add_sparse(path: Path) -> None:
    """GNU tar appends a file of 1 MB of which 8 KiB are there, in the PAX format of sparse files."""
    directory = path.parent / "sparse-tree"
    (directory / "data").mkdir(parents=True)
    with (directory / "data/sparse").open("wb") as file:
        file.write(b"a" * 4096)
        file.seek(1_000_000 - 4096)
        file.write(b"z" * 4096)
    run("tar", "--append", "--file", path, "--sparse", "--format=pax", "--directory", directory, "data/sparse")


def _build(docker: Docker, context: Path, name: str, dockerfile: str, **files: bytes) -> None:
    context.mkdir()
    (context / "Dockerfile").write_text(dockerfile)
    for file, data in files.items():
        (context / file).write_bytes(data)
    docker("build", "-q", "--network=none", "-t", name, context)


def _commit(docker: Docker, parent: str, name: str, *changes: str, message: str) -> None:
    container = docker("create", "--network=none", parent, "/bin/sh").strip()
    docker("commit", "-m", message, "-a", "Some Body <some@body.example>", *changes, container, name)
    docker("rm", container)


def make_samples(docker: Docker, work: Path) -> None:
    """All the images: tagged, of several names, dangling, with whiteouts, without a layer of their own."""
    tree = odd_tree(work / "odd.tar")
    docker("import", "-m", "all kinds of members", "-c", "ENV PATH=/bin", "-c", 'CMD ["/bin/sh"]', tree, ODD)
    for text in (b"first", b"second"):  # the image of the first keeps no name: it dangles
        _build(docker, work / f"app-{text.decode()}", APP,
               f"FROM {ODD}\nLABEL lamina.kind=app lamina.empty=\nENV GREETING='hello world'\n"
               "COPY payload text /srv/\nEXPOSE 80/tcp\nVOLUME /srv/data\nUSER 1000:1000\nSTOPSIGNAL SIGINT\n"
               "HEALTHCHECK --interval=5s CMD [\"true\"]\nWORKDIR /srv\nENTRYPOINT [\"/bin/busybox\"]\n",
               payload=random.Random(8).randbytes(PAYLOAD // 2), text=text)
    for name in OTHER_NAMES:
        docker("tag", APP, name)
    _build(docker, work / "gone", GONE,
           f"FROM {ODD}\n"
           "RUN busybox rm -r /data/hardlink /long && busybox dd if=/data/payload of=/data/copy bs=1000 count=777\n"
           "RUN busybox rm -r /data && busybox mkdir /data && echo new >/data/new\n"
           "LABEL lamina.kind=gone\n"
           "CMD [\"a\\tb\", \"and a line that is rather longer than what a column of the history shows\"]\n")
    _build(docker, work / "same", SAME, f"FROM {APP}\nLABEL lamina.kind=same\n")
    _commit(docker, GONE, COMMITTED, "-c", "LABEL lamina.kind=committed", message="nothing changed")
    docker.load(empty_layer(work / "empty.tar"))


def empty_layer(path: Path) -> Path:
    """An archive of an old image: of three layers, the one in the middle an empty tar."""
    layers = (layer(11, 20_000), tar([]), layer(12, 1_500_000))
    steps = [{"created": f"2023-12-0{day}T03:04:05.{day}Z", "created_by": f"step\t{day} é ß", "comment": "by hand",
              "empty_layer": day == 4} for day in (1, 2, 3, 4)]
    image = Built(*layers[:2], layers[2], created="2023-12-04T03:04:05.4Z", history=[steps[0], steps[3], *steps[1:3]],
                  Labels={"lamina.kind": "empty"})
    path.write_bytes(docker_archive((image, [EMPTY])).getvalue())
    return path


def make_platforms(directory: Path, name: str) -> Path:
    """A layout of one index of two platforms: umoci makes the images, the index is written by hand."""
    layout = directory / "layout"
    run("umoci", "init", "--layout", layout)
    for architecture in ("amd64", "arm64"):
        tree = directory / architecture
        tree.mkdir()
        (tree / "architecture").write_text(architecture)
        place = f"{layout}:{architecture}"
        run("umoci", "new", "--image", place)
        run("umoci", "config", "--image", place, "--architecture", architecture, "--os", "linux")
        run("umoci", "insert", "--image", place, tree, "/")
    _join(layout, name)
    return layout


def _join(layout: Path, name: str) -> None:
    """Put the images of a layout, each tagged with its architecture, into one index of that name."""
    place = layout / "index.json"
    document = json.loads(place.read_bytes())
    members = [{"mediaType": one["mediaType"], "digest": one["digest"], "size": one["size"],
                "platform": {"os": "linux", "architecture": one["annotations"]["org.opencontainers.image.ref.name"]}}
               for one in document["manifests"]]
    media_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": members}, indent=3).encode()
    document["manifests"] = [put(layout, index, media_type) | {"annotations": {"org.opencontainers.image.ref.name": name}}]
    place.write_text(json.dumps(document))


def put(layout: Path, data: bytes, media_type: str) -> dict[str, Any]:
    """Put a blob into a layout; its descriptor."""
    digest = sha256(data)
    (layout / "blobs/sha256" / digest[7:]).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def add_referrer(layout: Path, subject: dict[str, Any], artifact_type: str) -> str:
    """Put an artifact about `subject` into a layout, nameless; its digest."""
    empty = put(layout, b"{}", "application/vnd.oci.empty.v1+json")
    body = put(layout, f"about {subject['digest']}".encode(), "text/plain")
    bare = {key: subject[key] for key in ("mediaType", "digest", "size")}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(layout, json.dumps({"schemaVersion": 2, "mediaType": media_type, "artifactType": artifact_type,
                                       "config": empty, "layers": [body], "subject": bare}).encode(), media_type)
    place = layout / "index.json"
    document = json.loads(place.read_bytes())
    document["manifests"].append({**manifest, "artifactType": artifact_type})
    place.write_text(json.dumps(document))
    return str(manifest["digest"])
