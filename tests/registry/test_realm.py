"""Where tokens may be asked for, and where a password may go."""

from __future__ import annotations

import pytest

from lamina.errors import RegistryError
from lamina.registry.realm import MAX_REALM, may_have_password, place, realm_of


@pytest.mark.parametrize(("text", "url", "shown"), [
    ("https://auth.docker.io/token", "https://auth.docker.io/token", "https://auth.docker.io/token"),
    ("HTTPS://Auth.Example:443", "https://auth.example/", "https://auth.example/"),
    ("http://[::1]:5001/t?a=b&c", "http://[::1]:5001/t?a=b&c", "http://[::1]:5001/t"),
    ("https://a.example?secret=1", "https://a.example/?secret=1", "https://a.example/"),
    ("http://a.example./x", "http://a.example/x", "http://a.example/x"),
])
def test_addresses(text: str, url: str, shown: str) -> None:
    found = place(text)
    assert found is not None
    assert (found.url, str(found)) == (url, shown)


@pytest.mark.parametrize("text", [
    "", "/token", "//a.example/t", "file:///etc/passwd", "ftp://a.example/", "gopher://a.example", "javascript:1", "https://",
    "https:///x", "https://user:pw@a.example/", "https://a.example\\@b.example/", "https://a.example/\\x", "https://a.example/#x",
    "https://a.example/ x", "https://a.example/\r\nX: y", "https://a.example:0/", "https://a.example:65536/",
    "https://a.example:x/", "https://[::1/", "https://ä.example/", "https://a.example/" + "x" * MAX_REALM, " https://a.example",
    "https://a.example\n", "https://./x", "https://...:443",
    "http://[:.]:5000/x", "https://[::1.]/", "https://[1:2:3]/", "https://[127.0.0.1]/", "https://[:::]/",
])
def test_what_is_no_address(text: str) -> None:
    assert place(text) is None
    with pytest.raises(RegistryError, match="no http or https address"):
        realm_of(text, "https://reg.example", "reg.example")


@pytest.mark.parametrize(("realm", "base", "allowed"), [
    ("https://auth.example/t", "https://reg.example", True),
    ("https://auth.example/t", "http://reg.example:5000", True),
    ("http://auth.example/t", "https://reg.example", False),
    ("http://auth.example/t", "http://reg.example", False),
    ("http://auth.example/t", "http://127.0.0.1:5000", False),
    ("http://reg.example:5001/t", "http://reg.example:5000", True),
    ("http://reg.example/t", "https://reg.example", False),
    ("http://reg.example.evil.example/t", "http://reg.example", False),
    ("http://127.0.0.1:5001/t", "http://localhost:5000", True),
    ("http://[::1]:5001/t", "http://127.0.0.2:5000", True),
    ("http://localhost:5001/t", "https://localhost:5000", True),
    ("http://127.0.0.1:5001/t", "http://reg.example", False),
    ("http://localhost.evil.example/t", "http://localhost", False),
    ("http://127.evil.example/t", "http://127.0.0.1", False),
])
def test_where_a_password_may_go(realm: str, base: str, allowed: bool) -> None:
    found = place(realm)
    assert found is not None
    assert may_have_password(found, base) == allowed


@pytest.mark.parametrize("host", [
    "169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]",
    "metadata.google.internal", "Metadata.Google.Internal.", "[fd00:ec2::254]", "100.100.100.200",
])
def test_nothing_within_the_machine(host: str) -> None:
    with pytest.raises(RegistryError, match="link-local"):
        realm_of(f"http://{host}/latest", "https://reg.example", "reg.example")


def test_but_for_a_registry_that_lies_there() -> None:
    assert realm_of("http://169.254.1.1/t", "http://169.254.1.1:5000", "169.254.1.1:5000").host == "169.254.1.1"
