"""The values that flow through OptiMem: turns, pages, plans.

Frozen and free of I/O. Equal content means equal values; storage keys live in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.plans import Kept as Kept
from optimem.plans import Plan as Plan
from optimem.plans import Rehearsed as Rehearsed
from optimem.plans import Tiers as Tiers

Role = Literal["system", "user", "assistant", "tool"]
Dialect = Literal["openai", "responses", "anthropic", "gemini", "langchain"]
Json = Any
"""What `json.loads` returns."""

SPLIT = "\\"
"""Ends a page's row when a word goes on in the next; no other row ends with it."""


def dump_json(value: Json) -> str:
    """One canonical spelling of a JSON value: same input, same bytes, lone surrogates kept."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory it is. Every path to stored data takes one."""

    namespace: str
    session: str

    def __post_init__(self) -> None:
        for name, value in (("namespace", self.namespace), ("session", self.session)):
            if not isinstance(value, str):
                raise InputError(f"a {name} is named by a string, not {value!r}: {name}='42'")


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


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one turn on a page.

    Attributes:
        position: the turn's place in the log.
        role: whose words they are; decides the band behind them.
        start: index of the stretch's first character in the page's text.
        stop: index behind its last character.
        begins: whether the turn starts here.
        ends: whether the turn ends here.
    """

    position: int
    role: Role
    start: int
    stop: int
    begins: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """Where on a page the marker of an attachment stands: turn, and index among its attachments."""

    position: int
    index: int


@dataclass(frozen=True, slots=True)
class Page:
    """128 x 64 cells laid out from consecutive turns; never changes once sealed.

    Attributes:
        number: its place in the session, counted from 0.
        rows: at most 64 pieces of the flowed text, one a row; `SPLIT` ends one whose last
            word goes on in the next.
        spans: which turn stands where in `text`, in order and without gaps.
        marks: the attachments named on this page.
        stop: (position, offset) in the flowed log at which the next page starts.
        style: key of the style and atlas that it was laid out with.
    """

    number: int
    rows: tuple[str, ...]
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]
    stop: tuple[int, int]
    style: str

    @property
    def text(self) -> str:
        """What the page shows, exactly as drawn, without row ends."""
        return "".join(self.rows)

    @property
    def words(self) -> str:
        """What the page says: its text without the marks of words that run over a row's end."""
        return "".join(row.removesuffix(SPLIT) for row in self.rows)

    @property
    def hash(self) -> str:
        """The page's name: its text, its bands and its style; the same on every machine."""
        bands = ",".join(f"{span.start}:{span.role}" for span in self.spans)
        content = "\n".join((self.style, bands, *self.rows))
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What planning needs to know of a page without reading it.

    Attributes:
        number: its place in the session.
        hash: the page's name.
        first: position of the first turn on it.
        last: position of the last turn on it.
        stop: position behind the last turn that ends on this page or before it.
        tokens: its text in the tokens of the session's counter.
        anchors: exact strings to keep as text beside it, best first.
        caption_tokens: what the line with its place and anchors costs.
        marks: the attachments named on it.
    """

    number: int
    hash: str
    first: int
    last: int
    stop: int
    tokens: int
    anchors: tuple[str, ...] = ()
    caption_tokens: int = 0
    marks: tuple[Mark, ...] = ()

    @property
    def caption(self) -> str:
        """The line of text that stands beside the page's image."""
        turns = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        exact = " ".join(self.anchors)
        return f"Page {self.number}, turns {turns}" + (f", exact: {exact}" if exact else "")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A grid of pages on a canvas that one reader sees unscaled.

    Attributes:
        tier: the mode of its pages.
        columns: pages side by side.
        rows: pages above each other.
        size: width and height of the canvas in pixels; what pages leave free is white.
        level: the level of detail to ask the reader for, None for its only one.
        tokens: what the reader bills for the whole sheet.
    """

    tier: Tier
    columns: int
    rows: int
    size: tuple[int, int]
    level: str | None
    tokens: int

    @property
    def pages(self) -> int:
        """How many pages it holds."""
        return self.columns * self.rows

    @property
    def cost(self) -> Fraction:
        """Tokens a page, exactly."""
        return Fraction(self.tokens, self.pages)

    def places(self) -> Iterator[tuple[int, int]]:
        """Left and top pixel of each page, in reading order.

        What the canvas is larger than its pages stands between them, so that no reader
        takes two pages' rows for one.
        """
        side = self.tier.side
        across = (self.size[0] - self.columns * side) // max(1, self.columns - 1)
        down = (self.size[1] - self.rows * side) // max(1, self.rows - 1)
        for row in range(self.rows):
            for column in range(self.columns):
                yield column * (side + across), row * (side + down)


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a context, in the order in which the reader gets it.

    Attributes:
        kind: "system" (a turn), "note" (how to read pages, what was forgotten), "page" (an
            image), "sheet" (several pages in one image, behind their captions), "caption"
            (text beside it), "kept" (turns that stay as text beside it), "attachment" (an
            image shrunk with its page), "page_text" (a page that is cheaper as text), "rest"
            (the end of a turn whose beginning is on pages), "turn" (as it came).
        tokens: what it costs this reader.
        text: the words of notes, captions, kept turns, page texts and rests.
        turn: the turn, for systems and turns.
        page: number of the page that it belongs to, or None.
        tier: the mode of a page or attachment.
        mark: which attachment, for attachments.
        sheet: how its pages stand on a sheet.
        pages: the numbers of those pages in reading order.
    """

    kind: Literal[
        "system",
        "note",
        "page",
        "sheet",
        "caption",
        "kept",
        "attachment",
        "page_text",
        "rest",
        "turn",
    ]
    tokens: int
    text: str = ""
    turn: Turn | None = None
    page: int | None = None
    tier: Tier = Tier.TEXT
    mark: Mark | None = None
    sheet: Sheet | None = None
    pages: tuple[int, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether the reader gets it as an image."""
        return self.kind in ("page", "sheet", "attachment")
