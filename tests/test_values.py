"""Values: equal content means equal values and names, wherever they are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import InputError
from optimem.messages import parse
from optimem.values import Attachment, Page, PageFacts, Scope, Span, dump_json

PAGE = Page(0, ("<user#0> one", " two"), (Span(0, "user", 0, 16, True, True),), (), (1, 0), "s")


@given(st.text(st.characters(codec=None)))
def test_json_keeps_every_code_point(text: str) -> None:
    line = dump_json({"text": text})
    assert line.isascii() and json.loads(line) == {"text": text}


@pytest.mark.parametrize("names", [("default", 42), (None, "42")])
def test_sessions_are_named_by_strings(names: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="is named by a string, not"):
        Scope(*names)


def test_values_are_frozen_and_equal_by_content() -> None:
    message = {"role": "user", "content": "x"}
    turn = parse(message, id="a")
    assert turn == parse(dict(message), id="a") and hash(turn) == hash(parse(message, id="a"))
    with pytest.raises(FrozenInstanceError):
        turn.id = "b"  # type: ignore[misc]


def test_a_page_is_named_by_its_text_bands_and_style() -> None:
    assert PAGE.text == "<user#0> one two"
    assert replace(PAGE, number=7).hash == PAGE.hash
    others = [
        replace(PAGE, rows=("<user#0> one", " too")),
        replace(PAGE, rows=("<user#0> one two",)),
        replace(PAGE, spans=(Span(0, "assistant", 0, 16, True, True),)),
        replace(PAGE, style="t"),
    ]
    assert len({page.hash for page in (PAGE, *others)}) == 5
    assert len(replace(PAGE, rows=("\ud800",)).hash) == 64


def test_ids_and_hashes_are_the_same_in_another_process() -> None:
    code = f"""
from optimem.messages import parse
from optimem.values import Page, Span
print(parse({{'role': 'user', 'content': 'x'}}).id, {PAGE!r}.hash)
"""
    here = f"{parse({'role': 'user', 'content': 'x'}).id} {PAGE.hash}"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == here


def test_captions_name_the_turns_and_the_exact_strings() -> None:
    facts = PageFacts(3, "h", 7, 7, 8, 100)
    assert facts.caption == "Page 3, turns 7"
    assert replace(facts, last=9, anchors=("a.py", "0x1f")).caption == (
        "Page 3, turns 7-9, exact: a.py 0x1f"
    )


def test_an_attachment_is_named_by_its_bytes_or_else_its_block() -> None:
    one = Attachment("image", "image/png", b"x", "", "", {"a": 1})
    assert one.digest == replace(one, block={"a": 2}, name="other").digest
    reference = replace(one, data=None)
    assert reference.digest != replace(reference, block={"a": 2}).digest
