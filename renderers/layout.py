"""Turns become pages: flowed text is cut into rows of 128 cells, and 64 rows are a page.

Nothing is left out: the rows joined, without the marks of split words, are the flowed text
(see `flow`), and a turn may run over the end of a page. A row ends behind a blank, which is
not drawn when it falls on the edge, behind a comma, or in front of a wide character. A word
that reaches far back is split, and a backslash in the row's last cell says so. No row
begins with a line marker.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS
from optimem.renderers.flow import flow_turn
from optimem.renderers.normal import FlowStyle
from optimem.values import SPLIT, Entry, Mark, Page, Role, Span

LAYOUT_VERSION = 4
LONGEST_UNBROKEN = 24
"""A word reaching further back than this from a row's end is split there."""

_WINDOW = 1 << 15  # characters that are measured at a time, to bound memory
_NO_CELLS: npt.NDArray[Any] = np.zeros(0, np.uint8)
_MARKER = re.compile(r"\|{1,2}\d*(?: |$)")

Cells = Callable[[str], npt.NDArray[np.uint8]]
"""Cells of each character of a text: 1, 2, or 0 if it joins the character before it."""


@dataclass(frozen=True, slots=True)
class PageStyle:
    """How pages are laid out and drawn; part of each page's name.

    Attributes:
        fade: "native" rasterizes the font at each size and reads better; "area" shrinks
            the Base glyphs, so that a faded page equals its downsampled self.
        flow: which lines keep a row of their own: "all" flows everything, "lines" keeps
            every line, "auto" keeps tables and flows the rest.
    """

    fade: Literal["native", "area"] = "native"
    flow: FlowStyle = "auto"

    def key(self, atlas_key: str) -> str:
        """What pages of this style, layout and atlas are marked with."""
        return f"{LAYOUT_VERSION}/{self.fade}/{self.flow}/{atlas_key}"


class PageBuilder:
    """Lays out turns one after another and seals a page whenever one is full.

    Args:
        cells: measures text, as the atlas does.
        key: what sealed pages are marked with: `PageStyle.key`.
        number: of the first page that will be sealed.
        resume: (position, offset) in the flowed log at which that page starts.
        flow: as in `PageStyle`.
    """

    def __init__(
        self,
        cells: Cells,
        key: str,
        number: int = 0,
        resume: tuple[int, int] = (0, 0),
        flow: FlowStyle = "auto",
    ) -> None:
        self._cells = cells
        self._key = key
        self._number = number
        self._resume = resume
        self._flow: FlowStyle = flow
        self._rows: list[str] = []
        self._splits: list[int] = []  # offsets in the open page's text behind which a mark stands
        self._length = 0  # of the text in rows
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
        return "".join(row.removesuffix(SPLIT) for row in self._rows) + self._rest

    @property
    def next_position(self) -> int:
        """Position of the turn to add next (an interrupted one comes again, whole)."""
        return self._spans[-1].position + 1 if self._spans else self._resume[0]

    def add(self, entry: Entry) -> Iterator[Page]:
        """Lay out one turn; yields the pages that it fills. Exhaust the iterator."""
        flow = flow_turn(entry, self._flow)
        position, offset = self._resume if not self._spans else (entry.position, 0)
        offset = offset if position == entry.position else 0
        start = self._length + len(self._rest)
        body = flow.text[offset:]
        if body:
            stop = start + len(body)
            self._spans.append(_OpenSpan(entry.position, entry.turn.role, start, stop, offset))
        for index, at in enumerate(flow.marks):
            if at >= offset:
                self._marks.append((start + at - offset, Mark(entry.position, index)))
        breaks: Sequence[int] = flow.breaks
        if breaks:
            shift = len(self._rest) - offset
            breaks = [at + shift for at in breaks if at > offset]
        text, begin = self._rest + body, 0
        for cut, split in row_ends(text, self._cells, breaks):
            self._length += cut - begin
            if split:
                self._splits.append(self._length)
            self._rows.append(f"{text[begin:cut]}{SPLIT}" if split else text[begin:cut])
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
            self._length += len(self._rest)
            self._rows.append(self._rest)
            self._rest = ""
        page = replace(self._seal(), stop=after)
        self._resume = after
        return page

    def _seal(self) -> Page:
        length, splits = self._length, self._splits
        shown = [span for span in self._spans if span.start < length]
        left = [span.behind(length) for span in self._spans if span.stop > length]
        stop = (left[0].position, left[0].offset) if left else (shown[-1].position + 1, 0)
        page = Page(
            number=self._number,
            rows=tuple(self._rows),
            spans=tuple(span.within(length, splits) for span in shown),
            marks=tuple(mark for at, mark in self._marks if at < length),
            stop=stop,
            style=self._key,
        )
        self._number += 1
        self._rows, self._splits, self._length = [], [], 0
        self._spans = left
        self._resume = stop
        self._marks = [(at - length, mark) for at, mark in self._marks if at >= length]
        return page


