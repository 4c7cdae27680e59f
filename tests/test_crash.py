"""Nothing acknowledged is lost and nothing doubled: kill -9, full disks, many writers, failover."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
import servers
import writer

from optimem import Memory
from optimem.errors import StoreError
from optimem.stores.redis_steps import RedisSteps
from optimem.values import PageFacts, Plan, Scope

WRITER = Path(writer.__file__)
SCOPE = Scope("default", writer.SESSION)

_TURNS_A_LOOK = 7  # of a writer's own

# OPTIMEM_ROUNDS=200 make test-long: as many crashes, and five times as many turns a writer.
ROUNDS = int(os.environ.get("OPTIMEM_ROUNDS", "40"))


class Writer:
    """A writer in a process of its own."""

    def __init__(
        self,
        url: str,
        name: str,
        first: int,
        count: int,
        patience: float = 0,
        pause: int = _TURNS_A_LOOK,
    ) -> None:
        numbers = map(str, (first, count, patience, pause))
        command = [sys.executable, str(WRITER), url, name, *numbers]
        self.acknowledged: list[str] = []
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.acknowledged += (line.strip() for line in self._process.stdout)

    def kill(self) -> None:
        self._process.kill()

    def ended(self) -> int:
        """Wait for its end; returns its exit code."""
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None and self._process.stderr is not None
        self._process.stdout.close()
        self.complaint = self._process.stderr.read()
        self._process.stderr.close()
        return self._process.returncode

    def acknowledges(self, turns: int) -> bool:
        return len(self.acknowledged) >= turns or self._process.poll() is not None


def check(url: str, acknowledged: list[str], unanswered: int) -> None:
    """Every acknowledged turn is there once; what is derived is what the log gives."""
    with Memory.open(url, writer.SESSION, counter="chars") as memory:
        turns = memory.turns()
        ids = [turn.id for turn in turns]
        assert len(set(ids)) == len(ids)
        assert set(acknowledged) <= set(ids)
        assert len(ids) <= len(acknowledged) + unanswered
        assert all(turn.text == writer.text(turn.id) for turn in turns)
        assert [ids.index(id) for id in acknowledged] == sorted(map(ids.index, acknowledged))
        pages = memory.pages()
        memory.context("openai:gpt-6-astra", 20_000).messages()
        found = memory.recall(f'"{turns[-1].text[:20]}"')
        assert any(turn.id == ids[-1] for turn in found)
    with Memory.open("memory://", counter="chars") as again:
        again.extend(turns)
        assert again.pages() == pages


def kill_writers(url: str, rounds: int, seed: int) -> None:
    """Kill a writer at a random moment, again and again."""
    dice = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(rounds):
        run = Writer(url, "w", first=number * 1000, count=1000)
        servers.wait_until(partial(run.acknowledges, 1), "the writer to begin")
        time.sleep(dice.random() * 0.3)
        run.kill()
        run.ended()
        acknowledged += run.acknowledged
        if number % 10 == rounds % 10 - 1 or number == rounds - 1:
            check(url, acknowledged, unanswered=number + 1)
    assert len(acknowledged) > rounds


def kill_servers(server: servers.Server, rounds: int, seed: int) -> None:
    """Kill the server under a writer at a random moment, and the writer itself, in turn."""
    dice = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(rounds):
        run = Writer(server.url, "w", first=number * 1000, count=1000)
        servers.wait_until(partial(run.acknowledges, 1), "the writer to begin")
        time.sleep(dice.random() * 0.3)
        if number % 2:
            server.kill()
            run.kill()
            server.start()
        else:
            run.kill()
        run.ended()
        acknowledged += run.acknowledged
    check(server.url, acknowledged, unanswered=rounds)
    assert len(acknowledged) > rounds


def test_killed_writers_lose_nothing_in_sqlite(tmp_path: Path) -> None:
    kill_writers(f"sqlite:///{tmp_path / 'memory.db'}?synchronous=full", rounds=4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_killed_writers_lose_nothing_in_sqlite(tmp_path: Path) -> None:
    kill_writers(f"sqlite:///{tmp_path / 'memory.db'}?synchronous=full", rounds=ROUNDS, seed=2)


def test_killed_servers_lose_nothing_in_redis(tmp_path: Path) -> None:
    with servers.with_aof(tmp_path) as server:
        kill_servers(server, rounds=4, seed=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_killed_servers_lose_nothing_in_redis(tmp_path: Path) -> None:
    with servers.with_aof(tmp_path) as server:
        kill_servers(server, rounds=ROUNDS, seed=4)


# Disks


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file of this process grows beyond a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    dice = random.Random(5)
    with Memory.open(url, "42") as memory:
        ids: list[str] = []
        with disk_of(400_000), pytest.raises(StoreError, match=r"cannot write .*memory\.db"):
            for _ in range(1000):
                ids.append(memory.append({"role": "user", "content": dice.randbytes(2000).hex()}))
        assert len(ids) > 10
        assert [turn.id for turn in memory.turns()] == ids
        ids.append(memory.append({"role": "user", "content": "room again"}))
    with Memory.open(url, "42") as memory:
        assert [turn.id for turn in memory.turns()] == ids


# Many writers


@pytest.fixture(params=["sqlite", "redis", "redis_cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    return f"{request.getfixturevalue(f'{request.param}_url')}?prefix={uuid.uuid4().hex}"


def crowd(url: str, writers: int, turns: int, readers: int, patience: float = 30) -> list[str]:
    """Writers and readers at once; returns the ids in the order of the log."""
    stop = threading.Event()
    seen: list[list[str]] = [[] for _ in range(readers)]
    watching = [threading.Thread(target=watch, args=(url, pages, stop)) for pages in seen]
    pause = max(_TURNS_A_LOOK, turns // 40)  # looks cost more than appends
    running = [Writer(url, f"w{number}", 0, turns, patience, pause) for number in range(writers)]
    for thread in watching:
        thread.start()
    codes = [run.ended() for run in running]
    stop.set()
    for thread in watching:
        thread.join()
    assert codes == [0] * writers, [run.complaint for run in running]
    with Memory.open(url, writer.SESSION, counter="chars") as memory:
        ids = [turn.id for turn in memory.turns()]
        hashes = [page.hash for page in memory.pages()]
    assert sorted(ids) == sorted(id for run in running for id in run.acknowledged)
    assert len(ids) == writers * turns
    for run in running:
        mine = set(run.acknowledged)
        assert [id for id in ids if id in mine] == run.acknowledged
    for pages in seen:
        assert pages == hashes[: len(pages)]
    return ids


def watch(url: str, pages: list[str], stop: threading.Event) -> None:
    """Read the pages as they are sealed."""
    with Memory.open(url, writer.SESSION, counter="chars") as memory:
        while not stop.is_set():
            with contextlib.suppress(StoreError):  # while a cluster moves
                sealed = memory.store.page_facts(memory.scope, start=len(pages))
                pages += [memory.page(facts.number).hash for facts in sealed]
            time.sleep(0.05)


def test_writers_and_readers_agree_on_one_order(url: str) -> None:
    crowd(url, writers=4, turns=30, readers=2)


def test_a_plan_for_turns_not_yet_seen_is_caught_up_with(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(url, "s") as slow, Memory.open(url, "s") as fast:

        def overtaken(scope: Scope) -> dict[str, Plan]:
            monkeypatch.undo()
            for number in range(60):
                fast.append({"role": "user", "content": writer.text(f"w-{number * 5}")})
                fast.context("openai:gpt-6-astra", 20_000)
            return slow.store.plans(scope)

        slow.append({"role": "user", "content": "first"})
        monkeypatch.setattr(slow.store, "plans", overtaken)
        context = slow.context("openai:gpt-6-astra", 20_000)
        assert context.plan == fast.context("openai:gpt-6-astra", 20_000).plan
        assert context.plan.frontier > 1


def test_pages_of_turns_not_yet_seen_are_left_for_the_next_look(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(url, "s") as slow, Memory.open(url, "s") as fast:

        def overtaken(scope: Scope, start: int = 0) -> list[PageFacts]:
            monkeypatch.undo()
            for number in range(60):
                fast.append({"role": "user", "content": writer.text(f"w-{number * 5}")})
            assert fast.pages()
            return slow.store.page_facts(scope, start)

        slow.append({"role": "user", "content": "first"})
        monkeypatch.setattr(slow.store, "page_facts", overtaken)
        assert len(slow.context("openai:gpt-6-astra", 20_000).segments) == 1
        assert slow.pages() == fast.pages()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_sixteen_writers_and_four_readers_agree_on_one_order(url: str) -> None:
    crowd(url, writers=16, turns=5 * ROUNDS, readers=4)


# A cluster that moves


def slot_owner(nodes: list[servers.Server], slot: int) -> servers.Server:
    """The primary that has a slot, as a node that lives tells."""
    told = next(node for node in nodes if node.alive)
    lines = told.ask("CLUSTER", "SLOTS").splitlines()
    for first, last, port in slot_ranges(lines):
        if first <= slot <= last:
            return next(node for node in nodes if node.port == port)
    raise LookupError(f"nobody has slot {slot}")


def slot_ranges(lines: list[str]) -> Iterator[tuple[int, int, int]]:
    """(first, last, port of the primary) of each range in redis-cli's plain output."""
    for at, word in enumerate(lines):
        if word == "127.0.0.1" and at >= 2 and lines[at - 1].isdigit() and lines[at - 2].isdigit():
            if int(lines[at - 1]) <= 16383:
                yield int(lines[at - 2]), int(lines[at - 1]), int(lines[at + 1])


