"""Memory end to end, and the promises that hold for every log, reader and budget."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conversations import exchange, logs, say, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from optimem import BudgetError, ConflictError, InputError, Memory, NotFoundError
from optimem.context import Context
from optimem.demo import packaged_session
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget
from optimem.renderers.flow import flow_turn
from optimem.values import Entry, Turn

READERS = ("deepseek-ocr", "openai:gpt-6-astra", "anthropic:claude-opus-5.5")


def page_part(context: Context) -> str:
    """Everything in front of the first live turn, as it is sent."""
    messages = context.messages("openai")
    kinds = [segment.kind for segment in context.segments if segment.turn is not None]
    systems = kinds.count("system")
    shown = any(segment.turn is None for segment in context.segments)
    return json.dumps(messages[: systems + (1 if shown else 0)])


def shown_text(memory: Memory, context: Context) -> str:
    """What the pages, page texts and rest of a context say, joined."""
    pieces = [memory.page(n).words for n in range(context.plan.pages)]
    rest = [
        segment.text.partition(", as text: ")[2]
        for segment in context.segments
        if segment.kind == "rest"
    ]
    return "".join(pieces) + "".join(rest)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from(READERS), st.integers(200, 30_000))
def test_contexts_hold_every_turn_within_their_budget(
    log: list[dict[str, Any]], reader: str, budget: int
) -> None:
    budget = min(budget, 8192)
    with Memory.open("memory://") as memory:
        for message in log:
            memory.append(message)
            try:
                context = memory.context(reader, budget)
            except BudgetError as error:
                assert error.smallest is not None and error.smallest > budget
                if error.smallest > 8192:
                    return
                budget = error.smallest
                context = memory.context(reader, budget)
            assert context.tokens <= budget
            check_complete(memory, context)


def check_complete(memory: Memory, context: Context) -> None:
    """Each turn is whole as text or whole on pages, and no result stands without its call."""
    turns = memory.turns()
    head = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    frontier = max(context.plan.frontier, head)
    flowed = "".join(
        flow_turn(Entry(n, turn)).text for n, turn in enumerate(turns[:frontier]) if n >= head
    )
    assert shown_text(memory, context).startswith(flowed.strip())
    live = [segment.turn for segment in context.segments if segment.kind == "turn"]
    assert live == turns[frontier:]
    calls: set[str] = set()
    for turn in live:
        assert turn is not None and set(turn.answers) <= calls
        calls.update(turn.calls)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from(READERS), st.integers(3000, 8000))
def test_pages_stay_byte_identical_between_epochs(
    log: list[dict[str, Any]], reader: str, budget: int
) -> None:
    with Memory.open("memory://") as memory:
        before: tuple[int, str] | None = None
        for message in log:
            memory.append(message)
            try:
                context = memory.context(reader, budget)
            except BudgetError:
                continue
            if before is not None and before[0] == context.plan.epoch:
                assert page_part(context) == before[1]
            before = (context.plan.epoch, page_part(context))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(logs())
def test_pages_never_change_and_never_depend_on_when_they_were_laid_out(
    log: list[dict[str, Any]],
) -> None:
    with Memory.open("memory://") as step, Memory.open("memory://") as once:
        sealed: list[str] = []
        for message in log:
            step.append(message)
            pages = [page.hash for page in step.pages()]
            assert pages[: len(sealed)] == sealed
            sealed = pages
        once.extend(log)
        assert [page.hash for page in once.pages()] == sealed
        assert once.export() == log == step.export()


def test_tiers_never_rise_while_a_session_grows() -> None:
    with Memory.open("memory://") as memory:
        past: Sequence[Tier] = ()
        for turn in packaged_session():
            memory.append(turn)
            tiers = memory.context("openai:gpt-6-astra", 20_000).plan.tiers
            assert all(new >= old for old, new in zip(past, tiers, strict=False))
            assert len(tiers) >= len(past)
            past = tiers
        assert len(past) > 20 and len(set(past)) > 1


def test_a_page_never_costs_more_than_its_text() -> None:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        for reader in ("openai:gpt-4o-mini", "mistral:pixtral-large", "openai:gpt-6-astra"):
            context = memory.context(reader, 100_000)
            text = dict(enumerate(memory.pages()))
            for number, tier in enumerate(context.plan.tiers):
                cost = sum(s.tokens for s in context.segments if s.page == number)
                plain = context.reader.text_cost(memory._counter.count(text[number].text))
                assert cost <= plain, (reader, number, tier)


def test_a_session_that_fits_as_text_stays_text() -> None:
    with Memory.open("memory://") as memory:
        memory.extend([say("user", "hello"), say("assistant", "hi")])
        context = memory.context("openai:gpt-6-astra", 1000)
        assert context.messages() == [say("user", "hello"), say("assistant", "hi")]
        assert context.plan.tiers == ()


def test_one_turn_larger_than_the_budget_is_shown_as_pages_and_says_so() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", words(20_000, 1)))
        context = memory.context("deepseek-ocr", 8000)
        assert context.plan.overflow and context.tokens <= 8000
        assert "too large for the budget" in "".join(s.text for s in context.segments)
        check_complete(memory, context)
        memory.append(say("assistant", "Read it."))
        after = memory.context("deepseek-ocr", 8000)
        check_complete(memory, after)


def test_forgotten_pages_leave_one_line_that_counts_their_turns() -> None:
    policy = Epochs((AgeDecay(ladder=((Tier.TINY, 4), (Tier.FORGOTTEN, 8))), TokenBudget()))
    with Memory.open("memory://", policy=policy) as memory:
        memory.append(say("user", "the port is 6390"))
        for number in range(40):
            memory.append(say("user", words(400, number)))
        context = memory.context("openai:gpt-6-astra", 20_000)
        gone = context.plan.gone
        assert gone > 0 and Tier.FORGOTTEN not in context.plan.tiers
        notes = [s.text for s in context.segments if "no longer shown" in s.text]
        assert len(notes) == 1
        turns = int(notes[0].split()[0])
        assert all(span.position < turns for span in memory.page(gone - 1).spans if span.ends)
        assert memory.recall("which port?")[0].text == "the port is 6390"


def test_a_short_question_is_a_message_of_its_own_whatever_stands_before_it() -> None:
    dice, overflows = random.Random(0), 0
    with Memory.open("memory://") as memory:
        for number in range(60):
            memory.append(say("user", f"Question {number}: which way?"))
            context = memory.context("openai:gpt-6-astra", 4000)
            overflows += context.plan.overflow
            assert context.messages()[-1] == say("user", f"Question {number}: which way?")
            memory.append(say("assistant", words(dice.choice((5, 50, 300, 900)), number)))
    assert overflows > 10


def test_a_budget_beyond_the_window_is_refused_with_its_limit() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "hello"))
        with pytest.raises(BudgetError, match="8192"):
            memory.context("deepseek-ocr", 8193)
        with pytest.raises(BudgetError, match="smallest that works is"):
            memory.context("deepseek-ocr", 3)


def test_system_prompt_and_tools_count_and_never_fade() -> None:
    tools = [{"type": "function", "function": {"name": "run", "parameters": {"a": words(50, 1)}}}]
    with Memory.open("memory://") as memory:
        memory.append(say("system", "Be brief."))
        memory.extend([say("user", words(600, n)) for n in range(30)])
        plain = memory.context("openai:gpt-6-astra", 20_000)
        counted = memory.context("openai:gpt-6-astra", 20_000, tools=tools, system="Be kind.")
        assert counted.messages()[:2] == [say("system", "Be kind."), say("system", "Be brief.")]
        assert counted.request()["tools"] == tools
        assert counted.tokens - plain.tokens > 150
        assert all("Be brief" not in page.text for page in memory.pages())
        assert (
            memory.context("anthropic:claude-opus-5.5", 20_000).request()["system"] == "Be brief."
        )


def test_appending_again_is_a_retry_or_a_conflict() -> None:
    with Memory.open("memory://") as memory:
        assert memory.append(say("user", "one"), id="a", time=1.0) == "a"
        assert memory.append(say("user", "one"), id="a", time=2.0) == "a"
        with pytest.raises(ConflictError):
            memory.append(say("user", "two"), id="a")
        with pytest.raises(InputError, match="no call before it"):
            memory.append({"role": "tool", "tool_call_id": "x", "content": "?"})
        assert len(memory.turns()) == 1 and memory.turn("a").time == 1.0


def test_rewind_drops_what_is_behind_and_nothing_before() -> None:
    with Memory.open("memory://") as memory:
        ids = memory.extend([say("user", words(700, n)) for n in range(30)])
        pages = [page.hash for page in memory.pages()]
        memory.context("deepseek-ocr", 8000)
        memory.rewind(to=ids[14])
        assert memory.turns() == memory.turns(0, 15)
        kept = [page.hash for page in memory.pages()]
        assert kept == pages[: len(kept)] and len(kept) >= 4
        assert memory.recall(words(700, 20)[:60])[0].position < 15
        check_complete(memory, memory.context("deepseek-ocr", 8000))
        memory.extend([say("user", words(700, n)) for n in range(15, 30)])
        assert [page.hash for page in memory.pages()] == pages


def test_fork_goes_its_own_way() -> None:
    with Memory.open("memory://", session="a") as memory:
        memory.extend([say("user", words(700, n)) for n in range(15)])
        other = memory.fork("b")
        other.append(say("user", "only in b"))
        assert len(memory.turns()) == 15 and len(other.turns()) == 16
        assert [p.hash for p in other.pages()] == [p.hash for p in memory.pages()]
        assert other.recall("only in b")[0].position == 15
        assert all("only in b" not in found.text for found in memory.recall("only in b"))


def test_forget_removes_turns_their_pages_and_their_words() -> None:
    with Memory.open("memory://") as memory:
        ids = memory.extend([say("user", words(700, n)) for n in range(10)])
        secret = memory.append(say("user", "the secret is zanzibar-9"), id="secret")
        memory.extend([say("user", words(700, n)) for n in range(11, 20)])
        memory.context("deepseek-ocr", 8000).messages()
        receipt = memory.forget([secret, ids[3]])
        assert receipt.turns == 2 and receipt.pages > 0
        assert not any("zanzibar" in page.text for page in memory.pages())
        assert not any("zanzibar" in found.text for found in memory.recall("zanzibar-9 secret"))
        with pytest.raises(NotFoundError):
            memory.turn("secret")
        assert len(memory.turns()) == 18
        context = memory.context("deepseek-ocr", 8000)
        assert "zanzibar" not in json.dumps(context.messages("openai"))
        assert memory.forget(before=ids[2]).turns == 2
        assert memory.forget(session=True).turns == 16
        assert memory.turns() == []


def test_forgetting_a_result_takes_its_call_along() -> None:
    with Memory.open("memory://") as memory:
        memory.append(say("user", "go"))
        ids = memory.extend(exchange(1, [5, 5]))
        memory.append(say("user", "thanks"))
        assert memory.forget([ids[2]]).turns == 3
        assert [turn.role for turn in memory.turns()] == ["user", "user"]


def test_flush_seals_the_open_page_for_everyone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url) as memory, Memory.open(url) as other:
        memory.append(say("user", "short"))
        assert other.pages() == []
        page = memory.flush()
        assert page is not None and [p.hash for p in other.pages()] == [page.hash]
        other.append(say("user", words(3000, 2)))
        hashes = [p.hash for p in other.pages()]
        assert [p.hash for p in memory.pages()] == hashes and len(hashes) > 1
        assert memory.flush() is not None and memory.flush() is None


def test_odd_but_real_input_is_kept_and_drawn() -> None:
    odd = [
        "\x00\x01\x1b[31mred\x1b[0m\x7f",
        "lone \ud800 surrogate \udfff",
        "",
        "\U0010ffff",
        "\n\n",
    ]
    with Memory.open("memory://") as memory:
        memory.extend([say("user", text) for text in odd])
        page = memory.flush()
        assert page is not None
        assert memory.export() == [say("user", text) for text in odd]
        assert "\u2400\u2401red\u2421" in page.text and "\ud800" in page.text
        context = memory.context("openai:gpt-6-astra", 100_000)
        assert json.loads(json.dumps(context.messages())) == memory.export()


def test_an_image_fades_beside_its_page() -> None:
    out = io.BytesIO()
    Image.effect_noise((1600, 900), 80).save(out, "PNG")
    data = out.getvalue()
    block = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()},
    }
    with Memory.open("memory://") as memory:
        memory.append(
            {"role": "user", "content": [{"type": "text", "text": "look"}, block]}, id="x"
        )
        assert block in memory.context("openai:gpt-6-astra", 50_000).messages()[0]["content"]
        memory.extend([say("user", words(500, n)) for n in range(60)])
        sides = {}
        for budget in (60_000, 8_000):
            context = memory.context("openai:gpt-6-astra", budget)
            faded = [s for s in context.segments if s.kind == "attachment"]
            sides[budget] = faded[0].tier.side if faded else 0
            for segment in faded:
                with Image.open(io.BytesIO(context.image(segment)[1])) as image:
                    assert image.size == (segment.tier.side, round(segment.tier.side * 900 / 1600))
        assert sides[60_000] > sides[8_000] == 0
        assert "<image#0.0 image/png" in memory.page(0).text
        assert memory.turn("x").attachments[0].data == data


def test_several_threads_and_tasks_share_one_memory(tmp_path: Path) -> None:
    with Memory.open(f"sqlite:///{tmp_path}/m.db") as memory:

        def work(name: int) -> None:
            for number in range(20):
                memory.append(say("user", words(60, name * 100 + number)))
                memory.context("deepseek-ocr", 8000)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def tasks() -> None:
            await asyncio.gather(*(memory.aappend(say("user", str(n))) for n in range(20)))
            context = await memory.acontext("deepseek-ocr", 8000)
            assert context.tokens <= 8000
            assert (await memory.astats()).turns == 100
            assert await memory.arecall("w1") is not None
            assert await memory.arecall_page(0) == memory.recall_page(0)
            first = memory.turns()[0].id
            assert await memory.arecall_turn(first) == memory.recall_turn(first)
            place = "page 0, lines 2-5"
            found = await memory.arecall_place(place, "user")
            assert found and found == memory.recall_place(place, "user")
            await memory.arewind((await memory.aextend([say("user", "last")]))[0])

        asyncio.run(tasks())
        assert len(memory.turns()) == 101
        check_complete(memory, memory.context("deepseek-ocr", 8000))


def test_a_langchain_message_and_a_turn_are_taken_as_they_are() -> None:
    from langchain_core.messages import AIMessage, HumanMessage

    with Memory.open("memory://") as memory:
        memory.append(HumanMessage("hi", id="h"))
        memory.append(AIMessage("hello", id="a"))
        turn = memory.turn("h")
        assert isinstance(turn, Turn) and turn.text == "hi" and turn.dialect == "langchain"
        sent = memory.context("openai:gpt-6-astra", 1000).messages()
        assert sent == [say("user", "hi"), say("assistant", "hello")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("megabytes", [4, pytest.param(20, marks=pytest.mark.long)])
def test_a_huge_turn_is_kept_and_shown(megabytes: int) -> None:
    lines = (f"line {n}: {words(12, n)}\n" for n in range(11_500 * megabytes))
    text = "".join(lines)[: megabytes * 1000 * 1000]
    with Memory.open("memory://") as memory:
        memory.append(say("user", text), id="big")
        context = memory.context("openai:gpt-6-astra", 20_000)
        assert context.tokens <= 20_000 and context.plan.overflow
        assert memory.turn("big").message["content"] == text
        assert memory.recall(f"line {11_000 * megabytes}:")[0].id == "big"


def test_empty_content_is_kept_and_drawn() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    empty = [
        say("user", ""),
        {"role": "assistant", "content": []},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ]
    with Memory.open("memory://") as memory:
        memory.extend(empty)
        assert memory.context("openai:gpt-6-astra", 4000).messages() == empty
        memory.extend(say("user", words(400, n)) for n in range(20))
        assert memory.context("openai:gpt-6-astra", 4000).tokens <= 4000
        drawn = memory.page(0).words
        for sign in ("<user#0>", "<assistant#1>", "<user#2>", "<call#3 f>", "<tool#4>"):
            assert sign in drawn
        assert memory.export()[:5] == empty
        assert memory.recall("") == []
