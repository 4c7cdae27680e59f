"""Pages are encoded once by whoever is first: contexts, workers, and those that die at it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers
import vision_models
import vision_player

from optimem import Memory, Tier
from optimem.errors import InputError, ReaderError
from optimem.messages import parse
from optimem.stores import Job, Store, open_store
from optimem.values import Scope
from optimem.vision import LocalReader
from optimem.worker import Worker

PLAYER = Path(vision_player.__file__)
SCOPE = Scope("default", "s")
MODES = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_models.save_checkpoint("deepseek-ocr", tmp_path_factory.mktemp("model"))


@contextlib.contextmanager
def players(*words: object) -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """Processes that encode, by their ids, and the one that they are forks of."""
    command = [sys.executable, str(PLAYER), *map(str, words)]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert host.stdout is not None and host.stderr is not None
    line = host.stdout.readline()
    assert line, host.stderr.read()
    ids: list[int] = json.loads(line)
    try:
        yield ids, host
    finally:
        for id in ids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(id, signal.SIGKILL)
        host.communicate()


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def encodings(log: Path) -> Counter[str]:
    return Counter(name for line in lines_of(log) for name in line.get("encodes", ()))


def stored(log: Path) -> Counter[str]:
    return Counter(line["stores"] for line in lines_of(log) if line.get("first"))


def replay(url: str, folder: Path, log: Path, turns: int) -> None:
    with players(3, "play", url, folder, log, turns) as (_, host):
        _, complaint = host.communicate()
        assert host.returncode == 0, complaint
    work = [line["work"] for line in lines_of(log) if "work" in line]
    once = encodings(log)
    assert {name: times for name, times in once.items() if times > 1} == {}
    assert once == stored(log)
    assert sum(each["encoded"] for each in work) == len(once) > turns / 4
    assert len(work) == 3 and all(each["stored"] > 0 for each in work)
    assert {name.rpartition("/")[2] for name in once} == {mode.label for mode in MODES}
    with Memory.open(url, vision_player.SESSION) as memory:
        said = {turn.id: turn.text for turn in memory.turns()}
    assert said == {f"t{number}": vision_player.text(number) for number in range(turns)}


@pytest.mark.timeout(600)
def test_three_processes_encode_each_page_once(
    redis_url: str, folder: Path, tmp_path: Path
) -> None:
    """Each in its mode, in a replay of 200 turns in which all three plan at once."""
    replay(f"{redis_url}?prefix={tmp_path.name}", folder, tmp_path / "log", turns=200)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'w.db'}")
    yield opened
    opened.close()


@pytest.fixture
def reader(folder: Path) -> LocalReader:
    return LocalReader.load(str(folder), device="cpu", batch=4)


def filled(store: Store, turns: int = 30, scope: Scope = SCOPE) -> Memory:
    memory = Memory(store, scope, counter="chars")
    turn = {"role": "user", "content": ""}
    memory.extend(
        parse(turn | {"content": vision_player.text(n)}, id=f"t{n}") for n in range(turns)
    )
    return memory


def jobs_for(memory: Memory, reader: LocalReader, *modes: Tier) -> list[Job]:
    """Jobs for every page of a session in some modes, queued."""
    session = memory.scope.session
    jobs = [Job(session, page.number, mode.label) for mode in modes for page in memory.pages()]
    memory.store.jobs.put(reader.queue(memory.scope.namespace), jobs)
    return jobs


def test_a_worker_stores_what_contexts_then_find(store: Store, reader: LocalReader) -> None:
    memory = filled(store)
    jobs = jobs_for(memory, reader, Tier.TINY, Tier.BASE)
    worker = Worker(store, reader)
    reported: list[int] = []
    worker.run(drain=True, report=lambda: reported.append(worker.waiting))
    assert worker.work == {"done": len(jobs), "obsolete": 0}
    assert reader.work["encoded"] == len(jobs)
    assert reported == sorted(reported, reverse=True) and reported[-1] == 0
    for page in memory.pages():
        assert store.blob(SCOPE, str(reader.key(page.hash, Tier.TINY))) is not None
    jobs_for(memory, reader, Tier.TINY)
    worker.run(drain=True)
    assert reader.work["encoded"] == len(jobs)


def test_a_context_leaves_its_pages_to_workers(store: Store, folder: Path) -> None:
    """And the next epoch's before it comes: this process then encodes nothing at all."""
    patient = LocalReader.load(str(folder), device="cpu", batch=4, patience=60)
    busy = LocalReader.load(str(folder), device="cpu", batch=4)
    worker = Worker(store, busy)
    ahead = 0
    with running(worker):
        memory = filled(store, 0)
        for number in range(40):
            memory.append({"role": "user", "content": vision_player.text(number)})
            before = busy.work["encoded"], patient.work["stored"]
            memory.context(reader=patient, budget=8000).model_inputs()
            servers.wait_until(lambda: not worker.waiting, "the worker", 120)
            ahead += busy.work["encoded"] > before[0] and patient.work["stored"] == before[1]
    assert patient.work["encoded"] == 0 < patient.work["stored"]
    assert ahead > 0


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[None]:
    """A worker in a thread, until the end."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            if not worker.step():
                time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_without_workers_a_patient_reader_encodes_in_the_end(store: Store, folder: Path) -> None:
    reader = LocalReader.load(str(folder), device="cpu", patience=0.5)
    memory = filled(store)
    memory.context(reader=reader, budget=9000).model_inputs()
    assert reader.work["encoded"] > 1
    plain = LocalReader.load(str(folder), device="cpu")
    worker = Worker(store, plain)
    worker.run(drain=True)
    assert plain.work["encoded"] == 0 < worker.work["done"]


def test_jobs_of_other_models_and_namespaces_are_left_alone(store: Store, folder: Path) -> None:
    reader = LocalReader.load(str(folder), device="cpu")
    exact = LocalReader.load(str(folder), device="cpu", precision="fp32")
    memory = filled(store)
    jobs = jobs_for(memory, reader, Tier.TINY)
    for worker in (Worker(store, exact), Worker(store, reader, "another")):
        worker.run(drain=True)
        assert worker.work == {}
    assert store.jobs.count(reader.queue("default")) == len(jobs)


def test_jobs_of_pages_that_are_gone_are_obsolete(store: Store, reader: LocalReader) -> None:
    memory = filled(store)
    jobs = jobs_for(memory, reader, Tier.TINY)
    memory.forget(session=True)
    worker = Worker(store, reader)
    worker.run(drain=True)
    assert worker.work["obsolete"] == len(jobs) and worker.work["done"] == 0
    assert reader.work["encoded"] == 0


def test_what_fails_is_tried_again_alone_and_given_up_in_the_end(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One page that cannot be encoded takes nothing else with it."""
    reader = LocalReader.load(str(folder), device="cpu", batch=4, lease=0.2)
    memory = filled(store)
    jobs = jobs_for(memory, reader, Tier.TINY)
    poison = memory.page(1).hash
    encode = reader._encode

    def failing(pictures: Any, tier: Tier) -> Any:
        if any(picture.name == poison for picture in pictures):
            raise ReaderError("no memory")
        return encode(pictures, tier)

    monkeypatch.setattr(reader, "_encode", failing)
    worker = Worker(store, reader)
    worker.run(drain=True)
    assert worker.work["failed"] == 1
    assert worker.work["done"] == len(jobs) - 1 == reader.work["encoded"]
    assert "not encoded: no memory" in caplog.text


