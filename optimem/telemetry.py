"""Spans of OpenTelemetry around what a memory does; nothing where a program does not trace.

They follow the memory spans of the GenAI conventions (in development as of 2026): one for each
`append`, `recall`, `forget` and so on, with the session as `gen_ai.conversation.id`. Words are
left out unless `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is "true".

A program that sets up tracing has imported `opentelemetry.trace`; if it has not, it is not
imported here either. `pip install 'optimem[otel]'` brings it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from optimem.stores import Store
from optimem.values import Scope

_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

P = ParamSpec("P")
T = TypeVar("T")
Attributes = Mapping[str, str | int | Sequence[str]]


class _HasStore(Protocol):
    """What is traced: a memory."""

    store: Store
    scope: Scope


M = TypeVar("M", bound=_HasStore)


def traced(
    operation: str,
    of_result: Callable[[Any], Attributes] = lambda result: {},
    words: Callable[[Any], Attributes] = lambda result: {},
) -> Callable[[Callable[Concatenate[M, P], T]], Callable[Concatenate[M, P], T]]:
    """Put a span around each call of a memory's method.

    Args:
        operation: its name in the conventions, which names the span too.
        of_result: attributes that tell of the outcome, without words.
        words: attributes that hold words.
    """

    def decorate(method: Callable[Concatenate[M, P], T]) -> Callable[Concatenate[M, P], T]:
        @functools.wraps(method)
        def call(memory: M, /, *args: P.args, **kwargs: P.kwargs) -> T:
            trace = sys.modules.get("opentelemetry.trace")
            if trace is None:
                return method(memory, *args, **kwargs)
            with _span(trace, operation, memory) as span:
                query = args[0] if args else kwargs.get("query")
                result = method(memory, *args, **kwargs)
                if span.is_recording():
                    span.set_attributes(of_result(result))
                    if os.environ.get(_CONTENT, "").lower() == "true":
                        span.set_attributes(words(result))
                        if operation == "search_memory":
                            span.set_attribute("gen_ai.memory.query.text", str(query))
                return result

        return call

    return decorate


def ids(found: Sequence[str]) -> Attributes:
    """Attributes of records by their ids."""
    attributes: dict[str, str | int] = {"gen_ai.memory.record.count": len(found)}
    if len(found) == 1:
        attributes["gen_ai.memory.record.id"] = found[0]
    return attributes


def _span(trace: Any, operation: str, memory: _HasStore) -> Any:
    remote = memory.store.url.startswith("redis")
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.memory.store.id": memory.scope.namespace,
        "gen_ai.conversation.id": memory.scope.session,
    }
    return trace.get_tracer("optimem").start_as_current_span(
        operation,
        kind=trace.SpanKind.CLIENT if remote else trace.SpanKind.INTERNAL,
        attributes={name: _text(value) for name, value in attributes.items()},
    )


def _text(name: str) -> str:
    """A name without the lone surrogates that exporters cannot send."""
    return name.encode("utf-8", "replace").decode()
