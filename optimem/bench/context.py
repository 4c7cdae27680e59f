"""How long a context takes after one append: `python -m optimem.bench.context`.

A session of 5,000 turns in SQLite, made of the packaged one over and over, for three readers.
Each round appends a turn, makes the context and the client's request; PNGs of pages that an
epoch newly shows are drawn by a first, unmeasured request. The ceiling is what a program without
memory would do: dump the request that it already has as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from optimem.bench.report import Check, print_report
from optimem.demo import packaged_session
from optimem.memory import Memory
from optimem.values import Json, dump_json

_READERS = (
    ("openai:gpt-6-astra", 20_000),
    ("openai-responses:gpt-6-astra", 60_000),
    ("anthropic:claude-opus-5.5", 60_000),
    ("google:gemini-3.8-flash", 60_000),
)
_BATCH = 500


def main() -> None:
    """Measure, print, and end with one JSON line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=5_000)
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--json", action="store_true", help="as always: the last line is JSON")
    wanted = options.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        with Memory.open(url) as memory:
            turns = session()
            for start in range(0, wanted.turns, _BATCH):
                memory.extend(islice(turns, min(_BATCH, wanted.turns - start)))
            for reader, budget in _READERS:
                results[reader] = _measure(memory, turns, reader, budget, wanted.rounds)
    worst = max(row["processor_ms"] for row in results.values())
    checks = [Check("a context and its request after an append", worst, "<=", 5, "ms p50")]
    print_report("context", {"turns": wanted.turns, "readers": results}, checks)


def session() -> Iterator[dict[str, Json]]:
    """The packaged session over and over, its calls with ids of their own each time."""
    said = [(turn, dump_json(dict(turn.message))) for turn in packaged_session()]
    for number, (turn, text) in ((number, each) for number in count() for each in said):
        for call in turn.calls + turn.answers:
            text = text.replace(call, f"{call}-{number}")
        message: dict[str, Json] = json.loads(text)
        message.pop("id", None)
        yield message


def _measure(
    memory: Memory, turns: Iterator[dict[str, Json]], reader: str, budget: int, rounds: int
) -> dict[str, Any]:
    wall, processor = [], []
    context = memory.context(reader, budget)
    request = context.request()
    for _ in range(rounds):
        memory.append(next(turns))
        memory.context(reader, budget).request()  # what an epoch draws
        memory.append(next(turns))
        begun, spent = time.perf_counter(), time.thread_time()
        context = memory.context(reader, budget)
        request = context.request()
        processor.append(time.thread_time() - spent)
        wall.append(time.perf_counter() - begun)
    ceiling = [_seconds(lambda: json.dumps(request, default=len)) for _ in range(9)]
    images = sum(segment.is_image for segment in context.segments)
    row = {
        "budget": budget,
        "tokens": context.tokens,
        "pages": len(context.plan.tiers),
        "images": images,
        "text_turns": sum(segment.kind == "turn" for segment in context.segments),
        "wall_ms": _middle(wall),
        "processor_ms": _middle(processor),
        "json_ms": _middle(ceiling),
    }
    print(
        f"{reader} at {budget:,}: {row['processor_ms']} ms of the processor, {row['wall_ms']} of"
        f" the clock, p50, with {images} images; as JSON alone {row['json_ms']}"
    )
    return row


def _seconds(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def _middle(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 2)


if __name__ == "__main__":
    main()
