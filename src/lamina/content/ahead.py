"""What a copy is going to need: the layers of a graph, told before the walk, so that several can be on their way at once."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.content import Source, Target
from lamina.content.graph import Graph
from lamina.oci import Descriptor, Platform, is_index, is_manifest, parse_manifest


def layers_of(source: Source, target: Target, root: Descriptor, platform: Platform | None = None) -> Iterator[Descriptor]:
    """The layers of each manifest below `root` (of `platform`'s alone) that the source has, in their order; one may come twice.

    Errors as of `lamina.content.copy.copy_graph`.  `target` is where documents are read that the source has not.
    """
    graph = Graph(source, target, root)
    if platform is not None:
        manifests: Iterator[Descriptor] = iter([graph.choose(platform)[0]])
    else:
        manifests = _manifests(graph, root, 1, set())
    for manifest in manifests:
        parsed = parse_manifest(graph.document(manifest), manifest.media_type, manifest.digest)
        yield from (layer for layer in parsed.layers if layer.data is None)


def _manifests(graph: Graph, node: Descriptor, depth: int, seen: set[str]) -> Iterator[Descriptor]:
    if node.digest in seen or not graph.has(node):
        return
    seen.add(node.digest)
    if is_manifest(node.media_type):
        yield node
    elif is_index(node.media_type):
        for child in graph.children(node, graph.document(node), depth):
            yield from _manifests(graph, child, depth + 1, seen)
