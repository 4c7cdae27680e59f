"""Turns become pages: text is flowed into 128 x 64 cells, and nothing is left out.

Flow doubles what a page carries (a line break becomes a marker, blank runs collapse) and
is undone by `unflow`. The flowed form of a turn:

    <user#12> first line |4 a line indented by 4 || a line after blank lines

Tags start turns, calls and attachments; ` | ` ends a line, with the next line's
indentation as a number and doubled where blank lines stood. Where content looks like a
tag or a marker it is drawn with one more backslash, so a page parses back whatever it says.

What flowing changes, and the log keeps: CR LF becomes LF, tabs become spaces to columns
of 4, runs of blanks within a line become one, blanks at line ends and blank lines at
either end go, several blank lines become one, terminal colour codes go, characters are
composed (NFC), and control characters become their pictures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS
from optimem.values import (
    Attachment,
    Entry,
    Mark,
    Page,
    Part,
    Role,
    Span,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

LAYOUT_VERSION = 1
LONGEST_UNBROKEN = 24
"""A word reaching further back than this from a row's end is split there."""

_WINDOW = 1 << 16  # characters whose widths are summed at a time, to bound memory

Widths = Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.uint8]]
"""Cells (1 or 2) of each code point."""

_TAGS = "system|user|assistant|tool|call|result|error|thinking|image|file"
_TAG_LIKE = re.compile(rf"<(\\*)((?:{_TAGS})#)")
_ESCAPED_TAG = re.compile(rf"<\\(\\*)((?:{_TAGS})#)")
_MARKER_LIKE = re.compile(r"(?m)(?:(?<= )|^)(\\*\|{1,2}\d*)(?= |$)")
_ESCAPED_MARKER = re.compile(r"(?:(?<=[ \n])|^)\\(\\*\|{1,2}\d*)(?= |\n|$)")
_MARKER = re.compile(r"(?:(?<= )|^)(\|{1,2})(\d*)(?: |$)")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code != 0x0A} | {0x7F: 0x2421}
_NAME_CHARACTERS = re.compile(r"[^\w./:+=&?%@~-]+")


@dataclass(frozen=True, slots=True)
class PageStyle:
    """How pages are drawn; part of each page's name.

    Attributes:
        fade: "native" rasterizes the font at each size and reads better; "area" shrinks
            the Base glyphs, so that a faded page equals its downsampled self.
    """

    fade: Literal["native", "area"] = "native"

    def key(self, atlas_key: str) -> str:
        """What pages of this style, layout and atlas are marked with."""
        return f"{LAYOUT_VERSION}/{self.fade}/{atlas_key}"


@dataclass(frozen=True, slots=True)
class Flow:
    """A turn's flowed text, and where in it (offset, attachment index) its markers stand."""

    text: str
    marks: tuple[tuple[int, int], ...]


def flow_turn(entry: Entry) -> Flow:
    """The text that pages show for a turn: its tag, then its parts."""
    position, turn = entry.position, entry.turn
    pieces = [f"<{turn.role}#{position}> "]
    marks: list[tuple[int, int]] = []
    for part in _flat(turn.parts, answers_only=turn.role == "tool"):
        if isinstance(part, Attachment):
            marks.append((sum(map(len, pieces)), len(marks)))
        pieces.append(_flow_part(part, position, len(marks) - 1))
    return Flow("".join(pieces), tuple(marks))


