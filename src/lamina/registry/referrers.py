"""What refers to a manifest by `subject`: the referrers API, and the tag that stands in for it where there is none.

Distribution specification 1.1, "Listing Referrers", "Unavailable Referrers API", "Referrers Tag Schema".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Lock
from urllib.parse import urlencode

from lamina.digest import Digest
from lamina.errors import Conflict, InvalidContent, LimitExceeded, NotFound
from lamina.oci import MAX_BYTES, MAX_MANIFESTS, OCI_INDEX, Descriptor, Index, Manifest, is_index, loads, parse_index
from lamina.registry.following import pages
from lamina.registry.repository import Repository

# Referrers of one manifest that are listed; a signature, a few attestations and SBOMs are what there is.
MAX_REFERRERS = 16_384

# The tag's index is read, changed and written: by one thread of this process at a time.  Between processes the
# specification leaves a race.
_WRITING = Lock()


def referrers_tag(digest: Digest) -> str:
    """`sha256-…`: at most 32 characters of the algorithm's name and 64 of its hex."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def referrers(repository: Repository, subject: Digest, artifact_type: str = "") -> Iterator[Descriptor]:
    """The manifests whose `subject` is that one, each once, of one artifact type or of all.

    `LimitExceeded` beyond `MAX_REFERRERS`; `RegistryError` for pages without end; `InvalidContent`.
    """
    query = "?" + urlencode({"artifactType": artifact_type}) if artifact_type else ""
    first = f"/v2/{repository.path}/referrers/{subject}{query}"
    seen: set[Digest] = set()

    def ask(url: str) -> tuple[list[Descriptor], str | None]:
        page = repository.referrers_page(url)
        if page is None:
            # Only the first may be without: a list that breaks off is not whole.
            if url != first:
                raise InvalidContent("list of referrers breaks off", repository.name)
            return _matching(_tagged(repository, subject), artifact_type), None
        data, headers, following = page
        filtered = "artifacttype" in headers.get("OCI-Filters-Applied", "").lower()
        return _matching(_entries(data, repository), "" if filtered else artifact_type), following

    for one in pages(first, ask, "referrers", repository.name, MAX_REFERRERS):
        if one.digest not in seen:
            seen.add(one.digest)
            yield one


def note_referrer(repository: Repository, descriptor: Descriptor, manifest: Manifest | Index) -> None:
    """Add a manifest to the index of its subject's referrers tag, which keeps what it holds.

    To be called where the answer to its PUT had no `OCI-Subject`.  `Conflict`: the tag leads to something else;
    `LimitExceeded`: the index is full.
    """
    assert manifest.subject is not None
    tag = referrers_tag(manifest.subject.digest)
    kind = manifest.artifact_type
    if not kind and isinstance(manifest, Manifest):
        kind = manifest.config.media_type
    entry = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, artifact_type=kind,
                       annotations=manifest.annotations)
    with _WRITING:
        document = _document(repository, tag)
        entries = document.setdefault("manifests", [])
        if any(one.get("digest") == descriptor.digest for one in entries):
            return
        entries.append(entry.to_json())
        data = json.dumps(document, separators=(",", ":")).encode()
        if len(entries) > MAX_MANIFESTS or len(data) > MAX_BYTES:
            raise LimitExceeded("a manifest has too many referrers", f"{repository.name}:{tag}",
                                f"at most {MAX_MANIFESTS} and {MAX_BYTES} bytes are written")
        repository.put_manifest(tag, OCI_INDEX, Digest.of(data), data)


def _document(repository: Repository, tag: str) -> dict[str, list[dict[str, object]]]:
    """The index that a referrers tag leads to, with all its fields, or a new one."""
    try:
        found, data = repository.own_manifest(tag)
    except NotFound:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX}  # type: ignore[dict-item]
    if not is_index(found.media_type):
        raise Conflict("the tag of a manifest's referrers is no index", f"{repository.name}:{tag}")
    return loads(data, "index", where=repository.name)


def _tagged(repository: Repository, subject: Digest) -> list[Descriptor]:
    try:
        found, data = repository.manifest(referrers_tag(subject))
    except NotFound:
        return []
    return _entries(data, repository) if is_index(found.media_type) else []


def _entries(data: bytes, repository: Repository) -> list[Descriptor]:
    return list(parse_index(data, where=repository.name).manifests)


def _matching(entries: list[Descriptor], artifact_type: str) -> list[Descriptor]:
    return [one for one in entries if not artifact_type or one.artifact_type == artifact_type]
