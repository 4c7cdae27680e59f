"""Turns: what a session is made of, as it came and in neutral form.

Frozen and free of I/O. Equal content means equal values; storage keys live in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Dialect = Literal["openai", "responses", "anthropic", "gemini", "langchain"]
Json = Any
"""What `json.loads` returns."""


def dump_json(value: Json) -> str:
    """One canonical spelling of a JSON value: same input, same bytes, lone surrogates kept."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=False)


# What a turn is made of, in the order in which it came.


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning that a model left in its message: drawn on pages, never sent to another dialect."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant made; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call `call_id`."""

    call_id: str
    parts: tuple[Text | Attachment, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file beside the text: inline bytes, or a URL that is kept and never fetched.

    Attributes:
        kind: "image", or "file" for everything else (audio, documents, unknown blocks).
        media_type: MIME type, "" when the message does not say.
        data: the bytes, or None when only a reference came.
        url: the reference, or "".
        name: file name, or "".
        block: the content block as it came, for readers of the same dialect.
    """

    kind: Literal["image", "file"]
    media_type: str
    data: bytes | None
    url: str
    name: str
    block: Mapping[str, Json] = field(hash=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, or of the block when there are none."""
        source = self.data
        if source is None:
            source = dump_json(dict(self.block)).encode()
        return hashlib.sha256(source).hexdigest()


Part = Text | Thinking | ToolCall | ToolResult | Attachment


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a session, stored losslessly.

    `message` is what came, untouched; `parts` is the same content in neutral form, for
    readers of another dialect and for pages. Build turns with `optimem.messages.parse`.

    Attributes:
        id: unique within its session.
        role: system, user, assistant or tool (a user message that only answers calls is "tool").
        parts: the content in order.
        name: the author's or tool's name, or "".
        time: seconds since the epoch, or None when unknown.
        dialect: whose shape `message` has.
        message: the message as it came.
    """

    id: str
    role: Role
    parts: tuple[Part, ...]
    name: str
    time: float | None
    dialect: Dialect
    message: Mapping[str, Json] = field(hash=False)

    @property
    def calls(self) -> tuple[str, ...]:
        """Ids of the tool calls that this turn makes."""
        return tuple(part.id for part in self.parts if isinstance(part, ToolCall))

    @property
    def answers(self) -> tuple[str, ...]:
        """Ids of the tool calls that this turn answers."""
        return tuple(part.call_id for part in self.parts if isinstance(part, ToolResult))

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """All attachments, those inside tool results included, in order."""
        found: list[Attachment] = []
        for part in self.parts:
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            found.extend(item for item in inner if isinstance(item, Attachment))
        return tuple(found)

    @property
    def text(self) -> str:
        """The exact words, tool calls and results included, attachments left out."""
        pieces: list[str] = []
        for part in self.parts:
            if isinstance(part, (Text, Thinking)):
                pieces.append(part.text)
            elif isinstance(part, ToolCall):
                pieces.append(f"{part.name} {part.arguments}")
            elif isinstance(part, ToolResult):
                pieces.extend(item.text for item in part.parts if isinstance(item, Text))
        return "\n".join(pieces)


@dataclass(frozen=True, slots=True)
class Entry:
    """A turn at its position in the log, counted from 0."""

    position: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """What planning needs to know of a turn without reading its words.

    Attributes:
        role: whose turn it is.
        tokens: what it takes as text, in the tokens of the session's counter: words, names,
            ids and the frame of its message.
        time: seconds since the epoch, or None.
        images: for each attachment the size in pixels of an image, (0, 0) for an image of
            unknown size, None for another file (whose estimate is part of `tokens`).
        calls: ids of the calls it makes.
        answers: ids of the calls it answers.
    """

    role: Role
    tokens: int
    time: float | None = None
    images: tuple[tuple[int, int] | None, ...] = ()
    calls: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
