"""`worker`: encodes pages in the background."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Annotated, cast

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

if TYPE_CHECKING:
    from optimem.vision.tokens import Precision

_PRECISIONS = ("bf16", "int8", "fp32")


def worker(
    reader: Annotated[str, typer.Option("--reader", help="nano, a folder, or a hub name.")],
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    precision: Annotated[str, typer.Option(help="How tokens are kept: bf16, int8, fp32.")] = "bf16",
    batch: Annotated[int, typer.Option(min=1, help="Pages encoded at once.")] = 8,
    device: Annotated[str, typer.Option(help="Where it runs; a GPU if there is one.")] = "",
    lease: Annotated[float, typer.Option(help="Seconds until a silent worker is replaced.")] = 30,
    drain: Annotated[bool, typer.Option("--drain", help="End when no page is left.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Encode queued pages into vision tokens until Ctrl-C, which loses nothing.

    Start as many as you like, on every machine that reaches the store.
    """
    from optimem.stores import default_url, open_store
    from optimem.vision import LocalReader
    from optimem.worker import Worker

    if precision not in _PRECISIONS:
        raise InputError(f"no precision is called {precision!r}: use {', '.join(_PRECISIONS)}")
    model = LocalReader.load(
        reader,
        device=device or None,
        precision=cast("Precision", precision),
        batch=batch,
        lease=lease,
    )
    with contextlib.closing(open_store(store or default_url())) as opened:
        work = Worker(opened, model, namespace)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        with progress_bar(as_json) as progress, contextlib.suppress(KeyboardInterrupt):
            task = progress.add_task("waiting for pages", total=None)

            def report() -> None:
                done, waiting = model.work["encoded"], work.waiting
                progress.update(task, description="encoding", completed=done, total=done + waiting)

            work.run(drain=drain, report=report)
        waiting = work.waiting
    counts = {name: work.work[name] for name in ("done", "obsolete", "failed")}
    if as_json:
        print_json({"reader": model.profile.name, **counts, **model.work, "waiting": waiting})
    else:
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        out.print(f"{said}; {model.work['encoded']} pages encoded, {waiting} waiting")
