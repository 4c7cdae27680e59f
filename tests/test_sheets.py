"""A sheet reaches its reader's model as it was drawn, and a page on it costs no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import InputError
from optimem.modes import MODES, Tier
from optimem.readers import Profile, find_reader, reader_names
from optimem.renderers.sheets import best_sheet, sheet_pixels
from optimem.values import Sheet

readers = st.sampled_from(reader_names()).map(find_reader)
tiers = st.sampled_from(MODES)
counts = st.integers(1, 40)


def sheet_or_none(profile: Profile, tier: Tier, count: int) -> Sheet | None:
    """None where the reader rescales whatever shows so few pages of this size."""
    try:
        return best_sheet(profile, tier, count)
    except InputError as error:
        assert "as it was drawn" in str(error)
        return None


@given(readers, tiers, counts)
def test_the_reader_sees_a_sheet_as_it_is_sent(profile: Profile, tier: Tier, count: int) -> None:
    sheet = sheet_or_none(profile, tier, count)
    if sheet is None:
        return
    bill = profile.bill(*sheet.size, sheet.level)
    assert bill.seen == sheet.size
    assert bill.tokens == sheet.tokens
    assert 1 <= sheet.pages <= count
    width, height = sheet.size
    assert width >= sheet.columns * tier.side
    assert height >= sheet.rows * tier.side


@given(readers, tiers, counts)
def test_a_sheet_keeps_within_the_limits(profile: Profile, tier: Tier, count: int) -> None:
    sheet = sheet_or_none(profile, tier, count)
    if sheet is None:
        return
    width, height = sheet.size
    limits = profile.limits
    assert max(width, height) <= limits.get("side", 10**9)
    assert max(width, height) <= limits.get("many_images_side", 10**9)
    assert -(-width // 32) * -(-height // 32) <= limits.get("patches", 10**9)
    assert width * height * 2 / 3 <= limits.get("image_bytes", 10**9) + 1


@given(readers, tiers, counts)
def test_a_page_on_a_sheet_costs_no_more_than_alone(
    profile: Profile, tier: Tier, count: int
) -> None:
    sheet = sheet_or_none(profile, tier, count)
    if sheet is None:
        return
    alone = sheet_or_none(profile, tier, 1)
    if alone is not None:
        assert sheet.cost <= alone.cost
    if tier in profile.modes:
        assert sheet.cost <= profile.page_cost(tier)


def test_flat_and_tiled_prices_call_for_sheets() -> None:
    """Worked by hand from the rules in `readers.prices`."""
    gemini = best_sheet(find_reader("google:gemini-3.8-flash"), Tier.SMALL, 30)
    # 672 x 1920 fills a budget of 560 with 14 x 40 tokens of 48 px, and one token more
    assert (gemini.columns, gemini.rows, gemini.size) == (1, 3, (672, 1920))
    assert (gemini.tokens, gemini.level) == (561, "medium")
    tiles = best_sheet(find_reader("openai:gpt-5.1"), Tier.PX768, 30)
    # 768 x 1536 is 2 x 3 tiles: 70 + 6 * 140, for two pages
    assert (tiles.columns, tiles.rows, tiles.tokens) == (1, 2, 910)


@pytest.mark.parametrize("name", reader_names())
def test_whatever_is_read_alone_has_a_sheet(name: str) -> None:
    profile = find_reader(name)
    for tier in profile.modes:
        assert best_sheet(profile, tier, 12).pages >= 1


def test_prices_by_area_leave_pages_alone() -> None:
    for name in ("openai:gpt-6-astra", "anthropic:claude-opus-5.5", "qwen:qwen3-vl"):
        for tier in (Tier.BASE, Tier.SMALL, Tier.TINY):
            assert best_sheet(find_reader(name), tier, 30).pages == 1


def pages_of(sheet: Sheet, count: int) -> list[npt.NDArray[np.uint8]]:
    side = sheet.tier.side
    return [np.random.default_rng(n).integers(0, 255, (side, side), np.uint8) for n in range(count)]


@given(readers, st.sampled_from([Tier.SMALL, Tier.TINY]), st.data())
def test_pages_stand_whole_in_reading_order(
    profile: Profile, tier: Tier, data: st.DataObject
) -> None:
    sheet = sheet_or_none(profile, tier, 9)
    if sheet is None:
        return
    pages = pages_of(sheet, data.draw(st.integers(1, sheet.pages)))
    canvas = sheet_pixels(sheet, pages)
    assert canvas.shape == sheet.size[::-1]
    places = list(sheet.places())
    assert places == sorted(places, key=lambda place: (place[1], place[0]))
    left_over = np.ones(canvas.shape, bool)
    for page, (left, top) in zip(pages, places, strict=False):
        assert np.array_equal(canvas[top : top + tier.side, left : left + tier.side], page)
        left_over[top : top + tier.side, left : left + tier.side] = False
    assert left_over.sum() == canvas.size - len(pages) * tier.side**2  # no page over another
    assert (canvas[left_over] == 255).all()


def test_what_is_no_sheet_is_refused() -> None:
    gemini = find_reader("google:gemini-3.8-flash")
    with pytest.raises(InputError, match="at least one page, not 0"):
        best_sheet(gemini, Tier.SMALL, 0)
    with pytest.raises(InputError, match="text is not a mode"):
        best_sheet(gemini, Tier.TEXT, 1)
    with pytest.raises(InputError, match="as it was drawn"):
        best_sheet(find_reader("openai:gpt-4o"), Tier.LARGE, 1)  # short side above 768
    sheet = best_sheet(gemini, Tier.SMALL, 6)
    for wrong in (0, 4):
        with pytest.raises(InputError, match=f"1 to 3 pages, not {wrong}"):
            sheet_pixels(sheet, pages_of(sheet, wrong))
    with pytest.raises(InputError, match="640 x 640 px"):
        sheet_pixels(sheet, [np.zeros((512, 512), np.uint8)])
