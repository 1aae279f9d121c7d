"""An end to what a timeout of single reads cannot end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Timer

__all__ = ["deadline"]


@contextmanager
def deadline(
    seconds: float, interrupt: Callable[[], None], /
) -> Iterator[Event]:
    """Call `interrupt` from another thread if the block takes too long.

    A server that sends one byte of its headers every few seconds never lets a
    read time out.

    Parameters
    ----------
    seconds
        Time for the block.
    interrupt
        Makes the block fail.

    Yields
    ------
    Event
        Set when the time was up.
    """
    expired = Event()

    def expire() -> None:
        expired.set()
        interrupt()

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()
