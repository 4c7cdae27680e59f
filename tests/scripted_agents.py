"""What tests of LangChain's agents share: a model that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from pydantic import ConfigDict, Field

Answer = Callable[[Sequence[BaseMessage]], AIMessage]


@tool
def look_up(name: str) -> str:
    """Looks something up."""
    return f"{name}: " + "a fact about it that takes some words to tell. " * 30


def call(name: str, number: int) -> AIMessage:
    """A model's call of `look_up`."""
    return AIMessage(
        "", tool_calls=[{"name": "look_up", "args": {"name": name}, "id": f"call_{number}"}]
    )


def build(model: BaseChatModel, tools: Sequence[Any], **options: Any) -> Any:
    """`create_agent`, whose types say more than tests need."""
    return create_agent(model, tools, **options)


class ScriptedModel(BaseChatModel):
    """Says what a function says, as some provider's model; keeps what it was sent."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    answer: Answer = lambda messages: AIMessage("Noted.")
    reader: str = "openai:gpt-6-astra"
    sent: list[list[BaseMessage]] = Field(default_factory=list)
    profile: dict[str, Any] | None = None  # type: ignore[assignment]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.sent.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Itself: it calls what its function says."""
        assert all(isinstance(each, (dict, BaseTool)) for each in tools)
        return self

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        provider, _, name = self.reader.partition(":")
        return {"ls_provider": provider, "ls_model_name": name}

    @property
    def _llm_type(self) -> str:
        return "scripted"


def images(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The images among some messages' blocks."""
    return [
        block
        for message in messages
        if isinstance(message.content, list)
        for block in message.content
        if isinstance(block, dict) and block["type"] in ("image", "image_url")
    ]


def check_pairs(messages: Sequence[BaseMessage]) -> None:
    """Fail unless each call is followed by its results, and each result has its call."""
    waiting: set[str] = set()
    for message in messages:
        if message.type == "tool":
            waiting.remove(message.tool_call_id)  # type: ignore[attr-defined]
            continue
        assert not waiting, "a call has no result"
        waiting = {each["id"] for each in getattr(message, "tool_calls", ())}
    assert not waiting
