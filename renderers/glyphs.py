"""Ink of glyphs: FreeType rasterizes a font's outlines into cells.

How glyphs are drawn was measured with OCR engines: light hinting, grey levels and slightly
bold strokes read best, and 4 bits of grey lose nothing. The shipped atlas was drawn by
this module; at run time it draws only what the atlas has not.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import freetype  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from freetype.ft_enums import (  # type: ignore[import-untyped]
    FT_LOAD_FLAGS,
    FT_LOAD_TARGETS,
)

from optimem.renderers.typefaces import DRAWN, LATE, Cell, Typeface

Pixels = npt.NDArray[np.uint8]

BOLD = 0.7  # exponent of coverage: below 1 strokes gain weight
WIDEST = 1.4  # a word is stretched by this much at most, to fill its cells
SPARE = 2  # and loses this many rows at most before all of it is made lower

# Pieces that continue in the next cell: they are cut at the cell's edge, never moved.
JOINED = (
    *((0x2320, 0x2321), (0x239B, 0x23AE), (0x23B7, 0x23BD), (0x2500, 0x259F)),
    *((0xE0B0, 0xE0B3), (0x1FB00, 0x1FBFF)),
)
TALLER = 1.04  # how much joined pieces are stretched, to reach the cell's edge at all sizes

# freetype-py defines its constants at run time: type checkers only know the tables of them.
_NO_HINTING = FT_LOAD_FLAGS["FT_LOAD_NO_HINTING"]
_LIGHT = FT_LOAD_TARGETS["FT_LOAD_TARGET_LIGHT"]
_RENDER = FT_LOAD_FLAGS["FT_LOAD_RENDER"]
_SNAP = FT_LOAD_FLAGS["FT_LOAD_FORCE_AUTOHINT"] | FT_LOAD_TARGETS["FT_LOAD_TARGET_NORMAL"]

_INK = np.round(15 * (np.arange(256) / 255) ** BOLD).astype(np.uint8)  # by coverage
_LOCK = threading.RLock()  # a face keeps its size and its last glyph: one thread at a time


class Placed(NamedTuple):
    """A glyph of a shaped word: its number in the font, and where it stands, in ems."""

    glyph: int
    x: float
    y: float


def version() -> str:
    """FreeType's version: it decides pixels."""
    return ".".join(map(str, freetype.version()))


def code_points(typeface: Typeface) -> list[int]:
    """All that a font maps to a glyph."""
    with _LOCK:
        return [point for point, _ in _face(typeface).get_chars()]


def has_glyph(typeface: Typeface, point: int) -> bool:
    """Whether a font maps the code point to a glyph."""
    with _LOCK:
        return bool(_face(typeface).get_char_index(point))


@functools.lru_cache(maxsize=1 << 14)
def find_typeface(point: int) -> Typeface | None:
    """The first shipped font that has a code point."""
    return next((font for font in (*DRAWN, *LATE) if has_glyph(font, point)), None)


def draw(
    typeface: Typeface,
    point: int,
    cell: Cell,
    cells: int,
    *,
    low: float = 1.0,
    snap: bool = False,
) -> Pixels:
    """Draw one glyph.

    Ordinary glyphs leave the top row clear, so that lines never touch: one that is too
    high or too wide is moved, and if that is not enough, drawn smaller. Joined ones stay
    where they are and lose what lies beyond the cell.

    Args:
        typeface: a font that has the code point.
        point: the code point.
        cell: size of one cell.
        cells: how many it fills, 1 or 2.
        low: how much lower than usual to draw it.
        snap: whether its stems are moved to whole columns of pixels, not to rows alone.

    Returns:
        Ink 0..15, (h, cells * w).
    """
    width, height = cell[0] * cells, cell[1]
    joined = within(point, JOINED)
    with _LOCK:
        glyph = _load(typeface, point, cell, low=TALLER if joined else low, snap=snap)
        if not joined:
            narrow = 1.0
            for _ in range(4):  # hinting moves edges, so one correction may not be enough
                box, rows = glyph.outline.get_cbox(), glyph.bitmap.rows
                if box.xMax - box.xMin <= 64 * width and rows < height:
                    break
                narrow *= min(1.0, 64 * width / (box.xMax - box.xMin))
                low *= min(1.0, (height - 1) / rows)
                glyph = _load(typeface, point, cell, narrow, low, 0, snap)
            if shift := _shift(glyph, width, cells, narrowed=narrow < 1):
                glyph = _load(typeface, point, cell, narrow, low, shift, snap)
        top = typeface.baseline(cell) - glyph.bitmap_top
        if not joined:
            top = max(1, min(top, height - glyph.bitmap.rows))
        return _paste(glyph, (height, width), top)


