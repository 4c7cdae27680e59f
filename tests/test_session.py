"""A session, opened: what it is begun with stays with it, and what it opened it closes."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversations import say

from optimem import ConflictError, InputError, Memory
from optimem.renderers.layout import PageStyle
from optimem.stores import open_store
from optimem.values import Scope


def test_settings_stay_with_the_session(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url, counter="chars", style=PageStyle("area")) as memory:
        memory.append(say("user", "hello"))
    with Memory.open(url) as memory:
        assert memory.stats().counter == "chars"
    with pytest.raises(InputError, match="begun with counter='chars'"):
        Memory.open(url, counter="o200k")


def test_two_who_begin_a_session_differently_do_not_share_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    with Memory.open(url, counter="chars") as first, Memory.open(url, counter="o200k") as second:
        first.append(say("user", "hello"))
        with pytest.raises(ConflictError, match="open it again"):
            second.append(say("user", "hi"))
        assert [turn.text for turn in first.turns()] == ["hello"]


def test_looking_at_a_session_that_is_not_there_leaves_no_trace(tmp_path: Path) -> None:
    with Memory.open(f"sqlite:///{tmp_path}/m.db", session="typo") as memory:
        assert memory.stats().turns == 0 and memory.recall("anything") == []
        assert memory.context("deepseek-ocr", 1000).messages() == []
        assert memory.flush() is None
        assert memory.store.sessions("default") == []


def test_its_name_says_whose_it_is_and_where(tmp_path: Path) -> None:
    with Memory.open(f"sqlite:///{tmp_path}/m.db", "42", namespace="acme") as memory:
        assert repr(memory) == f"<Memory acme/42 in sqlite:///{tmp_path}/m.db>"


def is_open(path: Path) -> bool:
    """Whether this process has a file open."""
    links = Path("/proc/self/fd").iterdir()
    return str(path) in {str(link.resolve()) for link in links if link.is_symlink()}


def test_what_it_opened_it_closes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    store = open_store(f"sqlite:///{path}")
    with Memory(store, Scope("default", "s")) as memory:
        memory.append(say("user", "hello"))
    assert len(Memory(store, Scope("default", "s")).turns()) == 1  # its owner's store is open
    store.close()
    assert not is_open(path)
    with Memory.open(f"sqlite:///{path}", "s") as memory:
        assert is_open(path) and len(memory.turns()) == 1
    assert not is_open(path)


def test_what_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with Memory.open(f"sqlite:///{path}", counter="chars") as memory:
        memory.append(say("user", "hello"))
    with pytest.raises(InputError, match="begun with counter"):
        Memory.open(f"sqlite:///{path}", counter="o200k")
    with pytest.raises(InputError, match="named by a string"):
        Memory.open(f"sqlite:///{path}", 42)  # type: ignore[arg-type]
    assert not is_open(path)


def test_sessions_and_namespaces_never_meet() -> None:
    with Memory.open("memory://", "a") as one:
        names = [("default", "b"), ("other", "a"), ("default/a", ""), ("", "a")]
        memories = [one, *(Memory(one.store, Scope(*pair)) for pair in names)]
        for number, memory in enumerate(memories):
            memory.append(say("user", f"only in {number}"), id="same")
        for number, memory in enumerate(memories):
            assert [turn.text for turn in memory.turns()] == [f"only in {number}"]
            assert [found.text for found in memory.recall("only")] == [f"only in {number}"]
