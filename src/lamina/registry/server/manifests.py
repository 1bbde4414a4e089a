"""Manifests: GET and HEAD by tag or digest, PUT, DELETE (distribution specification, "Pulling", "Pushing", "Deleting")."""

from __future__ import annotations

from lamina.digest import Digest
from lamina.registry.server import names
from lamina.registry.server.admission import DELETE, PULL, PUSH, Access
from lamina.registry.server.answers import Answer, named, unchanged
from lamina.registry.server.checking import check
from lamina.registry.server.contents import Contents, Document
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import Call
from lamina.registry.server.settings import Limits


def get(contents: Contents, access: Access, call: Call) -> Answer:
    """The document, byte for byte, whatever `Accept` says: clients that cannot use it say so better than a 404."""
    access.admit(call.headers, call.repository, PULL)
    reference = names.found(call.reference)
    document = contents.manifest(call.repository, reference)
    headers = {"Content-Type": document.media_type, **named(document.digest)}
    if unchanged(call.headers, document.digest):
        return Answer(304, named(document.digest))
    return Answer(200, headers, document.data)


def admit_put(access: Access, call: Call, limits: Limits, length: int | None) -> None:
    """All that can be refused before the body has come."""
    access.admit(call.headers, call.repository, PUSH)
    _expected(call)
    _tags(call, limits)
    if length is not None and length > limits.manifest:
        raise Refusal("MANIFEST_INVALID", f"at most {limits.manifest} bytes are taken", status=413)
    if call.headers.get("Content-Range") is not None:
        raise Refusal("MANIFEST_INVALID", "a manifest comes whole")
    if call.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("MANIFEST_INVALID", "a manifest comes as it is", status=415)


def put(contents: Contents, call: Call, limits: Limits, data: bytes) -> Answer:
    """Check and keep what has arrived."""
    expected, algorithm = _expected(call)
    digest = Digest.of(data, algorithm)
    if expected is not None and expected != digest:
        raise Refusal("DIGEST_INVALID", f"the manifest is {digest}")
    checked = check(data, call.headers.get("Content-Type", ""))
    tags, by_digest = _tags(call, limits)
    contents.put_manifest(call.repository, Document(digest, checked.media_type, data), tags)
    headers = {"Location": call.path("manifests", digest), "Docker-Content-Digest": str(digest)}
    if checked.subject is not None:
        headers["OCI-Subject"] = str(checked.subject.digest)
    return Answer(201, headers, lines=[("OCI-Tag", tag) for tag in tags] if by_digest else [])


def delete(contents: Contents, access: Access, call: Call) -> Answer:
    """A tag alone, or a manifest with every tag that leads to it."""
    access.admit(call.headers, call.repository, DELETE)
    reference = names.found(call.reference)
    if isinstance(reference, Digest):
        contents.delete_manifest(call.repository, reference)
    else:
        contents.delete_tag(call.repository, reference)
    return Answer(202)


def _expected(call: Call) -> tuple[Digest | None, str]:
    """The digest that the client gives, in the path or as `?digest=`, and the algorithm that names what it pushes.

    `?digest-algorithm=` chooses one for a push by tag.
    """
    given = [names.digest(one) for one in (call.reference if ":" in call.reference else None, call.one("digest")) if one]
    asked = call.one("digest-algorithm")
    if len(set(given)) > 1:
        raise Refusal("DIGEST_INVALID", "two digests are given")
    expected = given[0] if given else None
    algorithm = expected.algorithm if expected else names.algorithm(asked or "sha256")
    if asked and asked != algorithm:
        raise Refusal("DIGEST_INVALID", f"the digest is no {names.shown(asked)}")
    return expected, algorithm


def _tags(call: Call, limits: Limits) -> tuple[list[str], bool]:
    """The tags to set, and whether the push is by digest, with tags as parameters."""
    if ":" not in call.reference:
        return [names.tag(call.reference)], False
    tags = list(dict.fromkeys(names.tag(one) for one in call.query.get("tag", [])))
    if len(tags) > limits.tags:
        raise Refusal("TAG_INVALID", f"at most {limits.tags} tags at once", status=414)
    return tags, True
