"""The command line: one function per command, each of which calls one method of `lamina.images.ImageStore`.

`--version` and completion are answered before anything large is imported: click alone takes 60 ms.
"""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> None:
    """The console entry point."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-v"]):
        import lamina

        print(f"lamina {lamina.__version__}")
        return
    if "_LAMINA_COMPLETE" in os.environ:
        from lamina.cli.complete import answer

        sys.exit(answer(os.environ))
    # numpy's linear algebra starts a thread a core that spins for work which never comes: 1 to 3 % of an import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lamina.cli.run import run

    code = run(arguments)
    # Everything is closed and flushed: the interpreter would go on to free its memory piece by piece, for 40 ms.
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
