"""How often whole strings and phrases are read from a page: `python -m optimem.bench.reading`.

A character error rate says little of an id, which is worth nothing with one wrong character.
Pages of the packaged transcripts, of the legibility benchmark's texts and of random ids are
drawn in each mode and read by Tesseract as `optimem.bench.legibility` does (Chinese ones by
its model chi_sim: `apt install tesseract-ocr-chi-sim`). Then each exact string on them is
counted by its family and length, and each run of up to 12 words by the number of its words: a
string or a word is read only if not one character of it was wrong, missing or split by a blank.

The outcome is kept as `optimem/data/reading.json`, and is what `optimem bench policy` takes
for evidence. Tesseract stands in for the vision models that really read such pages: it knows
no context to guess from, and they have their own errors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import accumulate
from pathlib import Path

import numpy as np

from optimem.bench.corpus import pages_of, turns_of
from optimem.errors import MissingExtraError
from optimem.exact import find_exact
from optimem.modes import MODES, Tier
from optimem.renderers.page import page_pixels
from optimem.testing import tesseract
from optimem.transcripts import read_transcript
from optimem.values import Page

try:
    from rapidfuzz.distance import Levenshtein
except ImportError:
    raise MissingExtraError("this benchmark", "bench") from None

TIERS = (Tier.SMALL, Tier.TINY, Tier.PX768, Tier.BASE, Tier.PX896, Tier.LARGE)
LENGTHS = (4, 6, 9, 14, 22, 40)
"""The longest string of each bin of lengths; what is longer is in the last one."""
MOST_WORDS = 12
FAMILIES = {
    "uuid": "random",
    "hash": "random",
    "code": "random",
    "number": "digits",
    "date": "digits",
    "clock": "digits",
    "amount": "digits",
    "phone": "digits",
    "version": "digits",
    "address": "digits",
}
"""The family of each kind of exact string; all others are made of words."""
_DATA = "reading.json"
_ENOUGH = 24  # strings of a bin; with fewer its family's errors per character are used
_TESTS = Path(__file__).parents[2] / "tests"
_SMALL = 6  # px; narrower cells are enlarged threefold, others twofold, for lines of 24 px or more


def family(kind: str) -> str:
    """Whether a kind of string is "random", "digits" or made of "words"."""
    return FAMILIES.get(kind, "words")


def bin_of(length: int) -> int:
    """The bin of a string's length."""
    return sum(length > longest for longest in LENGTHS)


@dataclass(frozen=True, slots=True)
class Rates:
    """How often strings and phrases are read whole, by tier.

    Attributes:
        reader: who read them.
        strings: by tier's and family's name for each bin of lengths how many were read,
            how many were drawn, and how many characters these had.
        phrases: by tier's name and script for each number of words, from 1 on, how many
            were read and how many were drawn.
    """

    reader: str
    strings: dict[str, dict[str, list[list[int]]]]
    phrases: dict[str, dict[str, list[list[int]]]]

    def string(self, tier: Tier, kind: str, length: int) -> float:
        """The rate at which whole strings of this kind and length are read in a mode."""
        bins = self.strings[self._read_as(tier)][family(kind)]
        read, drawn, _ = bins[bin_of(length)]
        if drawn >= _ENOUGH:
            return read / drawn
        # Of all bins of the family: what one more character leaves of the rate.
        read, drawn, characters = (sum(column) for column in zip(*bins, strict=True))
        return float((max(read, 0.5) / max(drawn, 1)) ** (length * drawn / max(characters, 1)))

    def phrase(self, tier: Tier, words: int, script: str = "latin") -> float:
        """The rate at which all words of a phrase are read in a mode."""
        counts = self.phrases[self._read_as(tier)][script]
        read, drawn = counts[min(words, len(counts)) - 1]
        return read / max(drawn, 1)

    def _read_as(self, tier: Tier) -> str:
        """The mode itself, or where it was not measured the next coarser one that was."""
        coarser = (mode for mode in MODES if mode >= tier and mode.label in self.strings)
        return next(coarser).label


def load_rates() -> Rates:
    """The kept outcome."""
    kept = json.loads(files("optimem").joinpath("data", _DATA).read_text("utf-8"))
    return Rates(kept["reader"], kept["strings"], kept["phrases"])


