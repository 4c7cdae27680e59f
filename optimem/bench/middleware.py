"""What OptiMemMiddleware adds to a model call: `python -m optimem.bench.middleware`.

A session of 1,000 messages in a Redis on loopback (`redis-server` must be in the path), and one
of 4,000; each call comes with a new message of the user and with messages that were read
anew, as a checkpointer gives them. Measured is all that happens in front of the model's own
request: the log brought in step, the plan, the pages as base64. Calls that draw new pages
are told apart. The ceiling is the round trip to Redis.

What must not grow with the session does not: the context. But the graph hands over all its
messages, which an edit may have changed, so each is compared once a run. What that adds is
held against what LangGraph itself takes to read as many messages from a checkpoint.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from optimem.bench.report import Check, print_report
from optimem.bench.store import running_redis

_CALLS = 60
_SHORT, _LONG = 1_000, 4_000  # messages
_WORDS = "The harbour of that town was built of grey stone, and the boats were painted blue. "


def main() -> None:
    """Measure, print, and end with one JSON line."""
    argparse.ArgumentParser("optimem bench middleware", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as url:
        if url is None:
            raise SystemExit("install redis-server: apt-get install redis-server")
        trip = _round_trip(url)
        short, long = (_measure(url, messages) for messages in (_SHORT, _LONG))
    reading = _reading(_LONG - _SHORT)
    added = long["cpu_p50_ms"] - short["cpu_p50_ms"]
    growth = round(100 * added / reading, 1)
    print(f"a round trip to Redis takes {trip:.2f} ms; {short['p50_ms'] / trip:.0f} of them a call")
    print(f"{_LONG - _SHORT:,} messages more add {added:.2f} ms; LangGraph reads them in {reading}")
    results = {"round_trip_ms": round(trip, 3), "messages_1000": short, "messages_4000": long}
    results |= {"added_ms": round(added, 2), "reading_them_ms": reading}
    checks = [
        Check("a call in a session of 1,000 messages", short["p50_ms"], "<=", 10, "ms p50"),
        Check("3,000 messages more", growth, "<=", 25, "% of LangGraph's reading them"),
    ]
    print_report("middleware", results, checks)


def _measure(url: str, count: int) -> dict[str, float]:
    """Milliseconds of calls late in a session of so many messages."""
    from langchain.agents.middleware import ModelRequest
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.messages import AIMessage
    from langgraph.runtime import ExecutionInfo, Runtime

    from optimem.integrations.langchain import OptiMemMiddleware

    middleware = OptiMemMiddleware(url, reader="openai:gpt-6-astra", budget=20_000)
    where = ExecutionInfo("", "model:0", "0", thread_id=f"bench-{count}")
    messages = [message for number in range(count // 2) for message in _said(number)]
    kept: list[tuple[float, float]] = []  # milliseconds of a call, and of the processor in it
    drawn: list[tuple[float, float]] = []
    pages: Any = None
    for number in range(count // 2, count // 2 + _CALLS):
        question, answer = _said(number)
        messages.append(question)
        anew = [message.model_copy(deep=True) for message in messages]
        request: ModelRequest[Any] = ModelRequest(
            model=FakeListChatModel(responses=["Noted."]),
            messages=anew,
            state={"messages": anew},
            runtime=Runtime(execution_info=where),
        )
        sent: list[Any] = []

        def handler(asked: Any, sent: list[Any] = sent) -> Any:
            sent.append(asked.messages)
            return AIMessage("Noted.")

        begun, worked = time.perf_counter(), time.process_time()
        middleware.wrap_model_call(request, handler)
        took = (time.perf_counter() - begun) * 1000, (time.process_time() - worked) * 1000
        first = number == count // 2
        if not first:  # which reads the whole session
            (kept if sent[0][0] is pages else drawn).append(took)
        pages = sent[0][0]
        messages.append(answer)
    middleware.close()
    walls, works = (sorted(times) for times in zip(*kept, strict=True))
    return {
        "p50_ms": round(statistics.median(walls), 2),
        "p95_ms": round(walls[int(len(walls) * 0.95)], 2),
        "cpu_p50_ms": round(statistics.median(works), 2),
        "calls": len(kept),
        "epochs": len(drawn),
        "epoch_p50_ms": round(statistics.median(wall for wall, _ in drawn), 2) if drawn else 0.0,
    }


def _said(number: int) -> list[Any]:
    from langchain_core.messages import AIMessage, HumanMessage

    text = f"Note {number}: {_WORDS * 8}"
    return [HumanMessage(text, id=f"h{number}"), AIMessage("Noted.", id=f"a{number}")]


def _reading(count: int) -> float:
    """Milliseconds in which LangGraph reads so many messages from a checkpoint."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    stored = JsonPlusSerializer()
    data = stored.dumps_typed([message for n in range(count // 2) for message in _said(n)])
    times = []
    for _ in range(20):
        worked = time.process_time()
        stored.loads_typed(data)
        times.append((time.process_time() - worked) * 1000)
    return round(statistics.median(times), 2)


def _round_trip(url: str) -> float:
    import redis

    client = redis.Redis.from_url(url)
    client.ping()
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        client.ping()
        times.append((time.perf_counter() - begun) * 1000)
    client.close()
    return statistics.median(times)


if __name__ == "__main__":
    main()