def draw_label(typeface: Typeface, label: str, cell: Cell) -> Pixels:
    """Draw a few letters that step down across two cells, (h, 2w)."""
    width, height = 2 * cell[0], cell[1]
    ink = np.zeros((height, width), np.uint8)
    for index, letter in enumerate(label):
        left = width * index // len(label)
        shape = height - 1, width * (index + 1) // len(label) - left
        glyph = _load(typeface, ord(letter), cell, 0.67, 0.67)
        spare = shape[0] - glyph.bitmap.rows
        top = 1 + spare * index // max(len(label) - 1, 1)
        ink[:, left : left + shape[1]] |= _paste(glyph, (height, shape[1]), top)
    return ink


def draw_word(
    typeface: Typeface, glyphs: Sequence[Placed], advance: float, cell: Cell, cells: int
) -> Pixels:
    """Draw a shaped word so that it fills its cells.

    It is squeezed or stretched across. Where marks would leave the cell it loses a row or
    two: at small sizes that hurts less than flat letters. All words of a font share one
    baseline.

    Args:
        typeface: the font that the glyphs are numbered in.
        glyphs: from left to right.
        advance: the word's natural width in ems.
        cell: size of one cell.
        cells: how many the word has.

    Returns:
        Ink 0..15, (h, cells * w).
    """
    width, height = cell[0] * cells, cell[1]
    natural = advance * typeface.size(cell)
    narrow = min(WIDEST, width / natural) if natural else 1.0
    low = 1.0
    with _LOCK:
        word, left, top = _draw_glyphs(typeface, glyphs, cell, narrow, low)
        for _ in range(3):
            if word.shape[1] <= width and word.shape[0] < height + SPARE:
                break
            narrow *= min(1.0, width / word.shape[1])
            low *= min(1.0, (height - 1) / word.shape[0])
            word, left, top = _draw_glyphs(typeface, glyphs, cell, narrow, low)
    word, cut = _cropped(word[:, :width], height - 1)
    left += round((width - natural * narrow) / 2)
    left = max(0, min(left, width - word.shape[1]))
    top = max(1, min(typeface.baseline(cell) - top + cut, height - word.shape[0]))
    ink = np.zeros((height, width), np.uint8)
    ink[top : top + word.shape[0], left : left + word.shape[1]] = _INK[word]
    return ink


def draw_mark(typeface: Typeface, point: int, cell: Cell) -> Pixels:
    """Draw a combining mark by itself: ink 0..15 without blank rows or columns around it."""
    with _LOCK:
        glyph = _load(typeface, point, cell)
        return _INK[_coverage(glyph)]


def is_visible(typeface: Typeface, point: int) -> bool:
    """Whether the glyph has ink: if not, a hex box shows what the blank stands for."""
    return bool(_load(typeface, point, (16, 32)).bitmap.rows)


def is_wide(typeface: Typeface, point: int) -> bool:
    """Whether the glyph would lose too much of its width in one cell."""
    glyph = _load(typeface, point, (16, 32))
    return bool(glyph.linearHoriAdvance / 65536 > 16 * 1.6)


