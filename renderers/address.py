"""Where on which page a turn or some words of it stand, and what stands in a region.

"Page 12, lines 20-31" is a `Place`. Recall gives the places of each turn, a reader can be
asked for one, and `Place.box` is its rectangle in a page's image. Roles have a band of
grey each, so what a role said is a place as well, and can be read alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from optimem.errors import InputError
from optimem.modes import ROWS, Tier
from optimem.renderers.flow import flow_text
from optimem.values import SPLIT, Page, Role, Span

_MARKER = re.compile(r"\|{1,2}\d*")
_ADDRESS = re.compile(r"page (\d{1,18})(?:, lines? (\d{1,2})(?:-(\d{1,2}))?)?")


@dataclass(frozen=True, slots=True)
class Place:
    """Some lines of a page.

    Attributes:
        page: its number, counted from 0 as in its caption.
        first: the first line, counted from 1 at the top.
        last: the last line.
    """

    page: int
    first: int = 1
    last: int = ROWS

    @classmethod
    def parse(cls, address: str) -> Place:
        """The place that "page 12, lines 20-31" names; a page without lines is all of it.

        Raises:
            InputError: it is no address, or names lines that no page has.
        """
        found = _ADDRESS.fullmatch(address.strip().lower())
        page, first, last = found.groups() if found else ("0", None, None)
        place = cls(int(page), int(first or 1), int(last or first or ROWS))
        if found is None or not 1 <= place.first <= place.last <= ROWS:
            raise InputError(
                f"{address!r} is no place: write 'page 12, lines 20-31', lines from 1 to {ROWS}"
            )
        return place

    def __str__(self) -> str:
        lines = (
            f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"
        )
        return f"page {self.page}, {lines}"

    def box(self, tier: Tier) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the lines in the page's image, in pixels."""
        height = tier.cell[1]
        return 0, (self.first - 1) * height, tier.side, self.last * height


def turn_places(pages: Iterable[Page], position: int) -> tuple[Place, ...]:
    """The lines on which a turn stands, one place a page; its first and last may be shared."""
    return tuple(
        _place(page, span) for page in pages for span in page.spans if span.position == position
    )


def role_places(page: Page, role: Role) -> tuple[Place, ...]:
    """The lines of a page in a role's band of grey, one place a turn."""
    return tuple(_place(page, span) for span in page.spans if span.role == role)


def word_places(pages: Iterable[Page], position: int, words: str) -> tuple[Place, ...]:
    """The lines on which words of a turn stand for the first time, one place a page.

    Blanks and line breaks make no difference. Words in a run of data are not found, as no
    page shows them.
    """
    rows = [
        (page.number, number, _bare(row))
        for page in pages
        for span in page.spans
        if span.position == position
        for number, row in _rows(page, span)
    ]
    wanted = _bare(flow_text(words))
    start = "".join(row for _, _, row in rows).find(wanted)
    if start < 0 or not wanted:
        return ()
    ends = list(accumulate(len(row) for _, _, row in rows))
    found = rows[bisect_right(ends, start) : bisect_right(ends, start + len(wanted) - 1) + 1]
    lines: dict[int, list[int]] = {}
    for page_number, number, _ in found:
        lines.setdefault(page_number, []).append(number)
    return tuple(Place(page, numbers[0], numbers[-1]) for page, numbers in lines.items())


def region_words(page: Page, place: Place) -> str:
    """What the lines of a place say, as flowed text."""
    return "".join(row.removesuffix(SPLIT) for row in page.rows[place.first - 1 : place.last])


def crop(page: Page, place: Place) -> Page:
    """The lines of a place as a page of their own, which `parse_page` takes apart."""
    rows = page.rows[place.first - 1 : place.last]
    start = sum(map(len, page.rows[: place.first - 1]))
    stop = start + sum(map(len, rows))
    spans = (
        replace(
            span,
            start=max(span.start, start) - start,
            stop=min(span.stop, stop) - start,
            begins=span.begins and span.start >= start,
            ends=span.ends and span.stop <= stop,
        )
        for span in page.spans
        if span.start < stop and start < span.stop
    )
    return replace(page, rows=rows, spans=tuple(spans), marks=())


def role_words(page: Page, role: Role) -> str:
    """What stands in a role's band of grey, as flowed text."""
    return "".join(
        words for span in page.spans if span.role == role for _, words in _rows(page, span)
    )


def _bare(row: str) -> str:
    """Flowed text without its markers and blanks."""
    return "".join(token for token in row.split(" ") if not _MARKER.fullmatch(token))


def _place(page: Page, span: Span) -> Place:
    numbers = [number for number, _ in _rows(page, span)]
    return Place(page.number, numbers[0], numbers[-1])


def _rows(page: Page, span: Span) -> Iterator[tuple[int, str]]:
    """The lines of a span, counted from 1, with its words on each."""
    start = 0
    for number, row in enumerate(page.rows, 1):
        stop = start + len(row)
        if span.start < stop and start < span.stop:
            words = row[max(span.start - start, 0) : span.stop - start]
            yield number, words.removesuffix(SPLIT) if span.stop >= stop else words
        start = stop
