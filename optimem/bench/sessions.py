"""The sessions that `optimem bench policy` replays: packaged transcripts and generated ones."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from optimem.bench.answers import read_answers
from optimem.bench.growth import Sources
from optimem.bench.recorded import Recorded, record
from optimem.bench.synthetic import Distances, clock, generate, measure_distances, read_sources
from optimem.memory import Memory
from optimem.transcripts import read_transcript
from optimem.values import Turn


@dataclass(slots=True)
class Sessions:
    """What is replayed.

    Attributes:
        sources: messages of the transcripts that others are generated from.
        transcripts: the packaged ones, laid out.
        turns: theirs, for recall.
        distances: how far back they reach.
        generated: by size's name.
        seconds: processor time that generating and laying out each took.
    """

    sources: Sources
    transcripts: list[Recorded] = field(default_factory=list)
    turns: list[list[Turn]] = field(default_factory=list)
    distances: Distances = field(default_factory=lambda: Distances(0, 0, {}))
    generated: dict[str, Recorded] = field(default_factory=dict)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)


def read_sessions(tests: Path) -> Sessions:
    """The packaged transcripts, laid out."""
    sessions = Sessions(read_sources(tests))
    for path in sorted((tests / "transcripts").glob("*.json")):
        turns = read_transcript(path)
        recorded = record(path.stem, turns, clock(turns))
        recorded.mentions += read_answers(tests, path, recorded, turns)
        sessions.transcripts.append(recorded)
        sessions.turns.append(turns)
    sessions.distances = measure_distances(
        [each for each in sessions.transcripts if each.name in sessions.sources]
    )
    return sessions


def generate_sessions(sessions: Sessions, sizes: dict[str, int]) -> None:
    """Add generated ones of so many tokens."""
    for name, size in sizes.items():
        begun = time.process_time()
        made = generate(sessions.sources, size, seed=1, distances=sessions.distances)
        generated = time.process_time()
        sessions.generated[name] = record(name, made.turns, made.times)
        laid_out = time.process_time()
        sessions.seconds[name] = (round(generated - begun, 1), round(laid_out - generated, 1))


def measure_recall(sessions: Sessions, each: int = 25) -> float:
    """The share of mentions whose words find the turn that they stood in, among 5 earlier ones."""
    draw, hits, asked = random.Random(1), 0, 0
    for recorded, turns in zip(sessions.transcripts, sessions.turns, strict=True):
        with Memory.open("memory://") as memory:
            memory.extend(turns)
            mentions = [m for m in recorded.mentions if m.turn < len(turns)]
            for mention in draw.sample(mentions, min(each, len(mentions))):
                found = memory.recall(mention.text, limit=30)
                earlier = [each.position for each in found if each.position < mention.turn][:5]
                hits += any(turn in earlier for turn, _ in mention.places)
                asked += 1
    return round(100 * hits / asked, 1)
