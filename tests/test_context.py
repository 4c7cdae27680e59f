"""A context's segments: their order, their costs, and what plans keep apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from optimem import BudgetError, Memory
from optimem.demo import packaged_session
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget
from optimem.readers import find_reader

ORDER = ["system", "note", "caption", "page", "attachment", "page_text", "rest", "turn"]


def say(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


@pytest.fixture(scope="module")
def session() -> Any:
    with Memory.open("memory://") as memory:
        memory.append(say("system", "Be brief."))
        memory.extend(packaged_session())
        yield memory


@pytest.mark.parametrize("reader", ["deepseek-ocr", "gpt-6-astra", "claude-opus-5.5"])
def test_segments_stand_in_order_and_their_costs_add_up(session: Memory, reader: str) -> None:
    context = session.context(reader, 8_000)
    kinds = [segment.kind for segment in context.segments]
    assert kinds[0] == "system" and kinds[-1] == "turn" and "page" in kinds
    first_turn = kinds.index("turn")
    assert set(kinds[first_turn:]) == {"turn"} and "turn" not in kinds[:first_turn]
    pages = [s.page for s in context.segments if s.kind in ("page", "page_text")]
    assert pages == list(range(context.plan.gone, context.plan.pages))
    assert context.tokens == sum(segment.tokens for segment in context.segments) <= 8_000
    assert context.text_tokens > context.tokens


def test_each_page_follows_its_caption_with_its_anchors(session: Memory) -> None:
    segments = session.context("deepseek-ocr", 8_000).segments
    for caption, page in zip(segments, segments[1:], strict=False):
        if page.kind == "page":
            number = page.page or 0
            assert caption.kind == "caption" and caption.page == page.page
            assert caption.text.startswith(f"Page {number}, turns ")
            assert all(anchor in caption.text for anchor in session.anchors(number))
            assert page.tokens == find_reader("deepseek-ocr").page_cost(page.tier)


def test_the_same_context_again_is_the_same_bytes(session: Memory) -> None:
    once = json.dumps(session.context("gpt-6-astra", 20_000).request())
    assert json.dumps(session.context("gpt-6-astra", 20_000).request()) == once


def test_readers_budgets_and_policies_have_plans_of_their_own() -> None:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        wide = memory.context("gpt-6-astra", 40_000)
        narrow = memory.context("gpt-6-astra", 10_000)
        assert narrow.plan != wide.plan == memory.context("gpt-6-astra", 40_000).plan
        policy = Epochs((AgeDecay(ladder=((Tier.TINY, 2),)), TokenBudget()))
        other = Memory(memory.store, memory.scope, policy=policy)
        tiny = other.context("gpt-6-astra", 40_000).plan
        assert set(tiny.tiers) == {Tier.TINY}
        assert memory.context("gpt-6-astra", 40_000).plan == wide.plan
        assert len(memory.stats().tiers) == 3


def test_a_context_keeps_its_words_while_the_session_goes_on() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "one"))
        context = memory.context("gpt-6-astra", 1_000)
        memory.append(say("user", "two"))
        assert context.messages() == [say("user", "one")]


def test_no_tokens_are_no_budget() -> None:
    with Memory.open("memory://") as memory:
        for budget in (0, -5):
            with pytest.raises(BudgetError, match="at least 1 token"):
                memory.context("gpt-6-astra", budget)


def test_without_a_budget_the_window_is_one_and_unknown_windows_have_none() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "one"))
        assert memory.context("deepseek-ocr").budget == 8192
        assert memory.context("qwen:qwen3-vl").budget is None
