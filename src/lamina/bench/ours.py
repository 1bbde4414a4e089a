"""Our own runs: into an empty store, once more into the same, and out again."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lamina
from lamina import errors
from lamina.bench.process import Timing, run
from lamina.bench.settings import Setting
from lamina.bench.sources import Source
from lamina.bench.workplace import empty, taken

_ROOT = str(Path(lamina.__file__).parents[1])


@dataclass(slots=True)
class OurRun:
    """What one round brought; `loaded` and `drained` are the child's own words (see `child`)."""

    load: Timing
    again: Timing
    save: Timing
    stored: int
    saved: list[dict[str, float]]
    loaded: dict[str, Any]
    drained: dict[str, Any] = field(default_factory=dict)


class Ours:
    """Lamina with one setting."""

    def __init__(self, folder: Path, sources: list[Source], setting: Setting) -> None:
        self.setting, self._sources = setting, sources
        self.store = folder / "store"
        self._output = folder / "saved.tar"

    def load(self) -> tuple[Timing, dict[str, Any]]:
        """All archives in one call, as `lamina load a b c` takes them."""
        tuning = self.setting.tuning()
        return ask(do="load", store=str(self.store), sources=[str(source.path) for source in self._sources],
                   compression=self.setting.compression, workers=tuning.workers, lanes=tuning.lanes, cutting=tuning.cutting)

    def save(self, names: list[str]) -> tuple[Timing, dict[str, Any]]:
        """One archive each, written beside the store."""
        return ask(do="save", store=str(self.store), names=names, output=str(self._output))

    def drain(self, digests: list[str]) -> dict[str, Any]:
        """Each layer read and checked, and written nowhere."""
        return ask(do="drain", store=str(self.store), digests=digests)[1]

    def size(self) -> int:
        """What the store takes."""
        return taken(self.store)

    def clear(self) -> None:
        """As it was before."""
        empty(self.store)
        self._output.unlink(missing_ok=True)


def names_of(loaded: dict[str, Any]) -> list[str]:
    """What to call each image that was loaded, once: by its name, or by its id where a later one has taken the name."""
    last = {image["name"]: image["digest"] for image in loaded["images"] if image["name"]}
    return list(dict.fromkeys(
        image["name"] if last.get(image["name"]) == image["digest"] else image["id"] for image in loaded["images"]))


def ask(**request: Any) -> tuple[Timing, dict[str, Any]]:
    """Let a child do something; what it met is raised here."""
    timing, answer = _child(request)
    if "error" in answer:
        what, where, hint = answer["error"]
        raise getattr(errors, answer["kind"], errors.LaminaError)(what, where, hint)
    return timing, answer


def _child(request: dict[str, Any]) -> tuple[Timing, dict[str, Any]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))}
    ran = run([sys.executable, "-m", "lamina.bench.child"], env, given=json.dumps(request).encode())
    return ran.timing, json.loads(ran.out)
