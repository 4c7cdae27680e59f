"""The blocks of Python in the README and in docs/, which tests run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_AGENTS = re.compile(r"### In agents\n.*?\n(?=##)", re.DOTALL)  # for those of docs/agents.md


def readme_blocks() -> list[str]:
    """The README's, in order, without the one for agents."""
    return _blocks(_AGENTS.sub("", _read("README.md")))


def agent_blocks() -> list[str]:
    """Those for agents: each stands alone."""
    (section,) = _AGENTS.findall(_read("README.md"))
    return list(dict.fromkeys(_blocks(section) + blocks_of("agents")))


def blocks_of(name: str) -> list[str]:
    """Those of a file in docs/, in order."""
    return _blocks(_read(f"docs/{name}.md"))


def _read(path: str) -> str:
    return (_ROOT / path).read_text("utf-8")


def _blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
