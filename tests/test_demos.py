"""The demos of long sessions run as they stand, against the server that reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object) -> str:
    """What a demo prints."""
    environment = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_with_openais_client() -> None:
    out = run("openai_agent", "memory://", 10)
    assert out.count("sent") == 10
    assert "remembered: 3 of 3" in out and "faded: nothing" in out


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["langchain_agent", "openai_agent", "two_workers"])
def test_each_demo_over_redis(name: str, redis_url: str) -> None:
    out = run(name, f"{redis_url}?prefix={name}", 60)
    least = 2 if name == "two_workers" else 3  # who says what first is chance there
    assert any(f"remembered: {right} of 3 facts" in out for right in range(least, 4))
    assert "tiny" in out or "small" in out, "pages have faded"
    assert ("the first process died with 9" in out) == (name == "langchain_agent")
