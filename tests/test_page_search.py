"""A turn's pages are found with few questions, whatever the turns are like."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from hypothesis import given
from hypothesis import strategies as st

from optimem.ledger.page_search import PageSearch
from optimem.stores import Store, open_store
from optimem.values import PageFacts, Scope

SCOPE = Scope("default", "42")


class Pages:
    """A store that has nothing but the facts of some pages, and counts how often it is asked."""

    def __init__(self, facts: list[PageFacts]) -> None:
        self.facts = facts
        self.asked = 0

    def page_facts(self, scope: Scope, start: int = 0, stop: int | None = None) -> list[PageFacts]:
        self.asked += 1
        return self.facts[start:stop]


def facts_of(spans: list[tuple[int, int]]) -> list[PageFacts]:
    return [PageFacts(n, "", first, last, last, 0) for n, (first, last) in enumerate(spans)]


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[int, int]]:
    """The first and the last turn of each page: long turns run over pages, short ones share one."""
    first, spans = draw(st.integers(0, 3)), []
    for length in draw(st.lists(st.integers(0, 30), max_size=120)):
        spans.append((first, first + length))
        first += length + draw(st.integers(0, 1))
    return spans


@given(sessions(), st.integers(0, 200), st.integers(0, 5000))
def test_it_finds_what_bisecting_finds(
    spans: list[tuple[int, int]], known: int, position: int
) -> None:
    facts = facts_of(spans)
    turns = spans[-1][1] + 5 if spans else 5
    store = Pages(facts)
    search = PageSearch(as_store(store), SCOPE, turns, len(facts), facts[:known])
    for at in (position % (turns + 2), 0, turns - 1):
        first = bisect_left(facts, at, key=lambda page: page.last)
        behind = bisect_right(facts, at, key=lambda page: page.first)
        assert search.of(at) == range(first, max(first, behind))


def as_store(pages: Pages) -> Store:
    return pages  # type: ignore[return-value]


def test_a_long_session_is_asked_little() -> None:
    facts = facts_of([(page * 28, page * 28 + 28) for page in range(3500)])
    for at in (0, 5, 50_003, 97_999):
        store = Pages(facts)
        assert len(PageSearch(as_store(store), SCOPE, 98_000, 3500, ()).of(at)) in (1, 2)
        assert store.asked <= 3


def test_pages_that_are_dropped_meanwhile_are_none() -> None:
    with_nothing = open_store("memory://")
    assert PageSearch(with_nothing, SCOPE, 100, 10, ()).of(50) in (range(0), range(5, 5))
    with_nothing.close()
