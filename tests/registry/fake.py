"""A registry in memory that keeps to the distribution specification 1.1, until a test has it do otherwise.

    with Fake() as fake:
        fake.fault("PATCH", "/uploads/", lambda exchange: exchange.cut(), times=1)
        target = target_of(fake)

A fault is asked before the registry answers; one that returns True has answered itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from lamina.digest import Digest
from lamina.oci import Descriptor, children, is_manifest, media_type_of
from registry.guard import Guard
from registry.server import Exchange, Seen, Server

Hook = Callable[[Exchange], object]
_ROUTE = re.compile(r"/v2/(?P<name>[a-z0-9/._-]+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)/(?P<rest>[^/]*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_JSON = {"Content-Type": "application/json"}


@dataclass
class Repository:
    """What one name holds."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Session:
    """An upload on its way."""

    name: str
    data: bytearray = field(default_factory=bytearray)
    short: bool = False


@dataclass
class Fault:
    """Asked for requests of `method` ('' for all) whose path matches; after `skip` of them, `times` times."""

    method: str
    path: re.Pattern[str]
    hook: Hook
    times: int
    skip: int

    def meets(self, exchange: Exchange) -> bool:
        if (self.method and self.method != exchange.method) or not self.path.search(exchange.path) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Fake:
    """The registry.  Its switches may be set at any time.

    `strict`: manifests whose blobs are not there are refused.  `stateful`: an upload's Location names its offset and is
    good for that offset only, as docker-registry's is.  `ranges`: blobs are served by 206.  `elsewhere`: origin to which
    GET of a blob is redirected.  `page`: entries of a page of tags or referrers.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self.guard = guard or Guard()
        self.repositories: dict[str, Repository] = defaultdict(Repository)
        self.sessions: dict[str, Session] = {}
        self.strict, self.stateful, self.ranges, self.relative, self.referrers = False, False, True, True, True
        self.elsewhere, self.chunk_min, self.page = "", 0, 1000
        self._faults: list[Fault] = []
        self._lock, self._numbers = threading.RLock(), itertools.count(1)
        self.server = Server(self._handle)

    @property
    def base(self) -> str:
        return self.server.base

    @property
    def seen(self) -> list[Seen]:
        return self.server.seen

    def asked(self, method: str, path: str = "") -> list[Seen]:
        """The requests of that method whose path matches."""
        return [one for one in self.seen if one.method == method and re.search(path, one.path)]

    def fault(self, method: str, path: str, hook: Hook, *, times: int = 1 << 30, skip: int = 0) -> None:
        """Let `hook` have requests; those set later are asked first."""
        self._faults.insert(0, Fault(method, re.compile(path), hook, times, skip))

    def __enter__(self) -> Fake:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)  # type: ignore[arg-type]

    # -- requests

    def _handle(self, exchange: Exchange) -> None:
        for fault in self._faults:
            with self._lock:
                mine = fault.meets(exchange)
            if mine and fault.hook(exchange):
                return
        path, _, query = exchange.path.partition("?")
        words = dict(urllib.parse.parse_qsl(query))
        if path == "/token":
            self.guard.hand_out(exchange)
            return
        found = _ROUTE.fullmatch(urllib.parse.unquote(path))
        if not self.guard.admits(exchange, self.base, self._needs(exchange, found, words)):
            return
        body = exchange.read()
        if path == "/v2/":
            exchange.reply(200, _JSON, b"{}")
        elif found is None:
            _error(exchange, 404, "PAGE_UNKNOWN")
        else:
            answer = getattr(self, "_" + found["kind"].replace("/", "_"))
            # A body may wait for its reader, and so must nobody else: blobs, once there, do not change.
            with self._lock if found["kind"] != "blobs" else contextlib.nullcontext():
                answer(exchange, self.repositories[found["name"]], found, words, body)

    @staticmethod
    def _needs(exchange: Exchange, found: re.Match[str] | None, words: dict[str, str]) -> set[tuple[str, str]]:
        if found is None:
            return set()
        reads = exchange.method in ("GET", "HEAD") and found["kind"] != "blobs/uploads"
        needs = {(found["name"], "pull")} | (set() if reads else {(found["name"], "push")})
        return needs | ({(words["from"], "pull")} if "from" in words else set())

    # -- manifests

    def _manifests(self, exchange: Exchange, here: Repository, found: re.Match[str], words: dict[str, str],
                   body: bytes) -> None:
        reference = found["rest"]
        if exchange.method == "PUT":
            self._put_manifest(exchange, here, reference, body)
            return
        digest = here.tags.get(reference, reference)
        if digest not in here.manifests:
            _error(exchange, 404, "MANIFEST_UNKNOWN")
            return
        media_type, data = here.manifests[digest]
        exchange.reply(200, {"Content-Type": media_type, "Docker-Content-Digest": digest,
                             "Content-Length": str(len(data))}, data)

    def _put_manifest(self, exchange: Exchange, here: Repository, reference: str, body: bytes) -> None:
        media_type = exchange.headers.get("Content-Type", "")
        if media_type != media_type_of(body):
            _error(exchange, 400, "MANIFEST_INVALID")
            return
        if self.strict and is_manifest(media_type) and any(
                one.digest not in here.blobs for one in children(media_type, body)):
            _error(exchange, 400, "MANIFEST_BLOB_UNKNOWN")
            return
        named = ":" in reference
        digest = Digest.of(body, reference.partition(":")[0]) if named else Digest.of(body)
        if named and digest != reference:
            _error(exchange, 400, "DIGEST_INVALID")
            return
        here.manifests[digest] = (media_type, body)
        if not named:
            here.tags[reference] = digest
        subject = json.loads(body).get("subject")
        exchange.reply(201, {"Location": f"/v2/x/manifests/{digest}", "Docker-Content-Digest": digest}
                       | ({"OCI-Subject": subject["digest"]} if subject and self.referrers else {}))

    def _tags(self, exchange: Exchange, here: Repository, found: re.Match[str], words: dict[str, str], _: bytes) -> None:
        if not here.manifests and not here.blobs:
            _error(exchange, 404, "NAME_UNKNOWN")
            return
        count, rest = min(int(words.get("n", self.page)), self.page), [
            tag for tag in sorted(here.tags) if tag > words.get("last", "")]
        more = {"Link": f'</v2/{found["name"]}/tags/list?n={count}&last={rest[count - 1]}>; rel="next"'} if len(
            rest) > count else {}
        exchange.reply(200, _JSON | more, json.dumps({"name": found["name"], "tags": rest[:count] or None}).encode())

    def _referrers(self, exchange: Exchange, here: Repository, found: re.Match[str], words: dict[str, str],
                   _: bytes) -> None:
        if not self.referrers:
            _error(exchange, 404, "PAGE_UNKNOWN")
            return
        entries = []
        for digest, (media_type, data) in here.manifests.items():
            document = json.loads(data)
            if (document.get("subject") or {}).get("digest") == found["rest"]:
                kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType", "")
                entries.append(Descriptor(media_type, Digest(digest), len(data), artifact_type=kind,
                                          annotations=document.get("annotations") or {}))
        wanted, start = words.get("artifactType", ""), int(words.get("start", "0"))
        entries = [one for one in entries if not wanted or one.artifact_type == wanted]
        page = entries[start : start + self.page]
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        if len(entries) > start + self.page:
            more = urllib.parse.urlencode(words | {"start": str(start + self.page)})
            headers["Link"] = f'</v2/{found["name"]}/referrers/{found["rest"]}?{more}>; rel="next"'
        exchange.reply(200, headers, json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [one.to_json() for one in page]}).encode())

    # -- blobs

    def _blobs(self, exchange: Exchange, here: Repository, found: re.Match[str], *_: object) -> None:
        data = here.blobs.get(found["rest"])
        if data is None:
            _error(exchange, 404, "BLOB_UNKNOWN")
        elif self.elsewhere and exchange.method == "GET":
            exchange.reply(307, {"Location": f"{self.elsewhere}/{found['rest']}?X-Signature=presigned"})
        else:
            serve(exchange, data, {"Docker-Content-Digest": found["rest"]}, ranges=self.ranges)

    def _blobs_uploads(self, exchange: Exchange, here: Repository, found: re.Match[str], words: dict[str, str],
                       body: bytes) -> None:
        if exchange.method == "POST":
            self._begin(exchange, here, found["name"], words, body)
            return
        number, session = found["rest"], self.sessions.get(found["rest"])
        stale = self.stateful and session is not None and words.get("_state") != str(len(session.data))
        if session is None or session.name != found["name"] or stale:
            _error(exchange, 404, "BLOB_UPLOAD_UNKNOWN")
        elif exchange.method == "GET":
            exchange.reply(204, self._place(number))
        elif exchange.method == "DELETE":
            del self.sessions[number]
            exchange.reply(204)
        elif not self._in_order(exchange, session, body):
            _error(exchange, 416, "BLOB_UPLOAD_INVALID", self._place(number))
        elif exchange.method == "PATCH":
            session.short = len(body) < self.chunk_min
            session.data += body
            exchange.reply(202, self._place(number))
        else:
            self._finish(exchange, here, number, words["digest"], body)

    @staticmethod
    def _in_order(exchange: Exchange, session: Session, body: bytes) -> bool:
        given = exchange.headers.get("Content-Range")
        whole = given is None or given == f"{len(session.data)}-{len(session.data) + len(body) - 1}"
        return whole and not (session.short and body)

    def _begin(self, exchange: Exchange, here: Repository, name: str, words: dict[str, str], body: bytes) -> None:
        source = self.repositories[words["from"]] if "from" in words else None
        if source is not None and words["mount"] in source.blobs:
            here.blobs[words["mount"]] = source.blobs[words["mount"]]
            exchange.reply(201, {"Location": f"/v2/{name}/blobs/{words['mount']}", "Docker-Content-Digest": words["mount"]})
            return
        number = f"u{next(self._numbers)}"
        self.sessions[number] = Session(name)
        minimum = {"OCI-Chunk-Min-Length": str(self.chunk_min)} if self.chunk_min else {}
        exchange.reply(202, self._place(number) | minimum)

    def _finish(self, exchange: Exchange, here: Repository, number: str, digest: str, body: bytes) -> None:
        data = bytes(self.sessions[number].data) + body
        if Digest.of(data, digest.partition(":")[0]) != digest:
            _error(exchange, 400, "DIGEST_INVALID")
            return
        name = self.sessions.pop(number).name
        here.blobs[digest] = data
        exchange.reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _place(self, number: str) -> dict[str, str]:
        """Where an upload goes on, and how far it is."""
        session = self.sessions[number]
        path = f"/v2/{session.name}/blobs/uploads/{number}?_state={len(session.data)}"
        return {"Location": path if self.relative else self.base + path, "Docker-Upload-UUID": number,
                "Range": f"0-{max(0, len(session.data) - 1)}"}


def serve(exchange: Exchange, data: bytes, headers: dict[str, str] | None = None, *, ranges: bool = True) -> None:
    """Bytes, or the part of them that was asked for."""
    common = {"Content-Type": "application/octet-stream", **(headers or {})}
    asked = _RANGE.fullmatch(exchange.headers.get("Range", "")) if ranges else None
    if asked is None:
        exchange.reply(200, common | {"Content-Length": str(len(data))}, data)
        return
    first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if first >= len(data):
        exchange.reply(416, common | {"Content-Range": f"bytes */{len(data)}"})
        return
    exchange.reply(206, common | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1])


def _error(exchange: Exchange, status: int, code: str, headers: dict[str, str] | None = None) -> None:
    """A refusal in the specification's form."""
    exchange.reply(status, _JSON | (headers or {}), json.dumps(
        {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode())

