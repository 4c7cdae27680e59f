"""What is left of pages in each mode: counted by reading back, kept, and given to policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import vision_models

from optimem import Memory, Tier
from optimem.errors import InputError
from optimem.fidelity import Fidelity, sampled
from optimem.policies import Epochs, Situation
from optimem.readers import Profile
from optimem.renderers.layout import PageStyle
from optimem.stores import open_store
from optimem.values import Page, Plan, Scope
from optimem.vision import LocalReader

SCOPE = Scope("n", "s")
LINE = "deploy v2.31.7 of /srv/app/main.py by 3f9a1c0d4e to port 8443, said the operator. "


class Blurred:
    """Reads a page word for word but for each tenth letter, and at Tiny nothing."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.read_pages: list[tuple[int, Tier]] = []

    def read(self, page: Page, tier: Tier, *, style: PageStyle | None = None) -> str:
        assert style == PageStyle()
        self.read_pages.append((page.number, tier))
        if tier == Tier.TINY:
            return ""
        if tier == Tier.LARGE:
            return "\n ".join(page.words.split(" "))  # breaks lines as it likes
        return "".join("#" if n % 10 == 0 else letter for n, letter in enumerate(page.words))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LocalReader:
    folder = vision_models.save_checkpoint("deepseek-ocr", tmp_path_factory.mktemp("model"))
    return LocalReader.load(str(folder), device="cpu")


def filled(store: Any, policy: Any = None) -> Memory:
    memory = Memory(store, SCOPE, policy=policy, counter="chars")
    memory.extend({"role": "user", "content": LINE * 20} for _ in range(30))
    return memory


def test_errors_and_exact_strings_are_counted_for_each_mode(reader: LocalReader) -> None:
    memory = filled(open_store("memory://"))
    blurred = Blurred(reader.profile)
    found = memory.fidelity(blurred, [Tier.LARGE, Tier.SMALL, Tier.TINY], pages=3)
    pages = len(memory.pages())
    assert {number for number, _ in blurred.read_pages} == set(sampled(pages, 3))
    assert [each.pages for each in found.values()] == [3, 3, 3]
    large, small, tiny = found.values()
    assert large.cer == 0 and large.exact == 1 == large.share
    assert 0.09 < small.cer < 0.11 and 0 < small.exact < 0.8
    assert tiny.cer == 1 and tiny.exact == tiny.share == 0
    assert large.strings == small.strings >= 3 * 3  # version, path, hash on each page


def test_pages_are_spread_over_the_session() -> None:
    assert sampled(0, 4) == []
    assert sampled(3, 4) == [0, 1, 2]
    assert sampled(100, 4) == [12, 37, 62, 87]


def test_a_share_is_between_nothing_and_all() -> None:
    assert Fidelity(1, 10, 25, 0, 0).share == 0
    assert Fidelity(1, 10, 25, 0, 0).cer == 2.5
    assert Fidelity(1, 0, 0, 0, 0).exact == 1


class Watching:
    """Epochs that writes down what it was told of fidelity."""

    def __init__(self) -> None:
        self.seen: list[dict[Tier, float]] = []

    def __repr__(self) -> str:
        return "Watching()"

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        self.seen.append(dict(situation.fidelity))
        return Epochs().apply(situation, plan)


def test_policies_of_every_process_are_told(reader: LocalReader, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'f.db'}"
    policy = Watching()
    memory = filled(open_store(url), policy)
    memory.context(reader=reader, budget=9000)
    assert policy.seen[-1] == {}
    memory.fidelity(Blurred(reader.profile), [Tier.SMALL, Tier.TINY], pages=1)
    memory.fidelity(Blurred(reader.profile), [Tier.LARGE], pages=1)
    other = Memory(open_store(url), SCOPE, policy=policy)
    other.context(reader=reader, budget=9000)
    assert policy.seen[-1][Tier.LARGE] == 1 and policy.seen[-1][Tier.TINY] == 0
    assert 0.85 < policy.seen[-1][Tier.SMALL] < 0.95
    other.context(reader="openai:gpt-4o")
    assert policy.seen[-1] == {}
    memory.forget([memory.turns()[0].id])
    memory.context(reader=reader, budget=9000)
    assert policy.seen[-1] == {}


def test_a_model_that_reads_nothing_is_found_out(
    reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights, in every mode that the model reads, by its own reading."""
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda *a, **b: read(*a, **b, max_tokens=8))
    memory = filled(open_store("memory://"))
    found = memory.fidelity(reader, pages=1)
    assert list(found) == list(reader.profile.modes)
    assert all(each.share < 0.1 and each.kept == 0 < each.strings for each in found.values())


def test_without_pages_there_is_nothing_to_measure(reader: LocalReader) -> None:
    memory = Memory(open_store("memory://"), SCOPE)
    with pytest.raises(InputError, match="sealed pages: there are none"):
        memory.fidelity(reader)
    memory.append({"role": "user", "content": LINE})
    memory.flush()
    assert memory.fidelity(Blurred(reader.profile), [Tier.BASE])[Tier.BASE].pages == 1
    with pytest.raises(InputError, match="does not read px896"):
        memory.fidelity(reader, [Tier.PX896])
