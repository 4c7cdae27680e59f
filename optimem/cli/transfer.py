"""Sessions out of a store and into another, or to another key: `export`, `import`, `rekey`."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimem.cli.terminal import (
    JsonOption,
    NamespaceOption,
    StoreOption,
    out,
    print_json,
    progress_bar,
)
from optimem.errors import InputError, NotFoundError, StoreError
from optimem.values import Scope

if TYPE_CHECKING:
    from optimem.stores import Store


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
    elif file is not None:
        out.print(f"{count} lines written to {file}", soft_wrap=True)


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


def rekey(
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Keep them unencrypted from now on.")
    ] = False,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Encrypt sessions with $OPTIMEM_NEW_KEY, not $OPTIMEM_KEY. Again after a break, it goes on."""
    from optimem.stores import default_url, open_both
    from optimem.transfer import move_sessions

    old, new = os.environ.get("OPTIMEM_KEY", ""), os.environ.get("OPTIMEM_NEW_KEY", "")
    if decrypt == bool(new):
        raise InputError(
            "set OPTIMEM_NEW_KEY to the new key (python -c 'from optimem.stores import new_key;"
            " print(new_key())'), or unset it and say --decrypt"
        )
    with contextlib.ExitStack() as stack:
        source, target = map(
            stack.enter_context,
            map(contextlib.closing, open_both(store or default_url(), old, new, create=False)),
        )
        sessions = source.sessions(namespace)
        if not sessions and not _sessions(target, namespace):
            raise NotFoundError(f"no session of namespace {namespace!r} is kept with $OPTIMEM_KEY")
        progress = stack.enter_context(progress_bar(as_json))
        total = sum(source.state(Scope(namespace, session)).turns for session in sessions)
        task = progress.add_task("encrypting anew", total=total)
        turns = 0
        for moved in move_sessions(source, target, namespace):
            turns += moved
            progress.update(task, completed=turns)
    if as_json:
        print_json({"sessions": len(sessions), "turns": turns})
    else:
        out.print(f"{turns} turns of {len(sessions)} sessions have the new key")


def _sessions(store: Store, namespace: str) -> list[str]:
    """A namespace's sessions; none where they are kept with yet another key."""
    try:
        return store.sessions(namespace)
    except StoreError:
        return []
