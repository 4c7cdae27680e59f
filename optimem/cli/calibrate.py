"""`calibrate`: what a hosted reader still reads in each mode."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from optimem.cli.terminal import JsonOption, err, out, print_json, progress_bar
from optimem.errors import InputError


def calibrate(
    reader: Annotated[str, typer.Argument(help="Who reads: see `optimem readers`.")],
    modes: Annotated[
        str, typer.Option("--modes", help="Which ones, with commas; all that it reads by default.")
    ] = "",
    kinds: Annotated[
        str, typer.Option("--kinds", help="Of probes, with commas; all by default.")
    ] = "",
    pages: Annotated[int, typer.Option(min=1, help="Of each kind, in each mode.")] = 1,
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Share of characters that a mode must keep.")
    ] = 0.9,
    model: Annotated[str, typer.Option(help="Its name at the provider, if it is another.")] = "",
    base_url: Annotated[str, typer.Option(help="Where it is served, if elsewhere.")] = "",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File of readers to put it into ($OPTIMEM_READERS)."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask everything again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a hosted model what it reads in each mode, and keep that as its profile."""
    import platformdirs

    from optimem.asking import find_client
    from optimem.calibrate import Calibration, rows_of, uncalibrated
    from optimem.modes import Tier
    from optimem.probes import KINDS, probes
    from optimem.readers.own import read_row, write_row

    profile = uncalibrated(reader)
    try:
        tiers = [Tier.parse(label.strip()) for label in modes.split(",") if label.strip()]
    except ValueError as error:
        raise InputError(str(error)) from None
    wanted = tuple(kind.strip() for kind in kinds.split(",") if kind.strip()) or KINDS
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise InputError(f"no probe is called {unknown[0]!r}: use {', '.join(KINDS)}")
    folder = Path(platformdirs.user_data_dir("optimem"))
    target = output or Path(os.environ.get("OPTIMEM_READERS") or folder / "readers.json")
    log = folder / "calibrations" / f"{re.sub('[^a-z0-9.-]+', '-', profile.name.lower())}.jsonl"
    if fresh:
        log.unlink(missing_ok=True)
    ask = find_client(profile, model or profile.model, base_url or None)
    work = Calibration(
        profile, model or profile.model, list(probes(wanted, pages)), tiers or [*profile.modes], log
    )
    cost = work.cost()
    dollars = "a price that is not known" if cost.dollars is None else f"about ${cost.dollars:.2f}"
    err.print(
        f"{cost.requests} requests to {profile.name}: at most {cost.input:,} tokens in,"
        f" {cost.output:,} out, {dollars}",
        soft_wrap=True,
    )
    if cost.requests and not yes:
        if not sys.stdin.isatty():
            raise InputError("nobody is there to ask: say --yes to let it cost that")
        typer.confirm("Go on?", abort=True, err=True)
    with progress_bar(as_json) as progress:
        task = progress.add_task(f"asking {profile.name}", total=cost.requests)
        work.run(ask, lambda: progress.advance(task))
    row = work.row(least, read_row(target, profile.name))
    write_row(target, profile.name, row)
    if as_json:
        print_json({"reader": profile.name, "file": str(target), **row})
        return
    table = Table("mode", "kind", "seen")
    for tier, kind, seen in rows_of(work.scores()):
        table.add_row(tier.label, kind, seen)
    out.print(table)
    out.print(f"reads {', '.join(row['modes']) or 'no mode'} well enough", highlight=False)
    out.print(f"OPTIMEM_READERS={target} makes plans by it", highlight=False, soft_wrap=True)
