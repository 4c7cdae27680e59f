"""Make `fonts/`: subsets of the fonts, and the atlas of the most common glyphs at every size.

    python -m optimem.renderers.build_fonts --source FOLDER ...
    python -m optimem.renderers.build_fonts             # the atlas alone, from the subsets

`fonts/README.md` says where each font comes from. It writes the same bytes each time it is
run with the same versions of fonttools, wcwidth and freetype-py.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fontTools import subset  # type: ignore[import-untyped]
from wcwidth import wcwidth

from optimem.modes import MODES
from optimem.renderers.atlas import ATLAS_FILE, PAPERS
from optimem.renderers.boxes import hex_boxes
from optimem.renderers.glyphs import (
    BOLD,
    Pixels,
    code_points,
    draw,
    draw_label,
    is_visible,
    is_wide,
    version,
    within,
)
from optimem.renderers.typefaces import DRAWN, LATE, Cell, Typeface

Ranges = tuple[tuple[int, int], ...]

FORMAT = 2  # raise it when the atlas file's layout changes

# U+2400 on. The font's own pictures squeeze these into one cell, where nobody can read them.
CONTROLS = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB "
    "CAN EM SUB ESC FS GS RS US SP DEL"
).split()
_PICTURES = dict(enumerate(CONTROLS, 0x2400))

# The whole fonts, where their names differ from those of their subsets.
SOURCES = {
    "JetBrainsMono": "JetBrainsMono-Regular.ttf",
    "DroidSansFallback": "DroidSansFallbackFull.ttf",
    "NotoSansKR": "NotoSansCJK-Regular.ttc",
    "NotoEmoji": "noto-emoji-emoji-400-normal.woff2",
}

LATIN: Ranges = (
    *((0x0020, 0x007E), (0x00A0, 0x058F), (0x10A0, 0x10FF)),  # Latin to Armenian, Georgian
    *((0x1AB0, 0x1AFF), (0x1C80, 0x1FFF), (0x2000, 0x2BFF)),  # marks, phonetic, Greek to shapes
    *((0x2C60, 0x2C7F), (0x2E00, 0x2E7F), (0xA640, 0xA69F), (0xA700, 0xA7FF)),
    *((0xAB30, 0xAB6F), (0xE0A0, 0xE0B3), (0xFB00, 0xFB1C), (0xFE20, 0xFE2F), (0xFFFC, 0xFFFD)),
    *((0x1D400, 0x1D7FF), (0x1FB00, 0x1FBFF)),
)
NARROWED: Ranges = ((0x2000, 0x2BFF), *LATIN[-2:])  # what is taken from the proportional font
CJK_FORMS: Ranges = ((0x3000, 0x30FF), (0x31F0, 0x31FF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF))
HANGUL: Ranges = ((0x3131, 0x318E), (0xAC00, 0xD7A3))
CONFUSED = "l0*"  # OCR engines read JetBrains Mono's as L, 8 and +: the next font's read better
SKINS: Ranges = ((0x1F3FB, 0x1F3FF),)  # they colour the emoji before them

# OCR engines read some small glyphs better in DejaVu Sans Mono, and some of the smallest with
# stems on whole pixels. What was compared, glyph by glyph, is in docs/LOG.md.
TINY = (4, 8)
TINY_SNAPPED = "123456789@DHObinoru,:]{|"
DEJAVU: dict[Cell, str] = {(5, 10): "u(G6", TINY: "#234679@Oi,:]{"}

# A few they read well only when hinted by hand: the first row of a cell with ink, and the ink.
BY_HAND: dict[Cell, dict[str, tuple[int, tuple[tuple[int, ...], ...]]]] = {
    (5, 10): {
        "0": (  # DejaVu's with a lighter dot
            1,
            (
                *((0, 10, 12, 10, 0), (4, 11, 0, 11, 4), (8, 4, 0, 4, 8), (8, 4, 6, 4, 9)),
                *((8, 4, 1, 4, 8), (4, 11, 0, 11, 5), (0, 10, 12, 10, 0)),
            ),
        ),
    },
    TINY: {
        "0": (2, ((7, 11, 7, 0), (10, 0, 10, 0), (11, 3, 12, 0), (10, 0, 10, 0), (7, 11, 7, 0))),
        '"': (2, ((9, 2, 9, 0), (9, 2, 9, 0), (4, 0, 4, 0))),
        "'": (2, ((0, 9, 0, 0), (0, 9, 0, 0), (0, 4, 0, 0))),
        "l": (2, ((10, 12, 0, 0), *3 * ((0, 11, 0, 0),), (5, 12, 7, 0))),
    },
}

JOINERS: Ranges = ((0x20, 0x20), (0x200C, 0x200D), (0x25CC, 0x25CC))  # needed for shaping
SCRIPTS: dict[str, Ranges] = {
    "Arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFE)),
    "Hebrew": ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "Devanagari": ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
    "Bengali": ((0x980, 0x9FF),),
    "Gurmukhi": ((0xA00, 0xA7F),),
    "Gujarati": ((0xA80, 0xAFF),),
    "Oriya": ((0xB00, 0xB7F),),
    "Tamil": ((0xB80, 0xBFF),),
    "Telugu": ((0xC00, 0xC7F),),
    "Kannada": ((0xC80, 0xCFF),),
    "Malayalam": ((0xD00, 0xD7F),),
    "Sinhala": ((0xD80, 0xDFF),),
    "Thai": ((0xE00, 0xE7F),),
    "Lao": ((0xE80, 0xEFF),),
    "Myanmar": ((0x1000, 0x109F),),
    "Khmer": ((0x1780, 0x17FF), (0x19E0, 0x19FF)),
}


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
    for typeface in (*DRAWN, *LATE):
        name = SOURCES.get(typeface.name, f"{typeface.name}-Regular.ttf")
        names = (name, f"{typeface.name}.ttf")
        found = sorted(path for folder in folders for name in names for path in folder.rglob(name))
        if not found:
            raise SystemExit(f"{name} is in none of the folders given as --source")
        layout = ["*"] if typeface.shaped or typeface.name == "NotoEmoji" else []
        options = subset.Options(layout_features=layout, name_IDs=["*"], recalc_timestamp=False)
        # FreeType's own hinting of TrueType outlines reads better; PostScript's needs hints.
        options.hinting = found[0].suffix == ".ttc"
        options.font_number = 1  # of a collection: the Korean one
        options.drop_tables += ["FFTM", "DSIG", "BASE", "vhea", "vmtx", "VORG"]
        options.drop_tables += [f"TSI{number}" for number in range(6)]
        options.drop_tables += [] if layout else ["GDEF"]
        font = subset.load_font(str(found[0]), options)
        mapped = set(font.getBestCmap() or ())
        wanted = {point for point in mapped - taken if _wanted(typeface, point)}
        taken |= wanted
        if typeface.name == "DejaVuSansMono":
            wanted |= set(range(0x21, 0x7F))  # FreeType hints by what it measures on letters
        elif typeface.name == "NotoEmoji":
            wanted = mapped - set(range(0x20))  # sequences are made of anything
        elif typeface.shaped:
            wanted |= {point for point in mapped if within(point, JOINERS)}
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=wanted)
        cutter.subset(font)
        font.flavor = None
        subset.save_font(font, str(typeface.path), options)


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
        codepoints: (m,) uint32, ascending: what the file has glyphs of.
        slots, widths: (m,) first slot and number of cells of each; slot 0 is blank.
        size: number of slots, n.
        "8x16" and so on: (n, h * w / 2) uint8, ink 0..15, two pixels a byte.
        late, late_widths, late_fonts: (k,) what other shipped fonts have, ascending; cells,
            and index of the font in `LATE`.
        fonts: (m,) uint8: the font of each, an index in `DRAWN`.
        marks: (j,) uint32: which of all these join the character before them.
        emoji: (i,) uint32: which code points sequences of emoji are made of.
        key, freetype: hash of all that shows, and the FreeType version, as text.
    """
    chosen = {0x20: (DRAWN[0], 1), 0xA0: (DRAWN[0], 1)}  # code point: font and cells
    for typeface in DRAWN:
        for point in code_points(typeface):
            if point not in chosen and is_visible(typeface, point):
                chosen[point] = typeface, 1 + is_wide(typeface, point)
    chosen |= dict.fromkeys(_PICTURES, (DRAWN[0], 2))
    points = sorted(chosen)
    widths = [0 if point in (0x20, 0xA0) else chosen[point][1] for point in points]
    ends = 1 + np.cumsum(widths)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "codepoints": np.array(points, np.uint32),
        "slots": np.where(widths, ends - widths, 0).astype(np.uint16),
        "widths": np.maximum(widths, 1).astype(np.uint8),
        "fonts": np.array([DRAWN.index(chosen[point][0]) for point in points], np.uint8),
        "size": np.array(ends[-1], np.uint16),
        "freetype": np.array(version()),
    }
    arrays |= _late(chosen.keys())
    for cell in dict.fromkeys(mode.cell for mode in MODES):
        slots = [np.zeros((1, cell[1], cell[0]), np.uint8)]
        for point, cells in zip(points, widths, strict=True):
            if cells:
                glyph = _draw(chosen[point][0], point, cell, cells)  # (h, cells * w)
                slots.append(glyph.reshape(cell[1], cells, cell[0]).swapaxes(0, 1))
        ink = np.concatenate(slots).reshape(len(slots[0]) * int(ends[-1]), -1)  # (n, h * w)
        arrays[f"{cell[0]}x{cell[1]}"] = ink[:, ::2] << 4 | ink[:, 1::2]
    return arrays | {"key": np.array(_key(arrays))}


