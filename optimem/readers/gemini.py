"""Segments as Gemini's contents and config, as the google-genai client takes them.

Turns that came in Gemini's shape go out as they came, thought signatures included. Images
are bytes, which the client encodes; each carries the media resolution that its size is for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from optimem.readers.openai import Image, attachment_text
from optimem.readers.pieces import pages_and_turns
from optimem.readers.profile import Profile
from optimem.values import Attachment, Json, Part, Segment, Text, ToolCall, ToolResult, Turn

_BLOBS = {"inline_data": "data", "inlineData": "data"}
_SIGNATURES = ("thought_signature", "thoughtSignature")


def gemini_contents(
    segments: Iterable[Segment], profile: Profile, image: Image
) -> list[dict[str, Any]]:
    """Contents in the order of the segments, without the system prompt."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of calls, by id: their results need them
    answering = False
    for piece in pages_and_turns(each for each in segments if each.kind != "system"):
        if not isinstance(piece, Turn):
            parts: list[Json] = [_page_part(segment, profile, image) for segment in piece]
            _add(contents, "user", parts, join=True)
            continue
        names.update({part.id: part.name for part in piece.parts if isinstance(part, ToolCall)})
        role = "model" if piece.role == "assistant" else "user"
        parts = list(_turn_parts(piece, names))
        _add(contents, role, parts, join=answering and bool(piece.answers))
        answering = bool(piece.answers)
    return contents


def gemini_system(segments: Iterable[Segment]) -> str | None:
    """The system prompt as text; None without one."""
    turns = [each.turn for each in segments if each.kind == "system" and each.turn is not None]
    return "\n\n".join(turn.text for turn in turns) or None


def _add(contents: list[dict[str, Any]], role: str, parts: list[Json], *, join: bool) -> None:
    """Join what the API wants in one content: pages, and all the answers to one turn's calls."""
    if not parts:
        return
    if join and contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _page_part(segment: Segment, profile: Profile, image: Image) -> dict[str, Any]:
    if not segment.is_image:
        return {"text": segment.text}
    media_type, data = image(segment)
    part: dict[str, Any] = {"inline_data": {"mime_type": media_type, "data": data}}
    level = profile.detail(segment)
    if level is not None and "budget" in profile.levels.get(level, {}):
        part["media_resolution"] = {"level": f"MEDIA_RESOLUTION_{level.upper()}"}
    return part


def _turn_parts(turn: Turn, names: Mapping[str, str]) -> Iterator[Json]:
    if turn.dialect == "gemini":
        yield from map(_as_it_came, turn.message["parts"])
        return
    if turn.role == "system":  # an instruction amid the conversation has no role of its own
        yield {"text": "System instruction:"}
    for part in turn.parts:
        yield from _part(part, names)


def _as_it_came(part: Json) -> Json:
    """With bytes where the client wants bytes."""
    if not isinstance(part, Mapping):
        return {"text": part}
    found = dict(part)
    for key in _SIGNATURES:
        if isinstance(found.get(key), str):
            found[key] = _bytes(found[key])
    for key, inner in _BLOBS.items():
        blob = found.get(key)
        if isinstance(blob, Mapping) and isinstance(blob.get(inner), str):
            found[key] = {**blob, inner: _bytes(blob[inner])}
    return found


def _bytes(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded.replace("+", "-").replace("/", "_"))


def _part(part: Part, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    if isinstance(part, Text):
        if part.text:
            yield {"text": part.text}
    elif isinstance(part, ToolCall):
        yield {"function_call": {"id": part.id, "name": part.name, "args": _arguments(part)}}
    elif isinstance(part, ToolResult):
        yield from _result(part, names)
    elif isinstance(part, Attachment):
        yield _attachment(part)


def _result(part: ToolResult, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    text = "\n".join(item.text for item in part.parts if isinstance(item, Text))
    answer = {"id": part.call_id, "name": names.get(part.call_id, part.call_id)}
    said = {"error" if part.is_error else "result": text}
    yield {"function_response": {**answer, "response": said}}
    yield from (_attachment(item) for item in part.parts if isinstance(item, Attachment))


def _arguments(call: ToolCall) -> Json:
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        return {"arguments": call.arguments}
    return value if isinstance(value, dict) else {"arguments": value}


def _attachment(part: Attachment) -> dict[str, Any]:
    if part.data is not None and part.media_type:
        return {"inline_data": {"mime_type": part.media_type, "data": part.data}}
    if part.url and part.media_type:
        return {"file_data": {"mime_type": part.media_type, "file_uri": part.url}}
    if part.url:
        return {"file_data": {"file_uri": part.url}}
    return {"text": attachment_text(part)}
