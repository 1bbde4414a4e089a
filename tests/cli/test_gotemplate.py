"""The Go-template subset, against what text/template gives for the same input."""

from __future__ import annotations

import json

import pytest

from lamina.cli.gotemplate import Map, NilList, Template, TemplateError, template, to_json
from lamina.cli.gotemplate.functions import Row

DATA = {
    "Id": "sha256:abc", "Size": 1500, "Tags": ["a:1", "b:2"], "None": None, "Yes": True, "No": False, "Half": 0.5,
    "Whole": 3.0, "Nil": NilList(), "Config": {"Cmd": ["sh", "-c"], "Env": ["A=1"], "User": ""},
    "Labels": Map({"z": "last", "a": "first", "with.dot": "x"}), "NoLabels": Map(None), "Title": "hello big world",
    "Maps": [{"Name": "first"}], "Nested": {"List": [[1, 2], [3]], "Html": "<a&b>"},
}

GIVES = [
    ("plain", "plain"),
    ("", ""),
    ("{{.Id}}", "sha256:abc"),
    ("{{ .Id }}{{.Size}}", "sha256:abc1500"),
    ("{{.Config.Cmd}}", "[sh -c]"),
    ("{{.Labels}}", "map[a:first with.dot:x z:last]"),
    ("{{.NoLabels}} {{.Nil}}", "map[] []"),
    ("{{.Labels.a}} {{.Labels.missing}}", "first <no value>"),
    ("{{.None}} {{.Yes}} {{.No}} {{.Half}} {{.Whole}}", "<no value> true false 0.5 3"),
    ("{{.Nested.List}}", "[[1 2] [3]]"),
    ('{{index .Labels "with.dot"}}|{{index .Labels "nope"}}|{{index .NoLabels "x"}}', "x||"),
    ("{{index .Tags 1}} {{index .Nested.List 0 1}}", "b:2 2"),
    ("{{json .Config}}", '{"Cmd":["sh","-c"],"Env":["A=1"],"User":""}'),
    ("{{json .Nil}} {{json .NoLabels}} {{json .None}}", "null null null"),
    ("{{json .Nested.Html}}", '"<a&b>"'),
    ("{{.Tags | json}}", '["a:1","b:2"]'),
    ('{{join .Tags ", "}}', "a:1, b:2"),
    ('{{range .Tags}}<{{.}}>{{end}}', "<a:1><b:2>"),
    ('{{range $i, $t := .Tags}}{{$i}}={{$t}};{{end}}', "0=a:1;1=b:2;"),
    ('{{range $t := .Tags}}{{$t}}{{$.Size}} {{end}}', "a:11500 b:21500 "),
    ('{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}', "a:first with.dot:x z:last "),
    ("{{range .Nil}}x{{else}}none{{end}}", "none"),
    ("{{range .None}}x{{else}}none{{end}}", "none"),
    ("{{if .Yes}}y{{else}}n{{end}}{{if .No}}y{{else}}n{{end}}", "yn"),
    ('{{if eq .Size 1}}1{{else if eq .Size 1500}}1500{{else}}other{{end}}', "1500"),
    ('{{if .Config.User}}u{{else if .No}}n{{end}}.', "."),
    ("{{with .Config}}{{.Env}}{{end}}{{with .Nil}}x{{else}}e{{end}}", "[A=1]e"),
    ('{{eq .Id "sha256:abc"}} {{ne .Size 3}} {{not .Yes}} {{lt .Size 2000}} {{ge 1 1}}', "true true false true true"),
    ("{{and .Yes .Size}} {{and .No .Size}} {{or .No .Id}} {{or .No 0}}", "1500 false sha256:abc 0"),
    ('{{eq .Size 1 2 1500}}', "true"),
    ("{{upper .Title}} {{lower \"ABC\"}} {{title .Title}}", "HELLO BIG WORLD abc Hello Big World"),
    ('{{split .Id ":"}} {{index (split .Id ":") 1}}', "[sha256 abc] abc"),
    ("{{truncate .Id 6}} {{len .Tags}} {{len .Id}}", "sha256 2 10"),
    ('{{pad .Config.User 1 1}}[{{pad "x" 1 2}}]', "[ x  ]"),
    ("{{println .Id 3}}{{print 1 2 \"a\" 3}}", "sha256:abc 3\n1 2a3"),
    ('{{"a\\tb\\n\\x41\\u00e9\\101"}}', "a\tb\nAéA"),
    ("{{`a\\tb`}}", "a\\tb"),
    ("a  {{- .Size -}}  b", "a1500b"),
    ("a {{- /* gone */ -}} b{{/* x */}}c", "abc"),
    ("{{-3}}", "-3"),
    ("{{$x := .Size}}{{$x}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "15002"),
    ("{{if true}}{{$y := 1}}{{$y}}{{end}}", "1"),
    ("{{(index .Nested.List 1)}} {{(index .Maps 0).Name}}", "[3] first"),
    ("{{with $c := .Config}}{{$c.Cmd}}{{end}}", "[sh -c]"),
    ("{{.Id | upper | lower | title}}", "Sha256:Abc"),
    ("multi\n{{.Size}}\nline", "multi\n1500\nline"),
    ("}} {{.Size}}", "}} 1500"),
]

REFUSED = [
    ("{{", "unclosed action"),
    ("{{.Id", "unclosed action"),
    ("{{/* no end", "unclosed comment"),
    ("{{.Id}", "unexpected '}'"),
    ("{{InvalidFunction}}", 'function "InvalidFunction" not defined'),
    ("{{nil}}", "nil is not a command"),
    ("{{}}", "missing value for command"),
    ("{{.Id | }}", "missing value for command"),
    ("{{.Id | .Size}}", "non executable command in pipeline stage 2"),
    ("{{.Id 3}}", "only a function takes arguments"),
    ("{{if .Id}}", "no {{end}}"),
    ("{{if .Id}}{{else}}{{else}}{{end}}", "unexpected {{else}}"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{template \"x\"}}", "not supported"),
    ("{{define \"x\"}}{{end}}", "not supported"),
    ("{{$x}}", 'undefined variable "$x"'),
    ("{{if true}}{{$y := 1}}{{end}}{{$y}}", 'undefined variable "$y"'),
    ("{{.Nope}}", "can't evaluate field Nope"),
    ("{{.Id.Sub}}", "can't evaluate field Sub"),
    ("{{.None.Sub}}", "nil pointer evaluating field Sub"),
    ("{{index .Tags 7}}", "index out of range: 7"),
    ("{{index .Tags \"x\"}}", "expected integer"),
    ("{{index .None 1}}", "index of untyped nil"),
    ("{{join .Id \",\"}}", "expected list of strings"),
    ("{{join .Tags}}", "wrong number of args for join: want 2 got 1"),
    ("{{eq .Id 3}}", "incompatible types for comparison"),
    ("{{eq .Tags .Tags}}", "incompatible types for comparison"),
    ("{{lt .Yes .No}}", "incompatible types for comparison"),
    ("{{range .Size}}{{end}}", "can't iterate over 1500"),
    ("{{len .Size}}", "has no length"),
    ("{{truncate .Id -1}}", "negative"),
    ('{{"a\\qb"}}', "unknown escape"),
    ("{{'a'}}", "unexpected"),
    ("{{(.Id}}", "unbalanced parentheses"),
    ("{{.Id)}}", "unbalanced parentheses"),
    ("{{pad .Id 100000 0}}", "widths go from 0"),
    ("a\nb\n{{.Nope}}", ":3: "),
    ("{{" + "(" * 60 + ".Id" + ")" * 60 + "}}", "nested more than"),
    ("{{if true}}" * 60 + "{{end}}" * 60, "nested more than"),
    ("x" * 70_000, "longer than"),
]


@pytest.mark.parametrize(("source", "expected"), GIVES)
def test_renders(source: str, expected: str) -> None:
    assert Template(source).render(DATA) == expected


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_refuses(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source).render(DATA)
    assert str(caught.value).startswith("template parsing error: template: :")
    assert message in str(caught.value)


@pytest.mark.parametrize(("limit", "message"), [("MAX_STEPS", "takes more than 50"), ("MAX_OUTPUT", "gives more than 50")])
def test_work_and_output_are_bounded(monkeypatch: pytest.MonkeyPatch, limit: str, message: str) -> None:
    product = Template("{{range $}}{{range $}}{{.}}{{end}}{{end}}")
    assert len(product.render(list(range(9)))) == 81
    monkeypatch.setattr(template, limit, 50)
    with pytest.raises(TemplateError, match=message):
        product.render(list(range(9)))


def test_json_of_a_row_escapes_html_and_sorts_keys() -> None:
    row = Row(Tag="<none>", ID="a&b")
    assert Template("{{json .}}").render(row) == '{"ID":"a\\u0026b","Tag":"\\u003cnone\\u003e"}'
    assert Template("{{json .Tag}}").render(row) == '"<none>"'


def test_json_keeps_other_characters_but_those_that_steer_a_terminal() -> None:
    assert to_json({"a": "é\u2028\n"}) == '{"a":"é\\u2028\\n"}'
    text = "\x1b\x7f\x9b31m\u202e\u2067"
    assert to_json(text) == '"\\u001b\\u007f\\u009b31m\\u202e\\u2067"'
    assert json.loads(to_json(text)) == text


def test_heading_leaves_column_names_as_they_are() -> None:
    source = '{{upper .Tag}} {{json .Tag}} {{truncate .Tag 1}} {{split .Tag ":"}} {{.Nope}}'
    assert Template(source).render(Map({"Tag": "Tag"}), heading=True) == "Tag Tag Tag Tag <no value>"
