"""A page's pixels: one gather of its glyphs from the atlas of the mode's size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.atlas import Atlas, load_atlas
from optimem.renderers.layout import PageStyle
from optimem.renderers.png import encode
from optimem.values import Page, Role

_BANDS: dict[Role, int] = {"user": 0, "assistant": 1, "tool": 2, "system": 3}
"""Which grey of the atlas stands behind whose words."""


def page_codes(page: Page, atlas: Atlas) -> npt.NDArray[np.intp]:
    """The atlas codes of a page's cells, bands included: shape (64, 128)."""
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    bands = _bands(page)  # (characters,)
    start = 0
    for number, row in enumerate(page.rows):
        stop = start + len(row)
        points = np.frombuffer(row.encode("utf-32-le", "surrogatepass"), np.uint32)
        slots = atlas.slots(points)  # (characters,)
        paper = bands[start:stop]
        if not row.isascii():
            widths = atlas.widths(points)
            halves = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
            slots = np.repeat(slots, widths) + halves  # (cells,)
            paper = np.repeat(paper, widths)
        # A row's last blank may stand behind the edge.
        line = atlas.codes(slots, paper)[:COLUMNS]
        codes[number, : len(line)] = line
        if len(line) < COLUMNS and len(line):  # the band goes on to the edge
            codes[number, len(line) :] = atlas.codes(np.zeros(1, np.intp), paper[-1:])
        start = stop
    return codes


def page_pixels(page: Page, tier: Tier, style: PageStyle | None = None) -> npt.NDArray[np.uint8]:
    """A page in a mode as grey pixels: shape (side, side), 0 black to 255 white."""
    atlas = load_atlas()
    fade = (style or PageStyle()).fade
    return atlas.raster(page_codes(page, atlas), tier, fade)


def page_png(page: Page, tier: Tier, style: PageStyle | None = None) -> bytes:
    """A page in a mode as a PNG of 16 greys."""
    return encode(page_pixels(page, tier, style))


def _bands(page: Page) -> npt.NDArray[np.intp]:
    """The band behind each character of the page's text."""
    bands = np.zeros(len(page.text), np.intp)
    for span in page.spans:
        bands[span.start : span.stop] = _BANDS[span.role]
    return bands
