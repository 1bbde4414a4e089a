"""Compiles every Cython source below ext/ into the package of the same path; all else is in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path("ext")
NATIVE = ROOT / "lamina" / "_native"

setup(
    ext_modules=cythonize(
        [
            Extension(
                ".".join(pyx.relative_to(ROOT).with_suffix("").parts),
                [str(pyx)],
                include_dirs=[str(NATIVE)],
                depends=[str(h) for h in sorted(NATIVE.glob("*.h"))],
                extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wno-unreachable-code"],
            )
            for pyx in sorted(ROOT.rglob("*.pyx"))
        ],
        include_path=[str(ROOT)],
        build_dir="build/cython",
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False,
                             "initializedcheck": False, "cdivision": True},
    )
)
