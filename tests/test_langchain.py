"""OptiMemMiddleware: pages for the model, original messages for the graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain_core.exceptions import ContextOverflowError, ModelInvalidRequestError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from scripted_agents import ScriptedModel, build, call, check_pairs, images, look_up

from optimem import Memory
from optimem.errors import InputError
from optimem.integrations.langchain import OptiMemMiddleware, token_counter
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget
from optimem.stores import open_store

LONG = "The harbour of that town was built of grey stone, and the boats were painted blue. " * 40


def thread(name: str = "42") -> Any:
    return {"configurable": {"thread_id": name}}


def talk(agent: Any, turns: int, name: str = "42", start: int = 0) -> None:
    """Some long turns of a user."""
    for number in range(start, start + turns):
        agent.invoke({"messages": f"Note {number}: {LONG}"}, thread(name))


def state(agent: Any, name: str = "42") -> list[BaseMessage]:
    messages: list[BaseMessage] = agent.get_state(thread(name)).values["messages"]
    return messages


def built(
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] | None = None, **options: Any
) -> tuple[Any, ScriptedModel, OptiMemMiddleware]:
    """An agent with a checkpointer, its model, and its memory."""
    model = ScriptedModel(**options)
    memory = OptiMemMiddleware("memory://", budget=12_000)
    stack = [*(middleware or ()), memory]
    agent = build(model, [look_up], middleware=stack, checkpointer=InMemorySaver())
    return agent, model, memory


def logged(memory: OptiMemMiddleware, name: str = "42") -> list[str | None]:
    """The ids in a thread's log."""
    return [turn.id for turn in memory.memory(thread(name)).turns()]


def shown(messages: Sequence[BaseMessage]) -> str:
    return json.dumps(images(messages))


def test_older_messages_become_pages_and_the_state_keeps_its_messages() -> None:
    agent, model, memory = built()
    talk(agent, 24)
    sent = model.sent[-1]
    assert len(images(sent)) >= 2 and len(sent) < 24
    assert not images(state(agent)) and len(state(agent)) == 48
    assert logged(memory) == [message.id for message in state(agent)]
    assert sent[-1].content == state(agent)[-2].content


def test_everything_is_text_while_that_is_cheaper() -> None:
    agent, model, _ = built()
    for _ in range(3):
        agent.invoke({"messages": "hello"}, thread())
    assert not images(model.sent[-1]) and len(model.sent[-1]) == 5


def test_requests_stay_within_the_budget() -> None:
    agent, model, memory = built()
    talk(agent, 40)
    count = token_counter("openai:gpt-6-astra")
    assert max(map(count, model.sent)) <= 12_000
    assert count(state(agent)) > 25_000


def test_between_epochs_the_pages_are_the_same_bytes() -> None:
    agent, model, _ = built()
    talk(agent, 24)
    prefixes = [sent[0].content for sent in model.sent if images(sent)]
    changes = sum(a != b for a, b in zip(prefixes, prefixes[1:], strict=False))
    assert len(prefixes) >= 8 and changes < len(prefixes) / 2


def test_calls_and_their_results_stay_together() -> None:
    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        asked = len([m for m in messages if m.type == "tool"])
        if messages[-1].type == "human":
            return call("a thing", asked + 1000 * len(model.sent))
        return AIMessage("Found.")

    agent, model, memory = built(answer=answer)
    talk(agent, 12)
    assert any(images(sent) for sent in model.sent)
    for sent in model.sent:
        check_pairs([m for m in sent if m.type != "system"])
    assert logged(memory) == [message.id for message in state(agent)]


def test_async_runs_are_the_same() -> None:
    agent, model, memory = built()
    other, twin, _ = built()

    async def run() -> None:
        for number in range(24):
            await agent.ainvoke({"messages": f"Note {number}: {LONG}"}, thread())

    asyncio.run(run())
    talk(other, 24)
    assert shown(model.sent[-1]) == shown(twin.sent[-1]) != "[]"
    assert len(logged(memory)) == 48


def test_no_thread_is_a_clear_error() -> None:
    model = ScriptedModel()
    agent = build(model, [], middleware=[OptiMemMiddleware("memory://")])
    with pytest.raises(InputError, match="needs to know the thread"):
        agent.invoke({"messages": "hello"})


