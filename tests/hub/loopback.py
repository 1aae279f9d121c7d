"""A server on the loopback that logs all it is asked and leaves no thread."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from threading import Condition, Event, Thread
from typing import Any, Self

from tests.hub.faults import Faults
from tests.hub.handler import Handler
from tests.hub.messages import Answer, Asked, Request

# What a client that hangs up did not take is counted as sent as far as it
# fits in here, so the buffer is small.
SEND_BUFFER = 64 * 1024


class Loopback(ThreadingHTTPServer):
    """Answers while its context lasts.

    `requests` is the log, in order of the answers: a client that has the
    whole of an answer finds it there.
    """

    # Closing waits for the threads, so that no socket outlives a test.
    daemon_threads = False
    request_queue_size = 256

    def __init__(self, place: str, faults: Faults, /) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.place = place
        self.faults = faults
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self.closing = Event()
        self.connections: set[socket.socket] = set()
        self.under_way = 0
        self.idle = Condition()
        self.thread = Thread(target=self.serve_forever, args=(0.01,))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.thread.join()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        if self.errors and kind is None:
            raise self.errors[0]

    def answer(self, asked: Asked, /) -> Answer:
        raise NotImplementedError

    def record(self, request: Request, /) -> None:
        self.requests.append(request)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the request that is answered inside."""
        with self.idle:
            self.under_way += 1
        try:
            yield
        finally:
            with self.idle:
                self.under_way -= 1
                self.idle.notify_all()

    def settle(self, seconds: float = 2.0, /) -> None:
        """Wait until no request is being answered, for so long at most."""
        with self.idle:
            self.idle.wait_for(lambda: not self.under_way, seconds)

    def server_bind(self) -> None:
        # The base class would ask for the name of the host.
        TCPServer.server_bind(self)
        self.server_name = "127.0.0.1"
        self.server_port = self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        # Without the shutdown of the base class, whose FIN would come before
        # the RST of a connection that lingers for no time.
        self.connections.discard(request)
        self.close_request(request)

    def handle_error(self, *_: object) -> None:
        """Keep what is a mistake of the server, and no broken connection."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)
