"""The command line: `optimem --help`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from optimem.errors import InputError, NotFoundError, OptiMemError, StoreError

app = typer.Typer(
    name="optimem",
    help="Memory for LLM agents that fades like a person's: text, then page images at lower"
    " and lower resolution, with every exact word one recall away.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_INTERRUPTED = 130  # the exit code of what Ctrl-C ended
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# A missing option, an unknown command and the like; typer exports only this leaf of them.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])
out = Console()
err = Console(stderr=True)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="OPTIMEM_STORE",
        help="sqlite:///path or memory://; by default a file in your data folder.",
        show_default=False,
    ),
]
NamespaceOption = Annotated[str, typer.Option("--namespace", help="Whose sessions they are.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")]
SessionArgument = Annotated[str, typer.Argument(help="The session's name.")]


@app.callback(invoke_without_command=True)
def help_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def demo(
    sheet: Annotated[
        Path, typer.Option("--sheet", help="Where to write the contact sheet (PNG).")
    ] = Path("optimem-demo.png"),
    as_json: JsonOption = False,
) -> None:
    """Replay a recorded coding session and watch it fade. Needs no model and no network."""
    from optimem.demo import packaged_session, run_demo

    with _progress(as_json) as progress:
        task = progress.add_task("replaying", total=len(packaged_session()))
        try:
            result = run_demo(sheet, lambda: progress.advance(task))
        except OSError as error:
            raise InputError(
                f"cannot write {sheet}: {error.strerror}; name another --sheet"
            ) from None
    if as_json:
        _print_json(dataclasses.asdict(result))
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
    out.print(f"One page in four modes, side by side: {result.sheet}")
    out.print(f"{result.seconds} s")


@app.command()
def ingest(
    file: Annotated[Path, typer.Argument(help="JSON or JSON lines: OpenAI, Anthropic, LangChain.")],
    session: Annotated[str, typer.Option("--session", help="The session to add to.")],
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Add a conversation to a session. Again with the same file adds nothing twice."""
    from optimem.memory import Memory
    from optimem.transcripts import read_transcript

    with _progress(as_json) as progress:
        task = progress.add_task(f"reading {file.name}", total=None)
        turns = read_transcript(file)
        with Memory.open(store or None, session, namespace=namespace) as memory:
            before = memory.store.state(memory.scope).turns
            # All or none: an interrupted ingest leaves the session as it was, and no share
            # of it is done before the whole is.
            progress.update(task, description=f"storing {len(turns)} turns")
            memory.extend(turns)
            progress.update(task, description="laying out pages")
            stats = memory.stats()
    added = stats.turns - before
    if as_json:
        _print_json(
            {"session": session, "added": added, "turns": stats.turns, "pages": stats.pages}
        )
    else:
        out.print(f"{added} turns added to {session!r}: {stats.turns} turns, {stats.pages} pages")


