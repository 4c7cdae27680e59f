"""The tail is read once, and says what the log says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from optimem import Memory
from optimem.ledger import tail
from optimem.ledger.tail import Tail, apart
from optimem.stores import Store
from optimem.values import Entry, Scope


class Counting:
    """A store whose turns are counted as they are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read: list[int] = []

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        for entry in self._store.entries(scope, start, stop):
            self.read.append(entry.position)
            yield entry


def say(number: int) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": f"turn {number} " * 9}]}


@settings(max_examples=30, deadline=None)
@given(
    ranges=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8),
    gone=st.sets(st.integers(0, 19), max_size=6),
    room=st.sampled_from((1, 300, 1 << 20)),
)
def test_any_range_is_what_the_store_says(
    ranges: list[tuple[int, int]], gone: set[int], room: int
) -> None:
    with Memory.open("memory://") as memory:
        ids = memory.extend(say(number) for number in range(20))
        memory.forget(turns=[ids[position] for position in sorted(gone)])
        found = Tail(memory.store, memory.scope)
        whole, tail._AT_HAND = tail._AT_HAND, room
        try:
            for start, stop in ranges:
                told = list(memory.store.entries(memory.scope, start, stop))
                assert list(found.entries(start, stop)) == told
        finally:
            tail._AT_HAND = whole


def test_what_is_at_hand_is_not_read_again() -> None:
    with Memory.open("memory://") as memory:
        memory.extend(say(number) for number in range(10))
        store = Counting(memory.store)
        found = Tail(store, memory.scope)  # type: ignore[arg-type]
        list(found.entries(4, 10))
        list(found.entries(2, 10))
        memory.append(say(10))
        assert [entry.position for entry in found.entries(2, 11)] == list(range(2, 11))
        assert store.read == [4, 5, 6, 7, 8, 9, 2, 3, 10]
        found.clear()
        list(found.entries(9, 11))
        assert store.read[-2:] == [9, 10]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: Any) -> None:
    with Memory.open("memory://") as memory:
        memory.extend(say(number) for number in range(10))
        size = sum(len(entry.turn.text) for entry in memory.store.entries(memory.scope, 7, 10))
        monkeypatch.setattr(tail, "_AT_HAND", size)
        store = Counting(memory.store)
        found = Tail(store, memory.scope)  # type: ignore[arg-type]
        list(found.entries(0, 10))
        list(found.entries(7, 10))
        assert store.read == list(range(10))
        list(found.entries(6, 7))
        assert store.read[-1] == 6


def test_whoever_gets_a_turn_may_change_its_message() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say(0))
        before = memory.context("openai:gpt-6-astra", 8000).messages()
        before[0]["content"].append({"type": "text", "text": "not said"})
        before[0]["content"][0]["text"] = "not said either"
        assert memory.context("openai:gpt-6-astra", 8000).messages() == [say(0)]
        (turn,) = memory.turns()
        assert apart(turn) == turn and apart(turn).message["content"] is not turn.message["content"]


def test_turns_that_were_taken_away_are_not_at_hand(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with Memory.open(url) as memory, Memory.open(url) as other:
        ids = memory.extend(say(number) for number in range(4))
        memory.context("openai:gpt-6-astra", 8000)
        other.forget(turns=[ids[2]])
        other.rewind(to=ids[1])
        other.append(say(9))
        said = memory.context("openai:gpt-6-astra", 8000).messages()
        assert said == [say(0), say(1), say(9)]
