"""Spans of a program that traces; nothing, and no words, otherwise."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from optimem import Memory
from optimem.errors import NotFoundError

WORDS = "the harbour of Zanzibar"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def use(memory: Memory) -> None:
    memory.append({"role": "user", "content": WORDS}, id="t0")
    memory.extend({"role": "user", "content": f"{WORDS} {number}"} for number in range(3))
    memory.context("openai:gpt-6-astra", 20_000)
    assert len(memory.recall("harbour of Zanzibar")) == 4
    with memory.fork("43"):
        pass
    memory.rewind("t0")
    memory.forget(["t0"])


def told(exporter: InMemorySpanExporter) -> list[tuple[str, dict[str, Any]]]:
    return [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()]


def test_each_verb_is_a_span_of_the_conventions(spans: InMemorySpanExporter) -> None:
    with Memory.open("memory://", "42", namespace="acme") as memory:
        use(memory)
    found = told(spans)
    assert [name for name, _ in found] == [
        "create_memory",
        "create_memory",
        "context",
        "search_memory",
        "create_memory_store",
        "delete_memory",
        "delete_memory",
    ]
    for name, attributes in found:
        assert attributes["gen_ai.operation.name"] == name
        assert attributes["gen_ai.conversation.id"] == "42"
        assert attributes["gen_ai.memory.store.id"] == "acme"
    assert found[0][1]["gen_ai.memory.record.id"] == "t0"
    assert found[1][1]["gen_ai.memory.record.count"] == 3
    assert found[2][1]["gen_ai.usage.input_tokens"] > 0
    assert found[3][1]["gen_ai.memory.record.count"] == 4
    assert found[6][1]["gen_ai.memory.record.count"] == 1
    assert {span.kind for span in spans.get_finished_spans()} == {trace.SpanKind.INTERNAL}


def test_words_are_left_out_unless_asked_for(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, expected in (("", False), ("true", True)):
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", setting)
        spans.clear()
        with Memory.open("memory://", "42") as memory:
            use(memory)
        text = str([(s.name, s.attributes, s.events) for s in spans.get_finished_spans()])
        assert ("Zanzibar" in text) is expected
    (search,) = (attributes for name, attributes in told(spans) if name == "search_memory")
    assert search["gen_ai.memory.query.text"] == "harbour of Zanzibar"
    assert WORDS in search["gen_ai.memory.records"]


def test_a_server_is_called_as_a_client(spans: InMemorySpanExporter, redis_url: str) -> None:
    with Memory.open(f"{redis_url}?prefix=spans", "\ud800") as memory:
        memory.append({"role": "user", "content": WORDS})
        memory.forget(session=True)
    assert {span.kind for span in spans.get_finished_spans()} == {trace.SpanKind.CLIENT}


def test_an_error_is_part_of_its_span(spans: InMemorySpanExporter) -> None:
    with Memory.open("memory://", "42") as memory, pytest.raises(NotFoundError):
        memory.rewind("nowhere")
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.events[0].name == "exception"


QUIET = """
import logging, sys
from optimem import Memory
with Memory.open("memory://", "42") as memory:
    memory.append({"role": "user", "content": "hello"})
    memory.recall("hello")
assert not any(name.startswith("opentelemetry") for name in sys.modules)
names = [name for name in logging.root.manager.loggerDict if name.startswith("optimem")]
assert not any(logging.getLogger(name).handlers for name in [None, *names])
"""


def test_without_tracing_nothing_is_imported_and_no_log_is_handled() -> None:
    subprocess.run([sys.executable, "-c", QUIET], check=True)


def test_a_busy_file_is_logged_and_not_printed(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "optimem")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Memory.open(url, "42") as memory, Memory.open(url, "42") as other:
        memory.append({"role": "user", "content": WORDS}, id="t0")
        with other.store._database.snapshot() as db:  # type: ignore[attr-defined]
            db.execute("SELECT * FROM turn").fetchone()
            memory.store._database.rows("PRAGMA busy_timeout = 0", ())  # type: ignore[attr-defined]
            memory.forget(["t0"])
    assert "is being read" in caplog.text and "Zanzibar" not in caplog.text
    assert capsys.readouterr() == ("", "")
