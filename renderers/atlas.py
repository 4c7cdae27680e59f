"""Glyph codes become pixels: a page is one gather from the atlas of its size.

The shipped atlas holds the ink of every covered code point at every cell size, rasterized
when the package was built (`build_fonts`): no font library takes part at run time, so a
page has the same pixels on every machine. How one page is made:

    slots = atlas.slots(codepoints)         # where each character's cells are in the atlas
    codes = atlas.codes(slots, bands)       # (64, 128), with the paper grey of each cell
    pixels = atlas.raster(codes, Tier.BASE)  # (1024, 1024) uint8

A character of two cells takes two consecutive slots. A code point that no shipped font
has is a hex box of two cells. Boxes are not stored: their slots are computed from the code
point, so codes never depend on what a process has drawn before.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.area import area_average
from optimem.renderers.boxes import hex_boxes
from optimem.renderers.clusters import Cluster, Clusters
from optimem.renderers.typefaces import DRAWN, FOLDER, LATE, Cell, Typeface

if TYPE_CHECKING:
    from optimem.renderers.late import LateGlyphs

Fade = Literal["native", "area"]
Codes = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.unsignedinteger[Any]]

ATLAS_FILE = FOLDER / "atlas.npz"
PAPERS = (255, 238, 221, 204)
"""Grey of the paper in each band; ink on it is always black."""

_CODEPOINTS = 0x110000
_AT_ONCE = 16  # rows that a gather takes at a time, few enough to stay in the cache
_BASE: Cell = Tier.BASE.cell


class Atlas:
    """The glyphs of all sizes, and the hex boxes for everything else.

    Safe to share between threads: whatever is built on first use is the same each time.

    Attributes:
        key: hash of all that decides a page's pixels: fonts, FreeType, sizes, box drawing.
    """

    def __init__(self, path: Path = ATLAS_FILE) -> None:
        """Read the glyph index; the ink of a size is read when the size is first used."""
        self._path = path
        with np.load(path, allow_pickle=False) as file:
            self.key = str(file["key"])
            self._drawn, first, cells = file["codepoints"], file["slots"], file["widths"]
            self._stored = int(file["size"])  # slots whose ink is stored; late ones follow
            self._late, late_cells = file["late"], file["late_widths"]
            self._drawn_fonts, self._late_fonts = file["fonts"], file["late_fonts"]
            self._marks = file["marks"]
            self._emoji = file["emoji"]
        ends = self._stored + np.cumsum(late_cells, dtype=np.int32)
        self._starts = ends - late_cells  # first slot of each late code point
        self._glyphs = int(ends[-1])  # slots of glyphs; boxes follow
        self._widths = np.full(_CODEPOINTS, 2, np.uint8)
        self._widths[self._drawn] = cells
        self._widths[self._late] = late_cells
        self._slots = np.arange(_CODEPOINTS, dtype=np.int32) * 2 + self._glyphs
        self._slots[self._drawn] = first
        self._slots[self._late] = self._starts
        self._tables: dict[tuple[Cell, Fade], npt.NDArray[Any]] = {}
        self._filled: dict[tuple[Cell, Fade], npt.NDArray[np.bool_]] = {}
        self._late_glyphs: dict[Cell, LateGlyphs] = {}
        self._lock = threading.Lock()

    @property
    def stored_codes(self) -> int:
        """How many codes there are of glyphs that the atlas file stores; the others follow."""
        return self._stored * len(PAPERS)

    @functools.cached_property
    def _clusters(self) -> Clusters:
        return Clusters(self._drawn, self._late, self._late_fonts, self._marks, self._emoji)

    @functools.cached_property
    def ascii_codes(self) -> Codes:
        """The codes of the ASCII characters, each of one cell, on white: (128,)."""
        return self.codes(self.slots(np.arange(128, dtype=np.uint8)))

    @functools.cached_property
    def _plain(self) -> npt.NDArray[np.bool_]:
        plain = self._clusters.solitary()
        plain &= (self._slots < self._stored) & (self._widths == 1)
        return plain

    def covered(self, codepoint: int) -> bool:
        """Whether a shipped font has the code point; if not, it is drawn as a hex box."""
        return 0 <= codepoint < _CODEPOINTS and bool(self._slots[codepoint] < self._glyphs)

    def font(self, codepoint: int) -> Typeface:
        """The shipped font that draws a covered code point."""
        late = int(np.searchsorted(self._late, codepoint))
        if late < len(self._late) and self._late[late] == codepoint:
            return LATE[self._late_fonts[late]]
        return DRAWN[self._drawn_fonts[np.searchsorted(self._drawn, codepoint)]]

    def widths(self, codepoints: Points) -> npt.NDArray[np.uint8]:
        """Cells that each code point takes: 1 or 2."""
        return self._widths.take(_checked(codepoints))

    def cells(self, text: str) -> npt.NDArray[np.uint8]:
        """Cells that each character takes: 1, 2, or 0 if it joins the character before it.

        Depends on the text alone, never on which fonts a machine has. Text may be cut in
        front of any character that takes cells: both pieces keep their cells.
        """
        if text.isascii():
            return np.ones(len(text), np.uint8)
        codepoints = points(text)
        cells = self._widths.take(codepoints)
        self._clusters.narrow(text, codepoints, cells)
        return cells

    def clusters(self, text: str) -> list[Cluster]:
        """What of a text must be drawn in one piece, in order."""
        return [] if text.isascii() else self._clusters.find(text, points(text))

    def slots(self, codepoints: Points) -> Codes:
        """First slot of each code point; one of width 2 has the next slot as well."""
        return self._slots.take(_checked(codepoints)).astype(np.intp)

    def boxed(self, slots: Codes) -> npt.NDArray[np.bool_]:
        """Which slots are hex boxes."""
        return slots >= self._glyphs

    def stores(self, text: str) -> bool:
        """Whether the atlas file has the ink of each character, so that nothing else draws."""
        return bool((self._slots.take(points(text)) < self._stored).all()) and not self.clusters(
            text
        )

    def plain(self, codepoints: Points) -> npt.NDArray[np.bool_]:
        """Which code points are one stored cell each, if all beside them are such as well."""
        return self._plain.take(_checked(codepoints))

    def late(self, slots: Codes) -> npt.NDArray[np.bool_]:
        """Which slots FreeType draws, when they are first needed."""
        return (slots >= self._stored) & (slots < self._glyphs)

    def codes(self, slots: Codes, bands: npt.ArrayLike = 0) -> Codes:
        """Put a paper grey (0 is white, up to 3) behind slots; the shapes broadcast."""
        return slots * len(PAPERS) + np.asarray(bands, np.intp)

    def raster(self, codes: Codes, tier: Tier, fade: Fade = "native") -> Pixels:
        """Draw a page of codes.

        Args:
            codes: what `codes` gave, one per cell of the page, (64, 128).
            tier: the mode to draw in; it decides the size.
            fade: "native" draws the font at the size. "area" averages the Base page over
                the area of each pixel, as a camera that steps back, and rounds half up.

        Returns:
            Grey pixels, (side, side); multiples of 17 if native, so 4 bits hold them.
        """
        if codes.shape != (ROWS, COLUMNS):
            raise InputError(f"a page has {ROWS} x {COLUMNS} codes, not {codes.shape}")
        width, height = tier.cell
        table = self.table(tier, fade)
        limit = len(table)
        if codes.min() < 0 or codes.max() >= limit + len(PAPERS) * 2 * _CODEPOINTS:
            raise InputError("no such code: use codes from this atlas")
        if codes.max() >= self.stored_codes:
            self._fill(np.unique(codes[codes < limit] // len(PAPERS)), tier.cell, fade)
        # What the gather clips is overwritten with boxes.
        page = gather(table, codes, np.empty((ROWS, height, COLUMNS), table.dtype))
        page = page.view(np.uint8).reshape(tier.side, tier.side)
        if codes.max() >= limit:
            cells = page.reshape(ROWS, height, COLUMNS, width)
            row, column = np.nonzero(codes >= limit)
            boxes = self._boxes(codes[row, column] - limit, tier.cell, fade)
            cells[row, :, column] = boxes
        return page

    def stored(self, codes: Codes) -> bool:
        """Whether the atlas file has the ink of all codes: no late glyphs, no hex boxes."""
        return bool(codes.max() < self.stored_codes)

    def draw(self, codes: Codes, tier: Tier) -> Pixels:
        """Draw single cells of a native page: grey pixels of codes (n,), (n, height, width)."""
        width, height = tier.cell
        table = self.table(tier)
        limit = len(table)
        late = codes[codes < limit]
        if late.size:
            self._fill(np.unique(late // len(PAPERS)), tier.cell, "native")
        cells = table.take(codes, axis=0, mode="clip").view(np.uint8).reshape(-1, height, width)
        boxes = np.flatnonzero(codes >= limit)
        if boxes.size:
            cells[boxes] = self._boxes(codes[boxes] - limit, tier.cell, "native")
        return cells

    def table(self, tier: Tier, fade: Fade = "native") -> npt.NDArray[Any]:
        """Pixels of all shipped glyphs on all papers, as a page's gather takes them.

        Returns:
            (slots * 4, cell height): entry [code, y] is pixel row y of the code's cell,
            one element of as many bytes as the cell is wide. Hex boxes are not in it.
        """
        table = self._tables.get((tier.cell, fade))
        if table is None:
            width, height = tier.cell
            source = _BASE if fade == "area" else tier.cell
            made = np.zeros((self._glyphs * len(PAPERS), height), element(width))
            entries = _entries(self._ink(source), tier.cell)
            made[: len(entries)] = entries
            with self._lock:  # the first table stays: glyphs are added to it
                self._filled.setdefault((tier.cell, fade), np.zeros(len(self._late), np.bool_))
                table = self._tables.setdefault((tier.cell, fade), made)
        return table

    def _fill(self, slots: Codes, cell: Cell, fade: Fade) -> None:
        """Add the late glyphs among the slots that the size's table lacks."""
        from optimem.renderers.late import LateGlyphs

        table, filled = self._tables[cell, fade], self._filled[cell, fade]
        late = np.searchsorted(self._starts, slots[slots >= self._stored], side="right") - 1
        width, height = source = _BASE if fade == "area" else cell
        with self._lock:
            missing = np.unique(late[~filled[late]]).tolist()
            if not missing:
                return
            if source not in self._late_glyphs:
                self._late_glyphs[source] = LateGlyphs(self.key, source)
            glyphs = self._late_glyphs[source]
            halves: list[Pixels] = []
            codes: list[int] = []
            for index in missing:
                cells = int(self._widths[self._late[index]])
                ink = glyphs.ink(LATE[self._late_fonts[index]], int(self._late[index]), cells)
                halves.append(ink.reshape(height, cells, width).swapaxes(0, 1))  # (cells, h, w)
                first = int(self._starts[index]) * len(PAPERS)
                codes += range(first, first + cells * len(PAPERS))
            table[codes] = _entries(np.concatenate(halves), cell)
            filled[missing] = True
            glyphs.save()

    def _ink(self, cell: Cell) -> Pixels:
        """Ink 0..15 of the stored slots at a size, (n, h, w)."""
        pairs = self.pairs(cell)
        ink: Pixels = np.stack([pairs >> 4, pairs & 15], axis=-1).astype(np.uint8)
        return ink.reshape(-1, cell[1], cell[0])

    def pairs(self, cell: Cell) -> Pixels:
        """Ink of the stored slots at a size, two pixels in a byte: (n, h * w / 2)."""
        with np.load(self._path, allow_pickle=False) as file:
            pairs: Pixels = file[f"{cell[0]}x{cell[1]}"]
        return pairs

    def _boxes(self, codes: Codes, cell: Cell, fade: Fade) -> Pixels:
        """Cells of box codes (counted from the first box), (n, h, w)."""
        kinds, inverse = np.unique(codes, return_inverse=True)
        halves, bands = np.divmod(kinds, len(PAPERS))
        width, height = source = _BASE if fade == "area" else cell
        boxes = hex_boxes(halves >> 1, source)  # (n, h, 2w)
        ink = boxes.reshape(-1, height, 2, width)[np.arange(len(kinds)), :, halves & 1]
        cells = _INK_ON_PAPER[bands[:, None, None], ink]  # (n, h, w)
        return (cells if source == cell else area_average(cells, cell))[inverse]


