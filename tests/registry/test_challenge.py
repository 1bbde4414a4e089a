"""WWW-Authenticate as registries write it, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import RegistryError
from lamina.registry.challenge import MAX_CHALLENGES, MAX_PARAMETERS, MAX_TEXT, Challenge, parse

HUB = ('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
       'scope="repository:library/alpine:pull,push",error="invalid_token"')


def short(text: str) -> list[tuple[str, dict[str, str]]]:
    return [(one.scheme, one.parameters) for one in parse(text)]


def test_docker_hub() -> None:
    assert parse(HUB) == [Challenge("bearer", {
        "realm": "https://auth.docker.io/token", "service": "registry.docker.io",
        "scope": "repository:library/alpine:pull,push", "error": "invalid_token",
    })]


@pytest.mark.parametrize(("text", "found"), [
    ("", []),
    (" , ,\t", []),
    ('Basic realm="x"', [("basic", {"realm": "x"})]),
    ("basic REALM=x", [("basic", {"realm": "x"})]),
    ("BASIC", [("basic", {})]),
    ('Basic realm="a, b=c, Bearer realm=d"', [("basic", {"realm": "a, b=c, Bearer realm=d"})]),
    (r'Basic realm="a\"b\\c"', [("basic", {"realm": 'a"b\\c'})]),
    ('Basic realm=""', [("basic", {"realm": ""})]),
    ('Basic realm = "x" , charset\t=\tUTF-8', [("basic", {"realm": "x", "charset": "UTF-8"})]),
    ('Bearer realm="r",service="s", Basic realm="b"', [("bearer", {"realm": "r", "service": "s"}), ("basic", {"realm": "b"})]),
    ('Basic realm="b", Bearer realm="r"', [("basic", {"realm": "b"}), ("bearer", {"realm": "r"})]),
    ('Negotiate, Basic realm="b"', [("negotiate", {}), ("basic", {"realm": "b"})]),
    ('Negotiate oYGw/+x==, Basic realm="b"', [("negotiate", {}), ("basic", {"realm": "b"})]),
    ("Basic realm=", [("basic", {})]),  # So says the grammar: the text of a token68 may end so.
    ("Negotiate abc=", [("negotiate", {})]),
    (',Basic realm="x",', [("basic", {"realm": "x"})]),
    ('Basic ,realm="x"', [("basic", {"realm": "x"})]),
    ("Bearer realm=https://a.example/t?a=b,service=s", [("bearer", {"realm": "https://a.example/t?a=b", "service": "s"})]),
])
def test_found(text: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert short(text) == found


@pytest.mark.parametrize("text", [
    'realm="x"',
    'Basic realm="x',
    'Basic realm="x\\"',
    'Basic charset="a", realm=',
    'Basic realm="a" service="b"',
    'Basic realm="a"service="b"',
    'Basic realm="a",realm="b"',
    'Basic realm="a",REALM="a"',
    "<html>",
    'Basic"x"',
    '"Basic"',
    "Basic realm=x;y\x00 z",
    "Bäsic realm=x",
    "=", "Basic =x",
])
def test_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(RegistryError, match="no sense") as caught:
        parse(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize("text", [
    "Bearer " + ",".join(f"p{number}=x" for number in range(10_000)),
    ",".join(f"Basic{number} realm=x" for number in range(10_000)),
    "Bearer " + ",".join(f"p{number}=x" for number in range(MAX_PARAMETERS + 1)),
    ", ".join(f"Basic{number}" for number in range(MAX_CHALLENGES + 1)),
    'Basic realm="' + "x" * MAX_TEXT + '"',
    'Basic realm="' + "\\" * (MAX_TEXT // 2),
    'Basic realm="' * 1000,
    "a" * MAX_TEXT + '"',
    "Basic " + "a" * (MAX_TEXT - 100) + '"',
])
def test_bombs(text: str) -> None:
    with pytest.raises(RegistryError):
        parse(text)


def test_at_the_limit() -> None:
    assert len(parse(", ".join(f"Basic{number}" for number in range(MAX_CHALLENGES)))) == MAX_CHALLENGES
    assert len(parse("B " + ",".join(f"p{number}=x" for number in range(MAX_PARAMETERS)))[0].parameters) == MAX_PARAMETERS


@given(st.one_of(st.text(), st.text(alphabet='aB =,"\\\t;/', max_size=60)))
def test_anything_is_a_list_or_an_error(text: str) -> None:
    try:
        found = parse(text)
    except RegistryError:
        return
    assert all(one.scheme == one.scheme.lower() for one in found)


_NAMES = st.text(alphabet="abcXYZ0-_", min_size=1, max_size=8)
_VALUES = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(_NAMES, st.dictionaries(_NAMES.map(str.lower), _VALUES, max_size=4)), max_size=4))
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(f"{scheme} {','.join(f'{name}={quoted(value)}' for name, value in parameters.items())}"
                     for scheme, parameters in challenges)
    assert short(text) == [(scheme.lower(), parameters) for scheme, parameters in challenges]
