"""Sessions out of a store and into another: `export` and `import`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from optimem.cli.terminal import (
    JsonOption,
    NamespaceOption,
    StoreOption,
    out,
    print_json,
    progress_bar,
)
from optimem.errors import InputError


def export_(
    sessions: Annotated[
        list[str] | None, typer.Argument(metavar="[SESSION]...", help="All by default.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; the screen by default.")
    ] = None,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Write sessions as JSON lines: every turn with its id, time and message."""
    from optimem.stores import default_url, open_store
    from optimem.transfer import export_sessions

    if as_json and file is None:
        raise InputError("name a file to write to: --output FILE")
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(
            contextlib.closing(open_store(store or default_url(), create=False))
        )
        progress = stack.enter_context(progress_bar(as_json or file is None))
        lines = export_sessions(home, namespace, sessions or ())
        try:
            sink = sys.stdout if file is None else stack.enter_context(file.open("w", newline=""))
        except OSError as error:
            raise InputError(f"cannot write {file}: {error.strerror}") from None
        count = 0
        for line in progress.track(lines, description="exporting"):
            print(line, file=sink)
            count += 1
    if as_json:
        print_json({"file": str(file), "lines": count})


def import_(
    file: Annotated[
        Path, typer.Argument(help="What `optimem export` wrote; - for standard input.")
    ],
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Add exported sessions to a store. Again after a break, it goes on where it was."""
    from optimem.stores import default_url, open_store
    from optimem.transfer import import_sessions

    with contextlib.ExitStack() as stack:
        try:
            lines = sys.stdin if str(file) == "-" else stack.enter_context(file.open())
        except OSError as error:
            raise InputError(f"cannot read {file}: {error.strerror}") from None
        home = stack.enter_context(contextlib.closing(open_store(store or default_url())))
        progress = stack.enter_context(progress_bar(as_json))
        task = progress.add_task("importing", total=None)
        turns = 0
        try:
            for stored in import_sessions(home, namespace, lines):
                turns += stored
                progress.update(task, description=f"importing: {turns:,} turns")
        except UnicodeDecodeError:
            raise InputError(f"{file} is no UTF-8 text: export it again") from None
    if as_json:
        print_json({"turns": turns})
    else:
        out.print(f"{turns} turns")
