"""A wire between a driver and its scheduler, on which all is overheard."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Overheard", "overhearing"]


class Overheard:
    """What has gone over the wire.

    Attributes
    ----------
    address
        Where the driver finds the scheduler.
    asked, answered
        Bytes to the scheduler, and from it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked, self.answered = bytearray(), bytearray()


def _pass(source: socket.socket, to: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            kept += data
            to.sendall(data)
    for end in (source, to):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def overhearing(scheduler: str) -> Iterator[Overheard]:
    """Give a wire to a scheduler's address, ``tcp://HOST:PORT``."""
    host, port = scheduler.removeprefix("tcp://").rsplit(":", 1)
    server = socket.create_server(("127.0.0.1", 0))
    heard = Overheard(f"tcp://127.0.0.1:{server.getsockname()[1]}")
    ends = [server]
    threads = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                driver, _ = server.accept()
                there = socket.create_connection((host, int(port)))
                ends.extend([driver, there])
                for words in (
                    (driver, there, heard.asked),
                    (there, driver, heard.answered),
                ):
                    thread = threading.Thread(target=_pass, args=words)
                    threads.append(thread)
                    thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield heard
    finally:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()
