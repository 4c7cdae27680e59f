"""Turns: equal content means equal turns, and nothing of a message is lost in the neutral form."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.messages import parse
from optimem.turns import Attachment, Text, ToolCall, ToolResult, Turn, dump_json

PICTURE = Attachment("image", "image/png", b"x", "", "", {"a": 1})


@given(st.text(st.characters(codec=None)))
def test_json_keeps_every_code_point(text: str) -> None:
    line = dump_json({"text": text})
    assert line.isascii() and json.loads(line) == {"text": text}


def test_values_are_frozen_and_equal_by_content() -> None:
    message = {"role": "user", "content": "x"}
    turn = parse(message, id="a")
    assert turn == parse(dict(message), id="a") and hash(turn) == hash(parse(message, id="a"))
    with pytest.raises(FrozenInstanceError):
        turn.id = "b"  # type: ignore[misc]


def test_an_attachment_is_named_by_its_bytes_or_else_its_block() -> None:
    one = PICTURE
    assert one.digest == replace(one, block={"a": 2}, name="other").digest
    reference = replace(one, data=None)
    assert reference.digest != replace(reference, block={"a": 2}).digest


def test_what_a_turn_says_calls_and_answers() -> None:
    result = ToolResult("c0", (Text("it is"), PICTURE, Text("grey")))
    parts = (Text("look"), ToolCall("c1", "see", '{"at": 1}'), PICTURE, result)
    turn = Turn("t", "assistant", parts, "", None, "openai", {})
    assert turn.text == 'look\nsee {"at": 1}\nit is\ngrey'
    assert (turn.calls, turn.answers) == (("c1",), ("c0",))
    assert turn.attachments == (PICTURE, PICTURE)  # those inside of results too
