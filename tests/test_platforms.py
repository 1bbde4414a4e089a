"""Platforms: spelling, sameness, and what serves where."""

from __future__ import annotations

import os
import types

import pytest

from lamina.errors import InvalidContent, UsageError
from lamina.platforms import Platform, matches, serving


@pytest.fixture(autouse=True)
def arm64_host(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "aarch64")


def machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=name))


@pytest.mark.parametrize(("text", "written"), [
    ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("linux/x86-64", "linux/amd64"),
    ("Linux/AMD64", "linux/amd64"), ("linux/amd64/v1", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v3"),
    ("linux/arm64", "linux/arm64"), ("linux/aarch64", "linux/arm64"), ("linux/arm64/v8", "linux/arm64"),
    ("linux/arm64/8", "linux/arm64"), ("linux/arm64/v9", "linux/arm64/v9"),
    ("linux/arm", "linux/arm/v7"), ("linux/arm/v7", "linux/arm/v7"), ("linux/arm/7", "linux/arm/v7"),
    ("linux/arm/v6", "linux/arm/v6"), ("linux/arm/5", "linux/arm/v5"), ("linux/armhf", "linux/arm/v7"),
    ("linux/armel", "linux/arm/v6"), ("linux/i386", "linux/386"), ("linux/386", "linux/386"),
    ("macos/arm64", "darwin/arm64"), ("windows/amd64", "windows/amd64"), ("linux/s390x", "linux/s390x"),
    ("linux", "linux/arm64"), ("windows", "windows/arm64"), ("amd64", "linux/amd64"), ("arm", "linux/arm/v7"),
    ("x86_64", "linux/amd64"), ("unknown/unknown", "unknown/unknown"), ("plan10/mips9", "plan10/mips9"),
])
def test_parse(text: str, written: str) -> None:
    assert str(Platform.parse(text)) == written
    assert Platform.parse(written) == Platform.parse(text)


@pytest.mark.parametrize("text", ["", "/", "linux/", "/amd64", "linux//v7", "linux/arm/v7/x", "linux/*", "li nux/arm",
                                  "nonsense", "linux/amd64\n", "*"])
def test_no_platform(text: str) -> None:
    with pytest.raises(UsageError):
        Platform.parse(text)


@pytest.mark.parametrize(("name", "written"), [
    ("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("armv7l", "linux/arm/v7"), ("armv6l", "linux/arm/v6"),
    ("i686", "linux/386"), ("riscv64", "linux/riscv64"), ("ppc64le", "linux/ppc64le"),
    ("loongarch64", "linux/loong64"),
])
def test_host(monkeypatch: pytest.MonkeyPatch, name: str, written: str) -> None:
    machine(monkeypatch, name)
    assert str(Platform.host()) == written


@pytest.mark.parametrize(("wanted", "have", "same"), [
    (Platform("linux", "amd64"), Platform("linux", "x86_64", "v1"), True),
    (Platform("linux", "arm64"), Platform("linux", "arm64", "v8"), True),
    (Platform("linux", "arm"), Platform("linux", "arm", "v7"), True),
    (Platform("linux", "arm", "v6"), Platform("linux", "arm", "v7"), False),
    (Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6"), False),
    (Platform("linux", "amd64"), Platform("linux", "amd64", "v3"), False),
    (Platform("linux", "amd64"), Platform("windows", "amd64"), False),
    (Platform("linux", "amd64"), Platform("linux", "386"), False),
    (Platform("linux", "amd64"), Platform("", ""), False),
    (Platform("windows", "amd64"), Platform("windows", "amd64", "", "10.0.1"), True),
    (Platform("windows", "amd64", "", "10.0.1"), Platform("windows", "amd64", "", "10.0.1"), True),
    (Platform("windows", "amd64", "", "10.0.1"), Platform("windows", "amd64", "", "10.0.2"), False),
    (Platform("windows", "amd64", os_features=("win32k",)), Platform("windows", "amd64"), False),
    (Platform("windows", "amd64"), Platform("windows", "amd64", os_features=("win32k",)), True),
])
def test_matches(wanted: Platform, have: Platform, same: bool) -> None:
    assert matches(wanted, have) is same


@pytest.mark.parametrize(("text", "order"), [
    ("linux/amd64", "linux/amd64 linux/386"),
    ("linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386"),
    ("linux/arm", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
    ("linux/arm/v5", "linux/arm/v5"),
    ("linux/arm64", "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"),
    ("linux/arm64/v9", "linux/arm64/v9 linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"),
    ("linux/s390x", "linux/s390x"), ("linux/386", "linux/386"), ("linux/arm/x", "linux/arm/x"),
    ("linux/amd64/v99999", "linux/amd64/v99999 linux/amd64 linux/386"),
])
def test_serving(text: str, order: str) -> None:
    assert [str(one) for one in serving(Platform.parse(text))] == order.split()


def test_json() -> None:
    value = {"architecture": "amd64", "os": "windows", "os.version": "10", "os.features": ["a"], "variant": "v2"}
    platform = Platform.from_json(value)
    assert platform == Platform("windows", "amd64", "v2", "10", ("a",))
    assert platform.to_json() == value
    assert list(platform.to_json()) == list(value)
    assert Platform.from_json({"os": None}).to_json() == {}


@pytest.mark.parametrize("value", [[], "linux/amd64", None, {"os": 1}, {"architecture": []}, {"os.features": "a"},
                                   {"os.features": [1]}, {"variant": {}}])
def test_json_of_wrong_types(value: object) -> None:
    with pytest.raises(InvalidContent, match="platform"):
        Platform.from_json(value)
