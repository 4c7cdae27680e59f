"""ChatHistory behaves like the list that it takes the place of, and feeds real clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from openai import OpenAI

from optimem import ChatHistory, InputError, Memory
from optimem.testing import ReadingServer

GPT, CLAUDE, GEMINI = "openai:gpt-6-astra", "anthropic:claude-opus-5.5", "google:gemini-4-argon"
LONG = "The harbour of Aeros closes at dusk, and its ferry is painted green. " * 12

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": texts}
)


@pytest.fixture
def history() -> Iterator[ChatHistory]:
    with ChatHistory("memory://", reader=GPT) as made:
        yield made


# As a list


class LikeAList(RuleBasedStateMachine):
    """Does the same to a history and to a list, and compares them."""

    @initialize(first=st.lists(messages, max_size=3))
    def begin(self, first: list[dict[str, str]]) -> None:
        self.history = ChatHistory.from_messages(first, reader=GPT)
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
            self.history.close()


TestLikeAList = LikeAList.TestCase
TestLikeAList.settings = settings(max_examples=12, stateful_step_count=10)


@given(st.lists(messages, max_size=5))
@settings(max_examples=20)
def test_what_goes_in_comes_out(wanted: list[dict[str, str]]) -> None:
    with ChatHistory.from_messages(wanted, reader=CLAUDE) as history:
        assert history.full() == wanted


def test_places_that_are_not_there(history: ChatHistory) -> None:
    with pytest.raises(IndexError, match="no message 0: the history has 0"):
        history[0]
    with pytest.raises(IndexError):
        history.pop()
    history.add_user_message("one")
    with pytest.raises(IndexError, match="no message -2"):
        history[-2]
    with pytest.raises(IndexError):
        del history[1]
    with pytest.raises(ValueError, match="not in list"):
        history.index({"role": "user", "content": "two"})
    assert [message["content"] for message in history] == ["one"]
    with pytest.raises(TypeError):
        hash(history)


def test_a_popped_end_is_a_rewind_and_keeps_older_pages(history: ChatHistory) -> None:
    for number in range(40):
        history.add_user_message(f"{number}: {LONG}")
    pages = [page.hash for page in history.memory.pages()]
    assert len(pages) >= 3
    history.pop()
    assert [page.hash for page in history.memory.pages()][: len(pages) - 1] == pages[:-1]
    assert len(history) == 39 and not history.memory.traces(f"39: {LONG}")


def test_a_call_takes_its_results_along(history: ChatHistory) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "assistant", "content": "It is done."},
    ]
    history.extend(said)
    assert history.pop(1) == said[1] and history == [said[0], said[3]]


def test_a_message_that_cannot_be_read_changes_nothing(history: ChatHistory) -> None:
    history.add_user_message("one")
    with pytest.raises(InputError, match="unknown role"):
        history.extend([{"role": "user", "content": "two"}, {"role": "boss", "content": "x"}])
    with pytest.raises(InputError):
        ChatHistory.from_messages([{"role": "boss"}], reader=GPT)
    assert len(history) == 1


def test_it_takes_a_memory_or_a_place(tmp_path: Path) -> None:
    with Memory.open("memory://") as memory:
        with ChatHistory(memory=memory, reader=GPT) as history:
            history.add_user_message("hello")
        assert memory.turns()[0].text == "hello"  # it is open still
        with pytest.raises(InputError, match="not both"):
            ChatHistory("memory://", memory=memory, reader=GPT)
    url = f"sqlite:///{tmp_path}/a.db"
    with ChatHistory(url, "42", reader=GPT, namespace="acme") as history:
        history.add_user_message("hello")
    with ChatHistory(url, "42", reader=GPT, namespace="acme") as again:
        assert again == [{"role": "user", "content": "hello"}]
        assert repr(again) == "<ChatHistory of 1 messages: acme/42>"


def test_importing_it_loads_no_client() -> None:
    code = "import sys; from optimem import ChatHistory; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"openai", "anthropic", "torch", "langchain_core"} & set(out.stdout.split())


# What goes to clients


def test_old_messages_fade_and_nothing_is_lost() -> None:
    said = [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}: {LONG}"}
        for number in range(60)
    ]
    with ChatHistory.from_messages(said, reader=GPT, budget=6_000, system="Be brief.") as history:
        context = history.context()
        assert context.tokens <= 6_000 < context.text_tokens
        assert history.messages[0] == {"role": "system", "content": "Be brief."}
        assert len(history.messages) < 30 and history.request()["messages"] == history.messages
        assert history.full() == said and len(history) == 60
        history.system = None
        assert history.messages[0]["role"] == "user"
        history.tools = [{"type": "function", "function": {"name": "f"}}]
        assert history.request()["tools"] == history.tools


def test_system_stands_apart_for_those_who_want_it_so() -> None:
    with ChatHistory.from_messages(
        [{"role": "user", "content": "hi"}], reader=CLAUDE, system="Be brief."
    ) as history:
        assert history.system == "Be brief."
        assert history.messages == [{"role": "user", "content": "hi"}]
        assert history.request() == {"system": "Be brief.", "messages": history.messages}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingServer]:
    with ReadingServer(engine=lambda pixels, width: LONG) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def long_history(reader: str, **options: Any) -> ChatHistory:
    """Sixty messages, most of which do not fit as text."""
    said = [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}: {LONG}"}
        for number in range(60)
    ]
    return ChatHistory.from_messages(said, reader=reader, budget=8_000, **options)


def test_openais_client_takes_it(server: ReadingServer) -> None:
    with OpenAI() as client, long_history(GPT) as history:
        for question in ("When does the harbour of Aeros close?", "How is its ferry painted?"):
            history.add_user_message(question)
            reply = client.chat.completions.create(model="gpt-6-astra", messages=history.messages)  # type: ignore[arg-type]
            history.add_ai_message(reply)
        assert history[-1]["role"] == "assistant" and "painted green" in history[-1]["content"]
        assert len(history) == 64 and len(server.exchanges[-1].readings) >= 2


def test_anthropics_client_takes_it(server: ReadingServer) -> None:
    with Anthropic() as client, long_history(CLAUDE, system="Be brief.") as history:
        for question in ("When does the harbour of Aeros close?", "How is its ferry painted?"):
            history.add_user_message(question)
            reply = client.messages.create(
                model="claude-opus-5-5",
                max_tokens=99,
                system=history.system,
                messages=history.messages,  # type: ignore[arg-type]
            )
            history.add_ai_message(reply)
        assert "painted green" in history[-1]["content"][0]["text"]
        assert server.exchanges[-1].body["system"] == "Be brief."


# Asynchronous twins


def test_its_asynchronous_twins() -> None:
    async def talk() -> list[Any]:
        async with ChatHistory("memory://", reader=GPT) as history:
            await history.aadd_user_message("one")
            await history.aadd_ai_message("two")
            await history.aadd_message({"role": "user", "content": "three"})
            await history.aadd_messages([{"role": "assistant", "content": "four"}])
            popped = await history.apop()
            sent = await history.amessages()
            assert (await history.arequest())["messages"] == sent == await history.afull()
            await history.aclear()
            return [popped["content"], [message["content"] for message in sent], len(history)]

    assert asyncio.run(talk()) == ["four", ["one", "two", "three"], 0]
