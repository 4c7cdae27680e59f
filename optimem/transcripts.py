"""Whole conversations in, from values or files, and back as they came."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optimem.errors import InputError
from optimem.messages import SYSTEM_APART, message_digest, own_id, parse
from optimem.values import Json, Turn


def parse_transcript(value: Json) -> list[Turn]:
    """Read a whole conversation: a list of messages, or an object with `messages`.

    Turns get ids from their content and place, so reading the same conversation again,
    or a longer version of it, gives the same ids for the same messages.

    Raises:
        InputError: naming the first message that cannot be read.
    """
    system: Json = None
    if isinstance(value, Mapping) and "messages" in value:
        system, value = value.get("system"), value["messages"]
    elif isinstance(value, Mapping) and ("role" in value or "data" in value):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError('a transcript is a list of messages, or an object with "messages"')
    turns: list[Turn] = []
    seen: set[str] = set()
    if system is not None:
        turns.append(_system_turn(system))
    for index, message in enumerate(value):
        try:
            turn = parse(message)
        except InputError as error:
            raise InputError(f"message {index + 1}: {error}") from None
        if not own_id(message) or turn.id in seen:  # an id said twice names two messages
            turn = replace(turn, id=message_digest(message, index))
        seen.add(turn.id)
        turns.append(turn)
    if not turns:
        raise InputError("the transcript has no messages")
    check_pairs(turns)
    return turns


def read_transcript(path: Path) -> list[Turn]:
    """Read a conversation from a JSON or JSON-lines file.

    Raises:
        InputError: the file cannot be read or is no transcript.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a transcript file")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from None
    if not text.strip():
        raise InputError(f"{path} is empty: a transcript has at least one message")
    try:
        return parse_transcript(_load(text))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def to_transcript(turns: Iterable[Turn]) -> Json:
    """The inverse of `parse_transcript`: the messages as they came."""
    messages = [turn.message for turn in turns]
    if messages and messages[0].get("type") == SYSTEM_APART:
        return {"system": messages[0]["content"], "messages": messages[1:]}
    return messages


def check_pairs(turns: Iterable[Turn], is_known: Callable[[str], bool] | None = None) -> None:
    """Raise InputError for the first tool result whose call is neither before it nor known."""
    calls: set[str] = set()
    for turn in turns:
        for call_id in turn.answers:
            if call_id not in calls and not (is_known and is_known(call_id)):
                raise InputError(
                    f"the tool result {call_id!r} has no call before it:"
                    " append the assistant's message with that call first"
                )
        calls.update(turn.calls)


def _system_turn(system: Json) -> Turn:
    message = {"type": SYSTEM_APART, "role": "system", "content": system}
    return parse(message)


def _load(text: str) -> Json:
    try:
        return _json(text)
    except InputError as error:
        whole = error
    # Only line feeds: other line ends may stand inside a string.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        is_lines = len(lines) > 1 and isinstance(_json(lines[0][1]), Mapping)
    except InputError:
        is_lines = False
    if not is_lines:
        raise whole
    return [_json(line, number) for number, line in lines]


def _json(text: str, line: int = 0) -> Json:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = line or error.lineno
        raise InputError(f"not valid JSON: {error.msg} at line {place}") from None
    except RecursionError:
        raise InputError("the JSON is nested too deeply to read") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise InputError(f"the JSON cannot be read: {error}") from None
