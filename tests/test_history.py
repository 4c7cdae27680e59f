"""ChatHistory takes what clients say and feeds them, while old messages fade."""

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
from openai import OpenAI

from optimem import ChatHistory, InputError, Memory, NotFoundError
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


@given(st.lists(messages, max_size=5))
@settings(max_examples=20)
def test_what_goes_in_comes_out(wanted: list[dict[str, str]]) -> None:
    with ChatHistory.from_messages(wanted, reader=CLAUDE) as history:
        assert history.full() == wanted


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
        with pytest.raises(NotFoundError, match="no reader is called 'nobody'"):
            ChatHistory(memory=memory, reader="nobody")
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
