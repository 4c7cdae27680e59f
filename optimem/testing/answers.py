"""What a model that can only read and look up replies.

It understands four things, in this order:

* `Call NAME with {…}` in the last message: it calls that tool, once for each such order.
* A wish to *transcribe*: it replies with what it reads on the images of the last message,
  on the page that is named, or on the last image.
* A question (it ends with a question mark): it replies with the passages that have most of
  the question's words, what it read and what it was given as text alike. Where a word of
  them nearly is an exact string beside the page, it takes that one: this is what anchors
  are for. It knows that it misreads: asked for *exact* words, which it read on a page and
  has no exact string for, or has from its own earlier replies, it calls `recall` (any tool
  whose name has `recall` or `search` in it) if it is offered, as it does where it finds the
  question's words nowhere. From what came back it then answers, and from the rest of the
  prompt only where that says nothing.
* Anything else it acknowledges, and reads nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from optimem.terms import ASKING, terms
from optimem.testing.exchange import Asked, Block, Call, Reading, Reply, Tool
from optimem.values import Json, dump_json

NOTED = "Noted."
UNKNOWN = "That is not stated in what I was shown."

Pages = Callable[[], Sequence[Reading]]
"""Reads the images of the request when it is asked to, and not before."""

_ORDER = re.compile(r"\bcall (?:the tool )?[`\"']?([\w-]+)[`\"']? with (?={)", re.I)
_TRANSCRIBE = re.compile(r"\btranscri(?:be|ption)\b", re.I)
_PAGE = re.compile(r"\bpage (\d+)\b", re.I)
_EXACT = re.compile(r"\b(?:exact(?:ly)?|verbatim|word for word|letter for letter)\b", re.I)
_SEARCH = re.compile(r"recall|search", re.I)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+|\s\|+\d*\s|(?=<\w+#\d+>)")
_ENDS = ".,;:!?()\"'。！？，"
_PASSAGE = 3  # sentences
_SHOWN = 3  # passages of a reply
_KNOWN = 0.5  # share of a question's weight that a passage must have to answer it
_LIKE = 0.75  # how alike a word and an anchor must be for the one to be taken for the other
_COMMON = ASKING | frozenset(terms("turn page word words"))


@dataclass(frozen=True, slots=True)
class _Passage:
    text: str
    words: Mapping[str, int]
    reading: Reading | None
    is_own: bool = False

    @property
    def is_hearsay(self) -> bool:
        """Whether it was read on a page, or was said in a reply by one who may have."""
        return self.reading is not None or self.is_own


def answer(asked: Asked, pages: Pages) -> Reply:
    """The reply to a request; `pages` is called only when it takes reading."""
    last = asked.last
    heard = any(block.kind == "result" for block in last)
    question = _question(asked)
    if not heard:
        if calls := list(_ordered(question, asked.tools)):
            return Reply(calls=_with_ids(calls, asked))
        if _TRANSCRIBE.search(question):
            return Reply(_transcription(question, last, asked, pages()))
    if not question.rstrip().endswith(("?", "？")):
        results = "\n".join(block.text for block in last if block.kind == "result")
        return Reply(results or NOTED)
    tool = None if heard else next((t for t in asked.tools if _SEARCH.search(t.name)), None)
    found = _look_up(question, _passages(last, (), question)) if heard else []
    found = found or _look_up(question, _passages(asked.blocks, pages(), question))
    unsure = not found or (_EXACT.search(question) and _doubts(question, found[0]))
    if tool is not None and unsure:
        call = Call(tool.name, _arguments(tool, question))
        return Reply(calls=_with_ids([call], asked))
    return Reply("\n".join(_mended(passage.text, passage.reading) for passage in found) or UNKNOWN)


def _question(asked: Asked) -> str:
    """The user's newest words."""
    said = [block for block in asked.blocks if block.role == "user" and block.kind == "text"]
    return said[-1].text if said else ""


def _ordered(question: str, tools: Sequence[Tool]) -> Iterator[Call]:
    names = {tool.name for tool in tools}
    for order in _ORDER.finditer(question):
        if order[1] in names:
            with suppress(ValueError):
                yield Call(order[1], json.JSONDecoder().raw_decode(question, order.end())[0])


