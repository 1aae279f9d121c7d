"""A server that sends whatever bytes it is given."""

import contextlib
import socket
from threading import Event, Thread


class Raw:
    """Answers each connection with the same bytes, and hangs up.

    With a pace it sends them one by one, so many seconds apart.
    """

    def __init__(self, answer: bytes, /, *, pace: float = 0.0) -> None:
        self.answer, self.pace = answer, pace
        self.closing = Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.02)
        self.threads = [Thread(target=self.serve)]

    def __enter__(self) -> str:
        self.threads[0].start()
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def serve(self) -> None:
        while not self.closing.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self.listener.accept()
                thread = Thread(target=self.respond, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def respond(self, connection: socket.socket, /) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            width = 1 if self.pace else max(len(self.answer), 1)
            for start in range(0, len(self.answer), width):
                connection.sendall(self.answer[start : start + width])
                if self.closing.wait(self.pace):
                    return
