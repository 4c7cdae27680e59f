"""A memory block for LlamaIndex: `pip install 'optimem[llama-index]'`.

    block = OptiMemBlock(memory=memory, reader="openai:gpt-6-astra", budget=8_000)
    memory = Memory.from_defaults(session_id="42", memory_blocks=[block])

What leaves LlamaIndex's short-term memory goes into the session, and comes back as pages.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from optimem.context import Context
from optimem.errors import BudgetError, MissingExtraError
from optimem.memory import Memory
from optimem.readers import find_reader
from optimem.values import Json

try:
    from llama_index.core.base.llms.types import (
        ChatMessage,
        ContentBlock,
        ImageBlock,
        TextBlock,
    )
    from llama_index.core.memory import BaseMemoryBlock
    from pydantic import Field
except ImportError:
    raise MissingExtraError("A memory block for LlamaIndex", "llama-index") from None

_ROLES = {"chatbot": "assistant", "model": "assistant", "developer": "system"}


class OptiMemBlock(BaseMemoryBlock[list[ChatMessage]]):
    """A session as a block: older turns as pages, the newest as text, within a budget.

    Attributes:
        memory: the session.
        reader: whom the agent asks.
        budget: the most tokens of the block.
    """

    name: str = Field(default="EarlierTurns")
    description: str | None = Field(default="Earlier turns of this conversation.")
    memory: Memory = Field(exclude=True)
    reader: str
    budget: int = 8_000

    async def _aget(
        self, messages: list[ChatMessage] | None = None, **block_kwargs: Any
    ) -> list[ChatMessage]:
        return await asyncio.to_thread(self._messages, self.budget)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self.memory.aextend([_plain(message) for message in messages])

    async def atruncate(
        self, content: list[ChatMessage], tokens_to_truncate: int
    ) -> list[ChatMessage] | None:
        """The block within so many tokens less; None when nothing fits."""
        budget = self.budget - tokens_to_truncate
        if budget < 1:
            return None
        try:
            return await asyncio.to_thread(self._messages, budget)
        except BudgetError:
            return None

    def _messages(self, budget: int) -> list[ChatMessage]:
        if not self.memory.store.state(self.memory.scope).turns:
            return []
        return _content(self.memory.context(find_reader(self.reader), budget))


def _content(context: Context) -> list[ChatMessage]:
    """Pages in a user's message, since a system's holds no images; then the live turns."""
    pages: list[ContentBlock] = []
    live: list[ChatMessage] = []
    for segment in context.segments:
        if segment.turn is not None:
            live.append(ChatMessage(role=segment.turn.role, content=segment.turn.text))
        elif segment.is_image:
            media_type, data = context.image(segment)
            image = base64.b64encode(data)
            detail = context.reader.detail(segment)
            pages.append(ImageBlock(image=image, image_mimetype=media_type, detail=detail))
        else:
            pages.append(TextBlock(text=segment.text))
    return [ChatMessage(role="user", blocks=pages), *live] if pages else live


def _plain(message: ChatMessage) -> dict[str, Json]:
    """A message as a chat message; its blocks stay what they are, as JSON."""
    role = _ROLES.get(str(message.role.value), str(message.role.value))
    if role in ("tool", "function"):  # results come without their calls: they stay words
        role = "user"
    blocks = [_block(block.model_dump(mode="json", exclude_none=True)) for block in message.blocks]
    return {"role": role, "content": blocks}


def _block(block: dict[str, Json]) -> dict[str, Json]:
    if block.get("block_type") == "text":
        return {"type": "text", "text": block["text"]}
    if block.get("block_type") == "image" and block.get("image"):
        media_type = block.get("image_mimetype") or "image/png"
        url = f"data:{media_type};base64,{block['image']}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": str(block.get("block_type") or "file"), **block}
