"""What the processor offers, and which path each kernel takes for it."""

from collections.abc import Mapping

FEATURES: Mapping[str, int]
KERNELS: Mapping[str, tuple[str, ...]]

def features() -> tuple[str, ...]:
    """The features of this machine that kernels know of: "sse4.1", "avx2", "avx512bw", "sha_ni", "neon", ..."""

def selected() -> dict[str, str]:
    """The path each kernel takes now: kernel name to feature name or "portable"."""

def force(path: str | None) -> None:
    """Let every kernel take `path`, or its portable path where it has no such one; None undoes it.

    None goes back to the state at import, which the variable LAMINA_CPU sets by the same names.
    ValueError: no kernel has that path, or the machine lacks it.
    """
