"""The config of a runnable image (config.md): a parsed view that is lenient on gaps and strict on types."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lamina.digest import Digest
from lamina.errors import InvalidDigest
from lamina.jsonlimits import Fields, loads
from lamina.platforms import Platform

# Docker's own limit is 127 layers; 4,096 leaves every other writer room.
MAX_LAYERS = 4096
# History has an entry for each empty step, too.
MAX_HISTORY = 4 * MAX_LAYERS

_TEXTS = ("Env", "OnBuild", "Shell")
# Docker wrote these two as one string, once, and reads either.
_TEXTS_OR_TEXT = ("Cmd", "Entrypoint")
_TEXT = ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname", "Image")
_MAPPINGS = ("Volumes", "ExposedPorts")


@dataclass(frozen=True, slots=True)
class History:
    """How one layer came to be; an `empty_layer` has none in the root file system."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImageConfig:
    """The fields that Lamina uses; `config` is the runtime config object, `raw` the whole document."""

    created: str
    architecture: str
    os: str
    variant: str
    os_version: str
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]
    config: dict[str, Any]
    raw: dict[str, Any]

    @property
    def platform(self) -> Platform:
        return Platform(self.os, self.architecture, self.variant, self.os_version)

    @property
    def labels(self) -> dict[str, str]:
        return self.config.get("Labels") or {}


def parse_config(data: bytes, where: object = "") -> ImageConfig:
    """The view of a config; what is missing or null is empty, as in docker; `InvalidContent`."""
    raw = loads(data, "image config", where=where)
    fields = Fields(raw, "image config", where=where)
    return ImageConfig(
        created=fields.text("created"),
        architecture=fields.text("architecture"),
        os=fields.text("os"),
        variant=fields.text("variant"),
        os_version=fields.text("os.version"),
        diff_ids=_diff_ids(fields),
        history=tuple(_history(step) for step in fields.children("history", MAX_HISTORY)),
        config=_runtime_config(fields),
        raw=raw,
    )


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain id of each layer: what the stack up to it is known by (config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        if chain:
            both = f"{chain[-1]} {diff_id}".encode("ascii")
            chain.append(Digest(f"sha256:{hashlib.sha256(both).hexdigest()}"))
        else:
            chain.append(diff_id)
    return tuple(chain)


def _diff_ids(fields: Fields) -> tuple[Digest, ...]:
    rootfs = fields.child("rootfs")
    if rootfs is None:
        return ()
    if rootfs.text("type") not in ("", "layers"):
        rootfs.refuse("type", "is not 'layers'")
    found = []
    for number, text in enumerate(rootfs.texts("diff_ids", MAX_LAYERS)):
        try:
            found.append(Digest(text))
        except InvalidDigest as error:
            rootfs.refuse(f"diff_ids[{number}]", f"is {error}")
    return tuple(found)


def _history(step: Fields) -> History:
    return History(step.text("created"), step.text("created_by"), step.text("author"), step.text("comment"),
                   step.flag("empty_layer"))


def _runtime_config(fields: Fields) -> dict[str, Any]:
    """The `config` object, its well-known fields checked: what prints them need not ask again."""
    runtime = fields.child("config")
    if runtime is None:
        return {}
    for name in _TEXTS:
        runtime.texts(name)
    for name in _TEXTS_OR_TEXT:
        if not isinstance(runtime.get(name), str):
            runtime.texts(name)
    for name in _TEXT:
        runtime.text(name)
    for name in _MAPPINGS:
        runtime.mapping(name)
    runtime.text_mapping("Labels")
    return fields.mapping("config")
