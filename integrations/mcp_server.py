"""A memory for programs that speak the Model Context Protocol: `pip install 'optimem[mcp]'`.

    memory_server(memory).run("stdio")            # or: optimem mcp --session S

One server serves one session, which is fixed when it starts: no argument of a tool names
another one. `forget` is there only when it is asked for.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from optimem import __version__
from optimem.errors import MissingExtraError, OptiMemError
from optimem.integrations.recall_tool import DESCRIPTION, RecallTool
from optimem.memory import Memory
from optimem.values import Json

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations
    from pydantic import Field
except ImportError:
    raise MissingExtraError("A server for the Model Context Protocol", "mcp") from None

_INSTRUCTIONS = (
    "Long-term memory of one session. Use remember for what should be known later, recall for"
    " exact words of earlier turns, and show for how much there is."
)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_REMOVES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


def memory_server(
    memory: Memory, *, allow_forget: bool = False, recall_tokens: int = 2_000
) -> MCPServer:
    """A server with the tools remember, recall and show, and forget when it is allowed.

    Args:
        memory: the session, for as long as the server runs.
        allow_forget: whether clients may remove turns for good.
        recall_tokens: the most tokens of an answer of recall.
    """
    server: MCPServer = MCPServer("optimem", instructions=_INSTRUCTIONS, version=__version__)
    find = RecallTool(memory, recall_tokens)

    @server.tool(annotations=_ADDS, structured_output=False)
    def remember(
        text: Annotated[str, Field(min_length=1, description="The words to keep.")],
        role: Annotated[
            Literal["user", "assistant"], Field(description="Whose words they are.")
        ] = "user",
    ) -> str:
        """Keep words in this session's memory; returns the turn's id."""
        return memory.append({"role": role, "content": text})

    @server.tool(description=DESCRIPTION, annotations=_READS, structured_output=False)
    def recall(
        query: Annotated[str, Field(description="A question, or an exact string.")] = "",
        page: Annotated[int | None, Field(description="A page's number.")] = None,
        turn: Annotated[str, Field(description="A turn's id or number.")] = "",
    ) -> str:
        return find(query, page, turn)

    @server.tool(annotations=_READS)
    def show() -> dict[str, Json]:
        """How many turns and pages this session's memory holds, and what they would cost."""
        return dataclasses.asdict(memory.stats())

    if allow_forget:

        @server.tool(annotations=_REMOVES)
        def forget(
            turns: Annotated[list[str], Field(min_length=1, description="Ids of turns.")],
        ) -> dict[str, Json]:
            """Remove turns for good, with every page and image that holds them."""
            try:
                return dataclasses.asdict(memory.forget(turns))
            except OptiMemError as error:
                raise ToolError(str(error)) from None

    return server
