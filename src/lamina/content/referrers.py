"""Referrers: manifests and indexes that name another one as their `subject` (signatures, attestations, bills of material).

A subject names nothing of this, so that only who holds the referrers can say what refers to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from lamina.content import ReferrerSource, Source
from lamina.content.verify import read_blob
from lamina.errors import InvalidContent, LimitExceeded, NotFound
from lamina.oci import Descriptor, Index, Manifest, is_index, is_manifest, parse_index, parse_manifest

# Subjects above a referrer: a signature of an attestation of an image is two.  What is deeper is made to be walked in vain.
MAX_DEPTH = 4


def is_document(media_type: str) -> bool:
    """Whether it can have a subject, and be one: a manifest or an index."""
    return is_manifest(media_type) or is_index(media_type)


def subject_of(media_type: str, data: bytes, where: object = "") -> Descriptor | None:
    """What a manifest or index says that it refers to; None for other media types.  `InvalidContent`."""
    parsed = _parse(media_type, data, where)
    return None if parsed is None else parsed.subject


def listed(descriptor: Descriptor, data: bytes) -> Descriptor:
    """A manifest or index as a list of referrers has it: with annotations and its artifact type or its config's."""
    parsed = _parse(descriptor.media_type, data, descriptor.digest)
    if parsed is None:
        return descriptor
    artifact_type = parsed.artifact_type
    if not artifact_type and isinstance(parsed, Manifest):
        artifact_type = parsed.config.media_type
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, artifact_type=artifact_type,
                      annotations=parsed.annotations)


class Subjects:
    """What manifests refer to, each read once: documents do not change under their digests."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, Descriptor] | None] = {}

    def referring(self, source: Source, candidates: Iterable[Descriptor], subject: Descriptor) -> Iterator[Descriptor]:
        """Those of the manifests and indexes that have this subject, as `listed`; what is missing or damaged has none."""
        for one in candidates:
            key = one.digest, one.media_type
            if key not in self._known:
                try:
                    self._known[key] = _read(source, one)
                except NotFound:
                    continue  # it may come
                except (InvalidContent, LimitExceeded):
                    self._known[key] = None
            known = self._known[key]
            if known is not None and known[0] == subject.digest:
                yield known[1]


def _read(source: Source, one: Descriptor) -> tuple[str, Descriptor] | None:
    data = read_blob(source, one)
    said = subject_of(one.media_type, data, one.digest)
    return None if said is None else (said.digest, listed(one, data))


def referrers_of(source: Source, descriptor: Descriptor) -> Iterable[Descriptor]:
    """What refers to `descriptor`; nothing where the source cannot say."""
    return source.referrers(descriptor) if isinstance(source, ReferrerSource) else ()


def hanging(source: Source, references: Collection[tuple[str, Descriptor]]) -> set[str]:
    """Digests of the nameless roots that are referrers: where their subject is, they belong to that, and are no images."""
    named = {root.digest for name, root in references if name}
    found = set()
    for _, root in references:
        if root.digest not in named and is_document(root.media_type):
            with suppress(NotFound, InvalidContent, LimitExceeded):  # said by who copies it
                if subject_of(root.media_type, read_blob(source, root), root.digest) is not None:
                    found.add(str(root.digest))
    return found


def _parse(media_type: str, data: bytes, where: object) -> Manifest | Index | None:
    if is_manifest(media_type):
        return parse_manifest(data, media_type, where)
    return parse_index(data, media_type, where) if is_index(media_type) else None
