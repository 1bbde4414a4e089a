"""Imports point down only, and what has to start fast loads little."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina

ROOT = Path(lamina.__file__).parent
_MODULE = re.compile(r"lamina(\.[a-z_0-9]+)+")
# Floors of the house (DESIGN, "Floors"), and whether the rooms of one may know each other.
FLOORS: list[tuple[set[str], bool]] = [
    ({"_native"}, True),
    ({"errors", "digest", "reference", "oci", "jsonlimits", "mediatypes", "platforms", "imageconfig"}, True),
    ({"content"}, True),
    ({"storage"}, True),
    ({"store", "archive", "registry"}, False),
    ({"images", "bench", ""}, True),  # '' is lamina/__init__: the door to floor 6
    ({"cli", "__main__"}, True),
]
FLOOR_OF = {room: (number, together) for number, (rooms, together) in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    """The top-level module or package that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0].removesuffix("__init__")


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module that is named by an import, wherever it stands (for type checking only, in a function), or by a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            # `from lamina import oci` names a room by its last part.
            yield from (f"{module}.{alias.name}" for alias in node.names if module == "lamina")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            yield node.value  # for import_module, at once or by way of a table


def rooms(path: Path) -> Iterator[str]:
    """The rooms that a file imports from."""
    package = ".".join(("lamina", *path.relative_to(ROOT).parent.parts))
    for module in imports(ast.parse(path.read_text()), package):
        top, _, rest = module.partition(".")
        if top == "lamina" and rest:
            yield rest.partition(".")[0]


def wrong(importer: str, imported: str) -> bool:
    """Whether the import points up, or to a neighbour that is to stay a stranger."""
    if importer == imported:
        return False
    (mine, _), (its, together) = FLOOR_OF[importer], FLOOR_OF[imported]
    return its > mine or (its == mine and not together)


FILES = sorted(path for pattern in ("*.py", "*.pyi") for path in ROOT.rglob(pattern))


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in FILES} <= set(FLOOR_OF)
    assert len(FILES) > 50


def test_imports_point_down_only() -> None:
    found = []
    for path in FILES:
        for room in rooms(path):
            # Anything else is a name of the package itself, as in `from lamina import open`.
            if wrong(room_of(path), room if room in FLOOR_OF else ""):
                found.append(f"{path.relative_to(ROOT)} imports lamina.{room}")
    assert found == []


@pytest.mark.parametrize(("importer", "source", "bad"), [
    ("store", "from lamina.archive import x", True),
    ("archive", "import lamina.store.index", True),
    ("registry", "import lamina.store", True),
    ("store", "from lamina import images", True),
    ("content", "if TYPE_CHECKING:\n    from lamina.storage import Backend", True),
    ("errors", "def f():\n    from lamina.content import x", True),
    ("store", "from lamina.storage import x\nfrom lamina import oci", False),
    ("images", "import lamina.store\nfrom lamina.archive import x", False),
    ("digest", "from lamina.errors import x", False),
    ("store", "import importlib\nimportlib.import_module('lamina.cli.app')", True),
    ("storage", "from ..store import x", True),
])
def test_the_test_sees(importer: str, source: str, bad: bool) -> None:
    modules = imports(ast.parse(source), f"lamina.{importer}")
    found = [module.split(".")[1] for module in modules if module.startswith("lamina.")]
    assert any(wrong(importer, room) for room in found) == bad


HEAVY = {"numpy", "zstandard", "rich", "isal", "blake3", "asyncio", "multiprocessing", "concurrent"}


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after this code."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True,
                              text=True).stdout.split()[-500:])


def test_the_package_itself_loads_little() -> None:
    found = loaded("import lamina, lamina.errors, lamina.digest, lamina.reference, lamina.oci, lamina.store.catalog")
    assert "lamina" in found and not found & HEAVY


def test_listing_loads_little(tmp_path: Path) -> None:
    """`images`, `tag` look-ups, `inspect` and completion: SQLite and JSON are all they need."""
    from images.archives import Built, docker_archive, layer

    with lamina.open(tmp_path / "store") as store:
        store.load(docker_archive((Built(layer(a="1")), ["one:1"])))
    found = loaded(f"import lamina\nstore = lamina.open({str(tmp_path / 'store')!r})\n"
                   "assert [image.repository for image in store.images()] == ['one']\n"
                   "store.names(), store.inspect(['one:1']), store.history('one:1')\nstore.close()")
    assert "sqlite3" in found and not found & HEAVY
