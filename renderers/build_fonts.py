"""Make `fonts/`: subsets of the fonts, and the atlas of their glyphs at every cell size.

    python -m optimem.renderers.build_fonts --source /usr/share/fonts/truetype
    python -m optimem.renderers.build_fonts             # the atlas alone, from the subsets

Only this needs fonttools and freetype-py; it writes the same bytes each time it is run
with the same versions of them. How glyphs are drawn was measured with OCR engines: light
hinting, grey levels and slightly bold strokes read best, and 4 bits of grey lose nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import unicodedata
import zipfile
from pathlib import Path

import freetype  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from fontTools import subset  # type: ignore[import-untyped]
from freetype.ft_enums import (  # type: ignore[import-untyped]
    FT_LOAD_FLAGS,
    FT_LOAD_TARGETS,
)

from optimem.modes import MODES
from optimem.renderers.atlas import ATLAS_FILE, PAPERS, Cell, Pixels, hex_boxes

FOLDER = ATLAS_FILE.parent
FORMAT = 1  # raise it when the atlas file's layout changes
BOLD = 0.7  # exponent of coverage: below 1 strokes gain weight
ADVANCE = 0.6  # ems from letter to letter in the monospaced fonts
DESCENT = 0.2  # ems from the baseline down to where ordinary descenders end

SHRUNK = {(4, 8): 0.92}  # letters nearly touch at this size: smaller ones halve OCR errors

# U+2400 on. The font's own pictures squeeze these into one cell, where nobody can read them.
CONTROLS = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB "
    "CAN EM SUB ESC FS GS RS US SP DEL"
).split()

# freetype-py defines its constants at run time: type checkers only know the tables of them.
_NO_HINTING = FT_LOAD_FLAGS["FT_LOAD_NO_HINTING"]
_LIGHT = FT_LOAD_TARGETS["FT_LOAD_TARGET_LIGHT"]
_RENDER = FT_LOAD_FLAGS["FT_LOAD_RENDER"]

_PICTURES = dict(enumerate(CONTROLS, 0x2400))
_INK = np.round(15 * (np.arange(256) / 255) ** BOLD).astype(np.uint8)  # by coverage

# In order of preference. The third is proportional: its symbols are narrowed to fit.
FONTS = ("JetBrainsMono-Regular", "DejaVuSansMono", "DejaVuSans")

RANGES = (
    *((0x0020, 0x007E), (0x00A0, 0x058F), (0x10A0, 0x10FF)),  # Latin to Armenian, Georgian
    *((0x1C80, 0x1FFF), (0x2000, 0x2BFF)),  # phonetic, Greek, punctuation to arrows, shapes
    *((0x2C60, 0x2C7F), (0x2E00, 0x2E7F), (0xA640, 0xA69F), (0xA700, 0xA7FF)),
    *((0xAB30, 0xAB6F), (0xE0A0, 0xE0B3), (0xFB00, 0xFB1C), (0xFFFC, 0xFFFD)),
    *((0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1FB00, 0x1FBFF)),
)
NARROWED = ((0x2000, 0x2BFF), *RANGES[-4:])  # what is taken from the proportional font

# Pieces that continue in the next cell: they are cut at the cell's edge, never moved.
JOINED = (
    *((0x2320, 0x2321), (0x239B, 0x23AE), (0x23B7, 0x23BD), (0x2500, 0x259F)),
    *((0xE0B0, 0xE0B3), (0x1FB00, 0x1FBFF)),
)
TALLER = 1.04  # how much joined pieces are stretched, to reach the cell's edge at all sizes


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--source", type=Path, nargs="*", help="folders of the whole fonts")
    folders = parser.parse_args().source
    if folders:
        write_subsets(folders)
    write_atlas(ATLAS_FILE)


def write_subsets(folders: list[Path]) -> None:
    """Cut each font down to the code points that are taken from it."""
    taken: set[int] = set()
    for name in FONTS:
        found = sorted(path for folder in folders for path in folder.rglob(f"{name}.ttf"))
        if not found:
            raise SystemExit(f"{name}.ttf is in none of the folders given as --source")
        options = subset.Options(layout_features=[], name_IDs=["*"], recalc_timestamp=False)
        options.drop_tables += ["FFTM", "DSIG", "GDEF"]
        font = subset.load_font(str(found[0]), options)
        ranges = NARROWED if name == FONTS[-1] else RANGES
        wanted = {point for point in font.getBestCmap() or () if _drawable(point, ranges)} - taken
        taken |= wanted
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=wanted)
        cutter.subset(font)
        subset.save_font(font, str(FOLDER / f"{name}.ttf"), options)


def write_atlas(path: Path) -> None:
    """Draw the atlas from the subsets and write it, with fixed dates in the archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in build_atlas().items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data.getvalue())


