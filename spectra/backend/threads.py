"""Layers side by side, each on one thread, in an order that is kept."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Lock, Thread
from typing import TypeVar

from threadpoolctl import OpenBLASController, threadpool_limits

__all__ = ["cores", "in_order", "one_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], /, *, workers: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the items' order.

    Parameters
    ----------
    work
        What is done with an item, on a thread of its own.
    items
        Taken as threads get free, twice as many as workers ahead.
    workers
        How many threads.

    Notes
    -----
    BLAS gets one thread a worker: faster than its own threads on small
    blocks, and the bits do not depend on how many cores there are.

    Once one has failed none is begun; those before it have been. An interrupt
    is passed on at once: work under way goes on to its end.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    work = _until_one_fails(work)
    pool, until_done = ThreadPoolExecutor(workers), ExitStack()
    until_done.enter_context(one_thread)
    until_done.callback(pool.shutdown, cancel_futures=True)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except (Exception, GeneratorExit):
        until_done.close()
        raise
    except BaseException:
        # Whoever interrupts us does not wait for what is under way: its
        # results are lost, and until then one thread is enough.
        Thread(target=until_done.close).start()
        raise
    until_done.close()


class _OneThread:
    """Lets BLAS have one thread until the last who asked for it has ended.

    Who was interrupted ends later than who is begun next, and would leave
    each the other's one thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way = 0
        self._limits: list[threadpool_limits] = []

    def __enter__(self) -> None:
        with self._lock:
            self._under_way += 1
            _clear_control()
            # Each time: another BLAS may have been loaded since.
            self._limits.append(threadpool_limits(1))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            _clear_control()
            while not self._under_way and self._limits:
                self._limits.pop().restore_original_limits()
            if not self._under_way:
                _clear_control()


def _clear_control() -> None:
    """Let any thread set limits, whichever has done so before.

    Since threadpoolctl 3.8 the first one alone can, as long as it is alive.
    """
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


one_thread = _OneThread()
"""A context in which BLAS has one thread, for all threads of the process."""


def _until_one_fails(
    work: Callable[[Item], Result],
) -> Callable[[Item], Result]:
    failed = Event()

    def each(item: Item) -> Result:
        if failed.is_set():
            raise CancelledError
        try:
            return work(item)
        except BaseException:
            failed.set()
            raise

    return each
