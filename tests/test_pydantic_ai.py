"""FadedHistory with pydantic-ai's own agent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from optimem import Memory
from optimem.integrations.pydantic_ai import FadedHistory

LONG = "The harbour of that town was built of grey stone, and the boats were painted blue. " * 40
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """What `run_sync` runs in; else it makes a loop that nobody closes."""
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    yield
    asyncio.set_event_loop(None)
    own.close()


@pytest.fixture
def memory() -> Any:
    with Memory.open("memory://", "42") as opened:
        yield opened


class Model:
    """Answers, calls a tool when asked to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[ModelMessage]] = []

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.sent.append(list(messages))
        last = str(messages[-1].parts[-1])
        if "look it up" in last:
            call = ToolCallPart("look_up", {"name": "x"}, f"call_{len(self.sent)}")
            return ModelResponse([call])
        return ModelResponse([TextPart("Noted.")])


def agent(model: Model, faded: FadedHistory) -> Agent[None, str]:
    made = Agent(FunctionModel(model), capabilities=[ProcessHistory(faded)])

    @made.tool_plain
    def look_up(name: str) -> str:
        return f"{name} is in drawer 7."

    return made


def images(messages: list[ModelMessage]) -> list[BinaryContent]:
    return [
        item
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if part.part_kind == "user-prompt" and not isinstance(part.content, str)
        for item in part.content
        if isinstance(item, BinaryContent)
    ]


def test_older_messages_become_pages_and_the_memory_keeps_all(memory: Memory) -> None:
    model = Model()
    clerk = agent(model, FadedHistory(memory, "openai:gpt-6-astra", 8_000))
    history: list[ModelMessage] = []
    for number in range(16):
        said = f"Note {number}: look it up. {LONG}" if number % 4 == 3 else f"Note {number}: {LONG}"
        history = clerk.run_sync(said, message_history=history).all_messages()
    assert len(images(model.sent[-1])) >= 2 and len(model.sent[-1]) < 20
    for image in images(model.sent[-1]):
        assert image.media_type == "image/png" and image.vendor_metadata == {"detail": "original"}
    texts = [turn.text for turn in memory.turns()]
    assert len(texts) == 16 + 15 + 2 * 4  # the last answer comes with the next request
    assert [text.split(":")[0] for text in texts if text.startswith("Note ")] == [
        f"Note {number}" for number in range(16)
    ]
    assert not any(turn.attachments for turn in memory.turns())


def test_a_history_that_is_given_back_whole_is_kept_once(memory: Memory) -> None:
    model = Model()
    faded = FadedHistory(memory, "openai:gpt-6-astra", 8_000)
    plain = Agent(FunctionModel(model))
    history = plain.run_sync("one").all_messages()
    history = plain.run_sync("two", message_history=history).all_messages()
    assert faded.fade(history) == history == faded.fade(history)
    assert [turn.text for turn in memory.turns()] == ["one", "Noted.", "two", "Noted."]


def test_calls_and_their_results_stay_together(memory: Memory) -> None:
    model = Model()
    clerk = agent(model, FadedHistory(memory, "openai:gpt-6-astra", 6_000))
    history: list[ModelMessage] = []
    for number in range(10):
        said = f"Note {number}: look it up. {LONG}"
        history = clerk.run_sync(said, message_history=history).all_messages()
    assert images(model.sent[-1])
    for sent in model.sent:
        parts = [part for message in sent for part in message.parts]
        calls = [part.tool_call_id for part in parts if part.part_kind == "tool-call"]
        answers = [part.tool_call_id for part in parts if part.part_kind == "tool-return"]
        assert calls == answers


def test_images_of_the_user_are_kept(memory: Memory) -> None:
    faded = FadedHistory(memory, "openai:gpt-6-astra")
    picture = BinaryContent(PIXEL, media_type="image/png")
    agent(Model(), faded).run_sync(["What is this?", picture])
    (attachment,) = memory.turns()[0].attachments
    assert attachment.data == PIXEL and attachment.kind == "image"
