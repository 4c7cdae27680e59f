"""OptiMemChatMessageHistory: langchain-redis' interface, without its losses."""

from __future__ import annotations

import asyncio
import time
import uuid
import warnings
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError
from redis import Redis

from optimem.errors import InputError
from optimem.integrations.langchain_classic import OptiMemMemory
from optimem.integrations.langchain_history import OptiMemChatMessageHistory

RICH: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "text", "text": "Well?"}]),
    AIMessage(
        "",
        id="ai-1",
        name="finder",
        tool_calls=[{"name": "look_up", "args": {"name": "x"}, "id": "call_1"}],
        usage_metadata={"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        response_metadata={"model_name": "gpt-6-astra", "finish_reason": "tool_calls"},
        additional_kwargs={"custom": {"deep": [1, None]}},
    ),
    ToolMessage("found", tool_call_id="call_1", name="look_up", status="error", artifact={"a": 1}),
]


@pytest.fixture(params=["sqlite", "redis", "client", "options"])
def history(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Any
) -> Iterator[OptiMemChatMessageHistory]:
    session = f"session-{uuid.uuid4()}"
    if request.param == "sqlite":
        made = OptiMemChatMessageHistory(session, f"sqlite:///{tmp_path}/one.db")
    elif request.param == "redis":
        made = OptiMemChatMessageHistory(session_id=session, redis_url=redis_url)
    elif request.param == "client":
        made = OptiMemChatMessageHistory(session, redis_client=Redis.from_url(redis_url))
    else:
        made = OptiMemChatMessageHistory(session, redis_url, socket_timeout=5)
    yield made
    made.delete()
    made.memory.store.close()
    if made.redis_client is not None:
        made.redis_client.close()


def run(history: OptiMemChatMessageHistory, verb: Coroutine[Any, Any, Any]) -> Any:
    """In a loop of its own, which leaves no connection open."""

    async def and_close() -> Any:
        try:
            return await verb
        finally:
            await history.aclose()

    return asyncio.run(and_close())


def test_every_field_comes_back(history: OptiMemChatMessageHistory) -> None:
    history.add_messages(RICH)
    assert history.messages == RICH
    assert [m.model_dump() for m in history.messages] == [m.model_dump() for m in RICH]


def test_asynchronous_verbs_are_the_same(history: OptiMemChatMessageHistory) -> None:
    async def both() -> list[BaseMessage]:
        await history.aadd_messages(RICH[:2])
        await history.aadd_messages(RICH[2:])
        return await history.aget_messages()

    assert run(history, both()) == RICH == history.messages
    assert run(history, history.aget_messages()) == RICH, "in another loop"


def test_an_orphan_result_is_refused(history: OptiMemChatMessageHistory) -> None:
    with pytest.raises(InputError, match="has no call before it"):
        history.add_message(RICH[3])
    with pytest.raises(InputError, match="has no call before it"):
        run(history, history.aadd_messages([RICH[3]]))
    assert history.messages == []


def test_clear_len_and_truth(history: OptiMemChatMessageHistory) -> None:
    assert len(history) == 0 and history.messages == [] and history
    for number in range(5):
        history.add_user_message(f"Message {number}")
    assert len(history) == 5
    history.clear()
    assert len(history) == 0 and history.messages == []
    history.clear()
    run(history, history.aadd_messages([HumanMessage("again")]))
    run(history, history.aclear())
    assert len(history) == 0


def test_search(history: OptiMemChatMessageHistory) -> None:
    history.add_messages([HumanMessage("Hello World"), AIMessage("GOODBYE WORLD")])
    assert [found["content"] for found in history.search_messages("hello")] == ["Hello World"]
    assert len(history.search_messages("WORLD", limit=1000)) == 2
    assert len(history.search_messages("world", limit=1)) == 1
    assert history.search_messages("world", limit=0) == []
    assert history.search_messages("") == [] == history.search_messages("nonexistent")


def test_the_same_id_with_other_words_is_another_message(
    history: OptiMemChatMessageHistory,
) -> None:
    history.add_messages([AIMessage("one", id="x")])
    history.add_messages([AIMessage("one", id="x")])
    history.add_messages([AIMessage("two", id="x")])
    run(history, history.aadd_messages([AIMessage("three", id="x")]))
    assert [message.text for message in history.messages] == ["one", "two", "three"]


def test_lost_connections_are_made_anew(redis_url: str) -> None:
    history = OptiMemChatMessageHistory("lost", redis_url=redis_url)
    history.add_user_message("before")
    history.redis_client.connection_pool.disconnect()
    history.add_user_message("after")
    assert len(history) == 2
    history.memory.store.close()
    history.redis_client.close()


def test_sessions_and_prefixes_stay_apart(redis_url: str) -> None:
    names = [
        ("a", "chat:"),
        ("b", "chat:"),
        ("a", "other.@-" * 20),
        ("a:b", "chat:"),
        ("测试🚀", "c"),
    ]
    made = [OptiMemChatMessageHistory(n, redis_url, key_prefix=p) for n, p in names]
    for number, history in enumerate(made):
        history.add_user_message(f"only {number}")
    for number, history in enumerate(made):
        assert [message.text for message in history.messages] == [f"only {number}"]
    made[0].delete()
    assert [len(history) for history in made] == [0, 1, 1, 1, 1]
    for history in made:
        history.delete()
        history.memory.store.close()


