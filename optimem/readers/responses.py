"""Segments as the input items of OpenAI's Responses API.

Items that came from it go out as they came, but for their ids: an answer that is kept
without the reasoning before it would else be refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from optimem.readers.openai import Image, attachment_text, attachment_url, page_url
from optimem.readers.pieces import pages_and_turns
from optimem.readers.profile import Profile
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

_OURS = {"id", "time", "timestamp", "status"}  # of a turn or a past answer, not of the input


def response_items(
    segments: Iterable[Segment], profile: Profile, image: Image
) -> list[dict[str, Any]]:
    """Input items in the order of the segments; the same segments give the same bytes."""
    items: list[dict[str, Any]] = []
    for piece in pages_and_turns(segments):
        if isinstance(piece, Turn):
            items.extend(_turn_items(piece))
        else:
            items.append(_pages(piece, profile, image))
    return items


def _pages(pages: Iterable[Segment], profile: Profile, image: Image) -> dict[str, Any]:
    blocks = [_block(segment, profile, image) for segment in pages]
    if profile.marks_cache:
        blocks[-1]["prompt_cache_breakpoint"] = {"mode": "explicit"}
    return {"role": "user", "content": blocks}


def _block(segment: Segment, profile: Profile, image: Image) -> dict[str, Any]:
    if not segment.is_image:
        return {"type": "input_text", "text": segment.text}
    detail = profile.detail(segment) or "auto"
    return {"type": "input_image", "image_url": page_url(*image(segment)), "detail": detail}


def _turn_items(turn: Turn) -> Iterator[dict[str, Any]]:
    if turn.dialect == "responses":
        kept = turn.message.get("type") == "reasoning"  # whose id is how it is found again
        ours = _OURS - {"id"} if kept else _OURS
        yield {key: value for key, value in turn.message.items() if key not in ours}
        return
    spoken: list[Text | Attachment] = []
    for part in turn.parts:
        if isinstance(part, (Text, Attachment)):
            spoken.append(part)
    if spoken or not turn.parts:
        yield {
            "role": turn.role if turn.role != "tool" else "user",
            "content": _spoken(turn, spoken),
        }
    yield from (item for part in turn.parts for item in _item(part))


def _item(part: Part) -> Iterator[dict[str, Any]]:
    if isinstance(part, ToolCall):
        call = {"call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
        yield {"type": "function_call", **call}
    elif isinstance(part, ToolResult):
        plain = all(isinstance(item, Text) for item in part.parts)
        texts = [item.text for item in part.parts if isinstance(item, Text)]
        output: Json = "\n".join(texts) if plain else [_content(item) for item in part.parts]
        yield {"type": "function_call_output", "call_id": part.call_id, "output": output}


def _spoken(turn: Turn, parts: list[Text | Attachment]) -> Json:
    if all(isinstance(part, Text) for part in parts) or turn.role == "assistant":
        return "\n".join(
            part.text if isinstance(part, Text) else attachment_text(part) for part in parts
        )
    return [_content(part) for part in parts]


def _content(part: Text | Attachment | Thinking) -> dict[str, Any]:
    if isinstance(part, (Text, Thinking)):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image" and (part.data is not None or part.url):
        return {"type": "input_image", "image_url": attachment_url(part), "detail": "auto"}
    if part.data is not None and part.name:
        url = attachment_url(part)
        return {"type": "input_file", "filename": part.name, "file_data": url}
    return {"type": "input_text", "text": attachment_text(part)}
