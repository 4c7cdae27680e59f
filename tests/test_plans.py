"""Plans: where each page stands and why, in words, stretches and one line of JSON."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimem.modes import Tier
from optimem.values import Kept, Plan, Rehearsed, Tiers

REASONS = st.sampled_from(["", "24 turns old or older", "to fit the budget"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tiers = draw(st.lists(st.sampled_from(Tier), max_size=12))
    gone = draw(st.integers(0, 6))
    pages = draw(st.sets(st.integers(0, 20), max_size=4))
    kept = draw(st.lists(st.integers(0, 15), max_size=2, unique=True))
    return Plan(
        Tiers(tiers),
        frontier=draw(st.integers(0, 50)),
        overflow=draw(st.booleans()),
        epoch=draw(st.integers(0, 9)),
        gone=gone,
        made=draw(st.integers(0, 50)),
        kept=tuple(Kept(n, n + 1, n, n, "named by id") for n in sorted(kept)),
        reasons=tuple((page, draw(REASONS)) for page in sorted(pages)),
        rehearsed=tuple(Rehearsed(n, 20, 1.5) for n in sorted(kept)),
    )


@given(plans(), st.integers(0, 30))
def test_stretches_are_all_pages_in_order_and_stand_alike(plan: Plan, pages: int) -> None:
    found = list(plan.stretches(pages))
    assert [n for numbers, _, _ in found for n in numbers] == list(range(pages))
    for numbers, tier, reason in found:
        assert {(plan.tier(n), plan.reason(n)) for n in numbers} == {(tier, reason)}


def test_without_pages_there_are_no_stretches() -> None:
    assert list(Plan().stretches(0)) == list(Plan(gone=2).stretches(0)) == []


@given(plans())
def test_a_plan_comes_back_from_its_line(plan: Plan) -> None:
    line = plan.to_json()
    again = Plan.from_json(line)
    assert again == plan and again.to_json() == line and "\n" not in line


@given(plans())
def test_settling_changes_no_page(plan: Plan) -> None:
    settled = plan.settled()
    assert settled.pages == plan.pages and settled.settled() == settled
    assert not settled.tiers or settled.tiers[0] != Tier.FORGOTTEN
    assert [settled.tier(n) for n in range(30)] == [plan.tier(n) for n in range(30)]
    first = max(settled.gone - 1, 0)  # of the pages that are gone one reason does for all
    assert all(settled.reason(n) == plan.reason(n) for n in range(first, 30))
    assert sum(settled.counts().values()) == plan.pages


@given(st.lists(st.sampled_from(Tier)))
def test_tiers_are_like_a_tuple_of_them(tiers: list[Tier]) -> None:
    found = Tiers(tiers)
    assert found == tuple(tiers) == tuple(found) and hash(found) == hash(tuple(tiers))
    assert len(found) == len(tiers) and found[1:] == tuple(tiers[1:])
    assert all(found[n] is tier for n, tier in enumerate(tiers))
    assert (Tier.TINY in found) == (Tier.TINY in tiers)


def test_a_sentence_for_each_page() -> None:
    kept = (Kept(3, 5, 1, 1, "named by role"),)
    plan = Plan((Tier.TINY, Tier.TEXT), gone=1, kept=kept, reasons=((1, "old"), (2, "")))
    assert plan.explain(0) == "Page 0 is no longer shown."
    beside = "turns 3 to 4 stand beside it as text, named by role"
    assert plan.explain(1) == f"Page 1 is shown in tiny, old; {beside}."
    assert plan.explain(2) == "Page 2 is shown as text."
    assert plan.explain(3) == "Page 3 is not shown, as its turns still stand as text."


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=150))
def test_the_latest_recalls_are_remembered(recalls: list[tuple[int, int]]) -> None:
    plan, latest = Plan((Tier.TINY,)), {}
    for turns, position in sorted(recalls):  # a session only grows
        plan = plan.rehearse([Rehearsed(position, turns, 0.0)])
        latest[position] = turns
    newest = sorted((turns, position) for position, turns in latest.items())[-64:]
    assert [(each.turns, each.position) for each in plan.rehearsed] == newest
    assert plan.tiers == (Tier.TINY,)  # what is shown stays as it is
