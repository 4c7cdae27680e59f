"""Anthropic's Messages on the wire: `POST /v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optimem.testing.chat import decode, words_of
from optimem.testing.exchange import Asked, Block, Rejected, Reply, Tool, Usage
from optimem.values import Json, dump_json

_MOST_BREAKPOINTS = 4
_FORMATS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def read(body: Mapping[str, Json]) -> Asked:
    """What a message request asks.

    Raises:
        Rejected: as the API would.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Rejected("messages: at least one message is required")
    blocks = []
    for tool in body.get("tools") or ():
        words = dump_json({k: v for k, v in tool.items() if k != "cache_control"})
        blocks.append(Block("tools", "text", words, breakpoint="cache_control" in tool))
    system = body.get("system") or ()
    for part in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        if part.get("type") != "text":
            raise Rejected("system: only text blocks are allowed")
        words = part["text"]
        blocks.append(Block("system", "text", words, breakpoint="cache_control" in part))
    if messages[0].get("role") != "user":
        raise Rejected('messages: first message must use the "user" role')
    calls: list[str] = []
    for number, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            raise Rejected(f'messages: Unexpected role "{message.get("role")}"')
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        answered = [part["tool_use_id"] for part in content if part["type"] == "tool_result"]
        if missing := set(calls) - set(answered):
            raise Rejected(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks"
                f" immediately after: {', '.join(sorted(missing))}"
            )
        if unknown := set(answered) - set(calls):
            raise Rejected(
                f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks:"
                f" {', '.join(sorted(unknown))}"
            )
        calls = [part["id"] for part in content if part["type"] == "tool_use"]
        if not content and number < len(messages) - 1:
            raise Rejected(f"messages.{number}: all messages must have non-empty content")
        for part in content:
            blocks += _blocks(part, message["role"], number)
    if "max_tokens" not in body:
        raise Rejected("max_tokens: Field required")
    if sum(block.breakpoint for block in blocks) > _MOST_BREAKPOINTS:
        raise Rejected("A maximum of 4 blocks with cache_control may be provided.")
    if body.get("cache_control"):  # the last block is the breakpoint
        blocks[-1] = _marked(blocks[-1])
    return Asked(
        model=str(body.get("model", "")),
        blocks=tuple(blocks),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"])
            for tool in body.get("tools") or ()
            if "input_schema" in tool
        ),
        streamed=bool(body.get("stream")),
    )


def _marked(block: Block) -> Block:
    return Block(block.role, block.kind, block.text, block.image, block.level, block.message, True)


def _blocks(part: Mapping[str, Json], role: str, number: int) -> Iterator[Block]:
    kind, marked = part["type"], "cache_control" in part
    if kind == "text":
        if not part["text"]:
            raise Rejected(f"messages.{number}: text content blocks must be non-empty")
        yield Block(role, "text", part["text"], message=number, breakpoint=marked)
    elif kind == "image":
        if role != "user":
            raise Rejected(f"messages.{number}: images are only allowed in user messages")
        yield Block(role, "image", "", _image(part["source"]), None, number, marked)
    elif kind == "tool_use":
        if role != "assistant":
            raise Rejected(
                f"messages.{number}: `tool_use` blocks can only be in assistant messages"
            )
        words = f"{part['name']} {json.dumps(part['input'])}"
        yield Block(role, "call", words, message=number, breakpoint=marked)
    elif kind == "tool_result":
        content = part.get("content") or ()
        inner: Json = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for item in inner:
            if item["type"] == "image":
                yield Block("tool", "image", "", _image(item["source"]), None, number)
            else:
                yield Block("tool", "result", item.get("text", ""), message=number)
        if marked or not inner:
            yield Block("tool", "result", "", message=number, breakpoint=marked)
    elif kind in ("thinking", "redacted_thinking", "document"):
        yield Block(role, "text", dump_json(part), message=number, breakpoint=marked)
    else:
        raise Rejected(f"messages.{number}: Input tag {kind!r} is none of the expected tags")


def _image(source: Mapping[str, Json]) -> bytes:
    if source.get("type") != "base64":
        raise Rejected("Unable to download the file: only base64 images can be read here")
    if source.get("media_type") not in _FORMATS:
        raise Rejected(f"media_type: Input should be one of {', '.join(_FORMATS)}")
    return decode(source["data"])


def write(asked: Asked, reply: Reply, usage: Usage) -> dict[str, Json]:
    """The whole message."""
    return _frame(asked, reply, usage) | {
        "content": list(_content(reply)),
        "stop_reason": _stop(reply),
    }


def stream(asked: Asked, reply: Reply, usage: Usage) -> Iterator[tuple[str, Json]]:
    """The message piece by piece: (event's name, data)."""
    events: list[dict[str, Json]] = [
        {"type": "message_start", "message": _frame(asked, reply, usage) | {"content": []}}
    ]
    for index, block in enumerate(_content(reply)):
        empty: dict[str, Json] = {"text": ""} if block["type"] == "text" else {"input": {}}
        deltas: list[Any] = [{"type": "text_delta", "text": word} for word in _words(block)]
        if block["type"] == "tool_use":
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        events.append(
            {"type": "content_block_start", "index": index, "content_block": block | empty}
        )
        events += ({"type": "content_block_delta", "index": index, "delta": d} for d in deltas)
        events.append({"type": "content_block_stop", "index": index})
    stopped = {"stop_reason": _stop(reply), "stop_sequence": None}
    spent = {"output_tokens": usage.output}
    events += [{"type": "message_delta", "delta": stopped, "usage": spent}]
    events += [{"type": "message_stop"}]
    for event in events:
        yield event["type"], event


def error(status: int, kind: str, message: str) -> dict[str, Json]:
    """The body of an error."""
    named = kind or _ERRORS.get(status, "invalid_request_error")
    return {"type": "error", "error": {"type": named, "message": message}}


def _words(block: Mapping[str, Json]) -> list[str]:
    return list(words_of(block.get("text", "")))


def _content(reply: Reply) -> Iterator[dict[str, Json]]:
    if reply.text:
        yield {"type": "text", "text": reply.text}
    for call in reply.calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}


def _stop(reply: Reply) -> str:
    if reply.refused:
        return "refusal"
    return "tool_use" if reply.calls else "end_turn"


def _frame(asked: Asked, reply: Reply, usage: Usage) -> dict[str, Json]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input - usage.cached - usage.written,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": usage.written,
            "output_tokens": usage.output,
        },
    }