def test_a_memory_serves_its_own_thread_alone() -> None:
    with Memory.open("memory://", "42") as memory:
        agent = build(ScriptedModel(), [], middleware=[OptiMemMiddleware(memory)])
        agent.invoke({"messages": "hello"}, thread("42"))
        with pytest.raises(InputError, match="serves the session '42' alone, not the thread '43'"):
            agent.invoke({"messages": "hello"}, thread("43"))
        assert [turn.text for turn in memory.turns()] == ["hello", "Noted."]
        with pytest.raises(InputError, match="pass it alone"):
            OptiMemMiddleware(memory, namespace="acme")


def test_many_threads_at_once_never_mix(redis_url: str) -> None:
    store = open_store(f"{redis_url}?prefix=threads")
    memory = OptiMemMiddleware(store, budget=9_000)
    model = ScriptedModel(answer=lambda messages: AIMessage(f"You said {messages[-1].text}"))
    agent = build(model, [], middleware=[memory], checkpointer=InMemorySaver())

    def run(number: int) -> list[str]:
        for turn in range(6):
            said = {"messages": f"secret-{number} in turn {turn}. {LONG}"}
            agent.invoke(said, thread(f"t{number}"))
        return [turn.text for turn in memory.memory(thread(f"t{number}")).turns()]

    with ThreadPoolExecutor(32) as pool:
        logs = list(pool.map(run, range(32)))
    for number, log in enumerate(logs):
        assert len(log) == 12 and all(f"secret-{number} " in text for text in log)
    for sent in model.sent:
        text = " ".join(m.text for m in sent)
        assert len({word for word in text.split() if word.startswith("secret-")}) == 1
    store.close()


def test_threads_of_namespaces_never_meet(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/one.db")
    for name in ("acme", "other"):
        memory = OptiMemMiddleware(store, namespace=name)
        agent = build(ScriptedModel(), [], middleware=[memory])
        agent.invoke({"messages": name}, thread())
        assert [turn.text for turn in memory.memory(thread()).turns()] == [name, "Noted."]
    store.close()


def test_an_agent_within_an_agents_tool_has_a_session_of_its_own() -> None:
    from langchain_core.tools import tool

    memory = OptiMemMiddleware("memory://")
    inner = build(ScriptedModel(), [], middleware=[memory])

    @tool
    def ask(question: str) -> str:
        """Asks another agent."""
        answer: str = inner.invoke({"messages": question})["messages"][-1].text
        return answer

    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].type == "human":
            asked = {"name": "ask", "args": {"question": "why?"}, "id": f"c{len(messages)}"}
            return AIMessage("", tool_calls=[asked])
        return AIMessage("So it is.")

    outer = build(
        ScriptedModel(answer=answer), [ask], middleware=[memory], checkpointer=InMemorySaver()
    )
    for _ in range(2):
        outer.invoke({"messages": "well?"}, thread())
    texts = [turn.text for turn in memory.memory(thread()).turns()]
    assert len(texts) == 8 and "why?" not in texts and texts[-1] == "So it is."


# Where the graph and the log part


@pytest.fixture
def long_talk() -> Iterator[tuple[Any, ScriptedModel, OptiMemMiddleware]]:
    agent, model, memory = built()
    talk(agent, 24)
    yield agent, model, memory
    memory.close()


def check_follows(agent: Any, memory: OptiMemMiddleware, pages: list[Any], common: int) -> None:
    """The log is what the graph is, and pages of the common prefix are the same."""
    assert logged(memory) == [message.id for message in state(agent)]
    texts = [turn.text for turn in memory.memory(thread()).turns()]
    assert texts == [message.text for message in state(agent)]
    now = memory.memory(thread()).pages()
    untouched = [page for page in pages if page.spans[-1].position < common]
    assert now[: len(untouched)] == untouched


def kept_pages(memory: OptiMemMiddleware) -> list[Any]:
    pages = memory.memory(thread()).pages()
    assert len(pages) >= 4
    return pages


LongTalk = tuple[Any, ScriptedModel, OptiMemMiddleware]


