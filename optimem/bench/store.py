"""What the stores cost beside their raw clients: `python -m optimem.bench.store [--turns N]`.

Each append is timed in turn with the same bytes written by the raw client, on the same
file system or server. Redis is measured when `redis-server` is installed; the benchmark
starts one of its own on a loopback port.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optimem.bench.report import Check, print_report
from optimem.ledger.facts import turn_facts
from optimem.memory import Memory
from optimem.messages import parse
from optimem.stores import Draft, codec, open_store
from optimem.tokens import find_counter
from optimem.values import Scope, Turn

_READER = "openai:gpt-6-astra"
_APPENDS = 2000
_CONTEXTS = 20
_SCOPE = Scope("bench", "appends")
_WORDS = 40  # a turn

_FLAT = """
import sys
from optimem.bench.store import messages
from optimem.memory import Memory
url, turns = sys.argv[1], int(sys.argv[2])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
with Memory.open(url, "flat", counter="chars") as memory:
    for number, message in enumerate(messages(turns)):
        memory.append(message)
        if number == turns // 5:
            before = resident()
print(before, resident())
"""
_FIRST = """
import sys, time
from optimem.memory import Memory
memory = Memory.open(sys.argv[1], "long")
begun = time.perf_counter()
memory.recall(sys.argv[2])
print(time.perf_counter() - begun)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser("optimem bench store")
    parser.add_argument("--turns", type=int, default=100_000, help="of the long session")
    turns = parser.parse_args(arguments).turns
    results: dict[str, Any] = {"turns": turns}
    checks: list[Check] = []
    rankings: list[object] = []
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as redis_url:
        homes = {
            "sqlite normal": f"sqlite:///{folder}/normal.db",
            "sqlite full": f"sqlite:///{folder}/full.db?synchronous=full",
        }
        if redis_url:
            homes["redis"] = redis_url
        for home, url in homes.items():
            raw = _raw_redis(url) if home == "redis" else _raw_sqlite(Path(folder), home)
            results[home] = found = _appends(url, raw)
            checks.append(Check(f"{home}: append beside raw", found["ratio"], "<=", 2, "x p50"))
        for home in [home for home in homes if home != "sqlite full"]:
            found = results[home]
            found.update(_long_session(homes[home], turns))
            rankings.append(found.pop("ranking"))
            checks += [
                Check(f"{home}: context, long to short", found["context_ratio"], "<=", 3, "x"),
                Check(f"{home}: recall", found["recall_ms"], "<=", 20, "ms p50"),
                Check(f"{home}: first recall", found["first_recall_ms"], "<=", 20, "ms p50"),
                Check(f"{home}: memory growth", found["growth_percent"], "<=", 5, "%"),
            ]
        same = float(all(ranking == rankings[0] for ranking in rankings))
        checks.append(Check("homes that rank alike", same, ">=", 1, "(1 = all)"))
    print_report("store", results, checks)


def messages(count: int) -> Iterator[dict[str, Any]]:
    """Turns of words as frequent as in natural text (Zipf's law), the same on every run."""
    dice = random.Random(7)
    letters = "bcdfghklmnprstvz"
    syllables = [a + b for a in letters for b in "aeiou"]
    vocabulary = ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(20_000)]
    weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(vocabulary))))
    for number in range(count):
        words = dice.choices(vocabulary, cum_weights=weights, k=_WORDS)
        yield {"role": "user", "content": f"{' '.join(words)} ref{number:06d}"}


