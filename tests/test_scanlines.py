"""The lines of a PNG that are drawn two pixels a byte show what the pixels show."""

from __future__ import annotations

import io
import zlib
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from unicode_pages import TURNS, lay_out

from optimem.modes import COLUMNS, MODES, ROWS, Tier
from optimem.renderers import png, scanlines
from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import load_atlas
from optimem.renderers.page import page_pixels, page_png
from optimem.renderers.scanlines import packs, scan_lines
from optimem.values import Page

WHOLE = [tier for tier in MODES if tier.cell[0] % 2 == 0]
MIXED = "def f(x):  # 中文 \ufeff ᚠ naïve e\u0301 שלום عربي किताब 👍🏽 \x1b[0m\x07"


def check(page: Page, tier: Tier) -> None:
    """Draw scan lines, whether they are the best way for the page or not."""
    everything = ROWS * COLUMNS
    with (
        patch.object(png, "fast_deflate", zlib.compress),
        patch.object(scanlines, "_MOST_SINGLES", everything),
        patch.object(png, "encode", side_effect=AssertionError("not drawn as scan lines")),
        Image.open(io.BytesIO(page_png(page, tier))) as image,
    ):
        assert np.array_equal(np.asarray(image.convert("L")), page_pixels(page, tier))


@pytest.mark.parametrize("tier", WHOLE, ids=lambda tier: tier.label)
@pytest.mark.parametrize("name", TURNS)
def test_pages_of_every_script(name: str, tier: Tier) -> None:
    for page in lay_out(*TURNS[name]):
        check(page, tier)


@given(st.lists(st.text(st.characters(codec=None)), min_size=1), st.sampled_from(WHOLE))
@example([MIXED, MIXED], Tier.BASE)
def test_any_text(texts: list[str], tier: Tier) -> None:
    for page in lay_out(*texts):
        check(page, tier)


def test_each_cell_begins_without_a_filter() -> None:
    """The line above it is another glyph's, which the atlas does not know."""
    (page,) = lay_out(MIXED)
    atlas = load_atlas()
    codes = arrange_page(page, atlas).codes
    for tier in WHOLE:
        lines = scan_lines(codes, atlas, tier)
        assert lines.shape == (tier.side, 1 + tier.side // 2)
        assert set(lines[:: tier.cell[1], 0]) == {0}


def test_what_packs() -> None:
    atlas = load_atlas()
    latin, mixed, chinese = (lay_out(text)[0] for text in ("naïve", MIXED, "中文" * 800))
    for tier in MODES:
        whole = tier in WHOLE
        assert packs(arrange_page(latin, atlas), atlas, tier) == whole
        assert packs(arrange_page(mixed, atlas), atlas, tier) == whole
        assert not packs(arrange_page(chinese, atlas), atlas, tier)