@pytest.mark.parametrize("at", [0, 24, 46])
def test_an_edited_message_is_followed(long_talk: LongTalk, at: int) -> None:
    agent, _, memory = long_talk
    pages = kept_pages(memory)
    edited = HumanMessage("Something else was meant.", id=state(agent)[at].id)
    agent.update_state(thread(), {"messages": [edited]})
    talk(agent, 1, start=99)
    check_follows(agent, memory, pages, at)


@pytest.mark.parametrize("at", [0, 24, 46])
def test_a_removed_message_is_followed(long_talk: LongTalk, at: int) -> None:
    agent, _, memory = long_talk
    pages = kept_pages(memory)
    agent.update_state(thread(), {"messages": [RemoveMessage(id=str(state(agent)[at].id))]})
    talk(agent, 1, start=99)
    check_follows(agent, memory, pages, at)
    assert len(logged(memory)) == 49


def test_time_travel_and_back_is_followed(long_talk: LongTalk) -> None:
    agent, model, memory = long_talk
    pages = kept_pages(memory)
    now = agent.get_state(thread()).config
    past = next(
        each
        for each in agent.get_state_history(thread())
        if len(each.values.get("messages", ())) == 30 and not each.next
    )
    agent.invoke({"messages": "On another branch."}, past.config)
    assert len(logged(memory)) == 32
    check_follows(agent, memory, pages, 30)
    agent.invoke({"messages": "Back again."}, now)
    assert len(logged(memory)) == 50
    check_follows(agent, memory, pages, 30)


def test_a_fork_into_another_thread_has_a_log_of_its_own(long_talk: LongTalk) -> None:
    agent, _, memory = long_talk
    pages = kept_pages(memory)
    agent.update_state(thread("fork"), {"messages": state(agent)})
    agent.invoke({"messages": "Only in the fork."}, thread("fork"))
    assert logged(memory, "fork")[:48] == logged(memory) and len(logged(memory)) == 48
    assert memory.memory(thread("fork")).pages()[: len(pages)] == pages


def test_an_answer_made_anew_is_followed(long_talk: LongTalk) -> None:
    agent, model, memory = long_talk
    pages = kept_pages(memory)
    before = shown(model.sent[-1])
    asked = next(
        each for each in agent.get_state_history(thread()) if len(each.values["messages"]) == 47
    )
    model.answer = lambda messages: AIMessage("On second thought, noted.")
    agent.invoke(None, asked.config)
    check_follows(agent, memory, pages, 47)
    assert state(agent)[-1].text == "On second thought, noted."
    assert shown(model.sent[-1]) == before


def test_all_messages_removed_begin_anew(long_talk: LongTalk) -> None:
    agent, _, memory = long_talk
    gone = [RemoveMessage(id=str(message.id)) for message in state(agent)]
    agent.update_state(thread(), {"messages": gone})
    talk(agent, 1, start=99)
    check_follows(agent, memory, [], 0)
    assert len(logged(memory)) == 2


def test_another_process_goes_on_where_one_was(long_talk: LongTalk) -> None:
    agent, model, memory = long_talk
    agent.invoke({"messages": "A short one."}, thread())
    again = OptiMemMiddleware(memory.memory(thread()).store, budget=12_000)
    resumed = build(model, [look_up], middleware=[again], checkpointer=agent.checkpointer)
    generation = memory.memory(thread()).store.state(memory.memory(thread()).scope).generation
    resumed.invoke({"messages": "A short one."}, thread())
    assert shown(model.sent[-1]) == shown(model.sent[-2])
    talk(agent, 1, start=26)
    check_follows(agent, memory, [], 0)
    assert memory.memory(thread()).store.state(memory.memory(thread()).scope).generation == (
        generation
    )


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("at", [10, 47])
def test_what_was_forgotten_does_not_come_back(long_talk: LongTalk, at: int, removed: bool) -> None:
    agent, model, memory = long_talk
    session = memory.memory(thread())
    secret = state(agent)[at].id
    session.forget(turns=[str(secret)])
    if removed:
        agent.update_state(thread(), {"messages": [RemoveMessage(id=str(secret))]})
    talk(agent, 2, start=99)
    assert secret not in logged(memory) and len(logged(memory)) == 51
    assert secret not in {message.id for message in model.sent[-1]}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("at", [10, 46, 47])
