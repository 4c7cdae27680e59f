"""HTTP on loopback for the reading server: a thread for each connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from optimem.values import Json, dump_json


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire: an object, or the events of a stream."""

    status: int
    body: Json = None
    events: Sequence[tuple[str, Json]] = ()


class Loopback:
    """Serves on a free port until it is closed.

    Args:
        answer: gives the answer to a path and a body.
    """

    def __init__(self, answer: Callable[[str, bytes], Answer]) -> None:
        self._http = _Http(answer)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep connections open

    def __init__(self, answer: Callable[[str, bytes], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Http)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.answer(self.path, data)
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
