"""The verbs that look: what they say is what the session holds, in every process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversations import logs, say, words
from hypothesis import given, settings

from optimem import Memory, NotFoundError
from optimem.demo import packaged_session
from optimem.tokens import find_counter

READER = "openai:gpt-6-astra"


@pytest.fixture(scope="module")
def session() -> Iterator[Memory]:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        memory.context(READER, 20_000)
        memory.context("deepseek-ocr", 8_000)
        yield memory


@settings(max_examples=25)
@given(logs())
def test_stats_are_what_is_there(log: list[dict[str, Any]]) -> None:
    with Memory.open("memory://", counter="chars") as memory:
        memory.extend(log)
        stats, pages = memory.stats(), memory.pages()
        assert (stats.turns, stats.pages, stats.counter) == (len(log), len(pages), "chars")
        assert bool(stats.bytes["pages"]) == bool(pages) and stats.bytes["log"] > 0
        assert (stats.tiers, stats.epochs, memory.plans()) == ({}, {}, {})
        memory.append(say("user", words(40, 7)))
        more = memory.stats().text_tokens - stats.text_tokens
        assert more >= find_counter("chars").count(words(40, 7))


def test_each_plan_is_told_by_reader_and_budget(session: Memory) -> None:
    stats, plans = session.stats(), session.plans()
    assert stats.tiers.keys() == stats.epochs.keys() == plans.keys()
    named = {name.partition(" by ")[0] for name in plans}
    assert named == {f"{READER} at 20000", "local:deepseek-ocr at 8000"}
    for name, plan in plans.items():
        assert stats.tiers[name] == {tier.label: n for tier, n in plan.counts().items()}
        assert sum(stats.tiers[name].values()) == plan.pages <= stats.pages
        assert stats.epochs[name] == plan.epoch
        for number in range(plan.pages):
            assert plan.explain(number).startswith(f"Page {number} is ")


def test_pages_are_numbered_and_anchors_stand_on_them(session: Memory) -> None:
    pages = session.pages()
    assert [page.number for page in pages] == list(range(len(pages)))
    before = ""
    for page in pages:
        assert session.page(page.number) == page
        assert all(anchor in before + page.words for anchor in session.anchors(page.number))
        before = page.words
    assert sum(bool(session.anchors(page.number)) for page in pages) > len(pages) / 2
    assert 0 < session.stats().anchor_tokens <= 56 * len(pages)


@pytest.mark.parametrize("number", [-1, 29, 10**6])
def test_pages_that_are_not_there(session: Memory, number: int) -> None:
    for ask in (session.page, session.anchors):
        with pytest.raises(NotFoundError, match=f"no page {number} in session 'default'"):
            ask(number)


def test_every_process_sees_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url) as one, Memory.open(url) as other:
        for number in range(6):
            (one if number % 2 else other).append(say("user", words(900, number)))
            assert one.stats() == other.stats() and one.pages() == other.pages()
        one.context(READER, 6_000)
        assert other.plans() == one.plans() != {}
        other.rewind(to=other.turns()[2].id)
        assert one.stats() == other.stats() and one.stats().turns == 3


def test_traces_are_found_wherever_words_are_kept(session: Memory) -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "the word is zanzibar-9"))
        found = memory.traces("zanzibar-9")
        assert found and not memory.traces("zanzibar-8")
        memory.flush()
        assert len(memory.traces("zanzibar-9")) > len(found)  # the page says it too
    assert session.traces("no such words at all") == []
