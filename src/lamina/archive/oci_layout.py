"""OCI image layout (image-layout.md): `oci-layout`, `index.json` and `blobs/`, as a directory or in a tar.

`docker save` writes it since version 25, with docker-archive's `manifest.json` beside it: the graph is read
from `index.json`, so that every digest survives, and `manifest.json` only adds names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lamina.archive.docker import MANIFEST, read_items
from lamina.archive.members import Members, read_document
from lamina.archive.names import Names, annotated_name, is_bare_tag
from lamina.content import Intake, Reader, Taken
from lamina.content.referrers import Subjects
from lamina.content.verify import BytesReader, read_blob
from lamina.digest import Digest
from lamina.errors import ArchiveError, DigestMismatch, NotFound
from lamina.jsonlimits import Fields, loads
from lamina.oci import Descriptor, is_index, is_manifest, parse_index, parse_manifest

LAYOUT = "oci-layout"
INDEX = "index.json"
VERSION = "1.0.0"

# Indexes below a root that are searched for the image which manifest.json names.
_MAX_DEPTH = 4


def blob_path(digest: Digest) -> str:
    """Where a layout has the blob of that digest."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


class OciLayoutArchive:
    """The roots of a layout, each as `index.json` names it."""

    name = "oci"

    def __init__(self, members: Members, fetch_taken: Callable[[Taken], Reader]) -> None:
        self._members, self._fetch_taken = members, fetch_taken
        self._subjects = Subjects()
        check_layout(members)
        place = f"{INDEX} in {members.where}"
        index = parse_index(read_document(members, INDEX, "index"), where=place)
        names = Names(members.where)
        self._tags: dict[str, Descriptor] = {}
        self._roots = [one for one in index.manifests if is_manifest(one.media_type) or is_index(one.media_type)]
        if not self._roots:
            raise ArchiveError(f"{INDEX} names no image", members.where)
        for root in self._roots:
            names.add(self._names_of(root), root)
        if members.has(MANIFEST):
            self._add_docker_names(names)
        self.warnings = names.warnings
        self._references = names.pairs()

    @staticmethod
    def recognises(members: Members) -> bool:
        return members.has(LAYOUT) and members.has(INDEX)

    def references(self) -> list[tuple[str, Descriptor]]:
        return self._references

    def fetch(self, descriptor: Descriptor) -> Reader:
        path = blob_path(descriptor.digest)
        if not self._members.has(path):
            if descriptor.data is not None:
                return BytesReader(descriptor.data)
            raise NotFound("no such blob in the archive", descriptor.digest)
        taken = self._members.taken(path)
        if taken is None:
            return self._members.open(path)
        if taken.digest.algorithm == descriptor.digest.algorithm and taken.digest != descriptor.digest:
            raise DigestMismatch(f"blob has digest {taken.digest}", descriptor.digest)
        return self._fetch_taken(Taken(descriptor.digest, taken.size))

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """By reading the manifests that `index.json` lists."""
        return list(self._subjects.referring(self, {root.digest: root for root in self._roots}.values(), descriptor))

    def resolve(self, reference: str) -> Descriptor:
        """A root by the bare tag that `index.json` knows it by."""
        if reference not in self._tags:
            raise NotFound("no such reference in the archive", reference)
        return self._tags[reference]

    def complete(self, intake: Intake | None) -> None:
        """Nothing to do: the manifests are there."""

    def _names_of(self, root: Descriptor) -> list[str]:
        name = annotated_name(root.annotations)
        if name and is_bare_tag(name):
            self._tags[name] = root
            return []
        return [name] if name else []

    def _add_docker_names(self, names: Names) -> None:
        """Give the names in `manifest.json` to the roots that lead to the configs which it names."""
        items = [item for item in read_items(self._members) if any(not names.has(tag) for tag in item.tags)]
        if not items:
            return
        roots: dict[str, Descriptor] = {}
        for root in self._roots:
            for config in self._configs(root, 0, set()):
                roots.setdefault(config, root)
        for item in items:
            config = self._members.key(item.config)
            found = roots.get(config)
            if found is None:
                tags = ", ".join(item.tags)[:160]
                names.warnings.append(f"{MANIFEST} names {tags}, whose image is not in {INDEX}")
            else:
                names.add([tag for tag in item.tags if not names.has(tag)], found)

    def _configs(self, root: Descriptor, depth: int, seen: set[Digest]) -> Iterator[str]:
        """The members that are configs of the images below a root; each index is read once."""
        path = blob_path(root.digest)
        if depth == _MAX_DEPTH or root.digest in seen or not self._members.has(path):
            return
        seen.add(root.digest)
        if is_manifest(root.media_type):
            manifest = parse_manifest(read_blob(self, root), root.media_type, root.digest)
            yield blob_path(manifest.config.digest)
        elif is_index(root.media_type):
            for child in parse_index(read_blob(self, root), root.media_type, root.digest).manifests:
                yield from self._configs(child, depth + 1, seen)


def check_layout(members: Members) -> None:
    """`ArchiveError` for what is no layout, or one of an unknown version."""
    if not (members.has(LAYOUT) and members.has(INDEX)):
        raise ArchiveError(f"no OCI layout: {LAYOUT} and {INDEX} are not there", members.where)
    document = loads(read_document(members, LAYOUT, "layout"), LAYOUT, where=members.where)
    version = Fields(document, LAYOUT, where=members.where).text("imageLayoutVersion", required=True)
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise ArchiveError(f"unknown version of OCI layout: {version[:40]!r}", members.where)
