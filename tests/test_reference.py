"""Docker's reference grammar and its normalisation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.digest import Digest
from lamina.errors import InvalidReference
from lamina.reference import Reference, is_hex_id

SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(("text", "full", "familiar"), [
    ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
    ("library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
    ("index.docker.io/library/nginx:x", "docker.io/library/nginx:x", "nginx:x"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("docker.io/a/b/c:t", "docker.io/a/b/c:t", "a/b/c:t"),
    ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
    ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
    ("host:5000/app", "host:5000/app:latest", "host:5000/app:latest"),
    ("example.com/a/b", "example.com/a/b:latest", "example.com/a/b:latest"),
    ("example.com:443/library/x", "example.com:443/library/x:latest", "example.com:443/library/x:latest"),
    ("Host/app", "Host/app:latest", "Host/app:latest"),
    ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
    ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
    ("app:5000", "docker.io/library/app:5000", "app:5000"),
    ("a.b/c", "a.b/c:latest", "a.b/c:latest"),
    ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f:latest"),
    ("xn--n3h.com/a", "xn--n3h.com/a:latest", "xn--n3h.com/a:latest"),
    (f"nginx@{SHA}", f"docker.io/library/nginx@{SHA}", f"nginx@{SHA}"),
    (f"nginx:1@{SHA}", f"docker.io/library/nginx:1@{SHA}", f"nginx:1@{SHA}"),
    (f"host:1/x:_@{SHA}", f"host:1/x:_@{SHA}", f"host:1/x:_@{SHA}"),
    ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128, "x:" + "t" * 128),
    ("a" * 63, f"docker.io/library/{'a' * 63}:latest", f"{'a' * 63}:latest"),
    ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
])
def test_what_a_name_means(text: str, full: str, familiar: str) -> None:
    found = Reference.parse(text)
    assert (str(found), found.familiar()) == (full, familiar)
    assert Reference.parse(full) == Reference.parse(familiar) == found


def test_parts() -> None:
    found = Reference.parse(f"example.com:5000/a/b:1@{SHA}")
    assert (found.domain, found.path, found.tag, found.digest) == ("example.com:5000", "a/b", "1", Digest(SHA))
    assert found.name == found.familiar_name == "example.com:5000/a/b"
    short = Reference.parse("nginx")
    assert (short.domain, short.path, short.tag, short.digest) == ("docker.io", "library/nginx", "latest", None)
    assert (short.name, short.familiar_name) == ("docker.io/library/nginx", "nginx")


def test_the_default_tag_can_be_left_open() -> None:
    assert str(Reference.parse("nginx", default_tag="")) == "docker.io/library/nginx"
    assert Reference.parse("nginx:1", default_tag="").tag == "1"
    assert Reference.parse(f"nginx@{SHA}").tag == ""


@pytest.mark.parametrize("text", [
    "", ":", "@", "/", ":tag", "a:", "a@", "a/", "/a", "a//b", "-a", "a-", "_a", "a_", ".a", "a.", "a..b", "a___b",
    "a._b", "a b", " a", "a ", "a\n", "a:t\n", "a:-t", "a:.t", "a:t/", "a:t:u", "x:" + "t" * 129, "a@sha256:abc",
    f"a@{SHA}0", f"a@{SHA[:-1]}", f"a@{SHA.upper()}", "a@md5:" + "0" * 32, f"a@{SHA}:tag", "ä", "a/ä:b", "a:ä",
    "[::1/x", "host:/x", "host:port/x", "-host.com/x", "host-.com/x", "http://host/x", "a:١", "x" * 100_000,
    "a" + "-" * 50_000, "\0",
])
def test_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference, match="invalid reference format"):
        Reference.parse(text)


@pytest.mark.parametrize("text", ["Nginx", "user/App", "host.com/App:tag", "docker.io/Library/x", "nginX:Tag"])
def test_names_are_lowercase(text: str) -> None:
    with pytest.raises(InvalidReference, match="invalid reference format: repository name must be lowercase"):
        Reference.parse(text)


def test_tags_need_not_be_lowercase() -> None:
    assert Reference.parse("nginx:RC1").tag == "RC1"


def test_an_image_id_is_no_name() -> None:
    with pytest.raises(InvalidReference, match="cannot specify 64-byte hexadecimal strings"):
        Reference.parse("0123456789abcdef" * 4)
    assert Reference.parse("host.com/" + "a" * 64).path == "a" * 64


def test_length_of_a_name() -> None:
    longest = 255 - len("docker.io/library/")
    assert len(Reference.parse("a" * longest).name) == 255
    with pytest.raises(InvalidReference, match="must not be more than 255 characters"):
        Reference.parse("a" * (longest + 1))


def test_with_tag_and_digest() -> None:
    found = Reference.parse("nginx")
    assert str(found.with_tag("2").with_digest(Digest(SHA))) == f"docker.io/library/nginx:2@{SHA}"
    for tag in ("", "-", "a/b", "t" * 129, "a\n"):
        with pytest.raises(InvalidReference):
            found.with_tag(tag)


@pytest.mark.parametrize(("text", "is_id"), [
    ("a", True), ("0123456789ab", True), ("f" * 64, True), ("f" * 65, False), ("", False), ("A", False),
    ("g", False), ("sha256:aa", False), ("a\n", False), ("١", False),
])
def test_is_hex_id(text: str, is_id: bool) -> None:
    assert is_hex_id(text) is is_id


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aA0.:/@-_[]é \n", max_size=40) | st.text(max_size=20))
def test_any_text_is_a_reference_for_good_or_none(text: str) -> None:
    try:
        found = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(found)) == found
    assert Reference.parse(found.familiar()) == found
