"""Which of an index's images is meant: the host's, another one, or all."""

from __future__ import annotations

from lamina.content import Source
from lamina.content.graph import Graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import read_blob
from lamina.errors import InvalidContent, NotFound
from lamina.oci import Descriptor, Platform, is_index, parse_config, parse_manifest, select_platform

ALL = "all"


class NoPlatform(NotFound):
    """Nothing in an index, or no single image, is for the platform that is wanted."""


def parse_wanted(text: str | None) -> Platform | str | None:
    """What `--platform` says: a platform, `ALL`, or None where it is not given; `UsageError`."""
    return text if text == ALL else Platform.parse(text) if text else None


def choose(source: Source, root: Descriptor, wanted: Platform | str | None, name: str) -> Platform | None:
    """The platform to copy of `root`; None for all of it.

    Without a wish: an index's manifest that serves this machine best; all of what names no platforms; a single manifest as it
    is, whatever it is for.  `NoPlatform` lists the platforms that there are.
    """
    single = not is_index(root.media_type)
    if wanted == ALL or (single and wanted is None):
        return None
    graph = Graph(source, MemoryTarget(), root)
    platform = wanted if isinstance(wanted, Platform) else Platform.host()
    named = [leaf for leaf, _ in graph.leaves() if leaf.platform is not None]
    if wanted is None and (best := select_platform(named, platform)) is not None:
        return best.platform
    try:
        graph.choose(platform)
    except NotFound:
        if wanted is None and not named:
            return None
        raise _no_match(source, root, platform, named, name) from None
    return platform


def needed(source: Source, root: Descriptor, platform: Platform | None) -> list[Descriptor]:
    """The manifests to have of `root`: that for `platform`, or all, attestations too."""
    graph = Graph(source, MemoryTarget(), root)
    if platform is not None:
        return [graph.choose(platform)[0]]
    return [leaf for leaf, _ in graph.leaves(attestations=True)]


def chosen_manifest(source: Source, root: Descriptor, platform: Platform, name: str) -> Descriptor:
    """The manifest for `platform`, by itself."""
    choose(source, root, platform, name)
    found = Graph(source, MemoryTarget(), root).choose(platform)[0]
    return Descriptor(found.media_type, found.digest, found.size, found.platform)


def _no_match(source: Source, root: Descriptor, wanted: Platform, named: list[Descriptor], name: str) -> NoPlatform:
    """In docker's words."""
    if is_index(root.media_type):
        there = ", ".join(dict.fromkeys(str(leaf.platform) for leaf in named)) or "none"
        return NoPlatform(f"no matching manifest for {wanted} in the manifest list entries", name, f"there are: {there}")
    return NoPlatform(f"image with reference {name} was found but does not match the specified platform: wanted {wanted}, "
                    f"actual: {_platform_of(source, root) or 'none'}")


def _platform_of(source: Source, root: Descriptor) -> str:
    manifest = parse_manifest(read_blob(source, root), root.media_type, root.digest)
    try:
        return str(parse_config(read_blob(source, manifest.config), manifest.config.digest).platform)
    except (NotFound, InvalidContent):
        return ""
