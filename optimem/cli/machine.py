"""What OptiMem knows and finds here: `readers`, `bench`, `doctor`."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from optimem.cli.terminal import JsonOption, StoreOption, out, print_json, progress_bar
from optimem.errors import NotFoundError, OptiMemError

if TYPE_CHECKING:
    from optimem.readers import Profile

_EXTRAS = {
    "tokens": "rs_bpe",
    "redis": "redis",
    "crypto": "cryptography",
    "vision": "torch",
    "langchain": "langchain",
    "langchain-classic": "langchain_classic",
    "openai-agents": "agents",
    "pydantic-ai": "pydantic_ai",
    "llama-index": "llama_index",
    "mcp": "mcp",
    "otel": "opentelemetry",
    "fast": "isal",
    "calibrate": "openai",
    "bench": "reportlab",
}  # each extra, and a module that it brings


def readers(
    name: Annotated[str, typer.Argument(help="Everything that is known of this one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Every reader that is known, with its window, its prices and what a page costs it."""
    from optimem.readers import describe, find_reader, reader_names

    profiles = [find_reader(each) for each in ([name] if name else reader_names())]
    rows = {profile.name: describe(profile) for profile in profiles}
    if name:
        rows[profiles[0].name]["sheets"] = _sheets(profiles[0])
    if as_json:
        print_json({"readers": rows})
        return
    if name:
        for key, value in next(iter(rows.values())).items():
            print(f"{key:13} {_plain(value)}")
        return
    table = Table("reader", "window", "$/M in", "cached", "tokens a page")
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max(map(len, rows))
    for row in rows.values():
        pages = ", ".join(f"{tier} {cost}" for tier, cost in row["pages"].items())
        numbers = (row["window"], row["input_price"], row["cached_price"])
        table.add_row(row["name"], *map(_plain, numbers), pages or "reads no images")
    out.print(table)


def _sheets(profile: Profile) -> dict[str, str]:
    """The sheets that its server leaves alone, where several pages on one are cheaper."""
    from optimem.errors import InputError
    from optimem.modes import MODES
    from optimem.renderers.sheets import best_sheet

    found = {}
    for tier in MODES:
        with contextlib.suppress(InputError):
            sheet = best_sheet(profile, tier, 24)
            width, height = sheet.size
            grid = f"{sheet.columns}x{sheet.rows} in {width}x{height}"
            found[tier.label] = f"{grid} at {float(sheet.cost):.0f} a page"
    return found


def _plain(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items()) or "none"
    return ", ".join(map(_plain, value)) if isinstance(value, (list, tuple)) else str(value)


def bench(
    options: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; without it they are listed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a benchmark, which ends with one JSON line. Its options: `optimem bench NAME --help`."""
    from optimem.bench import BENCHES

    if name == "--help":
        out.print(options.get_help())
        return
    if not name:
        table = Table.grid(padding=(0, 2))
        for row in BENCHES.items():
            table.add_row(*row)
        if as_json:
            print_json({"benchmarks": BENCHES})
        else:
            out.print(table)
        return
    if name not in BENCHES:
        raise NotFoundError(f"no benchmark is called {name!r}: use one of {', '.join(BENCHES)}")
    sys.argv = [f"optimem bench {name}", *options.args]
    with progress_bar(as_json, refresh=1) as progress:  # a thread that hardly disturbs
        progress.add_task(f"measuring {name}", total=None)
        importlib.import_module(f"optimem.bench.{name}").main()


def doctor(store: StoreOption = "", as_json: JsonOption = False) -> None:
    """What is installed and what can be reached. Exits with 2 when something needed is missing."""
    import platform
    import sqlite3

    import optimem
    from optimem.renderers.atlas import load_atlas
    from optimem.stores import default_url, open_store
    from optimem.tokens import find_counter

    url = store or default_url()

    def reach_store() -> str:
        try:
            with contextlib.closing(open_store(url, create=False)) as opened:
                return "; ".join((opened.url, *opened.warnings()))
        except NotFoundError:
            return f"{url} (not there yet: its first turn makes it)"

    checks: dict[str, Callable[[], str]] = {
        "optimem": lambda: optimem.__version__,
        "python": platform.python_version,
        "sqlite": lambda: sqlite3.sqlite_version,
        "counter": lambda: find_counter().name,
        "atlas": lambda: load_atlas().key[:12],
        "store": reach_store,
    }
    report: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name, check in checks.items():
        try:
            report[name] = check()
        except (OptiMemError, OSError, ImportError) as error:
            problems[name] = str(error)
    extras = {extra: find_spec(module) is not None for extra, module in _EXTRAS.items()}
    if not as_json:
        for name, value in (report | problems).items():
            print(f"{name:8} {value}")
        for extra, installed in extras.items():
            line = "installed" if installed else f"pip install 'optimem[{extra}]'"
            print(f"extra    {extra}: {line}")
    if problems:
        raise OptiMemError("; ".join(problems.values()))
    if as_json:
        print_json({**report, "extras": extras})
