"""Counting text tokens: exactly with o200k when its package is there, else by script.

A session is planned with one counter, whose name is kept with it, so that all its workers
count alike. Counters know nothing of readers: a reader's profile turns o200k tokens into
its own (`Profile.text_cost`). Both counters take time linear in the length of any text.
"""

from __future__ import annotations

import importlib
import re
from bisect import bisect_right
from collections import Counter as Tally
from functools import cache
from typing import Protocol

from optimem.errors import MissingExtraError, NotFoundError

# Chars per o200k token, by kind of character for ASCII and by script for the rest. Fitted
# with o200k itself: ASCII on 2,850 samples of 3,000 characters (English prose and
# documentation, Python and JavaScript, agent logs with their JSON) so that 9 in 10 are
# counted high, by 12% in the median; scripts on the translations of Django 5.2 (a language
# below its script's mean, or written in accented Latin, may still be counted 10 to 20% low)
# and on Chinese dialogues. Random letters are counted up to a half low.
_LOWER, _UPPER, _DIGIT, _MARK, _BLANK, _LINE = 3.7, 2.5, 1.25, 1.8, 18.0, 1.8

_SCRIPTS: tuple[tuple[int, float], ...] = (  # first code point, chars per token
    (0x80, 0.75),  # accented Latin
    (0x370, 2.2),  # Greek
    (0x400, 2.6),  # Cyrillic
    (0x530, 2.1),  # Armenian
    (0x590, 2.0),  # Hebrew
    (0x600, 2.3),  # Arabic
    (0x700, 0.5),  # rarer scripts: two tokens a character
    (0x900, 1.95),  # the scripts of India
    (0xE00, 2.0),  # Thai
    (0xE80, 0.5),
    (0x10A0, 2.3),  # Georgian
    (0x1100, 0.5),
    (0x1E00, 1.5),  # Vietnamese vowels
    (0x1F00, 0.5),
    (0x2000, 1.0),  # dashes and quotation marks
    (0x2070, 0.6),  # symbols, arrows, box drawing
    (0x2E80, 0.4),  # radicals
    (0x3000, 1.0),  # Chinese and Japanese punctuation
    (0x3040, 1.35),  # Hiragana, Katakana
    (0x3100, 0.4),
    (0x4E00, 1.1),  # Han
    (0xA000, 0.4),
    (0xAC00, 1.3),  # Hangul
    (0xD7B0, 0.4),
    (0xFF00, 1.0),  # full-width forms
    (0xFFF0, 0.5),
    (0x10000, 0.4),  # emoji, rare Han
)
_STARTS = [start for start, _ in _SCRIPTS]

_PIECE = 100_000
_SURROGATE = re.compile("[\ud800-\udfff]")


class Counter(Protocol):
    """Counts the text tokens of a string; the same string always gives the same count."""

    @property
    def name(self) -> str:
        """What `find_counter` knows it by."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`, 0 for the empty string."""
        ...


class O200k:
    """The vocabulary of OpenAI's models since GPT-4o, through the optional package rs_bpe."""

    name = "o200k"

    def __init__(self) -> None:
        try:
            bpe = importlib.import_module("rs_bpe.bpe")
        except ImportError:
            raise MissingExtraError("the o200k token counter", "tokens") from None
        self._encoding = bpe.openai.o200k_base()

    def count(self, text: str) -> int:
        """Exact up to 100,000 characters; longer texts are counted in pieces of that length.

        Each cut adds a token at most now and then, and equal pieces are counted once: long
        runs of one character are the slowest input that the package has. A lone surrogate
        counts as the replacement character.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
        if len(text) <= _PIECE:
            return int(self._encoding.count(text))
        pieces = Tally(text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
        return sum(times * int(self._encoding.count(piece)) for piece, times in pieces.items())


class Chars:
    """Measured characters per token of each script: needs nothing, errs on the high side."""

    name = "chars"

    def count(self, text: str) -> int:
        """An estimate of o200k's count that does not depend on the order of characters."""
        return -(-sum(times * _weight(char) for char, times in Tally(text).items()) // 1000)


def _weight(char: str) -> int:
    """Thousandths of a token that a character stands for."""
    code = ord(char)
    if code >= 0x80:
        rate = _SCRIPTS[bisect_right(_STARTS, code) - 1][1]
    elif char.isalpha():
        rate = _LOWER if char.islower() else _UPPER
    elif char.isdigit():
        rate = _DIGIT
    elif char.isspace():
        rate = _BLANK if char == " " else _LINE
    else:
        rate = _MARK
    return round(1000 / rate)


@cache
def find_counter(name: str = "auto") -> Counter:
    """The counter of that name.

    Args:
        name: "o200k" (exact, needs the extra `tokens`), "chars" (an estimate that needs
            nothing), or "auto": o200k when it is installed, else chars.

    Raises:
        MissingExtraError: o200k was asked for and its package is not installed.
        NotFoundError: there is no such counter.
    """
    if name == "auto":
        try:
            return O200k()
        except MissingExtraError:
            return Chars()
    if name == "o200k":
        return O200k()
    if name == "chars":
        return Chars()
    raise NotFoundError(f"no token counter is called {name!r}: use 'auto', 'o200k' or 'chars'")
