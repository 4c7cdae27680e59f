"""OpenAI's Chat Completions on the wire: `POST /v1/chat/completions`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optimem.testing.exchange import Asked, Block, Call, Rejected, Reply, Tool, Usage
from optimem.values import Json, dump_json

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
REFUSAL = "I'm sorry, but I can't help with that."


def read(body: Mapping[str, Json]) -> Asked:
    """What a chat completion asks.

    Raises:
        Rejected: as the API would.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Rejected("'messages' must be an array with at least one message")
    blocks = list(_tool_blocks(body.get("tools") or ()))
    calls: set[str] = set()
    for number, message in enumerate(messages):
        role = _ROLES.get(message.get("role"))
        if role is None:
            raise Rejected(f"Invalid value: {message.get('role')!r} for messages[{number}].role")
        if role == "tool":
            if message.get("tool_call_id") not in calls:
                raise Rejected(
                    "messages with role 'tool' must be a response to a preceding message"
                    " with 'tool_calls'"
                )
            calls.discard(message["tool_call_id"])
        elif calls:
            raise Rejected(
                "An assistant message with 'tool_calls' must be followed by tool messages"
                f" responding to each 'tool_call_id': {', '.join(sorted(calls))}"
            )
        blocks += _message_blocks(message, role, number)
        for call in message.get("tool_calls") or ():
            calls.add(call["id"])
            function = call["function"]
            words = f"{function['name']} {function['arguments']}"
            blocks.append(Block(role, "call", words, message=number))
    return Asked(
        model=str(body.get("model", "")),
        blocks=tuple(blocks),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters") or {})
            for tool in body.get("tools") or ()
            if tool.get("type") == "function"
        ),
        streamed=bool(body.get("stream")),
        counted=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _tool_blocks(tools: Iterable[Json]) -> Iterator[Block]:
    return (Block("tools", "text", dump_json(tool)) for tool in tools)


def _message_blocks(message: Mapping[str, Json], role: str, number: int) -> Iterator[Block]:
    kind: Any = "result" if role == "tool" else "text"
    content = message.get("content")
    if isinstance(content, str):
        yield Block(role, kind, content, message=number)
        return
    if content is None:
        if role != "assistant":
            raise Rejected(f"Invalid value for 'content' of messages[{number}]: got null")
        return
    for part in content:
        marked = "prompt_cache_breakpoint" in part
        if part["type"] in ("text", "refusal"):
            words = part[part["type"]]
            yield Block(role, kind, words, message=number, breakpoint=marked)
        elif part["type"] == "image_url":
            if role not in ("user", "tool"):
                raise Rejected(f"Image URLs are only allowed for messages with role 'user': {role}")
            image = part["image_url"]
            data = data_url(image["url"])
            level = level_of(image.get("detail"))
            yield Block(role, "image", "", data, level, number, marked)
        else:  # a file or sound: its bytes count as they stand
            yield Block(role, kind, dump_json(part), message=number, breakpoint=marked)


def data_url(url: str) -> bytes:
    """The bytes of an image that is part of its URL."""
    header, comma, encoded = url.partition(",")
    if not comma or not header.startswith("data:image/") or not header.endswith(";base64"):
        raise Rejected("Invalid image: only base64 data URLs can be read here", 400)
    return decode(encoded)


def decode(encoded: str) -> bytes:
    """The bytes of base64, as the web or as URLs spell it."""
    try:
        return base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("Could not process image: its base64 is broken") from None


def level_of(detail: Json) -> str | None:
    """A level of detail; "auto" is the model's default."""
    if detail not in (None, "auto", "low", "high", "original"):
        raise Rejected(f"Invalid value: {detail!r}. Use 'auto', 'low', 'high' or 'original'.")
    return None if detail in (None, "auto") else str(detail)


def write(asked: Asked, reply: Reply, usage: Usage) -> dict[str, Json]:
    """The whole completion."""
    message: dict[str, Json] = {"role": "assistant", "content": reply.text or None}
    message |= {"refusal": REFUSAL if reply.refused else None, "annotations": []}
    if reply.calls:
        message["tool_calls"] = [_call(call) for call in reply.calls]
    choice = {"index": 0, "finish_reason": _finish(reply), "logprobs": None, "message": message}
    return _frame(asked, reply, "chat.completion") | {"choices": [choice], "usage": _usage(usage)}


def stream(asked: Asked, reply: Reply, usage: Usage) -> Iterator[tuple[str, Json]]:
    """The completion piece by piece: (event's name or "", data)."""
    frame = _frame(asked, reply, "chat.completion.chunk")
    deltas: list[dict[str, Json]] = [{"role": "assistant", "content": ""}]
    deltas += ({"content": word} for word in words_of(reply.text))
    if reply.refused:
        deltas.append({"refusal": REFUSAL})
    for index, call in enumerate(reply.calls):
        deltas.append({"tool_calls": [{"index": index, **_call(call)}]})
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield "", frame | {"choices": [choice], "usage": None}
    last = {"index": 0, "delta": {}, "finish_reason": _finish(reply)}
    yield "", frame | {"choices": [last], "usage": None}
    if asked.counted:
        yield "", frame | {"choices": [], "usage": _usage(usage)}
    yield "", "[DONE]"


def error(status: int, kind: str, message: str) -> dict[str, Json]:
    """The body of an error."""
    named = {400: "invalid_request_error", 429: "rate_limit_error", 500: "server_error"}
    return {
        "error": {
            "message": message,
            "type": named.get(status, "invalid_request_error"),
            "param": None,
            "code": kind or None,
        }
    }


def words_of(text: str) -> Sequence[str]:
    """A text in pieces, as a stream brings it."""
    pieces = text.split(" ")
    return [piece + " " for piece in pieces[:-1]] + pieces[-1:] if text else []


def _call(call: Call) -> dict[str, Json]:
    function = {"name": call.name, "arguments": json.dumps(dict(call.arguments))}
    return {"id": call.id, "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    if reply.refused:
        return "content_filter"
    return "tool_calls" if reply.calls else "stop"


def _frame(asked: Asked, reply: Reply, kind: str) -> dict[str, Json]:
    return {"id": f"chatcmpl-{reply.id}", "object": kind, "created": 0, "model": asked.model}


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.written,
            "image_tokens": usage.images,
            "text_tokens": usage.input - usage.images,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
