"""Lists, page by page: tags, repositories, referrers (distribution specification, "Content Discovery")."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from lamina.oci import OCI_INDEX
from lamina.registry.server import names
from lamina.registry.server.admission import CATALOG, PULL, Access
from lamina.registry.server.answers import Answer, document
from lamina.registry.server.contents import Contents
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import Call
from lamina.registry.server.settings import Limits

# Pages of names that are looked through for ones that the client may see.
_ROUNDS = 16


def tags(contents: Contents, access: Access, call: Call, limits: Limits) -> Answer:
    """The tags of a repository above `last`, at most `n`."""
    access.admit(call.headers, call.repository, PULL)
    count = _count(call, limits)
    after = call.one("last") or ""
    if after and not names.is_tag(after):
        raise Refusal("TAG_INVALID", names.shown(after))
    found = contents.tags(call.repository, after, count + 1)
    answer = document({"name": call.repository, "tags": found[:count]})
    if 0 < count < len(found):
        answer.headers["Link"] = _next(call.path("tags", "list"), n=str(count), last=found[count - 1])
    return answer


def catalog(contents: Contents, access: Access, call: Call, limits: Limits) -> Answer:
    """The repositories that the client may pull from."""
    grant = access.admit(call.headers, None, CATALOG)
    count = _count(call, limits)
    after = call.one("last") or ""
    if after and not names.is_repository(after):
        raise Refusal("NAME_INVALID", names.shown(after))
    seen: list[str] = []
    more = count > 0
    for _ in range(_ROUNDS):
        if not more or len(seen) >= count:
            break
        found = contents.repositories(after, count + 1)
        more = len(found) > count
        for name in found[:count]:
            if len(seen) == count:
                more = True
                break
            after = name
            if grant.may(name, PULL):
                seen.append(name)
    answer = document({"repositories": seen})
    if more and count:
        answer.headers["Link"] = _next("/v2/_catalog", n=str(count), last=after)
    return answer


def referrers(contents: Contents, access: Access, call: Call, limits: Limits) -> Answer:
    """An index of what has this digest as its subject; never 404, which would mean that there is no such list at all."""
    access.admit(call.headers, call.repository, PULL)
    digest = names.digest(call.reference)
    kind, last = call.one("artifactType"), call.one("last") or ""
    try:
        found = sorted(contents.referrers(call.repository, digest), key=lambda one: one.digest)
    except Refusal as error:
        if error.code not in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN"):
            raise
        found = []
    texts: list[str] = []
    size, link = 0, ""
    for one in found:
        if one.digest <= last or (kind and one.artifact_type != kind):
            continue
        text = json.dumps(one.to_json(), separators=(",", ":"))
        size += len(text) + 1
        if texts and size > limits.referrers - 256:
            link = _next(call.path("referrers", digest), **({"artifactType": kind} if kind else {}), last=last)
            break
        texts.append(text)
        last = str(one.digest)
    body = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{",".join(texts)}]}}'.encode()
    headers = {"Content-Type": OCI_INDEX}
    if kind:
        headers["OCI-Filters-Applied"] = "artifactType"
    if link:
        headers["Link"] = link
    return Answer(200, headers, body)


def _count(call: Call, limits: Limits) -> int:
    """How many entries; `PAGINATION_NUMBER_INVALID`.  More than a page is a page, and `Link` leads on."""
    text = call.one("n")
    if text is None:
        return limits.page
    if not (text.isascii() and text.isdigit()):
        raise Refusal("PAGINATION_NUMBER_INVALID", names.shown(text))
    text = text.lstrip("0")[:19]
    return min(int(text or "0"), limits.page)


def _next(path: str, **query: str) -> str:
    """`Link` to the next page (RFC 8288)."""
    return f'<{path}?{urlencode(query)}>; rel="next"'
