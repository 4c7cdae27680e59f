"""The questions packaged with transcripts, as mentions that are made at the session's end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from optimem.bench.recorded import Mention, Recorded
from optimem.exact import find_exact
from optimem.values import Turn

_WORD = re.compile(r"\w+")


def read_answers(
    tests: Path, path: Path, recorded: Recorded, turns: Sequence[Turn]
) -> list[Mention]:
    """What answers each question of a transcript, and where it stands.

    Which turns answer is labelled by hand in `tests/recall_answers.json`. Of the answers
    that count as right the first that one of these turns has word for word is looked for.
    Where none is (a sum, a paraphrase) it is as long a phrase as the shortest one. It is
    taken to stand on the page on which its turn begins.

    Args:
        tests: a checkout's folder of tests.
        path: the transcript.
        recorded: the same, laid out.
        turns: its turns.
    """
    questions = json.loads(path.read_text("utf-8"))
    questions = questions.get("qa", []) if isinstance(questions, dict) else []
    if not questions:
        return []
    labels = json.loads((tests / "recall_answers.json").read_text("utf-8"))["answers"]
    return [
        _mention(item["a"], sorted(labels[item["id"]], reverse=True), recorded, turns)
        for item in questions
    ]


def _mention(
    answers: Sequence[str], positions: Sequence[int], recorded: Recorded, turns: Sequence[Turn]
) -> Mention:
    said = {at: turns[at].text.lower() for at in positions}
    found = [a for a in answers if any(a.lower() in text for text in said.values())]
    answer = found[0] if found else min(answers, key=len)
    holding = [at for at in positions if not found or answer.lower() in said[at]]
    places = tuple((at, recorded.starts[at]) for at in holding)
    exact = next((e for e in find_exact(answer) if e.text == answer), None)
    if exact is not None:
        return Mention(len(turns), answer, exact.kind, len(answer), places)
    words = max(len(_WORD.findall(answer)), 1)
    return Mention(len(turns), answer, "phrase", words, places)
