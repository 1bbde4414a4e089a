"""`lamina tree`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from lamina.cli.columns import grid
from lamina.cli.commands.images import short_id
from lamina.cli.formats import write_rows
from lamina.cli.say import plain
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.tree import TreeNode

BRANCH, LAST, STEM, GAP = "├─ ", "└─ ", "│  ", "   "
FIELDS = {"ID": "IMAGE ID", "Names": "NAMES", "ParentID": "PARENT", "Layers": "LAYERS", "Bytes": "BYTES",
          "NewBytes": "NEW BYTES"}


def walk(roots: Sequence[TreeNode]) -> Iterator[tuple[str, TreeNode]]:
    """Every node with what is drawn before it, parents first.  A stack, since chains may be longer than Python nests."""
    stack = [("", "", root) for root in reversed(roots)]
    while stack:
        lead, stem, node = stack.pop()
        yield lead, node
        for place, child in enumerate(reversed(node.children)):
            stack.append((stem + (BRANCH if place else LAST), stem + (STEM if place else GAP), child))


def drawing(roots: Sequence[TreeNode]) -> str:
    """The tree, with what each image adds to its parent."""
    rows = [("IMAGE", "IMAGE ID", "LAYERS", "BYTES", "NEW BYTES")]
    for lead, node in walk(roots):
        names = ", ".join(node.summary.names) or "<none>"
        rows.append((plain(lead + names), short_id(node.summary.image_id), f"+{node.adds_layers}",
                     human_size(node.adds_bytes, 3), human_size(node.new_bytes, 3)))
    return grid(rows, "llrrr")


@click.command("tree")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON lines, or a Go template.")
@with_store
def command(store: ImageStore, form: str) -> None:
    """Draw parents and children with what each adds: layers, bytes, and bytes that no other image had before."""
    roots = store.tree()
    if not form:
        click.echo(drawing(roots), nl=False)
        return
    rows = ({"ID": node.summary.image_id, "Names": list(node.summary.names), "ParentID": node.summary.parent,
             "Layers": node.adds_layers, "Bytes": node.adds_bytes, "NewBytes": node.new_bytes} for _, node in walk(roots))
    write_rows(rows, form, "\t".join(f"{{{{.{field}}}}}" for field in FIELDS), FIELDS)
