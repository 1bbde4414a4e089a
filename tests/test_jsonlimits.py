"""JSON from strangers."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InvalidContent, LimitExceeded
from lamina.jsonlimits import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Fields, loads


def test_reads_an_object() -> None:
    text = '{"a": [1, -2.5, true, null, "\\u00e9\\ud83d\\ude00 \\"[{"], "b": {}}'
    assert loads(text.encode(), "config") == json.loads(text)


@pytest.mark.parametrize("data", [
    b"", b" ", b"[]", b"1", b'"a"', b"null", b"{", b"}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b"{'a':1}",
    b"{} x", b"{}{}", b'{"a":01}', b'{"a":"\n"}', b'{"a":"', b'{"a":"\\', b'{"a":"\\x"}', b'{"a":[}', b"{]",
    b'{"a":]]]]}', b"\0", b'{"a":tru}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
    b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"\\uDFFF":1}',
    b'{"a":1,"a":1}', b'{"x":[{"a":1,"b":2,"a":3}]}', b'{"a":1,"\\u0061":2}',
    b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":-1e999}',
    b'{"a":9223372036854775808}', b'{"a":-9223372036854775809}', b'{"a":' + b"1" * 10_000 + b"}",
])
def test_refuses(data: bytes) -> None:
    with pytest.raises(InvalidContent, match="config") as caught:
        loads(data, "config", where="here")
    assert caught.value.where == "here"
    assert len(str(caught.value)) < 250


def test_keys_that_are_given_twice_are_named() -> None:
    with pytest.raises(InvalidContent, match="key 'layers' is given twice"):
        loads(b'{"layers":[],"config":{},"layers":[1]}', "manifest")


def test_the_largest_numbers() -> None:
    assert loads(b'{"a":9223372036854775807,"b":-9223372036854775808}', "x") == {"a": 2**63 - 1, "b": -(2**63)}


def test_size() -> None:
    data = b"{" + b" " * (MAX_BYTES - 2) + b"}"
    assert loads(data, "x") == {}
    with pytest.raises(LimitExceeded, match="too large"):
        loads(data + b" ", "x")
    with pytest.raises(LimitExceeded):
        loads(b"{}", "x", 1)


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b'{"a":[', b"]}")])
def test_depth(opening: bytes, closing: bytes) -> None:
    levels = MAX_DEPTH // (1 if closing == b"}" else 2)
    deepest = opening * levels + b"1" + closing * levels
    assert loads(deepest, "x")
    with pytest.raises(LimitExceeded, match="nested too deep"):
        loads(opening + deepest + closing, "x")
    with pytest.raises(LimitExceeded, match="nested too deep"):
        loads(b'{"a":{"b":1}}', "x", max_depth=1)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, b'{"\\"[":' * 200_000])
def test_depth_never_reaches_the_parser(data: bytes) -> None:
    with pytest.raises(LimitExceeded, match="nested too deep"):
        loads(data, "x")


def test_brackets_within_strings_do_not_count() -> None:
    text = json.dumps({"a": "[" * 1000, "b\"{": '\\"[' * 1000, "\\": "{" * MAX_VALUES})
    assert loads(text.encode(), "x") == json.loads(text)


def test_number_of_values() -> None:
    row = b"1," * (MAX_VALUES - 2)
    assert len(loads(b'{"a":[' + row + b"1]}", "x")["a"]) == MAX_VALUES - 1
    for data in (b'{"a":[' + row + b"1,1]}", b'{"a":[' + b"{}," * MAX_VALUES + b"{}]}"):
        with pytest.raises(LimitExceeded, match="too many values"):
            loads(data, "x")


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b"\\", b'""', b'"\\"', b'{"', b"[]"])
def test_hostile_text_takes_linear_time(unit: bytes) -> None:
    data = b'{"' + unit * ((MAX_BYTES - 4) // len(unit))
    began = time.process_time()
    with pytest.raises((InvalidContent, LimitExceeded)):
        loads(data, "x")
    # About 0.3 s; quadratic time would be hours.
    assert time.process_time() - began < 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON), st.booleans())
def test_agrees_with_the_parser_on_good_documents(value: dict[str, object], escape: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=escape).encode(), "x") == value


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u01ea ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data, "x")
    except (InvalidContent, LimitExceeded):
        return
    assert json.loads(data) == value


# -- Fields


FULL = {"s": "x", "n": 5, "b": True, "a": ["p", "q"], "m": {"k": "v", "z": None}, "o": {"s": 1}, "l": [{}, {"s": 2}]}


def test_fields_by_type() -> None:
    fields = Fields(FULL, "doc")
    assert (fields.text("s"), fields.natural("n"), fields.flag("b")) == ("x", 5, True)
    assert fields.texts("a") == ("p", "q")
    assert fields.array("a", 2) == ["p", "q"]
    assert fields.text_mapping("m") == {"k": "v", "z": ""}
    assert fields.mapping("o") == {"s": 1}
    assert [one.path for one in fields.children("l", 2)] == ["l[0]", "l[1]"]
    assert fields.rest(frozenset("snbaml")) == {"o": {"s": 1}}


@pytest.mark.parametrize("value", [{}, dict.fromkeys("snbamol")])
def test_absent_and_null_are_empty(value: dict[str, object]) -> None:
    fields = Fields(value, "doc")
    assert (fields.text("s"), fields.flag("b"), fields.texts("a"), fields.mapping("m")) == ("", False, (), {})
    assert fields.text_mapping("m") == {}
    assert fields.child("o") is None
    assert list(fields.children("l", 1)) == []
    assert not fields.has("s")
    for required in (lambda: fields.natural("n"), lambda: fields.text("s", required=True)):
        with pytest.raises(InvalidContent, match="is missing"):
            required()


@pytest.mark.parametrize(("name", "wrong"), [
    ("text", [1, True, [], {}, 1.5]), ("natural", ["1", True, 1.0, [], -1, 2**63]), ("flag", [1, "true", []]),
    ("texts", ["ab", {}, [1], ["a", None], 1]), ("mapping", [[], "a", 1]),
    ("text_mapping", [[], {"a": 1}, {"a": {}}, {"a": ["b"]}]), ("child", [[], "a", 1, True]),
])
def test_wrong_types_name_the_field(name: str, wrong: list[object]) -> None:
    for value in wrong:
        inner = Fields({"inner": {"field": value}}, "doc", where="there").child("inner")
        assert inner is not None
        with pytest.raises(InvalidContent, match=r"doc: inner\.field") as caught:
            getattr(inner, name)("field")
        assert caught.value.where == "there"


def test_wrong_elements_are_numbered() -> None:
    with pytest.raises(InvalidContent, match=r"doc: l\[1\]\.s is not a string"):
        [one.text("s") for one in Fields(FULL, "doc").children("l", 2)]
    with pytest.raises(InvalidContent, match=r"doc: l\[1\] is not an object"):
        list(Fields({"l": [{}, 1]}, "doc").children("l", 2))


def test_length_of_arrays() -> None:
    with pytest.raises(LimitExceeded, match=r"doc: l has 2 elements.*at most 1"):
        list(Fields(FULL, "doc").children("l", 1))
    with pytest.raises(LimitExceeded):
        Fields(FULL, "doc").texts("a", 1)
