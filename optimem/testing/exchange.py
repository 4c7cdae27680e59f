"""What a request asks and what is replied, whichever API it came by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from optimem.values import Json, dump_json

Kind = Literal["text", "image", "call", "result"]


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a request, in the order in which the model gets it.

    Attributes:
        role: "tools" (their schemas), "system", "user", "assistant" or "tool".
        kind: what it is.
        text: its words; of a call its name and arguments.
        image: the image's bytes.
        level: the level of detail that was asked for, None for the default.
        message: number of the message that it stands in; -1 in front of all messages.
        breakpoint: the client asked for the prompt to be cached up to here.
    """

    role: str
    kind: Kind
    text: str = ""
    image: bytes = b""
    level: str | None = None
    message: int = -1
    breakpoint: bool = False

    @property
    def digest(self) -> bytes:
        """A hash of all that a prompt cache would compare."""
        head = dump_json([self.role, self.kind, self.text, self.level])
        return hashlib.sha256(head.encode() + self.image).digest()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model is offered.

    Attributes:
        name: what a call names it by.
        parameters: JSON schema of its arguments.
    """

    name: str
    parameters: Mapping[str, Json] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whichever API it came by.

    Attributes:
        model: whom it is for.
        blocks: all that the model gets, in order.
        tools: what it may call.
        streamed: the reply is wanted piece by piece.
        counted: a streamed reply shall end with its usage.
    """

    model: str
    blocks: tuple[Block, ...]
    tools: tuple[Tool, ...] = ()
    streamed: bool = False
    counted: bool = True

    @property
    def last(self) -> tuple[Block, ...]:
        """The blocks of the last message."""
        number = self.blocks[-1].message
        return tuple(block for block in self.blocks if block.message == number)

    @property
    def images(self) -> tuple[bytes, ...]:
        """All images, in order."""
        return tuple(block.image for block in self.blocks if block.kind == "image")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the reply; its id is made from its content."""

    name: str
    arguments: Mapping[str, Json] = field(hash=False)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server replies: words, calls, or that it will not.

    Attributes:
        text: its words.
        calls: the tools that it calls.
        refused: it will not answer.
        id: unlike that of any other reply of the server.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    refused: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request is billed.

    Attributes:
        input: all input tokens, those read from the cache included.
        cached: of these, read from the cache.
        written: of these, written to the cache.
        images: of these, for images.
        output: tokens of the reply.
    """

    input: int
    cached: int = 0
    written: int = 0
    images: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read on one page, or on an image that is none.

    Attributes:
        block: number of the image's block in the request.
        page: the page's number, None for another image.
        anchors: the exact strings beside it.
        text: what was read.
    """

    block: int
    page: int | None
    anchors: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it.

    Attributes:
        path: the URL's path.
        body: the request as it came.
        status: the HTTP status of the answer.
        asked: what was asked; None where the request could not be read.
        reply: what was replied; None for an error.
        usage: what was billed; None for an error.
        readings: what was read for the reply; empty where it took no reading.
        error: the error's sentence, or "".
    """

    path: str
    body: Json = field(repr=False, hash=False)
    status: int
    asked: Asked | None = field(default=None, repr=False)
    reply: Reply | None = None
    usage: Usage | None = None
    readings: tuple[Reading, ...] = field(default=(), repr=False)
    error: str = ""


class Rejected(Exception):
    """Raised for a request that the provider would reject.

    Attributes:
        status: the HTTP status.
        kind: the provider's name of the error.
    """

    def __init__(self, message: str, status: int = 400, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
