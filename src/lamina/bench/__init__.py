"""`bench`: how fast each layer goes, stage by stage, on the user's own images; how settings and other programs compare.

    bench(plan, tell) -> Result

Every run is a process of its own on an empty store of its own, as a user's command is; runs of all contenders alternate, and
every difference is held against their spread.  The user's store is read at most.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.bench.result import Result
    from lamina.bench.run import Plan, bench

_HOMES = {"Plan": "run", "Result": "result", "bench": "run"}

__all__ = ["Plan", "Result", "bench"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"lamina.bench.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
