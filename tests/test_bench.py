"""Every benchmark that is listed exists, and each ends with one JSON line of one shape."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from optimem.bench import BENCHES
from optimem.bench.report import Check, print_report


@pytest.mark.parametrize("name", BENCHES)
def test_each_is_a_module_with_a_main(name: str) -> None:
    module = importlib.import_module(f"optimem.bench.{name}")
    assert callable(module.main) and module.__doc__


def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("speed", 3.0, ">=", 2, "x"), Check("errors", 2.0, "<=", 1.5, "%")]
    print_report("sample", {"seconds": 0.5}, checks)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("holds") and lines[1].endswith("DOES NOT HOLD")
    report = json.loads(lines[-1])
    assert set(report) == {"bench", "machine", "versions", "results", "checks"}
    assert [check["holds"] for check in report["checks"]] == [True, False]


def test_the_command_runs_one() -> None:
    command = [sys.executable, "-m", "optimem", "bench", "startup", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["bench"] == "startup"


def test_an_unknown_one_is_refused_with_the_list() -> None:
    command = [sys.executable, "-m", "optimem", "bench", "nope"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "startup" in done.stderr
