"""The command line: `optimem --help`."""

from __future__ import annotations

import io
import sys
from typing import Annotated, cast

import typer

from optimem import __version__
from optimem.cli import calibrate, demo, machine, mcp, session, transfer, worker
from optimem.cli.terminal import print_json, printable
from optimem.errors import OptiMemError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # the exit code of what Ctrl-C ended
# A missing option, an unknown command and the like; typer exports only this leaf of them.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])

app = typer.Typer(
    name="optimem",
    help="Memory for LLM agents that fades like a person's: text, then page images at lower"
    " and lower resolution, with every exact word one recall away.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"optimem {__version__}")
        raise typer.Exit


_VersionOption = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_print_version)
]


@app.callback(invoke_without_command=True)
def help_alone(context: typer.Context, version: _VersionOption = False) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


# In the order in which `--help` lists them.
app.command()(demo.demo)
app.command()(session.ingest)
app.command()(session.show)
app.command()(session.context)
app.command()(session.recall)
app.command()(session.forget)
app.command("export")(transfer.export_)
app.command("import")(transfer.import_)
app.command()(transfer.rekey)
app.command()(worker.worker)
app.command()(mcp.mcp)
app.command()(machine.readers)
app.command()(calibrate.calibrate)
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command(context_settings=_PASSED_ON)(machine.bench)  # `bench NAME --help` is NAME's help
app.command()(machine.doctor)


def main() -> None:
    """Run the command line: errors become one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # lone surrogates are shown, not stumbled over
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(prog_name="optimem", standalone_mode=False)
    except (OptiMemError, _UsageError) as error:
        raise SystemExit(_fail(_sentence(error), 2)) from None
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # what typer makes of KeyboardInterrupt
        _fail("interrupted; what was acknowledged is stored", code)
    raise SystemExit(code or 0)


def _sentence(error: Exception) -> str:
    explain = getattr(error, "format_message", None)  # typer's
    if explain is None:
        return str(error)
    command = getattr(getattr(error, "ctx", None), "command_path", "optimem")
    return f"{explain().rstrip('.')}: see `{command} --help`"


def _fail(sentence: str, code: int) -> int:
    """Say on stderr, and with --json on stdout too, what went wrong."""
    if "--json" in sys.argv:
        print_json({"error": sentence})
    print(f"optimem: {printable(sentence)}", file=sys.stderr)
    return code
