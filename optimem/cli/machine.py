"""What OptiMem knows and finds here: `readers`, `bench`, `doctor`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from optimem.cli.terminal import JsonOption, StoreOption, out, print_json
from optimem.errors import NotFoundError, OptiMemError


def readers(as_json: JsonOption = False) -> None:
    """Every reader that is known, with its window, its prices and what a page costs it."""
    from optimem.readers import find_reader, reader_names

    profiles = [find_reader(name) for name in reader_names()]
    costs = {p.name: {tier.label: p.page_cost(tier) for tier in p.modes} for p in profiles}
    if as_json:
        rows = {
            p.name: {"window": p.window, "input_price": p.input_price, "pages": costs[p.name]}
            for p in profiles
        }
        print_json({"readers": rows})
        return
    table = Table("reader", "window", "$/M in", "tokens a page")
    for profile in profiles:
        window = "?" if profile.window is None else f"{profile.window:,}"
        price = "?" if profile.input_price is None else f"{profile.input_price:g}"
        pages = ", ".join(f"{tier} {cost}" for tier, cost in costs[profile.name].items())
        table.add_row(profile.name, window, price, pages)
    out.print(table)


def bench(
    options: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; without it they are listed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a benchmark, which ends with one JSON line. Further options are passed on to it."""
    from optimem.bench import BENCHES

    if not name:
        if as_json:
            print_json({"benchmarks": BENCHES})
        for bench_name, measures in () if as_json else BENCHES.items():
            out.print(f"{bench_name:12} {measures}", markup=False, highlight=False)
        return
    if name not in BENCHES:
        raise NotFoundError(f"no benchmark is called {name!r}: use one of {', '.join(BENCHES)}")
    sys.argv = [f"optimem bench {name}", *options.args]
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
    extras = {"tokens": _has("rs_bpe"), "redis": _has("redis")}
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


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
