"""The blocks for agents of the README and docs/agents.md run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from documents import agent_blocks

from optimem import Memory
from optimem.testing import ReadingServer

BLOCKS = agent_blocks()
RUN = """
import sys
for number, block in enumerate(sys.stdin.read().split("\\0")):
    print("block", number, flush=True)
    exec(compile(block, f"block {number}", "exec"), {})
"""


def test_every_block_runs(tmp_path: Path) -> None:
    assert len(BLOCKS) == 6
    with ReadingServer() as server:
        environment = {**os.environ, **server.environment, "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            input="\0".join(BLOCKS),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.exchanges) == 3
    assert "We settled on port 6390 for the cache." in done.stdout
    assert "AIMessage(content='Port 6390.'" in done.stdout
    url = f"sqlite:///{tmp_path}/agent.db"
    kept = [("42", "acme", 2), ("42", "default", 3), ("clerk", "default", 2)]
    for session, namespace, turns in kept:
        with Memory.open(url, session, namespace=namespace) as memory:
            assert len(memory.turns()) == turns
