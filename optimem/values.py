"""The values that flow through OptiMem: turns, pages, plans, and the segments of a context.

Frozen and free of I/O. Equal content means equal values; storage keys live in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.pages import SPLIT, Mark, Page, PageFacts, Sheet, Span
from optimem.plans import Kept, Plan, Rehearsed, Tiers
from optimem.turns import (
    Attachment,
    Dialect,
    Entry,
    Json,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    TurnFacts,
    dump_json,
)

__all__ = [
    "SPLIT",
    "Attachment",
    "Dialect",
    "Entry",
    "Json",
    "Kept",
    "Mark",
    "Page",
    "PageFacts",
    "Part",
    "Plan",
    "Rehearsed",
    "Role",
    "Scope",
    "Segment",
    "Sheet",
    "Span",
    "Text",
    "Thinking",
    "Tiers",
    "ToolCall",
    "ToolResult",
    "Turn",
    "TurnFacts",
    "dump_json",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory it is. Every path to stored data takes one."""

    namespace: str
    session: str

    def __post_init__(self) -> None:
        for name, value in (("namespace", self.namespace), ("session", self.session)):
            if not isinstance(value, str):
                raise InputError(f"a {name} is named by a string, not {value!r}: {name}='42'")


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
