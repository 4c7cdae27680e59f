"""The verbs that find turns give them back as they came: by words, id, page and place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from conversations import logs, say, words
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem import Memory
from optimem.errors import InputError, NotFoundError
from optimem.renderers.address import Place
from optimem.renderers.parse import parse_pages
from optimem.values import Role

TESTS = Path(__file__).parent


def remember(*texts: str) -> Memory:
    memory = Memory.open("memory://")
    memory.extend(say("user", text) for text in texts)
    return memory


def test_turns_can_be_left_out() -> None:
    with remember(*(f"apples {number}" for number in range(9)), "pears") as memory:
        found = memory.recall("apples", 3, lambda entry: entry.position > 5)
        assert [turn.position for turn in found] == [5, 4, 3]
        assert memory.recall("apples", 3, lambda entry: True) == []
        assert memory.recall("apples", 0) == []


def test_recall_returns_the_exact_words() -> None:
    said = "Odd: \x00 \ud800 \t and\r\nlines, end"
    with Memory.open("memory://") as memory:
        memory.append({"role": "assistant", "content": said}, id="t1", time=12.5)
        (turn,) = memory.recall("odd lines")
        found = (turn.id, turn.position, turn.role, turn.time, turn.text)
        assert found == ("t1", 0, "assistant", 12.5, said)


@pytest.mark.parametrize(
    "said",
    [
        '{\n  "a": 1.50,\n  "b": [\n    1,  2\n  ]\n}\n',
        'got:\n{\n  "level": "info",\n  "msg": "a  b"\n}\n\n\n\nend  ',
        "key: " + hashlib.sha512(b"data").hexdigest() * 4 + " end",
        "var x=f(1,2);if(x){g(x);}" * 100,
        "def f():\n\treturn  1\r\n\r\n\r\n\x1b[31mred\x1b[0m",
        "a | b <user#0> |4 c",
    ],
    ids=["json", "log", "hex", "minified", "code", "look-alikes"],
)
def test_what_pages_show_otherwise_is_recalled_as_it_was(said: str) -> None:
    with remember(said) as memory:
        page = memory.flush()
        assert page is not None and said not in page.words
        assert (
            memory.recall_page(0)[0].text == memory.recall_turn(memory.turns()[0].id).text == said
        )


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([None, *get_args(Role)]))
def test_a_place_gives_the_words_in_its_lines(
    agent: Memory, first: int, last: int, role: Role | None
) -> None:
    first, last = sorted((first, last))
    found = agent.recall_place(f"page 0, lines {first}-{last}", role)
    page = agent.page(0)
    for item in found:
        (lines,) = item.places
        assert role in (None, item.role) and first <= lines.first <= lines.last <= last
        words = item.text.split()[1:-1]  # those at the ends may be cut
        assert set(words) <= shown_words(agent, item.position)
    wanted = [span for span in page.spans if role in (None, span.role)]
    assert {item.position for item in found} <= {span.position for span in wanted}
    if (first, last) == (1, 64):
        assert [item.position for item in found] == [span.position for span in wanted]


def shown_words(memory: Memory, position: int) -> set[str]:
    turns = parse_pages(memory.pages())
    (lines,) = (turn.lines for turn in turns if turn.position == position)
    return {word for line in lines for word in line.split()}


@pytest.fixture(scope="module")
def agent() -> Iterator[Memory]:
    text = (TESTS / "transcripts/memory_bfcl__customer.json").read_text("utf-8")
    with Memory.open("memory://") as memory:
        memory.extend(json.loads(text)["messages"])
        yield memory


def test_a_place_of_whole_lines_gives_them_all() -> None:
    lines = [f"line {number}" + "." * 40 for number in range(9)]
    with remember("\n  ".join(lines), "and the next one") as memory:
        memory.flush()
        first, second = memory.recall_place("page 0")
        assert first.text == "\n  ".join(lines) and second.text == "and the next one"
        (last,) = memory.recall_place("page 0, line 1")
        assert first.text.startswith(last.text) and last.places == (Place(0, 1, 1),)
        assert memory.recall_place(Place(0, 40, 50)) == []
        assert memory.recall_place("page 0", role="tool") == []
        with pytest.raises(InputError, match="unknown role 'bot'"):
            memory.recall_place("page 0", role=cast("Role", "bot"))
        with pytest.raises(NotFoundError, match="no page 7"):
            memory.recall_place("page 7")


@settings(max_examples=25)
@given(logs(), st.data())
def test_each_turn_is_found_by_its_id_and_on_its_pages(
    log: list[dict[str, Any]], data: st.DataObject
) -> None:
    with Memory.open("memory://") as memory:
        ids = memory.extend(log)
        memory.flush()
        position = data.draw(st.integers(0, len(log) - 1))
        found = memory.recall_turn(ids[position])
        turn = memory.turn(ids[position])
        assert (found.position, found.role, found.text) == (position, turn.role, turn.text)
        on = [n for n, page in enumerate(memory.pages()) if position in positions(page.spans)]
        assert list(found.pages) == on and [place.page for place in found.places] == on
        for number in on:
            assert ids[position] in [each.id for each in memory.recall_page(number)]
        start, stop = sorted((position, data.draw(st.integers(0, len(log)))))
        assert [each.id for each in memory.turns(start, stop)] == ids[start:stop]
        assert memory.export() == log


def positions(spans: Any) -> set[int]:
    return {span.position for span in spans}


def test_a_turn_over_many_pages_has_those_between_for_itself() -> None:
    with remember("before " * 90, words(6000, 1), "behind") as memory:
        memory.flush()
        found = memory.recall_turn(memory.turns()[1].id)
        first, *between, last = found.places
        assert first.page == 0 and last.page == len(memory.pages()) - 1 > 2
        assert first.last == 64 and last.first == 1 and last.last < 64
        assert between == [Place(n) for n in range(1, last.page)]


def test_what_is_not_there_is_not_found() -> None:
    with remember("one") as memory:
        for ask in (memory.turn, memory.recall_turn):
            with pytest.raises(NotFoundError, match="no turn 'none'"):
                ask("none")
        for number in (0, -1):
            with pytest.raises(NotFoundError, match=f"no page {number}"):
                memory.recall_page(number)
        assert memory.flush() is not None and len(memory.recall_page(0)) == 1
        assert memory.recall("something else") == [] and memory.turns(1) == []


def test_positions_are_those_of_turns_that_are_still_there() -> None:
    with remember(*(f"turn {n}" for n in range(6))) as memory:
        ids = [turn.id for turn in memory.turns()]
        memory.forget([ids[0], ids[3]])
        assert memory.positions() == [1, 2, 4, 5]
        memory.rewind(to=ids[4])
        assert memory.positions() == [1, 2, 4]
        assert [turn.text for turn in memory.turns()] == ["turn 1", "turn 2", "turn 4"]