def flow_text(text: str) -> str:
    """Flow plain text: see the module's head for what changes."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if "\t" in text:
        text = text.expandtabs(4)
    if _CONTROLS.search(text):
        text = text.translate(_PICTURES)
    text = _TAG_LIKE.sub(r"<\\\1\2", text)
    text = re.sub(r"(?<=[^ \n]) {2,}(?=[^ \n])", " ", text)
    text = re.sub(r" +(?=\n|$)", "", text).strip("\n")
    text = _MARKER_LIKE.sub(r"\\\1", text)
    if text.startswith(" "):  # the first line's indentation needs a marker to stand behind
        text = "\n" + text
    return re.sub(r"\n+( *)", _marker, text).removeprefix(" ")


def unflow(text: str) -> str:
    """Rebuild lines and indentation from the flowed body of a turn."""

    def line_break(match: re.Match[str]) -> str:
        return "\n" * len(match[1]) + " " * int(match[2] or 0)

    pieces = []
    end = 0
    for match in _MARKER.finditer(text):
        pieces.append(text[end : match.start()].removesuffix(" "))
        pieces.append(line_break(match))
        end = match.end()
    text = "".join(pieces) + text[end:]
    text = _ESCAPED_MARKER.sub(r"\1", text)
    return _ESCAPED_TAG.sub(r"<\1\2", text)


class PageBuilder:
    """Lays out turns one after another and seals a page whenever one is full.

    Args:
        widths: cells of each code point, from the atlas.
        style: the key that sealed pages carry.
        number: of the first page that will be sealed.
        resume: (position, offset) in the flowed log at which that page starts.
    """

    def __init__(
        self, widths: Widths, style: str, number: int = 0, resume: tuple[int, int] = (0, 0)
    ) -> None:
        self._widths = widths
        self._style = style
        self._number = number
        self._resume = resume
        self._rows: list[str] = []
        self._rest = ""  # flowed text behind the last full row
        self._spans: list[_OpenSpan] = []
        self._marks: list[tuple[int, Mark]] = []

    @property
    def resume(self) -> tuple[int, int]:
        """(position, offset) at which the open page starts."""
        if not self._spans:
            return self._resume
        return self._spans[0].position, self._spans[0].offset

    @property
    def number(self) -> int:
        """The number that the open page will have."""
        return self._number

    @property
    def rest(self) -> str:
        """The flowed text of the open page, which no sealed page holds."""
        return "".join(self._rows) + self._rest

    @property
    def next_position(self) -> int:
        """Position of the turn to add next (an interrupted one comes again, whole)."""
        return self._spans[-1].position + 1 if self._spans else self._resume[0]

    def add(self, entry: Entry) -> Iterator[Page]:
        """Lay out one turn; yields the pages that it fills. Exhaust the iterator."""
        flow = flow_turn(entry)
        position, offset = self._resume if not self._spans else (entry.position, 0)
        offset = offset if position == entry.position else 0
        start = sum(map(len, self._rows)) + len(self._rest)
        body = flow.text[offset:]
        if body:
            stop = start + len(body)
            self._spans.append(_OpenSpan(entry.position, entry.turn.role, start, stop, offset))
        for at, index in flow.marks:
            if at >= offset:
                self._marks.append((start + at - offset, Mark(entry.position, index)))
        text, begin = self._rest + body, 0
        for cut in _row_ends(text, self._widths):
            self._rows.append(text[begin:cut])
            begin = cut
            if len(self._rows) == ROWS:
                yield self._seal()
        self._rest = text[begin:]
        if not self._spans:  # the turn ended with the page
            self._resume = (entry.position + 1, 0)

    def flush(self) -> Page | None:
        """Seal the open page as it stands, if it holds anything."""
        if not self._spans:
            return None
        after = (self._spans[-1].position + 1, 0)
        if self._rest:
            self._rows.append(self._rest)
            self._rest = ""
        page = replace(self._seal(), stop=after)
        self._resume = after
        return page

    def _seal(self) -> Page:
        rows = tuple(self._rows)
        length = sum(map(len, rows))
        shown = [span for span in self._spans if span.start < length]
        left = [span.behind(length) for span in self._spans if span.stop > length]
        stop = (left[0].position, left[0].offset) if left else (shown[-1].position + 1, 0)
        page = Page(
            number=self._number,
            rows=rows,
            spans=tuple(span.within(length) for span in shown),
            marks=tuple(mark for at, mark in self._marks if at < length),
            stop=stop,
            style=self._style,
        )
        self._number += 1
        self._rows = []
        self._spans = left
        self._resume = stop
        self._marks = [(at - length, mark) for at, mark in self._marks if at >= length]
        return page


@dataclass(frozen=True, slots=True)
class _OpenSpan:
    position: int
    role: Role
    start: int  # in the open page's text
    stop: int
    offset: int  # of `start` in the turn's flowed text

    def within(self, length: int) -> Span:
        stop = min(self.stop, length)
        begins, ends = self.offset == 0, self.stop <= length
        return Span(self.position, self.role, self.start, stop, begins, ends)

    def behind(self, length: int) -> _OpenSpan:
        start = max(self.start, length)
        offset = self.offset + start - self.start
        return _OpenSpan(self.position, self.role, start - length, self.stop - length, offset)


def _row_ends(text: str, widths: Widths) -> Iterator[int]:
    """Index behind each full row; text that may still fit its row is left over.

    A row ends behind its last blank, which then is not drawn when it falls on the edge.
    """
    begin = 0
    window, cells = 0, _cells(text[:_WINDOW], widths)
    while True:
        if begin - window > _WINDOW // 2:
            window, cells = begin, _cells(text[begin : begin + _WINDOW], widths)
        edge, may_split = begin + COLUMNS, False
        if cells is not None:
            before = cells[begin - window - 1] if begin > window else 0
            edge = window + int(np.searchsorted(cells, before + COLUMNS, side="right"))
        if edge >= len(text):
            return
        if cells is not None:  # wide scripts break between any two characters
            may_split = bool(cells[edge - window] - cells[edge - window - 1] == 2)
        if text[edge] == " ":
            cut = edge + 1
        elif may_split:
            cut = edge
        else:
            cut = text.rfind(" ", max(begin, edge - LONGEST_UNBROKEN), edge) + 1
            cut = cut if cut > begin else edge
        yield cut
        begin = cut


def _cells(text: str, widths: Widths) -> npt.NDArray[np.int64] | None:
    """Cells up to and including each character; None where each takes one."""
    if text.isascii():
        return None
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.cumsum(widths(codes), dtype=np.int64)


def _marker(match: re.Match[str]) -> str:
    newlines = len(match[0]) - len(match[1])
    return f" {'||' if newlines > 1 else '|'}{len(match[1]) or ''} "


def _flat(parts: tuple[Part, ...], *, answers_only: bool) -> Iterator[Part | str]:
    """Parts in order, tool results opened up; a turn of role tool needs no tag for them."""
    for part in parts:
        if not isinstance(part, ToolResult):
            yield part
            continue
        if part.is_error:
            yield "error"
        elif not answers_only:
            yield "result"
        yield from part.parts


def _flow_part(part: Part | str, position: int, attachment: int) -> str:
    if isinstance(part, Text):
        return flow_text(part.text) + " "
    if isinstance(part, Thinking):
        return f"<thinking#{position}> {flow_text(part.text)} "
    if isinstance(part, ToolCall):
        return f"<call#{position} {_plain_name(part.name)}> {flow_text(part.arguments)} "
    if isinstance(part, Attachment):
        what = _plain_name(" ".join(filter(None, (part.media_type, part.name, part.url))))
        size = "" if part.data is None else f" {len(part.data)}B"
        return f"<{part.kind}#{position}.{attachment} {what}{size} {part.digest[:8]}> "
    return f"<{part}#{position}> "


def _plain_name(name: str) -> str:
    """A name that cannot end its tag."""
    return _NAME_CHARACTERS.sub("_", name)[:96]
