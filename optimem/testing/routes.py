"""Which API a request to the reading server is for, and what it asks there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from types import ModuleType
from urllib.parse import urlsplit

from optimem.testing import chat, claude, gemini, responses
from optimem.testing.exchange import Asked, Rejected
from optimem.values import Json


@dataclass(frozen=True, slots=True)
class Route:
    """A path of an API.

    Attributes:
        path: what matches it; its groups are `model` and `verb`.
        wire: the module that reads its requests and writes its replies.
        model: whose rules hold for models that no profile knows.
        counts: name of the number that it replies with, where it counts tokens alone.
    """

    path: re.Pattern[str]
    wire: ModuleType
    model: str
    counts: str = ""


_GEMINI = r"/v1\w*/models/(?P<model>[^/:]+):"
_ROUTES = (
    Route(re.compile(r"(?:/v1)?/chat/completions"), chat, "openai:gpt-6-astra"),
    Route(re.compile(r"(?:/v1)?/responses"), responses, "openai:gpt-6-astra"),
    Route(re.compile(r"(?:/v1)?/messages"), claude, "anthropic:claude-opus-5.5"),
    Route(
        re.compile(_GEMINI + "(?P<verb>g|streamG)enerateContent"), gemini, "google:gemini-4-argon"
    ),
    Route(
        re.compile(r"(?:/v1)?/responses/input_tokens"),
        responses,
        "openai:gpt-6-astra",
        "input_tokens",
    ),
    Route(
        re.compile(r"(?:/v1)?/messages/count_tokens"),
        claude,
        "anthropic:claude-opus-5.5",
        "input_tokens",
    ),
    Route(re.compile(_GEMINI + "countTokens"), gemini, "google:gemini-4-argon", "totalTokens"),
)


def find_route(path: str) -> tuple[Route | None, re.Match[str] | None]:
    """The API of a path, and what else the path says."""
    plain = urlsplit(path).path
    for route in _ROUTES:
        if match := route.path.fullmatch(plain):
            return route, match
    return None, None


def read_object(data: bytes) -> Json:
    """A request's body; raises Rejected (400) for what is no JSON object."""
    try:
        body = json.loads(data)
    except ValueError as error:
        raise Rejected(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise Rejected("the body of a request must be a JSON object")
    return body


def read_asked(route: Route, match: re.Match[str], body: Json) -> Asked:
    """What a body asks; what its URL says besides is taken in."""
    named = match.groupdict()
    if route.wire is claude and route.counts:
        body = {"max_tokens": 1, **body}
    if "model" in named:
        body = {**body.get("generateContentRequest", body), "model": named["model"]}
    try:
        asked: Asked = route.wire.read(body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Rejected(f"the request is malformed: {type(error).__name__} {error}") from None
    return replace(asked, streamed=asked.streamed or named.get("verb") == "streamG")
