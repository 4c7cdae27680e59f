"""A context is the same again, whatever comes after it."""

from __future__ import annotations

import json
from typing import Any

from optimem import Memory
from optimem.demo import packaged_session


def say(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def test_the_same_context_again_is_the_same_bytes() -> None:
    with Memory.open("memory://") as session:
        session.append(say("system", "Be brief."))
        session.extend(packaged_session())
        once = json.dumps(session.context("gpt-6-astra", 20_000).request())
        assert json.dumps(session.context("gpt-6-astra", 20_000).request()) == once


def test_a_context_keeps_its_words_while_the_session_goes_on() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "one"))
        context = memory.context("gpt-6-astra", 1_000)
        memory.append(say("user", "two"))
        assert context.messages() == [say("user", "one")]
