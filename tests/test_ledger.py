"""The ledger knows where text may begin, and stays in step with the store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem import Memory
from optimem.ledger import Ledger
from optimem.readers import find_reader

READER = find_reader("openai:gpt-6-astra")


def say(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(*names: str) -> dict[str, Any]:
    calls = [
        {"id": name, "type": "function", "function": {"name": "run", "arguments": "{}"}}
        for name in names
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answer(name: str, text: str = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": text}


def synced(memory: Memory) -> Ledger:
    memory.pages()
    return memory._ledger


def test_text_never_begins_between_a_call_and_its_results() -> None:
    with Memory.open("memory://") as memory:
        memory.extend([say("go"), call("a", "b"), answer("b"), answer("a"), say("thanks")])
        ledger = synced(memory)
        assert [ledger.boundary(position) for position in range(6)] == [0, 1, 1, 1, 4, 5]


def test_a_call_without_its_result_holds_the_text_back() -> None:
    with Memory.open("memory://") as memory:
        memory.extend([say("go"), call("a", "b"), answer("a")])
        ledger = synced(memory)
        assert [ledger.boundary(position) for position in range(4)] == [0, 1, 1, 1]
        memory.append(answer("b"))
        assert synced(memory).boundary(4) == 4


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_exchanges_of_many_turns_are_those_of_each(results: list[int]) -> None:
    with Memory.open("memory://") as memory:
        for number, count in enumerate(results):
            names = [f"call_{number}_{n}" for n in range(count)]
            memory.extend([call(*names), *map(answer, names)] if names else [say("go")])
        exchanges, turns = synced(memory).exchanges, np.arange(len(memory.turns()))
        starts, stops = exchanges.all_around(turns)
        assert [*zip(starts, stops, strict=True)] == [*map(exchanges.around, turns.tolist())]


def test_system_turns_at_the_head_are_on_no_page() -> None:
    with Memory.open("memory://") as memory:
        memory.extend([{"role": "system", "content": "Be brief."}, say("go " * 5000)])
        ledger = synced(memory)
        assert ledger.head == 1 and ledger.pages[0].first == 1
        assert ledger.frontiers(READER)[0].start == 1


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 3))
def test_frontiers_rise_and_cost_less_and_less(sizes: list[int], gone: int) -> None:
    with Memory.open("memory://") as memory:
        for number, size in enumerate(sizes):
            name = f"call_{number}"
            memory.extend([say("go"), call(name), answer(name, "word " * 900 * size)])
        ledger = synced(memory)
        gone = min(gone, len(ledger.pages))
        ends = ledger.frontiers(READER, gone)
        spent = ledger.spent(READER)
        assert ends[0].pages == gone
        for before, after in zip(ends, ends[1:], strict=False):
            assert before.start < after.start and before.pages <= after.pages
            assert before.tokens > after.tokens
        for since in range(gone, len(ledger.pages) + 1):
            newest = [end for end in ends if end.pages > since]
            assert list(ledger.frontiers(READER, gone, since)) == [ends[0], *newest]
        for end in ends:
            assert ledger.boundary(end.start) == end.start < len(ledger.turns)
            assert end.tokens == spent[-1] - spent[end.start]
            # What stands before the text is on the pages in front of it.
            assert end.start == ledger.head or ledger.pages[end.pages - 1].stop >= end.start


def test_two_ledgers_of_one_session_agree(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url) as one, Memory.open(url) as two:
        for number in range(12):
            (one if number % 2 else two).append(say(f"turn {number} " * 600))
            assert synced(one).pages == synced(two).pages
            assert one._ledger.turns == two._ledger.turns
        kept = one.turns()[5].id
        one.rewind(to=kept)
        assert synced(two).pages == synced(one).pages and len(two._ledger.turns) == 6


def test_costs_leave_out_modes_that_are_dearer_than_text() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("word " * 4000))
        ledger = synced(memory)
        for name in ("openai:gpt-4o-mini", "openai:gpt-6-astra", "deepseek-ocr"):
            profile = find_reader(name)
            for page, costs in zip(ledger.pages, ledger.costs(profile), strict=True):
                text = profile.text_cost(page.tokens)
                assert all(cost <= text for cost in costs.values())


def test_a_session_of_an_earlier_layout_goes_on_without_losing_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Memory.open("memory://") as memory:
        memory.append(say(" ".join(f"first{n}" for n in range(2000))))
        monkeypatch.setattr("optimem.renderers.layout.LAYOUT_VERSION", 0)
        before = memory.pages()
        assert before and before[-1].stop[1] > 0  # it ends amid the turn
        monkeypatch.undo()
        reopened = Memory(memory.store, memory.scope)
        reopened.append(say(" ".join(f"second{n}" for n in range(2000))))
        pages = reopened.pages()
        assert [page.hash for page in pages[: len(before)]] == [page.hash for page in before]
        said = "".join(page.words for page in pages[len(before) :])
        assert pages[-1].style != before[-1].style and said.startswith("<user#0> first0 ")
        assert all(f"first{n} " in said for n in range(2000))


def test_pages_that_this_machine_draws_say_so_in_their_names() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("plain words " * 800))
        memory.append(say("人人生而自由，" * 1200))
        pages = memory.pages()
        marked = ["+" in page.style for page in pages]
        assert not marked[0] and marked[-1]
        assert len({page.style.partition("+")[0] for page in pages}) == 1
        memory.append(say("人人生而自由，" * 1200))
        said = "".join(page.words for page in memory.pages()[len(pages) :])
        assert not said.startswith("<user#1>")  # it went on where the last page ended


def test_recall_knows_its_pages_in_a_process_that_has_just_started(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url) as memory:
        for number in range(20):
            memory.append(say(f"turn{number} " + "word " * 900))
        memory.append(say("the end is long " * 3000))
        synced(memory)
        stand = {
            position: {p.number for p in memory._ledger.pages if p.first <= position <= p.last}
            for position in range(22)
        }
        memory.append(say("and one more"))
    with Memory.open(url) as fresh:
        assert fresh._ledger.pages == []
        assert {
            position: set(fresh._ledger.page_search().of(position)) for position in range(22)
        } == stand
        assert fresh.recall("turn7", limit=1)[0].pages == tuple(sorted(stand[7]))
        assert fresh._ledger.pages == []  # nothing long was read for it
