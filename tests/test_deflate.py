"""Streams that are put together from pieces hold a page's pixels, for every decoder."""

import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from optimem.bench.corpus import KINDS, pages_of, turns_of
from optimem.modes import MODES, Tier
from optimem.renderers import png
from optimem.renderers.atlas import PAPERS, Codes, load_atlas, points
from optimem.renderers.build_codes import best_book, training_pages
from optimem.renderers.codebook import shipped_book
from optimem.renderers.deflate import PageDeflater
from optimem.renderers.page import page_codes, page_pixels, page_png

SIZES = [tier for tier in MODES if tier != Tier.GUNDAM]


@pytest.fixture(autouse=True)
def standard_library_alone() -> Iterator[None]:
    with patch.object(png, "fast_deflate", None):
        yield


def decoded(stream: bytes, tier: Tier) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png.wrap(stream, tier.side, tier.side))) as image:
        assert image.mode == "L"
        return np.asarray(image)


def cells(text: str, seed: int) -> Codes:
    """A page of the characters of a text on all papers, in some order."""
    atlas = load_atlas()
    draw = np.random.default_rng(seed)
    slots = atlas.slots(points(text))[draw.integers(0, len(text), (64, 128))]
    return atlas.codes(slots, draw.integers(0, len(PAPERS), (64, 128)))


@pytest.mark.parametrize("tier", SIZES)
def test_real_pages(tier: Tier) -> None:
    deflater = PageDeflater(load_atlas(), tier)
    for page in [page for kind in KINDS for page in pages_of(turns_of(kind))]:
        stream = deflater.stream(page_codes(page, load_atlas()))
        assert stream is not None
        pixels = page_pixels(page, tier)
        assert np.array_equal(decoded(stream, tier), pixels)
        assert len(stream) < 2.5 * len(zlib.compress(png._pack(pixels).tobytes(), 1))


@pytest.mark.parametrize("tier", SIZES)
def test_blank_pages(tier: Tier) -> None:
    atlas, deflater = load_atlas(), PageDeflater(load_atlas(), tier)
    for band, grey in enumerate(PAPERS):
        stream = deflater.stream(np.full((64, 128), atlas.codes(np.array(0), band)))
        assert stream is not None
        assert (decoded(stream, tier) == grey).all()
        assert len(stream) < 10_000


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(SIZES), st.text(" abcM@│█─é◆", min_size=1), st.integers(0, 2**32 - 1))
def test_any_cells_on_any_paper(tier: Tier, text: str, seed: int) -> None:
    codes = cells(text, seed)
    stream = PageDeflater(load_atlas(), tier).stream(codes)
    assert stream is not None
    assert np.array_equal(decoded(stream, tier), load_atlas().raster(codes, tier))


@pytest.mark.parametrize("tier", [Tier.LARGE, Tier.BASE])
def test_dense_pixels_need_codes_of_two_numbers(tier: Tier) -> None:
    deflater = PageDeflater(load_atlas(), tier)
    codes = np.random.default_rng(5).integers(0, 900, (64, 128)) * len(PAPERS)
    found = deflater.look_up(codes)
    assert found is not None
    assert (found[1].lengths > 64).any()
    stream = deflater.stream(codes)
    assert stream is not None
    assert np.array_equal(decoded(stream, tier), load_atlas().raster(codes, tier))


def test_what_is_kept_changes_nothing() -> None:
    """Pieces are forgotten when there are too many, and coded again to the same bytes."""
    latin = "".join(map(chr, (*range(0x21, 0x7F), *range(0xA1, 0x17F))))
    pages = [cells(latin.replace("\xad", ""), seed) for seed in range(6)]
    deflater = PageDeflater(load_atlas(), Tier.SMALL)
    first = [deflater.stream(page) for page in pages]
    assert deflater._coded < 4096 * len(pages)
    assert first == [PageDeflater(load_atlas(), Tier.SMALL).stream(page) for page in pages]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(deflater.stream, pages)) == first


def test_too_many_distinct_cells_are_left_to_zlib() -> None:
    codes = np.arange(64 * 128).reshape(64, 128)
    assert PageDeflater(load_atlas(), Tier.BASE).stream(codes) is None


@pytest.mark.parametrize("tier", MODES)
def test_a_page_is_the_same_picture_however_it_is_deflated(tier: Tier) -> None:
    page = pages_of(turns_of("code"))[0]
    for fast in (None, lambda data, level: zlib.compress(data, level)):
        with patch.object(png, "fast_deflate", fast):
            image = Image.open(io.BytesIO(page_png(page, tier)))
            assert np.array_equal(np.asarray(image), page_pixels(page, tier))


@pytest.mark.long
def test_shipped_books_are_what_the_script_builds() -> None:
    pages = list(training_pages(load_atlas()))
    for tier in (Tier.BASE, Tier.SMALL):
        for built, shipped in zip(
            best_book(load_atlas(), tier, pages), shipped_book(tier.cell), strict=True
        ):
            assert np.array_equal(built, shipped)
