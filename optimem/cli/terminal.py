"""What the commands share: how they print, the options that all take."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
out = Console()
err = Console(stderr=True)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="OPTIMEM_STORE",
        help="sqlite:///path/to/file.db or redis://host; by default a file in your data folder.",
        show_default=False,
    ),
]
NamespaceOption = Annotated[str, typer.Option("--namespace", help="Whose sessions they are.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")]


def progress_bar(quiet: bool, *, refresh: float = 10) -> Progress:
    """A bar on stderr, where somebody looks at it, drawn so many times a second."""
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=err,
        disable=quiet or not err.is_terminal,
        transient=True,
        refresh_per_second=refresh,
        redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere goes there
    )


def printable(text: str) -> str:
    """Text whose controls a terminal would obey, with them as pictures; exact into a pipe."""
    return text.translate(_PICTURES) if sys.stdout.isatty() else text


def print_json(value: dict[str, Any]) -> None:
    """One line of JSON, as `--json` promises."""
    print(json.dumps(value))
