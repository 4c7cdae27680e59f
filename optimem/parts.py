"""What a message says, in neutral form: text, thinking, calls, results and attachments.

Nothing is dropped: a block of an unknown type becomes a file attachment that carries it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence

from optimem.errors import InputError
from optimem.values import Attachment, Json, Part, Text, Thinking, ToolCall, ToolResult

ITEM_BLOCKS = {"input_text", "output_text", "input_image", "input_file"}
"""Types of content blocks that only the Responses API knows."""

_TEXT_BLOCKS = {"text", "input_text", "output_text", "refusal"}
_IMAGE_BLOCKS = {"image", "image_url", "input_image"}


def content_parts(content: Json) -> tuple[Part, ...]:
    """What a message's content says: text, or a list of blocks."""
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
        return call_part(block)
    if kind == "tool_result":
        call_id = block.get("tool_use_id")
        if not isinstance(call_id, str):
            raise InputError("a tool result needs the tool_use_id of the call it answers")
        inner = content_parts(block.get("content"))
        return result(call_id, inner, is_error=bool(block.get("is_error")))
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
    is_image = kind in _IMAGE_BLOCKS
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


def call_parts(calls: Json) -> tuple[ToolCall, ...]:
    """The calls of a message's `tool_calls`."""
    if calls is not None and (not isinstance(calls, Sequence) or isinstance(calls, str)):
        raise InputError("tool_calls must be a list")
    return tuple(call_part(call) for call in calls or ())


def call_part(call: Json) -> ToolCall:
    """One call in OpenAI's, Anthropic's, LangChain's or Gemini's shape."""
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


def result(call_id: str, parts: tuple[Part, ...], *, is_error: bool) -> ToolResult:
    """A tool's answer: of its parts, the text and attachments."""
    inner = tuple(part for part in parts if isinstance(part, (Text, Attachment)))
    return ToolResult(call_id, inner, is_error)


def is_item(message: Mapping[str, Json]) -> bool:
    """Whether it is an item of the Responses API that is no message."""
    kind = message.get("type")
    ends = ("_call", "_call_output")
    return isinstance(kind, str) and (kind == "reasoning" or kind.endswith(ends))


def item_parts(item: Mapping[str, Json]) -> tuple[Part, ...]:
    """What an item of the Responses API says; of an unknown kind, the item as an attachment."""
    kind = item["type"]
    if kind in ("function_call", "custom_tool_call"):
        arguments = item.get("arguments", item.get("input", ""))
        return (call_part({**item, "id": item.get("call_id"), "arguments": arguments}),)
    if kind in ("function_call_output", "custom_tool_call_output"):
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            raise InputError("a function_call_output needs the call_id of the call it answers")
        return (result(call_id, content_parts(item.get("output")), is_error=False),)
    if kind == "reasoning":
        said = [*(item.get("summary") or ()), *(item.get("content") or ())]
        words = [str(block.get("text", "")) for block in said if isinstance(block, Mapping)]
        return (Thinking("\n".join(words)),) if words else ()
    return (_attachment(kind, item),)


def gemini_parts(parts: Sequence[Json]) -> tuple[Part, ...]:
    """What the parts of Gemini's content say."""
    return tuple(_gemini_part(part) for part in parts)


def _gemini_part(part: Json) -> Part:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, Mapping):
        raise InputError("a part of Gemini's must be text or an object")
    if isinstance(part.get("text"), str):
        return Thinking(part["text"]) if part.get("thought") else Text(part["text"])
    call = part.get("function_call", part.get("functionCall"))
    if isinstance(call, Mapping):
        return call_part({**call, "id": call.get("id") or call.get("name")})
    answer = part.get("function_response", part.get("functionResponse"))
    if isinstance(answer, Mapping):
        # Its calls may come without ids: then the name is what pairs them.
        call_id = str(answer.get("id") or answer.get("name") or "")
        said = answer.get("response")
        plain = said.get("result", said.get("output", said)) if isinstance(said, Mapping) else said
        text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
        is_error = isinstance(said, Mapping) and set(said) == {"error"}
        return result(call_id, (Text(text),), is_error=is_error)
    blob = part.get("inline_data", part.get("inlineData"))
    blob = blob if blob is not None else part.get("file_data", part.get("fileData"))
    if isinstance(blob, Mapping):
        media_type = str(blob.get("mime_type", blob.get("mimeType")) or "")
        return Attachment(
            kind="image" if media_type.startswith("image/") else "file",
            media_type=media_type,
            data=_decode_urlsafe(blob.get("data")),
            url=str(blob.get("file_uri", blob.get("fileUri")) or ""),
            name=str(blob.get("display_name", blob.get("displayName")) or ""),
            block=part,
        )
    return Attachment("file", "", None, "", "part", part)


def _decode_urlsafe(encoded: Json) -> bytes | None:
    """Base64 as Gemini's client writes it, or plain."""
    if isinstance(encoded, str):
        return _decode(encoded.replace("-", "+").replace("_", "/"))
    return None
