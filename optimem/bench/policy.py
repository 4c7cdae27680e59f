"""What each way of keeping a long session costs, and what a reader can still find in it.

    optimem bench policy              # about 10 minutes of processor time
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
the solver in place of the ladder and keeps to the window that the other systems have. How long
contexts are at one and at ten million tokens without a budget stands apart:
`optimem.bench.growth`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from optimem.bench.growth import Growth, measure_growth
from optimem.bench.ours import Ours
from optimem.bench.planning import POLICIES, Planned, measure_planning
from optimem.bench.policy_tables import Table, beaten, print_table, results
from optimem.bench.reading import Rates, load_rates
from optimem.bench.recorded import Recorded
from optimem.bench.replay import Outcome, replay
from optimem.bench.report import Check, print_report
from optimem.bench.rows import FullText, Log, Pxpipe, Row, Sliding, Snapcompact, Summarized
from optimem.bench.sessions import Sessions, generate_sessions, read_sessions
from optimem.policies import BestValue, Epochs, TokenBudget
from optimem.readers import find_reader

READERS = (
    "openai:gpt-6-astra",
    "anthropic:claude-opus-5.5",
    "google:gemini-4-argon",
    "deepseek:deepseek-flash",
)
SIZES = {"100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
BUDGET = 200_000
_REQUESTS = 1_000
_REPLAYED = 2_000_000  # of the longest session's tokens, the last ones
_TESTS = Path(__file__).parents[2] / "tests"


def main() -> None:
    """Replay, print tables, and end with one JSON line."""
    parser = argparse.ArgumentParser(prog="optimem bench policy")
    parser.add_argument("tests", nargs="?", type=Path, default=_TESTS, help="of a checkout")
    parser.add_argument("--quick", action="store_true", help="without 10 million tokens")
    parser.add_argument("--svg", type=Path, help="draw bills and evidence at 1M into this file")
    options = parser.parse_args()
    sizes = {name: size for name, size in SIZES.items() if name != "10M" or not options.quick}
    begun, rates = time.process_time(), load_rates()
    sessions = read_sessions(options.tests)
    planned = _planned(sessions)
    generate_sessions(sessions, sizes)
    tables = {"transcripts": _transcripts(sessions.transcripts, rates)}
    print_table("transcripts", tables["transcripts"])
    for name, recorded in sessions.generated.items():
        tables[name] = compare(recorded, rates, long=name == "10M")
        print_table(name, tables[name])
    found = results(sessions, tables, rates.reader, BUDGET)
    print(f"a recall by its own words finds {found['recall_percent']} % of mentions")
    growth = None if options.quick else _growth(sessions)
    found |= {
        "growth": growth and growth.described(),
        "planning": {name: asdict(each) for name, each in planned.items()},
        "cpu_s": round(time.process_time() - begun),
    }
    checks = [*_money(tables), _grown(growth), _warm(sessions, rates), *_planning(planned)]
    if options.svg:
        from optimem.bench.policy_plot import plot

        options.svg.write_text(plot(found["rows"]["1M"]), "utf-8")
    print_report("policy", found, checks)


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


def _growth(sessions: Sessions) -> Growth:
    """How much longer requests are from 1M to 10M tokens than at 1M, without a budget."""
    growth = measure_growth(sessions.sources, sessions.distances, sessions.generated["10M"])
    for name, steady in (("1M", growth.short), ("10M", growth.long)):
        tokens, turns = steady.tokens, steady.in_turns
        print(
            f"tokens of a request at {name}: {tokens.value:,.0f} on average, standard error"
            f" {tokens.error:,.0f} of {steady.stretches} stretches; in turns of the mean length"
            f" {turns.value:.0f} ({turns.error:.0f}); the worst 1,024 turns {steady.worst:,.0f},"
            f" the longest request {steady.longest:,}"
        )
    for said, ratio in (("", growth.ratio), (", in turns", growth.ratio_in_turns)):
        print(f"that is {ratio.value:.3f} times as many{said}, standard error {ratio.error:.3f}")
    return growth


def _grown(growth: Growth | None) -> Check:
    ratio = None if growth is None else round(growth.ratio.value, 3)
    return Check("context tokens at 10M", ratio, "<=", 1.1, "times those at 1M, of means")


def _planned(sessions: Sessions) -> dict[str, Planned]:
    """What planning takes, by policy, in a session that says what the transcripts do."""
    turns = [turn for each in sessions.turns for turn in each]
    found = {name: measure_planning(turns, policy) for name, policy in POLICIES.items()}
    for name, each in found.items():
        print(
            f"planning, {name}: {each.whole} ms at first; after an append {each.append} on average,"
            f" {each.middle} in the middle, {each.hearing} of it listening; {each.epochs} epochs",
            flush=True,
        )
    return found


def _planning(planned: dict[str, Planned]) -> Iterator[Check]:
    plain, other = planned.values()
    yield Check("planning 10,000 pages", plain.whole, "<=", 50, "ms of processor time")
    yield Check("replanning after an append", plain.append, "<=", 1, "ms, amortized")
    yield Check("with Salience and Rehearsal", other.append, "<=", 1, "ms, amortized")


if __name__ == "__main__":
    main()