def _with_ids(calls: Iterable[Call], asked: Asked) -> tuple[Call, ...]:
    """Calls with ids that the same request always gives, and another one does not."""
    place = b"".join(block.digest for block in asked.blocks)
    found = []
    for number, call in enumerate(calls):
        content = dump_json([number, call.name, dict(call.arguments)]).encode()
        digest = hashlib.sha256(place + content).hexdigest()[:20]
        found.append(Call(call.name, call.arguments, f"call_{digest}"))
    return tuple(found)


def _arguments(tool: Tool, question: str) -> dict[str, Json]:
    """The question as the tool's first text argument."""
    properties = tool.parameters.get("properties") or {"query": {}}
    wanted = [*(tool.parameters.get("required") or ()), *properties]
    texts = [name for name in wanted if properties.get(name, {}).get("type") in ("string", None)]
    return {(texts or ["query"])[0]: question}


def _transcription(
    question: str, last: Sequence[Block], asked: Asked, readings: Sequence[Reading]
) -> str:
    named = _PAGE.search(question)
    if named:
        number = int(named[1])
        return "".join(r.text for r in readings if r.page == number) or UNKNOWN
    own = {number for number, block in enumerate(asked.blocks) if block in last}
    images = [reading for reading in readings if reading.block in own]
    return "\n".join(reading.text for reading in images or readings[-1:]) or UNKNOWN


def _look_up(question: str, passages: Iterable[_Passage]) -> list[_Passage]:
    """The passages that have most of the question's words; none if they have too few.

    Of equals those come first that are text. Those that only ask the same are none.
    """
    asked = _COMMON.union(terms(question))
    wanted = asked - _COMMON
    every = [passage for passage in passages if not asked.issuperset(passage.words)]
    seen = Counter(term for passage in every for term in wanted & passage.words.keys())
    rarity = {term: math.log(1 + len(every) / (1 + seen[term])) for term in wanted}
    enough = _KNOWN * sum(rarity.values())
    ranked = sorted(
        ((sum(rarity[t] for t in wanted & p.words.keys()), n) for n, p in enumerate(every)),
        key=lambda scored: (-scored[0], every[scored[1]].is_hearsay, scored[1]),
    )
    best: list[_Passage] = []
    for score, number in ranked:
        passage = every[number]
        if score < enough or not score or len(best) == _SHOWN:
            break
        if not any(passage.text in b.text for b in best):
            best.append(passage)
    return best


def _passages(
    blocks: Sequence[Block], readings: Sequence[Reading], question: str
) -> Iterator[_Passage]:
    for reading in readings:
        # A page's rows are one text: its own line ends are marks on it.
        for words, counts in _windows(reading.text.replace("\\\n", "").replace("\n", " ")):
            yield _Passage(words, counts, reading)
    for block in blocks:
        if block.kind in ("text", "result") and block.role != "tools" and block.text != question:
            for words, counts in _windows(block.text):
                yield _Passage(words, counts, None, block.role == "assistant")


@lru_cache(maxsize=1 << 10)  # the same pages come with each request
def _windows(text: str) -> tuple[tuple[str, Mapping[str, int]], ...]:
    """Each few sentences of a text, with how often each term occurs in them."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(text) if sentence.strip()]
    windows = (" ".join(sentences[at : at + _PASSAGE]) for at in range(0, len(sentences), 2))
    return tuple((words, Counter(terms(words))) for words in windows)


def _doubts(question: str, passage: _Passage) -> bool:
    """Whether what answers is hearsay, with no exact string beside its page for the answer."""
    if passage.reading is None:
        return passage.is_own
    wanted = set(terms(question)) - _COMMON
    sentences = _SENTENCE.split(passage.text)
    answering = max(sentences, key=lambda sentence: len(wanted.intersection(terms(sentence))))
    words = {word.strip(_ENDS) for word in _mended(answering, passage.reading).split()}
    return not any(a in words and a not in question for a in _anchors(passage.reading))


def _anchors(reading: Reading) -> list[str]:
    """The exact strings beside a page, plain words left out."""
    return sorted(anchor for anchor in reading.anchors if any(map(str.isdigit, anchor)))


def _mended(text: str, reading: Reading | None) -> str:
    """A text with the exact strings beside its page in place of what was nearly read so."""
    words, anchors = text.split(" "), _anchors(reading) if reading is not None else []
    for place, word in enumerate(words):
        if near := difflib.get_close_matches(word, anchors, 1, _LIKE):
            words[place] = near[0]
    return " ".join(words)