def main() -> None:
    """Read, count, and write the data file; tiers that are not named keep what it has."""
    parser = argparse.ArgumentParser(prog="python -m optimem.bench.reading")
    parser.add_argument("tiers", nargs="*", type=Tier.parse, default=TIERS, help="all by default")
    parser.add_argument("--tests", type=Path, default=_TESTS, help="of a checkout")
    options = parser.parse_args()
    pages = list(sample(options.tests))
    path = Path(str(files("optimem").joinpath("data", _DATA)))
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {"strings": {}, "phrases": {}}
    with ThreadPoolExecutor(int(os.environ.get("READERS", "1"))) as pool:
        for tier in options.tiers:
            strings: dict[str, list[list[int]]] = {
                name: [[0, 0, 0] for _ in range(len(LENGTHS) + 1)]
                for name in ("random", "digits", "words")
            }
            phrases = {script: [[0, 0] for _ in range(MOST_WORDS)] for script in ("latin", "han")}
            answers = pool.map(partial(_read, tier), pages)
            for (page, script), answer in zip(pages, answers, strict=True):
                count(page, answer, script, strings, phrases[script])
            shares = {
                name: round(sum(b[0] for b in bins) / max(sum(b[1] for b in bins), 1), 3)
                for name, bins in strings.items()
            }
            five = {name: round(p[4][0] / max(p[4][1], 1), 3) for name, p in phrases.items()}
            print(f"{tier.label:7} whole strings {shares}, runs of five words {five}", flush=True)
            outcome = {
                "about": "How often whole exact strings (by tier, family and bin of lengths:"
                " read, drawn, characters) and whole runs of words (by tier, script and number"
                " of words: read, drawn) are read. Made by: python -m optimem.bench.reading",
                "reader": _version(),
                "pages": len(pages),
                "lengths": LENGTHS,
                "strings": kept["strings"] | {tier.label: strings},
                "phrases": kept["phrases"] | {tier.label: phrases},
            }
            kept = outcome
            path.write_text(json.dumps(outcome) + "\n", encoding="utf-8")


def _read(tier: Tier, page: tuple[Page, str]) -> str:
    return read(page[0], tier, page[1])


def sample(tests: Path) -> Iterator[tuple[Page, str]]:
    """The pages, each with its script."""
    for path in sorted((tests / "transcripts").glob("*.json")):
        pages = pages_of(read_transcript(path))
        script = "han" if path.name.startswith("zh_") else "latin"
        yield pages[len(pages) // 2], script
    for kind in ("prose", "ids"):
        yield pages_of(turns_of(kind))[0], "latin"


def read(page: Page, tier: Tier, script: str) -> str:
    """What Tesseract reads on a page in a mode."""
    language = "chi_sim" if script == "han" else "eng"
    times = 3 if tier.cell[0] < _SMALL else 2
    return tesseract(page_pixels(page, tier), tier.cell[0], language=language, times=times)


def count(
    page: Page,
    answer: str,
    script: str,
    strings: dict[str, list[list[int]]],
    phrases: list[list[int]],
) -> None:
    """Add what of a page was read, and what was drawn."""
    joint = "" if script == "han" else " "  # engines set Chinese with blanks of their own
    drawn = joint.join("".join(f"{row}\n" for row in page.rows).split())
    whole = Whole(drawn, joint.join(answer.split()))
    if script == "latin":
        for exact in find_exact(drawn):
            if "\\" in exact.text or not exact.text.isascii():
                continue
            counts = strings[family(exact.kind)][bin_of(len(exact.text))]
            counts[0] += whole(exact.start, exact.stop)
            counts[1] += 1
            counts[2] += len(exact.text)
    words = [whole(start, stop) for start, stop in _word_places(drawn, script)]
    right = [0, *accumulate(words)]
    for number in range(1, MOST_WORDS + 1):
        for first, last in zip(right, right[number:], strict=False):
            phrases[number - 1][0] += last - first == number
            phrases[number - 1][1] += 1


def _word_places(drawn: str, script: str) -> Iterator[tuple[int, int]]:
    """Where words stand: runs of letters and digits, or each Chinese character."""
    start = -1
    for at, character in enumerate(drawn + " "):
        if script == "han":
            if "\u4e00" <= character <= "\u9fff":
                yield at, at + 1
        elif character.isalnum() and character.isascii():
            start = at if start < 0 else start
        elif start >= 0:
            yield start, at
            start = -1


class Whole:
    """Which stretches of a drawn text were read without an error."""

    def __init__(self, drawn: str, answer: str) -> None:
        wrong = np.zeros(len(drawn) + 1, np.int64)
        inserted = np.zeros(len(drawn) + 2, np.int64)  # in front of each character
        joined = np.zeros(len(drawn) + 1, bool)
        for edit in Levenshtein.editops(drawn, answer):
            if edit.tag == "insert":
                inserted[edit.src_pos] += 1
                joined[edit.src_pos] |= answer[edit.dest_pos].isalnum()
            else:
                wrong[edit.src_pos] += 1
        self._wrong = np.concatenate([[0], np.cumsum(wrong)])
        self._inserted = np.concatenate([[0], np.cumsum(inserted)])
        self._joined = joined

    def __call__(self, start: int, stop: int) -> bool:
        """Whether nothing is wrong from `start` to `stop`, nor a letter added at either end."""
        within = self._inserted[stop] - self._inserted[start + 1]
        ends = bool(self._joined[start] or self._joined[stop])
        return bool(self._wrong[stop] == self._wrong[start] and within == 0 and not ends)


def _version() -> str:
    done = subprocess.run(["tesseract", "--version"], capture_output=True, check=True)
    return (done.stdout or done.stderr).decode().split("\n")[0]


if __name__ == "__main__":
    main()
