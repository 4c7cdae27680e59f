"""Recall as a tool: the model asks for what left its context, and gets the exact words.

    recall = RecallTool(memory)
    tools = [recall.openai]                        # or recall.anthropic, recall.responses
    reply = client.chat.completions.create(model=…, **memory.context(…, tools=tools).request())
    for call in reply.choices[0].message.tool_calls:
        memory.append(recall.answer(call))

The session is the memory's: nothing that a model writes can name another one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimem.errors import InputError, NotFoundError
from optimem.memory import Memory
from optimem.recall import Recalled
from optimem.terms import ASKING, terms
from optimem.tokens import Counter, find_counter
from optimem.values import Entry, Json, Thinking, ToolCall, Turn

NAME = "recall"
DESCRIPTION = (
    "Get the exact words of earlier turns of this conversation, also of those that are shown as"
    " page images or no longer at all. Give one of: query (a question or an exact string), page"
    " (the number in a page's caption) or turn (the id of a turn that an answer of this tool"
    " named, or its number). Use it before quoting ids, paths, numbers or code from a page."
)
PARAMETERS: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "A question, or an exact string to find."},
        "page": {"type": "integer", "description": "A page's number, from its caption."},
        "turn": {"type": "string", "description": "A turn's id or number."},
    },
    "additionalProperties": False,
}
_NOTHING = "Nothing in this conversation matches. Try other words, or a part of the exact string."
_ONE_OF = "recall takes one of query, page or turn."
_EXCHANGE = 16  # turns that one exchange may have, calls and results among them
_LEAST = 24  # tokens of a turn; where less room is left, it is only named
_JOINTS = 2  # tokens of the line ends around a piece
_CUTS = 24  # tokens that say how much was cut off
_NAMED = 20  # tokens of an id
_LONGEST_QUESTION = 500  # characters; what is longer tells something
_ALIKE = 0.5  # share of all their terms that two questions have in common
_HEAD = re.compile(r"\[turn \d+, \w+, id ")


@dataclass(frozen=True)
class RecallTool:
    """Finds earlier turns of one session and gives their exact words, with ids.

    Attributes:
        memory: the session.
        tokens: the most tokens of an answer, in the session's own counter.
        limit: the most turns that a query finds.
    """

    memory: Memory
    tokens: int = 2_000
    limit: int = 5

    def __post_init__(self) -> None:
        if self.tokens < 100 or self.limit < 1:
            raise InputError("an answer takes at least 100 tokens and one turn")

    def __call__(self, query: str = "", page: int | None = None, turn: str | int = "") -> str:
        """Exact words of turns, by one of query, page or turn.

        What the model got wrong (no such page, nothing to look for) is said in the answer.
        """
        return self.told(query, page, turn)

    def told(
        self, query: str = "", page: int | None = None, turn: str | int = "", *, asked: bool = False
    ) -> str:
        """The answer; with `asked`, a query leaves out the exchange in which a model asks.

        Its question, which the model sees, would else be what matches best.
        """
        try:
            found = self._found(query, page, turn, asked)
        except (InputError, NotFoundError) as error:
            return f"{error}."
        if not found:
            return _NOTHING
        counter = find_counter(str(self._settings()["counter"]))
        return _written(found, query, self.tokens, counter)

    @property
    def openai(self) -> dict[str, Json]:
        """Its schema for OpenAI's chat completions, and servers that speak them."""
        return {"type": "function", "function": self._schema("parameters")}

    @property
    def responses(self) -> dict[str, Json]:
        """Its schema for OpenAI's Responses."""
        return {"type": "function", **self._schema("parameters"), "strict": False}

    @property
    def anthropic(self) -> dict[str, Json]:
        """Its schema for Anthropic's messages."""
        return self._schema("input_schema")

    def answer(self, call: Any) -> dict[str, Json]:
        """The message that answers a call of this tool, to be appended and sent.

        Args:
            call: a tool call of a chat completion or of Responses, or a `tool_use` block of
                Anthropic's; a dict or the client's own object.

        Raises:
            InputError: it is no call of this tool.
        """
        plain = call if isinstance(call, Mapping) else call.model_dump()
        function = plain.get("function") or plain
        if function.get("name") != NAME:
            raise InputError(f"a call of {function.get('name')!r} is not for {NAME}")
        if plain.get("type") == "tool_use":
            block = {"type": "tool_result", "tool_use_id": plain["id"]}
            return {"role": "user", "content": [{**block, "content": self.call(plain["input"])}]}
        text = self.call(function.get("arguments"))
        if plain.get("type") == "function_call":
            return {"type": "function_call_output", "call_id": plain["call_id"], "output": text}
        return {"role": "tool", "tool_call_id": plain["id"], "content": text}

    def call(self, arguments: Json) -> str:
        """The answer to arguments as a model wrote them: JSON text or an object."""
        try:
            given = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments
        except ValueError:
            return _ONE_OF
        if not isinstance(given, Mapping):
            return _ONE_OF
        page, turn = given.get("page"), given.get("turn")
        return self.told(
            query=str(given.get("query") or ""),
            page=page if isinstance(page, int) else None,
            turn=turn if isinstance(turn, (str, int)) else "",
            asked=True,
        )

    def _schema(self, parameters: str) -> dict[str, Json]:
        return {"name": NAME, "description": DESCRIPTION, parameters: dict(PARAMETERS)}

    def _settings(self) -> Mapping[str, Json]:
        return self.memory.store.state(self.memory.scope).settings

    def _found(self, query: str, page: int | None, turn: str | int, asked: bool) -> list[Recalled]:
        if (bool(query.strip()), page is not None, turn != "").count(True) != 1:
            raise InputError(_ONE_OF.rstrip("."))
        if page is not None:
            return self.memory.recall_page(page)
        if turn == "":
            return self._told_of(query, self._question() if asked else sys.maxsize)
        try:
            return [self.memory.recall_turn(str(turn))]
        except NotFoundError:
            number = int(turn) if str(turn).lstrip("#").isdecimal() else -1
            entries = self.memory.store.entries_at(self.memory.scope, [number])
            if number < 0 or not entries:
                raise
            return [self.memory.recall_turn(entries[0].turn.id)]

    def _told_of(self, query: str, end: int) -> list[Recalled]:
        """What a query finds before a position.

        Turns that only ask the same come behind all others, and what this tool was asked and
        answered before is never found: it is a copy.
        """

        def unwanted(entry: Entry) -> bool:
            return entry.position >= end or _is_own(entry.turn)

        def only_asks(entry: Entry) -> bool:
            return unwanted(entry) or _asks(entry.turn.text, query)

        def is_found(entry: Entry) -> bool:
            return unwanted(entry) or any(entry.position == each.position for each in found)

        found = self.memory.recall(query, self.limit, only_asks)
        if left := self.limit - len(found):
            found += self.memory.recall(query, left, is_found)
        return found

    def _question(self) -> int:
        """Position of the user's newest turn, at which the present exchange begins."""
        store, scope = self.memory.store, self.memory.scope
        length = store.state(scope).turns
        newest = store.turn_facts(scope, max(length - _EXCHANGE, 0))
        return max((place for place, facts in newest if facts.role == "user"), default=length)


