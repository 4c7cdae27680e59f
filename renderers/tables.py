"""Lines that stand in columns: tables, whose columns say which value belongs where.

Columns are those of a page, in cells: a wide character takes two, as in a terminal, and a
mark that joins its letter none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from optimem.modes import COLUMNS
from optimem.renderers.atlas import load_atlas

LINE_NUMBER = re.compile(r" *(?:\S*[:-])?\d+[:-]?  ")
"""What begins a line of a listing: its number, and blanks that tell nothing."""

_LINES, _GAPS = 3, 2  # that a table has at least
_WIDEST = COLUMNS - 2  # cells of a table's line, which must fit its row with a marker
_GAP = re.compile(r"(?<=[^ ]) {2,}(?=[^ ])")
_NO_COLUMNS: frozenset[int] = frozenset()


def find_tables(lines: Sequence[str], gapped: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive lines in which the same columns are blank.

    Args:
        lines: without blanks at their ends.
        gapped: the indexes of those that have a run of blanks behind their first word.
    """
    start = stop = 0
    shared: frozenset[int] | None = None  # by the lines so far; None if there was no need to know
    listing = several = False
    for number in gapped:
        more = _has_gaps(lines[number])
        # Two lines of which each has one gap do not share two.
        if number == stop and (more or several):
            if shared is None:
                shared, listing = _blank_columns(lines[start]), _is_numbered(lines[start])
            both = shared & _blank_columns(lines[number])
            numbered = listing and _is_numbered(lines[number])
            # In a listing of a file the gap behind the lines' numbers tells nothing.
            if sum(column - 1 not in both for column in both) >= _GAPS + numbered:
                stop, shared, listing, several = number + 1, both, numbered, True
                continue
        if stop - start >= _LINES:
            yield start, stop
        start, stop, shared, several = number, number + 1, None, more
    if stop - start >= _LINES:
        yield start, stop


def _has_gaps(line: str) -> bool:
    """Whether a line with a gap behind its first word has another."""
    words = line.lstrip(" ")
    return "  " in words[words.find("  ") :].lstrip(" ")


def _is_numbered(line: str) -> bool:
    return LINE_NUMBER.match(line) is not None


def _blank_columns(line: str) -> frozenset[int]:
    """The cells of a line's gaps; none if the line is too wide for a row."""
    if len(line) > _WIDEST:
        return _NO_COLUMNS
    gaps = [gap.span() for gap in _GAP.finditer(line)]
    if not line.isascii():
        ends = np.cumsum(load_atlas().cells(line), dtype=np.intp).tolist()
        if ends[-1] > _WIDEST:
            return _NO_COLUMNS
        gaps = [(ends[first - 1], ends[last - 1]) for first, last in gaps]
    return frozenset(column for gap in gaps for column in range(*gap))
