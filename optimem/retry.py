"""What providers say when they do not take a request: refused, or too large.

Read off the replies and errors of the official clients, and of dicts in their shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOO_LARGE = re.compile(
    r"context.?(length|window|limit)|(prompt|input|request).{0,20}too.?(long|large)"
    r"|maximum (number of |allowed )?(input )?tokens|too many (input )?tokens",
    re.IGNORECASE,
)
_REFUSED = {
    *("refusal", "content_filter"),  # Anthropic's stop_reason, OpenAI's finish_reason
    *("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "IMAGE_SAFETY", "RECITATION"),  # Gemini's
}


def is_too_large(error: BaseException) -> bool:
    """Whether a client's error says that the request was too large, in bytes or in tokens."""
    status: object = getattr(error, "status_code", None) or getattr(error, "code", None)
    known = status in (400, 422, "context_length_exceeded")
    return status == 413 or (known and _TOO_LARGE.search(str(error)) is not None)


def was_cut(reply: object) -> bool:
    """Whether an answer ended because the context did (Anthropic says so in a reply)."""
    return bool(_get(reply, "stop_reason") == "model_context_window_exceeded")


def is_refused(reply: object) -> bool:
    """Whether a reply is a refusal, in any of the providers' ways to say so."""
    if _get(reply, "stop_reason") in _REFUSED:
        return True
    feedback = _get(reply, "prompt_feedback")
    if feedback is not None and _get(feedback, "block_reason") is not None:
        return True
    incomplete = _get(reply, "incomplete_details")
    if incomplete is not None and _get(incomplete, "reason") in _REFUSED:
        return True
    answers = [*_list(reply, "choices"), *_list(reply, "candidates")]
    if any(_name(_get(answer, "finish_reason")) in _REFUSED for answer in answers):
        return True
    if any(_get(_get(answer, "message"), "refusal") for answer in answers):
        return True
    blocks = [block for item in _list(reply, "output") for block in _list(item, "content")]
    return any(_get(block, "type") == "refusal" for block in blocks)


def _get(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)


def _list(value: object, key: str) -> list[Any]:
    found = _get(value, key)
    return list(found) if isinstance(found, (list, tuple)) else []


def _name(reason: Any) -> Any:
    """An enum's own name (google-genai's), or the text itself."""
    return getattr(reason, "value", reason)
