"""Nothing cuts a call from its results, wherever a session is asked to be cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimem.ledger.exchanges import Exchanges
from optimem.values import Role, TurnFacts

Turns = Sequence["TurnFacts | None"]


def said(calls: tuple[str, ...] = (), answers: tuple[str, ...] = ()) -> TurnFacts:
    role: Role = "tool" if answers else "assistant" if calls else "user"
    return TurnFacts(role, 10, None, (), calls, answers)


@st.composite
def sessions(draw: st.DrawFn) -> Turns:
    """Turns with calls that are answered later, in any order, or not yet; some are forgotten."""
    turns: list[TurnFacts | None] = []
    waiting: list[str] = []
    for number in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["say", "call", "answer", "answer", "gone"]))
        if kind == "call":
            names = tuple(f"{number}.{n}" for n in range(draw(st.integers(1, 3))))
            waiting += names
            turns.append(said(calls=names))
        elif kind == "answer" and waiting:
            turns.append(said(answers=(waiting.pop(draw(st.integers(0, len(waiting) - 1))),)))
        else:
            turns.append(None if kind == "gone" else said())
    return turns


def read(turns: Turns) -> Exchanges:
    exchanges = Exchanges()
    for position, facts in enumerate(turns):
        exchanges.read(position, facts)
    return exchanges


def pairs(turns: Turns) -> list[tuple[int, int]]:
    """Positions of each call and its result."""
    calls = {name: at for at, facts in enumerate(turns) if facts for name in facts.calls}
    return [(calls[name], at) for at, facts in enumerate(turns) if facts for name in facts.answers]


def cuts(place: int, joined: list[tuple[int, int]]) -> bool:
    return any(call < place <= answer for call, answer in joined)


@given(sessions())
def test_a_place_to_cut_is_the_nearest_that_splits_no_exchange(turns: Turns) -> None:
    joined = pairs(turns)
    answered = {name for facts in turns if facts for name in facts.answers}
    waiting = any(not set(facts.calls) <= answered for facts in turns if facts)
    places = np.arange(len(turns) + 1)
    found = read(turns).floors(places, turns).tolist()
    for place, floor in enumerate(found):
        assert floor <= place and not cuts(floor, joined)
        if not waiting:  # a call that waits for its result holds back what is behind it
            assert all(cuts(other, joined) for other in range(floor + 1, place + 1))


@given(sessions())
def test_the_exchange_around_a_turn_holds_it_and_cuts_none(turns: Turns) -> None:
    joined, exchanges = pairs(turns), read(turns)
    for position in range(len(turns)):
        start, stop = exchanges.around(position)
        assert start <= position < stop and not cuts(start, joined) and not cuts(stop, joined)
        assert exchanges.around(start) == (start, stop) == exchanges.around(stop - 1)


@given(sessions(), st.data())
def test_what_belongs_together_goes_together(turns: Turns, data: st.DataObject) -> None:
    joined = pairs(turns)
    wanted = data.draw(st.sets(st.sampled_from(range(len(turns))), max_size=3)) if turns else set()
    found = read(turns).closure(wanted, turns)
    assert wanted <= found
    assert all((call in found) == (answer in found) for call, answer in joined)
    assert found - wanted <= {position for pair in joined for position in pair}


def test_a_call_that_waits_for_its_result_holds_back_what_is_behind_it() -> None:
    turns = [said(), said(calls=("a", "b")), said(answers=("a",))]
    exchanges = read(turns)
    assert exchanges.has_call("b") and not exchanges.has_call("c")
    assert exchanges.floors(np.arange(4), turns).tolist() == [0, 1, 1, 1]
    turns.append(said(answers=("b",)))
    assert read(turns).floors(np.arange(5), turns).tolist() == [0, 1, 1, 1, 4]