def build_atlas() -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of the atlas file.

    Returns:
        codepoints: (m,) uint32, ascending: what is covered.
        slots, widths: (m,) first slot and number of cells of each; slot 0 is blank.
        size: number of slots, n.
        "8x16" and so on: (n, h * w / 2) uint8, ink 0..15, two pixels a byte.
        key, freetype: hash of all that shows, and the FreeType version, as text.
    """
    faces = [freetype.Face(str(FOLDER / f"{name}.ttf")) for name in FONTS]
    chosen = {0x20: (faces[0], 1), 0xA0: (faces[0], 1)}  # code point: face and cells
    for face in faces:
        for point, _ in face.get_chars():
            if point not in chosen and _visible(face, point):
                chosen[point] = face, _cells(face, point)
    chosen |= dict.fromkeys(_PICTURES, (faces[0], 2))
    points = sorted(chosen)
    widths = [0 if point in (0x20, 0xA0) else chosen[point][1] for point in points]
    ends = 1 + np.cumsum(widths)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "codepoints": np.array(points, np.uint32),
        "slots": np.where(widths, ends - widths, 0).astype(np.uint16),
        "widths": np.maximum(widths, 1).astype(np.uint8),
        "size": np.array(ends[-1], np.uint16),
        "freetype": np.array(".".join(map(str, freetype.version()))),
    }
    for cell in dict.fromkeys(mode.cell for mode in MODES):
        slots = [np.zeros((1, cell[1], cell[0]), np.uint8)]
        for point, cells in zip(points, widths, strict=True):
            if cells:
                glyph = draw(chosen[point][0], point, cell, cells)  # (h, cells * w)
                slots.append(glyph.reshape(cell[1], cells, cell[0]).swapaxes(0, 1))
        ink = np.concatenate(slots).reshape(len(slots[0]) * int(ends[-1]), -1)  # (n, h * w)
        arrays[f"{cell[0]}x{cell[1]}"] = ink[:, ::2] << 4 | ink[:, 1::2]
    return arrays | {"key": np.array(_key(arrays))}


def draw(face: freetype.Face, point: int, cell: Cell, cells: int) -> Pixels:
    """Draw one glyph, at the size where a letter's advance is as wide as the cell.

    Ordinary glyphs leave the top row clear, so that lines never touch: one that is too
    high or too wide is moved, and if that is not enough, drawn smaller. Joined ones stay
    where they are and lose what lies beyond the cell.

    Returns:
        Ink 0..15, (h, cells * w).
    """
    if point in _PICTURES:
        return _draw_picture(face, _PICTURES[point], cell)
    width, height = cell[0] * cells, cell[1]
    joined = _within(point, JOINED)
    glyph = _load(face, point, cell, low=TALLER if joined else 1.0)
    if not joined:
        narrow = low = 1.0
        for _ in range(4):  # hinting moves edges, so one correction may not be enough
            box, rows = glyph.outline.get_cbox(), glyph.bitmap.rows
            if box.xMax - box.xMin <= 64 * width and rows < height:
                break
            narrow *= min(1.0, 64 * width / (box.xMax - box.xMin))
            low *= min(1.0, (height - 1) / rows)
            glyph = _load(face, point, cell, narrow, low)
        if shift := _shift(glyph, width, centred=cells > 1 or narrow < 1):
            glyph = _load(face, point, cell, narrow, low, shift)
    top = _baseline(cell) - glyph.bitmap_top
    if not joined:
        top = max(1, min(top, height - glyph.bitmap.rows))
    return _paste(glyph, (height, width), top)


def _draw_picture(face: freetype.Face, label: str, cell: Cell) -> Pixels:
    """Draw a control picture: its letters step down across two cells, (h, 2w)."""
    width, height = 2 * cell[0], cell[1]
    ink = np.zeros((height, width), np.uint8)
    for index, letter in enumerate(label):
        left = width * index // len(label)
        shape = height - 1, width * (index + 1) // len(label) - left
        glyph = _load(face, ord(letter), cell, 0.67, 0.67)
        spare = shape[0] - glyph.bitmap.rows
        top = 1 + spare * index // max(len(label) - 1, 1)
        drawn = _paste(glyph, (height, shape[1]), top)
        ink[:, left : left + shape[1]] |= drawn
    return ink


def _load(
    face: freetype.Face,
    point: int,
    cell: Cell,
    narrow: float = 1.0,
    low: float = 1.0,
    shift: int = 0,
) -> freetype.GlyphSlot:
    """Render a glyph at a cell's size, scaled on both axes, then moved `shift` / 64 pixels."""
    joined = _within(point, JOINED)
    em = 64 * cell[0] / ADVANCE * (1.0 if joined else SHRUNK.get(cell, 1.0))
    face.set_char_size(round(em * narrow), round(em * low), 72, 72)
    face.set_transform(freetype.Matrix(0x10000, 0, 0, 0x10000), freetype.Vector(shift, 0))
    # Light hinting snaps to rows only. Joined pieces must meet, so they are not hinted.
    hinting = _NO_HINTING if joined else _LIGHT
    face.load_char(chr(point), _RENDER | hinting)
    return face.glyph


