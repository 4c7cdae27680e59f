"""What stands around each message in a model's prompt.

Each piece of a prompt is tokenized on its own, so that what a piece costs does not depend
on its neighbours, and an append changes nothing in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimem.values import Role

_MARK = "\ufdd0{}\ufdd0"  # a noncharacter: no template writes it
_ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Frames:
    """The text around messages.

    Attributes:
        start: what every prompt begins with.
        default: what follows it unless the first message is a system message.
        roles: what stands in front of and behind each role's words.
        answer: what the model's own answer begins behind.
    """

    start: str
    default: str
    roles: Mapping[Role, tuple[str, str]]
    answer: str


def plain_frames(start: str) -> Frames:
    """No roles, one line after another: how DeepSeek-OCR was trained."""
    return Frames(start, "", dict.fromkeys(_ROLES, ("", "\n")), "")


def find_frames(tokenizer: Any) -> Frames:
    """The frames of a tokenizer's chat template; plain ones where it has none to take apart.

    Messages whose words are marks are rendered; the frames are what stands between these.
    Results of tools are framed as the user's words, since few templates know them.
    """
    bos = tokenizer.bos_token or ""
    if not tokenizer.chat_template:
        return plain_frames(bos)
    asks = _render(tokenizer, ("user", "assistant", "user"))
    answers = _render(tokenizer, ("user", "assistant"))
    prompts = _render(tokenizer, ("user",), answer=True)
    if asks is None or answers is None or prompts is None:
        return plain_frames(bos)
    behind_user, behind_assistant = asks[3], answers[2]
    user = asks[2].removeprefix(behind_assistant), behind_user
    assistant = asks[1].removeprefix(behind_user), behind_assistant
    start, default = asks[0].removesuffix(user[0]), ""
    system = user
    orders = _render(tokenizer, ("system", "user"))
    if orders is not None:
        if not orders[0].startswith(start):  # a system message takes the default one's place
            kept = bos if start.startswith(bos) else ""
            start, default = kept, start.removeprefix(kept)
        system = orders[0].removeprefix(start), orders[1].removesuffix(user[0])
    roles: dict[Role, tuple[str, str]] = {"system": system, "user": user}
    roles |= {"assistant": assistant, "tool": user}
    return Frames(start, default, roles, prompts[1].removeprefix(behind_user))


def _render(tokenizer: Any, roles: Sequence[Role], *, answer: bool = False) -> list[str] | None:
    """The text before, between and behind the words of a conversation; None if it has none.

    Templates take the words as a string or as a list of parts; the first that works is used.
    """
    marks = [_MARK.format(number) for number in range(len(roles))]
    strings: list[Any] = list(marks)
    parts: list[Any] = [[{"type": "text", "text": mark}] for mark in marks]
    for contents in (strings, parts):
        messages = [{"role": role, "content": c} for role, c in zip(roles, contents, strict=True)]
        try:
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=answer
            )
        except Exception:  # a template refuses what it likes, with errors of its own
            continue
        pieces = re.split("|".join(map(re.escape, marks)), text)
        if len(pieces) == len(roles) + 1:
            return pieces
    return None
