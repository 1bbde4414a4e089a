"""Runs one target under atheris: `python -m fuzz.drive NAME [libFuzzer's options and corpus directories]`.

`.ci/fuzz` calls it with kernels built for coverage and with sanitizers; without them it sees the edges of Python only.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["lamina"]):
    from fuzz.targets import NAMES, target


def _main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m fuzz.drive {'|'.join(NAMES)} [options] [corpus]")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["lamina"]):
        found = target(name)
    atheris.Setup(sys.argv, found.run)
    atheris.Fuzz()


if __name__ == "__main__":
    _main()
