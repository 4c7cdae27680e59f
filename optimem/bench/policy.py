"""What each way of keeping a long session costs, and what a reader can still find in it.

    optimem bench policy              # about 5 minutes of processor time
    optimem bench policy --quick      # without the session of 10 million tokens

Whole sessions are replayed request by request: the packaged transcripts, and generated ones
of 100,000, a million and 10 million tokens (`optimem.bench.synthetic`). Each request is billed
by its reader's own rules: what images cost, what the prompt cache holds after the pause
before it, and the price cliffs. Output is the same for all rows and is left out, but for
summaries.

*Evidence* is the share of what later turns say again that the reader could read where it was
asked: each exact string and each rare phrase (4 words or more that at most 3 turns have in
common) of a turn of the user or the agent that stood in an earlier turn, and the answer of
each packaged question. As text or as an anchor it counts 1; on a page, the rate at which
strings of its family and length, or phrases of so many words, are read without one error in
that mode; forgotten, 0. The rates are Tesseract's (`optimem.bench.reading`), which stands in
for the model that would read. What a recall would add stands apart.

The other rows and what is assumed of them are in `optimem.bench.rows`. Full text has no window;
the others have 200,000 tokens, or a quarter of a shorter session. Ours has no budget but at 10
million tokens, where it has 200,000 like the others and pxpipe's oldest images are dropped; of
that session the last two million tokens' requests are replayed. The row "ours, solved" takes
the solver in place of the ladder and keeps to the window that the other systems have.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimem.bench.answers import read_answers
from optimem.bench.ours import Ours
from optimem.bench.planning import measure_planning
from optimem.bench.reading import Rates, load_rates
from optimem.bench.recorded import Recorded, record
from optimem.bench.replay import FAR, Outcome, replay
from optimem.bench.report import Check, print_report
from optimem.bench.rows import FullText, Log, Pxpipe, Row, Sliding, Snapcompact, Summarized
from optimem.bench.synthetic import Distances, clock, generate, measure_distances, read_sources
from optimem.memory import Memory
from optimem.policies import BestValue, Epochs, TokenBudget
from optimem.readers import find_reader
from optimem.transcripts import read_transcript
from optimem.values import Turn

READERS = (
    "openai:gpt-6-astra",
    "anthropic:claude-opus-5.5",
    "google:gemini-4-argon",
    "deepseek:deepseek-flash",
)
SIZES = {"100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
BUDGET = 200_000
_REQUESTS = 1_000
_LEAD = 200_000  # tokens of log over which the lengths of requests are averaged
_REPLAYED = 2_000_000  # of the longest session's tokens, the last ones
_TESTS = Path(__file__).parents[2] / "tests"

Table = dict[str, dict[str, Outcome]]
"""By reader, by row."""


@dataclass(slots=True)
class Sessions:
    """What is replayed.

    Attributes:
        transcripts: the packaged ones, laid out.
        turns: theirs, for recall.
        distances: how far back they reach.
        generated: by size's name.
        seconds: processor time that generating and laying out each took.
    """

    transcripts: list[Recorded] = field(default_factory=list)
    turns: list[list[Turn]] = field(default_factory=list)
    distances: Distances = field(default_factory=lambda: Distances(0, 0, {}))
    generated: dict[str, Recorded] = field(default_factory=dict)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)


def main() -> None:
    """Replay, print tables, and end with one JSON line."""
    parser = argparse.ArgumentParser(prog="optimem bench policy")
    parser.add_argument("tests", nargs="?", type=Path, default=_TESTS, help="of a checkout")
    parser.add_argument("--quick", action="store_true", help="without 10 million tokens")
    parser.add_argument("--svg", type=Path, help="draw bills and evidence at 1M into this file")
    options = parser.parse_args()
    sizes = {name: size for name, size in SIZES.items() if name != "10M" or not options.quick}
    rates = load_rates()
    sessions = prepare(options.tests, sizes)
    tables = {"transcripts": _transcripts(sessions.transcripts, rates)}
    _print("transcripts", tables["transcripts"])
    for name, recorded in sessions.generated.items():
        tables[name] = compare(recorded, rates, long=name == "10M")
        _print(name, tables[name])
    results = _results(sessions, tables, rates)
    print(f"a recall by its own words finds {results['recall_percent']} % of mentions")
    checks = [*_money(tables), *_growth(sessions, rates), _warm(sessions, rates), *_planning()]
    if options.svg:
        from optimem.bench.policy_plot import plot

        options.svg.write_text(plot(results["rows"]["1M"]), "utf-8")
    print_report("policy", results, checks)


def prepare(tests: Path, sizes: dict[str, int]) -> Sessions:
    """Read the transcripts and generate the sessions."""
    sources = read_sources(tests)
    sessions = Sessions()
    for path in sorted((tests / "transcripts").glob("*.json")):
        turns = read_transcript(path)
        recorded = record(path.stem, turns, clock(turns))
        recorded.mentions += read_answers(tests, path, recorded, turns)
        sessions.transcripts.append(recorded)
        sessions.turns.append(turns)
    sessions.distances = measure_distances(
        [each for each in sessions.transcripts if each.name in sources]
    )
    for name, size in sizes.items():
        begun = time.process_time()
        made = generate(sources, size, seed=1, distances=sessions.distances)
        generated = time.process_time()
        sessions.generated[name] = record(name, made.turns, made.times)
        laid_out = time.process_time()
        sessions.seconds[name] = (round(generated - begun, 1), round(laid_out - generated, 1))
    return sessions


def rows(
    log: Log, rates: Rates, window: int, budget: int | None, *, full: bool = True
) -> Iterator[Row]:
    """Every row, for one session and reader."""
    if full:
        yield FullText(log)
    yield Sliding(log, window)
    yield Summarized(log, window)
    yield Pxpipe(log, rates, budget)
    yield Snapcompact(log, rates, window)
    yield Ours(log, rates, Epochs(), budget)
    solved = Epochs(steps=(BestValue(), TokenBudget()))
    yield Ours(log, rates, solved, window, "ours, solved")


def compare(
    recorded: Recorded, rates: Rates, *, long: bool = False, readers: Sequence[str] = ()
) -> Table:
    """All rows of a session for all readers.

    Args:
        recorded: the session.
        rates: how pages are read.
        long: no window holds it: without full text, within a budget.
        readers: their names; `READERS` by default.
    """
    found: Table = {}
    window = min(BUDGET, recorded.tokens // 4)
    for name in readers or READERS:
        profile = find_reader(name)
        log = Log(recorded, profile)
        each = rows(log, rates, window, BUDGET if long else None, full=not long)
        since = recorded.tokens - _REPLAYED if long else 0
        found[name] = {row.name: replay(recorded, profile, row, since=since) for row in each}
    return found


def _transcripts(transcripts: Sequence[Recorded], rates: Rates) -> Table:
    """All transcripts, one after another, added up."""
    total: Table = {}
    for recorded in transcripts:
        for reader, outcomes in compare(recorded, rates).items():
            for row, outcome in outcomes.items():
                total.setdefault(reader, {}).setdefault(row, Outcome()).add(outcome)
    return total


def beaten(outcomes: dict[str, Outcome], ours: str = "ours") -> list[str]:
    """The rows that are both cheaper and better in evidence than ours."""
    mine = outcomes[ours]
    return [
        name
        for name, other in outcomes.items()
        if not name.startswith(ours)
        and other.dollars < mine.dollars
        and other.evidence > mine.evidence
    ]


def _money(tables: dict[str, Table]) -> Iterator[Check]:
    cases = [outcomes for table in tables.values() for outcomes in table.values()]
    losses = sum(len(beaten(outcomes)) for outcomes in cases)
    yield Check(
        "rows both cheaper and better in evidence", losses, "<=", 0, f"rows in {len(cases)} tables"
    )
    million = tables["1M"].values()
    evidence = min(o["ours"].evidence / o["full text"].evidence for o in million)
    bill = max(o["ours"].dollars / o["full text"].dollars for o in million)
    yield Check(
        "evidence at 1M", round(100 * evidence, 1), ">=", 90, "% of full text's, worst reader"
    )
    yield Check(
        "bill at 1M", round(100 * bill, 1), "<=", 40, "% of cached full text's, worst reader"
    )
    if "10M" in tables:
        largest = max(o["ours"].largest for o in tables["10M"].values())
        yield Check("largest request at 10M", largest, "<=", BUDGET, "tokens of the budget")


def _growth(sessions: Sessions, rates: Rates) -> Iterator[Check]:
    """How much longer requests are at the end of 10M tokens than at 1M, without a budget."""
    name = "context tokens at 10M"
    if "10M" not in sessions.generated:
        yield Check(name, None, "<=", 1.1, "times those at 1M")
        return
    recorded, profile = sessions.generated["10M"], find_reader(READERS[0])
    log, spent = Log(recorded, profile), recorded.spent()
    means = []
    for end in (SIZES["1M"], recorded.tokens):
        row = Ours(log, rates, Epochs(), None)
        points = [n for n in recorded.requests() if end - _LEAD < spent[n] <= end]
        sizes = [row.send(n, recorded.times[n - 1])[0].total for n in points]
        means.append(sum(sizes) / len(sizes))
    yield Check(name, round(means[1] / means[0], 3), "<=", 1.1, "times those at 1M")


def _warm(sessions: Sessions, rates: Rates) -> Check:
    """The share of prompt tokens from a warm prefix, beside an append-only log's."""
    recorded = sessions.generated["1M"]
    shares = []
    for name in READERS:
        profile = find_reader(name)
        log = Log(recorded, profile)
        text = replay(recorded, profile, FullText(log), _REQUESTS)
        ours = replay(recorded, profile, Ours(log, rates, Epochs(), None), _REQUESTS)
        shares.append(ours.warm / text.warm)
    share = round(100 * min(shares), 1)
    return Check(
        f"warm prefix over {_REQUESTS:,} requests", share, ">=", 90, "% of an append-only log's"
    )


