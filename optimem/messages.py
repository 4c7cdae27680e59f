"""Messages in: OpenAI, Anthropic and LangChain shapes become turns, and back, without loss.

The message as it came stays in `Turn.message`; what is parsed here is the neutral view
of it. Nothing is dropped: a block of an unknown type becomes a file attachment that
carries the block.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from typing import cast, get_args

from optimem.errors import InputError
from optimem.values import (
    Attachment,
    Dialect,
    Json,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    dump_json,
)

SYSTEM_APART = "system_apart"
"""Type of the message that holds Anthropic's `system` argument."""

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_ROLES |= {"developer": "system", "function": "tool"}
_LANGCHAIN_ROLES: dict[str, Role] = {"human": "user", "ai": "assistant", "system": "system"}
_LANGCHAIN_ROLES |= {"tool": "tool", "function": "tool"}
_LATEST = 1e15  # seconds; a larger number is no time
_TEXT_BLOCKS = {"text", "input_text", "output_text", "refusal"}
_DEEPEST = 100  # levels of nesting in a message; no recursion over one can overflow the stack


def parse(
    message: object, *, id: str = "", time: float | None = None, default_id: str = ""
) -> Turn:
    """Read one message of any known shape.

    Args:
        message: a dict in OpenAI's, Anthropic's or LangChain's (`message_to_dict`) shape,
            a LangChain message object, or a `Turn`.
        id: the turn's id; by default the message's own.
        default_id: the id of a message without one; by default one made from its content.
        time: seconds since the epoch; by default the message's `timestamp` or `time`.

    Raises:
        InputError: the message cannot be read; the sentence says where and why.
    """
    if isinstance(message, Turn):
        return replace(message, id=id or message.id, time=message.time if time is None else time)
    if not isinstance(message, Mapping) and hasattr(message, "model_dump"):
        message = _plain(message)
    if not isinstance(message, Mapping):
        raise InputError(f"a message must be a JSON object, not {type(message).__name__}")
    _check_json(message)
    if isinstance(message.get("data"), Mapping) and isinstance(message.get("type"), str):
        return _parse_langchain(message, id, time, default_id)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(f"unknown role {role!r}: use one of {', '.join(_ROLES)}")
    content = message.get("content")
    parts = _content_parts(content)
    apart = message.get("type") == SYSTEM_APART
    dialect: Dialect = "anthropic" if apart or _is_anthropic(content) else "openai"
    parts += _call_parts(message.get("tool_calls"))
    neutral = _ROLES[role]
    if isinstance(message.get("function_call"), Mapping):  # OpenAI's shape before tool_calls
        parts += (_call_part({"id": "", **message["function_call"]}),)
    if neutral == "tool":
        call_id = message.get("tool_call_id", "" if role == "function" else None)
        if not isinstance(call_id, str):
            raise InputError("a tool message needs the tool_call_id of the call it answers")
        parts = (_result(call_id, parts, is_error=False),)
    elif parts and all(isinstance(part, ToolResult) for part in parts):
        neutral = "tool"
    name = message.get("name")
    return Turn(
        id=id or own_id(message) or default_id or message_digest(message),
        role=neutral,
        parts=parts,
        name=name if isinstance(name, str) else "",
        time=_time(message) if time is None else time,
        dialect=dialect,
        message=cast("Mapping[str, Json]", message),
    )


def message_digest(message: Json, index: int | None = None) -> str:
    """An id from a message's content and, where given, its place."""
    return sha256(f"{index}:{dump_json(message)}".encode()).hexdigest()[:24]


def own_id(message: Json) -> str:
    """The id that a message came with, or ""."""
    if not isinstance(message, Mapping):
        return ""
    data = message.get("data")  # LangChain's
    own = data.get("id") if isinstance(data, Mapping) else message.get("id")
    return own if isinstance(own, str) else ""


def _check_json(message: Mapping[Json, Json]) -> None:
    """Raise InputError for what JSON cannot hold, and for nesting that nobody could walk."""
    level: list[Json] = [dict(message)]
    for _ in range(_DEEPEST):
        deeper: list[Json] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    raise InputError("the keys of a message must be strings")
                deeper += value.values()
            elif isinstance(value, (list, tuple)):
                deeper += value
            elif not isinstance(value, (str, int, float, type(None))):
                kind = type(value).__name__
                raise InputError(f"a message must be plain JSON, and it holds a {kind}")
        if not deeper:
            return
        level = deeper
    raise InputError(f"a message is nested too deeply: at most {_DEEPEST} levels can be read")


def _plain(message: object) -> Mapping[str, Json]:
    """A pydantic message (LangChain's, or a client's response) as the dict it stands for."""
    dumped = cast("Json", message).model_dump(exclude_none=not hasattr(message, "type"))
    if hasattr(message, "type") and "role" not in dumped:
        return {"type": cast("Json", message).type, "data": dumped}
    return cast("Mapping[str, Json]", dumped)