def within(point: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether a code point lies in one of the ranges, ends included."""
    return any(first <= point <= last for first, last in ranges)


@functools.lru_cache(maxsize=64)
def _face(typeface: Typeface) -> freetype.Face:
    return freetype.Face(str(typeface.path), typeface.index)


def _load(
    typeface: Typeface,
    point: int,
    cell: Cell,
    narrow: float = 1.0,
    low: float = 1.0,
    shift: int = 0,
    snap: bool = False,
) -> freetype.GlyphSlot:
    """Render a glyph at a cell's size, scaled on both axes, then moved `shift` / 64 pixels."""
    face = _face(typeface)
    joined = within(point, JOINED)
    em = 64 * (cell[0] / 0.6 if joined else typeface.size(cell))
    face.set_char_size(round(em * narrow), round(em * low), 72, 72)
    face.set_transform(_IDENTITY, freetype.Vector(shift, 0))
    # Light hinting snaps to rows only. Joined pieces must meet, so they are not hinted.
    hinting = _NO_HINTING if joined else _SNAP if snap else _LIGHT
    face.load_char(chr(point), _RENDER | hinting)
    return face.glyph


def _draw_glyphs(
    typeface: Typeface, glyphs: Sequence[Placed], cell: Cell, narrow: float, low: float
) -> tuple[Pixels, int, int]:
    """Coverage of a word, and where its first column and its top row are from the origin."""
    face = _face(typeface)
    size = typeface.size(cell)
    face.set_char_size(round(64 * size * narrow), round(64 * size * low), 72, 72)
    drawn = []  # (coverage, left, top)
    for glyph, x, y in glyphs:
        column, shift = divmod(round(64 * x * size * narrow), 64)
        face.set_transform(_IDENTITY, freetype.Vector(shift, 0))
        face.load_glyph(glyph, _RENDER | _LIGHT)
        slot = face.glyph
        if slot.bitmap.rows and slot.bitmap.width:
            top = slot.bitmap_top + round(y * size * low)
            drawn.append((_coverage(slot), column + slot.bitmap_left, top))
    if not drawn:
        return np.zeros((0, 0), np.uint8), 0, 0
    left = min(at for _, at, _ in drawn)
    high = max(top for _, _, top in drawn)
    right = max(at + part.shape[1] for part, at, _ in drawn)
    bottom = min(top - part.shape[0] for part, _, top in drawn)
    word = np.zeros((high - bottom, right - left), np.uint8)
    for part, at, top in drawn:
        place = word[high - top :, at - left :][: part.shape[0], : part.shape[1]]
        np.maximum(place, part, out=place)
    return word, left, high


def _cropped(word: Pixels, height: int) -> tuple[Pixels, int]:
    """A word without its emptiest outer rows, and how many went from the top."""
    cut = 0
    while len(word) > height:
        if int(word[0].sum()) < int(word[-1].sum()):
            word, cut = word[1:], cut + 1
        else:
            word = word[:-1]
    return word, cut


def _shift(glyph: freetype.GlyphSlot, width: int, cells: int, *, narrowed: bool) -> int:
    """By how many 1/64 pixels to move a glyph so that its ink lies within its cells."""
    box = glyph.outline.get_cbox()
    low, high = int(box.xMin), int(box.xMax)
    if narrowed or not glyph.linearHoriAdvance:  # a mark's ink lies before its origin
        return (64 * width - low - high) // 2
    middle = (64 * width - glyph.linearHoriAdvance // 1024) // 2 if cells > 1 else 0
    return middle + max(-low - middle, 0) - max(high + middle - 64 * width, 0)


def _coverage(glyph: freetype.GlyphSlot) -> Pixels:
    bitmap = glyph.bitmap
    if not bitmap.rows or not bitmap.width:
        return np.zeros((0, 0), np.uint8)
    buffer = np.array(bitmap.buffer, np.uint8).reshape(bitmap.rows, bitmap.pitch)
    return buffer[:, : bitmap.width]


def _paste(glyph: freetype.GlyphSlot, shape: tuple[int, int], top: int) -> Pixels:
    """Turn coverage into ink on a cell, cutting what lies beyond it."""
    left = glyph.bitmap_left
    ink = np.zeros(shape, np.uint8)
    drawn = _coverage(glyph)[max(-top, 0) :, max(-left, 0) :]
    top, left = max(top, 0), max(left, 0)
    drawn = drawn[: shape[0] - top, : shape[1] - left]
    ink[top : top + drawn.shape[0], left : left + drawn.shape[1]] = _INK[drawn]
    return ink


_IDENTITY = freetype.Matrix(0x10000, 0, 0, 0x10000)
