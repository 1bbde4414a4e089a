"""Proxies of the environment, and real ones: what they see, what they answer."""

from __future__ import annotations

import base64

import pytest

from lamina.errors import RegistryUnavailable, UsageError
from lamina.registry.configuration import Registries, _Settings
from registry.server import Exchange, Server
from registry.wirekit import http, timings

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(("env", "url", "proxy"), [
    ({}, "https://a.example/v2/", None),
    ({"HTTPS_PROXY": PROXY}, "https://a.example/v2/", PROXY),
    ({"HTTPS_PROXY": PROXY}, "http://a.example/v2/", None),
    ({"HTTP_PROXY": PROXY}, "http://a.example/v2/", PROXY),
    ({"http_proxy": PROXY, "HTTP_PROXY": "http://no"}, "http://a.example/", PROXY),
    ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://a.example/", None),
    ({"ALL_PROXY": PROXY}, "https://a.example/", PROXY),
    ({"https_proxy": "proxy.example:3128"}, "https://a.example/", PROXY),
    ({"HTTPS_PROXY": PROXY}, "https://127.0.0.1:5000/v2/", None),
    ({"HTTPS_PROXY": PROXY}, "https://localhost/v2/", None),
    ({"HTTPS_PROXY": PROXY}, "https://[::1]:5000/v2/", None),
])
def test_the_environment_is_read_as_by_others(env: dict[str, str], url: str, proxy: str | None) -> None:
    assert Registries(env=env).proxy(url) == proxy


@pytest.mark.parametrize(("no_proxy", "host", "direct"), [
    ("*", "a.example", True),
    ("a.example", "a.example", True), ("a.example", "b.a.example", True), ("a.example", "ba.example", False),
    (".a.example", "b.a.example", True), ("*.a.example", "b.a.example", True), ("A.Example", "a.example:443", True),
    ("x.example, a.example", "a.example", True), ("x.example a.example", "a.example", True),
    ("a.example:443", "a.example", True), ("a.example:5000", "a.example", False), ("a.example:5000", "a.example:5000", True),
    ("10.1.2.3", "10.1.2.3:5000", True), ("10.1.2.3", "10.1.2.4", False), ("10.0.0.0/8", "10.1.2.3", True),
    ("10.0.0.0/8", "11.1.2.3", False), ("10.0.0.0/99", "10.1.2.3", False), ("fd00::/8", "[fd00::1]:5000", True),
    ("fd00::1", "[fd00::1]:5000", True), ("", "a.example", False), (",", "a.example", False), (".", "a.example", False),
    ("0.1.2.3", "10.1.2.3", False),
])
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    found = Registries(env={"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}).proxy(f"https://{host}/v2/")
    assert found == (None if direct else PROXY)


def test_a_proxy_that_is_not_spoken_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="socks5"):
        Registries(env={"HTTPS_PROXY": "socks5://user:pw@proxy.example"}).proxy("https://a.example/")


def plain(proxy: str) -> Registries:
    return Registries({"a.example:5000": _Settings(insecure=True)}, env={"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy})


def test_plain_http_goes_through_the_proxy_with_its_password() -> None:
    with Server(lambda exchange: exchange.reply(200, {}, b"via")) as proxy, \
            http(plain(f"http://us%40er:p%3Aw@{proxy.host}")) as client:
        with client.send("GET", "http://a.example:5000/v2/") as response:
            assert response.body(10) == b"via"
        assert proxy.seen[0].path == "http://a.example:5000/v2/"
        assert proxy.seen[0].headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"us@er:p:w").decode()


def test_https_asks_for_a_tunnel_and_the_refusal_is_told_without_the_password() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        exchange.cut()

    with Server(handle) as proxy, http(plain(f"http://user:pa55@{proxy.host}")) as client:
        with pytest.raises(RegistryUnavailable, match=r"a\.example.*the proxy refuses with 407") as caught:
            client.send("GET", "https://a.example/v2/")
        assert (proxy.seen[0].method, proxy.seen[0].path) == ("CONNECT", "a.example:443")
        assert "pa55" not in f"{caught.value!r} {caught.value} {client.registries!r}"


def test_a_proxy_that_is_not_there_is_named_as_such() -> None:
    with Server(lambda exchange: None) as gone:
        pass
    with http(plain(f"http://user:pa55@{gone.host}"), timings(connect=0.5)) as client:
        for url in ("https://a.example/v2/", "http://a.example:5000/v2/"):
            with pytest.raises(RegistryUnavailable, match=r"to a\.example.* through the proxy: connection refused"):
                client.send("GET", url)
