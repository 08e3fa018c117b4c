"""The text format: the same messages as the binary one, and text that breaks off."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persist._wire.base.source import open_source
from persist._wire.messages.protobuf import Message, Schemas
from persist._wire.messages.textproto import parse
from persist.errors import DamagedFileError, FormatError

SCHEMAS = Schemas(
    {
        "Tree": {
            "name": (1, "string"),
            "data": (2, "bytes"),
            "number": (3, "int64"),
            "values": (4, "float"),
            "wide": (5, "double"),
            "child": (6, "Tree"),
            "kind": (7, "Kind"),
            "flag": (8, "bool"),
            "table": (9, "map:Tree"),
            "counts": (10, "int32"),
        }
    },
    {"Kind": {0: "NONE", 3: "THIRD"}},
)


def opened(text: str | bytes) -> Message:
    data = text.encode() if isinstance(text, str) else text
    return parse(SCHEMAS, "Tree", memoryview(data), open_source(data))


def test_all_kinds_of_values() -> None:
    tree = opened(
        """
        # a comment
        name: "one" 'two'  # joined
        number: -9223372036854775808; data: "\\000\\377\\x41\\n\\"\\'\\\\\\u00e9",
        values: 1.5 values: .5 values: -inf values: nan values: 1e-45 values: 2f values: 0x10
        wide: 0.1
        kind: THIRD
        flag: true
        child { name: "inner" child < number: 0x1F > }
        child: { number: 017 }
        table { key: "k" value { number: 5 } }
        counts: [1, -2, 3] counts: []
        """
    )
    assert tree.text("name") == "onetwo"
    assert tree.integer("number") == -(1 << 63)
    assert bytes(tree.data("data")) == b"\0\xffA\n\"'\\\xc3\xa9"
    values = tree.floats("values").tolist()
    assert values[:3] == [1.5, 0.5, -math.inf]
    assert math.isnan(values[3])
    assert values[4] > 0
    assert values[5:] == [2, 16]
    assert tree.number("wide") == 0.1
    assert tree.name("kind") == "THIRD"
    assert tree.integer("flag") == 1
    first, second = tree.messages("child")
    assert first.text("name") == "inner"
    inner = first.message("child")
    assert inner is not None
    assert inner.integer("number") == 31
    assert second.integer("number") == 15
    merged = tree.message("child")
    assert merged is not None
    assert (merged.text("name"), merged.integer("number")) == ("inner", 15)
    value = tree.map("table")["k"]
    assert value is not None
    assert value.integer("number") == 5
    assert tree.integers("counts").tolist() == [1, -2, 3]


def test_unknown_fields_are_passed_over_at_any_depth() -> None:
    tree = opened(
        'other { deep { list: [1, 2] more: "x" } [some.extension] { a: b } } '
        'again: [{ a: 1 }, < b: "2" >] name: "end"'
    )
    assert tree.text("name") == "end"


def test_a_list_of_messages() -> None:
    tree = opened("child: [{ number: 1 child: [{ number: 3 }] }, { number: 2 }]")
    assert [child.integer("number") for child in tree.messages("child")] == [1, 2]


def test_many_levels_cost_no_stack() -> None:
    depth = 20_000
    tree: Message | None = opened("child { " * depth + 'name: "x" ' + "}" * depth)
    found = -1
    while tree is not None:
        tree = tree.message("child")
        found += 1
    assert found == depth


@given(st.binary(max_size=60))
def test_bytes_survive_the_escapes_of_the_writer(data: bytes) -> None:
    shown = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b"\"'\\" else f"\\{byte:03o}" for byte in data
    )
    assert bytes(opened(f'data: "{shown}"').data("data")) == data


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('name: "open', "no token"),
        ("child {", "1 messages are not closed"),
        ("child { name: 'x' >", "field's name is wanted"),
        ("name:", "wants a value"),
        ("number: abc", "is a int64"),
        ("number: 1.5", "is a int64"),
        ("number: 99999999999999999999", "is a int64"),
        ("name: 5", "is a string"),
        ("kind: FOURTH", "is a Kind"),
        ("child: 5", "is a Tree"),
        ("number { }", "no message"),
        ("= 5", "no token"),
        ("[never", "no end"),
        ("child: [{ number: 1 ", "not closed"),
        ("name: \xff", "no token"),
    ],
)
def test_what_breaks_the_grammar_is_reported_with_its_line(text: str, what: str) -> None:
    with pytest.raises(DamagedFileError, match=what) as caught:
        opened("number: 1\n" + text)
    assert caught.value.where == "line 2"


def test_lists_in_lists_have_a_limit() -> None:
    with pytest.raises(DamagedFileError, match="nested"):
        opened("child: [{ " * 5000)


@given(st.text(alphabet="ab:{}<>[]\"'\\ \n#,;-.0159xnd", max_size=60))
def test_any_text_is_a_message_or_refused(text: str) -> None:
    try:
        opened(text).messages("child")
    except FormatError as error:
        assert error.where is not None
        assert error.where.startswith("line ")
