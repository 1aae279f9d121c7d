"""Reads ahead, on threads, and hands over in order."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Self

from spectra.weights.bytes import ByteSource

__all__ = ["Job", "ReadAhead"]


@dataclass(frozen=True, slots=True)
class Job:
    """The bytes to read of a source, which is opened when it is their turn."""

    open: Callable[[], ByteSource]
    start: int
    nbytes: int


@dataclass(slots=True, eq=False)
class _Slot:
    """A job that has begun, and what came of it."""

    job: Job
    content: bytearray | None = None
    error: BaseException | None = None


class ReadAhead:
    """Iterates over the bytes of many jobs, in their order.

    An error comes at the turn of its own job; those after it can still be
    had. Use it as a context manager: at its end the jobs that have not begun
    are dropped, and those under way are waited for.

    Parameters
    ----------
    jobs
        What to read.
    connections
        How many jobs are read at once.
    bytes_in_flight
        How many bytes may be read, or be under way, that have not been handed
        over. A longer job is read while nothing else is.
    abort
        Called if an interrupt, such as Ctrl-C, ends the block: it makes the
        reads under way fail. ``Client.close`` is one.

    Examples
    --------
    >>> from spectra.weights.bytes import MemorySource
    >>> jobs = [Job(lambda: MemorySource(b"abcdef"), i, 2) for i in (0, 4)]
    >>> with ReadAhead(jobs, connections=2, bytes_in_flight=4) as contents:
    ...     [bytes(content) for content in contents]
    [b'ab', b'ef']
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        /,
        *,
        connections: int,
        bytes_in_flight: int,
        abort: Callable[[], object] | None = None,
    ) -> None:
        self._waiting = deque(jobs)
        self._begun: deque[_Slot] = deque()
        self._bound, self._in_flight = bytes_in_flight, 0
        self._changed = Condition()
        self._abort = abort
        self._threads = [
            Thread(target=self._work, name=f"read-ahead-{i}", daemon=True)
            for i in range(min(connections, len(self._waiting)))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._abort and kind and not issubclass(kind, Exception):
            self._abort()
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytearray:
        with self._changed:
            self._changed.wait_for(self._is_next_settled)
            if not self._begun:
                raise StopIteration
            slot = self._begun.popleft()
            self._in_flight -= slot.job.nbytes
            self._changed.notify_all()
        if slot.content is None:
            raise slot.error or RuntimeError("a job without an outcome")
        return slot.content

    def close(self) -> None:
        """Drop what has not begun, wait for what has."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        with self._changed:
            self._begun.clear()

    def _is_next_settled(self) -> bool:
        if not self._begun:
            return not self._waiting
        first = self._begun[0]
        return first.content is not None or first.error is not None

    def _may_begin(self) -> bool:
        if not self._waiting or not self._in_flight:
            return True
        return self._in_flight + self._waiting[0].nbytes <= self._bound

    def _begin(self) -> _Slot | None:
        """Wait for the next job to fit; None when there is none."""
        with self._changed:
            self._changed.wait_for(self._may_begin)
            if not self._waiting:
                return None
            slot = _Slot(self._waiting.popleft())
            self._in_flight += slot.job.nbytes
            self._begun.append(slot)
            return slot

    def _work(self) -> None:
        while (slot := self._begin()) is not None:
            content, error = None, None
            try:
                content = _read(slot.job)
            except BaseException as raised:  # noqa: BLE001 - raised at its turn
                error = raised
            with self._changed:
                slot.content, slot.error = content, error
                self._changed.notify_all()


def _read(job: Job) -> bytearray:
    content = bytearray(job.nbytes)
    job.open().read_into(job.start, memoryview(content))
    return content
