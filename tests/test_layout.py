"""Rows and pages: nothing is lost, what was laid out stays, and pages are well filled."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.messages import parse
from optimem.modes import COLUMNS, ROWS
from optimem.renderers.atlas import load_atlas
from optimem.renderers.flow import flow_turn
from optimem.renderers.layout import PageBuilder, PageStyle, row_ends
from optimem.renderers.normal import FlowStyle
from optimem.values import SPLIT, Entry, Page, Text, Turn

ROOT = Path(__file__).parent.parent
AGENTS = [
    ROOT / "optimem/data/transcript.json",
    *sorted((ROOT / "tests/transcripts").glob("coding_*.json")),
]
FLOWS: tuple[FlowStyle, ...] = ("all", "lines", "auto")
CELLS = load_atlas().cells

HEX = hashlib.sha512(b"data").hexdigest() * 2

WORDS = (
    *("a", "word", "word", "is", "x" * 30, "y" * 140, "one,two,three", "|4", "|", "\\", "\\" * 140),
    *(
        "中文",
        "中" * 80,
        "한",
        "é" * 90,
        "e\u0301" * 40,
        "👩\u200d👩\u200d👧",
        "नि" * 30,
        "\u0301" * 50,
    ),
    *("\n", "\n    ", "a  b   c\n" * 3, ",", "<user#1>", "{" * 20, "\ud800"),
)
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=60).map(" ".join)
flows: st.SearchStrategy[FlowStyle] = st.sampled_from(FLOWS)


def entries(texts: list[str]) -> list[Entry]:
    turns = [
        Turn(str(n), "user", (Text(text),), "", None, "openai", {}) for n, text in enumerate(texts)
    ]
    return [Entry(n, turn) for n, turn in enumerate(turns)]


def transcript(path: Path) -> list[Entry]:
    messages = json.loads(path.read_text("utf-8"))["messages"]
    return [Entry(n, parse(message, default_id=str(n))) for n, message in enumerate(messages)]


def lay_out(log: list[Entry], flow: FlowStyle = "auto", flush: bool = True) -> list[Page]:
    builder = PageBuilder(CELLS, "key", flow=flow)
    pages = [page for entry in log for page in builder.add(entry)]
    last = builder.flush() if flush else None
    return pages if last is None else [*pages, last]


@given(st.lists(texts, min_size=1, max_size=4), flows)
def test_rows_fit_and_together_are_the_flowed_text(contents: list[str], flow: FlowStyle) -> None:
    log = entries(contents)
    pages = lay_out(log, flow)
    assert "".join(page.words for page in pages) == "".join(
        flow_turn(entry, flow).text for entry in log
    )
    for page in pages:
        assert len(page.rows) == ROWS or page is pages[-1]
        for row in page.rows:
            cells = CELLS(row)
            assert row and cells[0] > 0  # never cut within a cluster
            assert sum(cells) - row.endswith(" ") <= COLUMNS
    for before, after in zip(_rows(pages), _rows(pages)[1:], strict=False):
        if before.endswith(SPLIT):
            assert not after.startswith(" ")
        elif not before.endswith((" ", ",")):
            assert CELLS(after)[0] == 2
        if re.match(r"\|{1,2}\d*(?: |$)", after):  # it can only be the end of a word
            assert before.endswith(SPLIT)


def _rows(pages: list[Page]) -> list[str]:
    return [row for page in pages for row in page.rows]


@given(st.lists(texts, min_size=1, max_size=6), flows)
def test_spans_say_whose_each_character_is(contents: list[str], flow: FlowStyle) -> None:
    log = entries(contents)
    held = dict.fromkeys(range(len(log)), "")
    for page in lay_out(log, flow):
        assert [span.start for span in page.spans] == [0, *(span.stop for span in page.spans[:-1])]
        assert page.spans[-1].stop == len(page.text)
        marks = [sum(map(len, page.rows[:n])) - 1 for n in range(1, ROWS + 1)]
        marks = [at for at, row in zip(marks, page.rows, strict=False) if row.endswith(SPLIT)]
        for span in page.spans:
            shown = [page.text[at] for at in range(span.start, span.stop) if at not in marks]
            assert span.begins == (held[span.position] == "")
            held[span.position] += "".join(shown)
            assert span.ends == (held[span.position] == flow_turn(log[span.position], flow).text)


@given(st.lists(texts.map(lambda text: text * 8), min_size=2, max_size=6), flows, st.data())
def test_pages_of_a_prefix_are_a_prefix_of_the_pages(
    contents: list[str], flow: FlowStyle, data: st.DataObject
) -> None:
    log = entries(contents)
    cut = data.draw(st.integers(1, len(log)))
    some, every = lay_out(log[:cut], flow, flush=False), lay_out(log, flow, flush=False)
    assert every[: len(some)] == some


@given(st.lists(texts.map(lambda text: text * 20), min_size=1, max_size=4), flows, st.data())
def test_laying_out_goes_on_from_any_page(
    contents: list[str], flow: FlowStyle, data: st.DataObject
) -> None:
    log = entries(contents)
    pages = lay_out(log, flow)
    number = data.draw(st.integers(0, len(pages) - 1))
    resume = pages[number - 1].stop if number else (0, 0)
    builder = PageBuilder(CELLS, "key", number, resume, flow)
    again = [page for entry in log[builder.next_position :] for page in builder.add(entry)]
    assert builder.number == number + len(again)
    last = builder.flush()
    assert [*again, *([last] if last else [])] == pages[number:]


def test_the_open_page_keeps_its_words() -> None:
    log = entries(["x" * 300, "b" * 9000 + " c d"])
    builder = PageBuilder(CELLS, "key")
    pages = [page for entry in log for page in builder.add(entry)]
    words = "".join(flow_turn(entry).text for entry in log)
    assert pages[0].words + builder.rest == words
    assert builder.resume == pages[0].stop == (1, len(pages[0].words) - len("<user#0> ") - 301)


def test_small_conversation_row_by_row() -> None:
    messages = [
        {
            "role": "user",
            "content": "Which port does the service use? It is in config.yaml | maybe.",
        },
        {
            "role": "assistant",
            "content": "Let me look.\n\nFirst:\n    cat config.yaml",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "bash", "arguments": '{"command": "cat config.yaml"}'},
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "server:\n  port: 8443\n\n\n  key: " + HEX,
        },
        {"role": "user", "content": "PID   NAME     PORT\n1     init     -\n812   server   8443"},
        {
            "role": "assistant",
            "content": "端口是 8443。 " * 12 + "https://example.org/" + "path/" * 30 + "end",
        },
    ]
    log = [Entry(n, parse(message, default_id=str(n))) for n, message in enumerate(messages)]
    (page,) = lay_out(log)
    golden = (ROOT / "tests/data/golden_page.txt").read_text("utf-8")
    assert "".join(row.rstrip(" ") + "\n" for row in page.rows) == golden


@given(
    st.integers(3, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=width, max_size=width),
            min_size=3,
            max_size=90,
        )
    ),
    st.sampled_from(["", "words before it\n"]),
)
def test_tables_stand_as_they_were_aligned(cells: list[list[str]], before: str) -> None:
    lines = ["   ".join(cell.ljust(9) for cell in line).rstrip() for line in cells]
    table = "\n".join(lines)
    rows = _rows(lay_out(entries([f"{before}{table}\nand after"])))
    start = rows.index(f"{lines[0]} | ")
    assert rows[start : start + len(lines)] == [f"{line} | " for line in lines]


def test_a_word_longer_than_a_row_is_split_where_all_can_see() -> None:
    word = "https://example.org/" + "x" * 300
    (page,) = lay_out(entries([f"see {word} and more"]))
    assert [row[-1] for row in page.rows] == [SPLIT, SPLIT, " "]
    assert [len(row) for row in page.rows[:2]] == [COLUMNS, COLUMNS]
    assert f" {word} and" in page.words


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_pages_of_agents_hold_7500_characters(path: Path) -> None:
    pages = lay_out(transcript(path), flush=False)
    assert sum(len(page.text) for page in pages) >= 7500 * len(pages) > 0


def test_styles_have_different_keys() -> None:
    styles = [PageStyle(fade, flow) for fade in ("native", "area") for flow in FLOWS]
    assert len({style.key("atlas") for style in styles}) == 6
    assert PageStyle().flow == "auto" and PageStyle().key("a") != PageStyle().key("b")


@pytest.mark.parametrize(
    "piece",
    [
        *("x", " ", "word ", "| ", "\\", ",", "|", "\n"),
        *("中", "é", "é ", "e\u0301", "\u0301", "👩\u200d", "नि", "א"),
    ],
)
def test_rows_of_one_endless_line_take_linear_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.process_time()
    ends = [end for end, _ in row_ends(text, CELLS)]
    assert ends == sorted(set(ends)) and len(text) - ends[-1] <= 16 * COLUMNS
    assert time.process_time() - start < 4


SCRIPT = """
import json, sys
from optimem.messages import parse
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder
from optimem.values import Entry
messages = json.load(open(sys.argv[1], encoding="utf-8"))["messages"]
for flow in ("all", "lines", "auto"):
    builder = PageBuilder(load_atlas().cells, "key", flow=flow)
    for n, message in enumerate(messages):
        for page in builder.add(Entry(n, parse(message, default_id=str(n)))):
            print(page.hash)
"""


@pytest.mark.parametrize("path", [AGENTS[1], ROOT / "tests/transcripts/zh_crosswoz.json"])
def test_other_processes_lay_out_the_same(path: Path, tmp_path: Path) -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONPATH": str(ROOT)},
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, locale, cwd in (("1", "C", tmp_path), ("2", "C.UTF-8", ROOT))
    }
    assert len(outputs) == 1
    log = transcript(path)
    own = [page.hash for flow in FLOWS for page in lay_out(log, flow, flush=False)]
    assert outputs.pop().split() == own


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_random_texts_of_all_planes_lose_nothing() -> None:
    source = random.Random(3)
    for _ in range(20_000):
        length = source.randrange(1, 400)
        text = "".join(
            source.choice((chr(source.randrange(0x110000)), source.choice(WORDS), " "))
            for _ in range(length)
        )
        flow = source.choice(FLOWS)
        log = entries([text])
        words = "".join(page.words for page in lay_out(log, flow))
        assert words == flow_turn(log[0], flow).text