def _asks(text: str, query: str) -> bool:
    """Whether a text says nothing beyond a query, or is a question in half of its words."""
    if len(text) > _LONGEST_QUESTION:
        return False
    said, wanted = set(terms(text)), set(terms(query))
    if said <= wanted | ASKING:
        return True
    same = len(said & wanted) / len(said | wanted)
    return text.rstrip().endswith(("?", "？")) and same >= _ALIKE


def _is_own(turn: Turn) -> bool:
    """Whether a turn is a call of this tool or its answer."""
    if turn.role == "tool":
        return _HEAD.match(turn.text) is not None
    said = [part for part in turn.parts if not isinstance(part, Thinking)]
    return bool(said) and all(isinstance(part, ToolCall) and part.name == NAME for part in said)


def _written(found: Sequence[Recalled], query: str, tokens: int, counter: Counter) -> str:
    """The turns one after another, as many tokens of them as there is room for."""
    reserve = min(tokens // 4, _NAMED * (len(found) - 1))
    room = tokens - reserve
    pieces: list[str] = []
    left_out: list[str] = []
    for each in found:
        pages = f", page {each.pages[0]}" if each.pages else ""
        head = f"[turn {each.position}, {each.role}, id {each.id}{pages}]"
        left = room - counter.count(head) - _JOINTS
        if left < _LEAST:
            left_out.append(each.id)
            continue
        text = _fitted(each.text, query, left, counter.count)
        room = left - counter.count(text)
        pieces.append(f"{head}\n{text}")
    for named in range(len(left_out), 0, -1):
        line = f"[no room for turns with these ids: {' '.join(left_out[:named])}]"
        if counter.count(line) + _JOINTS <= room + reserve:
            pieces.append(line)
            break
    return "\n\n".join(pieces)


def _fitted(text: str, query: str, room: int, count: Callable[[str], int]) -> str:
    """The text, or the part of it in which the query's words stand closest."""
    if count(text) <= room:
        return text
    size = len(text) * (room - _CUTS) // count(text)
    while size > 1:
        start = _best_start(text, query, size)
        part = text[start : start + size]
        before, after = start, len(text) - start - len(part)
        cut = f"[{before} characters before]" * bool(before) + part
        cut += f"[{after} characters after]" * bool(after)
        if count(cut) <= room:
            return cut
        size = size * 3 // 4
    return f"[{len(text)} characters]"


def _best_start(text: str, query: str, size: int) -> int:
    """Where the stretch of so many characters begins that holds most of a query's terms."""
    wanted = set(terms(query))
    step = max(size // 4, 1)
    best, start = 0, 0
    for at in range(0, max(len(text) - size, 0) + step, step) if wanted else ():
        held = len(wanted & set(terms(text[at : at + size])))
        if held > best:
            best, start = held, at
    return min(start, max(len(text) - size, 0))
