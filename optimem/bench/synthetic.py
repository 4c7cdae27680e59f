"""Sessions as long as wanted, made of the packaged transcripts: for planning past one machine.

    session = generate(read_sources(tests), tokens=10_000_000, seed=7)

A session is one task after another. Each task is a transcript whose turns keep their sizes,
roles, calls and wording, while its numbers, hashes and rarer words are exchanged for others
of the same length: the same string is never two tasks' by accident, and what a task says
again of its own stays at the distance at which it was said.

Beyond a task's own beginning, turns refer back to strings and phrases of earlier tasks. How
often follows from the transcripts (`measure_distances`): from 8,000 tokens on, to where the
transcripts end, a turn of the user or the agent says again about as many strings for each
doubling of the distance. That is carried on to the session's beginning; beyond 64,000 tokens
it is an assumption. So are the pauses: seconds between tools, minutes of the user, and now
and then hours.
"""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import log
from pathlib import Path
from typing import Any

from optimem.anchors import find_anchors
from optimem.bench.recorded import PHRASE, Recorded, record
from optimem.errors import NotFoundError
from optimem.ledger.facts import turn_facts
from optimem.messages import parse
from optimem.tokens import find_counter
from optimem.transcripts import parse_transcript
from optimem.values import Json, Turn

NEAR = 8_000
"""Tokens from which on mentions are counted for the far ones' rate."""
_COMMON = 3  # transcripts that a word stands in to be left as it is
_KEPT = frozenset({"role", "type", "name", "tool_choice", "model"})
_IDS = frozenset({"id", "tool_call_id", "tool_use_id"})
_PIECES = re.compile(r"(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{7,}|[A-Za-z]{3,}|\d{3,}")
_HEX = "0123456789abcdef"
_ENVIRONMENTS = "coding_minisweagent"
_HEARD = "I have noted that."
_SEARCHED = 1_200  # characters of a turn that mentions are picked from
_PHRASE_WORDS = re.compile(r"[A-Za-z]{2,}(?: [A-Za-z]{2,}){5,}")


@dataclass(frozen=True, slots=True)
class Distances:
    """How far back turns of the user and the agent reach.

    Attributes:
        strings: exact strings that a turn says again for each e-fold of the distance.
        phrases: the same of rare phrases.
        table: by the least distance of a bin, (strings, phrases, a turn's strings and
            phrases per 1,000 tokens of that distance).
    """

    strings: float
    phrases: float
    table: dict[int, tuple[int, int, float, float]]


@dataclass(slots=True)
class Synthetic:
    """A generated session.

    Attributes:
        turns: its turns.
        times: seconds from its beginning at which each came.
        tasks: how many transcripts it is made of.
    """

    turns: list[Turn] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    tasks: int = 0


def read_sources(tests: Path) -> dict[str, list[dict[str, Json]]]:
    """The messages of the packaged transcripts that are in English.

    Raises:
        NotFoundError: the folder does not hold them.
    """
    found = sorted(tests.glob("transcripts/*.json"))
    if not found:
        raise NotFoundError(
            f"no transcripts in {tests}: they are in the repository, not in the installed"
            " package; name its tests folder: optimem bench policy PATH/TO/optimem/tests"
        )
    return {
        path.stem: json.loads(path.read_text("utf-8"))["messages"]
        for path in found
        if not path.stem.startswith("zh_")
    }


def measure_distances(sessions: Sequence[Recorded]) -> Distances:
    """What the transcripts say of how far back turns reach, in tokens to the newest mention."""
    edges = [(NEAR >> 3) << step for step in range(7)]
    told = {low: [0, 0, 0.0] for low in edges[:-1]}  # strings, phrases, tokens in reach
    for session in sessions:
        spent = [0]
        for facts in session.turns:
            spent.append(spent[-1] + facts.tokens)
        for low, high in zip(edges, edges[1:], strict=False):
            speaking = (
                spent[at]
                for at, facts in enumerate(session.turns)
                if facts.role in ("user", "assistant")
            )
            told[low][2] += sum(min(before, high) - low for before in speaking if before > low)
        for mention in session.mentions:
            back = spent[min(mention.turn, len(session.turns))] - spent[mention.places[0][0] + 1]
            low = max((edge for edge in edges if edge <= back), default=0)
            if low in told:
                told[low][mention.kind == "phrase"] += 1
    table = {
        low: (int(s), int(p), 1000 * s / max(room, 1), 1000 * p / max(room, 1))
        for low, (s, p, room) in told.items()
    }
    rates = []
    for column in (0, 1):
        # The rate that is c/d at distance d and gives as many mentions as were counted.
        counted = sum(told[low][column] for low in told if low >= NEAR)
        reach = sum(told[low][2] * log(2) / low for low in told if low >= NEAR)
        rates.append(counted / max(reach, 1e-9))
    return Distances(rates[0], rates[1], table)


