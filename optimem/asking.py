"""Asking a hosted reader through its provider's own client.

    ask = find_client(profile, model)        # OpenAI(), Anthropic() or genai.Client()
    text = ask(request_for(profile.format, segments, profile, image, ()))

Keys and addresses are those of the client: `OPENAI_API_KEY`, `ANTHROPIC_BASE_URL` and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optimem.errors import InputError, MissingExtraError
from optimem.readers import Profile

Ask = Callable[[dict[str, Any]], str]
"""Sends a request (the client's keyword arguments) and returns the words of the reply."""

MOST_TOKENS = 8192
"""Of a reply: a page's transcription takes up to 4,000."""


def find_client(profile: Profile, model: str, base_url: str | None = None) -> Ask:
    """A way to ask a reader.

    Args:
        profile: whose client it is, by the format of its requests.
        model: its name, as the provider's API takes it.
        base_url: where it is served, for servers of one's own; the client's default otherwise.

    Raises:
        InputError: the reader runs here and has no client.
        MissingExtraError: the client is not installed.
    """
    if profile.provider == "local":
        raise InputError(f"{profile.name} runs here: measure it with memory.fidelity(reader)")
    makers = {"openai": _chat, "responses": _responses, "anthropic": _messages, "gemini": _gemini}
    try:
        return makers[profile.format](model, base_url)
    except ImportError:
        raise MissingExtraError(f"asking {profile.name}", "calibrate") from None


def _chat(model: str, base_url: str | None) -> Ask:
    from openai import OpenAI

    client: Any = OpenAI(base_url=base_url)

    def ask(request: dict[str, Any]) -> str:
        reply = client.chat.completions.create(model=model, **request)
        return reply.choices[0].message.content or ""

    return ask


def _responses(model: str, base_url: str | None) -> Ask:
    from openai import OpenAI

    client: Any = OpenAI(base_url=base_url)
    return lambda request: str(client.responses.create(model=model, **request).output_text)


def _messages(model: str, base_url: str | None) -> Ask:
    from anthropic import Anthropic

    client: Any = Anthropic(base_url=base_url)

    def ask(request: dict[str, Any]) -> str:
        reply = client.messages.create(model=model, max_tokens=MOST_TOKENS, **request)
        return "".join(block.text for block in reply.content if block.type == "text")

    return ask


def _gemini(model: str, base_url: str | None) -> Ask:
    from google import genai
    from google.genai import types

    options = None if base_url is None else types.HttpOptions(base_url=base_url)
    client: Any = genai.Client(http_options=options)
    return lambda request: client.models.generate_content(model=model, **request).text or ""
