"""How many exact strings are at hand when they are said again: `python -m optimem.bench.anchors`.

Each transcript is one session. Of an exact string on a sealed page, it counts when for the
first time a turn of the user or the agent, which begins behind that page, says it again
while it does not stand in the text behind the last sealed page, so that it can come from
pages alone. It is anchored if by then it stands as text beside any sealed page, whole or as
a whole part of a longer anchor. A string counts once a session. Environments that answer in
the user's role count as users. All sealed pages count as shown: an agent with so little room
that pages are forgotten has fewer anchors.

Perfect foresight knows which strings will count and keeps the cheapest of them on each page.
It chooses page by page, so that the true best may be a little higher.

The extractor without a budget is held against strings that were marked by reading excerpts of
pages: `tests/data/anchors.json`, which says how. The data is no part of the installed package:
name the `tests` folder of a checkout as the argument when the benchmark runs from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimem.anchors import choose_anchors, find_anchors
from optimem.bench.report import Check, print_report
from optimem.demo import packaged_session
from optimem.errors import NotFoundError
from optimem.exact import Exact, find_exact
from optimem.memory import Memory
from optimem.tokens import find_counter
from optimem.transcripts import parse_transcript
from optimem.values import Page, Turn

BUDGETS = (32, 64, 128, 256)
"""Tokens a page, for the whole line beside it."""
_BUDGET = 128
_ROUNDS = 3
_TESTS = Path(__file__).parents[2] / "tests"


@dataclass(frozen=True, slots=True)
class Session:
    """One transcript laid out.

    Attributes:
        turns: its turns.
        pages: its sealed pages.
        found: the exact strings of each page.
        reused: each string that is said again, with the number of pages sealed by then.
    """

    turns: list[Turn]
    pages: list[Page]
    found: list[list[Exact]]
    reused: dict[str, int]


@dataclass(slots=True)
class Extraction:
    """The extractor's strings held against the marked ones, counted per excerpt."""

    marked: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0

    @property
    def recall(self) -> float:
        """Percent of the marked strings that were found."""
        return round(100 * (1 - self.missed / self.marked), 1)

    @property
    def precision(self) -> float:
        """Percent of the found strings that were marked."""
        return round(100 * self.right / (self.right + self.wrong), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser("optimem bench anchors", description=__doc__)
    parser.add_argument("tests", nargs="?", type=Path, default=_TESTS, help="of a checkout")
    tests = parser.parse_args(arguments).tests
    sessions = list(read_sessions(tests))
    extraction = measure_extraction(tests)
    count = find_counter().count
    results: dict[str, Any] = {
        "sessions": len(sessions),
        "pages": sum(len(session.pages) for session in sessions),
        "strings": sum(len(session.reused) for session in sessions),
        "marked_strings": extraction.marked,
    }
    for budget in BUDGETS:
        foresight, anchored = measure_foresight(sessions, budget, count), measure(sessions, budget)
        results[f"foresight_{budget}_percent"] = foresight
        results[f"anchored_{budget}_percent"] = anchored
        print(f"{budget:4} tokens a page: perfect foresight {foresight} %, anchored {anchored} %")
    results["page_ms"] = round(_seconds(sessions, count) / results["pages"] * 1000, 2)
    anchored = results[f"anchored_{_BUDGET}_percent"]
    checks = [
        Check(f"anchored within {_BUDGET} tokens", anchored, ">=", 80, "% of strings said again"),
        Check("extractor's recall", extraction.recall, ">=", 99, "% of marked strings"),
        Check("extractor's precision", extraction.precision, ">=", 90, "% of found strings"),
        Check("finding and choosing", results["page_ms"], "<=", 1, "ms a page"),
    ]
    print_report("anchors", results, checks)


def read_sessions(tests: Path) -> Iterator[Session]:
    """The transcripts in a checkout's `tests` folder and the packaged one, laid out.

    Raises:
        NotFoundError: the folder does not hold them.
    """
    files = sorted(tests.glob("transcripts/*.json"))
    if not files:
        raise NotFoundError(
            f"no transcripts in {tests}: they are in the repository, not in the installed"
            " package; name its tests folder: optimem bench anchors PATH/TO/optimem/tests"
        )
    for file in files:
        yield _session(parse_transcript(json.loads(file.read_text("utf-8"))))
    yield _session(packaged_session())


def measure(sessions: Sequence[Session], budget: int) -> float:
    """Percent of the strings said again that stand beside a page by then."""
    hits = 0
    for session in sessions:
        with Memory.open("memory://", caption_tokens=budget) as memory:
            memory.extend(session.turns)
            beside = [memory.anchors(page.number) for page in session.pages]
        for text, pages in session.reused.items():
            hits += any(_says(anchor, text) for anchors in beside[:pages] for anchor in anchors)
    return _share(hits, sessions)


def measure_foresight(
    sessions: Sequence[Session], budget: int, count: Callable[[str], int]
) -> float:
    """Percent of the strings said again that a chooser who knows them would keep."""
    hits = 0
    for session in sessions:
        kept: set[str] = set()
        for page, found in enumerate(session.found):
            wanted = {exact.text for exact in found if page < session.reused.get(exact.text, 0)}
            left = budget
            for cost, text in sorted((count(" " + text), text) for text in wanted - kept):
                if cost > left:
                    break
                left -= cost
                kept.add(text)
        hits += len(kept)
    return _share(hits, sessions)


def measure_extraction(tests: Path) -> Extraction:
    """Hold the extractor against the marked strings."""
    result = Extraction()
    for excerpt in json.loads((tests / "data" / "anchors.json").read_text("utf-8"))["excerpts"]:
        found = {exact.text for exact in find_exact(excerpt["text"])}
        # A string with several spellings that are as good is a list of them.
        marked = [[form] if isinstance(form, str) else form for form in excerpt["strings"]]
        forms = {form for spellings in marked for form in spellings}
        result.marked += len(marked)
        result.missed += sum(found.isdisjoint(spellings) for spellings in marked)
        result.right += len(found & forms)
        result.wrong += len(found - forms - set(excerpt["either"]))
    return result


def _session(turns: list[Turn]) -> Session:
    with Memory.open("memory://") as memory:
        memory.extend(turns)
        pages = [memory.page(number) for number in range(memory.stats().pages)]
    found = list(_found(pages))
    reused: dict[str, int] = {}
    on_pages: set[str] = set()
    sealed = 0
    for position, turn in enumerate(turns):
        while sealed < len(pages) and pages[sealed].spans[-1].position < position:
            on_pages |= {exact.text for exact in found[sealed]}
            sealed += 1
        if not sealed or turn.role not in ("user", "assistant"):
            continue
        since = pages[sealed - 1].spans[-1].position + 1
        recent = "\n".join(turn.text for turn in turns[since:position])
        for text in on_pages - reused.keys():
            if _says(turn.text, text) and not _says(recent, text):
                reused[text] = sealed
    return Session(turns, pages, found, reused)


def _found(pages: Sequence[Page]) -> Iterator[list[Exact]]:
    before = ""
    for page in pages:
        running = not page.spans[0].begins
        yield find_anchors(page.words, before if running else "", cut=not page.spans[-1].ends)
        before = page.words


def _says(text: str, exact: str) -> bool:
    """Whether a text holds a string that is no part of a longer word or number."""
    at = text.find(exact)
    while at >= 0:
        before, behind = text[at - 1 : at] + exact[0], exact[-1] + text[at + len(exact) :][:1]
        if not (_joined(before) or _joined(behind)):
            return True
        at = text.find(exact, at + 1)
    return False


def _joined(pair: str) -> bool:
    """Whether two characters belong to one word."""
    return len(pair) == 2 and pair.isascii() and pair.replace("_", "a").isalnum()


def _share(hits: int, sessions: Sequence[Session]) -> float:
    return round(100 * hits / sum(len(session.reused) for session in sessions), 1)


def _seconds(sessions: Sequence[Session], count: Callable[[str], int]) -> float:
    """Processor time for the anchors of all pages, the best of several rounds."""
    seconds: list[float] = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for session in sessions:
            for found in _found(session.pages):
                choose_anchors(found, _BUDGET, count)
        seconds.append(time.process_time() - begun)
    return min(seconds)


if __name__ == "__main__":
    main()
