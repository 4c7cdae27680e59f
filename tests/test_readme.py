"""The tables of the README and of docs/measured.md say what the project does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

from optimem.cli import app
from optimem.demo import READERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
TELLING = {  # of each benchmark the checks that the README shows beside those that miss their aim
    "anchors": ("anchored within 128 tokens",),
    "codec": (
        "worst text at small, decoder",
        "ids at base, decoder",
        "lines of 8 pages found at tiny",
    ),
    "context": ("a context and its request after an append",),
    "fading": ("solver: gap at 10,000 pages",),
    "legibility": ("dialogue at base", "dialogue at small", "dialogue at tiny"),
    "policy": ("evidence at 1M", "bill at 1M", "warm prefix over 1,000 requests"),
    "recall": ("answering turn among the first 5",),
    "render": (
        "raster against the best Pillow way",
        "text to PNG against Pillow",
        "text to PNG with isal against Pillow with DejaVu Sans Mono",
    ),
    "store": ("sqlite full: append beside raw", "redis: append beside raw", "redis: recall"),
}


def between(file: str, mark: str) -> re.Match[str]:
    """A table in a file, as the match's second group."""
    text = (ROOT / file).read_text("utf-8")
    match = re.search(rf"(<!-- {mark}:.*?-->\n)(.*?)(<!-- end of {mark} -->)", text, re.DOTALL)
    assert match is not None, mark
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


def checks_table(*, all: bool) -> str:
    """Figures from the kept outputs of the benchmarks: all, or the telling and the missed ones."""
    lines = ["| benchmark | figure | measured | aim | |", "|---|---|---|---|---|"]
    for path in sorted((ROOT / "docs/bench").glob("*.json")):
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
        checks = report.get("checks", ())
        assert {check["name"] for check in checks}.issuperset(TELLING.get(path.stem, ()))
        for check in checks:
            if check["holds"] and not all and check["name"] not in TELLING.get(path.stem, ()):
                continue
            aim = f"{'≤' if check['op'] == '<=' else '≥'} {check['bound']:g}"
            value = "not run" if check["value"] is None else f"{check['value']:g} {check['unit']}"
            missed = "open" if check["value"] is None else "**missed**"
            verdict = "holds" if check["holds"] else missed
            lines.append(f"| {path.stem} | {check['name']} | {value} | {aim} | {verdict} |")
    return "\n".join(lines) + "\n"


def policy_table(*sizes: str) -> str:
    """Bills and evidence from the kept output of `bench policy`, for all sizes by default."""
    report: dict[str, Any] = json.loads((ROOT / "docs/bench/policy.json").read_text("utf-8"))
    rows = report["results"]["rows"]
    readers = list(rows["1M"])
    lines = ["| session | what is sent | " + " | ".join(f"`{name}`" for name in readers) + " |"]
    lines.append("|---|---|" + "---|" * len(readers))
    for size, table in ((size, rows[size]) for size in sizes or rows):
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


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "demo table"): demo_table,
    ("README.md", "figures"): partial(checks_table, all=False),
    ("README.md", "long session"): partial(policy_table, "1M"),
    ("README.md", "commands"): commands_table,
    ("docs/measured.md", "checks"): partial(checks_table, all=True),
    ("docs/measured.md", "policy table"): policy_table,
}
"""Each table by its file and mark, and what makes it."""


@pytest.mark.parametrize(("file", "mark"), TABLES)
def test_each_table_is_what_was_measured(file: str, mark: str) -> None:
    assert between(file, mark)[2] == TABLES[file, mark]()


@pytest.mark.parametrize(
    "path", [Path("README.md"), *(p.relative_to(ROOT) for p in ROOT.glob("docs/*.md"))], ids=str
)
def test_every_link_leads_to_a_file(path: Path) -> None:
    text = (ROOT / path).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / path).parent / target).exists(), target


def test_every_file_of_the_tree_exists() -> None:
    tree = re.search(r"## Where to look\n.*?```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    for line in tree[1].splitlines():
        folder = "" if not line.startswith("  ") else "optimem/"
        for name in re.findall(r"^\s*((?:[\w]+\.py ?|[\w]+/ *)+)", line)[0].split():
            assert (ROOT / folder / name).exists(), name


def test_every_module_stands_in_the_tree() -> None:
    tree = README.partition("## Where to look")[2]
    for path in (ROOT / "optimem").glob("*.py"):
        assert path.name.startswith("__") or f"{path.name} " in tree, path.name
    for path in (ROOT / "optimem").glob("*/__init__.py"):
        assert path.parent.is_symlink() or f"  {path.parent.name}/ " in tree, path.parent.name


def write_tables() -> None:
    """Put the tables of today's figures in their places: `python tests/test_readme.py`."""
    for (file, mark), table in TABLES.items():
        match = between(file, mark)
        text = (ROOT / file).read_text("utf-8")
        (ROOT / file).write_text(text.replace(match[0], match[1] + table() + match[3]), "utf-8")


if __name__ == "__main__":
    write_tables()
