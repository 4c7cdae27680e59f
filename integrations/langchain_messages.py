"""Contexts as LangChain messages: pages in one human message in front of the live ones."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optimem.context import Context
from optimem.errors import InputError, MissingExtraError, NotFoundError
from optimem.ledger.facts import turn_facts
from optimem.messages import message_digest, parse
from optimem.readers import Profile, find_reader
from optimem.tokens import find_counter
from optimem.values import Json, Segment

try:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import (
        AIMessage,
        BaseMessage,
        HumanMessage,
        convert_to_messages,
    )
except ImportError:
    raise MissingExtraError("Messages for LangChain", "langchain") from None

_PROVIDERS = {"google_genai": "google", "google_vertexai": "google", "azure": "openai"}
_REASONING = {"thinking", "redacted_thinking", "reasoning", "reasoning_content"}
_REPLAYED = {"text", "output_text", "refusal", "function_call", "custom_tool_call"}


def model_reader(model: BaseChatModel) -> Profile:
    """The reader that a chat model is, by the provider and name that it tells LangSmith.

    Raises:
        InputError: no reader of that name or family is known.
    """
    known = model._get_ls_params()
    name = str(known.get("ls_model_name") or "").rpartition("/")[2]
    provider = str(known.get("ls_provider") or "")
    for candidate in (f"{_PROVIDERS.get(provider, provider)}:{name}", name):
        try:
            return find_reader(candidate)
        except NotFoundError:
            continue
    raise InputError(
        f"no reader is known for the model {name or type(model).__name__!r}: pass reader=,"
        " one of `optimem readers` or an optimem.readers.Profile of your own"
    )


def pages_message(
    context: Context, cache_control: Mapping[str, Json] | None = None
) -> HumanMessage:
    """What stands in front of the live messages: pages, their captions, and notes.

    System messages carry no images everywhere, and LangChain's own text blocks get random ids;
    so it is a human message of plain blocks, the same bytes for the same pages.

    Args:
        context: what to show; its turns are not part of it.
        cache_control: Anthropic's mark, put behind the last page.
    """
    segments = [segment for segment in context.segments if segment.turn is None]
    blocks: list[str | dict[Any, Any]] = [_block(segment, context) for segment in segments]
    if cache_control is not None and segments:
        blocks[-1] = {**_block(segments[-1], context), "cache_control": dict(cache_control)}
    return HumanMessage(content=blocks)


def _block(segment: Segment, context: Context) -> dict[Any, Any]:
    if not segment.is_image:
        return {"type": "text", "text": segment.text}
    media_type, data = context.image(segment)
    encoded = base64.b64encode(data).decode()
    reader = context.reader
    detail = reader.detail(segment)
    if detail is not None and reader.provider == "openai":  # a standard block would lose it
        url = f"data:{media_type};base64,{encoded}"
        return {"type": "image_url", "image_url": {"url": url, "detail": detail}}
    block = {"type": "image", "base64": encoded, "mime_type": media_type}
    if detail is not None and reader.provider == "google":
        block["media_resolution"] = f"MEDIA_RESOLUTION_{detail.upper()}"
    return block


def without_reasoning(message: BaseMessage) -> BaseMessage:
    """The message without what binds it to the conversation that it was an answer in.

    Providers refuse reasoning once what stood before it has changed, and ids of parts of a
    response whose reasoning is missing. Signatures of Gemini's calls stay: they are required.
    """
    if not isinstance(message, AIMessage):
        return message
    update: dict[str, Any] = {}
    if isinstance(message.content, list):
        kept = [_unbound(block) for block in message.content if not _is_reasoning(block)]
        if kept != message.content:
            update["content"] = kept
    bound = _REASONING & set(message.additional_kwargs)
    if bound:
        extra = message.additional_kwargs.items()
        update["additional_kwargs"] = {key: value for key, value in extra if key not in bound}
    if str(message.response_metadata.get("id", "")).startswith("resp_"):
        meta = message.response_metadata.items()
        update["response_metadata"] = {key: value for key, value in meta if key != "id"}
    return message.model_copy(update=update) if update else message


def _is_reasoning(block: Json) -> bool:
    return isinstance(block, Mapping) and block.get("type") in _REASONING


def _unbound(block: Json) -> Json:
    """A block of OpenAI's Responses without its own id; a call keeps the id it is answered by."""
    bound = isinstance(block, Mapping) and str(block.get("id", "")).startswith(("msg_", "fc_"))
    if not bound or block.get("type") not in _REPLAYED:
        return block
    return {key: value for key, value in block.items() if key != "id"}


def message_id(message: BaseMessage, index: int) -> str:
    """The id that a message has as a turn: its own, or one by content and place."""
    return message.id or message_digest(message.model_dump(), index)


def token_counter(reader: str | Profile) -> Callable[[Iterable[Any]], int]:
    """A counter for LangChain's middleware that knows what a reader takes for images.

        SummarizationMiddleware(model, trigger=("tokens", 50_000), token_counter=token_counter(…))

    LangChain's own counts each image as 85 tokens; a page takes a thousand and more.
    """
    profile = find_reader(reader)
    counter = find_counter()

    def count(messages: Iterable[Any]) -> int:
        total = 0
        for message in convert_to_messages(list(messages)):
            facts = turn_facts(parse(message, id="counted"), counter)
            total += profile.text_cost(facts.tokens)
            total += sum(profile.image_cost(*size) for size in facts.images if size is not None)
        return total

    return count
