"""Claims and queues: one suite over every home, and real Redis alone and as a Cluster."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from optimem.stores import Job, Leased, Queue, Store, jobs_redis, new_key, open_store
from optimem.stores.redis_scripts import Script
from optimem.stores.sqlite import SQLiteStore
from optimem.values import Scope

MINE, OTHER = Scope("acme", "42"), Scope("acme", "43")
HOMES = ("memory", "sqlite", "redis", "redis_cluster")


@pytest.fixture(params=HOMES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'jobs.db'}"}
    url = urls.get(request.param) or request.getfixturevalue(f"{request.param}_url")
    end = f"?prefix={tmp_path.name}" if url.startswith("redis") else ""
    return str(url + end)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with contextlib.closing(open_store(url)) as opened:
        yield opened


def queue(name: str = "model") -> Queue:
    return Queue("acme", name)


def jobs(count: int, session: str = "42") -> list[Job]:
    return [Job(session, number, "tiny") for number in range(count)]


def tickets(leased: list[Leased]) -> list[str]:
    return [each.ticket for each in leased]


def test_jobs_are_read_with_the_key_that_they_are_kept_with(url: str) -> None:
    with contextlib.closing(open_store(url, new_key())) as store:
        store.jobs.put(queue(), jobs(2, session="sécret"))
        assert [each.job for each in store.jobs.take(queue(), "ann", 9, 60)] == jobs(2, "sécret")


def test_a_damaged_job_is_dropped_and_said(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(open_store(url)) as store:
        store.jobs.put(queue(), jobs(3))
        damage_first_jobs(store)
        assert [each.job for each in store.jobs.take(queue(), "ann", 9, 60)] == jobs(3)[2:]
        assert store.jobs.count(queue()) == 1
        assert [record.message[:31] for record in caplog.records] == [
            "a job was dropped: a job in the"
        ] * 2


def damage_first_jobs(store: Any) -> None:
    """A mode that there is not, and a page that is no number."""
    if isinstance(store, SQLiteStore):
        with store._database.write() as db:
            db.execute("UPDATE job SET mode = x'ff' WHERE page = 0")
            db.execute("UPDATE job SET page = 'one' WHERE page = 1")
        return
    name = store.steps.queue_key("acme", "model")
    entries = store._client.xrange(name)
    store._client.delete(name)
    entries[0][1][b"mode"] = b"\xff"
    del entries[1][1][b"mode"]
    for _, fields in entries:
        store._client.xadd(name, fields)


def test_a_claim_is_one_holders_until_it_is_given_up(store: Store) -> None:
    claims = store.jobs
    assert claims.claim(MINE, ["a", "b"], "ann", 60) == {"a", "b"}
    assert claims.claim(MINE, ["b", "c"], "bob", 60) == {"c"}
    assert claims.claim(OTHER, ["b"], "bob", 60) == {"b"}
    assert claims.claim(MINE, ["a", "b"], "ann", 60) == {"a", "b"}
    claims.release(MINE, ["a", "c"], "ann")
    assert claims.claim(MINE, ["a", "b", "c"], "cid", 60) == {"a"}
    assert claims.claim(MINE, [], "cid", 60) == frozenset()
    claims.release(MINE, [], "cid")


def test_a_claim_passes_on_when_its_holder_is_silent(store: Store) -> None:
    claims = store.jobs
    claims.claim(MINE, ["a", "b"], "ann", 0.3)
    claims.claim(MINE, ["b"], "ann", 60)  # renewed
    servers.wait_until(lambda: "a" in claims.claim(MINE, ["a"], "bob", 60), "the claim to lapse")
    assert claims.claim(MINE, ["a", "b"], "cid", 60) == frozenset()


def test_one_of_many_gets_the_claim(store: Store) -> None:
    winners = Counter[str]()
    keys = [f"k{number}" for number in range(20)]

    def run(holder: str) -> None:
        for key in keys:
            if store.jobs.claim(MINE, [key], holder, 60):
                winners[key] += 1

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == dict.fromkeys(keys, 1)


def test_jobs_are_handed_out_once_in_order(store: Store) -> None:
    store.jobs.put(queue(), jobs(5))
    store.jobs.put(queue("another model"), jobs(1))
    store.jobs.put(queue(), [])
    assert store.jobs.count(queue()) == 5
    first = store.jobs.take(queue(), "ann", 2, 60)
    second = store.jobs.take(queue(), "bob", 9, 60)
    assert [each.job for each in first + second] == jobs(5)
    assert {each.tries for each in first + second} == {1}
    assert store.jobs.take(queue(), "ann", 9, 60) == []
    assert store.jobs.count(queue()) == 5
    store.jobs.finish(queue(), tickets(first))
    store.jobs.finish(queue(), [])
    assert store.jobs.count(queue()) == 3
    store.jobs.finish(queue(), tickets(second))
    assert store.jobs.count(queue()) == 0
    assert store.jobs.count(queue("another model")) == 1
    assert store.jobs.count(Queue("other", "model")) == 0


def test_names_of_sessions_may_hold_anything(store: Store) -> None:
    hostile = ["", "a:b", "{x}", "nul\x00", "\ud800 lone", "'; DROP TABLE job; --", "🧠"]
    wanted = [Job(name, number, "gundam") for number, name in enumerate(hostile)]
    store.jobs.put(queue(), wanted)
    assert [each.job for each in store.jobs.take(queue(), "ann", 99, 60)] == wanted


def test_a_silent_workers_jobs_pass_on_first(store: Store) -> None:
    store.jobs.put(queue(), jobs(3))
    lost = store.jobs.take(queue(), "ann", 2, 0.2)
    time.sleep(0.3)
    found = store.jobs.take(queue(), "bob", 2, 0.2)
    assert [(each.job, each.tries) for each in found] == [(each.job, 2) for each in lost]
    store.jobs.renew(queue(), "ann", tickets(lost), 60)  # too late: they are bob's
    time.sleep(0.3)
    assert [each.tries for each in store.jobs.take(queue(), "cid", 2, 0.2)] == [3, 3]


def test_a_worker_that_is_heard_of_keeps_its_jobs(store: Store) -> None:
    store.jobs.put(queue(), jobs(1))
    held = store.jobs.take(queue(), "ann", 1, 0.5)
    for _ in range(4):
        time.sleep(0.2)
        store.jobs.renew(queue(), "ann", tickets(held), 0.5)
        assert store.jobs.take(queue(), "bob", 1, 0.5) == []


def test_jobs_given_back_are_at_once_anothers(store: Store) -> None:
    store.jobs.put(queue(), jobs(2))
    held = store.jobs.take(queue(), "ann", 2, 600)
    store.jobs.give_back(queue(), "bob", tickets(held))  # not bob's
    assert store.jobs.take(queue(), "bob", 2, 600) == []
    store.jobs.give_back(queue(), "ann", tickets(held))
    found = store.jobs.take(queue(), "bob", 2, 600)
    assert [(each.job, each.tries) for each in found] == [(job, 2) for job in jobs(2)]


def test_an_unknown_queue_is_an_empty_one(store: Store) -> None:
    assert store.jobs.take(queue(), "ann", 1, 60) == []
    assert store.jobs.count(queue()) == 0
    store.jobs.renew(queue(), "ann", ["1"], 60)
    store.jobs.give_back(queue(), "ann", ["1"])
    store.jobs.finish(queue(), ["1"])


def test_workers_that_were_silent_for_long_are_struck_off(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those without jobs: with a worker's name Redis would drop what it holds."""
    day = str(jobs_redis._FORGOTTEN)
    short = Script(jobs_redis._FINISH.text.replace(day, "100"))
    monkeypatch.setattr(jobs_redis, "_FINISH", short)
    with (
        contextlib.closing(open_store(f"{redis_url}?prefix=silent")) as store,
        contextlib.closing(redis.Redis.from_url(redis_url)) as client,
    ):
        store.jobs.put(queue(), jobs(4))
        store.jobs.finish(queue(), tickets(store.jobs.take(queue(), "idle", 1, 60)))
        store.jobs.take(queue(), "holds one", 1, 60)
        time.sleep(0.2)
        store.jobs.finish(queue(), tickets(store.jobs.take(queue(), "busy", 1, 60)))
        (name,) = client.keys("silent:*")
        left = {each["name"] for each in client.xinfo_consumers(name, "workers")}
        assert left == {b"busy", b"holds one"}