def _planning() -> Iterator[Check]:
    planned = measure_planning()
    yield Check("planning 10,000 pages", planned.whole, "<=", 50, "ms of processor time")
    yield Check("replanning after an append", planned.append, "<=", 1, "ms, amortized")


def measure_recall(sessions: Sessions, each: int = 25) -> float:
    """The share of mentions whose words find the turn that they stood in, among 5 earlier ones."""
    draw, hits, asked = random.Random(1), 0, 0
    for recorded, turns in zip(sessions.transcripts, sessions.turns, strict=True):
        with Memory.open("memory://") as memory:
            memory.extend(turns)
            mentions = [m for m in recorded.mentions if m.turn < len(turns)]
            for mention in draw.sample(mentions, min(each, len(mentions))):
                found = memory.recall(mention.text, limit=30)
                earlier = [each.position for each in found if each.position < mention.turn][:5]
                hits += any(turn in earlier for turn, _ in mention.places)
                asked += 1
    return round(100 * hits / asked, 1)


def _results(sessions: Sessions, tables: dict[str, Table], rates: Rates) -> dict[str, Any]:
    recall = measure_recall(sessions)
    described = {
        name: _described(recorded, sessions.seconds[name])
        for name, recorded in sessions.generated.items()
    }
    total = [_described(recorded, (0, 0)) for recorded in sessions.transcripts]
    described["transcripts"] = {key: sum(each[key] for each in total) for key in total[0]}
    return {
        "reader_of_pages": f"{rates.reader}, a stand-in for the models that would read",
        "budget": BUDGET,
        "far": f"mentions more than {FAR:,} tokens back",
        "sessions": described,
        "mentions_per_1000_tokens_of_distance": {
            low: {
                "strings": s,
                "phrases": p,
                "string_rate": round(a, 4),
                "phrase_rate": round(b, 4),
            }
            for low, (s, p, a, b) in sessions.distances.table.items()
        },
        "recall_percent": recall,
        "rows": {
            name: {
                reader: {row: _figures(outcome, recall) for row, outcome in outcomes.items()}
                for reader, outcomes in table.items()
            }
            for name, table in tables.items()
        },
        "beaten_by": {
            f"{name}, {reader}": beaten(outcomes)
            for name, table in tables.items()
            for reader, outcomes in table.items()
            if beaten(outcomes)
        },
    }


