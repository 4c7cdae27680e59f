"""Segments as Anthropic messages, with the system prompt apart.

Turns that came in Anthropic's shape go out as they came; tool messages of other dialects
become tool_result blocks of one user message, as the API wants them. Its cache reads what
is marked alone: the system prompt, the pages, which stand until the next epoch, and the end
of the conversation are. Marks that turns came with are left out, since only four may stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from optimem.readers.openai import Image, encoded
from optimem.readers.pieces import pages_and_turns
from optimem.values import (
    Attachment,
    Json,
    Part,
    Segment,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)

_MARK = {"type": "ephemeral"}
_MARKABLE = {"text", "image", "document", "tool_use", "tool_result"}


def anthropic_messages(
    segments: Sequence[Segment], image: Image, minimum: int = 1024
) -> list[dict[str, Any]]:
    """Messages in the order of the segments, without the system prompt.

    Args:
        segments: of a context.
        image: gives media type and bytes of a page or attachment segment.
        minimum: tokens of the shortest prompt that is cached: shorter ones are not marked.
    """
    marks = sum(segment.tokens for segment in segments) >= minimum
    messages: list[dict[str, Any]] = []
    answering = False
    for piece in pages_and_turns(each for each in segments if each.kind != "system"):
        if not isinstance(piece, Turn):
            messages.append(_pages(piece, image, marks))
            continue
        message = _turn_message(piece)
        answers = bool(piece.answers) and isinstance(message["content"], list)
        if answering and answers:
            messages[-1]["content"] = [*messages[-1]["content"], *message["content"]]
        else:
            messages.append(message)
        answering = answers
    if messages and marks and segments[-1].turn is not None:
        messages[-1] = _marked(messages[-1])
    return messages


def anthropic_system(segments: Iterable[Segment], minimum: int = 1024) -> Json:
    """The system prompt: as it came where it came apart, else text; None without one.

    Args:
        segments: of a context.
        minimum: tokens from which on it is worth a mark for the cache.
    """
    systems = [s for s in segments if s.kind == "system" and s.turn is not None]
    turns = [s.turn for s in systems if s.turn is not None]
    if len(turns) == 1 and turns[0].dialect == "anthropic":
        content = turns[0].message["content"]
    else:
        content = "\n\n".join(turn.text for turn in turns) or None
    if not content or sum(s.tokens for s in systems) < minimum:
        return content
    return _marked({"content": content})["content"]


def _pages(pages: Iterable[Segment], image: Image, marks: bool) -> dict[str, Any]:
    blocks = [_segment_block(segment, image) for segment in pages]
    if marks:
        blocks[-1]["cache_control"] = dict(_MARK)
    return {"role": "user", "content": blocks}


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its last block marked, where the API takes a mark there."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    if not blocks or not isinstance(blocks[-1], dict) or blocks[-1].get("type") not in _MARKABLE:
        return message
    if blocks[-1].get("text") == "":
        return message
    blocks[-1] = {**blocks[-1], "cache_control": dict(_MARK)}
    return {**message, "content": blocks}


def _unmarked(content: Json) -> Json:
    if isinstance(content, str):
        return content
    return [
        {key: value for key, value in block.items() if key != "cache_control"}
        if isinstance(block, dict)
        else block
        for block in content
    ]


def _segment_block(segment: Segment, image: Image) -> dict[str, Any]:
    if not segment.is_image:
        return {"type": "text", "text": segment.text}
    media_type, data = image(segment)
    return {"type": "image", "source": _base64(media_type, data)}


def _turn_message(turn: Turn) -> dict[str, Any]:
    if turn.dialect == "anthropic" and turn.role != "system":
        content = _unmarked(turn.message.get("content", ""))
        return {"role": turn.message["role"], "content": content}
    role = "assistant" if turn.role == "assistant" else "user"
    blocks = [block for part in turn.parts for block in _blocks(part)]
    if turn.role == "system":  # an instruction amid the conversation has no role of its own
        blocks.insert(0, {"type": "text", "text": "System instruction:"})
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return {"role": role, "content": blocks[0]["text"]}
    return {"role": role, "content": blocks or ""}


def _blocks(part: Part) -> list[dict[str, Any]]:
    if isinstance(part, Thinking):
        return []
    if isinstance(part, Text):  # the API refuses empty text blocks
        return [{"type": "text", "text": part.text}] if part.text else []
    if isinstance(part, ToolCall):
        return [{"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part)}]
    if isinstance(part, ToolResult):
        inner = [block for item in part.parts for block in _blocks(item)]
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id}
        block["content"] = inner
        return [block | {"is_error": True} if part.is_error else block]
    return [_attachment_block(part)]


def _attachment_block(part: Attachment) -> dict[str, Any]:
    kind = "image" if part.kind == "image" else "document"
    if part.data is not None and part.media_type:
        return {"type": kind, "source": _base64(part.media_type, part.data)}
    if part.url:
        return {"type": kind, "source": {"type": "url", "url": part.url}}
    return {"type": "text", "text": json.dumps(dict(part.block))}


def _base64(media_type: str, data: bytes) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": encoded(data)}


def _input(call: ToolCall) -> Json:
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        return {"arguments": call.arguments}
    return value if isinstance(value, dict) else {"arguments": value}
