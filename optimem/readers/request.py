"""A whole request for one API: what its client takes as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimem.errors import InputError
from optimem.readers.anthropic import anthropic_messages, anthropic_system
from optimem.readers.dollars import CacheRule
from optimem.readers.fit import fitted
from optimem.readers.gemini import gemini_contents, gemini_system
from optimem.readers.openai import Image, openai_messages
from optimem.readers.profile import Format, Profile
from optimem.readers.responses import response_items
from optimem.readers.tools import tools_for
from optimem.values import Json, Segment

_FORMATS = ("openai", "responses", "anthropic", "gemini")


def check_format(format: str) -> Format:
    """The format of that name.

    Raises:
        InputError: there is none.
    """
    for known in _FORMATS:
        if format == known:
            return known  # type: ignore[return-value]
    raise InputError(f"no client takes requests in {format!r}: use one of {', '.join(_FORMATS)}")


def messages_for(
    format: Format, segments: Sequence[Segment], profile: Profile, image: Image
) -> list[dict[str, Any]]:
    """Messages, input items or contents; Anthropic's and Gemini's without the system prompt."""
    fitting = fitted(segments, profile, format)
    if format == "anthropic":
        return anthropic_messages(fitting, image, _minimum(profile))
    if format == "gemini":
        return gemini_contents(fitting, profile, image)
    if format == "responses":
        return response_items(fitting, profile, image)
    return openai_messages(fitting, profile, image)


def system_for(format: Format, segments: Sequence[Segment], profile: Profile) -> Json:
    """The system prompt where it stands apart: in Anthropic's requests and in Gemini's."""
    if format == "gemini":
        return gemini_system(segments)
    return anthropic_system(segments, _minimum(profile))


def _minimum(profile: Profile) -> int:
    """Tokens of the shortest prompt that its cache keeps."""
    return CacheRule().minimum if profile.cache is None else profile.cache.minimum


def request_for(
    format: Format,
    segments: Sequence[Segment],
    profile: Profile,
    image: Image,
    tools: Sequence[Mapping[str, Json]],
) -> dict[str, Any]:
    """Keyword arguments for the client's call: messages, and whatever else stands beside."""
    messages = messages_for(format, segments, profile, image)
    shaped = tools_for(format, tools)
    if format == "gemini":
        config: dict[str, Any] = {}
        if (system := gemini_system(segments)) is not None:
            config["system_instruction"] = system
        if shaped:
            config["tools"] = shaped
        return {"contents": messages} | ({"config": config} if config else {})
    request: dict[str, Any] = {"input" if format == "responses" else "messages": messages}
    if format == "anthropic":
        system = system_for(format, segments, profile)
        if system is not None:
            request["system"] = system
    if shaped:
        request["tools"] = shaped
    return request