def slot_of(node: servers.Server) -> int:
    key = RedisSteps()._keys(SCOPE)[0]
    return int(node.ask("CLUSTER", "KEYSLOT", key))


def move_slot(slot: int, source: servers.Server, target: servers.Server) -> None:
    """Move a slot and its keys to another primary, ten keys at a time as `redis-cli` does."""
    with redis.Redis(port=source.port) as here, redis.Redis(port=target.port) as there:
        names = {node: node.execute_command("CLUSTER MYID") for node in (here, there)}
        there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[here])
        here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[there])
        where = ("127.0.0.1", target.port, "", 0, 5000, "KEYS")
        while keys := here.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
            here.execute_command("MIGRATE", *where, *keys)
        for node in (there, here):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[there])


@pytest.mark.timeout(180)
def test_a_moving_slot_loses_and_doubles_nothing(tmp_path: Path) -> None:
    crowd_while_a_slot_moves(tmp_path, writers=3, turns=60, readers=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_sixteen_writers_while_a_slot_moves(tmp_path: Path) -> None:
    crowd_while_a_slot_moves(tmp_path, writers=16, turns=1000, readers=4)


def crowd_while_a_slot_moves(folder: Path, writers: int, turns: int, readers: int) -> None:
    with servers.cluster(folder) as (url, nodes):
        slot = slot_of(nodes[0])
        primaries = [node for node in nodes if "role:master" in node.ask("INFO", "replication")]
        stop = threading.Event()
        moves = 0

        def wander() -> None:
            nonlocal moves
            while not stop.wait(0.3):
                here = slot_owner(nodes, slot)
                move_slot(slot, here, next(node for node in primaries if node is not here))
                moves += 1

        moving = threading.Thread(target=wander)
        moving.start()
        try:
            crowd(url, writers, turns, readers, patience=60)
        finally:
            stop.set()
            moving.join()
        assert moves


@pytest.mark.timeout(180)
@pytest.mark.parametrize("wait", [0, 1])
def test_a_failover_in_a_cluster_doubles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait: int
) -> None:
    fail_over_in_a_cluster(tmp_path, capsys, wait, writers=3, turns=150)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("wait", [0, 1])
