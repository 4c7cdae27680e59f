"""A context's segments: their order, their costs, and what stands beside a page."""

from __future__ import annotations

from typing import Any

import pytest

from optimem import Memory
from optimem.demo import packaged_session
from optimem.readers import find_reader


@pytest.fixture(scope="module")
def session() -> Any:
    with Memory.open("memory://") as memory:
        memory.append({"role": "system", "content": "Be brief."})
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