def _parse_langchain(
    message: Mapping[str, Json], id: str, time: float | None, default_id: str
) -> Turn:
    kind, data = message["type"], message["data"]
    plain = kind.removesuffix("MessageChunk").lower()  # a streamed part is a message too
    role = _LANGCHAIN_ROLES.get(plain) or _ROLES.get(str(data.get("role", "")))
    if role is None:
        known = ", ".join(_LANGCHAIN_ROLES)
        raise InputError(f"unknown LangChain message type {kind!r}: use one of {known}")
    parts = _content_parts(data.get("content"))
    calls = _call_parts(data.get("tool_calls")) + _call_parts(data.get("invalid_tool_calls"))
    extra = data.get("additional_kwargs")
    if not calls and isinstance(extra, Mapping):
        calls = _call_parts(extra.get("tool_calls"))
    if calls:  # content repeats them as blocks
        parts = tuple(part for part in parts if not isinstance(part, ToolCall)) + calls
    if role == "tool":
        call_id = str(data.get("tool_call_id") or "")
        parts = (_result(call_id, parts, is_error=data.get("status") == "error"),)
    turn_id = id or own_id(message) or default_id or message_digest(message)
    name = str(data.get("name") or "")
    return Turn(turn_id, role, parts, name, time, "langchain", message)


def _content_parts(content: Json) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if not isinstance(content, Sequence):
        kind = type(content).__name__
        raise InputError(f"content must be text or a list of blocks, not {kind}")
    return tuple(_block_part(block) for block in content)


def _block_part(block: Json) -> Part:
    if isinstance(block, str):
        return Text(block)
    if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
        raise InputError("a content block must be text or an object with a type")
    kind = block["type"]
    if kind in _TEXT_BLOCKS and isinstance(block.get(kind, block.get("text")), str):
        return Text(block.get(kind, block.get("text")))
    if kind in ("thinking", "reasoning") and isinstance(block.get(kind), str):
        return Thinking(block[kind])
    if kind in ("tool_use", "tool_call"):
        return _call_part(block)
    if kind == "tool_result":
        call_id = block.get("tool_use_id")
        if not isinstance(call_id, str):
            raise InputError("a tool result needs the tool_use_id of the call it answers")
        inner = _content_parts(block.get("content"))
        return _result(call_id, inner, is_error=bool(block.get("is_error")))
    return _attachment(kind, block)


def _attachment(kind: str, block: Mapping[str, Json]) -> Attachment:
    source = block.get("source") or block.get("image_url") or block.get("file") or block
    source = {"url": source} if isinstance(source, str) else source
    source = source if isinstance(source, Mapping) else {}
    media_type = str(source.get("media_type") or source.get("mime_type") or "")
    url = str(source.get("url") or "")
    encoded = source.get("data") or source.get("base64") or source.get("file_data") or ""
    if url.startswith("data:"):
        header, _, encoded = url.partition(",")
        media_type, url = header[5:].partition(";")[0], ""
    elif isinstance(encoded, str) and encoded.startswith("data:"):
        header, _, encoded = encoded.partition(",")
        media_type = header[5:].partition(";")[0]
    is_image = kind in ("image", "image_url", "input_image")
    return Attachment(
        kind="image" if is_image else "file",
        media_type=media_type,
        data=_decode(encoded),
        url=url,
        name=str(source.get("filename") or block.get("title") or ("" if is_image else kind)),
        block=block,
    )


def _decode(encoded: Json) -> bytes | None:
    if not isinstance(encoded, str) or not encoded:
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None  # the block keeps what came


def _call_parts(calls: Json) -> tuple[ToolCall, ...]:
    if calls is not None and (not isinstance(calls, Sequence) or isinstance(calls, str)):
        raise InputError("tool_calls must be a list")
    return tuple(_call_part(call) for call in calls or ())


def _call_part(call: Json) -> ToolCall:
    if not isinstance(call, Mapping):
        raise InputError("a tool call must be an object")
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    name = function.get("name")
    if call.get("type") == "invalid_tool_call":  # LangChain's, for what a model garbled
        name = name or ""
    if not isinstance(name, str):
        raise InputError("a tool call needs the name of its function")
    # OpenAI's word, LangChain's and Anthropic's
    spelled = next((key for key in ("arguments", "args", "input") if key in function), "")
    arguments = function.get(spelled, {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(str(call.get("id") or ""), name, arguments)


def _result(call_id: str, parts: tuple[Part, ...], *, is_error: bool) -> ToolResult:
    inner = tuple(part for part in parts if isinstance(part, (Text, Attachment)))
    return ToolResult(call_id, inner, is_error)


def _is_anthropic(content: Json) -> bool:
    if not isinstance(content, Sequence) or isinstance(content, str):
        return False
    blocks = [block for block in content if isinstance(block, Mapping)]
    kinds = {block.get("type") for block in blocks}
    return bool(kinds & {"tool_use", "tool_result", "thinking", "redacted_thinking"}) or any(
        isinstance(block.get("source"), Mapping) for block in blocks
    )


def _time(message: Mapping[str, Json]) -> float | None:
    stamp = message.get("timestamp", message.get("time"))
    if isinstance(stamp, (int, float)) and not isinstance(stamp, bool):
        return float(stamp) if abs(stamp) < _LATEST else None
    if isinstance(stamp, str):
        try:
            moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return None