def _draw(typeface: Typeface, point: int, cell: Cell, cells: int) -> Pixels:
    """Draw a glyph of the atlas: ink 0..15, (h, cells * w)."""
    if point in _PICTURES:
        return draw_label(DRAWN[0], _PICTURES[point], cell)
    if by_hand := BY_HAND.get(cell, {}).get(chr(point)):
        top, rows = by_hand
        return np.pad(np.array(rows, np.uint8), ((top, cell[1] - top - len(rows)), (0, 0)))
    typeface = DRAWN[1] if chr(point) in DEJAVU.get(cell, "") else typeface
    snap = cell == TINY and chr(point) in TINY_SNAPPED
    return draw(typeface, point, cell, cells, snap=snap)


def _late(drawn: Iterable[int]) -> dict[str, npt.NDArray[np.generic]]:
    """What the fonts that are rasterized at run time add to the drawn code points."""
    fonts: dict[int, int] = {}
    taken = set(drawn)
    for index, typeface in enumerate(LATE):
        for point in code_points(typeface):
            if point in taken or point in fonts or not _wanted(typeface, point):
                continue
            if is_visible(typeface, point) or (typeface.shaped and _is_mark(point)):
                fonts[point] = index
    points = sorted(fonts)
    marks = [p for p in sorted(taken | set(points)) if _joins(p)]
    emoji = next(typeface for typeface in LATE if typeface.name == "NotoEmoji")
    return {
        "late": np.array(points, np.uint32),
        "late_widths": np.array([1 + (wcwidth(chr(p)) == 2) for p in points], np.uint8),
        "late_fonts": np.array([fonts[p] for p in points], np.uint8),
        "marks": np.array(marks, np.uint32),
        "emoji": np.array([p for p in code_points(emoji) if p > 0x7F], np.uint32),
    }