def test_what_was_forgotten_stays_so_in_another_process(
    long_talk: LongTalk, at: int, kind: str
) -> None:
    agent, _, memory = long_talk
    session = memory.memory(thread())
    secret = str(state(agent)[at].id)
    Memory(session.store, session.scope).forget(turns=[secret])  # by yet another one
    for count in (49, 51):
        model = ScriptedModel()
        again = OptiMemMiddleware(session.store, budget=12_000)
        resumed = build(model, [look_up], middleware=[again], checkpointer=agent.checkpointer)
        if kind == "sync":
            resumed.invoke({"messages": "A short one."}, thread())
        else:
            asyncio.run(resumed.ainvoke({"messages": "A short one."}, thread()))
        assert secret in {message.id for message in state(agent)}
        assert secret not in logged(again) and len(logged(again)) == count
        assert secret not in {message.id for message in model.sent[-1]}


@pytest.mark.parametrize("edited", [0, 10])
def test_what_was_forgotten_stays_so_behind_an_edit(long_talk: LongTalk, edited: int) -> None:
    """The log is taken back to a place before what was forgotten, and goes on after it."""
    agent, _, memory = long_talk
    session = memory.memory(thread())
    secret, other = str(state(agent)[20].id), state(agent)[edited]
    session.forget(turns=[secret])
    agent.update_state(thread(), {"messages": [HumanMessage("Said otherwise.", id=other.id)]})
    talk(agent, 1, start=99)
    again = OptiMemMiddleware(session.store, budget=12_000)
    resumed = build(ScriptedModel(), [], middleware=[again], checkpointer=agent.checkpointer)
    resumed.invoke({"messages": "A short one."}, thread())
    assert secret not in logged(again) and len(logged(again)) == 51
    assert session.traces(secret) == []


# What the model takes


def test_a_model_without_eyes_gets_text() -> None:
    agent, model, memory = built(profile={"image_inputs": False})
    talk(agent, 20)
    assert not images(model.sent[-1]) and len(model.sent[-1]) == 39
    assert len(logged(memory)) == 40


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        ("openai:gpt-6-astra", "image_url"),
        ("anthropic:claude-opus-5-5", "image"),
        ("google_genai:models/gemini-4-argon", "image"),
        ("qwen:qwen3-vl", "image"),
    ],
)
def test_the_reader_is_the_models_own(reader: str, kind: str) -> None:
    agent, model, _ = built(reader=reader)
    talk(agent, 24)
    assert {block["type"] for block in images(model.sent[-1])} == {kind}


def test_an_unknown_model_is_a_clear_error() -> None:
    agent, _, _ = built(reader="acme:oracle")
    with pytest.raises(InputError, match="no reader is known for the model 'oracle': pass reader="):
        agent.invoke({"messages": "hello"}, thread())


def failing(error: Exception, times: int = 1) -> Any:
    """Answers that begin with errors once there are images."""
    left = [times]

    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if images(messages) and left[0]:
            left[0] -= 1
            raise error
        return AIMessage("Noted.")

    return answer


def test_a_refused_request_is_sent_once_more_as_text(caplog: pytest.LogCaptureFixture) -> None:
    agent, model, _ = built(answer=failing(ModelInvalidRequestError("no images, please")))
    talk(agent, 24)
    refused = next(n for n, sent in enumerate(model.sent) if images(sent))
    assert not images(model.sent[refused + 1])
    assert model.sent[refused + 1][-1] == model.sent[refused][-1]
    assert len(model.sent) == 25, "from then on it gets text at once"
    assert "refused pages" in caplog.text


def test_an_overflow_is_sent_once_more_as_less_text() -> None:
    agent, model, _ = built(answer=failing(ContextOverflowError("too long")))
    talk(agent, 24)
    count = token_counter("openai:gpt-6-astra")
    first = next(n for n, sent in enumerate(model.sent) if images(sent))
    assert not images(model.sent[first + 1])
    assert count(model.sent[first + 1]) <= 0.8 * count(model.sent[first])
    assert images(model.sent[-1]), "one overflow is no refusal"


def test_a_second_failure_is_the_callers() -> None:
    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if len(model.sent) > 18:
            raise ModelInvalidRequestError("no")
        return AIMessage("Noted.")

    agent, model, _ = built(answer=answer)
    with pytest.raises(ModelInvalidRequestError):
        talk(agent, 24)
    assert len(model.sent) == 20


