"""Messages in and out: what was ingested is exported, and the neutral view of it is right."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
)

from optimem import InputError, Memory
from optimem.messages import parse
from optimem.transcripts import parse_transcript, read_transcript
from optimem.values import Attachment, Json, Text, Thinking, ToolCall, ToolResult

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.json"))
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not a whole picture").decode()

# Words that the parser looks for, so that random values reach its depths.
KEYS = (
    "role content type text id name tool_calls function arguments tool_call_id tool_use_id input"
    " messages system data additional_kwargs image_url url source timestamp function_call"
).split()

# Any code point, lone surrogates and controls included.
texts = st.text(st.characters(codec=None), max_size=40)
names = st.text("abcdefgh_-0123456789", min_size=1, max_size=12)
numbers = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
json_values: st.SearchStrategy[Json] = st.recursive(
    numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(KEYS), inner)
    ),
    max_leaves=12,
)


def blocks_of(*kinds: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    return texts | st.lists(st.one_of(*kinds), min_size=1, max_size=3)


def text_block() -> st.SearchStrategy[dict[str, Any]]:
    return texts.map(lambda text: {"type": "text", "text": text})


# OpenAI

openai_images = st.sampled_from(
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,AAAA"}},
    ]
)


def openai_calls(draw: st.DrawFn, number: int) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 3))
    calls = [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": draw(names), "arguments": json.dumps(draw(json_values))},
        }
        for index in range(count)
    ]
    content = draw(st.none() | texts)
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw(texts)} for call in calls
    ]
    return [{"role": "assistant", "content": content, "tool_calls": calls}, *answers]


@st.composite
def openai_transcripts(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["say", "call", "system", "old call"]))
        if kind == "call":
            messages += openai_calls(draw, number)
        elif kind == "old call":
            call = {"name": draw(names), "arguments": "{}"}
            messages.append({"role": "assistant", "content": None, "function_call": call})
            messages.append({"role": "function", "name": call["name"], "content": draw(texts)})
        else:
            role = draw(st.sampled_from(["system", "developer"])) if kind == "system" else None
            role = role or draw(st.sampled_from(["user", "assistant"]))
            message: dict[str, Any] = {"role": role}
            message["content"] = draw(blocks_of(text_block(), openai_images))
            message |= draw(
                st.fixed_dictionaries(
                    {}, optional={"name": texts, "id": texts, "timestamp": numbers, "x": texts}
                )
            )
            messages.append(message)
    return messages


# Anthropic

anthropic_images = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "document", "title": "t", "source": {"type": "text", "data": "words"}},
    ]
)


@st.composite
def anthropic_transcripts(draw: st.DrawFn) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(blocks_of(text_block()))})
        use: dict[str, Any] = {"type": "tool_use", "id": f"toolu_{number}", "name": draw(names)}
        use["input"] = draw(st.dictionaries(texts, json_values, max_size=2))
        thinking = {"type": "thinking", "thinking": draw(texts), "signature": "c2ln"}
        messages.append({"role": "assistant", "content": [thinking, use]})
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": use["id"]}
        result["content"] = draw(blocks_of(text_block(), anthropic_images))
        result |= draw(st.sampled_from([{}, {"is_error": True}]))
        rest = draw(st.lists(st.one_of(text_block(), anthropic_images), max_size=1))
        messages.append({"role": "user", "content": [result, *rest]})
    system = draw(texts | st.lists(text_block(), min_size=1, max_size=2))
    return {"system": system, "messages": messages}


# LangChain


@st.composite
def langchain_messages(draw: st.DrawFn) -> list[BaseMessage]:
    image = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    messages: list[BaseMessage] = [SystemMessage(draw(texts))]
    for number in range(draw(st.integers(1, 3))):
        parts = [{"type": "text", "text": draw(texts)}, image]
        messages.append(HumanMessage(content=cast("Any", parts), id=f"human-{number}"))
        call = {"name": draw(names), "args": {"a": draw(numbers)}, "id": f"call_{number}"}
        broken = {"name": None, "args": "{", "id": f"broken_{number}", "error": draw(texts)}
        messages.append(
            AIMessage(
                draw(texts),
                tool_calls=cast("Any", [call]),
                invalid_tool_calls=cast("Any", [broken]),
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            )
        )
        for name, status in ((call["id"], "success"), (broken["id"], "error")):
            messages.append(
                ToolMessage(
                    content=draw(texts),
                    tool_call_id=str(name),
                    artifact=draw(json_values),
                    status=cast("Any", status),
                )
            )
    return messages


def through_memory(value: Json, folder: str | None = None) -> Json:
    """Ingest into a store, close it, open it again and export."""
    with tempfile.TemporaryDirectory() as place:
        url = f"sqlite:///{folder or place}/m.db"
        with Memory.open(url) as memory:
            memory.extend(parse_transcript(value))
        with Memory.open(url) as memory:
            return memory.export()


def exact(value: Json) -> str:
    """JSON text tells True from 1, 1 from 1.0 and 0.0 from -0.0."""
    return json.dumps(value)


@settings(max_examples=30)
@given(openai_transcripts())
@example([{"role": "user", "content": "\x00\x1b[31m\x7f \ud800 lone \udfff"}])
@example([{"role": "user", "content": ""}, {"role": "assistant", "content": []}])
@example([{"role": "user", "content": "same", "id": "a"}] * 2)
def test_openai_messages_come_back(messages: list[dict[str, Any]]) -> None:
    assert exact(through_memory(messages)) == exact(messages)
    assert exact(through_memory({"messages": messages})) == exact(messages)


@settings(max_examples=30)
@given(anthropic_transcripts())
def test_anthropic_messages_come_back(transcript: dict[str, Any]) -> None:
    assert exact(through_memory(transcript)) == exact(transcript)


@settings(max_examples=30)
@given(langchain_messages())
def test_langchain_messages_come_back(messages: list[BaseMessage]) -> None:
    dumped = [message_to_dict(message) for message in messages]
    assert exact(through_memory(dumped)) == exact(dumped)
    with Memory.open("memory://") as memory:  # as objects, too
        memory.extend(messages)
        assert exact(memory.export()) == exact(dumped)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_real_transcripts_come_back(path: Path, tmp_path: Path) -> None:
    messages = json.loads(path.read_text("utf-8"))["messages"]
    assert exact(through_memory({"messages": messages}, str(tmp_path))) == exact(messages)


@given(openai_transcripts(), st.booleans())
def test_files_are_read_like_values(messages: list[dict[str, Any]], escape: bool) -> None:
    """As an array, an object and JSON lines; U+2028 and its like stand in strings unescaped."""
    turns = parse_transcript(messages)
    lines = [json.dumps(message, ensure_ascii=True) for message in messages]
    if not escape:
        lines = [re.sub(r"(?<!\\)\\u2028", "\u2028", line) for line in lines]
        lines = [re.sub(r"(?<!\\)\\u0085", "\x85", line) for line in lines]
    forms = [json.dumps(messages), json.dumps({"messages": messages}), "\r\n".join(lines) + "\n"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "transcript")
        for form in forms:
            path.write_text(form, "utf-8", newline="")
            assert read_transcript(path) == turns


def test_a_line_separator_inside_a_string_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    line = '{"role": "user", "content": "one\u2028two\x85three"}\n'
    path.write_text(line * 2, "utf-8", newline="")
    assert [turn.text for turn in read_transcript(path)] == ["one\u2028two\x85three"] * 2


@given(openai_transcripts())
def test_ids_are_unique_and_the_same_when_read_again(messages: list[dict[str, Any]]) -> None:
    turns = parse_transcript(messages)
    ids = [turn.id for turn in turns]
    assert len(set(ids)) == len(ids)
    assert [turn.id for turn in parse_transcript(json.loads(json.dumps(messages)))] == ids
    longer = parse_transcript([*messages, {"role": "user", "content": "more"}])
    assert [turn.id for turn in longer][:-1] == ids


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (1700000000, 1700000000.0),
        (1.5, 1.5),
        ("2023-11-14T22:13:20Z", 1700000000.0),
        ("2023-11-14T23:13:20+01:00", 1700000000.0),
        ("2023-11-14T22:13:20", 1700000000.0),
        ("yesterday", None),
        (True, None),
        (10**400, None),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_times(stamp: Json, seconds: float | None) -> None:
    assert parse({"role": "user", "content": "", "timestamp": stamp}).time == seconds
    assert parse({"role": "user", "content": "", "time": stamp}).time == seconds


def test_an_openai_exchange_in_neutral_form() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": '{"a": 1}'}}
    assistant = parse({"role": "assistant", "content": "so", "tool_calls": [call]})
    assert assistant.parts == (Text("so"), ToolCall("c", "run", '{"a": 1}'))
    assert (assistant.role, assistant.dialect, assistant.calls) == ("assistant", "openai", ("c",))
    answer = parse({"role": "tool", "tool_call_id": "c", "content": "42"})
    assert answer.parts == (ToolResult("c", (Text("42"),)),)
    assert answer.answers == ("c",)
    assert parse({"role": "developer", "content": "x"}).role == "system"
    assert parse({"role": "user", "content": "x", "name": "ann", "id": "7"}).name == "ann"


def test_an_anthropic_exchange_in_neutral_form() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "run", "input": {"a": 1}},
    ]
    assistant = parse({"role": "assistant", "content": blocks})
    assert assistant.parts == (Thinking("hm"), ToolCall("t", "run", '{"a": 1}'))
    assert assistant.dialect == "anthropic"
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    inner = [{"type": "text", "text": "see"}, {"type": "image", "source": source}]
    result = {"type": "tool_result", "tool_use_id": "t", "content": inner, "is_error": True}
    answer = parse({"role": "user", "content": [result]})
    assert answer.role == "tool" and answer.answers == ("t",)
    (part,) = answer.parts
    assert isinstance(part, ToolResult) and part.is_error and part.parts[0] == Text("see")
    (image,) = answer.attachments
    assert (image.kind, image.media_type) == ("image", "image/png")
    assert image.data == base64.b64decode(PIXEL)
    mixed = parse({"role": "user", "content": [result, {"type": "text", "text": "and"}]})
    assert mixed.role == "user" and mixed.answers == ("t",)


def test_a_langchain_exchange_in_neutral_form() -> None:
    content = [{"type": "text", "text": "so"}, {"type": "tool_use", "id": "c", "name": "run"}]
    message = AIMessage(
        content=cast("Any", content),
        tool_calls=[{"name": "run", "args": {"a": 1}, "id": "c", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": "run", "args": "{", "id": "d", "error": "?", "type": "invalid_tool_call"}
        ],
    )
    turn = parse(message)
    assert turn.parts == (Text("so"), ToolCall("c", "run", '{"a": 1}'), ToolCall("d", "run", "{"))
    assert turn.dialect == "langchain" and turn.role == "assistant"
    answer = parse(ToolMessage("no", tool_call_id="c", status="error", id="t", name="run"))
    assert answer.parts == (ToolResult("c", (Text("no"),), is_error=True),)
    assert (answer.id, answer.name, answer.role) == ("t", "run", "tool")
    assert parse(AIMessageChunk(content="part")).role == "assistant"
    assert parse(SystemMessage("be brief")).role == "system"


@pytest.mark.parametrize(
    ("block", "kind", "media_type", "data", "url", "name"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,AAAA"}},
            *("image", "image/gif", b"\0\0\0", "", ""),
        ),
        (
            {"type": "image_url", "image_url": "https://example.org/x.png"},
            *("image", "", None, "https://example.org/x.png", ""),
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:a/b;base64,AAAA"}},
            *("file", "a/b", b"\0\0\0", "", "a.pdf"),
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}},
            *("image", "", None, "https://example.org/x.png", ""),
        ),
        (
            {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
            *("image", "image/png", b"\0\0\0", "", ""),
        ),
        ({"type": "from_the_future", "x": 1}, "file", "", None, "", "from_the_future"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,not base64!"}},
            *("image", "image/png", None, "", ""),
        ),
    ],
)
def test_attachments(
    block: Json, kind: str, media_type: str, data: bytes | None, url: str, name: str
) -> None:
    (found,) = parse({"role": "user", "content": [block]}).parts
    assert isinstance(found, Attachment)
    assert (found.kind, found.media_type, found.data, found.url, found.name) == (
        kind,
        media_type,
        data,
        url,
        name,
    )
    assert found.block == block


def nested(depth: int) -> Json:
    value: Json = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "wizard", "content": "x"}, "unknown role 'wizard'"),
        ({"content": "x"}, "unknown role None"),
        ("hello", "must be a JSON object such as"),
        ({"role": "user", "text": "hello"}, "a user message needs content, as in"),
        ({"role": "tool", "tool_call_id": "a"}, "a tool message needs content"),
        ({"role": "user", "content": 3}, "content must be text"),
        ({"role": "user", "content": [3]}, "a content block must be"),
        ({"role": "user", "content": [{"text": "x"}]}, "a content block must be"),
        ({"role": "tool", "content": "x"}, "needs the tool_call_id"),
        ({"role": "user", "content": [{"type": "tool_result"}]}, "needs the tool_use_id"),
        ({"role": "assistant", "tool_calls": 3}, "tool_calls must be a list"),
        ({"role": "assistant", "tool_calls": [3]}, "a tool call must be an object"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "needs the name"),
        ({"type": "wizard", "data": {"content": "x"}}, "unknown LangChain message type"),
        ({"role": "user", "content": "x", "deep": nested(5000)}, "nested too deeply"),
        ({"role": "user", "content": "x", "raw": b"x"}, "holds a bytes"),
        ({"role": "user", "content": "x", "odd": {1: 2}}, "must be strings"),
    ],
)
def test_what_cannot_be_read_says_why(message: Json, reason: str) -> None:
    with pytest.raises(InputError, match=reason), Memory.open("memory://") as memory:
        memory.append(message)
    with pytest.raises(InputError, match=reason):
        parse_transcript([{"role": "user", "content": "fine"}, message])


def test_nesting_that_is_read_can_be_stored_shown_and_exported() -> None:
    content: Json = "core"
    while True:
        result = {"type": "tool_result", "tool_use_id": "t", "content": content}
        call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
        messages = [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
        with Memory.open("memory://") as memory:
            try:
                memory.extend(messages)
            except InputError as error:
                assert "nested too deeply" in str(error)
                break
            memory.context("anthropic:claude-opus-5.5", 10_000).messages()
            assert memory.export() == messages
        content = [result]
    assert len(json.dumps(messages)) > 1000


def refused_or_read(value: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "transcript.json")
        path.write_bytes(value)
        try:
            turns = read_transcript(path)
        except InputError as error:
            assert str(error) and "\n" not in str(error)
            return
        with Memory.open("memory://") as memory:
            memory.extend(turns)
            assert len(memory.turns()) == len(turns)
            memory.flush()


messages_like = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "function"])},
        optional={key: json_values for key in KEYS if key != "role"},
    ),
    max_size=3,
)


@given(json_values | messages_like)
@example({"role": "user", "content": "x", "timestamp": 10**400})
@example({"type": "ai", "data": {"content": "x", "additional_kwargs": [1]}})
@example({"role": "user", "content": [{"type": "image", "source": {"data": "AAAA"}}]})
@example([])
@example({"messages": {}})
def test_any_json_is_read_or_refused(value: Json) -> None:
    refused_or_read(json.dumps(value).encode())


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE-tfn\n ', max_size=60).map(str.encode))
@example(b"1" * 5000)
@example(b"[" * 100_000)
@example(b'{"a":1}\n' + b"[" * 100_000)
@example(b"[" * 100_000 + b'\n{"a":1}')
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    refused_or_read(value)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_any_json_is_read_or_refused_at_length() -> None:
    settings(max_examples=4_000)(given(json_values | messages_like)(_read_value))()


def _read_value(value: Json) -> None:
    refused_or_read(json.dumps(value).encode())
