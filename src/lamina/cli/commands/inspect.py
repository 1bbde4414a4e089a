"""`lamina inspect`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.gotemplate import Map, NilList, Struct, Template
from lamina.cli.say import error, plain_json
from lamina.cli.settings import with_store
from lamina.errors import InvalidReference, LaminaError, NotFound

if TYPE_CHECKING:
    from lamina.images import ImageStore

# What docker's types say of the fields: templates treat a map's missing key, and a nil map or list, in another way than a
# struct's.  Fields that JSON leaves out when they are empty have their empty value in a template.
_MAPS = frozenset({"Labels", "ExposedPorts", "Volumes", "Data", "Annotations"})
_LISTS = frozenset({"Cmd", "Entrypoint", "Env", "OnBuild", "Shell", "RepoTags", "RepoDigests", "Layers"})
_LEFT_OUT: Mapping[str, object] = {"Variant": "", "OsVersion": "", "ContainerConfig": None, "GraphDriver": None}
_LEFT_OUT_OF_CONFIG: Mapping[str, object] = {
    "ExposedPorts": None, "Healthcheck": None, "ArgsEscaped": False, "NetworkDisabled": False, "MacAddress": "",
    "StopSignal": "", "StopTimeout": None, "Shell": None,
}


def typed(value: object, name: str = "") -> object:
    """The same value as docker's types would hold it."""
    if name in _MAPS and (value is None or isinstance(value, dict)):
        return Map(value)
    if name in _LISTS and value is None:
        return NilList()
    if isinstance(value, dict):
        return {key: typed(item, key) for key, item in value.items()}
    return value


def template_data(image: Mapping[str, Any]) -> object:
    """One image's fields; those that its JSON leaves out can be asked for."""
    full = {key: typed(value, key) for key, value in image.items()}
    for part in ("Config", "ContainerConfig"):
        config = full.get(part)
        if isinstance(config, dict):
            full[part] = Struct(config, {key: typed(value, key) for key, value in _LEFT_OUT_OF_CONFIG.items()})
    return Struct(full, _LEFT_OUT)


@click.command("inspect")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--format", "form", default="", metavar="TEMPLATE", help="A Go template, or json for one object a line.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], form: str) -> None:
    """Show all that is known of images, as JSON."""
    template = Template("{{json .}}" if form == "json" else form) if form else None
    found: list[dict[str, Any]] = []
    problems: list[LaminaError] = []
    for name in names:
        try:
            found.extend(store.inspect([name]))
        except (NotFound, InvalidReference) as problem:
            problems.append(problem)
    if template is None:
        sys.stdout.write(plain_json(json.dumps(found, indent=4, ensure_ascii=False)) + "\n")
    elif form == "json":
        sys.stdout.writelines(template.render(image) + "\n" for image in found)
    else:
        sys.stdout.write("".join(template.render(template_data(image)) + "\n" for image in found) or "\n")
    for one in problems:
        error(one)
    if problems:
        raise click.exceptions.Exit(1)
