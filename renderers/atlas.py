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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.clusters import CLUSTERS

Cell = tuple[int, int]  # width and height in pixels
Fade = Literal["native", "area"]
Codes = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]

ATLAS_FILE = Path(__file__).parent / "fonts" / "atlas.npz"
PAPERS = (255, 238, 221, 204)
"""Grey of the paper in each band; ink on it is always black."""

_CODEPOINTS = 0x110000
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
            covered, first, cells = file["codepoints"], file["slots"], file["widths"]
            self._glyphs = int(file["size"])  # how many slots are stored; boxes follow
        self._widths = np.full(_CODEPOINTS, 2, np.uint8)
        self._widths[covered] = cells
        self._slots = np.arange(_CODEPOINTS, dtype=np.int32) * 2 + self._glyphs
        self._slots[covered] = first
        self._tables: dict[tuple[Cell, Fade], npt.NDArray[Any]] = {}

    def covered(self, codepoint: int) -> bool:
        """Whether a shipped font has the code point; if not, it is drawn as a hex box."""
        return 0 <= codepoint < _CODEPOINTS and bool(self._slots[codepoint] < self._glyphs)

    def widths(self, codepoints: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        """Cells that each code point takes: 1 or 2."""
        return self._widths[_checked(codepoints)]

    def cells(self, text: str) -> npt.NDArray[np.uint8]:
        """Cells that each character takes: 1, 2, or 0 if it joins the character before it.

        Depends on the text alone, never on which fonts a machine has. Text may be cut in
        front of any character that takes cells: both pieces keep their cells.
        """
        if text.isascii():
            return np.ones(len(text), np.uint8)
        codepoints = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        cells = self._widths[codepoints]
        for cluster in CLUSTERS.finditer(text):
            cells[cluster.start() + 1 : cluster.end()] = 0
        return cells

    def slots(self, codepoints: npt.NDArray[np.uint32]) -> Codes:
        """First slot of each code point; one of width 2 has the next slot as well."""
        return self._slots[_checked(codepoints)].astype(np.intp)

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
        table = self.table(tier, fade)  # (height, n) of one cell row each
        limit = table.shape[1]
        if codes.min() < 0 or codes.max() >= limit + len(PAPERS) * 2 * _CODEPOINTS:
            raise InputError("no such code: use codes from this atlas")
        # mode="clip" makes numpy skip a second copy; what it clips is overwritten below.
        rows = table.take(codes, axis=1, mode="clip")  # (height, 64, 128)
        page = np.ascontiguousarray(rows.transpose(1, 0, 2))  # (64, height, 128)
        if codes.max() >= limit:
            cells = page.view(np.uint8).reshape(ROWS, height, COLUMNS, width)
            row, column = np.nonzero(codes >= limit)
            boxes = self._boxes(codes[row, column] - limit, tier.cell, fade)
            cells[row, :, column] = boxes
        return page.view(np.uint8).reshape(tier.side, tier.side)

    def table(self, tier: Tier, fade: Fade = "native") -> npt.NDArray[Any]:
        """Pixels of all shipped glyphs on all papers, as a page's gather takes them.

        Returns:
            (cell height, slots * 4): entry [y, code] is pixel row y of the code's cell,
            one element of as many bytes as the cell is wide. Hex boxes are not in it.
        """
        width, height = tier.cell
        table = self._tables.get((tier.cell, fade))
        if table is None:
            source = _BASE if fade == "area" else tier.cell
            ink = self._ink(source)  # (n, h, w)
            cells = _INK_ON_PAPER[:, ink].swapaxes(0, 1)  # (n, 4, h, w)
            cells = cells.reshape(-1, *ink.shape[1:])
            if source != tier.cell:
                cells = area_average(cells, tier.cell)
            rows = np.ascontiguousarray(cells.transpose(1, 0, 2))  # (height, n * 4, width)
            # numpy copies 4 and 8 bytes as one word, faster than it copies raw bytes.
            element = {4: "u4", 8: "u8"}.get(width, f"V{width}")
            table = rows.view(element).reshape(height, -1)
            self._tables[tier.cell, fade] = table
        return table

    def _ink(self, cell: Cell) -> Pixels:
        """Ink 0..15 of the stored slots at a size, (n, h, w); two pixels lie in a byte."""
        width, height = cell
        with np.load(self._path, allow_pickle=False) as file:
            packed = file[f"{width}x{height}"]  # (n, h * w / 2)
        ink = np.empty((*packed.shape, 2), np.uint8)
        ink[..., 0], ink[..., 1] = packed >> 4, packed & 15
        return ink.reshape(-1, height, width)

    def _boxes(self, codes: Codes, cell: Cell, fade: Fade) -> Pixels:
        """Cells of box codes (counted from the first box), (n, h, w)."""
        kinds, inverse = np.unique(codes, return_inverse=True)
        halves, bands = np.divmod(kinds, len(PAPERS))
        width, height = source = _BASE if fade == "area" else cell
        boxes = hex_boxes(halves >> 1, source)  # (n, h, 2w)
        ink = boxes.reshape(-1, height, 2, width)[np.arange(len(kinds)), :, halves & 1]
        cells = _INK_ON_PAPER[bands[:, None, None], ink]  # (n, h, w)
        return (cells if source == cell else area_average(cells, cell))[inverse]


@functools.cache
def load_atlas() -> Atlas:
    """The shipped atlas, read once per process."""
    return Atlas()


def area_average(cells: Pixels, cell: Cell) -> Pixels:
    """Resample cells exactly: each new pixel is the mean of the area that it covers.

    A mean is rounded to the nearest integer, a half upwards. Cells meet at pixel borders
    before and after, so this equals resampling the whole page.

    Args:
        cells: (n, h, w) grey pixels.
        cell: the new width and height, smaller or larger.
    """
    _, height, width = cells.shape
    down, across = _overlaps(height, cell[1]), _overlaps(width, cell[0])
    sums = (down @ cells.astype(np.float32)) @ across.T  # (n, h', w'), whole numbers < 2^24
    area = height * width
    means: Pixels = ((2 * sums.astype(np.int32) + area) // (2 * area)).astype(np.uint8)
    return means


def hex_boxes(codepoints: Codes, cell: Cell) -> Pixels:
    """Draw a two-cell box around each code point's hex digits, 4 of them or 6.

    Cells too small for digits show the code point's 21 bits as a 5 x 5 square of dots
    instead, from the top left, so that two code points still never look the same.

    Returns:
        Ink 0..15, (n, h, 2w). The top row and the right column stay clear, so that
        neighbours do not touch; the frame is grey, so that digits may touch it.
    """
    width, height = 2 * cell[0], cell[1]
    ink = np.zeros((len(codepoints), height, width), np.uint8)
    ink[:, 1:, :-1] = _FRAME
    ink[:, 2:-1, 1:-2] = 0
    inner = height - 3, width - 3
    if min(inner) >= 11:  # two rows of digits of 5 pixels, or three columns of 3, and gaps
        for columns, group in ((2, codepoints < 0x10000), (3, codepoints >= 0x10000)):
            chosen = codepoints[group]
            for place in range(2 * columns):
                row, column = divmod(place, columns)
                y = 2 + _centre(inner[0], 5, 2, row)
                x = 1 + _centre(inner[1], 3, columns, column)
                digit = chosen >> 4 * (2 * columns - 1 - place) & 15
                ink[group, y : y + 5, x : x + 3] = _DIGITS[digit]
    else:
        bits = (codepoints[:, None] >> np.arange(24, -1, -1) & 1).astype(np.uint8)
        y, x = 2 + (inner[0] - 5) // 2, 1 + (inner[1] - 5) // 2
        ink[:, y : y + 5, x : x + 5] = 15 * bits.reshape(-1, 5, 5)
    return ink


def _checked(codepoints: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Refuse numbers beyond Unicode, which would read beyond the tables."""
    if codepoints.size and int(codepoints.max()) >= _CODEPOINTS:
        raise InputError(f"{int(codepoints.max()):#x} is no Unicode code point")
    return codepoints


def _overlaps(before: int, after: int) -> npt.NDArray[np.float32]:
    """How much of each old pixel each new pixel covers, in units of 1 / `after` old pixels.

    Returns:
        (after, before); each row sums to `before`.
    """
    old, new = np.arange(before) * after, np.arange(after)[:, None] * before
    ends = np.minimum(old + after, new + before)
    covered: npt.NDArray[np.float32] = np.maximum(ends - np.maximum(old, new), 0).astype(np.float32)
    return covered


def _centre(room: int, size: int, count: int, index: int) -> int:
    """Where the index-th of `count` things of one size begins, spread evenly over a room."""
    gap = min((room - count * size) // count, size - 1)
    start = (room - count * size - (count - 1) * gap) // 2
    return start + index * (size + gap)


_FRAME = 8  # ink of a box's frame: lighter than its digits

# Ink on paper: grey / 17 rounded half up, so that 4 bits hold a pixel. (4, 16)
_INK_ON_PAPER = np.array(
    [[(2 * (paper // 17) * (15 - ink) + 15) // 30 * 17 for ink in range(16)] for paper in PAPERS],
    np.uint8,
)

# The digits 0..F in 3 x 5 dots: each number is a digit's 15 dots from the top left.
_DIGITS = np.array(
    [
        [
            15 * (dots >> place & 1)
            for dots in (
                *(0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71244),
                *(0o75757, 0o75717, 0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644),
            )
        ]
        for place in range(14, -1, -1)
    ],
    np.uint8,
).T.reshape(16, 5, 3)
