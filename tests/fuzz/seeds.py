"""Seeds in files of text, `seeds/NAME.txt`: an input a line, in base64; after `#`, what a line is kept for.

    python -m fuzz.seeds make [NAME ...]       the hand-made ones anew, in front of the others (with PYTHONPATH=tests)
    python -m fuzz.seeds merge NAME DIR        adds inputs of a corpus, the smallest first, up to LIMIT bytes of the file
    python -m fuzz.seeds unpack NAME DIR       a file for each, and DIR.dict, the words for the fuzzer to put in
    python -m fuzz.seeds keep NAME FILE WHY    a finding of before, kept whatever its size
    python -m fuzz.seeds try NAME FILE         one input, without the fuzzer
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from fuzz.targets import NAMES, target

LIMIT = 30 << 10
HERE = Path(__file__).with_name("seeds")
_MADE, _FOUND = "made", "corpus"


def path_of(name: str) -> Path:
    return HERE / f"{name}.txt"


def read(name: str) -> list[tuple[bytes, str]]:
    """(input, what it is kept for) of each line."""
    rows = []
    for line in path_of(name).read_text("ascii").splitlines():
        text, _, why = line.partition(" # ")
        rows.append((base64.b64decode(text), why))
    return rows


def write(name: str, rows: list[tuple[bytes, str]]) -> None:
    lines = [f"{base64.b64encode(data).decode()} # {why}\n" for data, why in dict(rows).items()]
    path_of(name).write_text("".join(lines), "ascii")


def make(name: str) -> None:
    others = [row for row in read(name) if row[1] != _MADE] if path_of(name).exists() else []
    write(name, [*((data, _MADE) for data in target(name).seeds()), *others])


def merge(name: str, corpus: Path) -> None:
    kept = [row for row in read(name) if row[1] != _FOUND]
    left = LIMIT - sum(_size(*row) for row in kept)
    known = {data for data, _ in kept}
    for data in sorted((file.read_bytes() for file in corpus.iterdir()), key=len):
        if data and data not in known and (left := left - _size(data, _FOUND)) >= 0:
            kept.append((data, _FOUND))
    write(name, kept)


def unpack(name: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for number, (data, _) in enumerate(read(name)):
        (directory / f"seed{number:04}").write_bytes(data)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in dict.fromkeys(target(name).WORDS) if word)
    directory.with_suffix(".dict").write_text("".join(f'"{word}"\n' for word in words), "ascii")


def _size(data: bytes, why: str) -> int:
    return -(-len(data) // 3) * 4 + len(why) + 4


def _main(command: str, *rest: str) -> None:
    match command, rest:
        case "make", names:
            for name in names or NAMES:
                make(name)
        case "merge", (name, directory):
            merge(name, Path(directory))
        case "unpack", (name, directory):
            unpack(name, Path(directory))
        case "keep", (name, file, why):
            write(name, [*read(name), (Path(file).read_bytes(), why)])
        case "try", (name, file):
            target(name).run(Path(file).read_bytes())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    _main(*sys.argv[1:])