def test_sixteen_writers_while_a_primary_fails_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait: int
) -> None:
    fail_over_in_a_cluster(tmp_path, capsys, wait, writers=16, turns=5 * ROUNDS)


def fail_over_in_a_cluster(
    folder: Path, capsys: pytest.CaptureFixture[str], wait: int, writers: int, turns: int
) -> None:
    with servers.cluster(folder, missed_after=2000) as (url, nodes):
        slot = slot_of(nodes[0])
        killed = slot_owner(nodes, slot)

        def fail() -> None:
            killed.kill()
            servers.wait_until(lambda: slot_owner(nodes, slot) is not killed, "the replica")
            killed.start()  # as the replica of its replica

        lost = fail_over(f"{url}?wait={wait}" if wait else url, fail, writers, turns)
    with capsys.disabled():
        print(f"\ncluster failover, WAIT {wait}: {lost} acknowledged turns lost")
    assert not (wait and lost)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("wait", [0, 1])
def test_a_failover_by_sentinel_doubles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait: int
) -> None:
    with servers.sentinel(tmp_path) as (url, primary, watcher):

        def leader() -> str:
            return watcher.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "set").split()[-1]

        def fail() -> None:
            primary.kill()
            servers.wait_until(lambda: leader() != str(primary.port), "another primary")
            primary.start()

        lost = fail_over(f"{url}?wait={wait}" if wait else url, fail)
    with capsys.disabled():
        print(f"\nsentinel failover, WAIT {wait}: {lost} acknowledged turns lost")
    assert not (wait and lost)


def fail_over(url: str, fail: Callable[[], None], writers: int = 3, turns: int = 150) -> int:
    """Let the primary fail under some writers; returns how many acknowledged turns are lost.

    Replication is asynchronous: what the old primary had not sent on is gone with it. But
    nothing may be there twice or in another order.
    """
    pause = max(_TURNS_A_LOOK, turns // 40)
    running = [Writer(url, f"w{number}", 0, turns, 60, pause) for number in range(writers)]
    servers.wait_until(
        lambda: all(run.acknowledges(20) for run in running), "the writers to begin", patience=120
    )
    fail()
    codes = [run.ended() for run in running]
    assert codes == [0] * writers, [run.complaint for run in running]
    with Memory.open(url, writer.SESSION, counter="chars") as memory:
        kept = memory.turns()
    ids = [turn.id for turn in kept]
    acknowledged = [id for run in running for id in run.acknowledged]
    assert all(turn.text == writer.text(turn.id) for turn in kept)
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(acknowledged)
    for run in running:
        mine = [id for id in ids if id in set(run.acknowledged)]
        assert mine == [id for id in run.acknowledged if id in set(ids)]
    lost = len(acknowledged) - len(ids)
    return lost
