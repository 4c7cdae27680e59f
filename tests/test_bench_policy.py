"""Replays: rows of a small session by hand, ours against real contexts, and the bench's JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimem.bench import growth, planning
from optimem.bench import policy as bench
from optimem.bench.answers import read_answers
from optimem.bench.ours import Ours
from optimem.bench.policy_plot import plot
from optimem.bench.reading import LENGTHS, Rates, Whole, bin_of, load_rates
from optimem.bench.recorded import Mention, Recorded, record
from optimem.bench.replay import Outcome, replay
from optimem.bench.rows import FullText, Log, Pxpipe, Sliding, Snapcompact, Summarized
from optimem.bench.synthetic import clock, generate, read_sources
from optimem.memory import Memory
from optimem.messages import parse
from optimem.modes import MODES, Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget
from optimem.readers import find_reader
from optimem.transcripts import read_transcript
from optimem.values import Turn

TESTS = Path(__file__).parent
OPENAI = find_reader("openai:gpt-6-astra")


def rates(small: float = 0.5) -> Rates:
    """Rates by which every string and phrase is read at the same rate in each mode."""
    of_strings = [[round(1000 * small), 1000, 8000] for _ in range(len(LENGTHS) + 1)]
    families: dict[str, list[list[int]]] = dict.fromkeys(("random", "digits", "words"), of_strings)
    strings = {mode.label: families for mode in MODES}
    phrases = {mode.label: {"latin": [[round(1000 * small), 1000]] * 12} for mode in MODES}
    return Rates("nobody", strings, phrases)


def said(*texts: str) -> list[Turn]:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    return [parse({"role": roles[n % 2], "content": text}) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def session() -> Recorded:
    made = generate(read_sources(TESTS), 150_000, seed=2)
    return record("generated", made.turns, made.times)


def test_what_a_later_turn_says_again_is_found_with_its_places() -> None:
    turns = said(
        "The ticket is AB-12345, and nobody remembered the purple elephant statue.",
        "I will look at it.",
        "Thanks.",
        "About AB-12345: so nobody remembered the purple elephant, you say.",
    )
    found = record("x", turns).mentions
    strings = [m for m in found if m.kind != "phrase"]
    phrases = [m for m in found if m.kind == "phrase"]
    assert [(m.turn, m.text, m.places) for m in strings] == [(3, "AB-12345", ((0, 0),))]
    assert [(m.turn, m.text, m.size) for m in phrases] == [
        (3, "nobody remembered the purple elephant", 5)
    ]


def test_phrases_that_many_turns_share_and_what_tools_print_do_not_count() -> None:
    common = "please run the whole test suite again"
    assert not record("x", said(*[common] * 8)).mentions[6:]
    tool = [
        {"role": "user", "content": "AB-12345"},
        {"role": "assistant", "content": None, "tool_calls": [_call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": "AB-12345"},
    ]
    assert not record("x", [parse(message) for message in tool]).mentions


def _call(name: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_requests_are_made_when_the_model_is_to_speak() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": [_call("a"), _call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "more"},
    ]
    assert record("x", [parse(message) for message in messages]).requests() == [2, 5, 7]


def hand_made() -> Recorded:
    """A string of a long past, said again at the end, and one of the turn before."""
    filler = " ".join(f"word{chr(97 + n % 26)} and so on" for n in range(400))
    texts = ["Remember AB-12345 well."] + [filler] * 40
    texts += ["The other one is CD-67890.", "Was it AB-12345 or CD-67890?"]
    recorded = record("x", said(*texts, "It was AB-12345."))
    return replace(recorded, mentions=[m for m in recorded.mentions if m.kind == "code"])


def test_evidence_is_one_as_text_the_rate_on_a_page_and_nothing_when_gone() -> None:
    recorded = hand_made()
    assert [(m.turn, m.text) for m in recorded.mentions] == [
        (42, "AB-12345"),
        (42, "CD-67890"),
        (43, "AB-12345"),
    ]
    # AB-12345 stood in the first turn and in the last but one when the last was to be said.
    only = replace(recorded, mentions=[replace(recorded.mentions[0], places=((0, 0),))])
    log = Log(only, OPENAI)
    assert replay(only, OPENAI, FullText(log)).evidence == 1
    assert replay(only, OPENAI, Sliding(log, 20_000)).evidence == 0
    small = Epochs(steps=(AgeDecay("turns", ((Tier.SMALL, 8),)),), horizon=1000)
    gone = Epochs(steps=(AgeDecay("turns", ((Tier.FORGOTTEN, 8),)),), horizon=1000)
    bare = replace(only, pages=[replace(page, anchors=()) for page in only.pages])
    log_bare = Log(bare, OPENAI)
    assert replay(bare, OPENAI, Ours(log_bare, rates(0.5), small, None)).evidence == 0.5
    assert replay(only, OPENAI, Ours(log, rates(0.5), small, None)).evidence == 1  # an anchor
    assert replay(only, OPENAI, Ours(log, rates(0.5), gone, None)).evidence == 0


def test_questions_are_asked_at_the_end_and_counted_apart() -> None:
    recorded = hand_made()
    answer = Mention(len(recorded.turns), "AB-12345", "code", 8, ((0, 0),))
    asked = replace(recorded, mentions=[answer])
    outcome = replay(asked, OPENAI, Sliding(Log(asked, OPENAI), 20_000))
    assert dict(outcome.seen) == {"answers": [0.0, 1], "far": [0.0, 1]}


def test_packaged_questions_are_laid_where_they_are_answered() -> None:
    path = TESTS / "transcripts" / "memory_bfcl__student.json"
    turns = read_transcript(path)
    found = read_answers(TESTS, path, record("x", turns), turns)
    assert len(found) == len(json.loads(path.read_text("utf-8"))["qa"])
    assert found[0].text == "Advanced Algorithms"
    assert all("advanced algorithms" in turns[at].text.lower() for at, _ in found[0].places)
    assert all(mention.turn == len(turns) and mention.places for mention in found)


@pytest.mark.parametrize("name", bench.READERS)
def test_our_row_is_what_a_memory_sends(name: str) -> None:
    path = TESTS / "transcripts" / "coding_claude_code__prometheus-typed-label-sorting.json"
    turns = read_transcript(path)
    times = clock(turns)
    turns = [replace(turn, time=at) for turn, at in zip(turns, times, strict=True)]
    recorded = record("x", turns, times)
    row = Ours(Log(recorded, find_reader(name)), rates(), Epochs(), None)
    done = 0
    with Memory.open("memory://") as memory:
        for n in recorded.requests():
            memory.extend(turns[done:n])
            done = n
            context = memory.context(reader=name, now=times[n - 1])
            prompt, _, _ = row.send(n, times[n - 1])
            assert row.plan == context.plan
            assert prompt.total == context.tokens


def test_a_sliding_window_never_passes_its_size_and_keeps_the_newest(session: Recorded) -> None:
    row = Sliding(Log(session, OPENAI), 20_000)
    for n in session.requests()[::10]:
        prompt, _, _ = row.send(n, 0.0)
        assert prompt.ids[-1] == n
        assert prompt.total <= 20_000 or len(prompt.ids) == row.log.head + 1


def test_a_summary_is_written_when_the_window_fills(session: Recorded) -> None:
    row = Summarized(Log(session, OPENAI), 30_000)
    written, sizes = 0, []
    for n in session.requests():
        prompt, _, extra = row.send(n, 0.0)
        sizes.append(prompt.total)
        if extra is not None:
            written += 1
            assert extra.prompt.total > 0.85 * 30_000
            assert prompt.total < 0.85 * 30_000
    assert written >= 3
    assert 0 < len(row.kept) < 1000
    assert all(0 < left < 1 for _, left in row.shares)


def test_pxpipe_moves_its_edge_fifty_turns_at_a_time(session: Recorded) -> None:
    row = Pxpipe(Log(session, OPENAI), rates(), None)
    heads = []
    for n in session.requests():
        prompt, _, _ = row.send(n, 0.0)
        heads.append(tuple(prompt.ids[: prompt.marks[1]].tolist()))
    assert 1 < len(set(heads)) <= len(session.turns) / 50 + 1
    whole = OPENAI.image_cost(1568, 728)
    prompt, _, _ = row.send(session.requests()[-1], 0.0)
    assert whole <= prompt.tokens[1] < whole * 1.6  # an image and the strings beside it


def test_snapcompact_stays_within_its_window_and_forgets_the_oldest(session: Recorded) -> None:
    row = Snapcompact(Log(session, OPENAI), rates(), 30_000)
    largest = max(row.send(n, 0.0)[0].total for n in session.requests())
    assert largest <= 30_000
    first = Mention(10**6, "x", "code", 1, ((row._log.head, 0),))
    assert row.rate(first) == 0


def test_ours_keeps_its_budget_and_its_prefix(session: Recorded) -> None:
    log = Log(session, OPENAI)
    policy = Epochs(steps=(AgeDecay(), TokenBudget()))
    tight = replay(session, OPENAI, Ours(log, rates(), policy, 20_000))
    assert tight.largest <= 20_000
    ours, text = replay(session, OPENAI, Ours(log, rates(), policy, None)), Outcome()
    text = replay(session, OPENAI, FullText(log))
    assert ours.warm >= 0.9 * text.warm
    assert ours.dollars < text.dollars


def test_a_replay_that_begins_late_leaves_the_rest_out(session: Recorded) -> None:
    late = replay(session, OPENAI, FullText(Log(session, OPENAI)), since=100_000)
    spent = session.spent()
    assert late.requests == sum(spent[n] >= 100_000 for n in session.requests())
    assert late.seen["strings"][1] < sum(m.kind != "phrase" for m in session.mentions)


def test_the_kept_rates_fall_with_the_resolution_and_with_the_length() -> None:
    kept = load_rates()
    assert "tesseract" in kept.reader
    for kind, length in (("hash", 40), ("number", 5), ("snake", 12)):
        small, tiny = (kept.string(tier, kind, length) for tier in (Tier.SMALL, Tier.TINY))
        assert 0 <= tiny < small <= 1
    assert kept.phrase(Tier.SMALL, 2) > kept.phrase(Tier.SMALL, 8) > kept.phrase(Tier.TINY, 8)
    assert kept.phrase(Tier.GUNDAM, 4) == kept.phrase(Tier.LARGE, 4)
    assert [bin_of(length) for length in (3, 4, 5, 40, 41)] == [0, 0, 1, 5, 6]


def test_a_string_is_read_whole_or_not() -> None:
    whole = Whole("id ab12 and cd34", "id ab12 and cd84")
    assert whole(3, 7)
    assert not whole(12, 16)
    assert not Whole("ab12", "ab 12")(0, 4)
    assert not Whole("ab12 x", "ab127 x")(0, 4)
    assert Whole("ab12, x", "ab12 , x")(0, 4)


@pytest.mark.parametrize("name", planning.POLICIES)
def test_planning_is_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "APPENDS", 300)
    turns = said(*(f"We decided on port {n}. The one before was {n - 1}." for n in range(100)))
    planned = planning.measure_planning(turns, planning.POLICIES[name], pages=60)
    assert 0 < planned.middle <= 1000 and 0 < planned.append < 1000
    assert 0 < planned.whole < 1000
    assert planned.epochs > 0 or "Salience" in name
    assert (planned.beside > 0) == (planned.hearing > 0.002) == ("Salience" in name)


def test_the_plot_has_a_point_for_each_row() -> None:
    rows = {"full text": {"dollars": 2.0, "evidence_percent": 100.0}}
    rows["ours & more"] = {"dollars": 0.2, "evidence_percent": 95.0}
    drawn = plot({"a": rows, "b": rows})
    assert drawn.count("<circle") == 4
    assert "ours &amp; more" in drawn
    assert drawn.count(">10 %<") == 2


def test_the_report_has_every_row_and_every_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "SIZES", {"100k": 10_000, "1M": 60_000, "10M": 100_000})
    monkeypatch.setattr(bench, "READERS", bench.READERS[:2])
    monkeypatch.setattr(bench, "_REPLAYED", 40_000)
    monkeypatch.setattr(growth, "_FILLED", 60)
    monkeypatch.setattr(growth, "_STEADY", 70)
    monkeypatch.setattr(growth, "_BEHIND", 40)
    monkeypatch.setattr(growth, "SHORT", 2)
    monkeypatch.setattr(growth, "LONG", 2)
    monkeypatch.setattr(planning, "APPENDS", 20)
    monkeypatch.setattr(planning, "PAGES", 100)
    monkeypatch.setattr(sys, "argv", ["policy", "--svg", str(tmp_path / "plot.svg")])
    bench.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["bench"] == "policy"
    assert {check["name"] for check in report["checks"]} == {
        "rows both cheaper and better in evidence",
        "evidence at 1M",
        "bill at 1M",
        "largest request at 10M",
        "context tokens at 10M",
        "warm prefix over 1,000 requests",
        "planning 10,000 pages",
        "replanning after an append",
        "with Salience and Rehearsal",
    }
    grown = report["results"]["growth"]
    assert grown["1M"]["stretches"] == 2 and grown["10M"]["stretches"] > 2
    means = [grown[name]["tokens"]["mean"] for name in ("1M", "10M")]
    assert grown["ratio"]["mean"] == pytest.approx(means[1] / means[0], abs=0.001)
    rows = report["results"]["rows"]
    assert set(rows) == {"transcripts", "100k", "1M", "10M"}
    assert set(rows["1M"][bench.READERS[0]]) == {
        "full text",
        "sliding window",
        "summary at 85 %",
        "pxpipe's rule",
        "snapcompact's rule",
        "ours",
        "ours, solved",
    }
    assert rows["1M"][bench.READERS[0]]["full text"]["evidence_percent"] == 100
    assert (tmp_path / "plot.svg").read_text("utf-8").startswith("<svg")