def test_a_page_that_ends_its_workers_is_given_up(store: Store, folder: Path) -> None:
    reader = LocalReader.load(str(folder), device="cpu", lease=0.01)
    memory = filled(store)
    (first, *_) = jobs_for(memory, reader, Tier.TINY)
    queue = reader.queue("default")
    for _ in range(3):
        assert store.jobs.take(queue, "killed", 1, 0.01)[0].job == first
        time.sleep(0.05)
    worker = Worker(store, reader)
    worker.run(drain=True)
    assert worker.work["failed"] == 1 and worker.work["done"] == len(memory.pages()) - 1


def test_a_worker_of_workers_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(InputError, match="load its reader without patience"):
        Worker(store, LocalReader.load(str(folder), device="cpu", patience=1))
    with pytest.raises(InputError, match="lease is longer than 0"):
        LocalReader.load(str(folder), device="cpu", lease=0)


def is_encoding(log: Path, process: int) -> bool:
    """Whether a process has begun a batch and not yet stored any of it."""
    own = [line for line in lines_of(log) if line.get("process") == process]
    return bool(own) and "encodes" in own[-1]


def killed_workers(url: str, folder: Path, tmp_path: Path, count: int) -> None:
    """Kill workers in the middle of a batch; others go on, and every page is stored once."""
    log = tmp_path / "log"
    reader = LocalReader.load(str(folder), device="cpu", batch=4)
    with contextlib.closing(open_store(url)) as store:
        memory = filled(store, 60)
        jobs = jobs_for(memory, reader, Tier.TINY, Tier.SMALL)
        queue = reader.queue("default")
        with players(count + 1, "work", url, folder, log, 1, 0.3) as (ids, _):
            for id in ids[:-1]:
                servers.wait_until(partial(is_encoding, log, id), "a worker to begin", 120)
                os.kill(id, signal.SIGKILL)
            servers.wait_until(lambda: not store.jobs.count(queue), "the last worker", 120)
        keys = [str(reader.key(p.hash, t)) for p in memory.pages() for t in (Tier.TINY, Tier.SMALL)]
        assert all(store.blob(SCOPE, key) is not None for key in keys)
    again = sum(times - 1 for times in encodings(log).values())
    assert again <= count * 4
    assert len(encodings(log)) == len(jobs) == len(keys)
    assert set(stored(log).values()) == {1} and len(stored(log)) == len(jobs)