def _described(recorded: Recorded, seconds: tuple[float, float]) -> dict[str, float]:
    return {
        "tokens": recorded.tokens,
        "turns": len(recorded.turns),
        "requests": len(recorded.requests()),
        "pages": len(recorded.pages),
        "mentions": len(recorded.mentions),
        "generate_cpu_s": seconds[0],
        "layout_cpu_s": seconds[1],
    }


def _figures(outcome: Outcome, recall: float) -> dict[str, float]:
    evidence = 100 * outcome.evidence
    shares = {
        kind: round(100 * rate / count, 1)
        for kind, (rate, count) in sorted(outcome.seen.items())
        if count
    }
    return {
        "sent": outcome.sent,
        "cached_percent": round(100 * outcome.warm, 1),
        "dollars": round(outcome.dollars, 4),
        "evidence_percent": round(evidence, 1),
        "with_recall_percent": round(evidence + (100 - evidence) * recall / 100, 1),
        **{f"{kind}_percent": share for kind, share in shares.items()},
        "largest": outcome.largest,
        "last": outcome.last,
    }


def _print(name: str, table: Table) -> None:
    """A table for each reader."""
    for reader, outcomes in table.items():
        print(f"\n{name}, {reader}")
        print(f"{'':20}{'sent, M':>10}{'cached':>9}{'dollars':>11}{'evidence':>10}{'far':>8}")
        for row, o in outcomes.items():
            rate, count = o.seen["far"]
            mark = "  cheaper and better" if row in beaten(outcomes) else ""
            print(
                f"{row:20}{o.sent / 1e6:10.2f}{100 * o.warm:8.1f}%{o.dollars:11.3f}"
                f"{100 * o.evidence:9.1f}%{100 * rate / max(count, 1):7.1f}%{mark}",
                flush=True,
            )


if __name__ == "__main__":
    main()