def _appends(url: str, raw: Callable[[Turn], object]) -> dict[str, Any]:
    """Our appends and the raw client's, in turn; seconds, and the ratio of their medians."""
    counter = find_counter("chars")
    ours: list[float] = []
    theirs: list[float] = []
    with contextlib.closing(open_store(url)) as store:
        for number, message in enumerate(messages(_APPENDS)):
            turn = parse(message, id=f"turn-{number}", time=float(number))
            draft = Draft(turn, turn_facts(turn, counter))
            theirs.append(_seconds(partial(raw, turn)))
            ours.append(_seconds(partial(store.append, _SCOPE, [draft], {})))
    with Memory.open(url, "whole", counter="chars") as memory:
        whole = [_seconds(partial(memory.append, m)) for m in messages(_APPENDS)]
    return {
        "append_ms": _percentiles(ours),
        "raw_ms": _percentiles(theirs),
        "memory_append_ms": _percentiles(whole),
        "appends_per_second": round(len(ours) / sum(ours)),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 2),
    }


def _raw_sqlite(folder: Path, home: str) -> Callable[[Turn], object]:
    """One INSERT that is durable; for NORMAL also the search entry and the new version."""
    db = sqlite3.connect(folder / f"raw {home}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {home.split()[1]}")
    db.execute("CREATE TABLE turn (body BLOB)")
    db.execute("CREATE VIRTUAL TABLE search USING fts5(terms, content='')")
    db.execute("CREATE TABLE session (version INTEGER)")
    db.execute("INSERT INTO session VALUES (0)")

    def full(turn: Turn) -> None:
        db.execute("INSERT INTO turn VALUES (?)", (codec.encode_turn(turn),))

    def normal(turn: Turn) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO turn VALUES (?)", (codec.encode_turn(turn),))
        db.execute("INSERT INTO search (terms) VALUES (?)", (turn.text,))
        db.execute("UPDATE session SET version = version + 1")
        db.execute("COMMIT")

    return full if home.endswith("full") else normal


def _raw_redis(url: str) -> Callable[[Turn], object]:
    import redis

    client = redis.Redis.from_url(url)
    return lambda turn: client.xadd("raw", {b"turn": codec.encode_turn(turn)})


def _long_session(url: str, turns: int) -> dict[str, Any]:
    """Contexts and recall of a long session beside a short one."""
    contexts = {}
    found: dict[str, Any] = {}
    for name, count in (("short", 1000), ("long", turns)):
        with Memory.open(url, name, counter="chars") as memory:
            for batch in _batches(messages(count), 1000):
                memory.extend(batch)
            memory.context(_READER, 50_000)
            contexts[name] = statistics.median(_context_times(memory))
            if name == "long":
                memory.recall("warm up")
                queries = _queries()
                times = [_seconds(partial(memory.recall, query)) for query in queries]
                found["recall_ms"] = round(1000 * statistics.median(times), 2)
                found["ranking"] = [
                    [recalled.position for recalled in memory.recall(query, 10)]
                    for query in queries
                ]
    first = [float(_python(_FIRST, url, query)) for query in _queries()[:7]]
    before, after = map(int, _python(_FLAT, url, str(turns)).split())
    return {
        **found,
        "first_recall_ms": round(1000 * statistics.median(first), 2),
        "context_short_ms": round(1000 * contexts["short"], 2),
        "context_long_ms": round(1000 * contexts["long"], 2),
        "context_ratio": round(contexts["long"] / contexts["short"], 2),
        "growth_percent": round(100 * (after - before) / before, 1),
    }


def _context_times(memory: Memory) -> Iterator[float]:
    for message in itertools.islice(messages(_CONTEXTS), _CONTEXTS):
        memory.append(message)
        yield _seconds(lambda: memory.context(_READER, 50_000))


def _queries() -> list[str]:
    """Six words of one turn each, as a question would have; every fifth names a string."""
    dice = random.Random(11)
    texts = [message["content"].split() for message in messages(1000)]
    queries = [" ".join(dice.sample(dice.choice(texts)[:-1], 6)) for _ in range(20)]
    return [f"{q} ref000{n * 40:03d}" if n % 5 == 0 else q for n, q in enumerate(queries)]


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50": round(1000 * cuts[49], 3), "p99": round(1000 * cuts[98], 3)}


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[str | None]:
    """A server of our own, or None where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        print("redis-server is not installed: Redis is left out")
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
