"""What registries say: challenges, addresses, links, ranges, times, and whole answers as they come over the wire.

Only a `LaminaError` may come out; an address that was accepted means the same to all who read it.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from fuzz.fuzzkit import accepted
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

from lamina.registry import challenge, documents, realm
from lamina.registry.answers import printable, problem
from lamina.registry.auth import merged
from lamina.registry.authfile import name_of
from lamina.registry.backoff import pause
from lamina.registry.following import next_page
from lamina.registry.hosts import is_link_local, is_loopback, split_port
from lamina.registry.origins import origin_of, shown
from lamina.registry.problems import cannot_connect
from lamina.registry.reading import check_encoding, content_range
from lamina.registry.redirects import resolve
from lamina.registry.response import Response
from lamina.registry.timings import Timings
from lamina.registry.tokens import MAX_LIFETIME, MIN_LIFETIME, _lifetime
from lamina.registry.tokenserver import TokenServer, Wanted
from lamina.registry.wire import WireResponse

TIMINGS = Timings(now=lambda: 1_700_000_000.0, clock=lambda: 0.0, jitter=lambda: 0.5)
BASE = "https://registry.example"
URL = BASE + "/v2/a/tags/list?n=1"
LEAST, MOST = 0.0, 120.0
WORDS = (b"WWW-Authenticate: ", b'Bearer realm="https://', b",service=", b",scope=", b"Content-Length: ", b"Content-Type: ",
         b"Transfer-Encoding: chunked\r\n", b"Link: </", b'>; rel="next"', b"Docker-Content-Digest: sha256:", b"Retry-After: ",
         b"Content-Range: bytes 0-", b"HTTP/1.1 ", b"\r\n\r\n", b"http://", b"169.254.169.254", b"[::1]", b"@", b"%2f",
         b"expires_in", b"issued_at", b"token", b"Date: ", b"Location: ")


def _text(data: bytes) -> str:
    """A header as it comes from the wire."""
    return data.decode("latin-1")


def _challenge(data: bytes) -> None:
    found = challenge.parse(_text(data))
    assert len(found) <= challenge.MAX_CHALLENGES and sum(len(one.parameters) for one in found) <= challenge.MAX_PARAMETERS
    for one in found:
        assert one.scheme == one.scheme.lower()
        if "realm" in one.parameters:
            accepted(_realm, one.parameters["realm"])
        merged(["repository:a:pull"], tuple(one.parameters.get("scope", "").split()))


def _realm(text: str) -> None:
    place = realm.realm_of(text, BASE, "registry.example")
    again = realm.place(place.url)
    assert again is not None and (again.origin, again.url) == (place.origin, place.url), place
    origin = origin_of(place.url)
    assert (origin.scheme, origin.name.rstrip("."), origin.port) == (place.scheme, place.host, place.port), (origin, place)
    assert not is_link_local(place.host)
    if realm.may_have_password(place, BASE):
        assert place.scheme == "https"


def _url(data: bytes) -> None:
    text = _text(data)
    assert len(shown(text)) < 300 and len(printable(text)) < 300
    split_port(text), name_of(text)
    own = origin_of(URL)
    target = resolve(text, URL, own)
    origin = origin_of(target)
    assert origin == own or (origin.scheme == "https" and not is_link_local(origin.name)), origin
    assert resolve(target, URL, own) == target
    is_loopback(origin.name)


def _headers(data: bytes) -> None:
    """Fields of a head, one a line."""
    headers = HTTPHeaderDict()
    for line in data.split(b"\n"):
        name, _, value = _text(line).partition(":")
        headers.add(name.strip(), value.strip())
    _of_head(headers)


def _of_head(headers: Mapping[str, str]) -> None:
    accepted(documents.from_head, headers, "here")
    found = accepted(content_range, headers, 0, "here")
    assert found is None or found[0] >= 0
    accepted(check_encoding, headers, "here")
    assert LEAST <= pause(1, headers, TIMINGS) <= MOST
    following = accepted(next_page, SimpleNamespace(url=URL, headers=headers), "here")
    assert following is None or origin_of(following) == origin_of(URL)
    accepted(_challenge, (headers.get("WWW-Authenticate") or "").encode("latin-1"))


def _answer(data: bytes, method: str = "GET") -> Response:
    """As `Http.send` makes one of what comes over a socket."""
    sock = SimpleNamespace(makefile=lambda mode: io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]
    wire = WireResponse(sock, method=method, timings=TIMINGS, patience=30.0)  # type: ignore[arg-type]
    try:
        wire.begin()
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        raise cannot_connect("registry.example", error, TIMINGS) from error
    raw: Any = SimpleNamespace(status=wire.status, headers=HTTPHeaderDict(wire.msg.items()), close=wire.close,
                               release_conn=lambda: None)
    return Response(raw, wire, URL, "registry.example", TIMINGS)


def _document(data: bytes) -> None:
    with _answer(data) as answer:
        _of_head(answer.headers)
        accepted(documents.describe, answer.body(1 << 16), answer.headers, "latest", "here")


def _refusal(data: bytes) -> None:
    error = problem(_answer(data), "GET", login="registry.example", secret="Basic c2VjcmV0")
    text = str(error)
    assert text.isprintable() and len(text) < 1000, text


def _token(data: bytes) -> None:
    wanted = Wanted(realm.Place("https", "auth.example", 443, "/token"), "registry", (), None)
    server = TokenServer(None, "registry.example", TIMINGS)  # type: ignore[arg-type]
    token, document, headers = server._read(_answer(data), wanted)
    assert token and token.isascii() and token.isprintable()
    assert MIN_LIFETIME <= _lifetime(document, headers) <= MAX_LIFETIME


READERS: tuple[Callable[[bytes], None], ...] = (
    _challenge, lambda data: _realm(_text(data)), _url, _headers, _document, _refusal, _token,
)


def run(data: bytes) -> None:
    if data:
        accepted(READERS[data[0] % len(READERS)], data[1:])


def seeds() -> Iterator[bytes]:
    digest = "sha256:" + "0" * 64
    bearer = b'Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull", Basic realm=x, Negotiate a=='
    yield b"\0" + bearer
    for text in (b"https://auth.example:443/token?a=b", b"http://[::1]:5000/x", b"https://a.example.", b"https://./", b"https://169.254.169.254/"):
        yield b"\1" + text
    for text in (b"/v2/a/b?c=d#e", b"//other.example/x", b"http://user:pass@h/", b"https://h:99999/", b"?page=2", b"\\\\h\\a"):
        yield b"\2" + text
    yield b"\3" + b"\n".join([
        b"Content-Type: application/vnd.oci.image.manifest.v1+json; a=b", b"Content-Length: 7", b"Content-Range: bytes 0-6/7",
        b"Docker-Content-Digest: " + digest.encode(), b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", b"Content-Encoding: gzip",
        b'Link: </v2/a/tags/list?last=b>; rel="next"', b"WWW-Authenticate: " + bearer,
    ])
    yield b'\3Link: <//other.example/v2/x>; rel="next"'
    head = b"HTTP/1.1 %d x\r\nContent-Type: %s\r\n"
    body = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    yield b"\4" + head % (200, b"application/vnd.oci.image.index.v1+json") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body)
    yield b"\4HTTP/1.0 100 \r\n\r\n" + head % (200, b"application/json") + chunked
    said = b'{"errors":[{"code":"DENIED","message":"no \\u001b[31m c2VjcmV0"}]}'
    yield b"\5" + head % (403, b"application/json") + b"Content-Length: %d\r\n\r\n" % len(said) + said
    yield b"\5" + head % (502, b"text/html") + b"\r\n<html>"
    token = b'{"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00.5Z"}'
    yield b"\6" + head % (200, b"application/json") + b"Date: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n" + token
