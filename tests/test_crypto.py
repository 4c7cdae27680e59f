"""Encryption at rest: no word in the raw bytes, no reading without the key, keys that change."""

from __future__ import annotations

import base64
import json
import logging
import os
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from optimem import Memory
from optimem.errors import ConflictError, MissingExtraError, StoreError
from optimem.stores import new_key, open_both, open_store
from optimem.stores.codec import tombstone
from optimem.stores.crypto import Sealed
from optimem.transfer import move_sessions
from optimem.values import Scope

KEY, OTHER, THIRD = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
SECRET = b"0123456789abcdef0123456789abcdef"
WORDS = ["zanzibar", "qv7731wx", "harbour", "marigold", "lighthouse", "/srv/port/9137.toml"]
READER = "openai:gpt-6-astra"


@pytest.fixture(params=["sqlite", "redis", "redis_cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    return f"{request.getfixturevalue(f'{request.param}_url')}?prefix={uuid.uuid4().hex}"


def talk(memory: Memory, turns: int = 90) -> None:
    """A conversation with pages, plans, images and a search index."""
    for number in range(turns):
        words = " ".join(WORDS[(number + n) % len(WORDS)] + f" plain{n % 23}" for n in range(70))
        memory.append({"role": "user", "content": f"{words} {number}"}, id=f"marigold-{number}")
    function = {"name": "harbour", "arguments": '{"path": "/srv/port/9137.toml"}'}
    call = {"id": "zanzibar_call", "type": "function", "function": function}
    memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
    memory.append({"role": "tool", "tool_call_id": "zanzibar_call", "content": "lighthouse"})
    memory.context(READER, 12_000).messages()
    memory.recall("lighthouse harbour")


def shown(memory: Memory) -> list[dict[str, Any]]:
    return memory.context(READER, 12_000).messages()


def held(data: bytes) -> list[str]:
    folded = data.lower()
    known = [*WORDS, "plain7", "marigold-", "lighthouse session", "harbour space", READER]
    return [word for word in known if word.encode() in folded]


def test_no_word_stands_in_the_files_of_sqlite(tmp_path: Path) -> None:
    for key, expected in ((KEY, False), ("", True)):
        folder = tmp_path / (key or "plain")[:5]
        url = f"sqlite:///{folder / 'memory.db'}"
        with Memory.open(url, "lighthouse session", namespace="harbour space", key=key) as memory:
            talk(memory)
            state = memory.store.state(memory.scope)
            assert state.pages and state.indexed
            assert sum(memory.stats().bytes.values()) > 10_000
            data = b"".join(file.read_bytes() for file in folder.iterdir())
        assert bool(held(data)) is expected
        assert (b"zanzibar" in data) is expected


def test_no_word_stands_in_what_redis_keeps(tmp_path: Path) -> None:
    for key, expected in ((KEY, False), ("", True)):
        folder = tmp_path / (key or "plain")[:5]
        with servers.with_aof(folder) as server:
            url = server.url
            with Memory.open(
                url, "lighthouse session", namespace="harbour space", key=key
            ) as memory:
                talk(memory)
                assert memory.store.state(memory.scope).pages
            with redis.Redis.from_url(server.url) as client:
                client.save()
                names = b"".join(client.scan_iter(count=1000))
                values = b"".join(client.dump(name) or b"" for name in client.scan_iter(count=1000))
            files = [file for file in folder.rglob("*") if file.is_file()]
            assert {file.suffix for file in files} >= {".rdb", ".aof"}
            data = names + values + b"".join(file.read_bytes() for file in files)
        assert bool(held(data)) is expected


def test_an_encrypted_memory_works_as_any_other(url: str) -> None:
    with Memory.open("memory://", "42") as plain:
        talk(plain)
        with Memory.open(url, "42", key=KEY) as memory:
            talk(memory)
            assert shown(memory) == shown(plain)
            assert memory.turns()[:90] == [
                turn.__class__(**{**_fields(turn), "time": mine.time})
                for turn, mine in zip(plain.turns()[:90], memory.turns(), strict=False)
            ]
            queries = ["lighthouse", "/srv/port/9137.toml", "marigold plain7"]
            for query in queries:
                assert [r.position for r in memory.recall(query)] == [
                    r.position for r in plain.recall(query)
                ]
            assert memory.traces("zanzibar")
    with Memory.open(url, "42", key=KEY) as again:
        with Memory.open("memory://", "42") as plain:
            talk(plain)
            assert shown(again) == shown(plain)
        again.forget([f"marigold-{number}" for number in range(90)])
        assert again.traces("plain7") == []


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_another_key_or_none_is_refused(url: str) -> None:
    with Memory.open(url, "42", namespace="acme", key=KEY) as memory:
        memory.append({"role": "user", "content": "hello"})
    for session in ("42", "new"):
        with pytest.raises(StoreError, match="'acme' is encrypted with another key"):
            Memory.open(url, session, namespace="acme", key=OTHER)
        with pytest.raises(StoreError, match="'acme' is encrypted and no key is given"):
            Memory.open(url, session, namespace="acme")
    with open_it(url, "") as store, pytest.raises(StoreError, match="encrypted"):
        store.sessions("acme")
    with Memory.open(url, "42", namespace="beside") as memory:  # another tenant may have none
        memory.append({"role": "user", "content": "hello"})
    with pytest.raises(StoreError, match="'beside' is not encrypted"):
        Memory.open(url, "42", namespace="beside", key=KEY)
    with Memory.open(url, "42", namespace="acme", key=KEY) as memory:
        memory.forget(session=True)
    with Memory.open(url, "42", namespace="acme", key=OTHER) as memory:
        memory.append({"role": "user", "content": "a new key for a new beginning"})


def open_it(url: str, key: str) -> Any:
    import contextlib

    return contextlib.closing(open_store(url, key))


@pytest.mark.parametrize(
    ("old", "new"), [(KEY, OTHER), ("", KEY), (KEY, "")], ids=["other", "first", "none"]
)
def test_keys_rotate(url: str, old: str, new: str) -> None:
    names = ["41", "harbour"]
    with Memory.open("memory://", "42") as plain:
        talk(plain)
        before, seen = plain.turns(), shown(plain)
    for name in names:
        with Memory.open(url, name, namespace="acme", key=old) as memory:
            talk(memory)
            memory.append({"role": "user", "content": "a secret"}, id="secret")
            memory.forget(["secret"])
    before_store, after = open_both(url, old, new)
    next(move_sessions(before_store, after, "acme"))  # broken off
    assert sum(move_sessions(before_store, after, "acme")) >= 92
    assert before_store.sessions("acme") == []
    for store in (before_store, after):
        store.close()
    for name in names:
        with Memory.open(url, name, namespace="acme", key=new) as memory:
            assert [turn.text for turn in memory.turns()] == [turn.text for turn in before]
            assert shown(memory) == seen
            assert memory.store.forgotten(memory.scope) == {tombstone("secret")}
    with open_it(url, new) as store:
        assert store.sessions("acme") == names
    with pytest.raises(StoreError, match="encrypted"):
        Memory.open(url, "41", namespace="acme", key=old)


def test_the_same_key_again_would_delete_what_it_moves_and_is_refused(url: str) -> None:
    for key in (KEY, ""):
        with pytest.raises(StoreError, match="the new key is the one that sessions have already"):
            open_both(url, key, key.replace("+", "-").replace("/", "_"))


def rekey(url: str, old: str, new: str, *options: str) -> subprocess.Popen[str]:
    """Change keys by the command line."""
    environment = {**os.environ, "OPTIMEM_KEY": old, "OPTIMEM_NEW_KEY": new, "OPTIMEM_STORE": url}
    command = [sys.executable, "-m", "optimem", "rekey", "--namespace", "acme", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe)


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, complaint = process.communicate()
    assert KEY not in said + complaint and OTHER not in said + complaint
    return process.returncode, said + complaint


def test_keys_change_by_the_command_line_though_it_is_killed(url: str) -> None:
    names, ids = ["41", "42"], [f"t{number}" for number in range(700)]
    turns = [{"role": "user", "content": f"words of {id} " * 9, "id": id} for id in ids]
    for name in names:
        with Memory.open(url, name, namespace="acme", key=KEY) as memory:
            memory.extend(turns)
    broken_off = rekey(url, KEY, OTHER)
    source, target = open_both(url, KEY, OTHER)
    with closing(source), closing(target):
        servers.wait_until(lambda: bool(target.sessions("acme")), "the first turns to move")
        broken_off.kill()
        outcome(broken_off)
    code, said = outcome(rekey(url, KEY, OTHER, "--json"))
    assert code == 0
    assert json.loads(said)["turns"] >= 0
    for name in names:
        with Memory.open(url, name, namespace="acme", key=OTHER) as memory:
            assert [turn.id for turn in memory.turns()] == ids
    with pytest.raises(StoreError, match="encrypted with another key"):
        Memory.open(url, "41", namespace="acme", key=KEY)
    assert outcome(rekey(url, KEY, OTHER)) == (0, "0 turns of 0 sessions have the new key\n")
    assert outcome(rekey(url, OTHER, "", "--decrypt")) == (
        0,
        "1400 turns of 2 sessions have the new key\n",
    )
    with Memory.open(url, "42", namespace="acme") as memory:
        assert [turn.id for turn in memory.turns()] == ids


@pytest.mark.parametrize(
    ("old", "new", "options", "sentence"),
    [
        (KEY, "", (), "set OPTIMEM_NEW_KEY to the new key"),
        (KEY, OTHER, ("--decrypt",), "set OPTIMEM_NEW_KEY to the new key"),
        (KEY, KEY, (), "the new key is the one that sessions have already"),
        ("short", OTHER, (), "an encryption key is 32 random bytes"),
        (OTHER, "", ("--decrypt",), "no session of namespace 'acme' is kept with $OPTIMEM_KEY"),
        (OTHER, THIRD, (), "namespace 'acme' is encrypted with another key"),
    ],
)
def test_a_change_of_keys_that_cannot_be_is_one_sentence(
    tmp_path: Path, old: str, new: str, options: tuple[str, ...], sentence: str
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Memory.open(url, "42", namespace="acme", key=KEY) as memory:
        memory.append({"role": "user", "content": "hello"})
    code, said = outcome(rekey(url, old, new, *options))
    assert code == 2
    assert said.startswith(f"optimem: {sentence}") and said.count("\n") == 1
    with Memory.open(url, "42", namespace="acme", key=KEY) as memory:
        assert len(memory.turns()) == 1


def test_a_turn_that_comes_while_keys_rotate_is_moved_too(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(url, "42", key=KEY) as memory:
        memory.append({"role": "user", "content": "one"})
        source, target = open_both(url, KEY, OTHER)
        drop = source.drop

        def late(scope: Scope, turns: int | None = None) -> int:
            monkeypatch.undo()
            memory.append({"role": "user", "content": "two"})
            return drop(scope, turns)

        monkeypatch.setattr(source, "drop", late)
        assert list(move_sessions(source, target, "default")) == [1, 1]
        source.close()
        target.close()
    with Memory.open(url, "42", key=OTHER) as memory:
        assert [turn.text for turn in memory.turns()] == ["one", "two"]


def test_keys_come_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = new_key()
    monkeypatch.setenv("OPTIMEM_KEY", fresh)
    with Memory.open(url, "42") as memory:
        memory.append({"role": "user", "content": "hello"})
    monkeypatch.delenv("OPTIMEM_KEY")
    with Memory.open(url, "42", key=fresh) as memory:
        assert [turn.text for turn in memory.turns()] == ["hello"]


@pytest.mark.parametrize("wrong", ["short", KEY[:-2], "ü" * 44, b"bytes", KEY + KEY])
def test_what_is_no_key_is_refused_and_not_said_again(wrong: str | bytes) -> None:
    with pytest.raises(StoreError, match="an encryption key is 32 random bytes") as caught:
        open_store("memory://", wrong)
    assert str(wrong) not in str(caught.value)


def test_a_key_is_never_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cipher = Sealed(SECRET, "acme")
    with Memory.open(url, "42", key=KEY) as memory:
        memory.append({"role": "user", "content": "hello"})
        shown_things = [repr(memory.store), repr(cipher), caplog.text, memory.store.url]
    assert not any(KEY in text or SECRET.decode() in text for text in shown_things)


def test_a_damaged_value_is_refused_and_a_damaged_blob_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(f"sqlite:///{path}", "42", key=KEY) as memory:
        talk(memory)
        before = shown(memory)
        with closing(sqlite3.connect(path)) as db, db:
            (count,) = db.execute("SELECT count(*) FROM blob").fetchone()
            assert count
            db.execute("UPDATE blob SET value = zeroblob(length(value))")
        assert shown(memory) == before
        with (
            closing(sqlite3.connect(path)) as db,
            db,
        ):  # the words of one turn in the place of another
            db.execute(
                "UPDATE turn SET body = (SELECT body FROM turn WHERE position = 2)"
                " WHERE position = 1"
            )
        with pytest.raises(StoreError, match="turn marigold-1 in the store is damaged"):
            memory.turns()


def test_namespaces_have_keys_of_their_own() -> None:
    one, two = Sealed(SECRET, "one"), Sealed(SECRET, "two")
    sealed = one.seal(b"words", b"place")
    assert one.open(sealed, b"place") == b"words"
    assert sealed == Sealed(SECRET, "one").seal(b"words", b"place")
    assert one.label(b"words") != two.label(b"words") != b"words"
    assert one.digest(b"words") != two.digest(b"words")
    for cipher, place in ((two, b"place"), (one, b"elsewhere")):
        with pytest.raises(StoreError, match="damaged, or encrypted with another key"):
            cipher.open(sealed, place)
    for cut in range(len(sealed)):
        with pytest.raises(StoreError, match="damaged"):
            one.open(sealed[:cut], b"place")


def test_a_fork_across_namespaces_is_refused(url: str) -> None:
    with Memory.open(url, "42", key=KEY) as memory:
        memory.append({"role": "user", "content": "hello"})
        with memory.fork("43") as copy:
            assert [turn.text for turn in copy.turns()] == ["hello"]
        with pytest.raises(ConflictError, match="within its namespace"):
            memory.store.fork(memory.scope, Scope("other", "42"))


def test_without_cryptography_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.hkdf", None)
    monkeypatch.delitem(sys.modules, "optimem.stores.crypto")
    with pytest.raises(MissingExtraError, match=r"pip install 'optimem\[crypto\]'"):
        open_store("memory://", KEY)
