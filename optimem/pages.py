"""Pages: cells laid out from turns, what planning knows of them, and sheets of several.

Frozen and free of I/O, like all values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from optimem.modes import Tier
from optimem.turns import Role

SPLIT = "\\"
"""Ends a page's row when a word goes on in the next; no other row ends with it."""


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
