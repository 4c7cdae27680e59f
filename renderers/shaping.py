"""Rows that need more than one glyph per character: right-to-left and joining scripts, marks.

`order_row` finds the column of each character of a row (python-bidi orders what is read
from the right), and `draw_piece` draws a cluster or a word as one (HarfBuzz shapes it).
A page calls this for the rows that need it only, so plain text loads none of these
libraries. What it gives depends on the text, the fonts and the libraries' versions.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import bidi  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from bidi import algorithm
from bidi.mirror import MIRRORED  # type: ignore[import-untyped]

from optimem.errors import InputError
from optimem.renderers.clusters import EMOJI, Piece
from optimem.renderers.glyphs import (
    Placed,
    draw,
    draw_mark,
    draw_word,
    find_typeface,
)
from optimem.renderers.typefaces import LATE, Cell, Typeface

hb: Any = importlib.import_module("uharfbuzz")  # its types leave out what is compiled

Pixels = npt.NDArray[np.uint8]

_TAG = re.compile(r"<[a-z]+#\d+[^<>]*> ")
_ORDERED = frozenset("L R AL EN ES ET AN CS NSM WS ON".split())  # the classes with an effect
_LEFT, _RIGHT = frozenset(("L", "EN", "AN")), frozenset(("R", "AL", "AN"))
_NEUTRAL = "\ufffc"
_BELOW = (202, 218, 220, 222, 233)  # canonical combining classes
_ABOVE = (214, 216, 228, 230, 232, 234)
_LOWEST = 0.6  # how far a letter may shrink to make room for its marks


class Order(NamedTuple):
    """Where a row's characters stand.

    Attributes:
        columns: the first column of each character; one without cells has its base's.
        levels: odd for a character that is read from the right.
        shown: the row with its brackets turned round where they are read from the right.
    """

    columns: list[int]
    levels: list[int]
    shown: str


def order_row(row: str, cells: list[int], starts: Sequence[int]) -> Order:
    """Order a row by the Unicode Bidirectional Algorithm (UAX 9).

    Each turn on the row is a paragraph of its own, and its tag stays on the left. A
    paragraph runs from right to left if at least half of its letters on this row do.
    Formatting characters that would change the order are drawn as boxes and have no effect.

    Args:
        row: one row of a page, in logical order.
        cells: of each character.
        starts: index of each turn's first character on the row, and 0.
    """
    columns = [0, *accumulate(cells)][:-1]
    levels = [0] * len(row)
    shown = list(row)
    for start, stop in pairwise((*starts, len(row))):
        if tag := _TAG.match(row, start, stop):
            start = tag.end()
        body = row[start:stop].rstrip(" ")
        levels[start : start + len(body)] = _levels(body)
        based = [at for at in range(start, start + len(body)) if cells[at]]
        column = columns[start] if based else 0
        for index in _visual([levels[at] for at in based]):
            at = based[index]
            columns[at] = column
            column += cells[at]
            if levels[at] % 2:
                shown[at] = MIRRORED.get(shown[at], shown[at])
        for at in range(start + 1, start + len(body)):
            if not cells[at]:
                columns[at], levels[at] = columns[at - 1], levels[at - 1]
    return Order(columns, levels, "".join(shown))


@functools.lru_cache(maxsize=1 << 14)
def draw_piece(piece: Piece, cell: Cell) -> Pixels:
    """Draw a piece at a size: ink 0..15, (h, cells * w). Do not write to it."""
    text, font, cells, rtl = piece
    if font is None:
        return _draw_stack(text[0], text[1:], cell, cells)
    marks = ""
    if font == LATE[EMOJI]:  # other fonts' marks may stand behind an emoji
        marks = "".join(c for c in text if _is_mark(c) and find_typeface(ord(c)) != font)
        text = text.translate(dict.fromkeys(map(ord, marks)))
    glyphs, advance = _shape(font, text, rtl)
    ink = draw_word(font, glyphs, advance, cell, cells)
    _add_marks(ink, marks, cell)
    return ink


def versions() -> tuple[str, ...]:
    """Of the libraries and tables that place glyphs: they decide pixels."""
    return hb.version_string(), bidi.VERSION, unicodedata.unidata_version


def _levels(text: str) -> list[int]:
    """The embedding level of each character of a paragraph."""
    runs = [(kind, len(list(run))) for kind, run in groupby(text, unicodedata.bidirectional)]
    right = sum(length for kind, length in runs if kind in ("R", "AL"))
    left = sum(length for kind, length in runs if kind == "L")
    kinds = {kind for kind, _ in runs}
    if not kinds & (_LEFT if right else _RIGHT):
        return [int(right > 0)] * len(text)
    # One character stands for its run of equals: the rules treat both alike.
    starts = accumulate((length for _, length in runs), initial=0)
    pairs = zip(starts, runs, strict=False)
    outline = "".join(text[at] if kind in _ORDERED else _NEUTRAL for at, (kind, _) in pairs)
    levels = _resolve(outline, int(right >= left))
    return [level for level, (_, length) in zip(levels, runs, strict=True) for _ in range(length)]


@functools.lru_cache(maxsize=1 << 12)
def _resolve(text: str, base: int) -> list[int]:
    """python-bidi's levels; its `get_display` gives only the reordered text."""
    storage = algorithm.get_empty_storage()
    storage["base_level"], storage["base_dir"] = base, "LR"[base]
    algorithm.get_embedding_levels(text, storage)
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    return [character["level"] for character in storage["chars"]]


