"""The best use of a budget, in contexts of real sessions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimem import Memory, Tier
from optimem.policies import (
    AgeDecay,
    BestValue,
    Cache,
    Candidate,
    Epochs,
    Frontier,
    Rehearsal,
    Situation,
    TokenBudget,
)
from optimem.policies.value import CHARACTERS
from optimem.transcripts import read_transcript
from optimem.values import Plan

ROOT = Path(__file__).parent.parent
READER = "deepseek-ocr"
COSTS = {Tier.TEXT: 2000, Tier.FORGOTTEN: 0}
COSTS |= {Tier.LARGE: 421, Tier.BASE: 273, Tier.SMALL: 111, Tier.TINY: 73}


def situation(budget: int | None, pages: int = 20, past: Plan | None = None) -> Situation:
    """Two turns a page, 1,000 tokens each."""
    turns = 2 * pages + 9
    return Situation(
        pages=[Candidate(n, 2 * n + 2, COSTS, turns - 2 * n - 2) for n in range(pages)],
        frontiers=[Frontier(n, 2 * n, (turns - 2 * n) * 1000) for n in range(pages + 1)],
        past=None if past is None else (turns - past.frontier) * 1000,
        turns=turns,
        budget=budget,
        before=past or Plan(),
        cache=Cache(0.1, 1.25),
    )


@pytest.fixture(scope="module")
def transcript() -> list[object]:
    return list(read_transcript(ROOT / "optimem/data/transcript.json"))


def test_contexts_of_a_real_session_fit_and_count_what_is_forgotten(
    transcript: list[object],
) -> None:
    with Memory.open("memory://", policy=Epochs((BestValue(), TokenBudget()))) as memory:
        for start in range(0, len(transcript), 29):
            memory.extend(transcript[start : start + 29])
            for budget in (3000, 5000, 9000):
                budget = min(budget, 8192)
                context = memory.context(READER, budget=budget)
                assert context.tokens <= budget
                assert context.tokens == sum(segment.tokens for segment in context.segments)
        plan = memory.context(READER, budget=3000).plan
        gone = [n for n in range(plan.pages) if plan.tier(n) == Tier.FORGOTTEN]
        said = [plan.explain(number) for number in gone]
        assert said and all("others are worth more" in s or "to fit the" in s for s in said)
        stops = [0, *(page.stop for page in memory._ledger.pages)]
        turns = sum(stops[n + 1] - stops[n] for n in gone)
        notes = [s.text for s in memory.context(READER, budget=3000).segments if s.kind == "note"]
        assert any(note.startswith(f"{turns} earlier turns") for note in notes)


def test_with_room_for_all_nothing_fades() -> None:
    assert BestValue().apply(situation(None), Plan()) == Plan()
    assert BestValue().apply(situation(80_000), Plan()) == Plan()


def test_young_pages_stay_sharper_and_newest_turns_text() -> None:
    view = situation(16_500)
    plan = BestValue(half=8).apply(view, Plan())
    tiers = list(plan.tiers)
    assert tiers == sorted(tiers, reverse=True) and len(set(tiers)) > 1
    assert plan.frontier <= view.turns - 8 and view.tokens(plan) <= 16_000


def test_what_the_reader_reads_decides() -> None:
    """A reader that reads nothing below Base is shown nothing below it."""
    blind = {Tier.LARGE: 1.0, Tier.BASE: 0.99, Tier.SMALL: 0.0, Tier.TINY: 0.0}
    view = situation(14_000)
    usual = BestValue().apply(view, Plan())
    seeing = BestValue().apply(
        Situation(
            **{**{f: getattr(view, f) for f in view.__dataclass_fields__}, "fidelity": blind}
        ),
        Plan(),
    )
    assert {Tier.SMALL, Tier.TINY} & set(usual.tiers)
    assert not {Tier.SMALL, Tier.TINY} & set(seeing.tiers)


def test_a_warm_cache_is_broken_as_far_back_as_it_pays() -> None:
    first = Epochs((BestValue(), TokenBudget())).apply(situation(16_000), Plan())
    grown = situation(16_000, pages=24, past=first)
    again = BestValue(horizon=1).apply(grown, first)
    free = BestValue(horizon=1_000_000).apply(grown, first)

    def kept(plan: Plan) -> int:
        pairs = zip(first.tiers, plan.tiers, strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if a != b), len(first.tiers))

    assert kept(again) > kept(free)
    assert all(a <= b for a, b in zip(first.tiers, again.tiers, strict=False))


def test_it_is_worth_more_than_the_oldest_first() -> None:
    """By its own measure, at the same tokens."""
    view = situation(12_000)
    mine = BestValue(low=1).apply(view, Plan())
    oldest = TokenBudget(low=1).apply(view, AgeDecay().apply(view, Plan()))
    policy = BestValue()

    def worth(plan: Plan) -> float:
        needs = policy._needs(view, plan)
        shares = [policy.shares(view)[tier] for tier in plan.tiers]
        text = sum(1000 / (1 + age / policy.half) for age in range(view.turns - plan.frontier))
        return float(sum(need * share for need, share in zip(needs, shares, strict=True))) + text

    assert view.tokens(mine) <= 12_000 and view.tokens(oldest) <= 12_000
    assert worth(mine) > worth(oldest)


def test_it_can_rehearse() -> None:
    assert Rehearsal(BestValue()).waits and Rehearsal().waits is False


def test_its_shares_are_those_of_the_benchmark() -> None:
    kept = json.loads((ROOT / "docs/bench/legibility.json").read_text("utf-8"))["results"]["native"]
    for tier in (Tier.BASE, Tier.SMALL, Tier.TINY):
        rates = [kind["rate"] for kind in kept[tier.label].values()]
        assert CHARACTERS[tier] == pytest.approx(1 - sum(rates) / len(rates) / 100, abs=0.01)


def test_bad_settings_are_refused() -> None:
    for bad in ({"low": 0}, {"text": 0}, {"half": -1}, {"salient": -1}, {"horizon": 0}):
        with pytest.raises(ValueError):
            BestValue(**bad)
