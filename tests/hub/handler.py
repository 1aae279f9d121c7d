"""One connection: requests are read, answers are put on the wire."""

import socket
import struct
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.hub.content import CHUNK
from tests.hub.messages import Answer, Asked, Request

if TYPE_CHECKING:
    from tests.hub.loopback import Loopback

NO_LINGER = struct.pack("ii", 1, 0)


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other on a connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Loopback"

    def do_GET(self) -> None:
        with self.server.busy():
            asked = self.asked()
            true = self.server.answer(asked)
            faults = self.server.faults
            answer, kinds = faults.apply(self.server.place, asked, true)
            self.deliver(asked, answer, kinds)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any, **__: Any) -> None:
        """Print nothing: the log is kept by the server."""

    def asked(self) -> Asked:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = (
                f"{headers[key]}, {value}" if key in headers else value
            )
        length = int(headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return Asked(
            self.command, self.server.endpoint, self.path, headers, body
        )

    def deliver(
        self, asked: Asked, answer: Answer, kinds: tuple[str, ...], /
    ) -> None:
        """Send an answer, and log it before the client can have it whole."""
        delivery = answer.delivery
        if ends(answer):
            self.close_connection = True
        if delivery.reset:
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
            )
        log = Entry(self.server, asked, answer.status, kinds)
        if delivery.silent:
            log.write(0)
            self.server.closing.wait(delivery.pause)
            return
        self.server.closing.wait(delivery.pause)
        try:
            self.send_pieces(asked, answer, log)
        except OSError:
            self.close_connection = True
            log.write(log.sent)

    def send_pieces(self, asked: Asked, answer: Answer, log: "Entry") -> None:
        waiting = head(answer)
        if asked.method != "HEAD":
            for piece in pieces(answer):
                self.connection.sendall(waiting)
                log.sent += log.waiting
                waiting, log.waiting = piece, len(piece)
                if self.server.closing.wait(answer.delivery.pace):
                    raise ConnectionAbortedError
        log.write(log.sent + log.waiting)
        self.connection.sendall(waiting)


class Entry:
    """The line of the log that a request gets, once."""

    def __init__(
        self,
        server: "Loopback",
        asked: Asked,
        status: int,
        faults: tuple[str, ...],
    ) -> None:
        self.server, self.asked = server, asked
        self.status, self.faults = status, faults
        self.sent = self.waiting = 0
        self.written = False

    def write(self, sent: int, /) -> None:
        if self.written:
            return
        self.written = True
        self.server.record(
            Request(
                self.asked.method,
                self.asked.path,
                self.asked.query,
                self.status,
                self.asked.headers,
                sent,
                self.asked.url,
                self.faults,
            )
        )


def ends(answer: Answer, /) -> bool:
    """Return whether the connection ends with the answer."""
    how = answer.delivery
    unmeasured = answer.body.size is None
    return unmeasured or how.silent or how.reset or how.limit is not None


def head(answer: Answer, /) -> bytes:
    """Return the status line and the headers."""
    known = {each.value: each.phrase for each in HTTPStatus}
    size = answer.body.size
    end = "Connection: close" if size is None else f"Content-Length: {size}"
    lines = (
        f"HTTP/1.1 {answer.status} {known.get(answer.status, '')}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in answer.headers),
        end,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def pieces(answer: Answer, /) -> Iterator[bytes]:
    """Yield the body as far as it is sent, in pieces of bounded size."""
    left = answer.delivery.limit
    width = 1 if answer.delivery.pace else CHUNK
    for chunk in answer.body.chunks():
        kept = chunk if left is None else chunk[:left]
        left = None if left is None else left - len(kept)
        for start in range(0, len(kept), width):
            yield kept[start : start + width]
        if left == 0:
            return
