"""A session's dictionary is made once it pays, and never knows a forgotten word."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest

from optimem import Memory
from optimem.dictionaries import Dictionaries
from optimem.errors import StoreError
from optimem.stores import Store, new_key
from optimem.values import Scope

SECRET = "Zanzibar-qv7731wx"


@pytest.fixture(params=["memory", "sqlite", "redis", "sealed_redis", "redis_cluster"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param.startswith("sealed"):
        monkeypatch.setenv("OPTIMEM_KEY", new_key())
    kind = request.param.removeprefix("sealed_")
    if kind in ("memory", "sqlite"):
        return f"sqlite:///{tmp_path / 'memory.db'}"
    return f"{request.getfixturevalue(f'{kind}_url')}?prefix={uuid.uuid4().hex}"


def said(number: int) -> str:
    """What turn `number` says; every fourth holds the secret."""
    words = random.Random(number).choices([f"word{n}" for n in range(300)], k=150)
    secret = f" and {SECRET} is the port" if number % 4 == 1 and number < 40 else ""
    return f"Ticket {number}: {' '.join(words)}{secret}"


def talk(memory: Memory, first: int, last: int) -> None:
    for number in range(first, last):
        memory.append({"role": "user", "content": said(number)}, id=f"t{number}")


def dictionary(store: Store) -> int:
    return store.state(Scope("default", "42")).dictionary


def test_a_long_session_learns_and_a_short_one_does_not(home: str) -> None:
    with Memory.open(home, "42") as memory:
        talk(memory, 0, 63)
        assert not dictionary(memory.store)
        before = memory.stats().bytes["log"]
        talk(memory, 63, 126)
        assert dictionary(memory.store)
        assert memory.stats().bytes["log"] - before < 0.9 * before
        assert memory.traces("Ticket 9:")
    with Memory.open(home, "42") as memory:
        assert [turn.text for turn in memory.turns()] == [said(number) for number in range(126)]
        memory.append({"role": "user", "content": "on we go"})
        assert memory.recall("Ticket 125")[0].position == 125


def test_short_turns_are_not_worth_a_dictionary(home: str) -> None:
    with Memory.open(home, "42") as memory:
        memory.extend({"role": "user", "content": f"short {number}"} for number in range(200))
        assert not dictionary(memory.store)


def test_a_forgotten_word_is_in_no_dictionary(home: str) -> None:
    with Memory.open(home, "42") as memory, Memory.open(home, "42") as other:
        talk(memory, 0, 130)
        known = dictionary(memory.store)
        assert known and len(other.turns()) == 130
        secrets = [f"t{number}" for number in range(1, 40, 4)]
        assert memory.traces(SECRET)
        memory.forget(secrets)
        assert memory.traces(SECRET) == []
        assert dictionary(memory.store) not in (0, known)
        talk(other, 130, 140)  # which knows the old one only
        kept = [said(n) for n in range(140) if f"t{n}" not in secrets]
        for reader in (memory, other):
            assert [turn.text for turn in reader.turns()] == kept
        assert memory.traces(SECRET) == []
    with Memory.open(home, "42") as again:
        assert [turn.text for turn in again.turns()] == kept


def test_a_forgotten_turn_behind_the_samples_leaves_the_dictionary(home: str) -> None:
    with Memory.open(home, "42") as memory:
        talk(memory, 0, 80)
        known = dictionary(memory.store)
        memory.forget(["t70"])
        assert dictionary(memory.store) == known
        memory.rewind("t1")
        assert dictionary(memory.store) == 0
        assert [turn.text for turn in memory.turns()] == [said(0), said(1)]


def test_a_dictionary_made_while_turns_are_forgotten_is_made_again(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(home, "42") as memory, Memory.open(home, "42") as other:
        memory.extend(
            [{"role": "user", "content": f"{said(1)} once"}]
            + [{"role": "user", "content": said(n)} for n in range(2, 40, 2)]
        )
        erase = memory.store.erase

        def overtaken(*args: object) -> object:
            monkeypatch.undo()
            talk(other, 100, 200)
            assert dictionary(other.store)
            return erase(*args)  # type: ignore[arg-type]

        first = memory.turns(0, 1)[0].id
        monkeypatch.setattr(memory.store, "erase", overtaken)
        memory.forget([first])
        assert dictionary(memory.store)
        assert memory.traces(SECRET) == []
        assert len(memory.turns()) == 119


def test_a_broken_off_forgetting_is_finished_by_the_next(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(home, "42") as memory:
        talk(memory, 0, 80)

        def broken(scope: Scope) -> None:
            raise StoreError("the server went away")

        monkeypatch.setattr(memory.store, "recompress", broken)
        with pytest.raises(StoreError, match="went away"):
            memory.forget(["t1"])
        assert len(memory.turns()) == 80
        monkeypatch.undo()
        memory.forget([f"t{number}" for number in range(1, 40, 4)])
        assert memory.traces(SECRET) == []
        assert len(memory.turns()) == 70


def test_nothing_is_asked_of_a_store_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory.open("memory://", "42") as memory:
        follower = Dictionaries(memory.store, memory.scope)
        follower.follow(64)
        monkeypatch.setattr(memory.store, "state", None)
        follower.follow(127)
        with pytest.raises(TypeError):
            follower.follow(128)


def test_a_session_that_another_has_dropped_begins_anew(home: str) -> None:
    with Memory.open(home, "42") as memory, Memory.open(home, "42") as other:
        talk(memory, 0, 126)
        assert dictionary(memory.store)
        other.forget(session=True)
        talk(memory, 0, 2)
        assert [turn.text for turn in memory.turns()] == [said(0), said(1)]
