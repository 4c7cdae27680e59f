"""Generated sessions: the same from the same seed, as long as asked for, and like the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimem.bench.recorded import Mention, Recorded, record
from optimem.bench.synthetic import (
    NEAR,
    Distances,
    Synthetic,
    clock,
    generate,
    measure_distances,
    read_sources,
)
from optimem.errors import NotFoundError
from optimem.transcripts import check_pairs, parse_transcript
from optimem.values import TurnFacts

TESTS = Path(__file__).parent
REACH = Distances(0.6, 0.7, {})


@pytest.fixture(scope="module")
def sources() -> dict[str, list[dict[str, Any]]]:
    return read_sources(TESTS)


@pytest.fixture(scope="module")
def session(sources: dict[str, list[dict[str, Any]]]) -> Synthetic:
    return generate(sources, 120_000, seed=3, distances=REACH)


def test_the_same_seed_gives_the_same_session(
    sources: dict[str, list[dict[str, Any]]], session: Synthetic
) -> None:
    again = generate(sources, 120_000, seed=3, distances=REACH)
    assert again == session
    other = generate(sources, 120_000, seed=4, distances=REACH)
    assert other.turns != session.turns


def test_it_is_as_long_as_asked_for_by_at_most_a_task(session: Synthetic) -> None:
    recorded = record("x", session.turns, session.times)
    assert 120_000 <= recorded.tokens < 120_000 + 75_000
    assert session.tasks > 2
    assert session.times == sorted(session.times)


def test_tasks_keep_their_roles_calls_and_sizes(
    sources: dict[str, list[dict[str, Any]]], session: Synthetic
) -> None:
    check_pairs(session.turns)
    assert len({turn.id for turn in session.turns}) == len(session.turns)
    calls = [call for turn in session.turns for call in turn.calls]
    assert len(set(calls)) == len(calls) > 20
    real = [
        facts.tokens
        for messages in sources.values()
        for facts in record("real", parse_transcript(messages)).turns
    ]
    made = [facts.tokens for facts in record("made", session.turns).turns]
    assert 0.5 < (sum(made) / len(made)) / (sum(real) / len(real)) < 2


def test_no_task_says_an_other_ones_numbers_by_accident(
    sources: dict[str, list[dict[str, Any]]],
) -> None:
    silent = generate(sources, 150_000, seed=5, distances=Distances(0.0, 0.0, {}))
    recorded = record("x", silent.turns)
    hashes = {m.text for m in recorded.mentions if m.kind in ("hash", "uuid")}
    spent = recorded.spent()
    for mention in recorded.mentions:
        if mention.text in hashes:
            assert spent[mention.turn] - spent[mention.places[0][0]] < 75_000


def test_later_turns_refer_back_beyond_their_own_task(session: Synthetic) -> None:
    recorded = record("x", session.turns, session.times)
    spent = recorded.spent()
    back = [spent[m.turn] - spent[m.places[0][0] + 1] for m in recorded.mentions]
    assert sum(distance > 40_000 for distance in back) > 50


def test_how_far_turns_reach_is_counted_by_what_was_in_reach() -> None:
    turns = [TurnFacts("user", NEAR), TurnFacts("user", NEAR), TurnFacts("assistant", NEAR)]
    said = Mention(2, "a-1", "code", 3, ((0, 0),))
    found = measure_distances([Recorded("x", turns, mentions=[said])])
    # One string, 8,000 tokens back, where one turn had 8,000 tokens in that reach.
    assert found.table[NEAR][:2] == (1, 0)
    assert found.table[NEAR][2:] == pytest.approx((1 / 8, 0.0))
    assert found.table[2 * NEAR][:2] == (0, 0)
    assert found.strings == pytest.approx(1 / 0.6931, rel=1e-3)
    assert found.phrases == 0


def test_the_clock_of_a_transcript_is_always_the_same(
    sources: dict[str, list[dict[str, Any]]],
) -> None:
    turns = parse_transcript(sources["memory_bfcl__student"])
    assert clock(turns) == clock(turns) == sorted(clock(turns))


def test_a_folder_without_transcripts_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name its tests folder"):
        read_sources(tmp_path)
    (tmp_path / "transcripts").mkdir()
    (tmp_path / "transcripts" / "a.json").write_text(json.dumps({"messages": []}))
    assert read_sources(tmp_path) == {"a": []}