@pytest.mark.parametrize("sign", ["anthropic", "openai"])
def test_a_model_that_declines_is_asked_once_more(sign: str) -> None:
    declined = AIMessage("", response_metadata={"stop_reason": "refusal"})
    if sign == "openai":
        declined = AIMessage("", additional_kwargs={"refusal": "I cannot read that."})

    agent, model, memory = built()
    talk(agent, 20)
    model.answer = lambda messages: declined if images(messages) else AIMessage("As text, yes.")
    talk(agent, 1, start=20)
    assert state(agent)[-1].text == "As text, yes." and len(logged(memory)) == 42


def test_errors_of_the_server_pass_through() -> None:
    agent, model, _ = built(answer=failing(TimeoutError("slow")))
    with pytest.raises(TimeoutError):
        talk(agent, 24)


def test_reasoning_of_another_prefix_is_left_out() -> None:
    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        number = len(model.sent)
        thought = {"type": "thinking", "thinking": f"thought {number}", "signature": "s"}
        return AIMessage([thought, {"type": "text", "text": f"answer {number}"}])

    agent, model, _ = built(answer=answer, reader="anthropic:claude-opus-5-5")
    talk(agent, 24)
    prefix, since = "", 0
    for number, sent in enumerate(model.sent):
        thoughts = [
            block["thinking"]
            for message in sent
            if message.type == "ai" and isinstance(message.content, list)
            for block in message.content
            if isinstance(block, dict) and block["type"] == "thinking"
        ]
        if shown(sent) != prefix:
            prefix, since = shown(sent), number
        kept = [int(thought.split()[1]) for thought in thoughts]
        assert all(each > since for each in kept) or not images(sent)
        assert not images(sent) or kept == list(range(since + 1, number + 1))[-len(kept) :]
    assert sum(isinstance(m.content, list) and len(m.content) == 2 for m in state(agent)) == 24


# When pages begin, and how much stays text


def test_a_trigger_in_messages() -> None:
    model = ScriptedModel()
    memory = OptiMemMiddleware("memory://", trigger=("messages", 21))
    agent = build(model, [], middleware=[memory], checkpointer=InMemorySaver())
    talk(agent, 14)
    assert [bool(images(sent)) for sent in model.sent] == [False] * 10 + [True] * 4


def test_a_trigger_in_tokens() -> None:
    model = ScriptedModel()
    memory = OptiMemMiddleware("memory://", trigger=[("tokens", 6000), ("messages", 500)])
    agent = build(model, [], middleware=[memory], checkpointer=InMemorySaver())
    talk(agent, 24)
    first = next(n for n, sent in enumerate(model.sent) if images(sent))
    count = token_counter("openai:gpt-6-astra")
    assert count(model.sent[first - 1]) <= 6000 < count(state(agent)[: 2 * first + 4])


@pytest.mark.parametrize("keep", [("messages", 16), ("tokens", 4000), ("fraction", 0.2)])
def test_what_is_kept_stays_text(keep: Any) -> None:
    model = ScriptedModel()
    memory = OptiMemMiddleware("memory://", keep=keep, budget=16_000)
    agent = build(model, [], middleware=[memory], checkpointer=InMemorySaver())
    talk(agent, 30)
    assert images(model.sent[-1])
    live = [message for message in model.sent[-1] if not images([message])]
    if keep[0] == "messages":
        assert len(live) >= 16
    else:
        assert token_counter("openai:gpt-6-astra")(live) >= 3_000


@pytest.mark.parametrize(
    "options",
    [
        {"trigger": ("turns", 3)},
        {"trigger": ("tokens", 0)},
        {"trigger": ("fraction", 1.5)},
        {"trigger": []},
        {"trigger": "tokens"},
        {"trigger": {}},
        {"keep": ("messages", "many")},
        {"keep": ("messages", 3), "policy": Epochs()},
    ],
)
def test_limits_outside_the_grammar_are_refused(options: Any) -> None:
    with pytest.raises(InputError):
        OptiMemMiddleware("memory://", **options)


