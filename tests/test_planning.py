"""A plan can be sent: within its budget, its images few and small enough for one request."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from conversations import say, words
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem import BudgetError, Memory
from optimem.context import Context
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget
from optimem.readers import Profile, find_reader
from optimem.readers.carry import page_bytes, page_images
from optimem.values import Plan, Segment

AREA = "anthropic:claude-opus-5.5"  # its images cost by their area: each page by itself
TILED = "openai:gpt-5.1"  # some are cheaper on sheets
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open("memory://", counter="chars") as opened:
        for number in range(90):
            opened.append(say("user" if number % 3 else "assistant", words(300, number)))
        yield opened


def reader(name: str, **limits: int) -> Profile:
    """A reader with a name, and so a plan, of its own."""
    found = find_reader(name)
    kept = {key: value for key, value in limits.items() if key != "request_bytes"}
    return replace(
        found,
        name=f"{found.name} {next(_NUMBERS)}",
        limits=kept,
        request_bytes=limits.get("request_bytes", found.request_bytes),
    )


def images(context: Context) -> list[Segment]:
    return [segment for segment in context.segments if segment.is_image]


def shown(plan: Plan) -> int:
    return sum(tier.is_mode for tier in plan.tiers)


@settings(max_examples=30)
@given(
    st.sampled_from([AREA, TILED, "deepseek:deepseek-flash"]),
    st.sampled_from([None, 5_000, 12_000, 30_000]),
    st.sampled_from([1, 2, 5, 20, 100]),
    st.sampled_from([20_000, 200_000, 18 << 20]),
)
def test_every_plan_can_be_sent(
    memory: Memory, name: str, budget: int | None, count: int, size: int
) -> None:
    profile = reader(name, images=count, request_bytes=size)
    try:
        made = memory.context(profile, budget)
    except BudgetError as error:
        assert budget is not None and error.smallest is not None and error.smallest > budget
        made = memory.context(profile, error.smallest)
        budget = error.smallest
    assert budget is None or made.tokens <= budget
    assert len(images(made)) <= (page_images(profile) or 0)
    assert sum(len(made.image(segment)[1]) for segment in images(made)) <= page_bytes(profile)
    newest = made.segments[-1].turn == memory.turns()[-1]
    assert newest or made.plan.overflow  # which only a budget asks for
    assert not made.plan.overflow or budget is not None
    assert made.plan.settled() == made.plan
    assert memory.context(profile, budget).plan == made.plan  # planned again, it stays


def test_limits_that_are_not_met_change_nothing(memory: Memory) -> None:
    free = memory.context(reader(AREA), 30_000)
    assert shown(free.plan) > 3
    for limits in ({"images": 1_000}, {"request_bytes": 18 << 20}):
        assert memory.context(reader(AREA, **limits), 30_000).plan == free.plan


def test_too_many_images_fade_before_they_are_forgotten(memory: Memory) -> None:
    """A smaller budget is tried first; where it does not help, the oldest pages go."""
    free = memory.context(reader(AREA), 30_000)
    fewer = -(-(shown(free.plan) - 1) * 4 // 3)
    tight = memory.context(reader(AREA, images=fewer), 30_000)
    one = memory.context(reader(AREA, images=1), 30_000)
    assert len(images(one)) <= 1 < len(images(tight)) < shown(free.plan)
    assert one.plan.gone >= tight.plan.gone and one.tokens < tight.tokens < free.tokens
    said = [segment.text for segment in one.segments if "no longer shown" in segment.text]
    assert len(said) == 1


def test_what_pages_save_on_sheets_is_spent_on_more_of_them(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "google:gemini-2.5-pro"
    on_sheets = memory.context(reader(name), 20_000)
    assert any(segment.kind == "sheet" for segment in images(on_sheets))
    monkeypatch.setattr("optimem.planning.planner.Planner._savings", lambda self, profile: {})
    alone = memory.context(reader(name), 20_000)  # planned as if each page were by itself
    assert alone.page_images < on_sheets.page_images and on_sheets.tokens <= 20_000


def test_a_plan_that_another_worker_made_is_kept(memory: Memory) -> None:
    policy = Epochs((AgeDecay(ladder=((Tier.TINY, 4),)), TokenBudget()))
    ours, theirs = (Memory(memory.store, memory.scope, policy=policy) for _ in range(2))
    profile = reader(AREA)
    plan = ours.context(profile, 30_000).plan
    assert theirs.context(profile, 30_000).plan == plan and plan.epoch == 1
