"""Every block of Python in the README and docs/ runs as it stands, in order, as a reader would.

Hosted models are the reading server, Redis, Sentinel and Cluster real servers that go by the
documents' names here, and DeepSeek-OCR a tiny checkpoint of its architecture.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import servers
import vision_models
from documents import blocks_of, readme_blocks

from optimem import Memory
from optimem.testing import ReadingServer


def run(blocks: list[str]) -> dict[str, Any]:
    """Run blocks in order; returns what they leave behind."""
    scope: dict[str, Any] = {}
    assert len(blocks) >= 2
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number}", "exec"), scope)
    return scope


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTIMEM_READERS", raising=False)
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadingServer]:
    with ReadingServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
    assert all(exchange.status == 200 for exchange in server.exchanges)


def test_the_readme(server: ReadingServer, capsys: Any) -> None:
    scope = run([block for block in readme_blocks() if "LocalReader" not in block])
    paths = [exchange.path for exchange in server.exchanges]
    assert paths == ["/v1/chat/completions", "/v1/messages", "/v1/messages"]
    memory: Memory = scope["memory"]
    answers = [turn.text for turn in memory.turns() if turn.role == "assistant"]
    assert len(answers) == 3 and all("6390" in answer for answer in answers)
    assert len(scope["history"]) == 1  # the last one was popped
    assert "0 user We settled on port 6390 for the cache." in capsys.readouterr().out
    memory.close()


def test_blocks_for_clients(server: ReadingServer, capsys: Any) -> None:
    scope = run(blocks_of("clients"))
    paths = [exchange.path.partition("?")[0] for exchange in server.exchanges]
    assert {paths[0], paths[-1]} == {"/v1/responses", "/v1/messages"} and len(paths) == 3
    assert "generateContent" in paths[1]
    memory: Memory = scope["memory"]
    assert {turn.dialect for turn in memory.turns()} == {"openai", "responses", "gemini"}
    answers = [turn.text for turn in memory.turns() if turn.role == "assistant"]
    assert len(answers) == 3 and all("6390" in answer for answer in answers)
    assert scope["context"].reader.name == "vllm:mine"
    assert "Usage(input=" in capsys.readouterr().out
    memory.close()


@pytest.fixture
def names(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster_url: str
) -> Iterator[dict[Any, Any]]:
    """Where the README's hosts are here: (name, port) to (address, port)."""
    folder = tmp_path_factory.mktemp("readme")
    nodes = urlsplit(redis_cluster_url).netloc.split(",")
    with (
        servers.standalone(folder / "alone") as alone,
        servers.sentinel(folder / "sentinel", "mymaster") as (url, _, _),
    ):
        watchers = urlsplit(url).netloc.split(",")
        yield {
            ("localhost", 6379): f"127.0.0.1:{alone.port}",
            ("host1", 26379): watchers[0],
            ("host2", 26379): watchers[1],
            ("host1", 7000): nodes[0],
            ("host2", 7000): nodes[1],
        }


@pytest.mark.long
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_blocks_for_stores(names: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    asked: set[Any] = set()

    def known(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if (host, port) in names:
            asked.add((host, port))
            host, _, port = names[host, port].partition(":")
        return look_up(host, int(port), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    opened: list[Memory] = []
    opener = Memory.open.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Memory], *arguments: Any, **options: Any) -> Memory:
        opened.append(opener(cls, *arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Memory, "open", classmethod(noted))
    run(blocks_of("stores"))
    assert len(opened) == 5
    for memory in opened:  # each is a home: what goes in comes out
        memory.append({"role": "user", "content": "hello"}, id="said")
        assert memory.turn("said").text == "hello"
    for memory in opened:
        memory.close()
    assert {("localhost", 6379), ("host1", 26379)} <= asked
    assert {("host1", 7000), ("host2", 7000)} & asked  # a cluster is joined by any of its nodes


@pytest.mark.long
@pytest.mark.timeout(900)
def test_blocks_for_models_that_run_here(folder: Path, capsys: Any) -> None:
    model = folder / "deepseek-ai" / "DeepSeek-OCR"  # a folder of that name goes before the hub
    model.parent.mkdir()
    vision_models.save_checkpoint("deepseek-ocr", model)
    (shown,) = [block for block in readme_blocks() if "LocalReader" in block]
    run([readme_blocks()[0], shown])["memory"].close()
    capsys.readouterr()
    run(blocks_of("local"))["memory"].close()
    assert "6390" in capsys.readouterr().out
