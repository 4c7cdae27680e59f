"""A history processor for pydantic-ai: `pip install 'optimem[pydantic-ai]'`.

    faded = FadedHistory(memory, "openai:gpt-6-astra", budget=20_000)
    agent = Agent("openai:gpt-6-astra", capabilities=[ProcessHistory(faded)])

pydantic-ai keeps what a processor returns as the run's history. So pages carry a mark in their
metadata, and what they stand for is in the memory, where every message went first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optimem.context import Context
from optimem.errors import MissingExtraError
from optimem.memory import Memory
from optimem.messages import message_digest
from optimem.readers import Profile
from optimem.values import Json, dump_json

try:
    from pydantic_ai.messages import (
        BinaryContent,
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        UserPromptPart,
    )
except ImportError:
    raise MissingExtraError("A history processor for pydantic-ai", "pydantic-ai") from None

_MARK = "optimem"
_Pair = tuple[ModelMessage, list[str]]
"""A message, and the ids of the turns that it is in the log."""


class FadedHistory:
    """Puts pages in place of older messages, and keeps all of them in a memory.

    Args:
        memory: the session; one conversation at a time.
        reader: whom the agent asks.
        budget: the most tokens of its messages; see `Memory.context`.
    """

    def __init__(self, memory: Memory, reader: str | Profile, budget: int | None = None) -> None:
        self.memory = memory
        self._reader = reader
        self._budget = budget

    async def __call__(self, messages: list[ModelMessage]) -> list[ModelMessage]:
        """What pydantic-ai calls before each request."""
        return await asyncio.to_thread(self.fade, messages)

    def fade(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        """The messages to send; those that are new are kept first."""
        start, live = _without_pages(messages)
        pairs = [(m, self._keep(m, number)) for number, m in enumerate(live, start)]
        context = self.memory.context(self._reader, self._budget)
        if all(segment.turn is not None for segment in context.segments):
            return live
        shown = {segment.turn.id for segment in context.segments if segment.turn is not None}
        kept = next((n for n, pair in enumerate(pairs) if _is_shown(pair, shown)), len(pairs))
        return _with_pages(_prompt(context), start + kept, live[kept:])

    def _keep(self, message: ModelMessage, number: int) -> list[str]:
        """Log a message, once, as turns; returns their ids."""
        (dumped,) = ModelMessagesTypeAdapter.dump_python([message], mode="json")
        name = message_digest(dump_json(dumped["parts"]), number)
        turns = list(_turns(dumped))
        return self.memory.extend([{**turn, "id": f"{name}-{n}"} for n, turn in enumerate(turns)])


def _with_pages(
    pages: UserPromptPart, covered: int, live: list[ModelMessage]
) -> list[ModelMessage]:
    """Live messages behind pages, in one request with the first: pydantic-ai would join them."""
    first = live[0] if live else None
    if not isinstance(first, ModelRequest):
        return [ModelRequest(parts=[pages], metadata={_MARK: covered}), *live]
    marked = replace(
        first, parts=[pages, *first.parts], metadata={**(first.metadata or {}), _MARK: covered}
    )
    return [marked, *live[1:]]


def _without_pages(messages: Sequence[ModelMessage]) -> tuple[int, list[ModelMessage]]:
    """How many messages stand on the pages of an earlier call, and the others as they came."""
    covered = 0
    live: list[ModelMessage] = []
    for message in messages:
        mark = (message.metadata or {}).get(_MARK) if isinstance(message, ModelRequest) else None
        if not isinstance(message, ModelRequest) or not isinstance(mark, int):
            live.append(message)
            continue
        covered = mark
        if len(message.parts) > 1:
            rest = {key: value for key, value in (message.metadata or {}).items() if key != _MARK}
            live.append(replace(message, parts=message.parts[1:], metadata=rest or None))
    return covered, live


def _is_shown(pair: _Pair, shown: set[str]) -> bool:
    return not pair[1] or any(id in shown for id in pair[1])


def _prompt(context: Context) -> UserPromptPart:
    content: list[Any] = []
    for segment in context.segments:
        if segment.turn is not None:
            continue
        if not segment.is_image:
            content.append(segment.text)
            continue
        media_type, data = context.image(segment)
        detail = context.reader.detail(segment)
        extra: dict[str, Json] = {"detail": detail} if detail else {}
        if detail and context.reader.provider == "google":
            extra = {"media_resolution": {"level": f"MEDIA_RESOLUTION_{detail.upper()}"}}
        content.append(BinaryContent(data, media_type=media_type, vendor_metadata=extra or None))
    return UserPromptPart(content=content)


def _turns(message: dict[str, Json]) -> list[dict[str, Json]]:
    """A message's parts as chat messages, which every reader takes."""
    if message["kind"] == "response":
        text = "\n".join(p["content"] for p in message["parts"] if p["part_kind"] == "text")
        calls = [
            {
                "id": part["tool_call_id"],
                "type": "function",
                "function": {"name": part["tool_name"], "arguments": _text(part["args"])},
            }
            for part in message["parts"]
            if part["part_kind"] == "tool-call"
        ]
        said: dict[str, Json] = {"role": "assistant", "content": text or None}
        return [said | ({"tool_calls": calls} if calls else {})]
    return [_turn(part) for part in message["parts"]]


def _turn(part: dict[str, Json]) -> dict[str, Json]:
    content = part.get("content")
    if part.get("tool_call_id") and part.get("tool_name"):
        return {"role": "tool", "tool_call_id": part["tool_call_id"], "content": _text(content)}
    if part["part_kind"] == "system-prompt":
        return {"role": "system", "content": content}
    if isinstance(content, list):
        return {"role": "user", "content": [_block(item) for item in content]}
    return {"role": "user", "content": _text(content)}


def _block(item: Json) -> dict[str, Json]:
    """A piece of a prompt; binary content is base64 in what pydantic-ai dumps."""
    if isinstance(item, str):
        return {"type": "text", "text": item}
    if item.get("kind") == "image-url":
        return {"type": "image_url", "image_url": {"url": item["url"]}}
    if item.get("kind") == "binary" and item["media_type"].startswith("image/"):
        # Written without padding, and with the letters of URLs.
        data = item["data"].replace("-", "+").replace("_", "/")
        url = f"data:{item['media_type']};base64,{data}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": dump_json(item)}


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dump_json(value)
