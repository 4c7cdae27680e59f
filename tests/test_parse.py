"""Pages read back into turns, parts and lines, whatever the content says."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem.messages import parse
from optimem.renderers.atlas import load_atlas
from optimem.renderers.flow import flow_text, flow_turn, shown_parts
from optimem.renderers.layout import PageBuilder
from optimem.renderers.normal import FlowStyle, normalise
from optimem.renderers.parse import ShownTurn, parse_page, parse_pages, parse_text
from optimem.values import Attachment, Entry, Page, Role, Text, Thinking, ToolCall, ToolResult, Turn

ROOT = Path(__file__).parent.parent
TRANSCRIPTS = sorted((ROOT / "tests/transcripts").glob("*.json"))
FLOWS: tuple[FlowStyle, ...] = ("all", "lines", "auto")
DATA = "3f5A9" * 60

# Everything that a page gives a meaning to, and everything that rows must be careful with.
SIGNS = (
    *(
        "|",
        "||",
        "|4",
        "||12",
        "\\|",
        "\\\\||3",
        "|||",
        "\\",
        "\\\\\\",
        "#",
        "<",
        ">",
        ",",
        "a,b,c",
    ),
    *(
        "<user#1>",
        "<\\call#2 x>",
        "<data#1 5B sha256:0123456789abcdef>",
        "<text#7> ",
        "<image#0.0 ",
    ),
    *("<continued#3> ", "<\\\\tool#", "\n", "\n", "\n\n\n", " ", " ", "  ", "     ", "\t", "\r\n"),
    *("\r", "\x00", "\x0b", "\x0c", "\x1b[31m", "\x1b", "\x1b]0;t\x07", "\u2028", "\x85", "\ufeff"),
    *(
        "中",
        "한국",
        "é",
        "e\u0301",
        "\u0301\u0316",
        "\ud800",
        "👩\u200d👩\u200d👧",
        "🇩🇪",
        "नि",
        "שלום",
    ),
    *("w" * 23, "x" * 24, "y" * 130, "中" * 70, f"{'z' * 126}\\", DATA, f"{DATA}==\n{DATA}\n"),
    *(
        '{"a": 1,\n "b": "x  y"}',
        "[\n",
        "]",
        '"',
        "a   b   c\nd   e   f\ng   h   i\n",
        "    indented",
    ),
)
texts = st.lists(st.sampled_from(SIGNS) | st.text(st.characters(codec=None), max_size=12)).map(
    "".join
)
all_planes = st.text(st.characters(codec=None))
names = st.sampled_from(("", "bash", "a b>", "<user#1>", "näme", "n" * 120)) | st.text(max_size=8)
attachments = st.builds(
    Attachment,
    st.sampled_from(("image", "file")),
    names,
    st.none() | st.binary(max_size=4),
    names,
    names,
    st.just({}),
)
parts = (
    st.builds(Text, texts)
    | st.builds(Thinking, texts)
    | st.builds(ToolCall, st.just("c"), names, texts)
    | attachments
    | st.builds(
        ToolResult,
        st.just("c"),
        st.lists(st.builds(Text, texts) | attachments, max_size=3).map(tuple),
        st.booleans(),
    )
)
roles: st.SearchStrategy[Role] = st.sampled_from(("system", "user", "assistant", "tool"))
turns = st.builds(
    Turn,
    st.just("t"),
    roles,
    st.lists(parts, max_size=4).map(tuple),
    st.just(""),
    st.none(),
    st.just("openai"),
    st.just({}),
)
logs = st.lists(turns, min_size=1, max_size=6)
flows: st.SearchStrategy[FlowStyle] = st.sampled_from(FLOWS)


def lay_out(log: list[Turn], flow: FlowStyle = "auto") -> list[Page]:
    builder = PageBuilder(load_atlas().cells, "key", flow=flow)
    pages = [page for n, turn in enumerate(log) for page in builder.add(Entry(n, turn))]
    last = builder.flush()
    return pages if last is None else [*pages, last]


def shown(log: list[Turn], flow: FlowStyle = "auto") -> list[ShownTurn]:
    return [ShownTurn(n, turn.role, list(shown_parts(turn, flow))) for n, turn in enumerate(log)]


def transcript(path: Path) -> list[Turn]:
    messages = json.loads(path.read_text("utf-8"))["messages"]
    return [parse(message, default_id=str(n)) for n, message in enumerate(messages)]


@given(texts, flows)
def test_flowed_text_reads_back_as_the_normal_text(text: str, flow: FlowStyle) -> None:
    assert parse_text(flow_text(text, flow)) == normalise(text, flow)


@given(logs, flows)
def test_pages_read_back_as_their_turns(log: list[Turn], flow: FlowStyle) -> None:
    assert parse_pages(lay_out(log, flow)) == shown(log, flow)


@given(st.lists(texts.map(lambda text: text * 40), min_size=1, max_size=4), flows, st.data())
def test_any_run_of_pages_gives_the_turns_that_are_whole_on_it(
    contents: list[str], flow: FlowStyle, data: st.DataObject
) -> None:
    log = [Turn("t", "user", (Text(text),), "", None, "openai", {}) for text in contents]
    pages = lay_out(log, flow)
    start = data.draw(st.integers(0, len(pages) - 1))
    stop = data.draw(st.integers(start + 1, len(pages)))
    found = parse_pages(pages[start:stop])
    spans = [span for page in pages[start:stop] for span in page.spans]
    assert [turn.position for turn in found] == sorted({span.position for span in spans})
    expected = shown(log, flow)
    for turn in found:
        own = [span for span in spans if span.position == turn.position]
        assert (turn.begins, turn.ends) == (own[0].begins, own[-1].ends)
        if turn.begins and turn.ends:
            assert turn == expected[turn.position]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("flow", FLOWS)
def test_transcripts_read_back_from_their_pages(path: Path, flow: FlowStyle) -> None:
    log = transcript(path)
    assert parse_pages(lay_out(log, flow)) == shown(log, flow)


@pytest.mark.parametrize("flow", FLOWS)
def test_code_can_be_rebuilt_from_its_pages(flow: FlowStyle) -> None:
    for path in sorted((ROOT / "optimem/renderers").glob("*.py")):
        code = path.read_text("utf-8")
        turn = Turn("t", "user", (Text(code),), "", None, "openai", {})
        (read,) = parse_pages(lay_out([turn], flow))
        assert _tree("\n".join(read.lines)) == _tree(code)
        depths = [len(line) - len(line.lstrip()) for line in code.split("\n") if line]
        assert [len(line) - len(line.lstrip()) for line in read.lines if line] == depths


def _tree(code: str) -> str:
    """What Python makes of code; the runs of blanks in its strings, which pages shorten, as one."""
    return re.sub(r"(?: |\\n)+", " ", ast.dump(ast.parse(code)))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_pages_one_by_one_hold_all_lines_of_a_transcript(path: Path) -> None:
    log = transcript(path)
    found = "".join(_words(page) for page in lay_out(log))
    assert found == "".join(part.words.text for turn in shown(log) for part in turn.parts)


def _words(page: Page) -> str:
    return "".join(part.words.text for turn in parse_page(page) for part in turn.parts)


def test_no_pages_hold_no_turns() -> None:
    assert parse_pages([]) == []


def test_a_turn_read_back_has_its_lines() -> None:
    turn = Turn("t", "user", (Text("a\n  b | c"), Thinking("d")), "", None, "openai", {})
    (found,) = parse_pages(lay_out([turn]))
    assert found.lines == ["a", "  b | c", "d"]


def check_reads_back(contents: list[str], flow: FlowStyle) -> None:
    """Texts as turns of one log: each is flowed, laid out and read back, and nothing is lost."""
    log = [Turn("t", "user", (Text(text),), "", None, "openai", {}) for text in contents]
    pages = lay_out(log, flow)
    entries = (Entry(position, turn) for position, turn in enumerate(log))
    flowed = "".join(flow_turn(entry, flow).text for entry in entries)
    assert "".join(page.words for page in pages) == flowed
    assert parse_pages(pages) == shown(log, flow)
    for text in contents:
        assert parse_text(flow_text(text, flow)) == normalise(text, flow)


def many(of: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """A hundred texts: drawn and checked together they take a fourth of the time."""
    return st.lists(of, min_size=100, max_size=100)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=1_000)
@given(many(texts), flows)
def test_a_hundred_thousand_texts_of_signs_read_back(texts: list[str], flow: FlowStyle) -> None:
    check_reads_back(texts, flow)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=1_000)
@given(many(all_planes | st.text(st.characters(codec=None), min_size=20)), flows)
def test_a_hundred_thousand_texts_of_all_planes_read_back(
    texts: list[str], flow: FlowStyle
) -> None:
    check_reads_back(texts, flow)
