"""Export and import: sessions move between homes without loss, and again after a break."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from optimem import ConflictError, InputError, Memory, NotFoundError
from optimem.cli import main
from optimem.stores import Store, open_store
from optimem.transfer import export_sessions, import_sessions
from optimem.values import Scope

Open = Callable[[str], Store]
SESSIONS = ("42", "a:b{x}\n\ud800", "empty of pages")
CALL = {"id": "c1", "type": "function", "function": {"name": "run", "arguments": '{"a": 1}'}}


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens stores that are closed when the test ends."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(open_store(url)))


def fill(store: Store) -> None:
    for number, session in enumerate(SESSIONS):
        memory = Memory(store, Scope("acme", session), counter="chars", caption_tokens=40 + number)
        memory.append({"role": "system", "content": "be \x00 brief \ud800"})
        memory.append({"role": "assistant", "content": None, "tool_calls": [CALL]}, id="call")
        memory.append({"role": "tool", "tool_call_id": "c1", "content": "done"})
        for turn in range(0 if number == 2 else 300):
            text = f"turn {turn} " + "words " * 40
            memory.append({"role": "user", "content": text}, id=f"t{turn}", time=turn / 3)
        memory.append({"role": "user", "content": "a secret"}, id="secret")
        memory.forget(["secret"])


def held(store: Store) -> dict[str, object]:
    return {
        session: (
            [entry.turn for entry in store.entries(Scope("acme", session))],
            store.state(Scope("acme", session)).settings,
            store.forgotten(Scope("acme", session)),
        )
        for session in store.sessions("acme")
    }


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_all_arrives_as_it_left(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, opened: Open
) -> None:
    source, target = opened("memory://"), opened("memory://")
    if kind == "sqlite":
        target = opened(f"sqlite:///{tmp_path / 'memory.db'}")
    elif kind == "redis":
        url = request.getfixturevalue("redis_url")
        target = opened(f"{url}?prefix={uuid.uuid4().hex}")
    fill(source)
    lines = list(export_sessions(source, "acme"))
    stored = sum(import_sessions(target, "acme", lines))
    assert stored == len(lines) - len(SESSIONS) == 609
    assert held(target) == held(source)
    assert list(export_sessions(target, "acme")) == lines
    before = Memory(source, Scope("acme", "42"))
    after = Memory(target, Scope("acme", "42"))
    assert after.pages() == before.pages()


@pytest.mark.parametrize("cut", [1, 2, 100, 257, 305])
def test_an_interrupted_import_goes_on(cut: int, opened: Open) -> None:
    source, target = opened("memory://"), opened("memory://")
    fill(source)
    for _ in import_sessions(
        target, "acme", itertools.islice(export_sessions(source, "acme"), cut)
    ):
        pass
    assert sum(import_sessions(target, "acme", export_sessions(source, "acme"))) == 609
    assert held(target) == held(source)


def test_one_session_is_picked(opened: Open) -> None:
    store = opened("memory://")
    fill(store)
    lines = list(export_sessions(store, "acme", ["42"]))
    assert len(lines) == 304
    with pytest.raises(NotFoundError, match="no session 'nowhere'"):
        list(export_sessions(store, "acme", ["nowhere"]))


HEADER = json.dumps({"optimem": 1, "session": "42", "settings": {"counter": "chars"}})
TURN = json.dumps({"id": "t0", "time": None, "message": {"role": "user", "content": "hello"}})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 3 is no JSON"),
        ("[1]", "line 3 is no object"),
        ("[" * 100_000, "line 3 is no JSON"),
        ('{"id": "t1", "message": {"role": "king", "content": ""}}', "line 3: "),
        ('{"id": 7, "message": {}}', "line 3: a turn has an id"),
        ('{"id": "t1", "time": "now", "message": {}}', "line 3: a turn has an id"),
        ('{"optimem": 2}', "line 3: written by another version"),
        ('{"optimem": 1, "session": "s"}', "line 3: a session's name and settings"),
        ('{"optimem": 1, "session": "s", "settings": {}}', "line 3: the settings name no counter"),
        (f'{HEADER[:-1]}, "forgotten": ["x"]}}', "line 3: what was forgotten is no list of hashes"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, complaint: str, opened: Open) -> None:
    with pytest.raises(InputError, match=complaint):
        list(import_sessions(opened("memory://"), "acme", [HEADER, TURN, line]))
    with pytest.raises(InputError, match="line 1: a session's first line is missing"):
        list(import_sessions(opened("memory://"), "acme", [TURN]))


def test_what_is_there_is_not_overwritten(opened: Open) -> None:
    store = opened("memory://")
    list(import_sessions(store, "acme", [HEADER, TURN]))
    other = TURN.replace("hello", "bye")
    with pytest.raises(ConflictError):
        list(import_sessions(store, "acme", [HEADER, other]))
    assert [entry.turn.text for entry in store.entries(Scope("acme", "42"))] == ["hello"]


def test_the_command_line_moves_sessions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opened: Open,
) -> None:
    old, new = (f"sqlite:///{tmp_path / name}.db" for name in ("old", "new"))
    store = opened(old)
    fill(store)
    file = tmp_path / "sessions.jsonl"

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["optimem", *words, "--namespace", "acme"])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    assert run("export", "--store", old, "-o", str(file)) == 0
    assert run("import", str(file), "--store", new, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"turns": 609}
    assert run("import", str(tmp_path / "absent"), "--store", new) == 2
    exported = file.read_bytes()
    assert run("export", "nowhere", "--store", old, "-o", str(file)) == 2
    assert file.read_bytes() == exported  # not emptied by a name that is not there
    transcript = tmp_path / "transcript.json"
    transcript.write_text('[\n{"role": "user", "content": "hello"}\n]', "utf-8")
    assert run("import", str(transcript), "--store", new) == 2
    assert "added by `optimem ingest`" in capsys.readouterr().err
    assert run("export", "42", "--store", new) == 0
    assert capsys.readouterr().out.splitlines() == list(export_sessions(store, "acme", ["42"]))
