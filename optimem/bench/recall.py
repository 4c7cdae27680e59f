"""How often recall finds the turn that answers a question: `python -m optimem.bench.recall`.

The questions are those packaged with the `memory_bfcl` conversations in the repository's
`tests/transcripts`; which turns answer each is labelled by hand in
`tests/recall_answers.json`. The data is no part of the installed package: name the `tests`
folder of a checkout as the argument when the benchmark runs from elsewhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimem.bench.report import Check, print_report
from optimem.errors import NotFoundError
from optimem.memory import Memory

_FIRST = 5
_DEPTH = 20
_BOUND = 85  # percent
_TESTS = Path(__file__).parents[2] / "tests"


@dataclass(frozen=True, slots=True)
class Answer:
    """What recall gave for one question.

    Attributes:
        id: the question's id.
        question: its words.
        rank: place of the first turn that answers it, from 1; None beyond the 20th.
        chance: how likely five turns at random would hold an answer.
    """

    id: str
    question: str
    rank: int | None
    chance: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser("optimem bench recall", description=__doc__)
    parser.add_argument("tests", nargs="?", type=Path, default=_TESTS, help="of a checkout")
    tests = parser.parse_args(arguments).tests
    answers = list(measure(tests))
    results: dict[str, Any] = {"questions": len(answers)}
    for first in (1, _FIRST, 10):
        results[f"first_{first}_percent"] = share(answers, first)
    results["mean_reciprocal_rank"] = round(
        sum(1 / answer.rank for answer in answers if answer.rank) / len(answers), 3
    )
    results["by_chance_percent"] = round(
        100 * sum(answer.chance for answer in answers) / len(answers), 1
    )
    for answer in answers:
        if answer.rank is None or answer.rank > _FIRST:
            print(f"missed: {answer.question} (rank {answer.rank or f'beyond {_DEPTH}'})")
    print(f"ceiling 100 %; five turns at random {results['by_chance_percent']} %")
    check = Check(
        "answering turn among the first 5", share(answers, _FIRST), ">=", _BOUND, "% of questions"
    )
    print_report("recall", results, [check])


def measure(tests: Path) -> Iterator[Answer]:
    """Ask every question of the conversations that lie in a checkout's `tests` folder.

    Raises:
        NotFoundError: the folder does not hold them.
    """
    labels = tests / "recall_answers.json"
    transcripts = sorted(tests.glob("transcripts/memory_bfcl__*.json"))
    if not transcripts or not labels.exists():
        raise NotFoundError(
            f"no conversations with questions in {tests}: they are in the repository, not in the"
            " installed package; name its tests folder: optimem bench recall PATH/TO/optimem/tests"
        )
    answers = json.loads(labels.read_text(encoding="utf-8"))["answers"]
    for path in transcripts:
        conversation = json.loads(path.read_text(encoding="utf-8"))
        with Memory.open("memory://") as memory:
            memory.extend(conversation["messages"])
            for item in conversation["qa"]:
                wanted = set(answers[item["id"]])
                yield _ask(memory, item, wanted, len(conversation["messages"]))


def share(answers: Sequence[Answer], first: int) -> float:
    """Percentage of questions whose answering turn is among the `first` ones recalled."""
    hits = sum(answer.rank is not None and answer.rank <= first for answer in answers)
    return round(100 * hits / len(answers), 1)


def _ask(memory: Memory, item: dict[str, Any], wanted: set[int], turns: int) -> Answer:
    recalled = memory.recall(item["q"], limit=_DEPTH)
    ranks = [rank for rank, turn in enumerate(recalled, 1) if turn.position in wanted]
    missed = 1.0  # the chance that none of five different turns answers
    for drawn in range(_FIRST):
        missed *= max(turns - len(wanted) - drawn, 0) / (turns - drawn)
    return Answer(item["id"], item["q"], ranks[0] if ranks else None, 1 - missed)


if __name__ == "__main__":
    main()
