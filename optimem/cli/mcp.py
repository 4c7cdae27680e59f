"""`mcp`: a session as a server for the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from optimem.cli.terminal import NamespaceOption, StoreOption


def mcp(
    session: Annotated[str, typer.Option("--session", help="The session that it serves.")],
    store: StoreOption = "",
    namespace: NamespaceOption = "default",
    allow_forget: Annotated[
        bool, typer.Option("--allow-forget", help="Let clients remove turns for good.")
    ] = False,
) -> None:
    """Serve a session to MCP clients over stdin and stdout: remember, recall, show."""
    from optimem.integrations.mcp_server import memory_server
    from optimem.memory import Memory

    with Memory.open(store or None, session, namespace=namespace) as memory:
        memory_server(memory, allow_forget=allow_forget).run("stdio")
