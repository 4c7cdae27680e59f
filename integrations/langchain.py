"""Middleware for LangChain's agents: `pip install 'optimem[langchain]'`.

    memory = OptiMemMiddleware("redis://…", namespace="acme")
    agent = create_agent(model, tools, middleware=[memory], checkpointer=checkpointer)
    agent.invoke({"messages": "…"}, {"configurable": {"thread_id": "42"}})

Each thread of the graph is a session. The graph's state and its checkpoints keep the messages
as they are; only what the model is sent has pages in place of older ones. List it behind
`AnthropicPromptCachingMiddleware`, so that the pages are cached too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import is_
from typing import Any

from optimem.context import Context
from optimem.errors import BudgetError, InputError, MissingExtraError
from optimem.integrations.langchain_limits import Limit, Limits, Trigger
from optimem.memory import Memory
from optimem.policies import Epochs, Policy, TokenBudget
from optimem.readers import Profile, find_reader
from optimem.stores import Store, default_url, open_store
from optimem.values import Json, Scope

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain_core.exceptions import ContextOverflowError, ModelInvalidRequestError
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langgraph.runtime import Runtime
except ImportError:
    raise MissingExtraError("Middleware for LangChain", "langchain") from None

from optimem.integrations.langchain_messages import (
    message_id,
    model_reader,
    pages_message,
    token_counter,
)
from optimem.integrations.langchain_recall import OptiMemRecall
from optimem.integrations.langchain_threads import Thread, Threads, run_config, thread_session

__all__ = ["OptiMemMiddleware", "token_counter"]

_logger = logging.getLogger(__name__)
_REFUSED = (ContextOverflowError, ModelInvalidRequestError)
_OVERCOUNTED = 0.8  # of what was thought to fit, when it did not

Request = ModelRequest[Any]
Response = ModelResponse[Any]
Result = Response | AIMessage


@dataclass(frozen=True)
class _Prepared:
    """A request with pages in it."""

    request: Request
    context: Context
    thread: Thread
    forgotten: set[str]


class OptiMemMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Sends the model pages in place of older messages, and gives it `recall`.

    Args:
        home: where sessions live: a URL (`Memory.open` lists them; by default what it takes), a
            Store, or the Memory of one thread, whose id is then the memory's session.
        namespace: whose sessions they are; names in different namespaces never meet.
        reader: whose prices and modes hold; by default the model's own.
        budget: the most input tokens, system and tools included; the model's window by default.
        trigger: when pages begin, in the grammar of `SummarizationMiddleware`: ("tokens", n),
            ("messages", n), ("fraction", share of the window), dicts and lists of them. Without
            a budget, tokens and a fraction are also what requests are kept within. By default
            as soon as pages save a quarter.
        keep: how much stays text while it is newest: ("messages", n), ("tokens", n) or
            ("fraction", share of the budget); by default 8 messages.
        policy: how pages fade, in place of `keep`.
        recall: whether the model gets the tool.
        recall_tokens: the most tokens of one of its answers.
        key: encrypts what reaches the store (see `optimem.stores.open_store`).
        session: names the session of a run, from its configuration; by default the thread's id,
            and for an agent within a graph also where in the graph it runs.

    Raises:
        InputError: an argument is not in its grammar, or does not go with a Memory.
        StoreError: the store cannot be opened.
    """

    def __init__(
        self,
        home: str | Store | Memory | None = None,
        *,
        namespace: str = "default",
        reader: str | Profile | None = None,
        budget: int | None = None,
        trigger: Trigger | None = None,
        keep: Limit | None = None,
        policy: Policy | None = None,
        recall: bool = True,
        recall_tokens: int = 2_000,
        key: str | bytes | None = None,
        session: Callable[[RunnableConfig], str] | None = None,
    ) -> None:
        super().__init__()
        self._limits = Limits.of(trigger, keep, policy, budget)
        self._memory = home if isinstance(home, Memory) else None
        if self._memory is not None and (self._limits.policy or key or namespace != "default"):
            raise InputError("a Memory brings its own namespace, policy and key: pass it alone")
        self._opened: Store | None = None
        if home is None or isinstance(home, str):
            home = self._opened = open_store(home or default_url(), key)
        self._store = home.store if isinstance(home, Memory) else home
        self._namespace = namespace
        self._reader = None if reader is None else find_reader(reader)
        self._session = session or thread_session
        self._threads = Threads(self._open)
        self._schemas: dict[tuple[Any, ...], tuple[Any, dict[str, Json]]] = {}
        self._text_only: set[str] = set()
        self.tools: Sequence[BaseTool] = []
        if recall:
            self.tools = [OptiMemRecall(session=self.memory, tokens=recall_tokens)]

    def memory(self, config: RunnableConfig) -> Memory:
        """The session of a run, from its configuration; raises InputError without a thread id."""
        return self._thread(config).memory

    def close(self) -> None:
        """Close the store if this middleware opened it."""
        if self._opened is not None:
            self._opened.close()

    # What LangChain calls

    def wrap_model_call(self, request: Request, handler: Callable[[Request], Response]) -> Result:
        """Send the model pages in place of older messages; once more as text if it refuses."""
        prepared = self._prepare(request)
        if isinstance(prepared, ModelRequest):
            return handler(prepared)
        try:
            response = handler(prepared.request)
        except _REFUSED as error:
            response = handler(self._as_text(request, prepared, error))
            self._note_refusal(prepared, error)
            return response
        return handler(self._as_text(request, prepared)) if _refuses(response) else response

    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Result:
        """Asynchronous `wrap_model_call`."""
        prepared = await asyncio.to_thread(self._prepare, request)
        if isinstance(prepared, ModelRequest):
            return await handler(prepared)
        try:
            response = await handler(prepared.request)
        except _REFUSED as error:
            retry = await asyncio.to_thread(self._as_text, request, prepared, error)
            response = await handler(retry)
            self._note_refusal(prepared, error)
            return response
        if not _refuses(response):
            return response
        return await handler(await asyncio.to_thread(self._as_text, request, prepared))

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Keep the answer too, which no further call would bring."""
        thread = self._thread(run_config(runtime))
        with thread.lock:
            thread.follow(state["messages"])

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Asynchronous `after_agent`."""
        await asyncio.to_thread(self.after_agent, state, runtime)

    # Parts

    def _prepare(self, request: Request) -> _Prepared | Request:
        """The request with pages in it; as it came when all of it stays text."""
        thread = self._thread(run_config(request.runtime))
        with thread.lock:
            forgotten = thread.follow(request.state["messages"])
            context = self._context(thread.memory, request)
            if context is None or not any(segment.turn is None for segment in context.segments):
                if not forgotten:
                    return request
                messages = [m for m in request.messages if m.id not in forgotten]
                return request.override(messages=messages)
            cache = request.model_settings.get("cache_control")
            made_of = (context.reader, cache, [s for s in context.segments if s.turn is None])
            if thread.pages is None or thread.pages[0] != made_of:
                thread.pages = made_of, pages_message(context, cache)
            shown = _with_pages(request, thread, context, thread.pages[1], forgotten)
        return _Prepared(request.override(messages=shown), context, thread, forgotten)

    def _context(self, memory: Memory, request: Request) -> Context | None:
        """What to show; None where the model takes no images."""
        profile = request.model.profile or {}
        reader = self._reader or model_reader(request.model)
        if profile.get("image_inputs") is False or reader.name in self._text_only:
            return None
        system = request.system_message.text if request.system_message is not None else None
        budget = self._limits.most(_window(reader, profile))
        tools = [self._schema(tool) for tool in request.tools]
        try:
            return memory.context(reader, budget, tools=tools, system=system)
        except BudgetError as error:
            if not self._limits.ceilings or error.smallest is None:
                raise
            # A trigger says when to make requests smaller, not when to fail.
            return memory.context(reader, error.smallest, tools=tools, system=system)

    def _as_text(
        self, request: Request, prepared: _Prepared, error: Exception | None = None
    ) -> Request:
        """The request without an image: as much of the words as the budget holds."""
        context, memory = prepared.context, prepared.thread.memory
        budget = context.budget
        if isinstance(error, ContextOverflowError):
            budget = int(context.tokens * _OVERCOUNTED)
        words = replace(context.reader, name=f"{context.reader.name} as text", modes={})
        policy = Epochs((TokenBudget(),))
        with prepared.thread.lock:
            plain = Memory(memory.store, memory.scope, policy=policy).context(
                words,
                budget,
                tools=context.tools,
                system=request.system_message.text if request.system_message else None,
            )
            notes = pages_message(plain, request.model_settings.get("cache_control"))
            shown = _with_pages(request, prepared.thread, plain, notes, prepared.forgotten)
        return request.override(messages=shown)

    def _note_refusal(self, prepared: _Prepared, error: Exception) -> None:
        """A model that took the words but not the images gets no more of them."""
        name = prepared.context.reader.name
        if not isinstance(error, ContextOverflowError) and name not in self._text_only:
            self._text_only.add(name)
            _logger.warning("%s refused pages (%s): it gets text from now on", name, error)

    def _thread(self, config: RunnableConfig) -> Thread:
        session = self._session(config)
        if self._memory is not None and session != self._memory.scope.session:
            raise InputError(
                f"this middleware serves the session {self._memory.scope.session!r} alone,"
                f" not the thread {session!r}: build it from a URL or a store for many threads"
            )
        return self._threads[session]

    def _open(self, session: str) -> Memory:
        if self._memory is not None:
            return self._memory
        return Memory(self._store, Scope(self._namespace, session), policy=self._limits.policy)

    def _schema(self, tool: BaseTool | dict[str, Any]) -> dict[str, Json]:
        """A tool's schema, to be counted; made once, since it takes a millisecond."""
        if isinstance(tool, dict):
            return tool
        key = tool.name, tool.description, id(tool.args_schema)
        if key not in self._schemas:
            self._schemas[key] = tool.args_schema, convert_to_openai_tool(tool)
        return self._schemas[key][1]


