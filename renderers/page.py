"""A page's pixels: one gather of its glyphs from the atlas, and pieces pasted over them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from optimem.modes import Tier
from optimem.renderers import png
from optimem.renderers.area import area_average
from optimem.renderers.arrange import Arrangement, Placement, arrange_page
from optimem.renderers.atlas import (
    PAPERS,
    Atlas,
    Codes,
    Fade,
    Pixels,
    load_atlas,
    on_paper,
)
from optimem.renderers.deflate import PageDeflater
from optimem.renderers.layout import PageStyle
from optimem.renderers.scanlines import packs, scan_lines
from optimem.values import Page


def page_codes(page: Page, atlas: Atlas) -> Codes:
    """The atlas codes of a page's cells, bands included: shape (64, 128)."""
    return arrange_page(page, atlas).codes


def page_pixels(
    page: Page,
    tier: Tier,
    style: PageStyle | None = None,
    fonts: Sequence[Path] | None = (),
) -> Pixels:
    """A page in a mode as grey pixels: shape (side, side), 0 black to 255 white.

    Args:
        page: the page.
        tier: the mode.
        style: how it is drawn.
        fonts: files to try first for what no shipped font has; those of the environment
            and of fontconfig follow. None leaves hex boxes.
    """
    atlas = load_atlas()
    fade = (style or PageStyle()).fade
    return draw_page(arrange_page(page, atlas, fonts), atlas, tier, fade)


def page_png(page: Page, tier: Tier, style: PageStyle | None = None) -> bytes:
    """A page in a mode as a PNG of 16 greys."""
    atlas = load_atlas()
    fade = (style or PageStyle()).fade
    arrangement = arrange_page(page, atlas)
    codes, pieces = arrangement
    if fade == "native":
        if png.fast_deflate is None and tier != Tier.TINY:
            stream = None
            if not pieces and atlas.stored(codes):
                stream = _deflater(tier).stream(codes)
            if stream is not None:
                return png.wrap(stream, tier.side, tier.side)
        elif packs(arrangement, atlas, tier):
            return png.encode_lines(scan_lines(codes, atlas, tier, _drawn(pieces, tier, fade)))
    return png.encode(draw_page(arrangement, atlas, tier, fade))


@functools.cache
def _deflater(tier: Tier) -> PageDeflater:
    """A size's deflater. At Tiny zlib is as fast: a line of a piece has four bytes there."""
    return PageDeflater(load_atlas(), tier)


def draw_page(arrangement: Arrangement, atlas: Atlas, tier: Tier, fade: Fade = "native") -> Pixels:
    """Draw an arranged page in a mode: grey pixels, (side, side)."""
    pixels = atlas.raster(arrangement.codes, tier, fade)
    width, height = tier.cell
    for row, column, cells in _drawn(arrangement.pieces, tier, fade):
        left, top = column * width, row * height
        pixels[top : top + height, left : left + cells.shape[1]] = cells
    return pixels


def _drawn(
    pieces: Iterable[Placement], tier: Tier, fade: Fade
) -> Iterator[tuple[int, int, Pixels]]:
    """Row, column and pixels of pieces in a mode."""
    for row, column, band, piece in pieces:
        from optimem.renderers.shaping import draw_piece

        width, height = tier.cell
        source = Tier.BASE.cell if fade == "area" else tier.cell
        cells = on_paper(draw_piece(piece, source), band)
        if source != tier.cell:
            cells = area_average(cells[None], (width * piece.cells, height))[0]
        yield row, column, cells


def stamp(page: Page) -> Page:
    """A page whose style, and so its name, tells all that decides its pixels.

    The atlas is in the style already. What the atlas has not stored is drawn by this
    machine's FreeType and HarfBuzz, some of it with this machine's fonts: two machines
    whose pixels may differ give such a page two names, by what follows a plus sign.
    """
    atlas = load_atlas()
    if page.text.isascii() or atlas.stores(page.text):
        return page
    from optimem.renderers.fontchain import digest
    from optimem.renderers.glyphs import version
    from optimem.renderers.shaping import versions

    arrangement = arrange_page(page, atlas)
    used = {placement.piece.font for placement in arrangement.pieces}
    parts = sorted(digest(font) for font in used if font is not None and not font.shipped)
    if arrangement.pieces or atlas.late(arrangement.codes // len(PAPERS)).any():
        parts += [version(), *versions()]
    if not parts:
        return page
    extra = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return replace(page, style=f"{page.style}+{extra}")
