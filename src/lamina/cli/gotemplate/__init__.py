"""The part of Go's text/template that docker's `--format` is used with.

    Template(source).render(data) -> str

Known are text, `{{.Field.Sub}}`, `$` and variables, pipelines, strings (quoted and raw), numbers, true, false, nil,
parentheses, `if`/`else if`/`else`, `range` (with `$k, $v :=` and `else`), `with`, comments, `{{- -}}`, and the functions
of `lamina.cli.gotemplate.functions`.  Anything else is a `TemplateError`; so is what is nested or grows beyond the limits.

Data are what `json.loads` gives.  A plain dict stands for a Go struct: a field that it lacks is an error.  `Map` stands for
a Go map: a key that it lacks is `<no value>`.
"""

from __future__ import annotations

from lamina.cli.gotemplate.errors import TemplateError
from lamina.cli.gotemplate.template import Template
from lamina.cli.gotemplate.values import Map, NilList, Struct, to_json

__all__ = ["Map", "NilList", "Struct", "Template", "TemplateError", "to_json"]
