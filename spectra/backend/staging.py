"""Blocks on their way to a device: one is filled while others are copied.

There are two queues, of copies and of work, and the host waits for neither
unless it must. Three waits keep a buffer from being written while it is read:
the host's, before it fills a buffer that is still being copied; the copies',
before they overwrite a block that work still reads; and the work's, before it
reads a block that is still on its way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

__all__ = ["Copies", "Event", "PlainCopies", "staged"]

Array = Any
Fill = Callable[[int, int, NDArray[Any]], None]
"""Writes entries ``[start, stop)`` of a block's rows into an array."""


class Event(Protocol):
    """A place in a queue."""

    def synchronize(self) -> None:
        """Return when all that was queued before it is done."""
        ...


class Copies(Protocol):
    """A queue of copies to a device, beside the queue of its work."""

    def buffer(self, shape: tuple[int, ...], dtype: Any, /) -> NDArray[Any]:
        """Return memory of the host that copies are made from."""
        ...

    def copy(
        self, source: NDArray[Any], target: Array, after: Event, /
    ) -> Event:
        """Queue a copy that begins after an event; return its end."""
        ...

    def record(self) -> Event:
        """Return the end of the work queued so far."""
        ...

    def wait(self, event: Event, /) -> None:
        """Let work queued from now on begin after an event."""
        ...


class _Now:
    """The end of what is done already."""

    def synchronize(self) -> None:
        """Return."""


@dataclass(frozen=True, slots=True)
class PlainCopies:
    """Copies of a library that has no queues: each is done when it returns."""

    def buffer(self, shape: tuple[int, ...], dtype: Any, /) -> NDArray[Any]:
        """Return memory of the host."""
        return np.empty(shape, dtype)

    def copy(
        self, source: NDArray[Any], target: Array, _after: Event, /
    ) -> Event:
        """Copy: what came before is done."""
        xp = array_namespace(target)
        target[...] = xp.asarray(source, device=device_of(target))
        return _Now()

    def record(self) -> Event:
        """Return now."""
        return _Now()

    def wait(self, event: Event, /) -> None:
        """Return: it has been."""


@dataclass(slots=True)
class _Slot:
    """A buffer of the host, one of the device, and when each is free."""

    host: NDArray[Any]
    room: Array
    copied: Event
    used: Event


def staged(
    copies: Copies, rooms: Sequence[Array], dtype: Any,
    spans: Sequence[tuple[int, int]], fill: Fill, /,
) -> Iterator[Array]:  # fmt: skip
    """Yield blocks of columns on the device, one while the next is copied.

    Parameters
    ----------
    copies
        How they get there.
    rooms
        Arrays on the device that take turns, two or more, as wide as the
        widest span.
    dtype
        Of `rooms`, as NumPy knows it.
    spans
        ``(start, stop)`` of each block.
    fill
        Gives the content of each.

    Notes
    -----
    Work on a block must have been queued when the next one is asked for;
    it need not be done.
    """
    free = copies.record()
    slots = [
        _Slot(copies.buffer(tuple(room.shape), dtype), room, _Now(), free)
        for room in rooms
    ]
    try:
        for number, (start, stop) in enumerate(spans):
            slot = slots[number % len(slots)]
            slot.copied.synchronize()
            fill(start, stop, slot.host[:, : stop - start])
            slot.copied = copies.copy(slot.host, slot.room, slot.used)
            copies.wait(slot.copied)
            yield slot.room[:, : stop - start]
            slot.used = copies.record()
    finally:
        for slot in slots:
            slot.copied.synchronize()