def generate(
    sources: Mapping[str, Sequence[dict[str, Json]]],
    tokens: int,
    seed: int = 1,
    distances: Distances | None = None,
    turns: int = 0,
) -> Synthetic:
    """A session of about so many tokens; the same arguments always give the same one.

    Args:
        sources: messages of each transcript, from `read_sources`.
        tokens: at least how many tokens its turns have, by about a task.
        seed: of everything that is drawn.
        distances: how far back its turns reach; measured on the sources by default.
        turns: at least how many turns it has, by about a task.
    """
    if distances is None:
        distances = measure_distances(
            [record(name, parse_transcript(list(found))) for name, found in sources.items()]
        )
    return _Generator(sources, seed, distances).until(tokens, turns)


class _Generator:
    def __init__(
        self, sources: Mapping[str, Sequence[dict[str, Json]]], seed: int, distances: Distances
    ) -> None:
        self._draw = random.Random(seed)
        self._sources = sources
        self._distances = distances
        self._classes = _word_classes(sources, random.Random(seed))
        self._session = Synthetic()
        self._spent = [0]
        self._clock = 0.0

    def until(self, tokens: int, turns: int) -> Synthetic:
        names = sorted(self._sources)
        while self._spent[-1] < tokens or len(self._session.turns) < turns:
            self._task(names[self._draw.randrange(len(names))])
        return self._session

    def _task(self, name: str) -> None:
        number = self._session.tasks
        source = self._sources[name]
        alone = all(message["role"] == "user" for message in source)
        # Environments that answer in the user's role are no persons.
        person = not name.startswith(_ENVIRONMENTS)
        begun = self._spent[-1]
        rename = _Rename(self._classes, number, self._draw.getrandbits(32))
        for place, message in enumerate(source):
            if message["role"] == "system" and number:
                continue
            fresh = rename(message)
            turn = parse(fresh | {"id": f"t{len(self._session.turns)}"})
            if turn.role in ("user", "assistant"):
                said = self._references(begun)
                if said:
                    fresh = _with_text(fresh, said)
                    turn = parse(fresh | {"id": f"t{len(self._session.turns)}"})
            self._append(turn, turn.role == "user" and (person or place < 2))
            if alone:
                answer = {"role": "assistant", "content": _HEARD}
                self._append(parse(answer | {"id": f"t{len(self._session.turns)}"}), False)
        self._session.tasks += 1

    def _append(self, turn: Turn, waited: bool) -> None:
        self._clock += pause(self._draw, waited)
        self._session.turns.append(turn)
        self._session.times.append(round(self._clock, 1))
        facts = turn_facts(turn, _COUNTER)
        self._spent.append(self._spent[-1] + facts.tokens)

    def _references(self, begun: int) -> str:
        """What a turn says again of earlier tasks; "" mostly at a session's beginning."""
        now = self._spent[-1]
        least = max(now - begun, NEAR)
        if now <= least or begun == 0:
            return ""
        said = [
            *self._far(self._distances.strings, least, now, self._string),
            *self._far(self._distances.phrases, least, now, self._phrase),
        ]
        return f"(As before: {'; '.join(said)}.)" if said else ""

    def _far(self, rate: float, least: int, now: int, pick: Callable[[Turn], str]) -> Iterator[str]:
        for _ in range(_poisson(self._draw, rate * log(now / least))):
            distance = least * (now / least) ** self._draw.random()
            position = max(bisect_right(self._spent, now - distance) - 1, 0)
            found = pick(self._session.turns[position])
            if found:
                yield found

    def _string(self, turn: Turn) -> str:
        found = sorted({exact.text for exact in find_anchors(turn.text[:_SEARCHED])})
        found = [text for text in found if len(text) <= 80 and "\n" not in text]
        return self._draw.choice(found) if found else ""

    def _phrase(self, turn: Turn) -> str:
        found = list(_PHRASE_WORDS.finditer(turn.text[:_SEARCHED]))
        if not found:
            return ""
        words = self._draw.choice(found)[0].split(" ")
        length = min(len(words), self._draw.randint(PHRASE, 8))
        start = self._draw.randrange(len(words) - length + 1)
        return " ".join(words[start : start + length])


