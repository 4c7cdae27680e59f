"""The example of a local model runs as it stands; those of hosted ones are in test_clients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import vision_models

from optimem import Memory

EXAMPLE = Path(__file__).parent.parent / "examples" / "local_chat.py"


def test_a_local_model_chats_and_remembers(tmp_path: Path) -> None:
    vision_models.save_checkpoint("qwen3-vl", tmp_path / "model")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path / "model")],
        input="Which port?\nAnd the host?\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    with Memory.open(f"sqlite:///{tmp_path}/chat.db", session="local") as memory:
        assert [turn.role for turn in memory.turns()] == ["user", "assistant"] * 2