def _visual(levels: list[int]) -> list[int]:
    """Indices from left to right: rule L2 of UAX 9."""
    order = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        high = [levels[index] >= level for index in order]
        runs = groupby(zip(high, order, strict=True), itemgetter(0))
        stretches = [(turn, [index for _, index in run]) for turn, run in runs]
        order = [at for turn, run in stretches for at in (run[::-1] if turn else run)]
    return order


def _shape(font: Typeface, text: str, rtl: bool) -> tuple[list[Placed], float]:
    """The glyphs of a text from left to right, and its width in ems."""
    shaper = _shaper(font)
    buffer = hb.Buffer()
    buffer.add_codepoints([ord(character) for character in text])
    buffer.language = "und"  # else it is the process's locale
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if rtl else "ltr"
    hb.shape(shaper, buffer)
    em, pen = shaper.face.upem, 0
    placed = []
    for glyph, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        x = (pen + place.x_offset) / em
        placed.append(Placed(glyph.codepoint, x, place.y_offset / em))
        pen += place.x_advance
    return placed, pen / em


@functools.lru_cache(maxsize=64)
def _shaper(font: Typeface) -> Any:
    return hb.Font(hb.Face(hb.Blob.from_file_path(str(font.path)), font.index))


def _draw_stack(base: str, marks: str, cell: Cell, cells: int) -> Pixels:
    """Draw a base with its marks above, below and through it."""
    point = ord(base)
    font = find_typeface(point)
    if font is None:
        raise InputError(f"no shipped font has U+{point:04X}")
    ink = draw(font, point, cell, cells)
    needed = sum(len(mark) + 1 for mark, kind in _marks(marks, cell) if kind in _ABOVE)
    rows = np.flatnonzero(ink.any(axis=1))
    if needed and rows.size and needed > rows[0]:
        floor = font.baseline(cell)
        low = (floor - needed) / max(floor - int(rows[0]), 1)
        ink = draw(font, point, cell, cells, low=max(low, _LOWEST))
    _add_marks(ink, marks, cell)
    return ink


def _add_marks(ink: Pixels, marks: str, cell: Cell) -> None:
    """Put marks onto a drawn base, each farther out than the one before it."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    middle = (int(columns[0]) + int(columns[-1]) + 1) / 2
    for mark, kind in _marks(marks, cell):
        height, width = min(mark.shape[0], len(ink) - 1), min(mark.shape[1], ink.shape[1])
        if kind in _ABOVE:
            row = top = max(1, top - 1 - height)
        elif kind in _BELOW:
            row = min(bottom + (kind != 202), len(ink) - height)
            bottom = row + height
        else:
            row = (top + bottom - height) // 2
        row = max(1, min(row, len(ink) - height))
        column = max(0, min(round(middle - width / 2), ink.shape[1] - width))
        place = ink[row : row + height, column : column + width]
        np.maximum(place, mark[:height, :width], out=place)


def _marks(marks: str, cell: Cell) -> list[tuple[Pixels, int]]:
    """Ink and combining class of each mark that has ink."""
    drawn = []
    for mark in marks:
        font = find_typeface(ord(mark))
        if font is not None:
            drawn.append((draw_mark(font, ord(mark), cell), unicodedata.combining(mark)))
    return [(ink, kind) for ink, kind in drawn if ink.size]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