def _window(reader: Profile, profile: Mapping[str, Any]) -> int | None:
    """The smaller of what the table and what LangChain's own profile says."""
    known = [size for size in (reader.window, profile.get("max_input_tokens")) if size]
    return min(known, default=None)


def _with_pages(
    request: Request, thread: Thread, context: Context, pages: BaseMessage, forgotten: set[str]
) -> list[Any]:
    """The request's messages with pages in place of those that stand on them.

    What other middleware has changed or put in stays so.
    """
    state, own = request.state["messages"], request.messages
    if not forgotten and len(own) == len(state) and all(map(is_, own, state)):
        live = own[len(own) - sum(segment.kind == "turn" for segment in context.segments) :]
        return [*takewhile(_is_system, own), pages, *thread.live(live, context)]
    shown = {segment.turn.id for segment in context.segments if segment.turn is not None}
    covered = {message_id(m, n) for n, m in enumerate(state)} - shown - forgotten
    place = sum(1 for _ in takewhile(_is_system, own))
    place = next((n for n, message in enumerate(own) if message.id in covered), place)
    left_out = covered | forgotten
    live = [message for message in own[place:] if message.id not in left_out]
    front = [message for message in own[:place] if message.id not in left_out]
    return [*front, pages, *thread.live(live, context)]


def _is_system(message: BaseMessage) -> bool:
    return message.type == "system"


def _refuses(response: Result) -> bool:
    """Whether a model declined to answer."""
    results = [response] if isinstance(response, AIMessage) else response.result
    return any(
        isinstance(message, AIMessage)
        and (
            message.response_metadata.get("stop_reason") == "refusal"
            or bool(message.additional_kwargs.get("refusal"))
        )
        for message in results
    )
