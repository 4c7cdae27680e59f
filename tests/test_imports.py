"""`import optimem` stays light, and exports just what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import optimem

HEAVY = {"PIL", "langchain", "langchain_core", "numpy", "redis", "torch", "typer"}


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, optimem; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert "optimem" in loaded
    assert not loaded & HEAVY


def test_every_public_name_can_be_imported() -> None:
    assert optimem.__all__ == sorted(optimem.__all__)
    for name in optimem.__all__:
        assert getattr(optimem, name).__name__ == name
        assert name in dir(optimem)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="'optimem' has no attribute 'memory_'"):
        _ = optimem.memory_
