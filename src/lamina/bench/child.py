"""One step of ours in a process of its own: `python -m lamina.bench.child`, a request in JSON in, an answer in JSON out.

    {"do": "load", "store": …, "sources": […], "compression": …, "workers": …, "lanes": …, "cutting": […]}
    {"do": "save", "store": …, "names": […], "output": …}
    {"do": "drain", "store": …, "digests": […]}

A process each, as a user's command has: memory is fresh, nothing is warm, and an interrupt ends it at once.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import lamina
from lamina.errors import LaminaError
from lamina.oci import Descriptor
from lamina.store.blobstore import BlobStore, Reading
from lamina.store.stages import Stages

_BUFFER = 1 << 20


def main() -> None:
    """Answer one request on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent tells the user
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What is found; an error of ours is an answer, too."""
    try:
        return {"load": _load, "save": _save, "drain": _drain}[request["do"]](request)
    except LaminaError as error:
        return {"error": [error.what, error.where, error.hint], "kind": type(error).__name__}
    except OSError as error:
        return {"error": [error.strerror or str(error), str(error.filename or ""), ""], "kind": "StorageError"}


def _load(request: dict[str, Any]) -> dict[str, Any]:
    from lamina.images.load import load_all
    from lamina.store.tuning import Tuning

    cutting = request["cutting"]
    tuning = Tuning(request["workers"], request["lanes"], tuple(cutting) if cutting else None)
    stages = Stages()
    total: dict[str, Any] = {"seconds": 0.0, "read": 0, "known": 0, "new": 0, "stored": 0}
    layers: list[dict[str, Any]] = []
    images: list[dict[str, str]] = []
    with lamina.open(request["store"]) as store:
        for batch in load_all(store.blobs, [Path(path) for path in request["sources"]], compression=request["compression"],
                              tuning=tuning):
            stats = batch.stats
            for name in total:
                total[name] += getattr(stats, name)
            for name, stage in stats.stages.by_name.items():
                stages.add(name, stage.cpu, stage.wall, stage.bytes)
            layers += ({"digest": one.digest, "size": one.size, "new": one.new, "entries": one.entries, "seconds": one.seconds,
                        "status": one.status, "stages": _plain(one.stages)} for one in stats.layers)
            for place, outcome in batch.outcomes:
                if isinstance(outcome, LaminaError | OSError):
                    raise outcome
                images += ({"source": str(place), "name": one.reference, "id": one.image_id, "digest": one.digest}
                           for one in outcome.loaded)
    return {**total, "stages": _plain(stages), "layers": layers, "images": images}


def _save(request: dict[str, Any]) -> dict[str, Any]:
    with lamina.open(request["store"], create=False) as store:
        saved = []
        for name in request["names"]:
            result = store.save([name], request["output"])
            saved.append({"bytes": result.bytes, "seconds": result.seconds})
            Path(request["output"]).unlink()
    return {"saved": saved}


def _drain(request: dict[str, Any]) -> dict[str, Any]:
    """Each layer out, one after another, to nowhere."""
    stages = Stages()
    layers = {}
    with lamina.open(request["store"], create=False) as store, reading(store.blobs, stages) as source:
        buffer = memoryview(bytearray(_BUFFER))
        _ = source.index  # opened for all, and not on the first layer's time
        for digest in request["digests"]:
            begin = time.perf_counter()
            count = _through(source, source.resolve(digest), buffer)
            layers[digest] = {"seconds": time.perf_counter() - begin, "bytes": count}
    return {"layers": layers, "stages": _plain(stages)}


def reading(store: BlobStore, stages: Stages) -> Reading:
    """A reader's session whose stages are counted in `stages`."""
    return store.reading(stages)


def _through(source: Reading, descriptor: Descriptor, buffer: memoryview) -> int:
    reader = source.fetch(descriptor)
    try:
        total = 0
        while count := reader.readinto(buffer):
            total += count
        return total
    finally:
        reader.close()


def _plain(stages: Stages) -> dict[str, list[float]]:
    return {name: [stage.cpu, stage.wall, stage.bytes] for name, stage in stages.by_name.items()}


if __name__ == "__main__":
    main()
