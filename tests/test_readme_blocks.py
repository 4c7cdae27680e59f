"""Every block of the README's Python runs as it stands, one after the other, as a reader would.

Hosted models are the reading server, Redis, Sentinel and Cluster real servers that go by the
README's names here, and DeepSeek-OCR a tiny checkpoint of its architecture.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import servers
import vision_models

from optimem import Memory
from optimem.testing import ReadingServer

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
AGENTS = re.compile(r"### In agents\n.*?\n(?=### )", re.DOTALL)  # see test_readme_agents
BLOCKS = re.findall(r"```python\n(.*?)```", AGENTS.sub("", README), re.DOTALL)


def group(block: str) -> str:
    """Which of the tests below runs a block."""
    if "redis" in block and "Memory.open(" in block:
        return "stores"
    return "local" if "LocalReader" in block else "hosted"


def run(name: str, scope: dict[str, Any]) -> dict[str, Any]:
    """Run the blocks of a group in order; the first of all opens the memory that they use."""
    blocks = [block for block in BLOCKS if group(block) == name]
    assert len(blocks) >= 2
    for block in blocks if name == "hosted" else [BLOCKS[0], *blocks]:
        exec(compile(block, "README.md", "exec"), scope)
    return scope


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTIMEM_READERS", raising=False)
    return tmp_path


def test_blocks_for_hosted_models(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with ReadingServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        scope = run("hosted", {})
        paths = [exchange.path.partition("?")[0] for exchange in server.exchanges]
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages"} < set(paths)
    assert any("generateContent" in path for path in paths)
    assert all(exchange.status == 200 for exchange in server.exchanges)
    assert "6390" in server.exchanges[0].reply.text if server.exchanges[0].reply else False
    memory: Memory = scope["memory"]
    answers = [turn.text for turn in memory.turns() if turn.role == "assistant"]
    assert len(answers) >= 5 and all("6390" in answer for answer in answers)
    assert len(scope["history"]) == 1  # the last one was popped
    assert "Usage(input=" in capsys.readouterr().out


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
    run("stores", {})
    assert len(opened) >= 6
    for memory in opened[1:]:  # each is a home: what goes in comes out
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
    run("local", {})
    assert "6390" in capsys.readouterr().out
