"""The fonts that are shipped, and how large each is drawn in a cell.

The glyphs of `DRAWN` are in the atlas. Those of `LATE` are rasterized when a page first
needs them, since few sessions need many of them. A code point is taken from the first
font that has it, so the order here is the order of preference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

Cell = tuple[int, int]  # width and height in pixels

FOLDER = Path(__file__).parent / "fonts"
ADVANCE = 0.6  # ems from letter to letter in the monospaced fonts

SHRUNK = {(4, 8): 0.92}  # letters nearly touch at this size: smaller ones halve OCR errors


@dataclass(frozen=True, slots=True)
class Typeface:
    """A font file and its proportions.

    Attributes:
        name: the file's, without `.ttf`; for a font outside the package its whole path.
        em: its size; 1 is where a monospaced letter is as wide as a cell.
        above: ems that its letters reach above the baseline, marks included.
        below: ems that they reach below it.
        shaped: whether letters change with their neighbours, so that HarfBuzz must place them.
        index: of the font in a file of several.
    """

    name: str
    em: float = 1.0
    above: float = 0.75
    below: float = 0.2
    shaped: bool = False
    index: int = 0

    @property
    def shipped(self) -> bool:
        """Whether the font is part of this package."""
        return self.name.isidentifier()

    @property
    def path(self) -> Path:
        """Where the font file is."""
        return FOLDER / f"{self.name}.ttf" if self.shipped else Path(self.name)

    def size(self, cell: Cell) -> float:
        """Pixels of an em: at most so many that letters leave a cell's top row clear."""
        return min(
            cell[0] / ADVANCE * self.em * SHRUNK.get(cell, 1.0),
            (cell[1] - 1) / (self.above + self.below),
        )

    def baseline(self, cell: Cell) -> int:
        """The row below the baseline: deep enough for `below`, the rest is for accents."""
        return cell[1] - math.ceil(self.below * self.size(cell) - 0.5)


DRAWN = (
    Typeface("JetBrainsMono"),
    Typeface("DejaVuSansMono"),
    Typeface("DejaVuSans"),  # proportional: its symbols are narrowed to fit
)


def _script(name: str, above: float = 0.9, below: float = 0.4) -> Typeface:
    return Typeface(f"NotoSans{name}", above=above, below=below, shaped=True)


LATE = (
    Typeface("NotoSans"),  # combining marks alone
    Typeface("DroidSansFallback", em=1.125, above=0.8, below=0.12),
    Typeface("NotoSansKR", em=1.125, above=0.8, below=0.12),
    Typeface("NotoEmoji", em=1.0, above=0.9, below=0.2),
    _script("Arabic", 0.8, 0.4),
    _script("Hebrew", 0.8, 0.24),
    _script("Devanagari"),
    _script("Thai", 1.0, 0.3),
    _script("Bengali"),
    _script("Gurmukhi"),
    _script("Gujarati"),
    _script("Oriya"),
    _script("Tamil", 0.85, 0.32),
    _script("Telugu", 0.85, 0.47),
    _script("Kannada", 0.81, 0.53),
    _script("Malayalam", 0.85, 0.35),
    _script("Sinhala", 0.97, 0.27),
    _script("Lao", 1.05, 0.3),
    _script("Myanmar", 1.0, 0.5),
    _script("Khmer", 1.0, 0.5),
)
