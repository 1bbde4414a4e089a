"""The README's picture out of what `commands.py --json` has written.

    python benchmarks/picture.py RESULTS.json > benchmarks/results.svg

Left: how fast each program takes in one image (MB of archive a second).  Right: all archives, time against space.  Bars begin
at zero, and every row that was measured is shown.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, GAP, TOP = 880, 20, 6, 58
LEFT_LABEL, LEFT_WIDTH = 200, 170
RIGHT_X, RIGHT_WIDTH, RIGHT_HEIGHT = 540, 300, 230
STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f} .t{font-weight:600;font-size:14px} .s{fill:#57606a;font-size:11px}
.l{fill:#1a7f5a} .o{fill:#8c959f} .g{stroke:#d0d7de;fill:none}
@media (prefers-color-scheme:dark){text{fill:#e6edf3} .s{fill:#9198a1} .l{fill:#3fb68b} .o{fill:#6e7681} .g{stroke:#30363d}}
"""

Row = dict[str, Any]


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bars(rows: list[Row], y: float) -> tuple[list[str], float]:
    """One image: a bar a program, as long as its speed."""
    most = max(row["MB/s"] for row in rows)
    out = [text(16, y, rows[0]["what"], "s")]
    y += 8
    for row in rows:
        length = row["MB/s"] / most * LEFT_WIDTH
        kind = "l" if row["who"].startswith("lamina") else "o"
        out += [text(LEFT_LABEL, y + 14, row["who"].removesuffix(" docker-archive: dir:"), "", "end"),
                f'<rect x="{LEFT_LABEL + 8}" y="{y:.0f}" width="{length:.1f}" height="{BAR - 2}" class="{kind}" rx="2"/>',
                text(LEFT_LABEL + 14 + length, y + 14, f"{row['MB/s']} MB/s", "s")]
        y += BAR + GAP
    return out, y + 14


def scatter(rows: list[Row], y: float) -> list[str]:
    """All archives: seconds to the right, MB upwards, both from zero."""
    seconds, size = max(row["median_s"] for row in rows) * 1.1, max(row["MB"] for row in rows) * 1.1
    bottom = y + RIGHT_HEIGHT
    out = [f'<path class="g" d="M{RIGHT_X},{y} V{bottom} H{RIGHT_X + RIGHT_WIDTH}"/>',
           text(RIGHT_X + RIGHT_WIDTH, bottom + 30, f"seconds, 0 to {seconds:.0f}", "s", "end"),
           text(RIGHT_X + 6, y + 4, f"MB stored, 0 to {size:.0f}", "s")]
    for row in rows:
        x, at = RIGHT_X + row["median_s"] / seconds * RIGHT_WIDTH, bottom - row["MB"] / size * RIGHT_HEIGHT
        kind = "l" if row["who"].startswith("lamina") else "o"
        right = x < RIGHT_X + RIGHT_WIDTH / 2
        who = row["who"].removeprefix("lamina --compression ").removesuffix(" backup").partition(" import")[0]
        label = f"{who}: {row['median_s']:.1f} s, {row['MB']} MB"
        below = who in ("zstd:3", "restic")
        out += [f'<circle cx="{x:.1f}" cy="{at:.1f}" r="5" class="{kind}"/>',
                text(x + (9 if right else -9), at + (17 if below else -4), label, "s", "start" if right else "end")]
    return out


def picture(results: dict[str, Any]) -> str:
    """The whole SVG."""
    loads: dict[str, list[Row]] = {}
    for row in results["rows"]:
        if "MB/s" in row and row["what"].startswith("load "):
            loads.setdefault(row["what"], []).append(row)
    everything = [dict(row) for row in results["rows"] if "MB" in row]
    for row in everything:
        if "optimize" in row["who"]:  # it comes on top of the load
            row |= {"who": "lamina, then optimize", "median_s": row["median_s"] + everything[0]["median_s"]}
    parts = [text(16, 24, "Taking in one image", "t"), text(16, 40, "longer is faster; everything cached", "s"),
             text(RIGHT_X, 24, everything[0]["what"].replace("all ", "All ") + " in one store" if everything else "", "t"),
             text(RIGHT_X, 40, "lower is smaller, further left is faster", "s")]
    y: float = TOP + 8
    for rows in loads.values():
        more, y = bars(rows, y)
        parts += more
    if everything:
        parts += scatter(everything, TOP + 8)
    height = max(y, TOP + RIGHT_HEIGHT + 60)
    parts.append(text(16, height - 4, results["machine"], "s"))
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 8:.0f}" width="{WIDTH}" role="img" '
            f'aria-label="Speed and size of Lamina and other programs"><style>{STYLE}</style>')
    return "\n".join([head, *parts, "</svg>\n"])


if __name__ == "__main__":
    sys.stdout.write(picture(json.loads(Path(sys.argv[1]).read_text())))