@pytest.mark.timeout(600)
def test_what_killed_workers_had_begun_passes_on(
    redis_url: str, folder: Path, tmp_path: Path
) -> None:
    killed_workers(f"{redis_url}?prefix={tmp_path.name}", folder, tmp_path, 2)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_killed_workers_had_begun_passes_on_in_sqlite(folder: Path, tmp_path: Path) -> None:
    killed_workers(f"sqlite:///{tmp_path / 'w.db'}", folder, tmp_path, 4)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_killed_workers_had_begun_passes_on_in_a_cluster(
    redis_cluster_url: str, folder: Path, tmp_path: Path
) -> None:
    killed_workers(f"{redis_cluster_url}?prefix={tmp_path.name}", folder, tmp_path, 4)


@pytest.mark.timeout(600)
def test_the_command_encodes_what_is_queued(folder: Path, tmp_path: Path) -> None:
    """Ctrl-C ends it at once; what it had in hand is another's without waiting for a lease."""
    url = f"sqlite:///{tmp_path / 'w.db'}"
    reader = LocalReader.load(str(folder), device="cpu")
    with contextlib.closing(open_store(url)) as store:
        jobs = jobs_for(filled(store), reader, Tier.LARGE, Tier.BASE, Tier.TINY)
        command = [sys.executable, "-m", "optimem", "worker", "--reader", str(folder), "--json"]
        command += ["--store", url, "--device", "cpu", "--batch", "2", "--lease", "600"]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        queue = reader.queue("default")
        servers.wait_until(lambda: store.jobs.count(queue) < len(jobs), "the first batch", 120)
        first.send_signal(signal.SIGINT)
        out, complaint = first.communicate()
        assert first.returncode == 0, complaint
        report = json.loads(out.splitlines()[-1])
        assert report["waiting"] == len(jobs) - report["done"] == store.jobs.count(queue) > 0
        done = subprocess.run([*command, "--drain"], capture_output=True, text=True, check=True)
        rest = json.loads(done.stdout.splitlines()[-1])
    assert rest["waiting"] == rest["failed"] == 0
    assert report["done"] + rest["done"] == len(jobs)
    assert report["encoded"] + rest["encoded"] <= len(jobs) + 2
