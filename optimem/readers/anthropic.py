"""Segments as Anthropic messages, with the system prompt apart.

Turns that came in Anthropic's shape go out as they came; tool messages of other dialects
become tool_result blocks of one user message, as the API wants them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from optimem.readers.openai import Image
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


def anthropic_messages(segments: Iterable[Segment], image: Image) -> list[dict[str, Any]]:
    """Messages in the order of the segments, without the system prompt."""
    messages: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    answering = False
    for segment in segments:
        if segment.kind == "system":
            continue
        if segment.turn is None:
            blocks.append(_segment_block(segment, image))
            continue
        if blocks:
            messages.append({"role": "user", "content": blocks})
            blocks = []
        message = _turn_message(segment.turn)
        if answering and segment.turn.answers and isinstance(message["content"], list):
            messages[-1]["content"] = [*messages[-1]["content"], *message["content"]]
        else:
            messages.append(message)
        answering = bool(segment.turn.answers) and isinstance(message["content"], list)
    if blocks:
        messages.append({"role": "user", "content": blocks})
    return messages


def anthropic_system(segments: Iterable[Segment]) -> Json:
    """The system prompt: as it came where it came apart, else text; None without one."""
    turns = [s.turn for s in segments if s.kind == "system" and s.turn is not None]
    if len(turns) == 1 and turns[0].dialect == "anthropic":
        return turns[0].message["content"]
    return "\n\n".join(turn.text for turn in turns) or None


def _segment_block(segment: Segment, image: Image) -> dict[str, Any]:
    if not segment.is_image:
        return {"type": "text", "text": segment.text}
    media_type, data = image(segment)
    return {"type": "image", "source": _base64(media_type, data)}


def _turn_message(turn: Turn) -> dict[str, Any]:
    if turn.dialect == "anthropic" and turn.role != "system":
        return {key: turn.message[key] for key in ("role", "content") if key in turn.message}
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
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


def _input(call: ToolCall) -> Json:
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        return {"arguments": call.arguments}
    return value if isinstance(value, dict) else {"arguments": value}
