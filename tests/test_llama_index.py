"""OptiMemBlock in LlamaIndex's own memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import Memory as ShortTermMemory

from optimem import Memory
from optimem.integrations.llama_index import OptiMemBlock

LONG = "The harbour of that town was built of grey stone, and the boats were painted blue. " * 40


@pytest.fixture
def memory() -> Any:
    with Memory.open("memory://", "42") as opened:
        yield opened


def block(memory: Memory, budget: int = 8_000) -> OptiMemBlock:
    return OptiMemBlock(memory=memory, reader="openai:gpt-6-astra", budget=budget)


def messages(count: int) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=f"Note {number}: {LONG}") for number in range(count)]


def test_what_leaves_short_term_memory_comes_back_as_pages(memory: Memory) -> None:
    async def run() -> list[ChatMessage]:
        short = ShortTermMemory.from_defaults(
            session_id="42",
            token_limit=14_000,
            chat_history_token_ratio=0.3,
            token_flush_size=1_000,
            memory_blocks=[block(memory)],
        )
        for number, message in enumerate(messages(30)):
            await short.aput(message)
            await short.aput(ChatMessage(role="assistant", content=f"Noted {number}."))
        found: list[ChatMessage] = await short.aget()
        store: Any = short.sql_store  # left alone it warns when it is collected
        await store._async_engine.dispose()
        return found

    found = asyncio.run(run())
    texts = [turn.text for turn in memory.turns()]
    assert len(texts) > 30 and texts[0].startswith("Note 0:") and texts[1] == "Noted 0."
    blocks = [block for message in found for block in message.blocks]
    assert sum(isinstance(block, ImageBlock) for block in blocks) >= 2
    assert "Page 0, turns" in str([b.text for b in blocks if isinstance(b, TextBlock)])
    assert found[-1].content == "Noted 29."


def test_an_empty_session_is_an_empty_block(memory: Memory) -> None:
    assert asyncio.run(block(memory).aget()) == []


def test_a_block_is_truncated_to_fewer_tokens(memory: Memory) -> None:
    made = block(memory)
    asyncio.run(made.aput(messages(24)))
    whole = asyncio.run(made.aget())
    less = asyncio.run(made.atruncate(whole, 3_000))
    assert less is not None and 0 < len(less)
    assert len(str(less)) < len(str(whole))
    assert asyncio.run(made.atruncate(whole, 8_000)) is None
    assert asyncio.run(made.atruncate(whole, 7_990)) is None


def test_images_and_tool_messages_are_kept(memory: Memory) -> None:
    image = ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png")
    said = [
        ChatMessage(role="user", blocks=[TextBlock(text="Look."), image]),
        ChatMessage(role="tool", content="found", additional_kwargs={"tool_call_id": "c1"}),
    ]
    asyncio.run(block(memory).aput(said))
    first, second = memory.turns()
    assert first.attachments[0].kind == "image" and first.text == "Look."
    assert second.text == "found" and second.role == "user"
