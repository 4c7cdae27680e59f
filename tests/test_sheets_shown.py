"""Contexts show pages on sheets where a reader's price makes them pay, and only there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optimem import Context, Memory
from optimem.demo import packaged_session
from optimem.modes import MODES, Tier
from optimem.policies import AgeDecay, Epochs
from optimem.readers import find_reader, reader_names
from optimem.renderers.page import page_pixels
from optimem.renderers.sheets import plan_groups, sheet_key
from optimem.values import Plan, Segment

TILED = ["deepseek:deepseek-flash", "google:gemini-2.5-pro", "openai:gpt-5.1"]


@pytest.fixture(scope="module")
def session() -> Iterator[Memory]:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        yield memory


def sheets_of(context: Context) -> list[Segment]:
    return [segment for segment in context.segments if segment.kind == "sheet"]


def shown(context: Context) -> list[int]:
    """The numbers of all pages, in the order in which they are shown."""
    numbers: list[int] = []
    for segment in context.segments:
        if segment.kind in ("page", "page_text"):
            numbers.append(segment.page or 0)
        numbers += segment.pages
    return numbers


@given(
    st.sampled_from(reader_names()).map(find_reader),
    st.lists(st.sampled_from([*MODES, Tier.TEXT]), max_size=40),
    st.integers(0, 3),
)
def test_groups_hold_each_page_once_and_never_cost_more(
    profile: Any, tiers: list[Tier], gone: int
) -> None:
    tiers = [tier for tier in tiers if tier == Tier.TEXT or tier in profile.modes]
    plan = Plan(tuple(tiers), gone=gone)
    groups = plan_groups(profile, plan)
    assert [n for group in groups for n in group.pages] == list(range(gone, plan.pages))
    assert all(plan.tier(n) == group.tier for group in groups for n in group.pages)
    for group in groups:
        if group.sheet is not None:
            assert len(group.pages) == group.sheet.pages > 1
            assert group.sheet.tokens < len(group.pages) * profile.page_cost(group.tier)


def test_groups_that_save_too_little_are_none() -> None:
    profile = find_reader("openai:gpt-5.1")
    plan = Plan((Tier.PX768, Tier.PX768))
    assert plan_groups(profile, plan, least=349)[0].sheet is not None
    assert [group.sheet for group in plan_groups(profile, plan, least=350)] == [None, None]


@pytest.mark.parametrize("reader", TILED)
def test_a_context_shows_each_page_once_within_its_budget(session: Memory, reader: str) -> None:
    for budget in (8_000, 12_000, 30_000, None):
        context = session.context(reader, budget)
        assert shown(context) == list(range(context.plan.gone, context.plan.pages))
        assert context.page_images == sum(tier.is_mode for tier in context.plan.tiers)
        assert f" {context.page_images} pages, " in repr(context)
        assert context.tokens == sum(segment.tokens for segment in context.segments)
        assert budget is None or context.tokens <= budget
        explained = any("several pages" in segment.text for segment in context.segments)
        assert explained == bool(sheets_of(context))
    assert sheets_of(session.context(reader, 30_000))


def test_sheets_let_more_pages_stay(session: Memory) -> None:
    profile = find_reader("google:gemini-2.5-pro")
    context = session.context(profile, 20_000)
    alone = profile.page_cost(Tier.LARGE) * len(shown(context))
    assert sum(sheet.tokens for sheet in sheets_of(context)) < 0.75 * alone
    assert context.tokens + alone - sum(s.tokens for s in sheets_of(context)) > 20_000


@pytest.mark.parametrize("reader", ["gpt-6-astra", "claude-opus-5.5", "deepseek-ocr"])
def test_readers_whose_price_grows_with_the_area_get_single_pages(
    session: Memory, reader: str
) -> None:
    assert not sheets_of(session.context(reader, 8_000))


@pytest.mark.parametrize("reader", TILED)
def test_between_epochs_the_pages_stay_the_same_bytes(reader: str) -> None:
    """Sheets are formed anew at epochs alone, and their captions stand in front of them."""
    last: tuple[int, str] | None = None
    with_sheets = 0
    with Memory.open("memory://") as memory:
        for turn in packaged_session():
            memory.append(turn)
            context = memory.context(reader, 12_000)
            assert context.tokens <= 12_000
            old = [s for s in context.segments if s.turn is None]
            facts = json.dumps([(s.kind, s.page, s.pages, s.tier, s.text) for s in old])
            assert last is None or last[0] != context.plan.epoch or last[1] == facts
            last = context.plan.epoch, facts
            with_sheets += bool(sheets_of(context))
            for at, segment in enumerate(old):
                if segment.kind == "sheet":
                    captions = old[at - len(segment.pages) : at]
                    assert [caption.kind for caption in captions] == ["caption"] * len(captions)
                    assert tuple(caption.page for caption in captions) == segment.pages
    assert with_sheets > 20


@pytest.mark.parametrize("reader", TILED)
def test_a_sheets_pixels_are_its_pages(session: Memory, reader: str) -> None:
    context = session.context(reader, 30_000)
    segment = sheets_of(context)[-1]
    assert segment.sheet is not None
    media_type, data = context.image(segment)
    assert media_type == "image/png"
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == segment.sheet.size
        pixels = np.asarray(image)
    side = segment.tier.side
    for number, (left, top) in zip(segment.pages, segment.sheet.places(), strict=True):
        drawn = page_pixels(session.page(number), segment.tier)
        assert np.array_equal(pixels[top : top + side, left : left + side], drawn)


def test_messages_carry_the_level_that_the_sheet_was_made_for(session: Memory) -> None:
    context = session.context("openai:gpt-5.1", 30_000)
    blocks = [
        block
        for message in context.messages()
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "image_url"
    ]
    images = [segment for segment in context.segments if segment.is_image]
    for segment, block in zip(images, blocks, strict=True):
        level = segment.sheet.level if segment.sheet else context.reader.modes[segment.tier]
        assert block["image_url"]["detail"] == level
    assert {"high", "low"} == {block["image_url"]["detail"] for block in blocks}
    sent = json.dumps(session.context("gemini-2.5-pro", 30_000).messages("anthropic"))
    assert sent.count('"media_type": "image/png"') == len(
        [s for s in session.context("gemini-2.5-pro", 30_000).segments if s.is_image]
    )


def test_the_store_keeps_a_sheets_bytes_until_it_is_shown_no_longer() -> None:
    ladder = ((Tier.SMALL, 2.0), (Tier.TINY, 60.0))
    policy = Epochs((AgeDecay(ladder=ladder),), saving=0, horizon=10**9)
    with Memory.open("memory://", policy=policy) as memory:
        memory.extend(packaged_session()[:60])
        context = memory.context("deepseek:deepseek-flash")
        once = context.messages()
        segment = sheets_of(context)[0]
        assert segment.sheet is not None
        key = sheet_key(segment.sheet, [memory.page(number).hash for number in segment.pages])
        kept = memory.store.blob(memory.scope, key)
        assert kept == context.image(segment)[1]
        memory.store.drop_blobs(memory.scope, [key])  # a lost image is drawn again
        assert context.messages() == once
        for turn in packaged_session()[60:]:
            memory.append(turn)
            memory.context("deepseek:deepseek-flash")
        assert memory.context("deepseek:deepseek-flash").plan.tier(segment.pages[0]) == Tier.TINY
        assert memory.store.blob(memory.scope, key) is None
