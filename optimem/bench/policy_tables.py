"""What `optimem bench policy` found, as tables to look at and as JSON."""

from __future__ import annotations

from typing import Any

from optimem.bench.recorded import Recorded
from optimem.bench.replay import FAR, Outcome
from optimem.bench.sessions import Sessions, measure_recall

Table = dict[str, dict[str, Outcome]]
"""By reader, by row."""


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


def results(
    sessions: Sessions, tables: dict[str, Table], read_by: str, budget: int
) -> dict[str, Any]:
    """What the report says beside its checks.

    Args:
        sessions: what was replayed.
        tables: by session's name.
        read_by: who read the pages that the rates are of.
        budget: of the rows that have one.
    """
    recall = measure_recall(sessions)
    described = {
        name: _described(recorded, sessions.seconds[name])
        for name, recorded in sessions.generated.items()
    }
    total = [_described(recorded, (0, 0)) for recorded in sessions.transcripts]
    described["transcripts"] = {key: sum(each[key] for each in total) for key in total[0]}
    return {
        "reader_of_pages": f"{read_by}, a stand-in for the models that would read",
        "budget": budget,
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


def print_table(name: str, table: Table) -> None:
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