@app.command()
def show(
    session: SessionArgument,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """What a session holds: turns, pages, the tiers of each plan, tokens, bytes."""
    with _existing(store, session, namespace) as memory:
        stats = memory.stats()
    if as_json:
        _print_json({"session": session, **dataclasses.asdict(stats)})
        return
    out.print(f"{session}: {stats.turns} turns, {stats.pages} pages")
    out.print(f"as text: {stats.text_tokens:,} tokens ({stats.counter})")
    out.print(f"captions: {stats.anchor_tokens:,} tokens")
    out.print("stored: " + ", ".join(f"{kind} {size:,} B" for kind, size in stats.bytes.items()))
    for name, tiers in stats.tiers.items():
        text = ", ".join(f"{count} {tier}" for tier, count in tiers.items()) or "all text"
        out.print(f"plan for {name}: {text}")


@app.command()
def context(
    session: SessionArgument,
    reader: Annotated[str, typer.Option("--reader", help="Who reads it: see `optimem readers`.")],
    budget: Annotated[
        int | None, typer.Option("--budget", help="Most tokens; the reader's window by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the request here as JSON.")
    ] = None,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """What to send a reader now, within a token budget."""
    with _existing(store, session, namespace) as memory:
        made = memory.context(reader, budget)
        if output is not None:
            try:
                output.write_text(json.dumps(made.request()), "utf-8")
            except OSError as error:
                raise InputError(f"cannot write {output}: {error.strerror}") from None
    kinds = [segment.kind for segment in made.segments]
    summary = {
        "reader": made.reader.name,
        "budget": made.budget,
        "context_tokens": made.tokens,
        "text_tokens": made.text_tokens,
        "tiers": {tier.label: count for tier, count in made.plan.counts().items()},
        "text_turns": kinds.count("turn"),
        "epoch": made.plan.epoch,
        "output": None if output is None else str(output),
    }
    if as_json:
        _print_json(summary)
        return
    out.print(
        f"{made.tokens:,} tokens for {made.reader.name} (as text {made.text_tokens:,}):"
        f" {kinds.count('page')} pages and {kinds.count('turn')} turns of text"
    )
    if output is not None:
        out.print(f"written to {output}")


@app.command()
def recall(
    session: SessionArgument,
    query: Annotated[str, typer.Argument(help="A question, words or an exact string.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most turns to return.")] = 5,
    turn: Annotated[str, typer.Option("--turn", help="Instead of a query: a turn's id.")] = "",
    page: Annotated[int, typer.Option("--page", help="Instead of a query: a page.")] = -1,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Find earlier turns and print their exact words."""
    if bool(query) + bool(turn) + (page >= 0) != 1:
        raise InputError("name a query, or --turn, or --page")
    with _existing(store, session, namespace) as memory:
        if turn:
            found = [memory.recall_turn(turn)]
        elif page >= 0:
            found = memory.recall_page(page)
        else:
            found = memory.recall(query, limit)
    if as_json:
        _print_json({"query": query, "turns": [dataclasses.asdict(item) for item in found]})
        return
    for item in found:
        out.rule(escape(_printable(f"turn {item.position} ({item.role}, id {item.id})")))
        print(_printable(item.text))  # not through rich, which would wrap it
    if not found:
        out.print("nothing found")


@app.command()
def forget(
    session: SessionArgument,
    turns: Annotated[list[str] | None, typer.Option("--turn", help="A turn's id.")] = None,
    before: Annotated[str, typer.Option("--before", help="All turns in front of this id.")] = "",
    whole: Annotated[bool, typer.Option("--session", help="The whole session.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    verify: Annotated[
        list[str] | None,
        typer.Option("--verify", metavar="TEXT", help="Fail if this text still stands anywhere."),
    ] = None,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Remove turns for good, with every page, image and index entry that holds them."""
    if not turns and not before and not whole:
        raise InputError("name what to forget: --turn ID, --before ID or --session")
    with _existing(store, session, namespace) as memory:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Forget for good in session {session!r}?", abort=True, err=True)
        receipt = memory.forget(turns or (), before=before or None, session=whole)
        for text in verify or ():
            if places := memory.traces(text):
                raise StoreError(f"forgotten, but {text!r} still stands in: {', '.join(places)}")
    if as_json:
        _print_json(dataclasses.asdict(receipt))
    else:
        out.print(f"{receipt.turns} turns and {receipt.pages} pages forgotten ({receipt.hash})")


@app.command("export")
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
        home = stack.enter_context(contextlib.closing(open_store(store or default_url())))
        progress = stack.enter_context(_progress(as_json or file is None))
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
        _print_json({"file": str(file), "lines": count})


@app.command("import")
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
        progress = stack.enter_context(_progress(as_json))
        task = progress.add_task("importing", total=None)
        turns = 0
        try:
            for stored in import_sessions(home, namespace, lines):
                turns += stored
                progress.update(task, description=f"importing: {turns:,} turns")
        except UnicodeDecodeError:
            raise InputError(f"{file} is no UTF-8 text: export it again") from None
    if as_json:
        _print_json({"turns": turns})
    else:
        out.print(f"{turns} turns")


@app.command()
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
        _print_json({"readers": rows})
        return
    table = Table("reader", "window", "$/M in", "tokens a page")
    for profile in profiles:
        window = "?" if profile.window is None else f"{profile.window:,}"
        price = "?" if profile.input_price is None else f"{profile.input_price:g}"
        pages = ", ".join(f"{tier} {cost}" for tier, cost in costs[profile.name].items())
        table.add_row(profile.name, window, price, pages)
    out.print(table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    options: typer.Context,
    name: Annotated[str, typer.Argument(help="Which one; without it they are listed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a benchmark, which ends with one JSON line. Further options are passed on to it."""
    from optimem.bench import BENCHES

    if not name:
        if as_json:
            _print_json({"benchmarks": BENCHES})
        for bench_name, measures in () if as_json else BENCHES.items():
            out.print(f"{bench_name:12} {measures}", markup=False, highlight=False)
        return
    if name not in BENCHES:
        raise NotFoundError(f"no benchmark is called {name!r}: use one of {', '.join(BENCHES)}")
    sys.argv = [f"optimem bench {name}", *options.args]
    importlib.import_module(f"optimem.bench.{name}").main()


@app.command()
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
        with contextlib.closing(open_store(url)) as opened:
            return "; ".join((opened.url, *opened.warnings()))

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
        _print_json({**report, "extras": extras})


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
        _print_json({"error": sentence})
    print(f"optimem: {_printable(sentence)}", file=sys.stderr)
    return code


def _existing(store: str, session: str, namespace: str) -> Any:
    from optimem.memory import Memory

    memory = Memory.open(store or None, session, namespace=namespace)
    if not memory.store.state(memory.scope).turns:
        known = ", ".join(memory.store.sessions(namespace)[:10]) or "none yet"
        memory.close()
        raise NotFoundError(f"no session {session!r} in {memory.store.url}: there are {known}")
    return memory


def _progress(quiet: bool) -> Progress:
    """A bar on stderr, where somebody looks at it."""
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, disable=quiet or not err.is_terminal, transient=True)


def _printable(text: str) -> str:
    """Text whose controls a terminal would obey, with them as pictures; exact into a pipe."""
    return text.translate(_PICTURES) if sys.stdout.isatty() else text


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value))


if __name__ == "__main__":
    main()
