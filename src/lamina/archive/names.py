"""The names that archives give to images: what the writers put where, and what to do about doubles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamina.digest import ALGORITHMS
from lamina.errors import InvalidReference
from lamina.oci import Descriptor
from lamina.reference import Reference

# Set by docker since version 25 and by containerd: the whole name.
CONTAINERD_NAME = "io.containerd.image.name"
# image-spec annotations.md: the whole name (podman, buildah) or only the tag (docker, containerd).
REF_NAME = "org.opencontainers.image.ref.name"


def annotated_name(annotations: Mapping[str, str]) -> str:
    """The name in an `index.json` descriptor's annotations, as it stands there; ''."""
    return annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME, "")


def is_bare_tag(name: str) -> bool:
    """Whether it is a tag without the name of an image: `latest`, `v1`."""
    return not any(mark in name for mark in "/:@")


def annotations_for(name: str) -> dict[str, str]:
    """What an `index.json` descriptor of that name is annotated with; the inverse of `annotated_name`."""
    if not name:
        return {}
    if is_bare_tag(name):
        return {REF_NAME: name}
    tag = Reference.parse(name).tag
    return {CONTAINERD_NAME: name} | ({REF_NAME: tag} if tag else {})


class Names:
    """Collects the roots of an archive and their names, in order; of one name the last root counts."""

    def __init__(self, where: object) -> None:
        self.warnings: list[str] = []
        self._where = where
        self._roots: dict[str, Descriptor] = {}
        self._names: dict[str, Descriptor] = {}

    def add(self, names: Iterable[str], root: Descriptor) -> None:
        """Note a root and the names given to it; a name that is none is left out and said aloud."""
        self._roots.setdefault(root.digest, root)
        for text in names:
            try:
                reference = Reference.parse(text)
            except InvalidReference:
                self.warnings.append(f"{text[:160]!r} in {self._where} is no image name, the image stays without")
                continue
            if reference.familiar_name in ALGORITHMS:  # `sha256:…` is an id, whoever asks for it
                self.warnings.append(f"{text[:160]!r} in {self._where} would be a digest, the image stays without")
            elif reference.tag:
                self._name(str(reference), root)

    def has(self, text: str) -> bool:
        """Whether a root bears that name."""
        try:
            return str(Reference.parse(text)) in self._names
        except InvalidReference:
            return False

    def pairs(self) -> list[tuple[str, Descriptor]]:
        """(name, root) for all, roots in order, a nameless one with ''."""
        names: dict[str, list[str]] = {}
        for name, root in self._names.items():
            names.setdefault(root.digest, []).append(name)
        return [(name, root) for digest, root in self._roots.items() for name in names.get(digest, [""])]

    def _name(self, name: str, root: Descriptor) -> None:
        earlier = self._names.get(name, root)
        if earlier.digest != root.digest:
            short = Reference.parse(name).familiar()
            self.warnings.append(f"{short} is given twice in {self._where}, the last one counts")
        self._names[name] = root
