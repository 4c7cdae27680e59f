"""Commands on one session: `ingest`, `show`, `context`, `recall`, `forget`."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from optimem.cli.terminal import (
    JsonOption,
    NamespaceOption,
    StoreOption,
    out,
    print_json,
    printable,
    progress_bar,
)
from optimem.errors import InputError, NotFoundError, StoreError

if TYPE_CHECKING:
    from optimem.memory import Memory
    from optimem.values import Plan, Role

SessionArgument = Annotated[str, typer.Argument(help="The session's name.")]


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

    with progress_bar(as_json) as progress:
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
        print_json({"session": session, "added": added, "turns": stats.turns, "pages": stats.pages})
    else:
        out.print(f"{added} turns added to {session!r}: {stats.turns} turns, {stats.pages} pages")


def show(
    session: SessionArgument,
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """What a session holds, and each plan: which page stands in which tier, and why."""
    with _existing(store, session, namespace) as memory:
        stats, plans = memory.stats(), memory.plans()
    if as_json:
        shown = {name: _plan_json(plan, stats.pages) for name, plan in plans.items()}
        print_json({"session": session, **dataclasses.asdict(stats), "plans": shown})
        return
    out.print(f"{session}: {stats.turns} turns, {stats.pages} pages")
    out.print(f"as text: {stats.text_tokens:,} tokens ({stats.counter})")
    out.print(f"captions: {stats.anchor_tokens:,} tokens")
    out.print("stored: " + ", ".join(f"{kind} {size:,} B" for kind, size in stats.bytes.items()))
    for name, plan in plans.items():
        tiers = ", ".join(f"{count} {tier}" for tier, count in stats.tiers[name].items())
        said = [f"plan for {name}, epoch {plan.epoch}: {tiers or 'all text'}"]
        said += (f"  {line}" for line in _plan_lines(plan, stats.pages))
        out.print("\n".join(said), markup=False, highlight=False, soft_wrap=True)


def _plan_lines(plan: Plan, pages: int) -> Iterator[str]:
    """A plan in words: a line for pages that stand alike, a line for each turn that is kept."""
    for numbers, tier, reason in plan.stretches(pages):
        first, last = numbers[0], numbers[-1]
        named = f"page {first}" if first == last else f"pages {first} to {last}"
        stand = "turns still text" if first >= plan.pages else tier.label
        yield f"{named}: {stand}" + (f", {reason}" if reason else "")
    for kept in plan.kept:
        last = kept.stop - 1
        named = f"turn {last}" if kept.start == last else f"turns {kept.start} to {last}"
        yield f"{named}: kept as text beside page {kept.last}, {printable(kept.reason)}"


def _plan_json(plan: Plan, pages: int) -> dict[str, Any]:
    return {
        "epoch": plan.epoch,
        "text_from_turn": plan.frontier,
        "pages": [
            {"from": numbers[0], "to": numbers[-1], "tier": tier.label, "reason": reason}
            for numbers, tier, reason in plan.stretches(pages)
        ],
        "kept": [kept._asdict() for kept in plan.kept],
    }


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
                output.write_text(json.dumps(made.request(), default=_encoded), "utf-8")
            except OSError as error:
                raise InputError(f"cannot write {output}: {error.strerror}") from None
    summary = {
        "reader": made.reader.name,
        "budget": made.budget,
        "context_tokens": made.tokens,
        "text_tokens": made.text_tokens,
        "tiers": {tier.label: count for tier, count in made.plan.counts().items()},
        "text_turns": sum(segment.kind == "turn" for segment in made.segments),
        "epoch": made.plan.epoch,
        "output": None if output is None else str(output),
        "notices": list(made.notices),
    }
    if as_json:
        print_json(summary)
        return
    out.print(
        f"{made.tokens:,} tokens for {made.reader.name} (as text {made.text_tokens:,}):"
        f" {made.page_images} pages and {summary['text_turns']} turns of text"
    )
    for notice in made.notices:
        out.print(notice)
    if output is not None:
        out.print(f"written to {output}")


def recall(
    session: SessionArgument,
    query: Annotated[str, typer.Argument(help="A question, words or an exact string.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most turns to return.")] = 5,
    turn: Annotated[
        str, typer.Option("--turn", help="Instead of a query: a turn's id, as recall prints it.")
    ] = "",
    page: Annotated[
        int | None, typer.Option("--page", min=0, help="Instead of a query: a page, from 0 on.")
    ] = None,
    at: Annotated[
        str, typer.Option("--at", help="Instead of a query: 'page 12, lines 20-31'.")
    ] = "",
    role: Annotated[str, typer.Option("--role", help="With --at: whose words.")] = "",
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Find earlier turns and print their exact words."""
    if bool(query) + bool(turn) + (page is not None) + bool(at) != 1:
        raise InputError("name a query, or --turn, or --page, or --at")
    if role and not at:
        raise InputError("--role goes with --at")
    with _existing(store, session, namespace) as memory:
        if turn:
            found = [memory.recall_turn(turn)]
        elif page is not None:
            found = memory.recall_page(page)
        elif at:
            found = memory.recall_place(at, cast("Role", role) if role else None)
        else:
            found = memory.recall(query, limit)
    if as_json:
        print_json({"query": query, "turns": [dataclasses.asdict(item) for item in found]})
        return
    for item in found:
        out.rule(escape(printable(f"turn {item.position} ({item.role}, id {item.id})")))
        print(printable(item.text))  # not through rich, which would wrap it
    if not found:
        out.print("nothing found")


def forget(
    session: SessionArgument,
    turns: Annotated[
        list[str] | None,
        typer.Option("--turn", help="A turn's id, as recall prints it; may be repeated."),
    ] = None,
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
        print_json(dataclasses.asdict(receipt))
    else:
        out.print(f"{receipt.turns} turns and {receipt.pages} pages forgotten ({receipt.hash})")


def _encoded(data: bytes) -> str:
    """Images that a client takes as bytes, as Gemini's API writes them."""
    return base64.b64encode(data).decode()


def _existing(store: str, session: str, namespace: str) -> Memory:
    from optimem.memory import Memory

    memory = Memory.open(store or None, session, namespace=namespace, create=False)
    if not memory.store.state(memory.scope).turns:
        known = ", ".join(memory.store.sessions(namespace)[:10]) or "none yet"
        memory.close()
        raise NotFoundError(f"no session {session!r} in {memory.store.url}: there are {known}")
    return memory
