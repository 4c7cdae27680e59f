"""A session laid out once, so that many policies can be replayed over it on facts alone.

Besides the facts that planning needs it holds what a later turn took from an earlier one:
the *mentions*, each an exact string or a rare phrase, with all the earlier places where a
reader could have found it. They are what `optimem.bench.evidence` weighs.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from optimem.anchors import find_anchors
from optimem.exact import Exact
from optimem.ledger.facts import page_facts, turn_facts
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.page import stamp
from optimem.settings import Settings
from optimem.tokens import find_counter
from optimem.values import Entry, Page, PageFacts, Turn, TurnFacts

PHRASE = 4
"""Words that a phrase has at least."""
LONGEST_PHRASE = 12
RARE = 3
"""The most turns that a rare phrase stands in."""
_PLACES = 8  # newest ones that are kept of a mention
CAPTION = Settings("o200k").caption_tokens
"""The most tokens beside a page, as `Memory` has it."""
_WORD = re.compile(r"[a-z]{2,}|[\u4e00-\u9fff]")
_ODD = 0x9E3779B97F4A7C15 - (1 << 64)

Place = tuple[int, int]
"""A turn's position and a page's number."""


@dataclass(frozen=True, slots=True)
class Mention:
    """What a turn says again of earlier ones.

    Attributes:
        turn: position of the turn that says it again; of the session's end for an answer.
        text: the exact string, or the words of a phrase.
        kind: the exact string's, or "phrase".
        size: characters of a string, words of a phrase.
        script: of a phrase, "latin" or "han".
        places: where it stood before, newest first.
    """

    turn: int
    text: str
    kind: str
    size: int
    places: tuple[Place, ...]
    script: str = "latin"


@dataclass(slots=True)
class Recorded:
    """A session's facts.

    Attributes:
        name: what it is called in tables.
        turns: facts of each turn.
        pages: facts of each page, the last one flushed included.
        sealed: by page, how many turns the log has when it is there.
        strings: by page, the exact strings on it, each with its turn's position.
        characters: of each turn, as pages say it.
        starts: of each turn, the number of the page on which it begins.
        mentions: in the order of their turns.
        times: seconds at which each turn came.
    """

    name: str
    turns: list[TurnFacts]
    pages: list[PageFacts] = field(default_factory=list)
    sealed: list[int] = field(default_factory=list)
    strings: list[list[tuple[Exact, int]]] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """As text, in the tokens of the session's counter."""
        return sum(facts.tokens for facts in self.turns)

    def spent(self) -> list[int]:
        """Tokens in front of each position, and of all turns."""
        return [0, *accumulate(facts.tokens for facts in self.turns)]

    def requests(self) -> list[int]:
        """How many turns the log has at each request: whenever the model was to speak."""
        found = []
        for n in range(1, len(self.turns) + 1):
            last = self.turns[n - 1].role
            after = self.turns[n].role if n < len(self.turns) else "assistant"
            if last in ("user", "tool") and after != "tool":
                found.append(n)
        return found


def record(name: str, turns: Sequence[Turn], times: Sequence[float] | None = None) -> Recorded:
    """Lay a session out and find what its turns say again.

    Args:
        name: what to call it.
        turns: its turns.
        times: seconds at which each turn came; by default those of the turns, 0 without.
    """
    recorded, pages = lay_out(name, turns, times)
    recorded.mentions = sorted(
        (*_strings(recorded, pages), *_phrases(recorded, pages)), key=lambda found: found.turn
    )
    return recorded


def lay_out(
    name: str, turns: Sequence[Turn], times: Sequence[float] | None = None
) -> tuple[Recorded, list[Page]]:
    """A session's facts, which planning goes by, without mentions; and its pages."""
    counter = find_counter()
    count = lru_cache(maxsize=1 << 16)(counter.count)
    moments = list(times) if times else [turn.time or 0.0 for turn in turns]
    facts_of = (turn_facts(turn, counter) for turn in turns)
    timed = [replace(facts, time=at) for facts, at in zip(facts_of, moments, strict=True)]
    recorded = Recorded(name, timed, times=moments)
    head = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    pages: list[Page] = []
    atlas = load_atlas()
    builder = PageBuilder(atlas.cells, PageStyle().key(atlas.key), 0, (head, 0), "auto")
    for position in range(head, len(turns)):
        for page in builder.add(Entry(position, turns[position])):
            pages.append(stamp(page))
            recorded.sealed.append(position + 1)
    last = builder.flush()
    if last is not None:
        pages.append(stamp(last))
        recorded.sealed.append(len(turns) + 1)
    facts = page_facts(pages, (), lambda number: pages[number], counter, count, CAPTION)
    recorded.pages = list(facts)
    recorded.characters, recorded.starts = [0] * len(turns), [0] * len(turns)
    for page in pages:
        for span in page.spans:
            recorded.characters[span.position] += span.stop - span.start
            if span.begins:
                recorded.starts[span.position] = page.number
    return recorded, pages


