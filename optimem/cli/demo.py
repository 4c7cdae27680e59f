"""`optimem demo`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from optimem.cli.terminal import JsonOption, out, print_json, progress_bar
from optimem.errors import InputError


def demo(
    sheet: Annotated[
        Path, typer.Option("--sheet", help="Where to write the contact sheet (PNG).")
    ] = Path("optimem-demo.png"),
    as_json: JsonOption = False,
) -> None:
    """Replay a recorded coding session and watch it fade. Needs no model and no network."""
    from optimem.demo import packaged_session, run_demo

    with progress_bar(as_json) as progress:
        task = progress.add_task("replaying", total=len(packaged_session()))
        try:
            result = run_demo(sheet, lambda: progress.advance(task))
        except OSError as error:
            raise InputError(
                f"cannot write {sheet}: {error.strerror}; name another --sheet"
            ) from None
    if as_json:
        print_json(dataclasses.asdict(result))
        return
    title = "Tokens as plain text > as OptiMem's context"
    table = Table(box=box.SIMPLE_HEAD, title=title, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("reader", no_wrap=True)
    for percent in result.growth:
        table.add_column(f"{percent} %", justify="right", no_wrap=True)
    table.add_column("smaller", justify="right", no_wrap=True)
    for name, row in result.readers.items():
        growth = (by_reader[name] for by_reader in result.growth.values())
        cells = [f"{text / 1000:.0f}k>{sent / 1000:.1f}k" for text, sent in growth]
        table.add_row(name.rpartition(":")[2], *cells, f"{row['ratio']:.1f}x")
    out.print(table)
    budgets = ", ".join(
        f"{n.rpartition(':')[2]} {row['budget']:,}" for n, row in result.readers.items()
    )
    out.print(f"Budgets: {budgets}", highlight=False)
    tiers = ", ".join(f"{count} {tier}" for tier, count in result.tiers.items())
    out.print(f"{result.turns} turns on {result.pages} pages; for deepseek-ocr: {tiers}")
    stored = ", ".join(f"{kind} {size / 1024:,.0f} KiB" for kind, size in result.stored.items())
    out.print(f"In the store: {stored}")
    anchors = result.anchors
    out.print(f"Exact strings beside page {anchors['page']}: {'; '.join(anchors['strings'])}")
    out.print(f"Place and exact strings cost {anchors['tokens_a_page']} tokens a page.")
    recall = result.recall
    how = "exactly as it came" if recall["exact"] else "NOT as it came"
    out.print(
        f"Recall of {recall['query']!r}: turn {recall['turn']}, on page {recall['page']}, {how}."
    )
    for mode, found in result.read_back.items():
        out.print(
            f"Read back at {mode} ({found['positions']} positions):"
            f' {found["percent_right"]} % of characters right, from "{found["read"][:60]}"',
            highlight=False,
            markup=False,
        )
    if not result.read_back:
        out.print("To read pages back here: pip install 'optimem[vision]'", markup=False)
    out.print(f"One page in four modes, side by side: {result.sheet}")
    out.print(f"{result.seconds} s")
