"""`--format`: tables, JSON lines and templates, as docker's formatter writes them.

    table               the command's own table
    table TEMPLATE      a table of the template's columns, which \\t separates; the heading comes from the fields' names
    json                one JSON object a line
    TEMPLATE            a line for each row
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from lamina.cli.columns import align
from lamina.cli.gotemplate import Map, Template
from lamina.cli.gotemplate.functions import Row
from lamina.cli.say import plain

QUIET = "{{.ID}}"


def write_rows(rows: Iterable[Mapping[str, object]], form: str, table: str, heading: Mapping[str, str]) -> None:
    """Write rows to standard output; `table` is the template behind a mere `table`.  `TemplateError`."""
    is_table, source = _source(form, table)
    template = Template(source)
    if not is_table:
        for row in rows:
            sys.stdout.write(template.render(Row(row)) + "\n")
        return
    lines = [template.render(Map(heading), heading=True)]
    lines.extend(template.render(Row({key: _safe(value) for key, value in row.items()})) for row in rows)
    sys.stdout.write(align("\n".join(lines) + "\n"))


def _safe(value: object) -> object:
    """A table goes to a terminal, and its lines are rows: control characters become escapes."""
    if isinstance(value, list):
        return [_safe(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def unescape(source: str) -> str:
    r"""docker takes `\t` and `\n` outside of quotes for tab and newline."""
    return source.replace("\\t", "\t").replace("\\n", "\n")


def _source(form: str, table: str) -> tuple[bool, str]:
    """Whether it is a table, and its template."""
    if form == "json":
        return False, "{{json .}}"
    if form in ("", "table"):
        return True, table
    is_table = form.startswith("table")
    return is_table, unescape((form[len("table"):] if is_table else form).strip(" "))
