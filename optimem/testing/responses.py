"""OpenAI's Responses on the wire: `POST /v1/responses`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optimem.testing.chat import REFUSAL, data_url, error, level_of, words_of
from optimem.testing.exchange import Asked, Block, Rejected, Reply, Tool, Usage
from optimem.values import Json, dump_json

__all__ = ["error", "read", "stream", "write"]

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read(body: Mapping[str, Json]) -> Asked:
    """What a request for a response asks.

    Raises:
        Rejected: as the API would; and for `previous_response_id`, since nothing is kept.
    """
    if body.get("previous_response_id") or body.get("conversation"):
        raise Rejected("this server keeps no conversations: send the whole input")
    tools = body.get("tools") or ()
    blocks = [Block("tools", "text", dump_json(tool)) for tool in tools]
    if body.get("instructions"):
        blocks.append(Block("system", "text", body["instructions"]))
    items = body.get("input")
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise Rejected("Missing required parameter: 'input'.", kind="missing_required_parameter")
    calls: set[str] = set()
    for number, item in enumerate(items):
        blocks += _item_blocks(item, number, calls)
    if calls:
        missing = sorted(calls)[0]
        raise Rejected(f"No tool output found for function call {missing}.")
    return Asked(
        model=str(body.get("model", "")),
        blocks=tuple(blocks),
        tools=tuple(
            Tool(tool["name"], tool.get("parameters") or {})
            for tool in tools
            if tool.get("type") == "function"
        ),
        streamed=bool(body.get("stream")),
    )


def _item_blocks(item: Mapping[str, Json], number: int, calls: set[str]) -> Iterator[Block]:
    kind = item.get("type", "message")
    if kind == "function_call":
        calls.add(item["call_id"])
        words = f"{item['name']} {item['arguments']}"
        yield Block("assistant", "call", words, message=number)
    elif kind == "function_call_output":
        if item["call_id"] not in calls:
            raise Rejected(f"No tool call found for function call output {item['call_id']}.")
        calls.discard(item["call_id"])
        yield from _content_blocks(item["output"], "tool", number)
    elif kind == "message":
        role = _ROLES.get(item.get("role", ""))
        if role is None:
            raise Rejected(f"Invalid value: {item.get('role')!r} for input[{number}].role")
        yield from _content_blocks(item.get("content"), role, number)
    elif kind != "reasoning":
        raise Rejected(f"Invalid value: {kind!r} for input[{number}].type")


def _content_blocks(content: Json, role: str, number: int) -> Iterator[Block]:
    kind: Any = "result" if role == "tool" else "text"
    if isinstance(content, str):
        yield Block(role, kind, content, message=number)
        return
    for part in content:
        marked = "prompt_cache_breakpoint" in part
        if part["type"] in ("input_text", "output_text"):
            wanted = "output_text" if role == "assistant" else "input_text"
            if part["type"] != wanted:
                raise Rejected(f"Invalid value: {part['type']!r}. Use {wanted!r} for {role!r}.")
            yield Block(role, kind, part["text"], message=number, breakpoint=marked)
        elif part["type"] == "refusal":
            yield Block(role, kind, part["refusal"], message=number)
        elif part["type"] == "input_image":
            if role not in ("user", "tool"):
                raise Rejected(f"Invalid value: 'input_image' for the role {role!r}.")
            data, level = data_url(part["image_url"]), level_of(part.get("detail"))
            yield Block(role, "image", "", data, level, number, marked)
        elif part["type"] == "input_file":
            yield Block(role, kind, dump_json(part), message=number, breakpoint=marked)
        else:
            raise Rejected(f"Invalid value: {part['type']!r} for input[{number}].content")


def write(asked: Asked, reply: Reply, usage: Usage) -> dict[str, Json]:
    """The whole response."""
    return _frame(asked, reply) | {
        "status": "completed",
        "output": list(_output(reply)),
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {
                "cached_tokens": usage.cached,
                "cache_write_tokens": usage.written,
            },
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input + usage.output,
        },
    }


def stream(asked: Asked, reply: Reply, usage: Usage) -> Iterator[tuple[str, Json]]:
    """The response piece by piece: (event's name, data)."""
    begun = _frame(asked, reply) | {"status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Json]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(_output(reply)):
        place = {"output_index": index, "item_id": item["id"]}
        hollow: dict[str, Json] = (
            {"content": []} if item["type"] == "message" else {"arguments": ""}
        )
        empty = item | hollow
        added = {"type": "response.output_item.added", "output_index": index, "item": empty}
        events.append(added | {"item": empty | {"status": "in_progress"}})
        if item["type"] == "message":
            events += _part_events(item["content"][0], place | {"content_index": 0})
        else:
            delta = {"type": "response.function_call_arguments.delta", "delta": item["arguments"]}
            done = {"type": "response.function_call_arguments.done", "name": item["name"]}
            events += [place | delta, place | done | {"arguments": item["arguments"]}]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": write(asked, reply, usage)})
    for number, event in enumerate(events):
        yield event["type"], event | {"sequence_number": number}


def _part_events(part: dict[str, Json], place: dict[str, Json]) -> Iterator[dict[str, Json]]:
    key = "refusal" if part["type"] == "refusal" else "text"
    name = "refusal" if part["type"] == "refusal" else "output_text"
    yield place | {"type": "response.content_part.added", "part": part | {key: ""}}
    for word in words_of(part[key]):
        yield place | {"type": f"response.{name}.delta", "delta": word, "logprobs": []}
    yield place | {"type": f"response.{name}.done", key: part[key], "logprobs": []}
    yield place | {"type": "response.content_part.done", "part": part}


def _output(reply: Reply) -> Iterator[dict[str, Json]]:
    if reply.text or reply.refused or not reply.calls:
        text = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        part = {"type": "refusal", "refusal": REFUSAL} if reply.refused else text
        yield {
            "id": f"msg_{reply.id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for call in reply.calls:
        yield {
            "id": f"fc_{reply.id}_{call.id}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(dict(call.arguments)),
        }


def _frame(asked: Asked, reply: Reply) -> dict[str, Json]:
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": 0,
        "model": asked.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
