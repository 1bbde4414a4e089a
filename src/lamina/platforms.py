"""Platforms: how they are written, which of them are the same, and which one serves where another is wanted.

Docker and containerd write `os/architecture[/variant]` and take several spellings for one; the rules here are
those of containerd's `platforms` package.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from typing import Any, Self

from lamina.errors import UsageError
from lamina.jsonlimits import Fields

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OSES = frozenset((
    "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd",
    "plan9", "solaris", "wasip1", "windows", "zos",
))
_ARCHITECTURES = frozenset((
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm",
))
# Other spellings of an architecture, and the variant that some of them imply.
_SPELLINGS = {
    "i386": ("386", ""), "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
}
# The variant that goes without saying; arm is the exception, whose default is written out.
_SILENT = {("amd64", "v1"), ("arm64", "v8"), ("arm64", "v8.0")}
# What uname says of machines, where neither Go nor the spellings below do.
_MACHINES = {
    "i486": ("386", ""), "i586": ("386", ""), "i686": ("386", ""),
    "armv5l": ("arm", "v5"), "armv6l": ("arm", "v6"), "armv7l": ("arm", "v7"), "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """descriptor `platform` (image-index.md); compares by all fields, see `matches` for meaning."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """From the JSON object of a descriptor; wrong types are `InvalidContent`."""
        return cls(fields.text("os"), fields.text("architecture"), fields.text("variant"),
                   fields.text("os.version"), fields.texts("os.features"))

    @classmethod
    def from_json(cls, value: object, where: object = "") -> Self:
        """As `from_fields`, of a value of its own."""
        return cls.from_fields(Fields(value, "platform", where=where))

    def to_json(self) -> dict[str, Any]:
        """The specification's fields in its order, the empty ones left out."""
        every = {
            "architecture": self.architecture, "os": self.os, "os.version": self.os_version,
            "os.features": list(self.os_features), "variant": self.variant,
        }
        return {name: value for name, value in every.items() if value}

    @classmethod
    def parse(cls, text: str) -> Self:
        """`os/architecture[/variant]`, or one of the first two alone, the rest being the host's."""
        parts = text.split("/")
        if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
            raise UsageError(f"invalid platform {text[:80]!r}", hint="expected os/architecture[/variant]")
        if len(parts) > 1:
            return cls(parts[0], parts[1], "".join(parts[2:])).normalized()
        host = cls.host()
        if _os_name(text) in _OSES:
            return replace(host, os=_os_name(text))
        alone = cls(host.os, text).normalized()
        if alone.architecture in _ARCHITECTURES:
            return alone
        raise UsageError(f"unknown operating system or architecture {text[:80]!r}",
                         hint="expected os/architecture[/variant]")

    @classmethod
    def host(cls) -> Self:
        """The platform of this machine."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, ""))
        return cls(sys.platform, architecture, variant).normalized()

    def normalized(self) -> Self:
        """One spelling for each platform: x86_64 is amd64, arm is arm/v7, arm64/v8 is arm64."""
        architecture, variant = _normal_architecture(self.architecture, self.variant)
        return replace(self, os=_os_name(self.os), architecture=architecture, variant=variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def matches(wanted: Platform, have: Platform) -> bool:
    """Whether the two mean the same; an `os_version` or features are compared only where they are wanted."""
    wanted, have = wanted.normalized(), have.normalized()
    return (
        (wanted.os, wanted.architecture, wanted.variant) == (have.os, have.architecture, have.variant)
        and wanted.os_version in ("", have.os_version)
        and set(wanted.os_features) <= set(have.os_features)
    )


def serving(wanted: Platform) -> tuple[Platform, ...]:
    """The platforms whose images run on `wanted`, the best first: itself, older variants, 32-bit kin."""
    wanted = wanted.normalized()
    below = [wanted]
    if wanted.architecture == "amd64":
        older = range(_variant_number(wanted.variant) - 1, 1, -1)
        below += [replace(wanted, variant=f"v{number}") for number in older]
        if wanted.variant:
            below.append(replace(wanted, variant=""))
        below.append(replace(wanted, architecture="386", variant=""))
    elif wanted.architecture == "arm":
        older = range(_variant_number(wanted.variant) - 1, 4, -1)
        below += [replace(wanted, variant=f"v{number}") for number in older]
    elif wanted.architecture == "arm64":
        if wanted.variant:
            below.append(replace(wanted, variant=""))
        below += [replace(wanted, architecture="arm", variant=f"v{number}") for number in range(8, 4, -1)]
    return tuple(below)


def _os_name(name: str) -> str:
    name = name.lower()
    return "darwin" if name == "macos" else name


def _variant_number(variant: str) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else 0


def _normal_architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    if variant.isascii() and variant.isdigit():
        variant = f"v{variant}"
    architecture, implied = _SPELLINGS.get(architecture, (architecture, ""))
    variant = implied or variant
    if architecture == "386" or (architecture, variant) in _SILENT:
        return architecture, ""
    return architecture, variant or ("v7" if architecture == "arm" else "")
