"""What `calibrate` shows a reader: pages whose words are known, and questions about them.

Texts are to be transcribed: real prose, dialogue, code, JSON and Chinese, and random ids. A
page of made-up invoices is to be understood: sums over what stands on it, and invoices that
stand nowhere on it, about which the right answer is that nothing is said.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from importlib.resources import files

from optimem.bench.corpus import pages_of, turns_of
from optimem.fidelity import Fidelity, compared
from optimem.messages import parse
from optimem.values import SPLIT, Page

TEXTS = ("prose", "dialogue", "code", "json", "ids", "cjk")
KINDS = (*TEXTS, "arithmetic", "absent")
"""Kinds of probes, in the order in which they are asked."""

_TRANSCRIBE = (
    "Transcribe this page exactly as it stands, character by character and row by row, the signs"
    " | and <role#n> too. Reply with the transcription and nothing else."
)
_SUM = "How much are the invoices of {} and {} together? Reply with the number alone."
_ABSENT = "How much is the invoice of {}? If the page does not say, reply: not stated."
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_QUESTIONS = 4  # about a page of invoices
_INVOICES = 40  # on it
_SOUNDS = ("ba", "cor", "dan", "el", "fi", "gar", "ho", "in", "jo", "kel", "la", "mor", "nu", "or")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question about a page, and what is right.

    Attributes:
        kind: one of `KINDS`.
        number: which one of its kind.
        page: what is shown.
        question: what is asked.
        answer: the right sum, or "".
    """

    kind: str
    number: int
    page: Page
    question: str
    answer: str = ""

    def score(self, reply: str) -> Score:
        """What a reply is worth."""
        if self.kind in TEXTS:
            read = compared(self.page, reply.replace(SPLIT + "\n", ""))
            return Score(*astuple(read)[1:])
        said = [number.replace(",", "") for number in _NUMBER.findall(reply)]
        if self.kind == "absent":
            return Score(asked=1, confabulated=int(bool(said)))
        return Score(asked=1, right=int(bool(said) and float(said[-1]) == float(self.answer)))


@dataclass(frozen=True, slots=True)
class Score:
    """How a reader did; scores add up.

    Attributes:
        characters: drawn, of texts that it transcribed.
        errors: edits from what was drawn to what it replied.
        strings: exact strings on those pages.
        kept: of these, replied as they stand.
        asked: questions about invoices.
        right: of these, sums that are right.
        confabulated: of these, amounts that it made up.
    """

    characters: int = 0
    errors: int = 0
    strings: int = 0
    kept: int = 0
    asked: int = 0
    right: int = 0
    confabulated: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def reading(self) -> Fidelity:
        """The share of it that is transcription."""
        return Fidelity(0, self.characters, self.errors, self.strings, self.kept)


def probes(kinds: tuple[str, ...] = KINDS, pages: int = 1) -> Iterator[Probe]:
    """The probes of some kinds; the same arguments give the same ones on every machine.

    Args:
        kinds: of `KINDS`.
        pages: of each kind; ids and invoices have as many as are wanted, texts what there is.
    """
    for kind in kinds:
        if kind in TEXTS:
            for number, page in enumerate(_text_pages(kind, pages)):
                yield Probe(kind, number, page, _TRANSCRIBE)
            continue
        for number in range(pages):
            yield from _invoice_probes(kind, number)


def _text_pages(kind: str, pages: int) -> list[Page]:
    if kind == "ids":
        return [pages_of(turns_of(kind, seed))[0] for seed in range(1, pages + 1)]
    if kind == "cjk":
        text = files("optimem").joinpath("data", "cjk.txt").read_text("utf-8")
        return pages_of([parse({"role": "user", "content": text})])[:pages]
    return pages_of(turns_of(kind))[:pages]


def _invoice_probes(kind: str, number: int) -> Iterator[Probe]:
    draw = random.Random(number)
    names = _names(draw, _INVOICES + _QUESTIONS)
    amounts = {name: draw.randrange(1000, 99_900) / 100 for name in names[:_INVOICES]}
    lines = [f"The invoice of {name} is ${amount:.2f}." for name, amount in amounts.items()]
    (page,) = pages_of([parse({"role": "tool", "tool_call_id": "c", "content": "\n".join(lines)})])
    for place in range(_QUESTIONS):
        if kind == "absent":
            question = _ABSENT.format(names[_INVOICES + place])
            yield Probe(kind, number * _QUESTIONS + place, page, question)
        else:
            first, second = draw.sample(names[:_INVOICES], 2)
            total = f"{amounts[first] + amounts[second]:.2f}"
            question = _SUM.format(first, second)
            yield Probe(kind, number * _QUESTIONS + place, page, question, total)


def _names(draw: random.Random, count: int) -> list[str]:
    """Names that nobody has, each unlike the others."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices(_SOUNDS, k=3)).capitalize()] = None
    return list(found)
