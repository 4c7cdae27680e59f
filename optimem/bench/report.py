"""The line that every benchmark ends with: one JSON object, the same shape for all."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

_PACKAGES = ("optimem", "numpy", "pillow", "rs_bpe", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Check:
    """A figure, None where it was not run, and the bound that it is held against."""

    name: str
    value: float | None
    op: Literal["<=", ">="]
    bound: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound."""
        if self.value is None:
            return False
        return self.value <= self.bound if self.op == "<=" else self.value >= self.bound


def print_report(bench: str, results: dict[str, Any], checks: Sequence[Check]) -> None:
    """Print the checks for people, then the JSON line for machines."""
    for check in checks:
        verdict = "holds" if check.holds else "DOES NOT HOLD"
        value = f"{check.value} {check.unit}"
        if check.value is None:
            value, verdict = "not run", "open"
        print(f"{check.name}: {value} ({check.op} {check.bound}) {verdict}")
    report = {
        "bench": bench,
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": _versions(),
        "results": results,
        "checks": [{**asdict(check), "holds": check.holds} for check in checks],
    }
    print(json.dumps(report))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
