"""What a request may carry: counts of images, bytes; one below, at and one above."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image

from optimem import Memory, Tier
from optimem.context import Context
from optimem.modes import MODES
from optimem.policies import AgeDecay, Epochs
from optimem.readers import Profile, find_reader, reader_names
from optimem.readers.carry import most_bytes, page_bytes, page_images
from optimem.renderers.page import page_png
from optimem.renderers.sheets import plan_groups
from optimem.values import Plan, Segment

CLAUDE = find_reader("anthropic:claude-opus-5.5")


def limited(images: int, profile: Profile = CLAUDE) -> Profile:
    """A reader of a name of its own, so that it has a plan of its own."""
    limits = {**profile.limits, "images": images}
    return replace(profile, name=f"claude of {images}", limits=limits)


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open("memory://", counter="chars", policy=Epochs((AgeDecay(),))) as opened:
        for number in range(90):
            words = " ".join(f"word{number * 7 + n}" for n in range(300))
            opened.append({"role": "user", "content": words})
        yield opened


def images(context: Context) -> list[Segment]:
    return [segment for segment in context.segments if segment.is_image]


def shown(context: Context) -> int:
    return sum(tier.is_mode for tier in context.plan.tiers)


def test_images_one_below_at_and_above(memory: Memory) -> None:
    free = memory.context(replace(CLAUDE, name="free", limits={}))
    alone = len(images(free))
    assert alone == shown(free) > 8  # each by itself
    for limit in (alone + 1, alone):
        cap = -(-limit * 4 // 3)  # three quarters are the pages'
        assert page_images(limited(cap)) == limit
        assert len(images(memory.context(limited(cap)))) == alone
    cap = (alone - 1) * 4 // 3
    packed = memory.context(limited(cap))
    assert (page_images(limited(cap)) or 0) < alone
    assert len(images(packed)) <= (page_images(limited(cap)) or 0)
    assert shown(packed) == alone, "sheets hold what the count does not"
    assert packed.tokens <= free.tokens * 1.02
    text = json.dumps(packed.request())
    assert text.count('"type": "image"') == len(images(packed))


def test_a_count_that_no_sheet_meets_forgets_the_oldest(memory: Memory) -> None:
    free = memory.context(replace(CLAUDE, name="free", limits={}))
    few = memory.context(limited(4))
    assert 1 <= len(images(few)) <= 3
    assert few.segments[-1].turn == free.segments[-1].turn
    assert 0 < few.plan.gone < len(memory.pages())
    again = memory.context(limited(4))
    assert again.plan == few.plan and again.request() == few.request()


def test_more_than_twenty_images_keep_to_two_thousand_px() -> None:
    plan = Plan((Tier.LARGE,) * 60 + (Tier.TINY,) * 90)
    for most in (None, 150, 100, 40, 22):
        for group in plan_groups(CLAUDE, plan, most=most):
            if group.sheet is not None:
                assert max(group.sheet.size) <= CLAUDE.limits["many_images_side"]


@pytest.mark.parametrize("name", [n for n in reader_names() if find_reader(n).modes])
def test_sheets_meet_a_count_and_cost_no_more(name: str) -> None:
    profile = find_reader(name)
    tiers = sorted(profile.modes)
    plan = Plan(tuple(tier for tier in tiers for _ in range(30)))
    alone = sum(profile.page_cost(tier) for tier in plan.tiers)
    for most in (0, len(plan.tiers) - 1, len(plan.tiers)):
        groups = plan_groups(profile, plan, least=10**9, most=most)
        assert [n for group in groups for n in group.pages] == list(range(len(plan.tiers)))
        cost = sum(
            group.sheet.tokens if group.sheet else profile.page_cost(group.tier) for group in groups
        )
        assert cost <= alone
        assert (most < len(plan.tiers)) or all(group.sheet is None for group in groups)


def sent_bytes(context: Context) -> int:
    return sum(len(context.image(segment)[1]) for segment in images(context))


def test_bytes_one_below_at_and_above(memory: Memory) -> None:
    free = memory.context(replace(CLAUDE, name="free", limits={}))
    size = sent_bytes(free)
    plans = {}
    for room in (size + 1, size, size - 1):
        request = room * 16 // 9
        request += page_bytes(replace(CLAUDE, request_bytes=request)) < room
        reader = replace(CLAUDE, name=f"room {room}", request_bytes=request)
        assert page_bytes(reader) == room
        made = memory.context(reader)
        assert sent_bytes(made) <= room
        plans[room] = made.plan.tiers
    assert plans[size + 1] == plans[size] == free.plan.tiers
    assert plans[size - 1] != free.plan.tiers


def test_a_reader_with_little_room_still_sees_the_newest(memory: Memory) -> None:
    tight = memory.context(replace(CLAUDE, name="tight", request_bytes=100_000))
    assert sent_bytes(tight) <= 56_250
    assert tight.segments[-1].kind == "turn"


def test_the_providers_own_limit_counts_too() -> None:
    gemini = find_reader("gemini-4-argon")
    assert page_bytes(gemini) == (18 << 20) * 9 // 16
    assert page_bytes(replace(gemini, request_bytes=30_000_000)) == 20_000_000 * 9 // 16


def test_no_page_is_larger_than_is_told(memory: Memory) -> None:
    page = memory.page(3)
    for tier in MODES:
        most = most_bytes(Segment("page", 0, page=3, tier=tier))
        assert 0 < len(page_png(page, tier)) <= most


def test_attachments_count() -> None:
    out = io.BytesIO()
    Image.effect_noise((500, 400), 80).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    picture = {"type": "image_url", "image_url": {"url": url}}
    with Memory.open("memory://", counter="chars") as memory:
        for number in range(40):
            words = {"type": "text", "text": f"look {number}: " + "it is grey. " * 60}
            memory.append({"role": "user", "content": [words, picture]})
        memory.append({"role": "user", "content": "well?"})
        made = memory.context(limited(16), 60_000)
        count = json.dumps(made.request()).count('"type": "image"')
        assert 0 < len(images(made)) <= 12 and count >= len(images(made))
