"""Which characters are drawn as one piece, and which of them take no cells.

A rule of the text and the shipped fonts alone, so that every machine lays it out alike:

- a base and its combining marks: the marks take no cells;
- a run of a script whose letters change with their neighbours (Arabic, Devanagari, ...);
- emoji that make one picture together, on two cells: a flag, a family, a red heart.

At most `LONGEST` marks join one base; those behind them stand in cells of their own, so
that no heap of marks hides any. Marks that no shipped font can draw never join.
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optimem.renderers.typefaces import LATE, Typeface

LONGEST = 15
"""Marks on one base at most: no language needs more than 6."""

STACKED = -1
"""Instead of a font: a base and marks that may come from several fonts."""

EMOJI = next(index for index, font in enumerate(LATE) if font.name == "NotoEmoji")

# What a code point is as a base: nothing, a character, or a letter of shaped font f: f + 2.
_NONE, _CHARACTER, _LETTER = 0, 1, 2
# What it joins: nothing, `_CHARACTER`, `_LETTER` + f, parts of emoji, or letters of any font.
_PART, _ANY = 254, 255

_SKINS = "\U0001f3fb-\U0001f3ff"
_SELECTORS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_JOINERS = (0x200C, 0x200D)
_PARTS = (*range(0x1F1E6, 0x1F200), *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080))
_BLANKS = (0x20, 0xA0)


class Cluster(NamedTuple):
    """Characters `start` to `stop` of a text, and the index in `LATE` of the font for them."""

    start: int
    stop: int
    font: int


class Piece(NamedTuple):
    """Text that is drawn as one.

    Attributes:
        text: a cluster or a run of one script.
        font: what draws it; None for a base and marks that may come from several fonts.
        cells: how many it fills.
        rtl: whether it is read from the right.
    """

    text: str
    font: Typeface | None
    cells: int
    rtl: bool = False


class Clusters:
    """Finds clusters.

    Args:
        drawn: code points of `DRAWN`.
        late: code points of `LATE`.
        fonts: the index of each one's font.
        marks: those of all drawn code points that join a base.
        emoji: code points that sequences of emoji are made of.
    """

    def __init__(
        self,
        drawn: npt.NDArray[np.uint32],
        late: npt.NDArray[np.uint32],
        fonts: npt.NDArray[np.uint8],
        marks: npt.NDArray[np.uint32],
        emoji: npt.NDArray[np.uint32],
    ) -> None:
        self._base = np.full(sys.maxunicode + 1, _NONE, np.uint8)  # hex boxes carry no marks
        self._base[drawn] = self._base[late] = _CHARACTER
        shaped = np.isin(fonts, [index for index, font in enumerate(LATE) if font.shaped])
        self._base[late[shaped]] = _LETTER + fonts[shaped]
        self._joins = np.zeros(sys.maxunicode + 1, np.uint8)
        self._joins[marks] = self._base[marks]
        self._joins[[*_SELECTORS]] = _CHARACTER
        self._joins[[*_JOINERS]] = _ANY
        self._joins[[*_PARTS]] = _PART
        self._base[self._joins > 0] = _NONE
        self._base[[*_BLANKS]] = _NONE
        self._emoji = re.compile(_emoji(set(emoji.tolist())))

    def solitary(self) -> npt.NDArray[np.bool_]:
        """Which code points are drawn by themselves if none that joins follows: (0x110000,)."""
        alone: npt.NDArray[np.bool_] = (self._joins == 0) & (self._base < _LETTER)
        return alone

    def find(self, text: str, codepoints: npt.NDArray[np.uint32]) -> list[Cluster]:
        """All clusters of a text, in order."""
        base, joins = self._base.take(codepoints), self._joins.take(codepoints)
        if not joins.any() and base.max(initial=0) < _LETTER:
            return []
        joined, pictures = self._joined(text, base, joins)
        unit = np.flatnonzero(~joined)  # first character of each base with its marks
        group = np.maximum(base[unit], joins[unit])
        alone = (group < _LETTER) | (group >= _PART) | (joins[unit] > 0)
        runs_on = (group[1:] == group[:-1]) & ~alone[1:] & ~alone[:-1]
        starts = unit[np.concatenate([[True], ~runs_on])]
        kinds = group[np.concatenate([[True], ~runs_on])]
        stops = np.append(starts[1:], len(text))
        shaped = (kinds >= _LETTER) & (kinds < _PART)
        found = []
        for index in np.flatnonzero(shaped | (stops - starts > 1)).tolist():
            start = int(starts[index])
            font = EMOJI if start in pictures else STACKED
            if shaped[index]:
                font = int(kinds[index]) - _LETTER
            found.append(Cluster(start, int(stops[index]), font))
        return found

    def narrow(
        self, text: str, codepoints: npt.NDArray[np.uint32], cells: npt.NDArray[np.uint8]
    ) -> None:
        """Set to 0 the cells of all characters that join the one before them."""
        joins = self._joins.take(codepoints)
        if joins.any():
            joined, pictures = self._joined(text, self._base.take(codepoints), joins)
            cells[joined] = 0
            cells[[*pictures]] = 2

    def _joined(
        self, text: str, base: npt.NDArray[np.uint8], joins: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.bool_], set[int]]:
        """Whether each character joins the one before it, and where pictures of emoji start."""
        index = np.arange(len(text))
        free = np.maximum.accumulate(np.where(joins == 0, index, -1))  # last that joins nothing
        under = np.where(free >= 0, base[free], _NONE)
        fits = (joins > 0) & (index - free <= LONGEST)
        fits &= (joins == under) | ((joins == _ANY) & (under >= _LETTER))
        # Behind the first mark that does not fit, no other joins the same base.
        barred = np.maximum.accumulate(np.where((joins > 0) & ~fits, index, -1))
        joined = fits & (barred < free)
        pictures = set()
        if (joins >= _PART).any() or "\ufe0f" in text or "\u20e3" in text:
            for match in self._emoji.finditer(text):
                joined[match.start() + 1 : match.end()] = True
                pictures.add(match.start())
        return joined, pictures


def _emoji(points: set[int]) -> str:
    """The pattern of what becomes one picture: at least two code points."""
    base = sorted(points - {*_PARTS, *_JOINERS, *_SELECTORS, 0x20E3})
    # Ranges, since a character class is searched one entry after another.
    stretches = groupby(enumerate(base), lambda item: item[1] - item[0])
    runs = [[point for _, point in stretch] for _, stretch in stretches]
    picture = f"[{''.join(f'{chr(points[0])}-{chr(points[-1])}' for points in runs)}]"
    dressed = f"{picture}[\ufe0f{_SKINS}]{{0,2}}"
    return "|".join(
        (
            "[\U0001f1e6-\U0001f1ff]{2}",  # a flag
            "[0-9#*]\ufe0f?\u20e3",  # a key
            "\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f",  # the flag of a region
            f"{dressed}(?:\u200d{dressed}){{1,4}}",
            f"{picture}[\ufe0f{_SKINS}]{{1,2}}",
        )
    )
