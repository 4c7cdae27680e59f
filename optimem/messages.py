"""Messages in: OpenAI, Anthropic, Gemini and LangChain shapes become turns, without loss.

The message as it came stays in `Turn.message`; what is parsed here is the neutral view
of it, made by `parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from typing import cast, get_args

from optimem.errors import InputError
from optimem.parts import (
    ITEM_BLOCKS,
    call_part,
    call_parts,
    content_parts,
    gemini_parts,
    is_item,
    item_parts,
    result,
)
from optimem.values import Dialect, Json, Role, ToolCall, ToolResult, Turn, dump_json

SYSTEM_APART = "system_apart"
"""Type of the message that holds Anthropic's `system` argument."""

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_ROLES |= {"developer": "system", "function": "tool"}
_LANGCHAIN_ROLES: dict[str, Role] = {"human": "user", "ai": "assistant", "system": "system"}
_LANGCHAIN_ROLES |= {"tool": "tool", "function": "tool"}
_GEMINI_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "tool"}
_SUCH_AS = '{"role": "user", "content": "…"}'
_LATEST = 1e15  # seconds; a larger number is no time
_DEEPEST = 100  # levels of nesting in a message; no recursion over one can overflow the stack


def parse(
    message: object, *, id: str = "", time: float | None = None, default_id: str = ""
) -> Turn:
    """Read one message of any known shape.

    Args:
        message: a dict in the shape of OpenAI's chat or Responses, Anthropic's, Gemini's or
            LangChain's (`message_to_dict`), what their clients return for one message, a
            LangChain message object, or a `Turn`.
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
        kind = type(message).__name__
        raise InputError(
            f"a message must be a JSON object such as {_SUCH_AS}, or a client's or LangChain's"
            f" message, not {kind}"
        )
    _check_json(message)
    if isinstance(message.get("data"), Mapping) and isinstance(message.get("type"), str):
        return _parse_langchain(message, id, time, default_id)
    role = message.get("role")
    if isinstance(message.get("parts"), Sequence) and "content" not in message:
        return _parse_gemini(message, id, time, default_id)
    if role is None and is_item(message):
        return _parse_item(message, id, time, default_id)
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(f"unknown role {role!r}: use one of {', '.join(_ROLES)}")
    content = message.get("content")
    if "content" not in message and role != "assistant":  # its words may stand under another key
        raise InputError(f"a {role} message needs content, as in {_SUCH_AS}")
    parts = content_parts(content)
    apart = message.get("type") == SYSTEM_APART
    dialect: Dialect = "anthropic" if apart or _is_anthropic(content) else "openai"
    if _has_items(content):
        dialect = "responses"
    parts += call_parts(message.get("tool_calls"))
    neutral = _ROLES[role]
    if isinstance(message.get("function_call"), Mapping):  # OpenAI's shape before tool_calls
        parts += (call_part({"id": "", **message["function_call"]}),)
    if neutral == "tool":
        call_id = message.get("tool_call_id", "" if role == "function" else None)
        if not isinstance(call_id, str):
            raise InputError("a tool message needs the tool_call_id of the call it answers")
        parts = (result(call_id, parts, is_error=False),)
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
    if hasattr(message, "parts"):  # Gemini's, whose images and signatures are bytes
        return cast("Json", message).model_dump(mode="json", exclude_none=True)  # type: ignore[no-any-return]
    dumped = cast("Json", message).model_dump(exclude_none=not hasattr(message, "type"))
    if hasattr(message, "type") and "role" not in dumped and not is_item(dumped):
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
    parts = content_parts(data.get("content"))
    calls = call_parts(data.get("tool_calls")) + call_parts(data.get("invalid_tool_calls"))
    extra = data.get("additional_kwargs")
    if not calls and isinstance(extra, Mapping):
        calls = call_parts(extra.get("tool_calls"))
    if calls:  # content repeats them as blocks
        parts = tuple(part for part in parts if not isinstance(part, ToolCall)) + calls
    if role == "tool":
        call_id = str(data.get("tool_call_id") or "")
        parts = (result(call_id, parts, is_error=data.get("status") == "error"),)
    turn_id = id or own_id(message) or default_id or message_digest(message)
    name = str(data.get("name") or "")
    return Turn(turn_id, role, parts, name, time, "langchain", message)


def _parse_gemini(
    message: Mapping[str, Json], id: str, time: float | None, default_id: str
) -> Turn:
    said = str(message.get("role") or "user")
    role = _GEMINI_ROLES.get(said)
    if role is None:
        raise InputError(f"unknown role {said!r}: Gemini's are {', '.join(_GEMINI_ROLES)}")
    parts = gemini_parts(message["parts"])
    if parts and all(isinstance(part, ToolResult) for part in parts):
        role = "tool"
    turn_id = id or own_id(message) or default_id or message_digest(message)
    when = _time(message) if time is None else time
    return Turn(turn_id, role, parts, "", when, "gemini", message)


def _parse_item(message: Mapping[str, Json], id: str, time: float | None, default_id: str) -> Turn:
    """One item of the Responses API that is no message: a call, its output, reasoning."""
    parts = item_parts(message)
    role: Role = "tool" if any(isinstance(part, ToolResult) for part in parts) else "assistant"
    turn_id = id or own_id(message) or default_id or message_digest(message)
    when = _time(message) if time is None else time
    return Turn(turn_id, role, parts, "", when, "responses", message)


def _has_items(content: Json) -> bool:
    if not isinstance(content, Sequence) or isinstance(content, str):
        return False
    blocks = (block for block in content if isinstance(block, Mapping))
    return any(block.get("type") in ITEM_BLOCKS for block in blocks)


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
