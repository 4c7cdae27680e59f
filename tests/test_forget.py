"""Forgetting: no word of a forgotten turn is left, in rows, keys or files."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import servers

from optimem import Memory
from optimem.cli import main
from optimem.stores import codec

SECRET = "Zanzibar-qv7731wx"
SECRETS = [SECRET, "zanzibar", "qv7731wx", 'the "Zanzibar" port']


@pytest.fixture(params=["memory", "sqlite", "redis", "redis_cluster"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Memory:
    if request.param == "memory":
        url = "memory://"
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'memory.db'}"
    else:
        url = f"{request.getfixturevalue(f'{request.param}_url')}?prefix={uuid.uuid4().hex}"
    opened = Memory.open(url, "42")
    request.addfinalizer(opened.close)
    return opened


def talk(memory: Memory) -> list[str]:
    """A conversation that is long enough for pages and plans; turn 7 holds the secret."""
    ids = []
    for number in range(40):
        text = " ".join(f"word{(number * 13 + n) % 911}" for n in range(250))
        if number == 7:
            text += f' remember {SECRET}, the "Zanzibar" port \ud83d'
        ids.append(memory.append({"role": "user", "content": text}))
    memory.context("openai:gpt-6-astra", 20_000).messages()
    memory.recall("zanzibar")
    return ids


def test_traces_finds_what_is_there(memory: Memory) -> None:
    talk(memory)
    places = memory.traces(SECRET)
    assert len(places) >= 2  # the log and a page
    assert memory.traces("zanzibar")  # a term of the search index
    assert memory.traces('the "Zanzibar" port \ud83d')
    assert memory.traces("never said") == []


def test_a_forgotten_turn_leaves_no_trace(memory: Memory) -> None:
    ids = talk(memory)
    receipt = memory.forget([ids[7]])
    assert receipt.turns == 1
    memory.context("openai:gpt-6-astra", 20_000).messages()
    assert memory.recall(SECRET) == memory.recall("qv7731wx") == []
    for secret in SECRETS:
        assert memory.traces(secret) == [], secret
    assert memory.traces("word13")


def test_a_rewound_turn_leaves_no_trace(memory: Memory) -> None:
    ids = talk(memory)
    memory.rewind(ids[6])
    for secret in SECRETS:
        assert memory.traces(secret) == [], secret
    assert [turn.id for turn in memory.turns()] == ids[:7]


def test_a_forgotten_session_can_be_begun_anew(memory: Memory) -> None:
    memory.append({"role": "user", "content": "old"})
    memory.stats()
    memory.forget(session=True)
    assert memory.positions() == []
    memory.append({"role": "user", "content": "new"})
    assert memory.stats().turns == 1 and memory.positions() == [0]
    assert [message["content"] for message in memory.context("openai:gpt-6-astra").messages()] == [
        "new"
    ]


def test_a_forgotten_session_leaves_no_trace(memory: Memory) -> None:
    talk(memory)
    memory.forget(session=True)
    for text in (*SECRETS, "word13", "openai:gpt-6-astra"):
        assert memory.traces(text) == []


def test_files_do_not_keep_the_compressed_turn(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(f"sqlite:///{path}", "42") as memory:
        ids = talk(memory)
        bodies = [codec.encode_turn(turn) for turn in memory.turns()]
        assert len(bodies[7]) < 4000  # stands in one piece on a page of the file
        assert held(path, bodies[7]) and held(path, bodies[8])
        memory.forget([ids[7]])
        assert not held(path, bodies[7])
        assert held(path, bodies[8])


def held(path: Path, data: bytes) -> bool:
    return any(data[4:200] in file.read_bytes() for file in path.parent.iterdir())


def test_the_receipt_is_over_ids_not_words() -> None:
    hashes = []
    for text in ("one", "other"):
        with Memory.open("memory://") as memory:
            memory.append({"role": "user", "content": text}, id="t1")
            hashes.append(memory.forget(["t1"]).hash)
    assert hashes[0] == hashes[1]


def test_an_append_only_file_is_written_anew(tmp_path: Path) -> None:
    with servers.with_aof(tmp_path) as server, Memory.open(server.url, "42") as memory:
        for number in range(5):
            memory.append({"role": "user", "content": f"short words {number}"}, id=f"t{number}")
        memory.append({"role": "user", "content": f"it is {SECRET}"}, id="secret")
        memory.recall("words")
        files = tmp_path / "appendonlydir" / "any"
        body, term = codec.encode_turn(memory.turns()[-1]), b"zanzibar"
        assert held(files, body) and held(files, term)
        memory.forget(["secret"])
        servers.wait_until(
            lambda: not held(files, body) and not held(files, term),
            "the append-only file to be written anew",
        )
        server.kill()
        server.start()
        assert len(memory.turns()) == 5


def test_the_command_line_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Memory.open(url, "42") as memory:
        for id, text in (("t0", f"it is {SECRET}"), ("t1", "plain"), ("t2", f"again {SECRET}")):
            memory.append({"role": "user", "content": text}, id=id)
    forget = ["optimem", "forget", "42", "--store", url, "--yes", "--verify", SECRET]
    assert run([*forget, "--turn", "t0"]) == 2
    assert f"{SECRET!r} still stands in: turn" in capsys.readouterr().err
    assert run([*forget, "--turn", "t2"]) == 0


def run(command: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", command)
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0