_COUNTER = find_counter()


def pause(draw: random.Random, waited: bool) -> float:
    """Seconds in front of a turn: some for a model or a tool, longer for a person.

    A person's minute is a median: one pause in seven is longer than five minutes, one in
    seventy longer than half an hour.
    """
    return draw.lognormvariate(log(60), 1.5) if waited else draw.lognormvariate(log(8), 0.8)


def clock(turns: Sequence[Turn], seed: int = 1) -> list[float]:
    """Seconds at which the turns of a transcript came, which does not say."""
    draw = random.Random(seed)
    people = {turn.role for turn in turns} != {"user", "assistant", "system"}
    pauses = (pause(draw, turn.role == "user" and people) for turn in turns)
    return [round(at, 1) for at in accumulate(pauses)]


def _poisson(draw: random.Random, mean: float) -> int:
    """How many of events that happen `mean` times on average."""
    count, left = 0, draw.expovariate(1.0)
    while left < mean:
        count += 1
        left += draw.expovariate(1.0)
    return count


class _Rename:
    """One task's own words: each rare word, number and hash becomes another one."""

    def __init__(
        self, classes: Mapping[str, tuple[str, list[str], int]], number: int, seed: int
    ) -> None:
        self._classes = classes
        self._number = number
        self._seed = seed
        self._known: dict[str, str] = {}

    def __call__(self, message: Mapping[str, Json]) -> dict[str, Json]:
        return {key: self._value(key, value) for key, value in message.items()}

    def _value(self, key: str, value: Json) -> Json:
        if isinstance(value, str):
            if key in _IDS:
                return f"{value}-{self._number}"
            if key == "arguments":
                return self._arguments(value)
            return value if key in _KEPT else self._text(value)
        if isinstance(value, Mapping):
            return {inner: self._value(inner, each) for inner, each in value.items()}
        if isinstance(value, list):
            return [self._value(key, each) for each in value]
        return value

    def _arguments(self, value: str) -> str:
        try:
            return json.dumps(self._value("", json.loads(value)), ensure_ascii=False)
        except ValueError:
            return value

    def _text(self, text: str) -> str:
        return _PIECES.sub(self._piece, text)

    def _piece(self, match: re.Match[str]) -> str:
        piece = match[0]
        if piece not in self._known:
            self._known[piece] = self._fresh(piece)
        return self._known[piece]

    def _fresh(self, piece: str) -> str:
        if piece in self._classes:
            name, words, place = self._classes[piece]
            shift = random.Random(f"{self._seed} {name}").randrange(len(words))
            return words[(place + shift) % len(words)]
        if piece.isalpha():
            return piece
        draw = random.Random(f"{self._seed} {piece}")
        if piece.isdecimal():
            return str(draw.randrange(10 ** (len(piece) - 1), 10 ** len(piece)))
        return "".join(draw.choice(_HEX) for _ in piece)


def _word_classes(
    sources: Mapping[str, Sequence[dict[str, Json]]], draw: random.Random
) -> dict[str, tuple[str, list[str], int]]:
    """Each rarer word with its class (length and case), the words of it, and its place there."""
    spread: Counter[str] = Counter()
    for messages in sources.values():
        text = "\n".join(parse(message).text for message in messages)
        spread.update(set(re.findall(r"[A-Za-z]{3,}", text)))
    classes: dict[str, list[str]] = defaultdict(list)
    for word in sorted(spread):
        if spread[word] < _COMMON:
            case = "lower" if word.islower() else "upper" if word.isupper() else "mixed"
            case = "title" if word.istitle() else case
            classes[f"{len(word)} {case}"].append(word)
    found: dict[str, tuple[str, list[str], int]] = {}
    for name, words in classes.items():
        draw.shuffle(words)
        found |= {word: (name, words, place) for place, word in enumerate(words)}
    return found


def _with_text(message: Mapping[str, Json], said: str) -> dict[str, Any]:
    """A message that says something more."""
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": said}]}
    return {**message, "content": f"{content}\n{said}" if content else said}