@dataclass(slots=True)
class _OpenSpan:
    position: int
    role: Role
    start: int  # in the open page's text, marks of split words not counted
    stop: int
    offset: int  # of `start` in the turn's flowed text

    def within(self, length: int, splits: Sequence[int]) -> Span:
        stop = min(self.stop, length)
        begins, ends = self.offset == 0, self.stop <= length
        start = self.start
        if splits:
            start += bisect_right(splits, start)
            stop += bisect_right(splits, stop)
        return Span(self.position, self.role, start, stop, begins, ends)

    def behind(self, length: int) -> _OpenSpan:
        start = max(self.start, length)
        offset = self.offset + start - self.start
        return _OpenSpan(self.position, self.role, start - length, self.stop - length, offset)


def row_ends(text: str, cells: Cells, breaks: Sequence[int] = ()) -> Iterator[tuple[int, bool]]:
    """Index behind each full row, and whether a word is split there and needs its mark.

    Text that may still fit its row is left over.

    Args:
        text: flowed text.
        cells: measures it.
        breaks: indexes, in order, behind which a new row begins in any case.
    """
    begin, length = 0, len(text)
    if 2 * length <= COLUMNS and not breaks:  # it fits, whatever it is
        return
    ruler = _Ruler(text, cells)
    if ruler.plain and not breaks:  # most turns: nothing is measured
        edge = COLUMNS
        while edge < length:
            far = edge - LONGEST_UNBROKEN
            cut = text.rfind(" ", far, edge + 1) + 1 or text.rfind(",", far, edge) + 1
            split = False
            if not cut or text.startswith(("|", "\\"), cut):
                cut, split = _row_end(text, edge - COLUMNS, edge, ruler)
            yield cut, split
            edge = cut + COLUMNS
        return
    forced = iter(breaks)
    forced_end = next(forced, -1)
    while True:
        while 0 <= forced_end <= begin:
            forced_end = next(forced, -1)
        edge = ruler.reach(begin, COLUMNS)  # the first character that does not fit
        if 0 < forced_end <= edge + 1:
            cut, split = forced_end, False
        elif edge >= length:
            return
        else:
            cut, split = _row_end(text, begin, edge, ruler)
        yield cut, split
        begin = cut


def _row_end(text: str, begin: int, edge: int, ruler: _Ruler) -> tuple[int, bool]:
    """Where a row ends whose text goes on at `edge`, and whether that splits a word."""
    far = max(begin, edge - LONGEST_UNBROKEN)
    cut, latest = ruler.blank(begin, edge + 1), edge
    if cut and _MARKER.match(text, cut):  # a marker stays with the word in front of it
        cut, latest = ruler.blank(begin, cut - 1), cut - 2
        while ruler.cells(latest) == 0:
            latest -= 1
    if cut > edge:
        return cut, False
    if ruler.cells(latest) == 2 and text[latest - 1] != SPLIT:
        return latest, False
    if cut > far:
        return cut, False
    comma = text.rfind(",", far, latest) + 1
    if comma > far and ruler.cells(comma) and text[comma] not in "|\\":
        return comma, False
    cut = min(ruler.reach(begin, COLUMNS - 1), latest)
    while cut > begin + 1 and ruler.cells(cut) == 0:
        cut -= 1
    return cut, True


class _Ruler:
    """Measures a text in cells, a window at a time; once if each character is one cell.

    Attributes:
        plain: each character is one cell.
    """

    def __init__(self, text: str, cells: Cells) -> None:
        self._text = text
        self._measure = cells
        self._start = self._stop = 0
        self._cells = _NO_CELLS
        self._sums = _NO_CELLS  # cells in front of each character of the window
        self.plain = text.isascii()
        if not self.plain and len(text) <= _WINDOW:
            measured = cells(text)
            self.plain = measured.tobytes().count(1) == len(text)
            if not self.plain:
                self._keep(0, measured)

    def reach(self, begin: int, room: int) -> int:
        """Index of the first character that does not fit `room` cells from `begin` on."""
        if self.plain:
            return begin + room
        if 2 * (len(self._text) - begin) <= room:  # whatever it is, it fits
            return len(self._text)
        if begin - self._start > _WINDOW // 2 or not self._stop:
            self._look(begin, _WINDOW)
        while True:
            limit = self._sums[begin - self._start] + room
            end = self._start + int(np.searchsorted(self._sums, limit, side="right")) - 1
            if end + 1 < self._stop or self._stop == len(self._text):
                return end if end < self._stop else len(self._text)
            self._look(begin, 2 * (self._stop - begin))  # a cluster larger than the window

    def cells(self, index: int) -> int:
        """Cells of a character in front of the edge or on it; 0 if it joins another."""
        if self.plain or index >= len(self._text):
            return 1
        return int(self._cells[index - self._start])

    def blank(self, begin: int, stop: int) -> int:
        """Index behind the last blank in a stretch that a row can end with; 0 without one."""
        while (at := self._text.rfind(" ", begin, stop)) >= 0:
            if self.cells(at + 1):
                return at + 1
            stop = at
        return 0

    def _look(self, start: int, size: int) -> None:
        self._keep(start, self._measure(self._text[start : start + size]))

    def _keep(self, start: int, cells: npt.NDArray[np.uint8]) -> None:
        """Hold the cells of a window."""
        self._start, self._stop = start, start + len(cells)
        self._cells = cells
        self._sums = np.zeros(len(cells) + 1, np.int64)
        np.cumsum(cells, out=self._sums[1:])