def _shift(glyph: freetype.GlyphSlot, width: int, *, centred: bool) -> int:
    """By how many 1/64 pixels to move a glyph so that its ink lies within its cells."""
    box = glyph.outline.get_cbox()
    low, high = int(box.xMin), int(box.xMax)
    if centred or not glyph.linearHoriAdvance:  # a mark's ink lies before its origin
        return (64 * width - low - high) // 2
    return max(-low, 0) - max(high - 64 * width, 0)


def _paste(glyph: freetype.GlyphSlot, shape: tuple[int, int], top: int) -> Pixels:
    """Turn coverage into ink on a cell, cutting what lies beyond it."""
    bitmap, left = glyph.bitmap, glyph.bitmap_left
    ink = np.zeros(shape, np.uint8)
    if bitmap.rows and bitmap.width:
        drawn = np.array(bitmap.buffer, np.uint8).reshape(bitmap.rows, bitmap.pitch)
        drawn = drawn[max(-top, 0) :, max(-left, 0) : bitmap.width]
        top, left = max(top, 0), max(left, 0)
        drawn = drawn[: shape[0] - top, : shape[1] - left]
        ink[top : top + drawn.shape[0], left : left + drawn.shape[1]] = _INK[drawn]
    return ink


def _baseline(cell: Cell) -> int:
    """The row below the baseline: deep enough for descenders, the rest is for accents."""
    return cell[1] - math.ceil(DESCENT * cell[0] / ADVANCE - 0.5)


def _visible(face: freetype.Face, point: int) -> bool:
    """Whether the glyph has ink: if not, a hex box shows what the blank stands for."""
    return bool(_load(face, point, (16, 32)).bitmap.rows)


def _cells(face: freetype.Face, point: int) -> int:
    """Two cells for a glyph that would lose too much of its width in one."""
    return 2 if _load(face, point, (16, 32)).linearHoriAdvance / 65536 > 16 * 1.6 else 1


def _drawable(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """Whether to take a code point: no control, no invisible format, one kind of blank."""
    kind = unicodedata.category(chr(point))
    return _within(point, ranges) and (kind[0] not in "CZ" or kind == "Co" or point == 0x20)


def _within(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= point <= last for first, last in ranges)


def _key(arrays: dict[str, npt.NDArray[np.generic]]) -> str:
    """Hash what decides a page's pixels: the inputs, all glyphs, and how boxes are drawn."""
    digest = hashlib.sha256(json.dumps([FORMAT, BOLD, PAPERS, str(freetype.version())]).encode())
    for name in FONTS:
        digest.update((FOLDER / f"{name}.ttf").read_bytes())
    for name, array in arrays.items():
        digest.update(name.encode() + array.tobytes())
    samples = np.array([0x4E2D, 0x1F600, 0x10FFFF, 0xD83D, *range(0, 0x110000, 0x1234)])
    for cell in dict.fromkeys(mode.cell for mode in MODES):
        digest.update(hex_boxes(samples, cell).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
