"""The server itself: reads, replies and bills, each request as its provider would."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import replace
from itertools import count as count_from

from optimem.errors import NotFoundError, OptiMemError
from optimem.modes import Tier
from optimem.readers import Profile, find_reader
from optimem.testing import chat, limits
from optimem.testing.answers import answer
from optimem.testing.billing import Till, count, image_cost
from optimem.testing.exchange import Asked, Exchange, Reading, Rejected, Reply, Usage
from optimem.testing.eyes import Engine, Eyes, Look, tesseract
from optimem.testing.loopback import Answer, Loopback
from optimem.testing.routes import Route, find_route, read_asked, read_object
from optimem.values import Json, dump_json

_CAPTION = re.compile(r"Page (\d+), turns? [\d-]+(?:, exact: (.*))?", re.DOTALL)
_KEY = "reading-server"  # clients want one; any will do


class ReadingServer:
    """A provider on loopback that reads the pages it is sent; see `optimem.testing`.

    Args:
        reader: whose prices and limits hold; by default those of the model that a request
            names.
        engine: what reads a page's pixels; Tesseract by default.
        blur_below: pages shown smaller than in this mode are blurred before they are read.
        overcharge: images are billed so many times what their rule says.
        readings: what was read before, to be shared by servers with the same engine.
        keep: how many exchanges are kept.
    """

    def __init__(
        self,
        reader: str | Profile | None = None,
        *,
        engine: Engine = tesseract,
        blur_below: Tier | None = None,
        overcharge: float = 1.0,
        readings: MutableMapping[str, str] | None = None,
        keep: int = 64,
    ) -> None:
        self.exchanges: deque[Exchange] = deque(maxlen=keep)
        self._reader = None if reader is None else find_reader(reader)
        self._eyes = Eyes(engine, blur_below, readings)
        self._till = Till(overcharge)
        self._lock = threading.Lock()
        self._numbers = count_from(1)
        self._faults: deque[Rejected | None] = deque()
        self._loopback = Loopback(self.answer)

    # Where it is

    @property
    def url(self) -> str:
        """What Anthropic's and Google's clients take as `base_url`."""
        return self._loopback.url

    @property
    def openai_url(self) -> str:
        """What OpenAI's client takes as `base_url`."""
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by which clients that are told nothing else find it."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": _KEY,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": _KEY,
            "GOOGLE_GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": _KEY,
        }

    # What it is told to do

    def refuse(self, times: int = 1) -> None:
        """Refuse the next requests, as a model does that thinks them harmful."""
        self._faults.extend([None] * times)

    def fail(self, status: int, message: str = "", kind: str = "", times: int = 1) -> None:
        """Answer the next requests with an error.

        Args:
            status: the HTTP status.
            message: what the error says.
            kind: the provider's name of it; the usual one of the status by default.
            times: how many requests.
        """
        self._faults.extend(
            Rejected(message or f"this server was told to fail with {status}", status, kind)
            for _ in range(times)
        )

    def cool(self) -> None:
        """Empty the prompt cache, as time does."""
        with self._lock:
            self._till.cool()

    # What it does

    def answer(self, path: str, data: bytes) -> Answer:
        """The answer to a request, which is kept in `exchanges`."""
        route, match = find_route(path)
        if route is None or match is None:
            return Answer(404, {"error": {"message": f"nothing is served at {path}"}})
        body: Json = None
        asked: Asked | None = None
        try:
            body = read_object(data)
            asked = read_asked(route, match, body)
            profile = self._profile(route, asked.model)
            limits.check_body(len(data), profile)
            limits.check_images(asked, profile)
            if route.wire is chat:  # the others' own shapes say where images may stand
                limits.check_roles(asked, profile)
            if route.counts:
                return Answer(200, {route.counts: Till(1.0).bill(asked, profile).input})
            reply, usage, readings = self._reply(asked, profile)
        except (Rejected, OptiMemError) as error:
            status, kind = (error.status, error.kind) if isinstance(error, Rejected) else (500, "")
            self.exchanges.append(Exchange(path, body, status, asked, error=str(error)))
            return Answer(status, route.wire.error(status, kind, str(error)))
        reply = replace(reply, id=f"{next(self._numbers):024x}")
        self.exchanges.append(Exchange(path, body, 200, asked, reply, usage, readings))
        if asked.streamed:
            return Answer(200, events=list(route.wire.stream(asked, reply, usage)))
        return Answer(200, route.wire.write(asked, reply, usage))

    def _reply(self, asked: Asked, profile: Profile) -> tuple[Reply, Usage, tuple[Reading, ...]]:
        with self._lock:
            fault = self._faults.popleft() if self._faults else self
            if isinstance(fault, Rejected):
                raise fault
            usage = self._till.bill(asked, profile)
        limits.check_window(usage, profile)
        if fault is None:
            return Reply(refused=True), usage, ()
        readings: list[Reading] = []

        def pages() -> Sequence[Reading]:
            if not readings:
                readings.extend(self._read(asked, profile))
            return readings

        reply = answer(asked, pages)
        said = reply.text + "".join(dump_json(dict(call.arguments)) for call in reply.calls)
        return reply, replace(usage, output=count(said)), tuple(readings)

    def _read(self, asked: Asked, profile: Profile) -> Iterator[Reading]:
        """What stands on the images of a request, page by page."""
        captions: list[re.Match[str]] = []
        looks: list[tuple[int, Look, list[re.Match[str]]]] = []
        for number, block in enumerate(asked.blocks):
            if block.kind == "image":
                seen = image_cost(block, profile).seen
                looks.append((number, Look(block.image, seen, len(captions)), captions))
                captions = []
            elif caption := _CAPTION.fullmatch(block.text):
                captions.append(caption)
        texts = self._eyes.read([look for _, look, _ in looks])
        for (number, _, named), pages in zip(looks, texts, strict=True):
            for place, text in enumerate(pages):
                caption = named[place] if named else None
                page = None if caption is None else int(caption[1])
                anchors = () if caption is None else tuple((caption[2] or "").split(" "))
                yield Reading(number, page, anchors, text)

    def _profile(self, route: Route, model: str) -> Profile:
        if self._reader is not None:
            return self._reader
        try:
            return find_reader(model)
        except NotFoundError:
            return find_reader(route.model)

    # Its life

    def close(self) -> None:
        """Stop serving."""
        self._loopback.close()
        self._eyes.close()

    def __enter__(self) -> ReadingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
