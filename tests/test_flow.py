"""Flowed text: what normalising changes, and what tags and markers say."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.renderers.flow import Flow, ShownPart, flow_text, flow_turn, shown_parts
from optimem.renderers.normal import DATA, LONGEST_DATA, Data, FlowStyle, normalise, reflow
from optimem.values import (
    Attachment,
    Entry,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)

HEX = hashlib.sha512(b"data").hexdigest() * 4
TABLE = "name     size   kept\nalpha       1   yes\nbeta       22   no"


def turn(role: Role, *parts: Part) -> Turn:
    return Turn("t", role, parts, "", None, "openai", {})


def flowed(role: Role, *parts: Part, flow: FlowStyle = "auto") -> Flow:
    return flow_turn(Entry(7, turn(role, *parts)), flow)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\n \n  a  \n\n\n\n b \n\n", "  a\n\n b"),
        ("a    b", "a b"),
        ("x = 1    # one\n\tif x:", "x = 1 # one\n    if x:"),
        ("  9  def f():  # x\n 10\t    return  1", "  9  def f(): # x\n 10     return 1"),
        ("a.py:7:    if  x:", "a.py:7:    if x:"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B", "red x"),
        ("\x1b \x00\x7f\x0b", "␛ ␀␡␋"),
        ("e\u0301", "é"),
        ("", ""),
        (" \n\t\n", ""),
    ],
)
def test_what_normalising_changes(text: str, normal: str) -> None:
    assert normalise(text).text == normal


def test_json_loses_the_blanks_between_its_tokens_and_nothing_else() -> None:
    text = '{\n  "a  b": [1.50, 1E5,\n "x\\n    y"],\n  "a  b": null\n}\n'
    assert normalise(text).text == '{"a  b":[1.50,1E5,"x\\n    y"],"a  b":null}'
    assert normalise(text, "lines").text == text.strip()
    assert normalise("{not json,  at all}").text == "{not json, at all}"
    assert normalise("[" * 100_000 + "]").text == "[" * 100_000 + "]"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ('Got:\n{\n  "a": [1,  2],\n  "b c": 1.50\n}\ndone', 'Got:\n{"a":[1,2],"b c":1.50}\ndone'),
        ('Got:\n  [\n    {"a": 1}\n  ]', 'Got:\n  [{"a":1}]'),
        ('Two:\n{\n"a": 1\n}\n{\n"b": 2\n}', 'Two:\n{"a":1}\n{"b":2}'),
        ('Two:\r\n{\r\n\t"a": 1\r\n}', 'Two:\n{"a":1}'),
        # What is no object, or does not parse, keeps its lines.
        ("List:\n[\n1,\n2\n]", "List:\n[\n1,\n2\n]"),
        ('Code:\n{\n"a": 1,\n}\nend', 'Code:\n{\n"a": 1,\n}\nend'),
        ('Code:\n{\n"a": 1\n},\nend', 'Code:\n{\n"a": 1\n},\nend'),
        ('Code:\n{\n"a": 1', 'Code:\n{\n"a": 1'),
    ],
)
def test_json_objects_between_other_lines_are_minified(text: str, normal: str) -> None:
    assert normalise(text).text == normal
    assert normalise(text, "lines").text.count("\n") == text.count("\n")


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), min_size=1),
    st.integers(1, 8),
)
def test_a_block_of_json_means_the_same(value: dict[str, object], indent: int) -> None:
    block = json.dumps(value, indent=indent)
    before, shown, after = normalise(f"before\n{block}\nafter").text.split("\n")
    assert (before, after) == ("before", "after")
    if DATA not in shown:
        assert json.loads(shown) == value


@pytest.mark.parametrize("text", ["{\n", "[\n", '{\n"a":\n', "[\n},\n", " {\n  {\n }\n"])
def test_brackets_without_end_take_no_longer_than_other_text(text: str) -> None:
    begun = time.process_time()
    normalise(text * (400_000 // len(text)))
    rising = "\n".join(" " * depth + "{" for depth in range(900))
    normalise(rising + "\n" + '"a":\n' * 1000)
    assert time.process_time() - begun < 5


@given(st.recursive(st.none() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_minified_json_means_the_same(value: object) -> None:
    normal = normalise(json.dumps([value], indent=3))
    if not normal.data:
        assert json.loads(normal.text) == [value]


def test_long_data_is_named_by_size_and_digest() -> None:
    digest = hashlib.sha256(HEX.encode()).hexdigest()[:16]
    assert normalise(f"key: {HEX} end").text == f"key: {DATA} end"
    assert normalise(f"key: {HEX}").data == (Data(len(HEX), digest),)
    assert flowed("user", Text(f"key: {HEX}!")).text == (
        f"<user#7> key: <data#7 {len(HEX)}B sha256:{digest}>! "
    )
    lines = "\n".join(HEX[at : at + 64] for at in range(0, len(HEX), 64))
    assert normalise(f"-----BEGIN-----\n{lines}\n-----END-----").text == (
        f"-----BEGIN-----\n{DATA}\n-----END-----"
    )


def test_what_only_looks_like_data_is_shown() -> None:
    for text in ("a" * 5000, "word-" * 200, "/deep/path" * 60, HEX[: LONGEST_DATA - 1]):
        assert normalise(text) == normalise(text, "all") and normalise(text).text == text
    listing = json.dumps([{"id": n, "name": f"item {n}"} for n in range(200)])
    assert normalise(listing).data == ()


def test_minified_code_is_data() -> None:
    code = "function f(a,b){return a+b;}var x=f(1,2);if(x){g(x);}" * 60
    assert normalise(f"<script>\n{code}\n</script>").text == f"<script>\n{DATA}\n</script>"


def test_lines_and_indentation_become_markers() -> None:
    text = "def f():\n    return 1\n\n\nprint(f())"
    assert flow_text(text) == "def f(): |4 return 1 || print(f())"
    assert flow_text("    x\ny") == "|4 x | y"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        ("|4 x", r"\|4 x"),
        (r"a \|| b", r"a \\|| b"),
        ("a|b ||| c", "a|b ||| c"),
        ("<user#1> hi", r"<\user#1> hi"),
        (r"<\call#2 x>", r"<\\call#2 x>"),
        ("<data#1 5B sha256:0123456789abcdef>", r"<\data#1 5B sha256:0123456789abcdef>"),
        ("<user>", "<user>"),
    ],
)
def test_what_looks_like_a_tag_or_a_marker_is_escaped(text: str, shown: str) -> None:
    assert flow_text(text) == shown


def test_tags_tell_parts_apart() -> None:
    image = Attachment("image", "image/png", b"12345", "", "my shot.png", {})
    parts = (
        Thinking("hm"),
        Text("so"),
        Text("then"),
        image,
        Text("this"),
        ToolCall("c", "f", "{}"),
    )
    digest = image.digest[:8]
    label = f"image/png_my_shot.png 5B {digest}"
    flow = flowed("assistant", *parts)
    assert flow.text == (
        "<assistant#7> <thinking#7> hm <text#7> so | then "
        f"<image#7.0 {label}> this <call#7 f> {{}} "
    )
    assert [flow.text[at:].split()[0] for at in flow.marks] == ["<image#7.0"]
    assert shown_parts(turn("assistant", *parts)) == (
        ShownPart("thinking", "", normalise("hm")),
        ShownPart("text", "", normalise("so\nthen")),
        ShownPart("image", label, normalise("this")),
        ShownPart("call", "f", normalise("{}")),
    )


def test_tool_turns_need_a_tag_from_their_second_result_on() -> None:
    results = (
        ToolResult("a", (Text("one"),)),
        ToolResult("b", (Text("two"),), is_error=True),
        ToolResult("c", ()),
    )
    assert flowed("tool", *results).text == "<tool#7> one <error#7> two <result#7> "
    assert flowed("user", results[0], Text("and")).text == "<user#7> <result#7> one <text#7> and "


def test_tables_keep_their_rows_and_prose_does_not() -> None:
    flow = flowed("tool", ToolResult("a", (Text(f"Sizes:\n{TABLE}\nand\n  more"),)))
    rows = [flow.text[a:b] for a, b in zip((0, *flow.breaks), (*flow.breaks, None), strict=True)]
    assert rows == [
        "<tool#7> Sizes: | ",
        "name     size   kept | ",
        "alpha       1   yes | ",
        "beta       22   no | ",
        "and |2 more ",
    ]
    assert reflow(TABLE, "all").text == "name size kept\nalpha 1 yes\nbeta 22 no"
    code = "\n".join(f"  {n:3d}        x = {n}  # no" for n in range(98, 103))
    assert flowed("tool", ToolResult("a", (Text(code),))).breaks == ()


def test_with_lines_kept_each_has_a_row_and_its_indentation() -> None:
    flow = flowed("user", Text("def f():\n    return 1\n\nf()"), flow="lines")
    rows = [flow.text[a:b] for a, b in zip((0, *flow.breaks), flow.breaks, strict=False)]
    assert rows == ["<user#7> ", "def f(): | ", "    return 1 || ", "f() "]
    assert flowed("user", Text("one line"), flow="lines").breaks == (len("<user#7> one line "),)


@pytest.mark.parametrize("flow", ["all", "lines", "auto"])
@pytest.mark.parametrize(
    "piece",
    [" ", "a", "\\", "|", "\\|", " |", "| ", "<", "<\\", "<user#", "[", "{", '"', "[\n", '{"a":',
     "\n", "\n ", "\t", "\r", "\x1b[", "\x1b]0;", "\x00", "A1b2C3d4", "a  b  ", "a   b   c\n",
     "中", "\u0301\u0316", "é |4 ", "<data#1 5B sha256:", "=", "1 ", "word, "],
)  # fmt: skip
def test_time_grows_with_length_whatever_a_text_holds(piece: str, flow: FlowStyle) -> None:
    text = piece * (200_000 // len(piece))  # its square would take minutes
    start = time.process_time()
    flow_text(text, flow)
    flow_text(f"x {text} x", flow)
    assert time.process_time() - start < 4