def test_two_instances_share_a_session(redis_url: str) -> None:
    one, two = (OptiMemChatMessageHistory("shared", redis_url) for _ in range(2))
    one.add_user_message("From one.")
    two.add_ai_message("From two.")
    assert [message.text for message in one.messages] == ["From one.", "From two."]
    one.clear()
    assert two.messages == []
    for each in (one, two):
        each.memory.store.close()


@pytest.mark.parametrize("ttl", [-1, 0, 1, 2147483647, None])
def test_lives(redis_url: str, ttl: int | None) -> None:
    history = OptiMemChatMessageHistory(f"ttl{ttl}", redis_url, ttl=ttl)
    history.add_user_message("for a while")
    client = Redis.from_url(redis_url)
    keys = [key for key in client.scan_iter("chat:*") if client.ttl(key) > 0]
    assert bool(keys) == (ttl is not None and ttl >= 0) or ttl == -1
    if ttl in (0, 1):
        time.sleep(1.2)
        assert history.messages == []
    else:
        assert len(history) == 1
    history.delete()
    history.memory.store.close()
    client.close()


@pytest.mark.parametrize("session", ["", None])
def test_a_session_needs_a_name(session: Any) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        OptiMemChatMessageHistory(session, "memory://")


def test_nobody_is_at_the_address() -> None:
    with pytest.raises(Exception, match=r"\S"):
        OptiMemChatMessageHistory("x", "redis://127.0.0.1:1").add_user_message("hello")


def test_none_is_no_message() -> None:
    with pytest.raises(ValueError, match="cannot be None"):
        OptiMemChatMessageHistory("x", "memory://").add_message(None)  # type: ignore[arg-type]


def test_attributes_are_those_of_langchain_redis() -> None:
    history = OptiMemChatMessageHistory("x", "memory://", "p:", 5, "idx", None, True)
    assert history.id == history.session_id == "x" and history.redis_client is None
    found = (history.key_prefix, history.ttl, history.index_name, history.overwrite_index)
    assert found == ("p:", 5, "idx", True)


def test_messages_of_other_shapes_come_as_langchains() -> None:
    history = OptiMemChatMessageHistory("x", "memory://")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history.memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
    history.memory.append({"role": "tool", "tool_call_id": "c", "content": "3"})
    said, found = history.messages
    assert isinstance(said, AIMessage) and said.tool_calls[0]["name"] == "f"
    assert isinstance(found, ToolMessage) and found.content == "3"


def test_it_serves_a_runnable(redis_url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RunnableWithMessageHistory is deprecated
        from langchain_core.runnables.history import RunnableWithMessageHistory

        history = OptiMemChatMessageHistory(f"r{uuid.uuid4()}", redis_url)

        def count(messages: Any) -> AIMessage:
            return AIMessage(f"{len(messages)} messages")

        answers: Any = RunnableLambda(count)
        runnable: Any = RunnableWithMessageHistory(
            answers,
            lambda session_id: history,
        )
        config = {"configurable": {"session_id": "any"}}
        assert runnable.invoke([HumanMessage("one")], config).text == "1 messages"

        answer = run(history, runnable.ainvoke([HumanMessage("two")], config))
        assert answer.text == "3 messages"
    assert [m.text for m in history.messages] == ["one", "1 messages", "two", "3 messages"]
    history.memory.store.close()


# LangChain's classic memory


def classic(**options: Any) -> OptiMemMemory:
    return OptiMemMemory(chat_memory=OptiMemChatMessageHistory("x", "memory://"), **options)


def test_classic_memory_saves_and_loads() -> None:
    memory = classic()
    assert memory.memory_variables == ["history"]
    memory.save_context({"input": "hi"}, {"output": "hello"})
    assert memory.load_memory_variables({}) == {"history": "Human: hi\nAI: hello"}

    async def both() -> Any:
        await memory.asave_context({"input": "again"}, {"output": "yes"})
        return await memory.aload_memory_variables({})

    assert asyncio.run(both())["history"].endswith("Human: again\nAI: yes")
    memory.clear()
    assert memory.load_memory_variables({}) == {"history": ""}


def test_classic_memory_gives_a_reader_pages() -> None:
    memory = classic(reader="openai:gpt-6-astra", budget=4_000, return_messages=True)
    for number in range(16):
        memory.save_context({"input": f"{number} " + "many words to read " * 100}, {"output": "ok"})
    loaded = memory.load_memory_variables({})["history"]
    assert 1 < len(loaded) < 32 and loaded[-1] == AIMessage("ok")
    assert any(block["type"] == "image_url" for block in loaded[0].content)
    assert len(memory.chat_memory.messages) == 32


def test_classic_memory_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match="return_messages=True"):
        classic(reader="openai:gpt-6-astra")
    with pytest.raises(ValidationError, match="chat_memory"):
        OptiMemMemory()
