"""Segments as OpenAI chat messages, for OpenAI and every compatible server.

Turns that came in OpenAI's shape go out as they came. Pages stand in one user message in
front of the live turns, since system messages carry no images everywhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from optimem.readers.pieces import pages_and_turns
from optimem.readers.profile import Profile
from optimem.values import (
    Attachment,
    Json,
    Segment,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)


class ImageBytes(bytes):
    """An image file that is encoded once, however many requests carry it."""

    @cached_property
    def encoded(self) -> str:
        """In base64."""
        return base64.b64encode(self).decode()

    @cached_property
    def url(self) -> str:
        """As a data URL; JPEG when it is no PNG."""
        media_type = "image/png" if self.startswith(b"\x89PNG") else "image/jpeg"
        return f"data:{media_type};base64,{base64.b64encode(self).decode()}"


Image = Callable[[Segment], tuple[str, bytes]]
"""Media type and bytes of a page or attachment segment."""

_OURS = {"id", "time", "timestamp"}  # of a turn, not of the API, which may refuse them


def openai_messages(
    segments: Iterable[Segment], profile: Profile, image: Image
) -> list[dict[str, Any]]:
    """Chat messages in the order of the segments; the same segments give the same bytes."""
    messages: list[dict[str, Any]] = []
    for piece in pages_and_turns(segments):
        if isinstance(piece, Turn):
            messages.extend(_turn_messages(piece))
        else:
            messages.append(_pages(piece, profile, image))
    return messages


def page_url(media_type: str, data: bytes) -> str:
    """An image as a data URL."""
    return data.url if isinstance(data, ImageBytes) else f"data:{media_type};base64,{encoded(data)}"


def encoded(data: bytes) -> str:
    """Bytes in base64."""
    return data.encoded if isinstance(data, ImageBytes) else base64.b64encode(data).decode()


def attachment_url(part: Attachment) -> str:
    """An attachment's own URL, or its bytes as one."""
    if part.data is None:
        return part.url
    return page_url(part.media_type or "application/octet-stream", part.data)


def attachment_text(part: Attachment) -> str:
    """An attachment that an API has no shape for: its block as text, rather than nothing."""
    return json.dumps(dict(part.block))


def _pages(pages: Iterable[Segment], profile: Profile, image: Image) -> dict[str, Any]:
    """The message of the pages, whose end the cache is asked to keep."""
    blocks = [_block(segment, profile, image) for segment in pages]
    if profile.marks_cache:
        blocks[-1]["prompt_cache_breakpoint"] = {"mode": "explicit"}
    return {"role": "user", "content": blocks}


def _block(segment: Segment, profile: Profile, image: Image) -> dict[str, Any]:
    if not segment.is_image:
        return {"type": "text", "text": segment.text}
    url: dict[str, Any] = {"url": page_url(*image(segment))}
    detail = profile.detail(segment)
    if detail is not None and profile.provider == "openai":
        url["detail"] = detail
    return {"type": "image_url", "image_url": url}


def _turn_messages(turn: Turn) -> Iterator[dict[str, Any]]:
    message = {key: value for key, value in turn.message.items() if key not in _OURS}
    if turn.dialect == "openai" and _is_proper(message):
        yield message
        return
    results = [part for part in turn.parts if isinstance(part, ToolResult)]
    for result in results:
        content = _content(result.parts)
        yield {"role": "tool", "tool_call_id": result.call_id, "content": content}
    parts = [part for part in turn.parts if not isinstance(part, (ToolResult, Thinking))]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    spoken = [part for part in parts if isinstance(part, (Text, Attachment))]
    if results and not spoken:
        return
    out: dict[str, Any] = {"role": turn.role, "content": _content(spoken)}
    if turn.name and turn.role != "tool":
        out["name"] = turn.name
    if calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    yield out


def _is_proper(message: Mapping[str, Json]) -> bool:
    """Whether a message's tool calls have OpenAI's full shape."""
    calls = message.get("tool_calls") or ()
    return all(isinstance(call.get("function"), Mapping) for call in calls)


def _content(parts: Iterable[Text | Attachment]) -> Json:
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            blocks.append({"type": "text", "text": part.text})
        elif part.kind == "image" and (part.data is not None or part.url):
            blocks.append({"type": "image_url", "image_url": {"url": attachment_url(part)}})
        elif part.data is not None and part.name:
            file = {"filename": part.name, "file_data": attachment_url(part)}
            blocks.append({"type": "file", "file": file})
        else:
            blocks.append({"type": "text", "text": attachment_text(part)})
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks
