"""`inspect`: all that is known of an image, in the shape of docker 20.10's API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lamina.images import times
from lamina.images.view import Entry, Image, View
from lamina.oci import ImageConfig

# What docker always shows of a container config, in its order, with the value for "not given".
_ALWAYS: tuple[tuple[str, Any], ...] = (
    ("Hostname", ""), ("Domainname", ""), ("User", ""), ("AttachStdin", False), ("AttachStdout", False),
    ("AttachStderr", False), ("Tty", False), ("OpenStdin", False), ("StdinOnce", False), ("Env", None),
    ("Cmd", None), ("Image", ""), ("Volumes", None), ("WorkingDir", ""), ("Entrypoint", None),
    ("OnBuild", None), ("Labels", None),
)
# What it shows only where given, and before which of the others.
_SOMETIMES = {"Tty": ("ExposedPorts",), "Image": ("Healthcheck", "ArgsEscaped"),
              "Entrypoint": (), "OnBuild": ("NetworkDisabled", "MacAddress")}
_LAST = ("StopSignal", "StopTimeout", "Shell")


def inspect_image(view: View, image: Image) -> dict[str, Any]:
    """The object that `docker image inspect` prints of one image; `GraphDriver` tells of this store."""
    entry = view.entries.get(image.id) or Entry(image)
    if image.artifact:
        return _artifact(view, entry)
    config = view.config(image.id)
    raw = config.raw
    shown = {
        "Id": image.id,
        **_names(view, entry),
        "Parent": view.parents.get(image.id, ""),
        "Comment": _comment(config),
        "Created": config.created or times.NEVER_TEXT,
        "Container": raw.get("container") or "",
        "ContainerConfig": _container_config(raw.get("container_config")),
        "DockerVersion": raw.get("docker_version") or "",
        "Author": raw.get("author") or "",
        "Config": _container_config(config.config) if "config" in raw else None,
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "OsVersion": config.os_version,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": None, "Name": "lamina"},
        "RootFS": _rootfs(image),
        "Metadata": {"LastTagTime": _last_tag_time(entry)},
    }
    optional = ("Variant", "OsVersion")
    return {name: value for name, value in shown.items() if value or name not in optional}


def _artifact(view: View, entry: Entry) -> dict[str, Any]:
    """An artifact has no config to tell of: what is known is its digest and names."""
    return {"Id": entry.image.id, **_names(view, entry), "Size": entry.image.size,
            "Metadata": {"LastTagTime": _last_tag_time(entry)}}


def _names(view: View, entry: Entry) -> dict[str, list[str]]:
    digests = sorted({f"{root.reference.familiar_name}@{digest}" for root in entry.names
                      if root.reference and (digest := view.digest_of(root))})
    return {"RepoTags": entry.tags, "RepoDigests": digests}


def _comment(config: ImageConfig) -> str:
    comment = config.raw.get("comment")
    if isinstance(comment, str) and comment:
        return comment
    return config.history[-1].comment if config.history else ""


def _container_config(fields: object) -> dict[str, Any]:
    given = fields if isinstance(fields, dict) else {}
    shown: dict[str, Any] = {}
    for name, default in _ALWAYS:
        for other in _SOMETIMES.get(name, ()):
            if given.get(other):
                shown[other] = given[other]
        shown[name] = default if given.get(name) is None else given[name]
    return shown | {name: given[name] for name in _LAST if given.get(name)}


def _rootfs(image: Image) -> dict[str, Any]:
    return {"Type": "layers", "Layers": list(image.diff_ids)} if image.diff_ids else {"Type": "layers"}


def _last_tag_time(entry: Entry) -> str:
    last = max((root.time for root in entry.names), default=0.0)
    return times.rfc3339(datetime.fromtimestamp(last, UTC)) if last else times.NEVER_TEXT
