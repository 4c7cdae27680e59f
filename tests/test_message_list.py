"""A session behaves like the list of its messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from optimem import Memory
from optimem.message_list import MessageList

LONG = "The harbour of Aeros closes at dusk, and its ferry is painted green. " * 12

messages = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    }
)


def say(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.fixture
def history() -> Iterator[MessageList]:
    with Memory.open("memory://") as memory:
        yield MessageList(memory)


class LikeAList(RuleBasedStateMachine):
    """Does the same to a history and to a list, and compares them."""

    @initialize(first=st.lists(messages, max_size=3))
    def begin(self, first: list[dict[str, str]]) -> None:
        self.history = MessageList(Memory.open("memory://"))
        self.history.extend(first)
        self.list: list[dict[str, Any]] = list(first)

    @rule(message=messages)
    def append(self, message: dict[str, str]) -> None:
        self.history.append(message)
        self.list.append(message)

    @rule(more=st.lists(messages, max_size=4), plus=st.booleans())
    def extend(self, more: list[dict[str, str]], plus: bool) -> None:
        if plus:
            self.history += more
        else:
            self.history.extend(more)
        self.list.extend(more)

    @precondition(lambda self: self.list)
    @rule(data=st.data())
    def pop(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(-len(self.list), len(self.list) - 1))
        assert self.history.pop(index) == self.list.pop(index)

    @rule(start=st.integers(-6, 6), stop=st.none() | st.integers(-6, 6))
    def cut(self, start: int, stop: int | None) -> None:
        del self.history[start:stop]
        del self.list[start:stop]

    @rule()
    def clear(self) -> None:
        self.history.clear()
        self.list.clear()

    @rule(start=st.integers(-6, 6), stop=st.integers(-6, 6), step=st.sampled_from([-2, -1, 1, 3]))
    def look(self, start: int, stop: int, step: int) -> None:
        assert self.history[start:stop:step] == self.list[start:stop:step]

    @invariant()
    def is_the_same(self) -> None:
        assert self.history == self.list and list(self.history) == self.list
        assert len(self.history) == len(self.list) and bool(self.history) is bool(self.list)
        assert list(reversed(self.history)) == self.list[::-1]
        assert self.history.copy() == self.list == self.history.full()
        if self.list:
            assert self.history[-1] == self.list[-1] and self.list[0] in self.history
            assert self.history.index(self.list[-1]) == self.list.index(self.list[-1])
            assert self.history.count(self.list[0]) == self.list.count(self.list[0])

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.memory.close()


TestLikeAList = LikeAList.TestCase
TestLikeAList.settings = settings(max_examples=12, stateful_step_count=10)


def test_places_that_are_not_there(history: MessageList) -> None:
    with pytest.raises(IndexError, match="no message 0: the history has 0"):
        history[0]
    with pytest.raises(IndexError):
        history.pop()
    history.append(say("one"))
    with pytest.raises(IndexError, match="no message -2"):
        history[-2]
    with pytest.raises(IndexError):
        del history[1]
    with pytest.raises(ValueError, match="not in list"):
        history.index({"role": "user", "content": "two"})
    assert [message["content"] for message in history] == ["one"]
    with pytest.raises(TypeError):
        hash(history)


def test_a_popped_end_is_a_rewind_and_keeps_older_pages(history: MessageList) -> None:
    for number in range(40):
        history.append(say(f"{number}: {LONG}"))
    pages = [page.hash for page in history.memory.pages()]
    assert len(pages) >= 3
    history.pop()
    assert [page.hash for page in history.memory.pages()][: len(pages) - 1] == pages[:-1]
    assert len(history) == 39 and not history.memory.traces(f"39: {LONG}")


def test_a_call_takes_its_results_along(history: MessageList) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "assistant", "content": "It is done."},
    ]
    history.extend(said)
    assert history.pop(1) == said[1] and history == [said[0], said[3]]