def points(text: str) -> Points:
    """The code points of a text, lone surrogates included."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@functools.cache
def load_atlas() -> Atlas:
    """The shipped atlas, read once per process."""
    return Atlas()


def on_paper(ink: Pixels, band: int) -> Pixels:
    """Ink 0..15 on the paper of a band, as grey pixels of the same shape."""
    cells: Pixels = _INK_ON_PAPER[band][ink]
    return cells


def gather(table: npt.NDArray[Any], codes: Codes, page: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Fill a page, (64, height, 128), from a table of entries [code, y]; returns it."""
    for top in range(0, ROWS, _AT_ONCE):
        rows = slice(top, top + _AT_ONCE)
        page[rows] = table.take(codes[rows], axis=0, mode="clip").swapaxes(1, 2)
    return page


def _entries(ink: Pixels, cell: Cell) -> npt.NDArray[Any]:
    """Table entries of cells of ink (n, h, w) on each paper, at a size: (n * 4, height)."""
    cells = _INK_ON_PAPER[:, ink].swapaxes(0, 1).reshape(-1, *ink.shape[1:])  # (n * 4, h, w)
    if ink.shape[1:] != cell[::-1]:
        cells = area_average(cells, cell)
    return np.ascontiguousarray(cells).view(element(cell[0])).reshape(-1, cell[1])


def element(size: int) -> str:
    """A type of so many bytes; numpy copies numbers as one word, faster than raw bytes."""
    return f"u{size}" if size in (2, 4, 8) else f"V{size}"


def _checked(codepoints: Points) -> Points:
    """Refuse numbers beyond Unicode, which would read beyond the tables."""
    if codepoints.itemsize > 1 and codepoints.size and int(codepoints.max()) >= _CODEPOINTS:
        raise InputError(f"{int(codepoints.max()):#x} is no Unicode code point")
    return codepoints


# Ink on paper: grey / 17 rounded half up, so that 4 bits hold a pixel. (4, 16)
_INK_ON_PAPER = np.array(
    [[(2 * (paper // 17) * (15 - ink) + 15) // 30 * 17 for ink in range(16)] for paper in PAPERS],
    np.uint8,
)