def _speaks(facts: TurnFacts) -> bool:
    """Whether a turn is said from memory; what tools print is not."""
    return facts.role in ("user", "assistant")


def _strings(recorded: Recorded, pages: Sequence[Page]) -> Iterator[Mention]:
    places: dict[str, list[Place]] = defaultdict(list)
    before = ""
    for page in pages:
        running = not page.spans[0].begins
        found = find_anchors(page.words, before if running else "", cut=not page.spans[-1].ends)
        before = page.words
        starts = [span.start for span in page.spans]
        said: set[tuple[int, str]] = set()
        recorded.strings.append([])
        for exact in found:
            # The places of words and rows differ by the marks of split words, a few a page.
            span = page.spans[max(bisect_left(starts, exact.start + 1) - 1, 0)]
            turn = span.position
            if (turn, exact.text) in said:
                continue
            said.add((turn, exact.text))
            recorded.strings[-1].append((exact, turn))
            known = places[exact.text]
            if known and known[-1][0] < turn and _speaks(recorded.turns[turn]):
                newest = tuple(reversed(known[-_PLACES:]))
                yield Mention(turn, exact.text, exact.kind, len(exact.text), newest)
            known.append((turn, page.number))


def _phrases(recorded: Recorded, pages: Sequence[Page]) -> Iterator[Mention]:
    ids: dict[str, int] = {}
    words: list[int] = []
    turn_of: list[int] = []
    page_of: list[int] = []
    for page in pages:
        for span in page.spans:
            found = _WORD.findall(page.text[span.start : span.stop].lower())
            words += [ids.setdefault(word, len(ids)) for word in found]
            turn_of += [span.position] * len(found)
            page_of += [page.number] * len(found)
    if len(words) < PHRASE:
        return
    yield from _repeats(recorded, np.array(words), np.array(turn_of), np.array(page_of), list(ids))


def _repeats(
    recorded: Recorded,
    words: npt.NDArray[np.int64],
    turns: npt.NDArray[np.int64],
    pages: npt.NDArray[np.int64],
    vocabulary: Sequence[str],
) -> Iterator[Mention]:
    """Runs of words that a few turns have in common."""
    count = len(words) - PHRASE + 1
    keys = np.zeros(count, np.int64)
    with np.errstate(over="ignore"):
        for at in range(PHRASE):
            keys = keys * np.int64(_ODD) + words[at : at + count] + 1
    keys[turns[:count] != turns[PHRASE - 1 :]] = np.arange(count)[
        turns[:count] != turns[PHRASE - 1 :]
    ] * np.int64(-2)  # runs over two turns equal no other
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sizes = np.diff(np.r_[starts, count])
    source = np.full(count, -1, np.int64)  # of each run, the newest earlier one
    speaks = np.array([_speaks(facts) for facts in recorded.turns])
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        where = turns[group]
        distinct = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
        if not 1 < len(distinct) <= RARE:
            continue
        for index in distinct[1:]:
            if speaks[where[index]]:
                source[group[index]] = group[index - 1]
    hits = np.flatnonzero(source >= 0)
    if not len(hits):
        return
    joined = (np.diff(hits) == 1) & (np.diff(turns[hits]) == 0)
    for run in np.split(hits, np.flatnonzero(~joined) + 1):
        first = int(run[0])
        length = min(len(run) + PHRASE - 1, LONGEST_PHRASE)
        at = int(source[first])
        said = [vocabulary[int(word)] for word in words[first : first + length]]
        script = "latin" if said[0].isascii() else "han"
        text = (" " if script == "latin" else "").join(said)
        place = (int(turns[at]), int(pages[at]))
        yield Mention(int(turns[first]), text, "phrase", length, (place,), script)
