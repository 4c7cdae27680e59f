"""Gemini's generateContent on the wire: `POST /v1beta/models/NAME:generateContent`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from optimem.testing.chat import decode, words_of
from optimem.testing.exchange import Asked, Block, Rejected, Reply, Tool, Usage
from optimem.values import Json, dump_json

_SNAKE = re.compile("_([a-z])")
_USERS = {"args", "parameters", "parametersJsonSchema", "response"}
_LEVEL = "MEDIA_RESOLUTION_"
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def read(body: Mapping[str, Json]) -> Asked:
    """What a request asks; the model and whether it is streamed stand in its URL.

    Raises:
        Rejected: as the API would.
    """
    body = _camel(body)
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Rejected("* GenerateContentRequest.contents: contents is not specified")
    declared = [
        function
        for tool in body.get("tools") or ()
        for function in tool.get("functionDeclarations") or ()
    ]
    blocks = [Block("tools", "text", dump_json(function)) for function in declared]
    system = body.get("systemInstruction") or {}
    for part in system.get("parts") or ():
        if "text" not in part:
            raise Rejected("System instruction may hold text alone")
        blocks.append(Block("system", "text", part["text"]))
    config = body.get("generationConfig") or {}
    level = _level(config.get("mediaResolution"))
    for number, content in enumerate(contents):
        role = content.get("role", "user")
        if role not in ("user", "model"):
            raise Rejected(f"Please use a valid role: user, model. Not {role!r}")
        if not content.get("parts"):
            raise Rejected(f"* GenerateContentRequest.contents[{number}].parts: must not be empty")
        for part in content["parts"]:
            blocks += _blocks(part, role, number, level)
    return Asked(
        model=str(body.get("model", "")),
        blocks=tuple(blocks),
        tools=tuple(
            Tool(f["name"], f.get("parametersJsonSchema") or f.get("parameters") or {})
            for f in declared
        ),
    )


def _camel(value: Json) -> Json:
    """Keys in the one of two spellings that the API documents; what is the user's stays."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    spelled = {_SNAKE.sub(lambda found: found[1].upper(), key): item for key, item in value.items()}
    return {key: item if key in _USERS else _camel(item) for key, item in spelled.items()}


def _level(value: Json) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("level")
    if value in (None, _LEVEL + "UNSPECIFIED"):
        return None
    return str(value).removeprefix(_LEVEL).lower()


def _blocks(part: Mapping[str, Json], role: str, number: int, level: str | None) -> Iterator[Block]:
    speaker = "assistant" if role == "model" else "user"
    if "text" in part:
        yield Block(speaker, "text", part["text"], message=number)
    elif "inlineData" in part:
        data = decode(part["inlineData"]["data"])
        if not part["inlineData"].get("mimeType", "").startswith("image/"):
            yield Block(speaker, "text", part["inlineData"]["data"], message=number)
            return
        own = _level(part.get("mediaResolution")) or level
        yield Block(speaker, "image", "", data, own, number)
    elif "functionCall" in part:
        call = part["functionCall"]
        words = f"{call['name']} {json.dumps(call.get('args') or {})}"
        yield Block(speaker, "call", words, message=number)
    elif "functionResponse" in part:
        words = _words(part["functionResponse"].get("response"))
        yield Block("tool", "result", words, message=number)
    else:
        raise Rejected(f"contents[{number}]: a part must have one initialized field")


def _words(response: Json) -> str:
    """A function's answer: its one text, else its JSON."""
    if isinstance(response, Mapping) and len(response) == 1:
        (only,) = response.values()
        if isinstance(only, str):
            return only
    return dump_json(response)


def write(asked: Asked, reply: Reply, usage: Usage) -> dict[str, Json]:
    """The whole response."""
    return _chunk(asked, reply, _parts(reply), usage, "SAFETY" if reply.refused else "STOP")


def stream(asked: Asked, reply: Reply, usage: Usage) -> Iterator[tuple[str, Json]]:
    """The response piece by piece: ("", data)."""
    for word in words_of(reply.text):
        yield "", _chunk(asked, reply, [{"text": word}], usage, None)
    calls = _parts(Reply(calls=reply.calls)) if reply.calls else []
    yield "", _chunk(asked, reply, calls, usage, "SAFETY" if reply.refused else "STOP")


def error(status: int, kind: str, message: str) -> dict[str, Json]:
    """The body of an error."""
    named = kind or _STATUS.get(status, "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": message, "status": named}}


def _parts(reply: Reply) -> list[dict[str, Json]]:
    parts: list[dict[str, Json]] = [{"text": reply.text}] if reply.text else []
    for call in reply.calls:
        function = {"name": call.name, "args": dict(call.arguments), "id": call.id}
        parts.append({"functionCall": function})
    return parts


def _chunk(
    asked: Asked, reply: Reply, parts: list[dict[str, Json]], usage: Usage, finish: str | None
) -> dict[str, Json]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish is not None:
        candidate["finishReason"] = finish
    details = [{"modality": "TEXT", "tokenCount": usage.input - usage.images}]
    if usage.images:
        details.append({"modality": "IMAGE", "tokenCount": usage.images})
    counts: dict[str, Json] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": details,
    }
    if usage.cached:
        counts["cachedContentTokenCount"] = usage.cached
    return {
        "candidates": [candidate],
        "usageMetadata": counts,
        "modelVersion": asked.model,
        "responseId": reply.id,
    }
