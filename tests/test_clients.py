"""What real clients send over the wire, checked by a server in this process."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from documents import readme_blocks
from openai import OpenAI
from PIL import Image

from optimem import Memory
from optimem.context import Context
from optimem.demo import packaged_session
from optimem.transcripts import parse_transcript

ROOT = Path(__file__).parent.parent
BLOCKS = readme_blocks()
TRANSCRIPT = Path(__file__).parent / "transcripts/tool_calls_tau_airline__task2_trial1.json"
OPENAI, ANTHROPIC = "openai:gpt-6-astra", "anthropic:claude-opus-5.5"
TOOLS: dict[str, list[dict[str, Any]]] = {
    OPENAI: [{"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}],
    ANTHROPIC: [{"name": "run", "input_schema": {"type": "object"}}],
}


class Provider(ThreadingHTTPServer):
    """Answers both APIs on loopback and keeps the bodies that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Provider)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        answer = _ANSWERS[self.path.rpartition("/v1")[2]] | {"model": json.loads(body)["model"]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests are quiet."""


_ANSWERS: dict[str, dict[str, Any]] = {
    "/chat/completions": {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "It was 6390.",
                    "refusal": None,
                    "annotations": [],
                },
            }
        ],
    },
    "/messages": {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "It was 6390."}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with Provider() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, "none")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def send(context: Context) -> None:
    """One request of the reader's own client."""
    if context.reader.provider == "anthropic":
        with Anthropic(max_retries=0) as client:
            client.messages.create(model="claude-opus-5-5", max_tokens=9, **context.request())
    else:
        with OpenAI(max_retries=0) as client:
            client.chat.completions.create(model="gpt-6-astra", **context.request())


def sessions() -> dict[str, list[Any]]:
    transcript = json.loads(TRANSCRIPT.read_text("utf-8"))
    return {"packaged": list(packaged_session()), "airline": parse_transcript(transcript)}


@contextmanager
def built(name: str, reader: str) -> Iterator[Context]:
    """A context most of whose turns are pages."""
    budget = 8_000 if name == "airline" else 20_000
    with Memory.open("memory://") as memory:
        memory.extend(sessions()[name])
        yield memory.context(reader, budget, tools=TOOLS[reader])


def check_png(encoded: str, side: int) -> None:
    data = base64.b64decode(encoded, validate=True)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (side, side))


def check_openai(body: dict[str, Any], context: Context) -> None:
    """The order, the images and the tool pairs of a chat completion's messages."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    systems = roles.count("system")
    assert roles[:systems] == ["system"] * systems
    assert all(isinstance(message["content"], str) for message in messages[:systems])
    pages = messages[systems]
    assert pages["role"] == "user"
    images = [block for block in pages["content"] if block["type"] == "image_url"]
    tiers = [segment.tier for segment in context.segments if segment.kind == "page"]
    assert len(images) == len(tiers) >= 2
    for block, tier in zip(images, tiers, strict=True):
        header, _, encoded = block["image_url"]["url"].partition(",")
        assert header == "data:image/png;base64" and block["image_url"]["detail"] == "original"
        check_png(encoded, tier.side)
    open_calls: list[str] = []
    for message in messages[systems + 1 :]:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, "a call has no answer"
        open_calls = [call["id"] for call in message.get("tool_calls") or ()]


def check_anthropic(body: dict[str, Any], context: Context) -> None:
    """The same of Anthropic's messages, whose system stands apart."""
    messages = body["messages"]
    assert {message["role"] for message in messages} <= {"user", "assistant"}
    assert messages[0]["role"] == "user"
    system = body.get("system", "")
    assert isinstance(system, str) or all(block["type"] == "text" for block in system)
    images = [block for block in messages[0]["content"] if block["type"] == "image"]
    tiers = [segment.tier for segment in context.segments if segment.kind == "page"]
    assert len(images) == len(tiers) >= 2
    for block, tier in zip(images, tiers, strict=True):
        source = block["source"]
        assert (source["type"], source["media_type"]) == ("base64", "image/png")
        check_png(source["data"], tier.side)
    expected: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        answers = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        assert sorted(answers) == sorted(expected)  # all of them in the very next message
        expected = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert all(block.get("text") != "" for block in blocks)


@pytest.mark.parametrize("name", ["packaged", "airline"])
@pytest.mark.parametrize("reader", [OPENAI, ANTHROPIC])
def test_a_client_sends_what_its_provider_takes(name: str, reader: str, provider: Provider) -> None:
    with built(name, reader) as context:
        send(context)
        body = json.loads(provider.bodies[0])
        assert body["tools"] == TOOLS[reader]
        assert body["messages"] == json.loads(json.dumps(context.messages()))
        (check_openai if reader == OPENAI else check_anthropic)(body, context)


@pytest.mark.parametrize("reader", [OPENAI, ANTHROPIC])
def test_two_builds_send_the_same_bytes(reader: str, provider: Provider) -> None:
    for _ in range(2):
        with built("airline", reader) as context:
            send(context)
    first, second = provider.bodies
    assert first == second and len(first) > 10_000


@pytest.mark.parametrize("reader", [OPENAI, ANTHROPIC])
def test_two_processes_make_the_same_request(reader: str) -> None:
    code = (
        "import hashlib, json, sys; from pathlib import Path\n"
        "from optimem import Memory; from optimem.transcripts import read_transcript\n"
        "with Memory.open('memory://') as memory:\n"
        "    memory.extend(read_transcript(Path(sys.argv[1])))\n"
        "    request = memory.context(sys.argv[2], 8000).request()\n"
        "print(hashlib.sha256(json.dumps(request).encode()).hexdigest())\n"
    )
    digests = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(TRANSCRIPT), reader]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(out.stdout)
    assert len(digests) == 1


def test_ids_and_times_of_turns_are_not_sent(provider: Provider) -> None:
    with Memory.open("memory://") as memory:
        message = {"role": "user", "content": "hi", "name": "ann"}
        memory.append(message | {"id": "m1", "timestamp": 3, "time": 3})
        for reader in (OPENAI, ANTHROPIC):
            send(memory.context(reader, 1000))
        assert memory.turn("m1").time == 3
    openai, anthropic = (json.loads(body)["messages"] for body in provider.bodies)
    assert openai == [message] and anthropic == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_the_readmes_block_runs_as_it_stands(
    client: str, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = next(text for text in BLOCKS if f"from {client} import" in text)
    scope: dict[str, Any] = {}
    exec(BLOCKS[0], scope)
    exec(block, scope)
    scope["client"].close()
    memory: Memory = scope["memory"]
    assert memory.turns()[-1].text == "It was 6390." and memory.turns()[-1].role == "assistant"
    sent = json.loads(provider.bodies[0])["messages"]
    assert [message["content"] for message in sent][-1] == "Which port was it?"
    request = memory.context(OPENAI, 20_000).request()  # what came back can be sent again
    assert request["messages"][-1]["content"] == "It was 6390."
    memory.close()


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_the_example_runs_as_it_stands(
    client: str,
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    script = ROOT / "examples" / f"{client}_chat.py"
    command = [sys.executable, str(script)]
    result = subprocess.run(
        command, input="Which port?\nAre you sure?\n", capture_output=True, text=True, timeout=50
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("It was 6390.") == 2 and len(provider.bodies) == 2
    second = json.loads(provider.bodies[1])["messages"]
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    with Memory.open(f"sqlite:///{tmp_path}/chat.db", session=client) as memory:
        assert [turn.role for turn in memory.turns()] == ["user", "assistant"] * 2
