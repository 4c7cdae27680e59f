"""The server itself: HTTP on loopback, a thread for each connection."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count as count_from
from types import ModuleType, TracebackType
from urllib.parse import urlsplit

from optimem.errors import NotFoundError, OptiMemError
from optimem.modes import Tier
from optimem.readers import Profile, find_reader
from optimem.testing import chat, claude, gemini, limits, responses
from optimem.testing.answers import answer
from optimem.testing.billing import Till, count, image_cost
from optimem.testing.exchange import Asked, Exchange, Reading, Rejected, Reply, Usage
from optimem.testing.eyes import Engine, Eyes, Look, tesseract
from optimem.values import Json, dump_json


@dataclass(frozen=True, slots=True)
class _Route:
    """A path of an API.

    Attributes:
        path: what matches it; its groups are `model` and `verb`.
        wire: the module that reads its requests and writes its replies.
        model: whose rules hold for models that no profile knows.
        counts: name of the number that it replies with, where it counts tokens alone.
    """

    path: re.Pattern[str]
    wire: ModuleType
    model: str
    counts: str = ""


_GEMINI = r"/v1\w*/models/(?P<model>[^/:]+):"
_ROUTES = (
    _Route(re.compile(r"(?:/v1)?/chat/completions"), chat, "openai:gpt-6-astra"),
    _Route(re.compile(r"(?:/v1)?/responses"), responses, "openai:gpt-6-astra"),
    _Route(re.compile(r"(?:/v1)?/messages"), claude, "anthropic:claude-opus-5.5"),
    _Route(
        re.compile(_GEMINI + "(?P<verb>g|streamG)enerateContent"), gemini, "google:gemini-4-argon"
    ),
    _Route(
        re.compile(r"(?:/v1)?/responses/input_tokens"),
        responses,
        "openai:gpt-6-astra",
        "input_tokens",
    ),
    _Route(
        re.compile(r"(?:/v1)?/messages/count_tokens"),
        claude,
        "anthropic:claude-opus-5.5",
        "input_tokens",
    ),
    _Route(re.compile(_GEMINI + "countTokens"), gemini, "google:gemini-4-argon", "totalTokens"),
)
_CAPTION = re.compile(r"Page (\d+), turns? [\d-]+(?:, exact: (.*))?", re.DOTALL)
_KEY = "reading-server"  # clients want one; any will do


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes back over the wire: an object, or the events of a stream."""

    status: int
    body: Json = None
    events: Sequence[tuple[str, Json]] = ()


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
        self._http = _Http(self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    # Where it is

    @property
    def url(self) -> str:
        """What Anthropic's and Google's clients take as `base_url`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

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

    def answer(self, path: str, data: bytes) -> _Answer:
        """The answer to a request, which is kept in `exchanges`."""
        route, match = _route(path)
        if route is None or match is None:
            return _Answer(404, {"error": {"message": f"nothing is served at {path}"}})
        body: Json = None
        asked: Asked | None = None
        try:
            body = _object(data)
            asked = _asked(route, match, body)
            profile = self._profile(route, asked.model)
            limits.check_body(len(data), profile)
            limits.check_images(asked, profile)
            if route.wire is chat:  # the others' own shapes say where images may stand
                limits.check_roles(asked, profile)
            if route.counts:
                return _Answer(200, {route.counts: Till(1.0).bill(asked, profile).input})
            reply, usage, readings = self._reply(asked, profile)
        except (Rejected, OptiMemError) as error:
            status, kind = (error.status, error.kind) if isinstance(error, Rejected) else (500, "")
            self.exchanges.append(Exchange(path, body, status, asked, error=str(error)))
            return _Answer(status, route.wire.error(status, kind, str(error)))
        reply = replace(reply, id=f"{next(self._numbers):024x}")
        self.exchanges.append(Exchange(path, body, 200, asked, reply, usage, readings))
        if asked.streamed:
            return _Answer(200, events=list(route.wire.stream(asked, reply, usage)))
        return _Answer(200, route.wire.write(asked, reply, usage))

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

    def _profile(self, route: _Route, model: str) -> Profile:
        if self._reader is not None:
            return self._reader
        try:
            return find_reader(model)
        except NotFoundError:
            return find_reader(route.model)

    # Its life

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._eyes.close()

    def __enter__(self) -> ReadingServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _route(path: str) -> tuple[_Route | None, re.Match[str] | None]:
    plain = urlsplit(path).path
    for route in _ROUTES:
        if match := route.path.fullmatch(plain):
            return route, match
    return None, None


def _object(data: bytes) -> Json:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise Rejected(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise Rejected("the body of a request must be a JSON object")
    return body


def _asked(route: _Route, match: re.Match[str], body: Json) -> Asked:
    """What a body asks; what its URL says besides is taken in."""
    named = match.groupdict()
    if route.wire is claude and route.counts:
        body = {"max_tokens": 1, **body}
    if "model" in named:
        body = {**body.get("generateContentRequest", body), "model": named["model"]}
    try:
        asked: Asked = route.wire.read(body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Rejected(f"the request is malformed: {type(error).__name__} {error}") from None
    return replace(asked, streamed=asked.streamed or named.get("verb") == "streamG")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep connections open

    def __init__(self, server: ReadingServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reading = server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Http)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.reading.answer(self.path, data)
        with suppress(ConnectionError):  # the client went away
            if answer.events:
                self._stream(answer.events)
            else:
                self._send(answer.status, dump_json(answer.body).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Sequence[tuple[str, Json]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for name, value in events:
            data = value if isinstance(value, str) else dump_json(value)
            line = (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
            self._chunk(line.encode())
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: servers of tests are quiet."""
