"""`import optimem` stays light: what is heavy or optional is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"PIL", "langchain", "langchain_core", "numpy", "redis", "torch", "typer"}


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, optimem; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert "optimem" in loaded
    assert not loaded & HEAVY