def test_a_fraction_needs_a_whole() -> None:
    model = ScriptedModel(reader="openai:gpt-6-nova")
    memory = OptiMemMiddleware("memory://", trigger=("fraction", 0.5))
    agent = build(model, [], middleware=[memory])
    with pytest.raises(InputError, match="a fraction needs a whole"):
        agent.invoke({"messages": "hello"}, thread())


def test_a_policy_of_ones_own() -> None:
    policy = Epochs((AgeDecay("turns", ((Tier.TINY, 2),)), TokenBudget()), horizon=1000)
    model = ScriptedModel()
    memory = OptiMemMiddleware("memory://", policy=policy)
    agent = build(model, [], middleware=[memory], checkpointer=InMemorySaver())
    talk(agent, 20)
    plans = memory.memory(thread()).stats().tiers
    assert any("tiny" in tiers for tiers in plans.values())


# Recall


def test_the_agent_recalls_from_its_own_thread() -> None:
    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].text.startswith("Which"):
            asked = {"name": "recall", "args": {"query": "launch code"}, "id": "r1"}
            return AIMessage("", tool_calls=[asked])
        return AIMessage("Noted.")

    agent, model, _ = built(answer=answer)
    agent.invoke({"messages": "The launch code is xk-47-q9."}, thread())
    agent.invoke({"messages": "The launch code is not-yours."}, thread("other"))
    talk(agent, 20)
    agent.invoke({"messages": "Which launch code was it?"}, thread())
    answered = state(agent)[-2]
    assert answered.type == "tool" and "The launch code is xk-47-q9." in answered.text
    assert "not-yours" not in answered.text


def test_without_recall_there_is_no_tool() -> None:
    assert OptiMemMiddleware("memory://", recall=False).tools == []
    assert [tool.name for tool in OptiMemMiddleware("memory://").tools] == ["recall"]


# Beside other middleware


def test_beside_summarization_the_log_follows_its_summary() -> None:
    count = token_counter("openai:gpt-6-astra")
    summary = SummarizationMiddleware(
        ScriptedModel(answer=lambda messages: AIMessage("A summary.")),
        trigger=("tokens", 18_000),
        keep=("messages", 40),
        token_counter=count,
    )
    agent, model, memory = built([summary])
    talk(agent, 40)
    assert len(state(agent)) < 50 and any(images(sent) for sent in model.sent)
    assert "A summary." in state(agent)[0].text
    assert logged(memory) == [message.id for message in state(agent)]


@pytest.mark.parametrize("order", ["before", "after"])
def test_beside_context_editing_the_log_keeps_the_originals(order: str) -> None:
    count = token_counter("openai:gpt-6-astra")
    edit = ContextEditingMiddleware(
        edits=[ClearToolUsesEdit(trigger=3_000, keep=1)], token_counter=count
    )

    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        if messages[-1].type == "human":
            return call("a thing", len(model.sent))
        return AIMessage("Found.")

    model = ScriptedModel(answer=answer)
    memory = OptiMemMiddleware("memory://", budget=12_000)
    stack = [edit, memory] if order == "before" else [memory, edit]
    agent = build(model, [look_up], middleware=stack, checkpointer=InMemorySaver())
    talk(agent, 20)
    assert any("[cleared]" in m.text for m in model.sent[-1]) and images(model.sent[-1])
    for sent in model.sent:
        check_pairs(sent)
    turns = memory.memory(thread()).turns()
    assert [turn.text for turn in turns] != [] and not any("[cleared]" in t.text for t in turns)
    assert logged(memory) == [message.id for message in state(agent)]


def test_what_other_middleware_puts_in_stays() -> None:
    class Reminds(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            reminder = HumanMessage("Remember to be brief.")
            return handler(request.override(messages=[*request.messages, reminder]))

    agent, model, memory = built([Reminds()])
    talk(agent, 20)
    assert model.sent[-1][-1].text == "Remember to be brief." and images(model.sent[-1])
    assert len(logged(memory)) == 40


def test_the_counter_knows_what_images_take() -> None:
    count = token_counter("openai:gpt-6-astra")
    agent, model, _ = built()
    talk(agent, 24)
    pages = [message for message in model.sent[-1] if images([message])]
    assert count(pages) > 500 * len(images(pages))
    assert count([("user", "hello")]) == count([HumanMessage("hello")]) < 10
