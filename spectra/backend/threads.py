"""Layers side by side, each on one thread, in an order that is kept."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event, Thread
from typing import TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["cores", "in_order"]

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
    limits, pool = threadpool_limits(1), ThreadPoolExecutor(workers)

    def end() -> None:
        pool.shutdown(cancel_futures=True)
        limits.restore_original_limits()

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
        end()
        raise
    except BaseException:
        # Whoever interrupts us does not wait for what is under way: its
        # results are lost, and until then one thread is enough.
        Thread(target=end).start()
        raise
    end()


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
