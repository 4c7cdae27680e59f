"""The README's tables and code say what the project does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer

from optimem.cli import app
from optimem.demo import READERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def between(start: str, end: str) -> re.Match[str]:
    """What stands between two marks of the README, as the match's second group."""
    match = re.search(rf"(<!-- {start}.*?-->\n)(.*?)(<!-- {end} -->)", README, re.DOTALL)
    assert match is not None, start
    return match


def demo_table() -> str:
    """The README's table, made from the kept output of the demo."""
    demo: dict[str, Any] = json.loads((ROOT / "docs/bench/demo.json").read_text("utf-8"))
    lines = ["| reader | budget | " + " | ".join(f"{p} %" for p in demo["growth"]) + " | smaller |"]
    lines.append("|---|---|" + "---|" * len(demo["growth"]) + "---|")
    for name in READERS:
        cells = [
            f"{text:,} → {tokens:,}" for text, tokens in (g[name] for g in demo["growth"].values())
        ]
        row = demo["readers"][name]
        lines.append(
            f"| `{name}` | {row['budget']:,} | " + " | ".join(cells) + f" | {row['ratio']:.1f}x |"
        )
    return "\n".join(lines) + "\n"


def checks_table() -> str:
    """The README's table of figures, made from the kept outputs of the benchmarks."""
    lines = ["| benchmark | figure | measured | aim | |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "docs/bench").glob("*.json")):
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for check in report.get("checks", ()):
            aim = f"{'≤' if check['op'] == '<=' else '≥'} {check['bound']:g}"
            value = "not run" if check["value"] is None else f"{check['value']:g} {check['unit']}"
            missed = "open" if check["value"] is None else "**missed**"
            verdict = "holds" if check["holds"] else missed
            lines.append(f"| {path.stem} | {check['name']} | {value} | {aim} | {verdict} |")
    return "\n".join(lines) + "\n"


def policy_table() -> str:
    """The README's table of bills and evidence, made from the kept output of `bench policy`."""
    report: dict[str, Any] = json.loads((ROOT / "docs/bench/policy.json").read_text("utf-8"))
    rows = report["results"]["rows"]
    readers = list(rows["1M"])
    lines = ["| session | what is sent | " + " | ".join(f"`{name}`" for name in readers) + " |"]
    lines.append("|---|---|" + "---|" * len(readers))
    for size, table in rows.items():
        for row in table[readers[0]]:
            cells = []
            for reader in readers:
                figures, full = table[reader][row], table[reader].get("full text")
                bill = f"${figures['dollars']:,.2f}"
                if full is not None:
                    bill = f"{100 * figures['dollars'] / full['dollars']:.0f} %"
                cells.append(f"{bill}, {figures['evidence_percent']:.1f} %")
            lines.append(f"| {size} | {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def commands_table() -> str:
    """The README's list of commands, made from their own help."""
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    lines = ["| command | what it does |", "|---|---|"]
    for name, command in commands.items():
        lines.append(f"| `optimem {name}` | {str(command.help).splitlines()[0]} |")
    return "\n".join(lines) + "\n"


def test_the_table_is_the_demos_own_output() -> None:
    assert between("demo table", "end of demo table")[2] == demo_table()


def test_the_figures_are_the_benchmarks_own_output() -> None:
    assert between("checks", "end of checks")[2] == checks_table()


def test_the_bills_are_the_benchmarks_own_output() -> None:
    assert between("policy table", "end of policy table")[2] == policy_table()


def test_the_commands_are_the_command_lines_own_help() -> None:
    assert between("commands", "end of commands")[2] == commands_table()


def test_the_first_block_runs_as_it_stands(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(blocks[0], scope)
    scope["memory"].close()
    assert "0 user We settled on port 6390 for the cache." in capsys.readouterr().out


def test_every_file_of_the_tree_exists() -> None:
    tree = re.search(r"## Where to look\n\n```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    for line in tree[1].splitlines():
        folder = "" if not line.startswith("  ") else "optimem/"
        for name in re.findall(r"^\s*((?:[\w]+\.py ?|[\w]+/ *)+)", line)[0].split():
            assert (ROOT / folder / name).exists(), name


def test_every_module_stands_in_the_tree() -> None:
    tree = README.partition("## Where to look")[2]
    for path in (ROOT / "optimem").glob("*.py"):
        assert path.name.startswith("__") or f"{path.name} " in tree, path.name


def write_tables() -> None:
    """Put the tables of today's figures into the README: `python tests/test_readme.py`."""
    text = README
    for start, end, table in (
        ("demo table", "end of demo table", demo_table()),
        ("checks", "end of checks", checks_table()),
        ("policy table", "end of policy table", policy_table()),
        ("commands", "end of commands", commands_table()),
    ):
        match = between(start, end)
        text = text.replace(match[0], match[1] + table + match[3])
    (ROOT / "README.md").write_text(text, "utf-8")


if __name__ == "__main__":
    write_tables()
