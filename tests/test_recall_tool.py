"""Recall as a tool: exact words within a bound, and never another session's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from openai.types.chat import ChatCompletionMessageToolCall

from optimem import Memory
from optimem.demo import packaged_session
from optimem.errors import InputError
from optimem.integrations.langchain_recall import OptiMemRecall, recall_tool
from optimem.integrations.recall_tool import RecallTool
from optimem.tokens import find_counter


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open("memory://", "mine") as opened:
        opened.append({"role": "user", "content": "The cache listens on port 6390."}, id="port")
        opened.extend(packaged_session())
        opened.context("openai:gpt-6-astra", 20_000)
        yield opened


def opened(text: str, id: str = "t") -> Memory:
    memory = Memory.open("memory://", "one")
    memory.append({"role": "user", "content": text}, id=id)
    return memory


def test_a_question_is_answered_with_exact_words_and_ids(memory: Memory) -> None:
    answer = RecallTool(memory)(query="which port does the cache listen on?")
    assert "The cache listens on port 6390." in answer and "id port" in answer


def test_a_page_and_a_turn_are_given_by_number_or_id(memory: Memory) -> None:
    recall = RecallTool(memory)
    assert "The cache listens on port 6390." in recall(page=0)
    assert recall(turn="port") == recall(turn=0) == recall(turn="0")
    assert recall(turn="port").endswith("\nThe cache listens on port 6390.")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": " "},
        {"query": "a", "page": 1},
        {"page": 1, "turn": "x"},
        "no JSON",
        "[]",
        None,
        3,
    ],
)
def test_what_a_model_gets_wrong_is_answered(memory: Memory, arguments: Any) -> None:
    assert RecallTool(memory).call(arguments) == "recall takes one of query, page or turn."


def test_what_is_not_there_is_said(memory: Memory) -> None:
    recall = RecallTool(memory)
    assert recall(query="zygomorphic quxquux").startswith("Nothing in this conversation")
    assert "no page 999" in recall(page=999)
    assert "no turn 'who'" in recall(turn="who") and "no turn '9999'" in recall(turn=9999)


@given(st.text(min_size=1, max_size=4000), st.integers(100, 400))
def test_answers_stay_within_their_tokens(text: str, tokens: int) -> None:
    with opened(text + " end") as memory:
        answer = RecallTool(memory, tokens)(turn="t")
        assert find_counter(memory.stats().counter).count(answer) <= tokens
        assert memory.turn("t").text in answer or "characters" in answer


def test_of_a_long_turn_comes_the_part_that_was_asked_for() -> None:
    filler = "nothing of note happened on that day either. " * 400
    with opened(f"{filler}The launch code is xk-47-q9. {filler}") as memory:
        answer = RecallTool(memory, 200)(query="what is the launch code?")
    assert "The launch code is xk-47-q9." in answer
    assert "characters before]" in answer and "characters after]" in answer


def test_turns_without_room_are_named() -> None:
    with Memory.open("memory://") as memory:
        for number in range(5):
            memory.append({"role": "user", "content": f"apples {number} " * 60}, id=f"t{number}")
        answer = RecallTool(memory, 150)(query="apples")
        assert find_counter(memory.stats().counter).count(answer) <= 150
        named = [f"t{number}" for number in range(5) if f"t{number}" in answer]
    assert "no room for turns with these ids" in answer and len(named) == 5


@pytest.mark.parametrize(("tokens", "limit"), [(99, 5), (2000, 0)])
def test_bounds_that_hold_nothing_are_refused(memory: Memory, tokens: int, limit: int) -> None:
    with pytest.raises(InputError, match="at least 100 tokens and one turn"):
        RecallTool(memory, tokens, limit)


def test_calls_of_each_client_are_answered_in_their_shape(memory: Memory) -> None:
    recall = RecallTool(memory)
    arguments = json.dumps({"turn": "port"})
    chat = {"id": "c1", "type": "function"}
    chat["function"] = {"name": "recall", "arguments": arguments}  # type: ignore[assignment]
    text = recall(turn="port")
    said = {"role": "tool", "tool_call_id": "c1", "content": text}
    assert recall.answer(chat) == said
    assert recall.answer(ChatCompletionMessageToolCall.model_validate(chat)) == said
    called = {"type": "function_call", "call_id": "c2", "name": "recall", "arguments": arguments}
    assert recall.answer(called)["output"] == text
    used = {"type": "tool_use", "id": "c3", "name": "recall", "input": {"turn": "port"}}
    block = {"type": "tool_result", "tool_use_id": "c3", "content": text}
    assert recall.answer(used) == {"role": "user", "content": [block]}
    with pytest.raises(InputError, match="'other' is not for recall"):
        recall.answer({**used, "name": "other"})


def test_answers_can_be_appended_and_sent() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "recall", "arguments": "{}"}}
    with opened("hello") as memory:
        memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
        memory.append(RecallTool(memory).answer(call))
        assert memory.turns()[-1].answers == ("c1",)


def test_a_models_own_question_is_not_found() -> None:
    arguments = json.dumps({"query": "what is the launch code?"})
    called = {"id": "c1", "type": "function"}
    called["function"] = {"name": "recall", "arguments": arguments}  # type: ignore[assignment]
    with opened("The launch code is xk-47-q9.", "fact") as memory:
        recall = RecallTool(memory)
        assert "xk-47-q9" in recall(query="launch code")
        memory.append({"role": "assistant", "content": "Noted."})
        memory.append({"role": "user", "content": "What is the launch code, exactly?"}, id="asked")
        memory.append({"role": "assistant", "content": None, "tool_calls": [called]})
        answer = recall.answer(called)["content"]
        assert "xk-47-q9" in answer and "asked" not in answer and "recall {" not in answer
        assert "id asked" in recall(query="launch code"), "who is not in an exchange finds all"


def test_what_was_asked_and_recalled_before_does_not_crowd_out_the_answer() -> None:
    """Four of the same question in each wording, each with its call and its answer."""
    wordings = ["What is the launch code?", "Do you know the launch code?", "launch code, please"]
    with opened("By the way, and before I forget: the launch code is xk-47-q9, for now.") as memory:
        recall = RecallTool(memory)
        for number in range(12):
            query = wordings[number % 3]
            call: Any = {"id": f"c{number}", "type": "function"}
            call["function"] = {"name": "recall", "arguments": json.dumps({"query": query})}
            memory.append({"role": "user", "content": query}, id=f"asked {number}")
            memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
            answer = recall.answer(call)
            assert answer["content"].startswith("[turn 0, user, id t"), "the origin comes first"
            assert "recall {" not in answer["content"] and answer["content"].count("xk-47") == 1
            memory.append(answer)
            memory.append({"role": "assistant", "content": "There you are."})


def test_what_was_asked_of_other_things_does_not_crowd_out_the_answer() -> None:
    things = ["gate", "door", "chest", "cellar", "shed", "tower", "barn", "mill", "store", "safe"]
    wordings = ["Quick check, the {} code again?", "I forgot the {} code, can you look it up?"]
    with Memory.open("memory://") as memory:
        for thing in things:
            memory.append({"role": "user", "content": f"Day 9: the {thing} has a code: x{thing}."})
        for wording in wordings * 3:
            for thing in things:
                query = wording.format(thing)
                memory.append({"role": "user", "content": query})
                answer = RecallTool(memory).told(query, asked=True)
                assert f"x{thing}" in answer, query
                memory.append({"role": "assistant", "content": "There you are."})


def test_what_only_asks_is_found_where_nothing_tells() -> None:
    with opened("Who painted the boats?") as memory:
        assert "Who painted the boats?" in RecallTool(memory)(query="who painted the boats?")


def test_schemas_are_what_each_client_takes(memory: Memory) -> None:
    recall = RecallTool(memory)
    assert recall.openai["function"]["parameters"] == recall.anthropic["input_schema"]
    assert recall.responses["name"] == recall.anthropic["name"] == "recall"
    assert not {"session", "namespace", "thread_id"} & set(
        recall.anthropic["input_schema"]["properties"]
    )


def test_arguments_cannot_reach_another_session(memory: Memory) -> None:
    with Memory.open("memory://", "other") as other:
        other.append({"role": "user", "content": "hello"})
        answer = RecallTool(other).call({"turn": "port", "session": "mine", "namespace": "x"})
        assert "no turn 'port' in session 'other'" in answer


class _Tool:
    """One session's tool, for LangChain's own suites."""

    @property
    def tool_constructor(self) -> type[OptiMemRecall]:
        return OptiMemRecall

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        memory = Memory.open("memory://", "mine")
        memory.append({"role": "user", "content": "The cache listens on port 6390."})
        return {"session": memory}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "which port?"}


class TestUnit(_Tool, ToolsUnitTests):
    """langchain-tests' unit suite."""


@pytest.mark.anyio
class TestIntegration(_Tool, ToolsIntegrationTests):
    """langchain-tests' integration suite."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"


def test_the_langchain_tool_answers_as_the_plain_one(memory: Memory) -> None:
    tool = recall_tool(memory)
    assert tool.invoke({"turn": "port"}) == RecallTool(memory)(turn="port")
    properties = tool.tool_call_schema.model_json_schema()["properties"]  # type: ignore[union-attr]
    assert set(properties) == {"query", "page", "turn"}