def _wanted(typeface: Typeface, point: int) -> bool:
    """Whether to take a code point from a font, if none before has it."""
    kind = unicodedata.category(chr(point))
    if kind in ("Cn", "Cs", "Cc", "Cf", "Zl", "Zp") or (kind == "Zs" and point != 0x20):
        return False
    if typeface == DRAWN[0] and chr(point) in CONFUSED:
        return False
    if typeface in DRAWN:
        return within(point, NARROWED if typeface.name == "DejaVuSans" else LATIN)
    if typeface.name == "DroidSansFallback":
        return within(point, CJK_FORMS) or _encoded(point, "gb2312", "euc_jp", "big5", "euc_kr")
    if typeface.name == "NotoSansKR":
        return within(point, HANGUL) and _encoded(point, "euc_kr")
    if typeface.name == "NotoSans":
        return _joins(point) and within(point, LATIN)
    if typeface.name == "NotoEmoji":
        return kind[0] != "M" and 0x2000 <= point < 0x1FB00 and not within(point, SKINS)
    return within(point, SCRIPTS[typeface.name.removeprefix("NotoSans")])


def _is_mark(point: int) -> bool:
    return unicodedata.category(chr(point))[0] == "M"


def _joins(point: int) -> bool:
    """Whether a mark takes no room of its own, as those do that stand beside their base."""
    return unicodedata.category(chr(point)) in ("Mn", "Me")


def _encoded(point: int, *codecs: str) -> bool:
    """Whether a national standard has the character: of Big5 the first, frequent level."""
    for codec in codecs:
        try:
            code = chr(point).encode(codec)
        except UnicodeEncodeError:
            continue
        if point >= 0x2E80 and len(code) == 2 and not (codec == "big5" and code[0] > 0xC6):
            return True
    return False


def _key(arrays: dict[str, npt.NDArray[np.generic]]) -> str:
    """Hash what decides a page's pixels: the inputs, all glyphs, and how boxes are drawn."""
    fonts = [repr(typeface) for typeface in (*DRAWN, *LATE)]
    digest = hashlib.sha256(json.dumps([FORMAT, BOLD, PAPERS, version(), *fonts]).encode())
    for typeface in (*DRAWN, *LATE):
        digest.update(typeface.path.read_bytes())
    for name, array in arrays.items():
        digest.update(name.encode() + array.tobytes())
    samples = np.array([0x4E2D, 0x1F600, 0x10FFFF, 0xD83D, *range(0, 0x110000, 0x1234)])
    for cell in dict.fromkeys(mode.cell for mode in MODES):
        digest.update(hex_boxes(samples, cell).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
