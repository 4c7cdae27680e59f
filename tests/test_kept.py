"""Turns that stay as text beside their fading pages: pinned, salient, and what recall renews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimem import Memory, Tier
from optimem.memory import Memory as Session
from optimem.messages import parse
from optimem.policies import AgeDecay, Epochs, Pinned, Rehearsal, Salience, TokenBudget
from optimem.policies.salience import score
from optimem.values import Plan, Segment, Turn

READER = "deepseek-ocr"
WORDS = "the quick brown fox jumps over the lazy dog and then goes home to rest "
LADDER = AgeDecay(ladder=((Tier.BASE, 4), (Tier.TINY, 20)))


def say(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


def exchange(name: str, result: str) -> list[dict[str, Any]]:
    function = {"name": "run", "arguments": "{}"}
    calls = [{"id": name, "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": name, "content": result},
    ]


def filled(policy: Any, notes: dict[int, str], turns: int = 60, url: str = "memory://") -> Session:
    memory = Memory.open(url, policy=policy, counter="chars")
    for number in range(turns):
        memory.append(
            say(notes.get(number, WORDS * 12), "user" if number in notes else "assistant")
        )
    return memory


def kept(segments: tuple[Segment, ...]) -> list[str]:
    return [segment.text for segment in segments if segment.kind == "kept"]


def test_a_pinned_turn_stands_word_for_word_beside_its_page() -> None:
    policy = Epochs((LADDER, Pinned(patterns=["never deploy"]), TokenBudget()))
    with filled(policy, {3: "We never deploy on Fridays."}) as memory:
        context = memory.context(READER, budget=7000)
        (text,) = kept(context.segments)
        assert text == "From turn 3, user, word for word: We never deploy on Fridays."
        (mark,) = context.plan.kept
        kinds = [(s.kind, s.page) for s in context.segments if s.page == mark.last]
        assert kinds == [("caption", mark.last), ("kept", mark.last), ("page", mark.last)]
        assert context.tokens == sum(segment.tokens for segment in context.segments) <= 7000
        assert "pinned by the pattern never deploy" in context.plan.explain(mark.last)
        block = context.messages()[0]["content"]
        assert {"type": "text", "text": text} in block


def test_pins_stay_when_their_page_is_forgotten_and_the_budget_counts_them() -> None:
    gone = AgeDecay(ladder=((Tier.TINY, 4), (Tier.FORGOTTEN, 8)))
    policy = Epochs((gone, Pinned(roles=["user"]), TokenBudget()))
    with filled(policy, {3: "Always answer in French.", 9: "Use tabs."}) as memory:
        for budget in (3000, 7000):
            context = memory.context(READER, budget=budget)
            assert context.plan.gone > 0 and context.tokens <= budget
            assert [text.split(": ")[1] for text in kept(context.segments)] == [
                "Always answer in French.",
                "Use tabs.",
            ]
        memory.extend(say(WORDS * 12, "assistant") for _ in range(40))
        assert len(kept(memory.context(READER, budget=3000).segments)) == 2


def test_a_call_is_kept_with_its_result() -> None:
    policy = Epochs((LADDER, Pinned(patterns=["sesame"]), TokenBudget()))
    with Memory.open("memory://", policy=policy, counter="chars") as memory:
        memory.extend([say("go"), *exchange("a", "open sesame")])
        memory.extend(say(WORDS * 12, "assistant") for _ in range(40))
        context = memory.context(READER, budget=7000)
        ((start, stop, *_),) = context.plan.kept
        assert (start, stop) == (1, 3)
        assert kept(context.segments) == [
            "From turn 1, assistant, word for word: run {}\n"
            "From turn 2, tool, word for word: open sesame"
        ]


def test_a_page_full_of_pins_stays_text_instead() -> None:
    policy = Epochs((LADDER, Pinned(roles=["user"]), TokenBudget()))
    with filled(policy, dict.fromkeys(range(12), WORDS * 12)) as memory:
        context = memory.context(READER, budget=8000)
        assert context.plan.tiers[0] == Tier.TEXT and not context.plan.shows(context.plan.kept[0])
        assert "more as an image" in context.plan.explain(0)
        assert context.tokens <= 8000


def test_what_is_salient_stays_within_its_share() -> None:
    policy = Epochs((LADDER, Salience(share=0.05), TokenBudget()))
    notes = {n: f"We decided to use port {6000 + n} for the cache." for n in range(0, 40, 2)}
    with filled(policy, notes) as memory:
        context = memory.context(READER, budget=7000)
        cost = sum(segment.tokens for segment in context.segments if segment.kind == "kept")
        assert 0 < cost <= 0.05 * 7000
        texts = kept(context.segments)
        assert texts and all("We decided" in text for text in texts)
        newest = [n for n in notes if n < context.plan.frontier][-len(texts) :]
        assert [mark.start for mark in context.plan.kept] == newest  # alike but for freshness


def test_what_is_let_go_comes_back_only_when_it_is_spoken_of() -> None:
    policy = Epochs((LADDER, Salience(share=0.04, half=32), TokenBudget()), saving=0)
    with filled(policy, {3: "The token is a8f3c2d9e1b7 for staging."}) as memory:
        first = memory.context(READER, budget=7000).plan
        assert 3 in {mark.start for mark in first.kept}
        memory.extend(say(f"We decided on plan {n} then.") for n in range(10))
        memory.extend(say(WORDS * 12, "assistant") for _ in range(30))
        assert 3 not in {mark.start for mark in memory.context(READER, budget=7000).plan.kept}
        memory.append(say("Was it a8f3c2d9e1b7?"))
        memory.extend(say(WORDS * 60, "assistant") for _ in range(6))
        again = memory.context(READER, budget=7000).plan
        assert 3 in {mark.start for mark in again.kept}


def shouting(turn: Turn) -> float:
    return 1.0 if turn.text.isupper() else 0.0


def test_a_scorer_can_be_plugged_in() -> None:
    policy = Epochs((LADDER, Salience(scorer=shouting), TokenBudget()))
    with filled(policy, {3: "we decided", 5: "LISTEN"}) as memory:
        plan = memory.context(READER, budget=7000).plan
        assert [mark.start for mark in plan.kept] == [5]
        names = list(memory.store.plans(memory.scope))
        again = Epochs((LADDER, Salience(scorer=shouting), TokenBudget()))
        other = Memory(memory.store, memory.scope, policy=again)
        other.context(READER, budget=7000)
        assert list(memory.store.plans(memory.scope)) == names


@pytest.mark.parametrize(
    ("role", "text", "least", "most"),
    [
        ("user", "Please never push to main.", 0.8, 0.8),
        ("user", "hello there", 0.5, 0.5),
        ("assistant", "reading the file", 0.2, 0.2),
        ("tool", "Traceback (most recent call last): KeyError", 0.3, 0.3),
        ("tool", "we decided", 0.0, 0.0),
    ],
)
def test_worth_is_told_from_words(role: str, text: str, least: float, most: float) -> None:
    message = {"role": role, "content": text, "tool_call_id": "x"}
    assert least <= score(parse(message, id="1")) <= most


def test_what_was_recalled_comes_back_sharp_once_and_decays_again(tmp_path: Path) -> None:
    ladder = AgeDecay(ladder=((Tier.LARGE, 2), (Tier.BASE, 8), (Tier.TINY, 20)))
    policy = Epochs((Rehearsal(ladder), TokenBudget()), saving=0)
    notes = {5: "the secret word is heliotrope"}
    with filled(policy, notes, url=f"sqlite:///{tmp_path}/m.db") as memory:
        plan = memory.context(READER, budget=7800).plan
        number = memory.recall_turn(memory.turns()[5].id).pages[0]
        assert plan.tier(number) == Tier.TINY
        assert memory.recall("heliotrope", limit=1)[0].position == 5
        marked = memory.context(READER, budget=7800).plan
        assert marked.tiers == plan.tiers and marked.epoch == plan.epoch
        tiers = []
        for _ in range(12):
            memory.extend(say(WORDS * 12, "assistant") for _ in range(3))
            plan = memory.context(READER, budget=7800).plan
            tiers.append(plan.tier(number))
            if tiers[-1] == Tier.LARGE:
                assert plan.explain(number).endswith("as it was recalled.")
        assert Tier.LARGE in tiers or Tier.BASE in tiers
        sharpest = tiers.index(min(tiers))
        assert set(tiers[:sharpest]) <= {Tier.TINY}
        assert tiers[sharpest:] == sorted(tiers[sharpest:]) and tiers[-1] == Tier.TINY


def test_only_policies_that_go_by_it_are_told_of_recalls() -> None:
    with filled(Epochs((LADDER, TokenBudget())), {}) as memory:
        plan = memory.context(READER, budget=7000).plan
        memory.recall("fox")
        assert memory.context(READER, budget=7000).plan == plan and not plan.rehearsed


def test_plans_with_all_they_hold_survive_the_store() -> None:
    policy = Epochs((Rehearsal(LADDER), Pinned(roles=["user"]), Salience(), TokenBudget()))
    with filled(policy, {3: "Always answer in French."}) as memory:
        memory.context(READER, budget=7000)
        memory.recall("fox")
        ((_, plan),) = memory.store.plans(memory.scope).items()
        assert plan.rehearsed and plan.kept and plan.reasons and plan.made == 60
        assert Plan.from_json(plan.to_json()) == plan
